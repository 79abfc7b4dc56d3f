# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alerts of a report's time range, and their number in the period before it.

Detections need complete entries in the order of their log, so the entries are read one after the other. Only the newest
alerts of each detection are kept in memory.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Counter, Deque, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..detections.catalogue import select_detections
from ..detections.detection import SEVERITIES, Detection, SiteFacts
from ..detections.detector import Alert, Detector
from ..project_log.entry import Entry, canonical, timestamp
from ..project_log.selection import Selection, parse_list
from ..settings import Range
from .query.engine import COLUMNS

MAX_LISTED = 50
"""Maximum number of alerts kept for each detection; the newest ones."""

ALERTS_LISTED = {"critical": 10, "high": 10, "medium": 5}
"""Number of alerts of each detection that a report lists, by severity; the newest ones."""

MAX_MARKED = 100_000
"""Maximum number of alerts of each project that the table of entries shows; the newest ones."""

_MAX_IRREGULAR = 1_000
_NEVER = datetime.min.replace(tzinfo=timezone.utc)
_KEYS = frozenset(COLUMNS)


@dataclass(frozen=True)
class AlertGroup:
    """The alerts of one detection: their number, the number in the period before (None if unknown), the newest ones."""

    detection: Detection
    total: int
    before: Optional[int]
    newest: List[Alert]


class Mark(NamedTuple):
    """Facts about an entry that an engine does not know.

    ``detections`` are those that fired. ``line`` is the canonical form of an entry with more keys than COLUMNS, or with
    other values than texts and objects in them.
    """

    detections: FrozenSet[str] = frozenset()
    line: Optional[str] = None


@dataclass(frozen=True)
class Alerts:
    """Alerts by detection, most severe and newest first.

    ``inactive`` has detections that are off, with the option that each needs.
    """

    groups: List[AlertGroup] = field(default_factory=list)
    inactive: Dict[str, str] = field(default_factory=dict)
    marks: Dict[int, Mark] = field(default_factory=dict)

    @property
    def by_severity(self) -> Dict[str, int]:
        """Number of alerts of each severity, most severe first."""
        return {
            severity: sum(group.total for group in self.groups if group.detection.severity == severity)
            for severity in reversed(SEVERITIES)
        }

    def mark(self, record: Mapping[str, Any]) -> Mark:
        """The mark of an engine's record."""
        return self.marks.get(_key(record["project"], [record[name] or "" for name in COLUMNS]), _NOTHING)


_NOTHING = Mark()


class Rules:
    """The detections and the facts of a site, from the options of a report.

    :raises InvalidInput: an option is not valid.
    """

    def __init__(self, options: Mapping[str, Any], zone: str) -> None:
        enable, disable = (parse_list(options.get(name), name) for name in ("enable", "disable"))
        self.detections = select_detections(options.get("detections") or (), enable, disable)
        self.facts = SiteFacts.from_mapping(options, zone)

    @property
    def inactive(self) -> Dict[str, str]:
        """Detections that are off because an option is not set, with the name of the option."""
        return {one.name: fact for one in self.detections for fact in [one.missing_fact(self.facts)] if fact}


class AlertScan:
    """Applies detections to the entries of one project after the other."""

    def __init__(self, rules: Rules, selection: Selection, time_range: Range, preceding: Optional[Range]) -> None:
        self._rules = rules
        self._selection = selection
        self._time_range = time_range
        self._preceding = preceding
        self._totals: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._newest: Dict[str, Deque[Alert]] = {}
        self._irregular: Dict[int, str] = {}
        self._fired: List[Deque[Tuple[int, str]]] = []

    def read(self, project: str, entries: Iterable[Entry]) -> None:
        """Read the entries of a project in the order of its log, including those before the time range."""
        detector = Detector(self._rules.detections, self._rules.facts, project)
        fired: Deque[Tuple[int, str]] = deque(maxlen=MAX_MARKED)
        self._fired.append(fired)
        newest: Dict[str, Deque[Alert]] = {}
        has_begun = False
        for entry in entries:
            moment = timestamp(entry)
            if self._is_before(moment):
                self._count_before(detector, entry, moment)
                continue
            if not has_begun:
                # Counts start with the range, as in a search for detections.
                detector.memory.recent.clear()
                has_begun = True
            if not self._time_range.contains(moment):
                continue
            alerts = detector.alerts(entry)
            if not self._selection.matches(entry):
                continue
            key = _key_of(project, entry)
            self._note_irregular(key, entry)
            for alert in alerts:
                self._totals[alert.detection] += 1
                newest.setdefault(alert.detection, deque(maxlen=MAX_LISTED)).append(alert)
                fired.append((key, alert.detection))
        for name, found in newest.items():
            together = sorted([*self._newest.get(name, ()), *found], key=_age)
            self._newest[name] = deque(together, maxlen=MAX_LISTED)

    def alerts(self, is_compared: bool) -> Alerts:
        """All alerts. With ``is_compared``, their number in the period before is known."""
        by_name = {detection.name: detection for detection in self._rules.detections}
        groups = [
            AlertGroup(
                by_name[name],
                total,
                # First-seen detections need the time before that period, which was not read.
                None if not is_compared or by_name[name].first_seen else self._before[name],
                list(reversed(self._newest[name])),
            )
            for name, total in self._totals.items()
        ]
        groups.sort(key=lambda group: (*_age(group.newest[0]), group.detection.name), reverse=True)
        groups.sort(key=lambda group: SEVERITIES.index(group.detection.severity), reverse=True)
        return Alerts(groups, self._rules.inactive, self._marks())

    def _is_before(self, moment: Optional[datetime]) -> bool:
        return self._time_range.start is not None and moment is not None and moment < self._time_range.start

    def _count_before(self, detector: Detector, entry: Entry, moment: Optional[datetime]) -> None:
        if self._preceding is None or not self._preceding.contains(moment):
            detector.learn(entry)
            return
        alerts = detector.alerts(entry)
        if alerts and self._selection.matches(entry):
            self._before.update(alert.detection for alert in alerts)

    def _note_irregular(self, key: int, entry: Entry) -> None:
        if not _is_regular(entry) and len(self._irregular) < _MAX_IRREGULAR:
            self._irregular[key] = canonical(entry).decode()

    def _marks(self) -> Dict[int, Mark]:
        detections: Dict[int, FrozenSet[str]] = {}
        for fired in self._fired:
            for key, name in fired:
                detections[key] = detections.get(key, frozenset()) | {name}
        keys = detections.keys() | self._irregular.keys()
        return {key: Mark(detections.get(key, frozenset()), self._irregular.get(key)) for key in keys}


def _is_regular(entry: Entry) -> bool:
    """Whether the canonical form of an entry can be built from its COLUMNS."""
    return entry.keys() == _KEYS and all(
        entry[name] is None or isinstance(entry[name], (str, dict)) for name in COLUMNS
    )


def _key_of(project: str, entry: Entry) -> int:
    return _key(project, [text_of(entry.get(name)) for name in COLUMNS])


def _key(project: str, columns: Sequence[str]) -> int:
    """Key of an entry. Entries that are equal in all COLUMNS share their marks."""
    return hash((project, *columns))


def text_of(value: Any) -> str:
    """A value as engines read it."""
    if value is None or isinstance(value, str):
        return value or ""
    return canonical(value).decode()


def _age(alert: Alert) -> Tuple[datetime, str]:
    return alert.time or _NEVER, alert.id
