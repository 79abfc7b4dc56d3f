# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to Ansible: the options that modules have in common, and core errors as failures of a module."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import Any, Dict, Iterator, NoReturn, Optional

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from .errors import AuditError, Cancelled, InvalidInput, MissingDependency
from .settings import DEFAULT_CONCURRENCY, DEFAULT_URL


def connection_spec() -> Dict[str, Any]:
    """CONNECTION: every module takes these, so that ``module_defaults`` of the action group fits all."""
    return {
        "api_token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["CLOUDSCALE_API_TOKEN"])},
        "api_url": {"type": "str", "default": DEFAULT_URL, "fallback": (env_fallback, ["CLOUDSCALE_API_URL"])},
        "api_timeout": {"type": "int", "default": 45, "fallback": (env_fallback, ["CLOUDSCALE_API_TIMEOUT"])},
        "api_retries": {"type": "int", "default": 8},
        "api_retry_budget": {"type": "int", "default": 600},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
    }


def range_spec() -> Dict[str, Any]:
    """RANGE: which part of the log is read."""
    return {
        "start": {"type": "str"},
        "end": {"type": "str"},
        "cursor": {"type": "str", "aliases": ["poll_more"]},
    }


def selection_spec() -> Dict[str, Any]:
    """SELECTION: which entries of it are meant."""
    return {
        "actions": {"type": "list", "elements": "str"},
        "actors": {"type": "list", "elements": "str"},
        "ip_networks": {"type": "list", "elements": "str"},
        "message_pattern": {"type": "str"},
        "resources": {"type": "list", "elements": "str"},
        "limit": {"type": "int"},
    }


def detections_spec() -> Dict[str, Any]:
    """DETECTIONS: which changes deserve a second look, and the facts of a site that they need."""
    names = ("enable", "disable", "own_actors", "holidays", "known_networks")
    return {
        "detections": {"type": "list", "elements": "dict"},
        **{name: {"type": "list", "elements": "str"} for name in names},
        "working_hours": {"type": "str"},
    }


def concurrency_spec() -> Dict[str, Any]:
    return {"concurrency": {"type": "int", "default": DEFAULT_CONCURRENCY}}


class CloudscaleModule(AnsibleModule):
    """A module whose every failure carries ``failure`` beside ``msg``: one that Ansible finds in the options, too."""

    def fail_json(self, msg: str, **kwargs: Any) -> Any:
        kwargs.setdefault("failure", InvalidInput(msg).failure)
        super().fail_json(msg, **kwargs)

    def add_path_info(self, kwargs: Dict[str, Any]) -> Any:
        """Leave a result with ``path`` and ``state`` as it is: Ansible would replace ``state`` by that of the file."""
        return kwargs if "state" in kwargs else super().add_path_info(kwargs)

    @contextmanager
    def report_errors(self) -> Iterator[None]:
        """Turns a core error that leaves the block into a failure of the module, and so an interruption."""
        # Ansible ends its modules with SIGTERM where it does not pass on the SIGINT of a terminal.
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _interrupt)
        try:
            yield
        except AuditError as error:
            self.fail_json(failure_message(error), failure=error.failure)
        except KeyboardInterrupt:
            self.fail_json("Interrupted.", failure=Cancelled("").failure)


def _interrupt(*_signal: Any) -> NoReturn:
    # An object that was being made, such as an answer, would complain on stderr that it is not whole.
    sys.unraisablehook = lambda _unraisable: None
    raise KeyboardInterrupt


def failure_message(error: AuditError) -> str:
    """What to tell the user: Ansible's own words where they say more, as for a missing library."""
    if isinstance(error, MissingDependency):
        told: Optional[str] = missing_required_lib(error.library)
        return str(told)
    return error.message
