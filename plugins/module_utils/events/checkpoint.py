# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a watch of the log stands, kept in files that are replaced as a whole and durably."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple, TypeVar

from ..detections.detector import Memory
from ..errors import InvalidInput, StorageError
from ..files import replace_file
from ..times import format_time, parse_timestamp

_FORMAT = 1
_T = TypeVar("_T")


@dataclass(frozen=True)
class Position:
    """Where to go on: the page's URL and the index of its next entry. Nothing visible until ``seen`` is missing.

    ``memory`` is what the detections remembered before the page; None: they have to learn first.
    """

    url: str
    index: int
    complete_until: datetime
    memory: Optional[Memory] = None


@dataclass(frozen=True)
class DeliveredPage:
    """What was handed on lately, and when: so many entries of a page, the first ones, or a gap.

    ``fired`` has the names of the detections that fired, by the index of the entry. Without it the page is the one
    under way, before which the detections' memory is known.
    """

    url: str
    count: int
    at: datetime
    gap: Optional[Dict[str, Any]] = None
    fired: Optional[Dict[int, List[str]]] = None


class Checkpoint:
    """The position of a watch; without a path it is kept nowhere."""

    def __init__(self, path: Optional[str]) -> None:
        self.path = path
        self._memory: Tuple[Optional[Memory], str] = (None, "null")

    def load(self) -> Optional[Position]:
        """:raises StorageError: the file cannot be read, or holds no checkpoint: never taken for none at all."""
        return _load(self.path, _parse_position, "remove it to begin at start")

    def save(self, position: Position) -> None:
        """:raises StorageError: the position is not safely on disk; the one before may still be there."""
        if self.path is None:
            return
        if position.memory is not self._memory[0]:
            # It can be large, and stays the same for all entries of a page.
            self._memory = (position.memory, json.dumps(position.memory and position.memory.to_json()))
        complete_until = format_time(position.complete_until)
        _save(
            self.path,
            {"url": position.url, "index": position.index, "seen": complete_until},
            f', "memory": {self._memory[1]}',
        )


class ReplayLog:
    """The visits of a watch, the oldest first, in a file beside its checkpoint; without one they are kept nowhere."""

    def __init__(self, checkpoint: Optional[str]) -> None:
        self._path = f"{checkpoint}.recent" if checkpoint else None

    def load(self) -> List[DeliveredPage]:
        """:raises StorageError: the file cannot be read, or holds no visits."""
        return _load(self._path, _parse_pages, "remove it to hand on nothing again") or []

    def save(self, visits: Iterable[DeliveredPage]) -> None:
        """:raises StorageError: they are not safely on disk; those saved before may still be there."""
        _save(self._path, {"visits": [{**asdict(visit), "at": format_time(visit.at)} for visit in visits]})


def _load(path: Optional[str], read: Callable[[Mapping[str, Any]], _T], otherwise: str) -> Optional[_T]:
    if path is None or not os.path.lexists(path):
        return None
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read())
        if document["format"] != _FORMAT:
            raise ValueError("another format")
        return read(document)
    except OSError as exc:
        raise StorageError(f"checkpoint: {path} cannot be read: {exc.strerror}.") from exc
    except (AttributeError, KeyError, TypeError, ValueError, InvalidInput) as exc:
        raise StorageError(f"checkpoint: {path} is damaged or no checkpoint; restore it, or {otherwise}.") from exc


def _save(path: Optional[str], document: Mapping[str, Any], more: str = "") -> None:
    """Replace the file by a document; ``more`` are further members of it, as JSON that begins with a comma."""
    if path is None:
        return
    text = json.dumps({"format": _FORMAT, **document}, sort_keys=True)
    try:
        replace_file(path, [f"{text[:-1]}{more}}}".encode()], "checkpoint")
    except InvalidInput as exc:
        raise StorageError(exc.message) from exc


def _parse_position(document: Mapping[str, Any]) -> Position:
    url, index, complete_until = document["url"], document["index"], parse_timestamp(document["seen"])
    if not isinstance(url, str) or not isinstance(index, int) or complete_until is None:
        raise ValueError("no position")
    memory = document.get("memory")
    return Position(url, index, complete_until, None if memory is None else Memory.from_json(memory))


def _parse_pages(document: Mapping[str, Any]) -> List[DeliveredPage]:
    return [_parse_page(visit) for visit in document["visits"]]


def _parse_page(document: Mapping[str, Any]) -> DeliveredPage:
    url, count, at = document["url"], document["count"], parse_timestamp(document["at"])
    if not isinstance(url, str) or not isinstance(count, int) or at is None:
        raise ValueError("no visit")
    fired = {int(number): [str(name) for name in names] for number, names in (document.get("fired") or {}).items()}
    return DeliveredPage(url, count, at, document["gap"], fired)
