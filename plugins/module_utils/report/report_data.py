# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results of a report: alerts, counts, new values and coverage. They are computed once for all formats."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .alerts import Alerts
from .coverage import Period, SourceCoverage

FIGURES = {
    "entries": "entries",
    "own": "by_own",
    "people": "by_people",
    "tokens": "by_tokens",
    "staff": "by_staff",
    "system": "by_system",
    "actors": "actors",
    "networks": "networks",
}
"""The totals in their order, each with the name of its translated label."""


class ValueCount(NamedTuple):
    """A value and its number of entries.

    ``kind`` is the kind of an actor or a resource, ``of`` the number of a network's addresses, and ``project`` the
    project of a resource.
    """

    name: str
    entries: int
    kind: str = ""
    of: int = 0
    project: str = ""


class FirstSeen(NamedTuple):
    """A value that the baseline period does not have: its first time, name and actor.

    ``key`` and ``value`` are the filter that shows its entries.
    """

    time: str
    name: str
    by: str
    key: str
    value: str


class Figure(NamedTuple):
    """A total by its name, and the total of the period before; None without data."""

    name: str
    value: int
    before: Optional[int]


class MissingPart(NamedTuple):
    """A part of the range without data of a project, in minutes as of EntryRows.minute, and the reason."""

    start: int
    end: int
    why: str
    project: str


@dataclass(frozen=True)
class Heading:
    """Title, time range, time of making and time zone of a report, as texts."""

    title: str
    range_text: str
    made: str
    zone: str
    language: str


@dataclass(frozen=True)
class ReportData:
    """The content of an activity report.

    - ``extent`` is the time of the first and last entry, with offset, for programs.
    - ``preceding`` is the period that the figures are compared with; None without a comparison.
    - ``own`` are actors of the site's own automation, ``actors`` all others. ``own_is_known`` is False if the site did
      not name any.
    - ``are_resources_partial`` is True if there are more messages than the analysis counts resources in.
    - ``slots`` are quarters of an hour with entries: the minute (as of EntryRows.minute), the number of entries, and of
      those by own automation. ``axis`` is the time range in the same minutes.
    - ``heat`` is the number of entries by weekday (Monday first) and hour.
    - ``firsts`` are values first seen, by ``actors``, ``tokens`` and ``networks``.
    """

    heading: Heading
    by_project: List[ValueCount]
    entries: int
    first: str
    last: str
    extent: Tuple[str, str]
    preceding: Optional[Period]
    figures: List[Figure]
    alerts: Alerts
    actors: List[ValueCount]
    own: List[ValueCount]
    actions: List[ValueCount]
    networks: List[ValueCount]
    resources: List[ValueCount]
    are_resources_partial: bool
    slots: List[Tuple[int, int, int]]
    axis: Tuple[int, int]
    missing_parts: List[MissingPart]
    heat: List[List[int]]
    own_is_known: bool
    has_baseline: bool
    firsts: Dict[str, List[FirstSeen]]
    coverage: List[SourceCoverage]

    @property
    def is_complete(self) -> bool:
        return not any(source.missing for source in self.coverage)

    @property
    def projects(self) -> List[str]:
        """Names of the projects in the report."""
        return sorted(count.name for count in self.by_project)

    @property
    def summary(self) -> Dict[str, Any]:
        """The figures that the module returns."""
        totals = {figure.name: figure.value for figure in self.figures}
        return {
            "entries": self.entries,
            "first": self.extent[0],
            "last": self.extent[1],
            "alerts": self.alerts.by_severity,
            "detections": {group.detection.name: group.total for group in self.alerts.groups},
            "projects": {count.name: count.entries for count in self.by_project},
            "actors": {count.name: count.entries for count in sorted([*self.actors, *self.own], key=rank)},
            "own": sum(count.entries for count in self.own),
            "actions": {count.name: count.entries for count in self.actions},
            "networks": {count.name: count.entries for count in self.networks},
            "first_seen": self._first_seen,
            "staff": totals["staff"],
            "system": totals["system"],
            "before": self._before,
            "complete": self.is_complete,
        }

    @property
    def _before(self) -> Optional[Dict[str, Any]]:
        """Figures of the period before; None without data."""
        if self.preceding is None or not self.preceding.is_complete:
            return None
        return {figure.name: figure.before for figure in self.figures}

    @property
    def _first_seen(self) -> Dict[str, List[str]]:
        """Names of values first seen; empty without a baseline."""
        if not self.has_baseline:
            return {}
        return {name: [first.name for first in found] for name, found in self.firsts.items()}


def rank(count: ValueCount) -> Tuple[int, str, str, str]:
    """Sort key of a ranking: most entries first, then by name."""
    return -count.entries, count.name, count.kind, count.project


def local_days(slots: Sequence[Tuple[int, int, int]]) -> List[Tuple[str, int, int]]:
    """Number of entries, and of those by own automation, by local day."""
    days: Dict[str, List[int]] = {}
    epoch = datetime(1970, 1, 1)
    for minute, entries, own in slots:
        day = days.setdefault((epoch + timedelta(minutes=minute)).strftime("%Y-%m-%d"), [0, 0])
        day[0] += entries
        day[1] += own
    return [(day, entries, own) for day, (entries, own) in sorted(days.items())]
