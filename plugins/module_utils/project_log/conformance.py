# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks whether an API behaves as this collection requires, for bug reports. They send GET requests only.

Each check returns a description. It raises an error only for behavior that could lose or duplicate entries; a
difference that is handled, such as another page size, is part of the description.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Callable, Dict, List, Optional, Tuple
from urllib.parse import parse_qs, urlsplit

from ..counts import pluralize
from ..errors import AuditError, CursorRejected, InvalidResponse
from ..times import format_time, utc_now
from .client import Api, Page
from .entry import Entry, timestamp
from .windows import LATENESS

PUBLISHED_PAGE_SIZE = 200

_OLDEST_CURSOR = "1"
_FUTURE = timedelta(hours=1)


class Conformance:
    """The checks of one API, of whose log ``first`` is the first page. They send about ten requests in total.

    A check raises ``InvalidResponse`` if the API behaves in a way that this collection cannot handle, and another
    ``AuditError`` if a page cannot be read.
    """

    def __init__(self, api: Api, first: Page) -> None:
        self._api = api
        self._first = first
        self._pages: Dict[str, Page] = {}

    def checks(self) -> List[Tuple[str, Callable[[], str]]]:
        """The checks by name, in the order to run them."""
        return [
            ("pages", self.page_size),
            ("urls", self.url_form),
            ("polling", self.empty_page),
            ("date", self.date),
            ("order", self.order),
            ("range", self.bounds),
            ("windows", self.positions),
            ("cursors", self.old_cursor),
        ]

    def page_size(self) -> str:
        """Number of entries per page."""
        count = len(self._first.entries)
        if self._first.next is None:
            return f"unknown: the log has one page, of {pluralize(count, 'entry', 'entries')}"
        same = "as published" if count == PUBLISHED_PAGE_SIZE else f"{PUBLISHED_PAGE_SIZE} are published"
        return f"{pluralize(count, 'entry', 'entries')} per page, {same}"

    def url_form(self) -> str:
        """The parameters in ``next`` and ``poll_more`` of a range, and whether cursors are numbers."""
        page = self._read(start=self._oldest, end=self._api_time + LATENESS)
        name = "next" if page.next else "poll_more"
        fields = parse_qs(urlsplit(page.next or page.poll_more).query)
        cursor = "".join(fields.pop("cursor", [""]))
        number = (
            "a number" if _is_number(cursor) else f"not a number ({cursor[:60]!r}), so ranges are read page by page"
        )
        if fields:
            return f"{name} keeps {', '.join(sorted(fields))}, but only the cursor is published; the cursor is {number}"
        return f"{name} contains only the cursor, {number}"

    def empty_page(self) -> str:
        """``poll_more`` of an empty page must not return existing entries."""
        empty = self._read(start=self._api_time + _FUTURE)
        if empty.entries or empty.next is not None:
            found = pluralize(len(empty.entries), "entry", "entries")
            raise InvalidResponse(f"A range that begins in the future returned {found}.", 200)
        polled = self._api.page(empty.poll_more)
        moments = _timestamps(polled.entries)
        if moments and min(moments) < self._api_time - LATENESS:
            raise InvalidResponse(
                f"poll_more of an empty page returned an entry of {format_time(min(moments))}, which is not new.", 200
            )
        return f"poll_more of an empty page returns new entries ({len(polled.entries)})"

    def date(self) -> str:
        """The API must return its time, which archives need."""
        if self._first.server_date is None:
            raise InvalidResponse("The API's response has no Date, so an archive cannot record what it covers.", 200)
        return f"the API returns its time: {format_time(self._first.server_date)}"

    def order(self) -> str:
        """Entries must be in order of time, except late ones; returns the maximum lateness."""
        moments = _timestamps(self._two_pages)
        if len(moments) < 2:
            return "unknown: the log has fewer than two entries"
        if moments[0] > moments[-1] and moments == sorted(moments, reverse=True):
            raise InvalidResponse("The log begins with its newest entry; it must begin with the oldest.", 200)
        late = _largest_lateness(moments)
        if late > LATENESS:
            return (
                f"an entry is {late.total_seconds():.0f} s late; at most {LATENESS.total_seconds():.0f} s are supported"
            )
        return (
            f"{pluralize(len(moments), 'entry', 'entries')}, oldest first; late by at most {late.total_seconds():.3f} s"
        )

    def bounds(self) -> str:
        """``start`` must be inclusive and ``end`` exclusive."""
        middle = self._middle
        if middle is None:
            return "unknown: the log has no entries"
        after, before = self._read(start=middle), self._read(start=self._oldest, end=middle)
        if middle not in _timestamps(after.entries):
            raise InvalidResponse(f"start={format_time(middle)} omits an entry of exactly that time.", 200)
        if min(_timestamps(after.entries)) < middle:
            raise InvalidResponse(f"start={format_time(middle)} returns earlier entries.", 200)
        if any(moment >= middle for moment in _timestamps(before.entries)):
            raise InvalidResponse(f"end={format_time(middle)} returns entries of that time or later.", 200)
        return "start is inclusive, end is exclusive"

    def positions(self) -> str:
        """Whether a read from the middle returns the same entries, in the same order, as a read from the beginning."""
        middle = self._middle
        if middle is None:
            return "unknown: the log has no entries"
        found = self._read(start=middle).entries
        expected = [entry for entry in self._two_pages if _is_at_or_after(entry, middle)]
        length = min(len(expected), len(found))
        if found[:length] != expected[:length]:
            return "a read from the middle returns other entries or another order, so ranges are read page by page"
        return f"a read from the middle returns the same {pluralize(length, 'entry', 'entries')} in the same order"

    def old_cursor(self) -> str:
        """How the API handles a cursor whose entries were deleted, and whether a cursor can be used twice."""
        if self._first.next is not None and self._api.page(self._first.next).entries != self._second:
            raise InvalidResponse("The same cursor returned other entries the second time.", 200)
        try:
            page = self._api.page(f"{self._api.resource_url}?cursor={_OLDEST_CURSOR}")
        except CursorRejected as rejection:
            return f"an old cursor is rejected (HTTP {rejection.status}), although published to continue"
        except AuditError as error:
            return f"an old cursor fails: {error.message}"
        if page.entries[:1] == self._first.entries[:1]:
            return "an old cursor continues at the oldest entry, as published"
        return "an old cursor does not continue at the oldest entry"

    def _read(self, start: Optional[datetime] = None, end: Optional[datetime] = None) -> Page:
        url = self._api.first_url(start, end)
        if url not in self._pages:
            self._pages[url] = self._api.page(url)
        return self._pages[url]

    @property
    def _api_time(self) -> datetime:
        return self._first.server_date or utc_now()

    @property
    def _oldest(self) -> Optional[datetime]:
        return min(_timestamps(self._first.entries), default=None)

    @property
    def _middle(self) -> Optional[datetime]:
        moments = sorted(_timestamps(self._first.entries))
        return moments[len(moments) // 2] if moments else None

    @property
    def _second(self) -> List[Entry]:
        if self._first.next is None:
            return []
        if self._first.next not in self._pages:
            self._pages[self._first.next] = self._api.page(self._first.next)
        return self._pages[self._first.next].entries

    @property
    def _two_pages(self) -> List[Entry]:
        return [*self._first.entries, *self._second]


def _timestamps(entries: List[Entry]) -> List[datetime]:
    return [moment for moment in map(timestamp, entries) if moment is not None]


def _is_at_or_after(entry: Entry, start: datetime) -> bool:
    moment = timestamp(entry)
    return moment is not None and moment >= start


def _largest_lateness(moments: List[datetime]) -> timedelta:
    late, newest = timedelta(0), moments[0]
    for moment in moments:
        newest = max(newest, moment)
        late = max(late, newest - moment)
    return late


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()
