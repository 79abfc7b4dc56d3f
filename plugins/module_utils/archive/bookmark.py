# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers, in a small file outside the archive, the commit up to which entries were forwarded."""

from __future__ import annotations

import json
import os
import time
from typing import Callable, List, NamedTuple, Optional

from ..errors import StorageError
from ..files import replace_file
from .format.commit import Head

SETTLE_SECONDS = 600.0
"""Seconds after which a receiver has stored the entries durably; journald syncs most of them every five minutes."""

BOOT_TIME_TOLERANCE = 5.0
"""Seconds by which two readings of the time of one boot can differ, because clocks are adjusted."""


class Mark(NamedTuple):
    """A commit, and the time (seconds since 1970) at which all commits up to it were forwarded."""

    head: Head
    forwarded_at: float


class Bookmark:
    """The marks of the last minutes, and the newest one older than that.

    A receiver that buffers entries in memory loses them when the host's power fails. After a boot, entries are
    therefore forwarded again from the newest mark that was older than SETTLE_SECONDS. Tests pass their own ``clock``
    and ``boot``, which returns the time of the boot in seconds since 1970.
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
        """Return the commits that count as forwarded, the newest first; an empty list if there is no file yet.

        :raises StorageError: the file is unreadable or not a bookmark.
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
        except OSError as exc:
            raise StorageError(
                f"Cannot read the bookmark {self._path}: {exc.strerror or exc}; run this as the owner of the file."
            ) from exc
        except (ValueError, LookupError, TypeError, RecursionError) as exc:
            raise StorageError(
                f"Cannot read the bookmark {self._path}: {exc}; delete it to forward all entries again."
            ) from exc
        if marks and abs(booted - self._boot) > BOOT_TIME_TOLERANCE:
            marks = [mark for mark in marks if mark.forwarded_at <= marks[-1].forwarded_at - SETTLE_SECONDS]
        self._marks, self._is_new = marks, True
        return [mark.head for mark in reversed(marks)]

    def write(self, head: Head) -> None:
        """Remember durably that all commits up to this one were forwarded.

        :raises InvalidInput: the path is not valid for a file.
        :raises StorageError: the file cannot be written.
        """
        now = self._clock()
        if not self._is_new:  # keep one mark per run
            self._marks.pop()
        self._is_new = False
        self._marks.append(Mark(head, now))
        settled = [mark for mark in self._marks if mark.forwarded_at <= now - SETTLE_SECONDS]
        self._marks = settled[-1:] + self._marks[len(settled) :]
        text = json.dumps({"boot": self._boot, "marks": [[*mark.head, mark.forwarded_at] for mark in self._marks]})
        replace_file(self._path, [text.encode()], "bookmark")


def boot_time() -> float:
    """Return when the host was booted, in seconds since 1970 by its present clock."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
