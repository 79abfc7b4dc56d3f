# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The alerts of a report's range, and how many the period before it had.

Detections need whole entries in the order of their log, so these are read one after the other: memory holds the newest
alerts of each detection, whatever the number of entries.
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
"""Number of alerts of each detection that are kept in full; the newest ones."""

MAX_MARKED = 100_000
"""Number of alerts that can be found by their entries; the newest ones of each project."""

_MAX_UNUSUAL = 1_000
_NEVER = datetime.min.replace(tzinfo=timezone.utc)
_KEYS = frozenset(COLUMNS)


@dataclass(frozen=True)
class AlertGroup:
    """The alerts of one detection: their number, that of the period before (None if unknown), and the newest ones."""

    detection: Detection
    total: int
    before: Optional[int]
    newest: List[Alert]


class Mark(NamedTuple):
    """What a table shows about an entry that an engine does not know.

    ``detections`` are those that fired. ``line`` is the canonical form of an entry that is more than its COLUMNS, or
    has other values than texts and objects there.
    """

    detections: FrozenSet[str] = frozenset()
    line: Optional[str] = None


@dataclass(frozen=True)
class Alerts:
    """Alerts by detection, the most severe and newest first.

    ``inactive`` names detections that are off, each with the option that it needs.
    """

    groups: List[AlertGroup] = field(default_factory=list)
    inactive: Dict[str, str] = field(default_factory=dict)
    marks: Dict[int, Mark] = field(default_factory=dict)

    @property
    def by_severity(self) -> Dict[str, int]:
        """Number of alerts of each severity, the most severe first."""
        return {
            severity: sum(group.total for group in self.groups if group.detection.severity == severity)
            for severity in reversed(SEVERITIES)
        }

    def mark(self, record: Mapping[str, Any]) -> Mark:
        """What is known about an engine's record."""
        return self.marks.get(_key(record["project"], [record[name] or "" for name in COLUMNS]), _NOTHING)


_NOTHING = Mark()


class Rules:
    """The detections of a site, and its facts, out of the options of a report.

    :raises InvalidInput: an option cannot be used.
    """

    def __init__(self, options: Mapping[str, Any], zone: str) -> None:
        enable, disable = (parse_list(options.get(name), name) for name in ("enable", "disable"))
        self.detections = select_detections(options.get("detections") or (), enable, disable)
        self.facts = SiteFacts.from_mapping(options, zone)

    @property
    def inactive(self) -> Dict[str, str]:
        """Detections that are off for want of a fact, with the option that gives it."""
        return {one.name: fact for one in self.detections for fact in [one.missing_fact(self.facts)] if fact}


class Watch:
    """Applies detections to the entries of one project after the other."""

    def __init__(self, rules: Rules, selection: Selection, asked: Range, preceding: Optional[Range]) -> None:
        self._rules = rules
        self._selection = selection
        self._asked = asked
        self._preceding = preceding
        self._totals: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._newest: Dict[str, Deque[Alert]] = {}
        self._unusual: Dict[int, str] = {}
        self._fired: List[Deque[Tuple[int, str]]] = []

    def read(self, project: str, entries: Iterable[Entry]) -> None:
        """The entries of a project in the order of its log, with those before the range."""
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
                # A count that begins before the range does not end in it: the alerts are those of ``detect``.
                detector.memory.recent.clear()
                has_begun = True
            if not self._asked.contains(moment):
                continue
            alerts = detector.alerts(entry)
            if not self._selection.matches(entry):
                continue
            key = _key_of(project, entry)
            self._note_unusual(key, entry)
            for alert in alerts:
                self._totals[alert.detection] += 1
                newest.setdefault(alert.detection, deque(maxlen=MAX_LISTED)).append(alert)
                fired.append((key, alert.detection))
        for name, found in newest.items():
            together = sorted([*self._newest.get(name, ()), *found], key=_age)
            self._newest[name] = deque(together, maxlen=MAX_LISTED)

    def alerts(self, is_compared: bool) -> Alerts:
        """All alerts. Without ``is_compared`` nothing is known of the period before."""
        by_name = {detection.name: detection for detection in self._rules.detections}
        groups = [
            AlertGroup(
                by_name[name],
                total,
                # What is new depends on the time before the period, too, which nobody read.
                None if not is_compared or by_name[name].first_seen else self._before[name],
                list(reversed(self._newest[name])),
            )
            for name, total in self._totals.items()
        ]
        groups.sort(key=lambda group: (*_age(group.newest[0]), group.detection.name), reverse=True)
        groups.sort(key=lambda group: SEVERITIES.index(group.detection.severity), reverse=True)
        return Alerts(groups, self._rules.inactive, self._marks())

    def _is_before(self, moment: Optional[datetime]) -> bool:
        return self._asked.start is not None and moment is not None and moment < self._asked.start

    def _count_before(self, detector: Detector, entry: Entry, moment: Optional[datetime]) -> None:
        if self._preceding is None or not self._preceding.contains(moment):
            detector.learn(entry)
            return
        alerts = detector.alerts(entry)
        if alerts and self._selection.matches(entry):
            self._before.update(alert.detection for alert in alerts)

    def _note_unusual(self, key: int, entry: Entry) -> None:
        if not _is_usual(entry) and len(self._unusual) < _MAX_UNUSUAL:
            self._unusual[key] = canonical(entry).decode()

    def _marks(self) -> Dict[int, Mark]:
        detections: Dict[int, FrozenSet[str]] = {}
        for fired in self._fired:
            for key, name in fired:
                detections[key] = detections.get(key, frozenset()) | {name}
        keys = detections.keys() | self._unusual.keys()
        return {key: Mark(detections.get(key, frozenset()), self._unusual.get(key)) for key in keys}


def _is_usual(entry: Entry) -> bool:
    """Whether its COLUMNS are the entry, so that its canonical form can be made of them."""
    return entry.keys() == _KEYS and all(
        entry[name] is None or isinstance(entry[name], (str, dict)) for name in COLUMNS
    )


def _key_of(project: str, entry: Entry) -> int:
    return _key(project, [text_of(entry.get(name)) for name in COLUMNS])


def _key(project: str, columns: Sequence[str]) -> int:
    """What tells entries apart. Those that are equal in all COLUMNS share their marks."""
    return hash((project, *columns))


def text_of(value: Any) -> str:
    """What an engine reads of a value."""
    if value is None or isinstance(value, str):
        return value or ""
    return canonical(value).decode()


def _age(alert: Alert) -> Tuple[datetime, str]:
    return alert.time or _NEVER, alert.id
