# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The time range that an archive covers, and the gaps in it.

There are two clocks: the server's and the host's. Coverage is computed with the earlier one, possible deletions by the
provider with the later one, so that one wrong clock never leads to a false claim of completeness.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Optional

from ...times import RETENTION
from ..format.commit import Commit, Gap

VISIBILITY_DELAY = timedelta(seconds=10)
"""Entries can become visible late, so the newest moments do not count as covered."""

RETENTION_MARGIN = timedelta(minutes=10)
"""The provider is assumed to delete entries this much before the end of its retention."""

MAX_SKEW = timedelta(minutes=30)
"""Maximum difference between the two clocks. A hardware clock on local time is wrong by at least an hour."""

MAX_CLOCK_LEAD = timedelta(hours=1)
"""Maximum time by which a commit can be ahead of the clock of a verifier or collector."""

DATE_RESOLUTION = timedelta(seconds=2)
"""The server's date has no fraction of a second."""


def retention_gap(covered: datetime, asked: datetime) -> Optional[Gap]:
    """Return a gap if, at ``asked``, the provider might already have deleted entries newer than ``covered``."""
    oldest_kept = asked - RETENTION + RETENTION_MARGIN
    return Gap(covered, oldest_kept, "retention") if oldest_kept > covered else None


def retention_deadline(covered: datetime) -> datetime:
    """The time from which the provider might delete entries that were not read yet."""
    return covered + RETENTION - RETENTION_MARGIN


def is_at_end(commit: Commit) -> bool:
    """Whether the collection run reached the end of the log before this commit."""
    return commit.covered_until >= commit.server_date - VISIBILITY_DELAY - DATE_RESOLUTION


class CoverageTracker:
    """Computes the covered time range after each page of a collection run.

    ``head`` is the newest commit. ``start`` is the configured start of a new archive. ``asked`` is the time of the
    run's first request, if it was sent before this tracker was created.
    """

    def __init__(
        self, head: Optional[Commit], start: Optional[datetime] = None, asked: Optional[datetime] = None
    ) -> None:
        self._head = head
        self._start = start
        self._asked = asked
        self._has_pages = False
        self._server_date: Optional[datetime] = head.server_date if head else None
        self._from = head.covered_from if head else None
        self._until = head.covered_until if head else None

    @property
    def asked(self) -> datetime:
        return _require(self._asked)

    @property
    def covered_from(self) -> datetime:
        return _require(self._from)

    @property
    def covered_until(self) -> datetime:
        return _require(self._until)

    @property
    def server_date(self) -> datetime:
        """The earlier of the two clocks when the newest page arrived; never before that of the head."""
        return _require(self._server_date)

    def receive_page(self, server_date: datetime, clock: datetime) -> Optional[Gap]:
        """Record the arrival of a page; return the gap if entries might have been deleted before the run started."""
        if self._asked is None:
            self._asked = max(server_date, clock)
        earlier = min(server_date, clock)
        self._server_date = earlier if self._server_date is None else max(self._server_date, earlier)
        is_first = not self._has_pages
        self._has_pages = True
        if self._from is None or self._until is None:
            oldest = self._asked - RETENTION
            begin = oldest if self._start is None else max(self._start, oldest)
            self._from = self._until = min(self._server_date - VISIBILITY_DELAY, begin)
            return None
        gap = retention_gap(self._until, self._asked) if is_first and self._head else None
        if gap is not None:
            self._until = gap.end
        return gap

    def advance(self, earliest: Optional[datetime], at_end: bool) -> None:
        """Extend the covered time range after a page; ``earliest`` is its earliest readable timestamp.

        ``at_end`` means that the page is the last one of the log. Before that, only the earliest timestamp counts: a
        single entry that is far too new must not extend the range over entries that were not read.
        """
        reached = self.server_date - VISIBILITY_DELAY
        if not at_end:
            reached = self.covered_until if earliest is None else min(reached, earliest - VISIBILITY_DELAY)
        self._until = max(self.covered_until, reached)


def _require(moment: Optional[datetime]) -> datetime:
    if moment is None:
        raise ValueError("no page has arrived yet")
    return moment
