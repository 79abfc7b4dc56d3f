# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an archive may claim about time: from when to when it misses nothing, and until when it has to be read again.

All claims rest on the server's clock and on the entries' timestamps, never on the clock of the host that collects.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Optional

from ...times import RETENTION
from ..format.commit import Commit, Gap

SLACK = timedelta(seconds=10)
"""Entries may become visible a little late; nothing is claimed for the last moments."""

MARGIN = timedelta(minutes=10)
"""How much earlier than announced the provider is taken to delete."""


TOLERANCE = timedelta(seconds=2)
"""How far the server's date may go back from one answer to the next; several machines answer."""


def covered_until(before: datetime, server_date: datetime, newest: Optional[datetime], at_end: bool) -> datetime:
    """Up to when the log was read: near the server's date at the log's end, near the newest entry before that.

    It never goes back from ``before``, and never past the server's date even when an entry claims to be of later.
    """
    reached = server_date - SLACK
    if not at_end:
        reached = before if newest is None else min(reached, newest - SLACK)
    return max(before, reached)


def retention_gap(covered: datetime, position: datetime, server_date: datetime, margin: timedelta) -> Optional[Gap]:
    """The gap that opened if the provider may have deleted entries after ``position`` before they were read."""
    oldest_left = server_date - RETENTION + margin
    if oldest_left <= position:
        return None
    return Gap(covered, max(covered, oldest_left), "retention")


def retention_deadline(covered: datetime) -> datetime:
    """When the provider may begin to delete entries that were not read yet."""
    return covered + RETENTION - MARGIN


def is_at_end(commit: Commit) -> bool:
    """Whether this commit's read reached the end of what the log then had."""
    return commit.covered_until >= commit.server_date - SLACK - TOLERANCE


class Tracker:
    """Follows one chain of pages and keeps what may be claimed after each of them."""

    def __init__(self, head: Optional[Commit], start: Optional[datetime] = None) -> None:
        self._start = start
        self._margin = MARGIN
        self._newest: Optional[datetime] = None
        self._server_date: Optional[datetime] = head.server_date if head else None
        self._from = head.covered_from if head else None
        self._until = head.covered_until if head else None

    @property
    def covered_from(self) -> datetime:
        return _known(self._from)

    @property
    def covered_until(self) -> datetime:
        return _known(self._until)

    @property
    def server_date(self) -> datetime:
        """The newest date that the server told; it does not go back when one of its machines is late."""
        return _known(self._server_date)

    def arrive(self, server_date: datetime) -> Optional[Gap]:
        """Take note of a page before it is used; the gap, if entries may have been deleted before it was asked for.

        Within one chain a page follows the other at once, so only its first page needs the margin.
        """
        self._server_date = server_date if self._server_date is None else max(self._server_date, server_date)
        if self._from is None or self._until is None:
            oldest = server_date - RETENTION
            latest = server_date - SLACK
            self._from = self._until = min(latest, oldest if self._start is None else max(self._start, oldest))
            self._margin = timedelta(0)
            return None
        position = self._until if self._newest is None else max(self._until, self._newest)
        gap = retention_gap(self._until, position, server_date, self._margin)
        self._margin = timedelta(0)
        if gap is not None:
            self._until = gap.end
        return gap

    def use(self, newest: Optional[datetime], at_end: bool) -> None:
        """Take note that a page was used whose newest timestamp is this; ``at_end``: no page follows now."""
        if newest is not None:
            self._newest = newest if self._newest is None else max(self._newest, newest)
        self._until = covered_until(self.covered_until, self.server_date, self._newest, at_end)


def _known(moment: Optional[datetime]) -> datetime:
    if moment is None:
        raise ValueError("no page has arrived yet")
    return moment
