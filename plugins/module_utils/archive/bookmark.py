# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Up to which commit an archive's entries were handed on, remembered in a small file outside the archive."""

from __future__ import annotations

import json
import os
import time
from typing import Callable, List, NamedTuple, Optional

from ..errors import StorageError
from ..files import replace_file
from .format.commit import Head

SETTLE_SECONDS = 600.0
"""Seconds after which what a receiver took is on its disk; journald makes most of it durable every five minutes."""

BOOT_TIME_TOLERANCE = 5.0
"""By how many seconds the time of one boot may seem to differ, since clocks are corrected."""


class Mark(NamedTuple):
    """All commits up to this one were handed on at this moment (seconds since 1970)."""

    head: Head
    forwarded_at: float


class Bookmark:
    """The marks of the last minutes and one older than that. ``clock`` and ``boot`` (when the host was booted, seconds
    since 1970) are seams for tests.

    A receiver that keeps what it was given in memory for a while loses that when the host's power fails. So after any
    boot the last mark that had settled before it counts, and what came after it is handed on once more.
    """

    def __init__(
        self, path: str, clock: Callable[[], float] = time.time, boot: Optional[Callable[[], float]] = None
    ) -> None:
        self._path = os.path.abspath(os.path.expanduser(path))
        self._clock = clock
        self._boot = (boot or boot_time)()
        self._marks: List[Mark] = []
        self._is_new = True

    def __str__(self) -> str:
        return self._path

    def read(self) -> List[Head]:
        """The commits that still count as handed on, the newest first; none when nothing was remembered yet.

        :raises StorageError: the file is unreadable or holds something else.
        """
        try:
            with open(self._path, "rb") as file:
                value = json.loads(file.read())
            marks = [
                Mark(Head(int(number), str(digest)), float(forwarded_at))
                for number, digest, forwarded_at in value["marks"]
            ]
            booted = float(value["boot"])
        except FileNotFoundError:
            marks, booted = [], self._boot
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as exc:
            raise StorageError(
                f"Cannot read the bookmark {self._path}: {exc}; remove it, and all entries are handed on again."
            ) from exc
        if marks and abs(booted - self._boot) > BOOT_TIME_TOLERANCE:
            marks = [mark for mark in marks if mark.forwarded_at <= marks[-1].forwarded_at - SETTLE_SECONDS]
        self._marks, self._is_new = marks, True
        return [mark.head for mark in reversed(marks)]

    def write(self, head: Head) -> None:
        """Remember that all commits up to this one were handed on, durably.

        :raises InvalidInput: the file cannot be where it should.
        :raises StorageError: the file cannot be written.
        """
        now = self._clock()
        if not self._is_new:  # one mark for each run is enough
            self._marks.pop()
        self._is_new = False
        self._marks.append(Mark(head, now))
        settled = [mark for mark in self._marks if mark.forwarded_at <= now - SETTLE_SECONDS]
        self._marks = settled[-1:] + self._marks[len(settled) :]
        text = json.dumps({"boot": self._boot, "marks": [[*mark.head, mark.forwarded_at] for mark in self._marks]})
        replace_file(self._path, [text.encode()], "bookmark")


def boot_time() -> float:
    """When the host was booted, in seconds since 1970 by its clock as it is now."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
