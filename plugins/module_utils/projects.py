# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The projects file: which projects a host archives, where, and how. It contains no secrets.

{"version": 1, "projects": [{"name": "prod", "path": "/srv/audit/prod", "token_file": "/etc/tokens/prod"}]}
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Dict, List, Mapping, Optional, Union

from .errors import InvalidInput
from .settings import describe_unknown
from .times import parse_age, parse_duration, utc_now

HOST_PROJECTS_FILE = "/etc/cloudscale-audit/projects.json"
"""The projects of an archiver host, as the role ``archiver`` writes them."""

HOST_STATE_DIRECTORY = "/var/lib/cloudscale-audit"

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
"""The form of a project's name."""

_TEXTS = ("path", "token_file", "api_url", "ca_path", "start", "sign_key_file", "allowed_signers", "reconcile_start")
_BUCKET_TEXTS = ("s3_endpoint", "s3_region", "s3_ca_path", "s3_credentials_file", "s3_profile")
_AGES = ("retention", "compact_older_than")
_TIMESTAMPS = ("timestamp_url", "timestamp_every", "timestamp_ca")


@dataclass(frozen=True)
class ProjectSettings:
    """How one project is archived.

    ``every`` is the minimum time between two collection runs. ``pin`` is the path of the pinned head, True for a file
    in the state directory, False for none. ``retention`` and ``compact_older_than`` are ages for prune and compact,
    such as ``3y``. The ``s3_`` settings are those of a bucket; its credentials are one profile of a shared credentials
    file. ``timestamp_url`` is a time stamping authority that stamps the head at most once in ``timestamp_every``.
    ``state_directory`` contains the command's state between runs.
    """

    name: str
    path: str
    token_file: Optional[str] = None
    api_url: Optional[str] = None
    ca_path: Optional[str] = None
    start: Optional[str] = None
    every: Optional[timedelta] = None
    pin: Union[bool, str] = True
    sign_key_file: Optional[str] = None
    allowed_signers: Optional[str] = None
    enabled: bool = True
    reconcile_start: Optional[str] = None
    retention: Optional[str] = None
    compact_older_than: Optional[str] = None
    s3_endpoint: Optional[str] = None
    s3_region: Optional[str] = None
    s3_ca_path: Optional[str] = None
    s3_credentials_file: Optional[str] = None
    s3_profile: Optional[str] = None
    timestamp_url: Optional[str] = None
    timestamp_every: Optional[str] = None
    timestamp_ca: Optional[str] = None
    timestamp_required: bool = False
    state_directory: str = ""

    @property
    def pin_path(self) -> Optional[str]:
        """Path of the file with the pinned head; None if there is none."""
        if isinstance(self.pin, str):
            return self.pin
        return os.path.join(self.state_directory, "pin.json") if self.pin else None


_SETTINGS = tuple(setting.name for setting in fields(ProjectSettings) if setting.name != "state_directory")


def read_projects(path: str) -> List[ProjectSettings]:
    """Read a projects file; the projects in its order.

    :raises InvalidInput: the file cannot be read, or a setting is missing, unknown or not valid.
    """
    absolute = os.path.abspath(os.path.expanduser(path))
    try:
        with open(absolute, "rb") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise InvalidInput(f"The projects file {path} cannot be read: {reason}.") from exc
    if not isinstance(content, dict) or content.get("version") != 1 or not isinstance(content.get("projects"), list):
        raise InvalidInput(f'{path} is not a valid projects file; use the form {{"version": 1, "projects": [...]}}.')
    projects = [_read_project(value, path, absolute) for value in content["projects"]]
    _check_unique([project.name for project in projects], "name", path)
    _check_unique([project.path for project in projects], "path", path)
    return projects


def archive_at(path: str) -> ProjectSettings:
    """The settings of an archive without a projects file, for commands that only read."""
    address = path if path.startswith("s3://") else os.path.abspath(os.path.expanduser(path))
    return ProjectSettings(name=path, path=path, pin=False, state_directory=user_state_directory(address))


def user_state_directory(archive: str) -> str:
    """The directory with the state of this user's runs on an archive, by the archive's address."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    digest = hashlib.sha256(archive.encode("utf-8", "surrogateescape")).hexdigest()
    return os.path.join(home, "cloudscale-audit", digest)


def _read_project(value: Any, file: str, absolute: str) -> ProjectSettings:
    if not isinstance(value, dict):
        raise InvalidInput(f"{file}: {value!r} is not a valid project; use an object with name and path.")
    name = value.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidInput(
            f"{file}: {name!r} is not a valid name of a project; use lower-case letters, digits, - and _ (at most 64)."
        )
    unknown = describe_unknown(value, _SETTINGS)
    if unknown:
        raise InvalidInput(f"{file}: project {name} has unknown settings: {', '.join(unknown)}.")
    settings: Dict[str, Any] = {key: _text(value, key, name, file) for key in (*_TEXTS, *_BUCKET_TEXTS, *_TIMESTAMPS)}
    path = settings["path"]
    if not path or not (os.path.isabs(path) or path.startswith("s3://")):
        raise InvalidInput(f"{file}: path of project {name} must be an absolute path or s3://BUCKET/PREFIX.")
    for key in _AGES:
        settings[key] = _text(value, key, name, file)
        if settings[key]:
            parse_age(settings[key], utc_now(), f"{file}: {key} of project {name}")
    every = _text(value, "every", name, file)
    if not isinstance(value.get("pin", True), (bool, str)):
        raise InvalidInput(f"{file}: pin of project {name} must be true, false or the path of a file.")
    for key in ("enabled", "timestamp_required"):
        if not isinstance(value.get(key, True), bool):
            raise InvalidInput(f"{file}: {key} of project {name} must be true or false.")
    if settings["timestamp_every"]:
        parse_duration(settings["timestamp_every"], f"{file}: timestamp_every of project {name}")
    where = os.path.join(HOST_STATE_DIRECTORY, name) if absolute == HOST_PROJECTS_FILE else user_state_directory(path)
    return ProjectSettings(
        name=name,
        every=parse_duration(every, f"{file}: every of project {name}") if every else None,
        pin=value.get("pin", True),
        enabled=value.get("enabled", True),
        timestamp_required=value.get("timestamp_required", False),
        state_directory=where,
        **settings,
    )


def _text(value: Mapping[str, Any], key: str, name: str, file: str) -> Optional[str]:
    """A setting that is a text; ``$CREDENTIALS_DIRECTORY`` of a systemd service is expanded in it."""
    text = value.get(key)
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise InvalidInput(f"{file}: {key} of project {name} must be a text.")
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return text.replace("$CREDENTIALS_DIRECTORY", directory) if directory else text


def _check_unique(values: List[str], key: str, file: str) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise InvalidInput(f"{file}: two projects have the {key} {value!r}; each needs its own.")
        seen.add(value)
