# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a large range as windows of time, several at once; what comes out is the same, in the windows' order.

The first page tells how dense the log is. A range of a few pages is read on as it began, at no extra cost; a larger
one is divided into windows that meet without gap or overlap. The last window begins well before the server's time of
now and is one chain of pages, so that nothing late is lost and its ``poll_more`` goes on exactly.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Deque, Iterator, List, Optional

from ..errors import Cancelled
from ..settings import Range
from .client import Api, Page, follow_pages
from .entry import timestamp

SETTLED = timedelta(minutes=10)
"""How old an entry must be for all that it could overtake, or be overtaken by, to be visible."""

_FEW_PAGES = 8
_PAGES_A_WINDOW = 8
_PAGES_HELD = 12
_LEAST_WIDTH = timedelta(milliseconds=1)


def side_by_side(api: Api, span: Range, concurrency: int) -> Iterator[Page]:
    """Yield the pages of a range without a cursor; at most ``concurrency`` requests are under way at once.

    :raises AuditError: the read failed; what was yielded before is not the whole.
    """
    first = api.page(api.first_url(span.start, span.end))
    plan = _Plan.of(first, span)
    if plan is None:
        yield first
        if first.next is not None:
            yield from follow_pages(api, first.next)
        return
    yield from _Race(api, plan, concurrency).pages()


@dataclass(frozen=True)
class _Window:
    """A part of the range; ``is_last`` when it is the one that reaches its end."""

    span: Range
    is_last: bool


class _Plan:
    """Cuts windows off a range, one after the other, each as wide as the ones before it were dense."""

    def __init__(self, span: Range, settled: datetime, begin: datetime, width: timedelta) -> None:
        self._span = span
        self._settled = settled
        self._begin = begin
        self._start = span.start
        self._width = width
        self._done = False

    @classmethod
    def of(cls, first: Page, span: Range) -> Optional[_Plan]:
        """None when the range is small, or when its first page does not tell enough."""
        moments = [moment for moment in map(timestamp, first.entries) if moment is not None]
        if first.next is None or first.server_date is None or not moments:
            return None
        oldest, newest = min(moments), max(moments)
        settled = first.server_date - SETTLED
        end = settled if span.end is None else min(span.end, settled)
        page_width = newest - oldest
        if page_width <= timedelta(0) or (end - newest) / page_width < _FEW_PAGES:
            return None
        return cls(span, end, oldest, page_width * _PAGES_A_WINDOW)

    def next(self) -> Optional[_Window]:
        if self._done:
            return None
        edge = self._begin + self._width
        self._done = edge + self._width / 2 >= self._settled
        end = self._span.end if self._done else edge
        window = _Window(replace(self._span, start=self._start, end=end), self._done)
        self._begin = self._start = edge
        return window

    def rest_after(self, window: _Window) -> Optional[Range]:
        return None if window.is_last else replace(self._span, start=window.span.end)

    def learn(self, pages: int) -> None:
        """Make the windows to come wider or narrower by how many pages one of them had."""
        factor = min(4.0, max(0.25, _PAGES_A_WINDOW / max(pages, 1)))
        self._width = max(_LEAST_WIDTH, self._width * ((1 + factor) / 2))


class _Lane:
    """The pages of one window on their way from the thread that reads it to the one that yields it."""

    def __init__(self, window: _Window) -> None:
        self.window = window
        self.pages = 0
        self.forgot_range = False
        self._held: Deque[Page] = deque()
        self._ended = False
        self._closed = False
        self._error: Optional[BaseException] = None
        self._changed = threading.Condition()

    def put(self, page: Page) -> None:
        """Hand a page over; waits while too many are held.

        :raises Cancelled: nobody wants them any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._held) < _PAGES_HELD or self._closed)
            if self._closed:
                raise Cancelled("The read was stopped.")
            self._held.append(page)
            self.pages += 1
            self._changed.notify_all()

    def end(self, error: Optional[BaseException] = None) -> None:
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._held.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Page]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._held) or self._ended)
                if not self._held:
                    break
                page = self._held.popleft()
                self._changed.notify_all()
            yield page
        if self._error is not None:
            raise self._error


class _Race:
    """Threads that each read one window after the other, never further ahead than there are threads."""

    def __init__(self, api: Api, plan: _Plan, concurrency: int) -> None:
        self._api = api
        self._plan = plan
        self._halt = threading.Event()
        self._lock = threading.Condition()
        self._lanes: Deque[_Lane] = deque()
        self._ahead = 0
        self._error: Optional[BaseException] = None
        self._threads = [
            threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(concurrency)
        ]

    def pages(self) -> Iterator[Page]:
        for thread in self._threads:
            thread.start()
        try:
            while True:
                lane = self._next_lane()
                yield from lane
                rest = self._plan.rest_after(lane.window)
                if rest is None:
                    return
                if lane.forgot_range:
                    break
                self._leave(lane)
        finally:
            self._stop()
        # The API forgets the range on later pages: windows would read on into each other. One chain reads the rest.
        for page in follow_pages(self._api, self._api.first_url(rest.start, rest.end)):
            yield within(page, rest)

    def _next_lane(self) -> _Lane:
        with self._lock:
            self._lock.wait_for(lambda: bool(self._lanes) or self._error is not None)
            if not self._lanes and self._error is not None:
                raise self._error
            return self._lanes[0]

    def _leave(self, lane: _Lane) -> None:
        with self._lock:
            self._lanes.popleft()
            self._ahead -= 1
            self._plan.learn(lane.pages)
            self._lock.notify_all()

    def _stop(self) -> None:
        self._halt.set()
        with self._lock:
            for lane in self._lanes:
                lane.close()
            self._lock.notify_all()

    def _work(self, number: int) -> None:
        try:
            with self._api.sibling(self._halt) as api:
                lane = self._new_lane(number)
                while lane is not None:
                    self._read(api, lane)
                    lane = self._new_lane(number)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the thread that yields the pages
            with self._lock:
                self._error = error
                self._lock.notify_all()

    def _new_lane(self, number: int) -> Optional[_Lane]:
        """The next window to read; None when there is none, or when the API asked for fewer requests at once."""
        with self._lock:
            self._lock.wait_for(lambda: self._ahead < len(self._threads) or self._halt.is_set())
            surplus = number >= max(1, len(self._threads) - self._api.gate.overloads)
            window = None if self._halt.is_set() or surplus else self._plan.next()
            if window is None:
                return None
            lane = _Lane(window)
            self._lanes.append(lane)
            self._ahead += 1
            self._lock.notify_all()
            return lane

    def _read(self, api: Api, lane: _Lane) -> None:
        span = lane.window.span
        try:
            for page in follow_pages(api, api.first_url(span.start, span.end)):
                inside = within(page, span)
                lane.forgot_range = lane.forgot_range or len(inside.entries) < len(page.entries)
                lane.put(inside)
                if lane.forgot_range and _is_past(page, span):
                    break
        except BaseException as error:
            lane.end(error)
            raise
        lane.end()


def within(page: Page, span: Range) -> Page:
    """The page with only those entries that the range holds."""
    return replace(page, entries=[entry for entry in page.entries if span.holds(timestamp(entry))])


def _is_past(page: Page, span: Range) -> bool:
    """Whether a page lies wholly behind a window, by more than entries overtake each other."""
    moments: List[Optional[datetime]] = [timestamp(entry) for entry in page.entries]
    end = span.end
    return (
        bool(moments) and end is not None and all(moment is not None and moment >= end + SETTLED for moment in moments)
    )
