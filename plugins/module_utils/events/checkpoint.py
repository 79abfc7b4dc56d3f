# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checkpoint of a watcher and its replay log: files that are replaced atomically and durably."""

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
    """Where reading continues: the page's URL and the index of its next entry.

    All entries that were visible before ``complete_until`` have been delivered. ``memory`` is the detections' memory
    before the page; None if they must learn it first.
    """

    url: str
    index: int
    complete_until: datetime
    memory: Optional[Memory] = None


@dataclass(frozen=True)
class DeliveredPage:
    """The first ``count`` entries of a page, or a gap, that were delivered at a time.

    ``fired`` maps indexes of entries to the names of the detections that fired. Without it the page is unfinished, and
    the checkpoint has the detections' memory before it.
    """

    url: str
    count: int
    at: datetime
    gap: Optional[Dict[str, Any]] = None
    fired: Optional[Dict[int, List[str]]] = None


class Checkpoint:
    """The saved position of a watcher; without a path it is not saved."""

    def __init__(self, path: Optional[str]) -> None:
        self.path = path
        self._memory: Tuple[Optional[Memory], str] = (None, "null")

    def load(self) -> Optional[Position]:
        """:raises StorageError: the file exists, but is unreadable or not a checkpoint."""
        return _load(self.path, _parse_position, "remove it to begin at start")

    def save(self, position: Position) -> None:
        """:raises StorageError: the position was not saved; the file might still hold the previous one."""
        if self.path is None:
            return
        if position.memory is not self._memory[0]:
            # The memory can be large and is the same for all entries of a page, so its JSON is kept.
            self._memory = (position.memory, json.dumps(position.memory and position.memory.to_json()))
        complete_until = format_time(position.complete_until)
        _save(
            self.path,
            {"url": position.url, "index": position.index, "complete_until": complete_until},
            f', "memory": {self._memory[1]}',
        )


class ReplayLog:
    """The pages that a watcher delivered, oldest first, in a file next to its checkpoint; not saved without one."""

    def __init__(self, checkpoint: Optional[str]) -> None:
        self._path = f"{checkpoint}.recent" if checkpoint else None

    def load(self) -> List[DeliveredPage]:
        """:raises StorageError: the file exists, but is unreadable or not a replay log."""
        return _load(self._path, _parse_pages, "remove it to replay nothing") or []

    def save(self, pages: Iterable[DeliveredPage]) -> None:
        """:raises StorageError: the pages were not saved; the file might still hold the previous ones."""
        _save(self._path, {"pages": [{**asdict(page), "at": format_time(page.at)} for page in pages]})


def _load(path: Optional[str], parse: Callable[[Mapping[str, Any]], _T], alternative: str) -> Optional[_T]:
    if path is None or not os.path.lexists(path):
        return None
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read())
        if document["format"] != _FORMAT:
            raise ValueError("unsupported format")
        return parse(document)
    except OSError as exc:
        raise StorageError(f"checkpoint: {path} cannot be read: {exc.strerror}.") from exc
    except (AttributeError, KeyError, TypeError, ValueError, InvalidInput) as exc:
        raise StorageError(f"checkpoint: {path} is not a valid checkpoint; restore it, or {alternative}.") from exc


def _save(path: Optional[str], document: Mapping[str, Any], members: str = "") -> None:
    """Replace the file with a document; ``members`` are further members as JSON text that begins with a comma."""
    if path is None:
        return
    text = json.dumps({"format": _FORMAT, **document}, sort_keys=True)
    try:
        replace_file(path, [f"{text[:-1]}{members}}}".encode()], "checkpoint")
    except InvalidInput as exc:
        raise StorageError(exc.message) from exc


def _parse_position(document: Mapping[str, Any]) -> Position:
    url, index, complete_until = document["url"], document["index"], parse_timestamp(document["complete_until"])
    if not isinstance(url, str) or not isinstance(index, int) or complete_until is None:
        raise ValueError("not a position")
    memory = document.get("memory")
    return Position(url, index, complete_until, None if memory is None else Memory.from_json(memory))


def _parse_pages(document: Mapping[str, Any]) -> List[DeliveredPage]:
    return [_parse_page(page) for page in document["pages"]]


def _parse_page(document: Mapping[str, Any]) -> DeliveredPage:
    url, count, at = document["url"], document["count"], parse_timestamp(document["at"])
    if not isinstance(url, str) or not isinstance(count, int) or at is None:
        raise ValueError("not a delivered page")
    fired = {int(number): [str(name) for name in names] for number, names in (document.get("fired") or {}).items()}
    return DeliveredPage(url, count, at, document["gap"], fired)
