# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file with the detections and the facts of a site, which ``detect`` and ``notify`` read."""

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
    """What such a file says. ``notify`` is the list of receivers as it was written; None without one."""

    detections: List[Detection]
    facts: SiteFacts
    notify: Any = None


def read_config(path: str, option: str) -> Config:
    """Read such a file.

    :raises InvalidInput: it cannot be read, or a key is unknown or not valid; ``option`` is what the user gave it as.
    """
    return parse_config(_read(path, option), f"{option}: {path}")


def built_in_config() -> Config:
    """What applies without such a file."""
    return parse_config({"version": 1}, "")


def parse_config(content: Any, where: str) -> Config:
    """What the content of such a file says.

    :raises InvalidInput: a key is unknown or not valid; ``where`` says whose.
    """
    if not isinstance(content, dict) or content.get("version") != 1:
        raise InvalidInput(f'{where} is not a valid file of detections; it begins with {{"version": 1, …}}.')
    unknown = describe_unknown(content, _KNOWN_KEYS)
    if unknown:
        raise InvalidInput(f"{where} has unknown keys: {', '.join(unknown)}.")
    detections = select_detections(content.get("detections", ()), content.get("enable"), content.get("disable"))
    return Config(detections, SiteFacts.from_mapping(content), content.get("notify"))


def _read(path: str, option: str) -> Any:
    try:
        with open(os.path.expanduser(path), "rb") as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise InvalidInput(f"{option}: {path} cannot be read: {reason}.") from exc
