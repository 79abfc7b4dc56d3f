# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: project_logs_trail
type: notification
short_description: Show what changed in cloudscale.ch projects during a play
version_added: 1.0.0
description:
  - Takes a cursor of a project's audit log when a play starts, and prints at its end what changed in the project during
    the play, no matter who changed it. Changes by others come first, then changes by your own actors, then automated
    tasks.
  - Prints nothing if nothing changed.
  - Follows the project of O(api_token), or all projects of O(token_files).
  - Never makes a run fail. A failure is reported as one warning per project.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  own_actors:
    description:
      - Actors of your own changes. Name a user by e-mail address, a token by its description or uuid.
      - All other actors, including provider staff, count as others, except automated tasks.
      - There is no default, because the API does not show which token a play uses.
    type: list
    elements: str
    env:
      - name: CLOUDSCALE_TRAIL_OWN_ACTORS
    ini:
      - section: auditops.cloudscale
        key: trail_own_actors
  token_files:
    description:
      - Several projects to follow instead of the project of O(api_token), each as C(NAME=FILE), with a name for the
        project and the path to a file with its token.
    type: list
    elements: str
    env:
      - name: CLOUDSCALE_TRAIL_TOKEN_FILES
    ini:
      - section: auditops.cloudscale
        key: trail_token_files
  dest:
    description:
      - Path to a file for the changes, as JSON. The file is written at the end of the playbook, with empty lists if
        nothing changed. Only its owner can read it.
      - A relative path is relative to the directory that Ansible runs in.
    type: str
    env:
      - name: CLOUDSCALE_TRAIL_DEST
    ini:
      - section: auditops.cloudscale
        key: trail_dest
  time_zone:
    description: Time zone of the printed times, such as V(Europe/Zurich). Times in O(dest) are in UTC.
    type: str
    default: UTC
    env:
      - name: CLOUDSCALE_TRAIL_TIME_ZONE
    ini:
      - section: auditops.cloudscale
        key: trail_time_zone
  settle:
    description: Time to wait at the end of a play for late entries, in seconds.
    type: float
    default: 1
    env:
      - name: CLOUDSCALE_TRAIL_SETTLE
    ini:
      - section: auditops.cloudscale
        key: trail_settle
  patience:
    description:
      - Maximum time to wait for one response of the API, and for all retries of one page, in seconds.
      - The smaller of this option and O(api_timeout) or O(api_retry_budget) applies.
    type: float
    default: 15
    env:
      - name: CLOUDSCALE_TRAIL_PATIENCE
    ini:
      - section: auditops.cloudscale
        key: trail_patience
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.connection.plugins
requirements:
  - enabled in the configuration, for example with C(ANSIBLE_CALLBACKS_ENABLED=auditops.cloudscale.project_logs_trail)
  - requests
notes:
  - Options are read from the environment and from C(ansible.cfg) on the controller, not from variables of the play.
  - Changes that become visible between two plays are printed after the second play.
seealso:
  - module: auditops.cloudscale.project_logs_assert
  - ref: ansible_collections.auditops.cloudscale.docsite.change_verification_guide
    description: Change verification, with complete examples.
"""

EXAMPLES = r"""
ansible.cfg: |
  [defaults]
  callbacks_enabled = auditops.cloudscale.project_logs_trail

  [auditops.cloudscale]
  trail_own_actors = ci deploy, johanna@example.com
  trail_dest = trail.json
"""

import json
import os

from ansible import constants as C  # noqa: N812
from ansible.plugins.callback import CallbackBase
from ansible_collections.auditops.cloudscale.plugins.module_utils.files import replace_file
from ansible_collections.auditops.cloudscale.plugins.module_utils.verification.trail import trails

# The options that the core reads.
_TRAIL_OPTIONS = (
    *("api_token", "api_url", "api_timeout", "api_retries", "api_retry_budget", "validate_certs", "ca_path"),
    *("own_actors", "token_files", "time_zone", "settle", "patience"),
)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "auditops.cloudscale.project_logs_trail"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._trails = []
        self._play_name = None
        self._plays = []
        self._failure = None
        self._projects_with_warning = set()

    def v2_playbook_on_play_start(self, play):
        self._end_play()
        self._play_name = play.get_name().strip()
        if not self._trails:
            self._trails = self._warn_on_error(self._create_trails) or []
        for trail in self._trails:
            if trail.cursor is None:
                self._warn_on_error(trail.begin, trail)

    def v2_playbook_on_stats(self, stats):  # noqa: ARG002
        self._end_play()
        if self.get_option("dest"):
            self._warn_on_error(self._write_file)

    def _create_trails(self):
        return trails({name: self.get_option(name) for name in _TRAIL_OPTIONS})

    def _end_play(self):
        """Show and record the changes since the play started."""
        if self._play_name is None:
            return
        active = [trail for trail in self._trails if trail.cursor is not None]
        if active:
            # One wait is enough for all projects.
            active[0].settle()
        results = [(trail, self._warn_on_error(trail.changes, trail)) for trail in active]
        known = [(trail, changes) for trail, changes in results if changes is not None]
        self._show_changes([(trail, changes) for trail, changes in known if changes])
        entries = {"own": [], "others": [], "system": []}
        for _trail, changes in known:
            for group, found in changes.as_dict().items():
                entries[group] += found
        is_complete = bool(known) and len(known) == len(self._trails)
        self._plays.append({"play": self._play_name, "complete": is_complete, **entries})
        self._play_name = None

    def _show_changes(self, results):
        if results:
            self._display.banner(f"CLOUD CHANGES [{self._play_name}]")
        for trail, changes in results:
            if trail.project:
                self._display.display(f"Project {trail.project}:")
            for line in changes.lines(trail.time_zone):
                self._display.display(line, color=C.COLOR_WARN if line.startswith("By others") else None)

    def _write_file(self):
        path = os.path.abspath(os.path.expanduser(self.get_option("dest")))
        document = {"failure": self._failure, "plays": self._plays}
        replace_file(path, [json.dumps(document, indent=2).encode()], "dest")

    def _warn_on_error(self, step, trail=None):
        """Run a step; if it fails, print a warning, let its trail restart with the next play, and return None."""
        try:
            return step()
        except Exception as error:  # noqa: BLE001
            project = ""
            if trail is not None:
                trail.cursor, project = None, trail.project
            failure = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            self._failure = self._failure or failure
            if project not in self._projects_with_warning:
                self._projects_with_warning.add(project)
                of_project = f" of {project}" if project else ""
                self._display.warning(f"project_logs_trail cannot show the changes{of_project}: {failure}")
        return None
