# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Windows of a large range: where each begins and ends, and where the next one continues.

See parallel_reader.py for the threads that read them, and for the proof that each entry is yielded once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil, sqrt
from typing import Callable, Deque, Iterator, List, Optional
from urllib.parse import parse_qs, urlsplit

from ..settings import Range
from .client import Page

LATENESS = timedelta(minutes=10)
"""Maximum time by which an entry can appear after newer entries. The provider promises milliseconds."""

# In pages. Each window costs about 1.5 additional requests. With windows of 16 pages, that is about 9 % more requests.
_MIN_RANGE = 8
_MIN_WINDOW = 8
_MAX_WINDOW = 16
_MAX_PACE_CHANGE = 64
# In seconds: the resolution of timestamps.
_TIME_RESOLUTION = 1e-6


def take_until(is_past: Callable[[Page], bool], pages: Iterator[Page]) -> Iterator[Page]:
    """The pages up to and including the first for which ``is_past`` is true."""
    for page in pages:
        yield page
        if is_past(page):
            return


def clip(page: Page, time_range: Range) -> Page:
    """The page with only the entries of the range."""
    inside = [entry for entry, moment in zip(page.entries, page.timestamps) if time_range.contains(moment)]
    return page if len(inside) == len(page.entries) else replace(page, entries=inside)


@dataclass
class Plan:
    """Where windows can begin: up to ``end``, about ``width`` pages apart. ``pace`` is the time that a page covers."""

    begin: datetime
    end: datetime
    pace: timedelta
    width: int

    @classmethod
    def of(cls, first: Page, time_range: Range, concurrency: int) -> Optional[Plan]:
        """Plan a range by its first page; None if the range is small, or cannot be estimated by that page."""
        moments = known_timestamps(first)
        if cursor_number(first.next) is None or first.server_date is None or not moments:
            return None
        begin, newest = min(moments), max(moments)
        end = first.server_date if time_range.end is None else min(time_range.end, first.server_date)
        pace = max(newest - begin, timedelta(seconds=_TIME_RESOLUTION))
        pages = (end - newest) / pace
        if pages < _MIN_RANGE:
            return None
        # The same number of windows for each thread, so that all threads are busy until the end.
        rounds = ceil(pages / (concurrency * _MAX_WINDOW))
        width = min(_MAX_WINDOW, max(_MIN_WINDOW, ceil(pages / (concurrency * rounds))))
        return cls(begin, end, pace, width)

    def update_pace(self, covered: timedelta, pages: int) -> None:
        """Adjust the pace to the time that some pages covered."""
        if covered > timedelta(0):
            self.pace = (self.pace + covered / pages) / 2

    def begin_after(self, window: Window) -> Optional[datetime]:
        """Where to open the next window after the last one; None if the last one should read the rest."""
        step = self.pace * self.width
        begin = window.begin + step
        if window.newest is not None and begin <= window.newest:
            begin = window.newest + step
        return begin if begin + step / 2 < self.end else None


class Window:
    """A part of the log that begins with an opening page, and the pages read of it that are not yielded yet.

    ``newest`` is its newest timestamp, ``pace`` the number of seconds that one of its pages covers. ``matched`` counts
    the entries of the next window's opening page that this window has read.
    """

    def __init__(self, begin: datetime, opening: Optional[Page] = None, newest: Optional[datetime] = None) -> None:
        self.begin = begin
        self.opening = opening
        self.newest = newest
        self.pace: Optional[float] = None
        self.pages = 1
        self.matched = 0
        self.next_window: Optional[Window] = None
        self.buffer: Deque[Page] = deque()
        self.is_done = False
        self.is_dropped = False
        if opening is not None:
            self.observe(opening)

    @property
    def cursor(self) -> Optional[int]:
        """The position after the opening page."""
        return cursor_number(self.opening.next) if self.opening else None

    def observe(self, page: Page) -> None:
        """Update ``newest`` and ``pace`` by a page; ``pace`` adapts within a few pages."""
        known = known_timestamps(page)
        if not known:
            return
        before = self.begin if self.newest is None else self.newest
        self.newest = max(before, *known)
        covered = max((self.newest - before).total_seconds(), _TIME_RESOLUTION)
        self.pace = covered if self.pace is None else sqrt(self.pace * max(covered, self.pace / _MAX_PACE_CHANGE))

    def pages_left(self, end: datetime) -> float:
        """The estimated number of pages up to a time."""
        if self.opening is None or self.newest is None or self.pace is None or self.is_done:
            return 0.0
        return (end - self.newest).total_seconds() / self.pace

    def must_wait(self, newest: Optional[datetime]) -> bool:
        """True if a page with this newest entry reaches the next window before that window is open."""
        if self.next_window is None or self.next_window.opening is not None:
            return False
        return newest is not None and newest >= self.next_window.begin

    def match(self, page: Page, end: Optional[datetime]) -> Optional[int]:
        """The number of a page's entries that belong to the window; None if all do and the window continues.

        ``end`` is the end of the range.

        :raises BoundaryMismatch: the entries are not those of the next window's opening page.
        """
        next_window = self.next_window
        if next_window is None or next_window.opening is None:
            return None
        expected = next_window.opening.entries
        for position, (entry, moment) in enumerate(zip(page.entries, page.timestamps)):
            if moment is not None and (moment < next_window.begin or (end is not None and moment >= end)):
                continue
            if entry == expected[self.matched]:
                self.matched += 1
            elif moment is not None:
                raise BoundaryMismatch
            if self.matched == len(expected):
                return position + 1
        return None

    def check_cursors(self, before: Optional[int], page: Page) -> None:
        """Check that the next window's opening page ends on the page that was requested with cursor ``before``.

        :raises BoundaryMismatch: it does not.
        """
        after = cursor_number(page.next or page.poll_more)
        opened = self.next_window.cursor if self.next_window else None
        if before is None or after is None or opened is None or not before < opened <= after:
            raise BoundaryMismatch


class BoundaryMismatch(Exception):
    """The boundary between two windows cannot be verified."""


def known_timestamps(page: Page) -> List[datetime]:
    return [moment for moment in page.timestamps if moment is not None]


def cursor_number(url: Optional[str]) -> Optional[int]:
    """The cursor of a URL; None if it is not a number."""
    values = parse_qs(urlsplit(url or "").query).get("cursor", [])
    return int(values[0]) if len(values) == 1 and values[0].isascii() and values[0].isdecimal() else None
