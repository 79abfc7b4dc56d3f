# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an archive may claim about time: from when to when it misses nothing, and until when it must be read again.

Two clocks are known, the server's and the host's. A claim that something was read takes the earlier one, a claim that
the provider may have deleted something the later one, so that a single wrong clock never claims too much.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Optional

from ...times import RETENTION
from ..format.commit import Commit, Gap

VISIBILITY_DELAY = timedelta(seconds=10)
"""Entries may become visible a little late; nothing is claimed for the last moments."""

RETENTION_MARGIN = timedelta(minutes=10)
"""How much earlier than announced the provider is taken to delete."""

MAX_SKEW = timedelta(minutes=30)
"""By how much the two clocks may differ. A hardware clock on local time is off by at least an hour."""

MAX_CLOCK_LEAD = timedelta(hours=1)
"""How far after the clock of a verifier or collector a commit may have been made."""

DATE_RESOLUTION = timedelta(seconds=2)
"""The server's date has whole seconds."""


def retention_gap(covered: datetime, asked: datetime) -> Optional[Gap]:
    """The gap that opened if the provider may have deleted entries after ``covered`` before ``asked``."""
    oldest_left = asked - RETENTION + RETENTION_MARGIN
    return Gap(covered, oldest_left, "retention") if oldest_left > covered else None


def retention_deadline(covered: datetime) -> datetime:
    """When the provider may begin to delete entries that were not read yet."""
    return covered + RETENTION - RETENTION_MARGIN


def is_at_end(commit: Commit) -> bool:
    """Whether this commit's read reached the end of what the log then had."""
    return commit.covered_until >= commit.server_date - VISIBILITY_DELAY - DATE_RESOLUTION


class CoverageTracker:
    """Follows the pages of a run and keeps what may be claimed after each of them.

    ``head`` is the newest commit. ``start`` is where a new archive begins. ``asked`` is when the run asked for its
    first page, if that was before this tracker was made.
    """

    def __init__(
        self, head: Optional[Commit], start: Optional[datetime] = None, asked: Optional[datetime] = None
    ) -> None:
        self._head = head
        self._start = start
        self._asked = asked
        self._has_arrived = False
        self._server_date: Optional[datetime] = head.server_date if head else None
        self._from = head.covered_from if head else None
        self._until = head.covered_until if head else None

    @property
    def asked(self) -> datetime:
        return _known(self._asked)

    @property
    def covered_from(self) -> datetime:
        return _known(self._from)

    @property
    def covered_until(self) -> datetime:
        return _known(self._until)

    @property
    def server_date(self) -> datetime:
        """The earlier of the two clocks when the newest page arrived; never before the head's."""
        return _known(self._server_date)

    def receive_page(self, server_date: datetime, clock: datetime) -> Optional[Gap]:
        """Note a page before it is used; the gap, if entries may have been deleted before it was asked for."""
        if self._asked is None:
            self._asked = max(server_date, clock)
        earlier = min(server_date, clock)
        self._server_date = earlier if self._server_date is None else max(self._server_date, earlier)
        is_first, self._has_arrived = not self._has_arrived, True
        if self._from is None or self._until is None:
            oldest = self._asked - RETENTION
            begin = oldest if self._start is None else max(self._start, oldest)
            self._from = self._until = min(self._server_date - VISIBILITY_DELAY, begin)
            return None
        gap = retention_gap(self._until, self._asked) if is_first and self._head else None
        if gap is not None:
            self._until = gap.end
        return gap

    def advance(self, least: Optional[datetime], at_end: bool) -> None:
        """Note that a page was used whose least readable timestamp is ``least``; ``at_end``: no page follows now.

        Before the end of the log only the least timestamp counts: one that is out of order must not claim entries that
        were not read.
        """
        reached = self.server_date - VISIBILITY_DELAY
        if not at_end:
            reached = self.covered_until if least is None else min(reached, least - VISIBILITY_DELAY)
        self._until = max(self.covered_until, reached)


def _known(moment: Optional[datetime]) -> datetime:
    if moment is None:
        raise ValueError("no page has arrived yet")
    return moment
