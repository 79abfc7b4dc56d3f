# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Completeness of a report: the part of the time range that each source covers, and the missing parts."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from ..settings import Range
from .query.sources import Origin

_A_MINUTE = timedelta(minutes=1)
"""Times are shown to the minute: a shorter part is not reported as missing."""
_MINUTE = "%Y-%m-%d %H:%M"
_SECOND = "%Y-%m-%d %H:%M:%S"


class SourceCoverage(NamedTuple):
    """A source with its coverage in local times. ``missing`` are parts of the time range that no source covers."""

    origin: Origin
    covered_from: str
    covered_until: str
    missing: List[Tuple[str, str, str]]


class Period(NamedTuple):
    """A time range as text, with the coverage of each source."""

    name: str
    coverage: List[SourceCoverage]

    @property
    def is_complete(self) -> bool:
        return not any(source.missing for source in self.coverage)

    def reasons(self, project: str) -> List[str]:
        """Reasons for missing data of a project; empty if the period is covered."""
        sources = (source for source in self.coverage if source.origin.project == project)
        return list(dict.fromkeys(why for source in sources for _start, _end, why in source.missing))


def state_of(coverage: Sequence[SourceCoverage]) -> str:
    """State of a time range: ``complete``, ``unfinished`` (not over yet), or ``incomplete``."""
    reasons = {why for source in coverage for _start, _end, why in source.missing}
    if not reasons:
        return "complete"
    return "unfinished" if reasons == {"future"} else "incomplete"


Missing = Tuple[datetime, Optional[datetime], str]
"""Start and end of a missing part, and the reason; the end None is now."""


def coverage_of(
    origins: Sequence[Origin], time_range: Range, now: datetime, at: Callable[[Optional[datetime], str], str]
) -> List[SourceCoverage]:
    """Each source with its missing parts of a time range. ``at`` formats times."""
    found = []
    for origin in origins:
        missing = [
            (at(start, _MINUTE), at(end, _MINUTE), why)
            for start, end, why in missing_of(origin, origins, time_range, now)
        ]
        found.append(
            SourceCoverage(origin, at(origin.covered_from, _SECOND), at(origin.covered_until, _SECOND), missing)
        )
    return found


def missing_of(origin: Origin, origins: Sequence[Origin], time_range: Range, now: datetime) -> List[Missing]:
    """The parts of the time range that neither the source nor the API has.

    The part after ``now`` is missing as well. If a project has an archive, the archive's row names the parts.
    """
    is_in_archives_row = origin.archive is None and any(
        other.archive and other.project == origin.project for other in origins
    )
    found: List[Missing] = []
    if time_range.start is None or time_range.start <= now:
        if time_range.end is None or time_range.end - now <= _A_MINUTE:
            return _missing_until_now(origin, origins, time_range)
        found = _missing_until_now(origin, origins, time_range.intersect(end=now))
    return found if is_in_archives_row else [*found, (_latest(time_range.start, now), time_range.end, "future")]


def _missing_until_now(origin: Origin, origins: Sequence[Origin], time_range: Range) -> List[Missing]:
    """The missing parts of a range that has passed.

    The provider deletes entries continuously. Deletions are reported in whole days, so that the same entries give the
    same report.
    """
    of_project = [other for other in origins if other.project == origin.project]
    at_api = _earliest(*(other.covered_from for other in of_project if other.archive is None))
    day = None if at_api is None else _end_of_day(at_api)
    if origin.archive is None:
        # An archive's row names the missing parts.
        if at_api is None or time_range.start is None or any(other.archive for other in of_project):
            return []
        is_lost = at_api - time_range.start > _A_MINUTE
        return [(time_range.start, _earliest(day, time_range.end), "retention")] if is_lost else []
    found: List[Missing] = list(origin.gaps)
    begins, ends = _earliest(origin.covered_from, at_api), origin.covered_until
    if time_range.start and begins and time_range.start < begins:
        found.insert(0, (time_range.start, _earliest(origin.covered_from, day, time_range.end), "before"))
    goes_on = _earliest(at_api, time_range.end)
    if ends and (goes_on is None or ends < goes_on):
        found.append((ends, _earliest(day, time_range.end), "after"))
    return found


def _end_of_day(moment: datetime) -> datetime:
    """The next midnight of UTC."""
    return datetime.combine(moment.date() + timedelta(days=1), time(), timezone.utc)


def _latest(start: Optional[datetime], now: datetime) -> datetime:
    return now if start is None else max(start, now)


def _earliest(*moments: Optional[datetime]) -> Optional[datetime]:
    """The earliest time; None is never."""
    return min((moment for moment in moments if moment is not None), default=None)
