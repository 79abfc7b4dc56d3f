# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a range of the log, or the entries after a cursor, as a stream of pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Iterator, Optional

from ..settings import Range
from ..times import utc_now
from .client import Api, Page, follow_pages
from .parallel_reader import read_windows
from .windows import LATENESS, clip, take_until


class Reader:
    """One read, or a read and the polls that continue it. ``poll_more`` is the URL to continue from.

    ``concurrency`` is the maximum number of requests at once. With a ``lateness``, a read ends with the first page
    whose entries are all later than the range's ``end`` plus this tolerance. Without it, a read continues to the newest
    entry, for callers that also need entries of the range that became visible later.
    """

    def __init__(self, api: Api, concurrency: int = 1, lateness: Optional[timedelta] = None) -> None:
        self._api = api
        self._concurrency = concurrency
        self._lateness = lateness
        self._time_range = Range()
        self._newest: Optional[Page] = None
        self._reached_end = False
        self.pages_read = 0
        self.entries_read = 0

    def pages(self, time_range: Range) -> Iterator[Page]:
        """Yield each page as it arrives, with only the entries of the range; keep none of them.

        The range is checked again here, because the API can forget it on later pages. An entry whose timestamp is
        unreadable is always included.

        :raises AuditError: the read failed; the pages yielded before are not complete.
        """
        self._time_range = time_range = self._resolve_cursor(time_range)
        for page in self._fetch_pages(time_range):
            self._newest = page
            # A range without start and end contains everything.
            inside = page if time_range.start is None and time_range.end is None else clip(page, time_range)
            self._reached_end = self._reached_end or self._reaches_end(page)
            self.pages_read += 1
            self.entries_read += len(inside.entries)
            yield inside

    @property
    def poll_more(self) -> Optional[str]:
        """The URL to continue from: the API's own, which later returns the entries that became visible since.

        After a range that ended in the past, it is a URL with that end as ``start``, which returns all entries stamped
        since then. Neither read returns entries stamped before the end that become visible later.
        """
        if self._newest is None:
            return None
        end, now = self._time_range.end, self._newest.server_date
        if end is not None and (
            self._reached_end or (self._sends_end(self._time_range) and (now is None or end <= now))
        ):
            return self._api.first_url(start=end)
        return self._newest.poll_more

    def _resolve_cursor(self, time_range: Range) -> Range:
        """Replace a cursor that only carries a start time (see ``poll_more``) by a range with that start."""
        start = None if time_range.cursor is None else self._api.start_of(time_range.cursor)
        return time_range if start is None else Range(start=start, now=time_range.now)

    def _fetch_pages(self, time_range: Range) -> Iterator[Page]:
        if time_range.cursor is not None:
            return follow_pages(self._api, self._api.cursor_url(time_range.cursor))
        sent = time_range if self._sends_end(time_range) else Range(start=time_range.start)
        if self._concurrency == 1:
            return take_until(self._is_past, follow_pages(self._api, self._api.first_url(sent.start, sent.end)))
        return read_windows(self._api, sent, self._concurrency, self._is_past)

    def _sends_end(self, time_range: Range) -> bool:
        """True if the API gets the end. A recent end is checked here only, to see whether any entry was later."""
        return time_range.end is not None and time_range.end < (time_range.now or utc_now()) - LATENESS

    def _is_past(self, page: Page) -> bool:
        end = self._time_range.end
        if end is None or self._lateness is None or not page.entries:
            return False
        return all(moment is not None and moment >= end + self._lateness for moment in page.timestamps)

    def _reaches_end(self, page: Page) -> bool:
        end = self._time_range.end
        return end is not None and any(moment is not None and moment >= end for moment in page.timestamps)
