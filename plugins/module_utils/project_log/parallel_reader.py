# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a large range as windows in parallel, and yields what a sequential read yields, in the same order.

The log is a sequence: entries are added only at its end, and a cursor is a position in it. A read with ``start=b``
begins with the first entries of that sequence stamped at or after ``b``, and its ``next`` points after the last of
them. So one request finds a position in the middle of the log, and a window *opens* there. The window's later pages are
those that a sequential read gets from the same cursor, no matter which parts of the range the API keeps in its URLs.

Positions, not timestamps, decide which window yields an entry. A window owns the entries after its opening page, up to
and including those on the opening page of the next window. The first window also owns its own opening page. Each entry
is yielded exactly once:

1. Every position is on or before the first opening page, between the ends of two successive opening pages, or after
   the last one. So it belongs to exactly one window.
2. A window finds its last entry by counting. The opening page of the next window, which begins at ``b``, contains the
   first n entries of the range stamped at or after ``b``. The window reads the same n entries in the same order:
   those before its own position are on its own opening page, because they are stamped after its own begin as well;
   the others are on its later pages. The n-th of them is the last entry that it owns.
3. An entry that became visible late, no matter how late, is stamped before ``b`` but its position is after ``b``.
   Opening pages omit it. The window that owns its position yields it, because later pages are not limited by ``b``.
4. The last window reads until there is no ``next``; its ``poll_more`` is that of a sequential read.

Each boundary is verified: the n entries must be equal, and the cursors must agree. If they do not, the later windows
are dropped and the window continues to the end, as a sequential read would. The same happens if an opening page cannot
be used. A cursor that is not a plain number could contain the range itself; then the range is read sequentially.

A range is read sequentially until the estimate after a page shows many more pages. That page is the opening page of
the first window. Later windows begin after every entry that was read before it, so the proof includes them.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Callable, Deque, Iterator, List, Optional
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ..errors import Cancelled
from ..settings import Range
from ..times import format_time
from .client import Api, Page, follow_pages
from .windows import BoundaryMismatch, Plan, Window, cursor_number, known_timestamps, take_until

# In pages: a window is split only if it has more left than this.
_MIN_SPLIT = 10
# In pages: maximum buffer of the window that is being yielded. All windows together can buffer this much per thread.
_MAX_BUFFERED = 16


def read_windows(
    api: Api, time_range: Range, concurrency: int, is_past: Callable[[Page], bool] = lambda _page: False
) -> Iterator[Page]:
    """Yield the pages of a range without a cursor, with at most ``concurrency`` requests at once.

    The read ends with the first page for which ``is_past`` is true; that page is yielded.

    :raises AuditError: the read failed; the pages yielded before are not complete.
    """
    newest: Optional[datetime] = None
    for page in take_until(is_past, follow_pages(api, api.first_url(time_range.start, time_range.end))):
        # Estimate the rest again after each page: the first pages can cover weeks, and a later one an hour.
        plan = Plan.of(page, time_range, concurrency)
        if plan is not None:
            window = Window(plan.begin, page, newest)
            yield from ParallelReader(api, time_range, plan, window, concurrency, is_past).pages()
            return
        yield page
        newest = max([*known_timestamps(page), *([newest] if newest else [])], default=None)


class _UnusableWindow(Exception):
    """A window cannot be opened at its planned begin."""


class ParallelReader:
    """Threads that read windows, and a generator that yields their pages in the log's order."""

    def __init__(
        self, api: Api, time_range: Range, plan: Plan, first: Window, concurrency: int, is_past: Callable[[Page], bool]
    ) -> None:
        self._api = api
        self._time_range = time_range
        self._plan = plan
        self._is_past = is_past
        self._concurrency = concurrency
        self._stop_event = threading.Event()
        self._changed = threading.Condition()
        self._running_requests = 0
        self._buffered = 0
        self._opened_count = 1
        self._may_append = True
        self._may_split = True
        self._error: Optional[BaseException] = None
        self._windows: Deque[Window] = deque([first])
        self._unread: List[Window] = [first]
        self._threads = [threading.Thread(target=self._work, daemon=True) for _number in range(concurrency)]

    def pages(self) -> Iterator[Page]:
        for thread in self._threads:
            thread.start()
        try:
            first = self._windows[0].opening
            if first is not None:
                yield first
            while self._windows:
                yield from self._pages_of_first_window()
        finally:
            self._stop()

    def _pages_of_first_window(self) -> Iterator[Page]:
        window = self._windows[0]
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(window.buffer) or window.is_done or self._error is not None)
                if self._error is not None:
                    raise self._error
                if not window.buffer:
                    self._windows.popleft()
                    self._changed.notify_all()
                    return
                page = window.buffer.popleft()
                self._buffered -= 1
                self._changed.notify_all()
            yield page

    def _stop(self) -> None:
        self._stop_event.set()
        with self._changed:
            self._changed.notify_all()

    # In the threads that read

    def _work(self) -> None:
        try:
            with self._api.clone(self._stop_event) as api:
                window = self._next_window()
                while window is not None:
                    self._read(api, window)
                    window = self._next_window()
        except BaseException as error:  # noqa: BLE001 - re-raised in the consuming thread
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _next_window(self) -> Optional[Window]:
        """Wait for a window to read; None if the read has ended."""
        with self._changed:
            while not self._stop_event.is_set():
                window = self._unread.pop() if self._unread else self._append() or self._split()
                if window is not None:
                    return window
                self._changed.wait()
        return None

    def _append(self) -> Optional[Window]:
        if not self._may_append or not self._windows or len(self._windows) > self._concurrency:
            return None
        # Begin with one window and double: the first page could be a burst that says nothing about the rest.
        if sum(window.opening is None for window in self._windows) >= self._opened_count:
            return None
        last = self._windows[-1]
        begin = self._plan.begin_after(last)
        return None if begin is None else self._insert(last, begin)

    def _split(self) -> Optional[Window]:
        """Split the window with the most pages left: a burst, or the end of the range."""
        if not self._may_split or not self._windows or len(self._windows) > 2 * self._concurrency:
            return None
        longest = max(self._windows, key=self._pages_left)
        left = self._pages_left(longest)
        if left < _MIN_SPLIT or longest.newest is None:
            return None
        begin = longest.newest + (self._end_of(longest) - longest.newest) * min(0.5, self._plan.width / left)
        return self._insert(longest, begin) if longest.newest < begin < self._end_of(longest) else None

    def _pages_left(self, window: Window) -> float:
        return window.pages_left(self._end_of(window))

    def _end_of(self, window: Window) -> datetime:
        return window.next_window.begin if window.next_window else self._plan.end

    def _insert(self, before: Window, begin: datetime) -> Window:
        """Add a window that begins after every entry read by the window before it.

        So the window before reads every entry of the new opening page.
        """
        window = Window(begin)
        before.matched = 0
        window.next_window, before.next_window = before.next_window, window
        self._windows.insert(self._windows.index(before) + 1, window)
        return window

    def _read(self, api: Api, window: Window) -> None:
        try:
            url = self._open(api, window)
            if url is not None:
                self._read_pages(api, window, url)
            self._finish(window)
        except _UnusableWindow:
            self._extend_previous(window)
        except Cancelled:
            if not window.is_dropped:
                raise

    def _open(self, api: Api, window: Window) -> Optional[str]:
        """The URL of the page after the opening page; None if the window ends with its opening page.

        :raises _UnusableWindow: the opening page is empty, or is the last page of the log.
        """
        if window.opening is not None:
            return window.opening.next
        with self._request_slot():
            opening = api.page(api.first_url(window.begin, self._time_range.end))
        if not known_timestamps(opening) or cursor_number(opening.next) is None:
            raise _UnusableWindow
        with self._changed:
            window.opening = opening
            self._opened_count += 1
            window.observe(opening)
            if window.newest is not None:
                self._plan.update_pace(window.newest - window.begin, 1)
            self._changed.notify_all()
        try:
            if self._count_owned(window, opening) is None:
                return self._with_start(opening.next)
            # The next window opens with the same entries.
            if window.next_window is not None and window.next_window.cursor == window.cursor:
                return None
        except BoundaryMismatch:
            pass
        self._fall_back_to_sequential(window)
        return self._with_start(opening.next)

    def _with_start(self, url: Optional[str]) -> Optional[str]:
        """The URL that a sequential read would use: with the range's start, if the API keeps a start in its URLs."""
        parts = urlsplit(url or "")
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        if not any(name == "start" for name, _value in pairs):
            return url
        start = self._time_range.start
        kept = [(name, value) for name, value in pairs if name != "start"]
        kept += [] if start is None else [("start", format_time(start))]
        return urlunsplit(parts._replace(query=urlencode(kept)))

    def _read_pages(self, api: Api, window: Window, url: str) -> None:
        before = window.cursor
        pages = follow_pages(api, url)
        while not window.is_dropped:
            with self._request_slot():
                page = next(pages, None)
            if page is None:
                break
            if page.next is None:
                self._buffer_page(window, page)
                break
            try:
                count = self._count_owned(window, page)
                if count is not None:
                    window.check_cursors(before, page)
                    self._buffer_page(window, replace(page, entries=page.entries[:count]))
                    return
            except BoundaryMismatch:
                self._fall_back_to_sequential(window)
            before = cursor_number(page.next)
            self._buffer_page(window, page)
            if self._is_past(page):
                break
        # This window reached the end of the log, so it contains all entries of later windows.
        with self._changed:
            if not window.is_dropped:
                self._may_append = False
                # Set this here, not in _finish: until then, another thread could split this window.
                window.is_done = True
                self._drop_after(window)

    def _count_owned(self, window: Window, page: Page) -> Optional[int]:
        """The number of a page's entries that belong to the window; None if all do and the window continues.

        :raises BoundaryMismatch: the entries are not those of the next window's opening page.
        """
        newest = max(known_timestamps(page), default=None)
        with self._changed:
            self._changed.wait_for(lambda: self._is_over(window) or not window.must_wait(newest))
            if self._is_over(window):
                raise Cancelled("The read was stopped.")
            if page is not window.opening:
                window.observe(page)
                window.pages += 1
            return window.match(page, self._time_range.end)

    def _is_over(self, window: Window) -> bool:
        return window.is_dropped or self._stop_event.is_set()

    def _buffer_page(self, window: Window, page: Page) -> None:
        """Buffer a page to be yielded; wait while the buffer is full.

        :raises Cancelled: the window was dropped or the read was stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_over(window) or self._has_room(window))
            if self._is_over(window):
                raise Cancelled("The read was stopped.")
            window.buffer.append(page)
            self._buffered += 1
            self._changed.notify_all()

    def _has_room(self, window: Window) -> bool:
        if self._windows and window is self._windows[0]:
            return len(window.buffer) < _MAX_BUFFERED
        return self._buffered < _MAX_BUFFERED * self._concurrency

    def _finish(self, window: Window) -> None:
        with self._changed:
            window.is_done = True
            if window.newest is not None:
                self._plan.update_pace(window.newest - window.begin, window.pages)
            self._changed.notify_all()

    def _extend_previous(self, window: Window) -> None:
        """Drop this window; the previous one reads the rest, because few entries are later than this begin."""
        with self._changed:
            if window.is_dropped:
                return
            self._plan.end = min(self._plan.end, window.begin)
            self._drop_after(self._windows[self._windows.index(window) - 1])

    def _fall_back_to_sequential(self, window: Window) -> None:
        """Drop all later windows; this one continues to the end of the log, as a sequential read would."""
        with self._changed:
            self._may_append = self._may_split = False
            self._drop_after(window)

    def _drop_after(self, window: Window) -> None:
        if window.is_dropped:
            return
        window.next_window = None
        while self._windows[-1] is not window:
            dropped = self._windows.pop()
            dropped.is_dropped = True
            self._buffered -= len(dropped.buffer)
            dropped.buffer.clear()
        self._changed.notify_all()

    @contextmanager
    def _request_slot(self) -> Iterator[None]:
        """Wait until a request may be sent; after each "slow down" from the API, one fewer is allowed at once."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop_event.is_set() or self._running_requests < self._max_requests())
            if self._stop_event.is_set():
                raise Cancelled("The read was stopped.")
            self._running_requests += 1
        try:
            yield
        finally:
            with self._changed:
                self._running_requests -= 1
                self._changed.notify_all()

    def _max_requests(self) -> int:
        return max(1, self._concurrency - self._api.throttle.overloads)
