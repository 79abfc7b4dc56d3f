# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the parts of a time range that an archive does not contain, and the reason for each."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

from ..settings import CLOCK_TOLERANCE, Range
from ..times import format_optional
from .format.commit import Commit, Gap

MAX_LAG = timedelta(hours=2)
"""How far a collected archive can lag behind the present: runs are at most an hour apart, and without new entries a
run records its coverage only once an hour."""

NOT_COVERED, PRUNED, NOT_COLLECTED, FUTURE = "not covered", "pruned", "not collected", "future"
"""Reasons for a missing part, in addition to the reasons of recorded gaps."""


class MissingRange(NamedTuple):
    """A part of a time range that an archive does not contain; a bound is None where the range has none."""

    start: Optional[datetime]
    end: Optional[datetime]
    why: str

    def to_json(self) -> Dict[str, Any]:
        return {"from": format_optional(self.start), "to": format_optional(self.end), "why": self.why}


def missing_parts(commit: Commit, gaps: Sequence[Gap], requested: Range, now: datetime) -> List[MissingRange]:
    """Return the parts of the range ``requested`` that the archive as of ``commit`` lacks, the oldest first.

    ``gaps`` are the recorded gaps. A range without a start begins where the archive began. A past end applies exactly.
    A later end, or none, means the present: then the last MAX_LAG before ``now`` do not count as missing, unless the
    archive has nothing of the range. The part in the future is missing with the reason ``future``.
    """
    found = (part for part in _candidates(commit, gaps, requested, now) if not Range(part.start, part.end).is_empty)
    return sorted(found, key=lambda part: part.start or part.end or now)


def is_complete(requested: Range, missing: Sequence[MissingRange]) -> bool:
    """True if only the future is missing from a requested range, or if the range has no bounds."""
    has_bounds = requested.start is not None or requested.end is not None
    return not has_bounds or all(part.why == FUTURE for part in missing)


def _candidates(commit: Commit, gaps: Sequence[Gap], requested: Range, now: datetime) -> Iterator[MissingRange]:
    if requested.start is not None or (requested.end is not None and requested.end <= commit.covered_from):
        yield _missing_range(requested.intersect(end=commit.covered_from), NOT_COVERED)
    yield _missing_range(requested.intersect(commit.covered_from, commit.retained_from), PRUNED)
    for gap in gaps:
        yield _missing_range(requested.intersect(max(gap.start, commit.retained_from), gap.end), gap.why)
    yield from _not_collected(commit.covered_until, requested, now)


def _not_collected(covered_until: datetime, requested: Range, now: datetime) -> Iterator[MissingRange]:
    if requested.start is not None and requested.start >= covered_until:
        yield _missing_range(requested, NOT_COLLECTED)
        return
    if requested.end is not None and requested.end <= now - CLOCK_TOLERANCE:
        yield _missing_range(requested.intersect(start=covered_until), NOT_COLLECTED)
        return
    if covered_until < now - MAX_LAG:
        yield _missing_range(requested.intersect(covered_until, now), NOT_COLLECTED)
    if requested.end is not None and requested.end > now + CLOCK_TOLERANCE:
        yield _missing_range(requested.intersect(start=now), FUTURE)


def _missing_range(time_range: Range, why: str) -> MissingRange:
    return MissingRange(time_range.start, time_range.end, why)
