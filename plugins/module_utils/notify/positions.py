# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bookmark of ``notify``: for each receiver its position in an archive, with the memory of the detections there.

The memory is stored because learning it again would read the complete archive in each run, and would give another
result once old entries are pruned. Its size depends on the number of actors, tokens and networks, not on the entries.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..archive.bookmark import BOOT_TIME_TOLERANCE, SETTLE_SECONDS, boot_time
from ..archive.format.commit import Head
from ..detections.detector import Memory
from ..errors import InvalidInput, StorageError
from ..files import draft_file, replace_file

_VERSION = 1
_writing = threading.Lock()


@dataclass(frozen=True, eq=False)
class Position:
    """The position after a commit (None: before the first), with the memory of the detections there.

    ``last_alert`` is the id of the last delivered alert of the next commit. ``alert_counts`` has the number of all
    alerts so far by severity.
    """

    head: Optional[Head] = None
    memory: Memory = field(default_factory=Memory)
    alert_counts: Mapping[str, int] = field(default_factory=dict)
    last_alert: Optional[str] = None

    @property
    def sequence(self) -> int:
        return self.head.sequence if self.head else 0

    def is_equal(self, other: Position) -> bool:
        return (self.head, self.last_alert) == (other.head, other.last_alert) and self.memory is other.memory


class TimedPosition(NamedTuple):
    """A position of a receiver, and the time when it had the position, in seconds since 1970."""

    position: Position
    at: float


@dataclass
class Progress:
    """The positions of one receiver, newest last, and the commit that ends the current digest."""

    positions: List[TimedPosition]
    digest_end: Optional[int] = None

    def after_reboot(self) -> Progress:
        """The progress that counts after a reboot: alerts that the receiver had only in memory are delivered again."""
        settled = [timed for timed in self.positions if timed.at <= self.positions[-1].at - SETTLE_SECONDS]
        return Progress(settled or self.positions[:1])

    def without_outdated(self, now: float) -> Progress:
        """The positions that a reboot can still need: those of the last minutes, and one older position."""
        settled = [timed for timed in self.positions if timed.at <= now - SETTLE_SECONDS]
        return Progress(settled[-1:] + self.positions[len(settled) :], self.digest_end)


class PositionFile:
    """The part of a bookmark file for one archive. ``clock`` and ``boot`` are seams for tests.

    The archive is found by its path, or by its id if the archive was moved.
    """

    def __init__(
        self,
        path: str,
        archive: str,
        clock: Callable[[], float] = time.time,
        boot: Callable[[], float] = boot_time,
    ) -> None:
        self._path = os.path.abspath(os.path.expanduser(path))
        self._archive = archive
        self._boot = boot()
        self.clock = clock
        self.was_rebooted = False

    def __str__(self) -> str:
        return self._path

    def check(self) -> None:
        """Fail before anything is sent if the file is not writable.

        :raises InvalidInput: the path is not usable.
        :raises StorageError: no file can be created in its directory.
        """
        with draft_file(self._path, "--bookmark"):
            pass

    def read(self, archive_id: Optional[str] = None) -> Dict[str, Progress]:
        """The progress of each receiver by its key; empty if the file has none for this archive.

        :raises StorageError: the file is unreadable or not a valid bookmark.
        """
        for own in self._records_of_archive(self._read(), archive_id):
            try:
                memories = [Memory.from_json(value) for value in own["memories"]]
                positions = [_parse_position(value, memories) for value in own["positions"]]
                self.was_rebooted = abs(float(own["boot"]) - self._boot) > BOOT_TIME_TOLERANCE
                return {str(key): _parse_progress(value, positions) for key, value in own["receivers"].items()}
            except (LookupError, TypeError, ValueError, AttributeError, InvalidInput) as exc:
                raise self._read_error(exc) from exc
        return {}

    def write(self, archive_id: str, receivers: Mapping[str, Progress]) -> None:
        """Durably save the progress of each receiver, and remove all other receivers of this archive.

        :raises InvalidInput: the path is not usable.
        :raises StorageError: the file cannot be written.
        """
        table = _PositionTable()
        progress_by_receiver = {
            key: {
                "timed_positions": [
                    [table.index_of(timed.position), timed.position.last_alert, timed.at]
                    for timed in progress.positions
                ],
                "digest_end": progress.digest_end,
            }
            for key, progress in receivers.items()
        }
        own = {"archive": self._archive, "archive_id": archive_id, "boot": self._boot, **table.to_json()}
        with self._locked():
            content = self._read()
            others = [value for value in content if value not in self._records_of_archive(content, archive_id)]
            archives = [*others, {**own, "receivers": progress_by_receiver}]
            text = json.dumps({"version": _VERSION, "archives": archives})
            replace_file(self._path, [text.encode()], "--bookmark")

    def _records_of_archive(self, content: List[Any], archive_id: Optional[str]) -> List[Any]:
        by_address = [value for value in content if value.get("archive") == self._archive]
        return by_address or [value for value in content if archive_id and value.get("archive_id") == archive_id]

    def _read(self) -> List[Any]:
        try:
            with open(self._path, "rb") as file:
                content = json.loads(file.read())
            if content["version"] != _VERSION or not all(isinstance(value, dict) for value in content["archives"]):
                raise ValueError("it is not a bookmark of notify")
            return list(content["archives"])
        except FileNotFoundError:
            return []
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as exc:
            raise self._read_error(exc) from exc

    def _read_error(self, exc: Exception) -> StorageError:
        return StorageError(
            f"Cannot read the bookmark {self._path}: {getattr(exc, 'message', exc)}; restore it or remove it. "
            "Without a bookmark, all receivers are new."
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Prevent concurrent writes by runs on other archives."""
        with _writing:
            try:
                directory = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY)
            except OSError:  # the write fails with a better error
                yield
                return
            try:
                fcntl.flock(directory, fcntl.LOCK_EX)
                yield
            finally:
                os.close(directory)


class _PositionTable:
    """The distinct positions and memories of all receivers, so that each is stored once."""

    def __init__(self) -> None:
        self._memories: Dict[int, Memory] = {}
        self._positions: Dict[Tuple[int, int], Position] = {}

    def index_of(self, position: Position) -> int:
        self._memories.setdefault(id(position.memory), position.memory)
        self._positions.setdefault((id(position.memory), position.sequence), position)
        return list(self._positions).index((id(position.memory), position.sequence))

    def to_json(self) -> Dict[str, Any]:
        numbers = {key: number for number, key in enumerate(self._memories)}
        positions = [
            {
                "head": list(position.head) if position.head else None,
                "alert_counts": dict(position.alert_counts),
                "memory": numbers[id(position.memory)],
            }
            for position in self._positions.values()
        ]
        return {"memories": [memory.to_json() for memory in self._memories.values()], "positions": positions}


def _parse_position(value: Any, memories: List[Memory]) -> Position:
    head = value["head"]
    counts = {str(severity): int(count) for severity, count in value["alert_counts"].items()}
    return Position(Head(int(head[0]), str(head[1])) if head else None, memories[int(value["memory"])], counts)


def _parse_progress(value: Any, positions: List[Position]) -> Progress:
    timed_positions = [
        TimedPosition(_with_last_alert(positions[int(number)], last_alert), float(at))
        for number, last_alert, at in value["timed_positions"]
    ]
    if not timed_positions:
        raise ValueError("a receiver has no position")
    digest_end = value["digest_end"]
    return Progress(timed_positions, None if digest_end is None else int(digest_end))


def _with_last_alert(position: Position, last_alert: Optional[str]) -> Position:
    last_alert = None if last_alert is None else str(last_alert)
    return Position(position.head, position.memory, position.alert_counts, last_alert)
