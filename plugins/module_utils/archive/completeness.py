# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which parts of a time range an archive does not hold, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

from ..settings import CLOCK_TOLERANCE, Range
from ..times import format_optional
from .format.commit import Commit, Gap

MAX_LAG = timedelta(hours=2)
"""How far an archive that is collected may lag behind the present: without new entries, a run records only once an hour
that it read the log, and runs are an hour apart at most."""

NOT_COVERED, PRUNED, NOT_COLLECTED, FUTURE = "not covered", "pruned", "not collected", "future"
"""Why a part is missing, besides the reasons of recorded gaps."""


class Missing(NamedTuple):
    """A part of a time range that an archive does not hold; a bound is None where the range has none."""

    start: Optional[datetime]
    end: Optional[datetime]
    why: str

    def to_json(self) -> Dict[str, Any]:
        return {"from": format_optional(self.start), "to": format_optional(self.end), "why": self.why}


def missing_parts(commit: Commit, gaps: Sequence[Gap], asked: Range, now: datetime) -> List[Missing]:
    """The parts of the range ``asked`` that the archive as of ``commit`` does not hold, the oldest first.

    ``gaps`` are the recorded ones. Without a start the range begins where the archive began. An end that has passed
    counts exactly. A later end, or none, means the present, which a collected archive lags behind: then the last
    MAX_LAG before ``now`` are not missing, unless the archive holds nothing of the range. What lies in the future is
    missing under that name.
    """
    found = (part for part in _absent(commit, gaps, asked, now) if not Range(part.start, part.end).is_empty)
    return sorted(found, key=lambda part: part.start or part.end or now)


def holds_whole(asked: Range, missing: Sequence[Missing]) -> bool:
    """Whether nothing but the future is missing from a range that was asked for; True where none was."""
    is_asked = asked.start is not None or asked.end is not None
    return not is_asked or all(part.why == FUTURE for part in missing)


def _absent(commit: Commit, gaps: Sequence[Gap], asked: Range, now: datetime) -> Iterator[Missing]:
    if asked.start is not None or (asked.end is not None and asked.end <= commit.covered_from):
        yield _part(asked.within(end=commit.covered_from), NOT_COVERED)
    yield _part(asked.within(commit.covered_from, commit.kept_from), PRUNED)
    for gap in gaps:
        yield _part(asked.within(max(gap.start, commit.kept_from), gap.end), gap.why)
    yield from _not_collected(commit.covered_until, asked, now)


def _not_collected(covered_until: datetime, asked: Range, now: datetime) -> Iterator[Missing]:
    if asked.start is not None and asked.start >= covered_until:
        yield _part(asked, NOT_COLLECTED)
        return
    if asked.end is not None and asked.end <= now - CLOCK_TOLERANCE:
        yield _part(asked.within(start=covered_until), NOT_COLLECTED)
        return
    if covered_until < now - MAX_LAG:
        yield _part(asked.within(covered_until, now), NOT_COLLECTED)
    if asked.end is not None and asked.end > now + CLOCK_TOLERANCE:
        yield _part(asked.within(start=now), FUTURE)


def _part(span: Range, why: str) -> Missing:
    return Missing(span.start, span.end, why)
