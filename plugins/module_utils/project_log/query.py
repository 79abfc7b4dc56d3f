# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Queries of the log, as the module and the lookup run them: a range, a selection of its entries, and counts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from ..settings import Connection, Range, concurrency
from ..times import utc_now
from .client import Api
from .entry import Entry
from .reader import Reader
from .selection import Selection, keep_newest
from .summary import Summary
from .windows import LATENESS


class Query:
    """One query: checks the options first, then reads entries.

    ``poll_more`` and ``summary`` are complete when ``entries()`` is exhausted.

    :raises InvalidInput: an option is not valid.
    """

    def __init__(self, options: Mapping[str, Any], now: Optional[datetime] = None) -> None:
        self._connection = Connection.from_mapping(options)
        self._range = Range.from_mapping(options, now or utc_now())
        self._selection = Selection.from_mapping(options)
        self._concurrency = concurrency(options)
        self._counts = Summary()
        self._matched = 0
        self._reader: Optional[Reader] = None

    def entries(self) -> Iterator[Entry]:
        """Read the range and yield the selected entries in the API's order; with a limit, only after the last page.

        :raises AuditError: the read failed; the entries yielded before are not complete.
        """
        with Api(self._connection) as api:
            self._reader = Reader(api, self._concurrency, LATENESS)
            for entry, moment in keep_newest(self._selected(self._reader), self._selection.limit):
                self._counts.count(entry, moment)
                yield entry

    @property
    def poll_more(self) -> Optional[str]:
        return self._reader.poll_more if self._reader else None

    @property
    def range_empty(self) -> bool:
        """True if the log cannot have entries of the range, so that a result without entries means nothing."""
        return not self._range.can_have_entries

    @property
    def warnings(self) -> List[str]:
        return self._range.warnings

    @property
    def summary(self) -> Dict[str, Any]:
        """Counts of the entries yielded, of the entries and pages read, and whether the limit removed matches."""
        counts = self._counts.as_dict()
        counts["matched"] = self._matched
        counts["read"] = self._reader.entries_read if self._reader else 0
        counts["pages"] = self._reader.pages_read if self._reader else 0
        counts["truncated"] = self._matched > self._counts.entries
        return counts

    def _selected(self, reader: Reader) -> Iterator[Tuple[Entry, Optional[datetime]]]:
        for page in reader.pages(self._range):
            for entry, moment in zip(page.entries, page.timestamps):
                if self._selection.matches(entry):
                    self._matched += 1
                    yield entry, moment
