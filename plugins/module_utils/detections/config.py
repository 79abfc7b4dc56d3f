# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the configuration file of ``detect`` and ``notify``: detections, facts of the site, and receivers."""

from __future__ import annotations

import json
import os
from typing import Any, List, NamedTuple

from ..errors import InvalidInput
from ..settings import describe_unknown
from .catalogue import select_detections
from .detection import Detection, SiteFacts

_KNOWN_KEYS = (
    *("version", "detections", "enable", "disable"),
    *("own_actors", "working_hours", "holidays", "known_networks", "reviewers", "notify"),
)


class Config(NamedTuple):
    """The content of a configuration file. ``notify`` is the list of receivers as written, or None."""

    detections: List[Detection]
    facts: SiteFacts
    notify: Any = None


def read_config(path: str, option: str) -> Config:
    """Read a configuration file, which the user passed as ``option``.

    :raises InvalidInput: the file cannot be read, or a key is unknown or not valid.
    """
    return parse_config(_read(path, option), f"{option}: {path}")


def built_in_config() -> Config:
    """The configuration that applies without a file."""
    return parse_config({"version": 1}, "")


def parse_config(content: Any, source: str) -> Config:
    """Read the content of a configuration file.

    :raises InvalidInput: a key is unknown or not valid; the message names the ``source``.
    """
    if not isinstance(content, dict) or content.get("version") != 1:
        raise InvalidInput(f'{source} is not a valid configuration; it must be an object with "version": 1.')
    unknown = describe_unknown(content, _KNOWN_KEYS)
    if unknown:
        raise InvalidInput(f"{source} has unknown keys: {', '.join(unknown)}.")
    detections = select_detections(content.get("detections", ()), content.get("enable"), content.get("disable"))
    return Config(detections, SiteFacts.from_mapping(content), content.get("notify"))


def _read(path: str, option: str) -> Any:
    try:
        with open(os.path.expanduser(path), "rb") as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise InvalidInput(f"{option}: {path} cannot be read: {reason}.") from exc
