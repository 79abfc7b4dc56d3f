# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a range of the log, or on from a cursor, as a stream of pages."""

from __future__ import annotations

from typing import Iterator, List, Optional

from ..settings import Range
from .client import Api, Page, follow_pages
from .windows import side_by_side, within


class Reader:
    """One read. ``poll_more`` is that of the newest page; ``warnings`` are for people.

    ``concurrency`` is the most requests at once.
    """

    def __init__(self, api: Api, concurrency: int = 1) -> None:
        self._api = api
        self._concurrency = concurrency
        self.poll_more: Optional[str] = None
        self.warnings: List[str] = []
        self.pages_read = 0
        self.entries_read = 0

    def pages(self, span: Range) -> Iterator[Page]:
        """Yield each page as it arrives, with only those entries that the range holds; keep none of them.

        The API may forget the range on a later page, so it is checked again here. An entry whose time is unreadable
        is never left out.

        :raises AuditError: the read failed; what was yielded before is not the whole.
        """
        self.warnings.extend(span.warnings)
        for page in self._source(span):
            self.pages_read += 1
            self.entries_read += len(page.entries)
            self.poll_more = page.poll_more
            # An open range holds everything.
            yield page if span.start is None and span.end is None else within(page, span)

    def _source(self, span: Range) -> Iterator[Page]:
        if span.cursor is not None:
            return follow_pages(self._api, self._api.cursor_url(span.cursor))
        if self._concurrency == 1:
            return follow_pages(self._api, self._api.first_url(span.start, span.end))
        return side_by_side(self._api, span, self._concurrency)
