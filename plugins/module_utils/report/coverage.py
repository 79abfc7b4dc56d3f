# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How complete a report is: what each source covers of a range, and what nobody has."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from ..settings import Range
from .query.sources import Origin

_A_MINUTE = timedelta(minutes=1)
"""Times are shown to the minute: less than that is not told as missing."""
_MINUTE = "%Y-%m-%d %H:%M"
_SECOND = "%Y-%m-%d %H:%M:%S"


class Coverage(NamedTuple):
    """One source as told to people; times are local. ``missing`` are spans of the asked range that nothing covers."""

    origin: Origin
    covered_from: str
    covered_until: str
    missing: List[Tuple[str, str, str]]


class Period(NamedTuple):
    """A time range in words, and what each source covers of it."""

    name: str
    coverage: List[Coverage]

    @property
    def is_complete(self) -> bool:
        return not any(source.missing for source in self.coverage)

    def reasons(self, project: str) -> List[str]:
        """Why data of a project is missing; empty if the period is covered."""
        sources = (source for source in self.coverage if source.origin.project == project)
        return list(dict.fromkeys(why for source in sources for _start, _end, why in source.missing))


def state_of(coverage: Sequence[Coverage]) -> str:
    """What is said first of a range: that it is ``complete``, or not over yet (``unfinished``), or has gaps."""
    reasons = {why for source in coverage for _start, _end, why in source.missing}
    if not reasons:
        return "complete"
    return "unfinished" if reasons == {"future"} else "incomplete"


Missing = Tuple[datetime, Optional[datetime], str]
"""From when to when something is missing, and why; None is the present."""


def coverage_of(
    origins: Sequence[Origin], asked: Range, now: datetime, at: Callable[[Optional[datetime], str], str]
) -> List[Coverage]:
    """Each source, with what it misses of a range, in the times that ``at`` writes."""
    found = []
    for origin in origins:
        missing = [
            (at(start, _MINUTE), at(end, _MINUTE), why) for start, end, why in missing_of(origin, origins, asked, now)
        ]
        found.append(Coverage(origin, at(origin.covered_from, _SECOND), at(origin.covered_until, _SECOND), missing))
    return found


def missing_of(origin: Origin, origins: Sequence[Origin], asked: Range, now: datetime) -> List[Missing]:
    """What a source misses of the asked range, as far as the API does not have it in an archive's place.

    ``now`` is the moment of asking; nobody has what lies after it. Where a project has an archive, that one tells it.
    """
    is_told_by_archive = origin.archive is None and any(
        other.archive and other.project == origin.project for other in origins
    )
    found: List[Missing] = []
    if asked.start is None or asked.start <= now:
        if asked.end is None or asked.end - now <= _A_MINUTE:
            return _missing_until_now(origin, origins, asked)
        found = _missing_until_now(origin, origins, asked.intersect(end=now))
    return found if is_told_by_archive else [*found, (_latest(asked.start, now), asked.end, "future")]


def _missing_until_now(origin: Origin, origins: Sequence[Origin], asked: Range) -> List[Missing]:
    """The same of a range that has passed.

    The provider deletes all the time: what it has no more is told to the end of that day, so that the same entries give
    the same report.
    """
    of_project = [other for other in origins if other.project == origin.project]
    at_api = _earliest(*(other.covered_from for other in of_project if other.archive is None))
    day = None if at_api is None else _end_of_day(at_api)
    if origin.archive is None:
        # Where there is an archive, that one tells what is missing.
        if at_api is None or asked.start is None or any(other.archive for other in of_project):
            return []
        is_lost = at_api - asked.start > _A_MINUTE
        return [(asked.start, _earliest(day, asked.end), "retention")] if is_lost else []
    found: List[Missing] = list(origin.gaps)
    begins, ends = _earliest(origin.covered_from, at_api), origin.covered_until
    if asked.start and begins and asked.start < begins:
        found.insert(0, (asked.start, _earliest(origin.covered_from, day, asked.end), "before"))
    goes_on = _earliest(at_api, asked.end)
    if ends and (goes_on is None or ends < goes_on):
        found.append((ends, _earliest(day, asked.end), "after"))
    return found


def _end_of_day(moment: datetime) -> datetime:
    """The next midnight of UTC."""
    return datetime.combine(moment.date() + timedelta(days=1), time(), timezone.utc)


def _latest(start: Optional[datetime], now: datetime) -> datetime:
    return now if start is None else max(start, now)


def _earliest(*moments: Optional[datetime]) -> Optional[datetime]:
    """None stands for never."""
    return min((moment for moment in moments if moment is not None), default=None)
