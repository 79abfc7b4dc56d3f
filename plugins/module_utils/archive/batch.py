# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The content of the next commit: pages read since the head, compressed by UTC day."""

from __future__ import annotations

from string import punctuation
from typing import Dict, List, Tuple
from urllib.parse import quote, urlsplit

from ..project_log.client import Page
from .format.commit import DataFile, Gap, utc_day
from .format.data_file import DayFile
from .overlap import FetchedEntry


class Batch:
    """Pages that were read from ``cursor_before`` on and are not committed yet."""

    def __init__(self, cursor_before: str) -> None:
        self.cursor_before = cursor_before
        self.cursor_after = cursor_before
        self.pages = 0
        self.entries = 0
        self.gaps: List[Gap] = []
        self._bytes = 0
        self._days: Dict[str, DayFile] = {}

    def without_entries(self) -> Batch:
        """A batch of as many pages that adds nothing and leaves the cursor where it was."""
        empty = Batch(self.cursor_before)
        empty.pages = self.pages
        return empty

    def add(self, fetched: FetchedEntry) -> None:
        day = utc_day(fetched.moment)
        if day not in self._days:
            self._days[day] = DayFile(day)
        self._days[day].add(fetched.line, fetched.moment)
        self._bytes += len(fetched.line)
        self.entries += 1

    def end_page(self, page: Page) -> None:
        """Move the cursor past a page whose entries were added."""
        self.cursor_after = encoded_query(page.poll_more if page.next is None else page.next)
        self.pages += 1

    def is_full(self, max_entries: int, max_bytes: int, max_pages: int) -> bool:
        """True if the batch has content and reached one of the limits."""
        is_at_limit = self.entries >= max_entries or self._bytes >= max_bytes or self.pages >= max_pages
        return self.has_content and is_at_limit

    @property
    def has_content(self) -> bool:
        """True if the batch has entries or gaps, not only a later cursor."""
        return bool(self.entries or self.gaps)

    def finish(self, sequence: int) -> List[Tuple[DataFile, bytes]]:
        """Return the data files for the commit with this sequence, and their bytes."""
        return [self._days[day].finish(sequence) for day in sorted(self._days)]


def encoded_query(url: str) -> str:
    """Return the query of a URL unchanged, but with non-ASCII characters percent-encoded."""
    return quote(urlsplit(url).query, safe=punctuation)
