# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applies detections to the pages of the event source. Reading a page again gives the same alerts again."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Tuple

from ..detections.catalogue import select_detections
from ..detections.detection import SEVERITIES, SiteFacts, is_at_least, parse_severity
from ..detections.detector import ID_LENGTH, Alert, Detector, Memory, assign_reviewer
from ..project_log.entry import Entry, timestamp, to_builtin_entry

OPTIONS = (
    *("detections", "enable", "disable", "severity"),
    *("own_actors", "working_hours", "holidays", "known_networks", "reviewers"),
)

_GAP = "gap"
_GAP_CHECK = "Compare with an archive of the project; reconcile it if there is one."


class PageDetector:
    """The detections of an event source. The option ``severity`` is the minimum severity of alerts in events.

    :raises InvalidInput: an option cannot be used.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._facts = SiteFacts.from_mapping(options)
        detections = select_detections(options.get("detections") or (), options.get("enable"), options.get("disable"))
        self._min_severity = parse_severity(options.get("severity") or SEVERITIES[0], "severity")
        self._checks = {_GAP: _GAP_CHECK, **{detection.name: detection.check for detection in detections}}
        self._detector = Detector(detections, self._facts)

    def learn(self, memory: Memory, entries: Iterable[Entry]) -> None:
        """Add entries from before the start to the memory, without alerts."""
        self._detector.memory = memory
        for entry in entries:
            self._detector.learn(entry)

    def detect(self, memory: Memory, entries: Sequence[Entry]) -> Tuple[List[List[Alert]], Memory]:
        """The alerts of each entry of a page, and the memory after the page; ``memory`` is not changed."""
        if not entries:
            return [], memory
        self._detector.memory = memory.copy()
        alerts = [self._filter_by_severity(self._detector.alerts(entry)) for entry in entries]
        return alerts, self._detector.memory

    def recreate_alerts(self, names: Iterable[str], entry: Entry) -> List[Alert]:
        """The alerts of the detections that fired on an entry; detections that were removed since are left out."""
        return [alert for name in names for alert in self._detector.recreate_alerts(name, entry)]

    def gap_alert(self, identifier: str, gap: Mapping[str, Any]) -> Alert:
        """The alert for entries that may have been lost; its event has it whatever the option ``severity`` is."""
        identifier = hashlib.sha256(f"{_GAP}\n{identifier}".encode()).hexdigest()[:ID_LENGTH]
        entry = {
            "timestamp": gap["until"],
            "action": _GAP,
            "message": gap["message"],
            "actor": {"the event source": {}},
        }
        reviewer = assign_reviewer(identifier, entry, self._facts.reviewers)
        return Alert(identifier, _GAP, "high", "Entries may have been lost", timestamp(entry), "", entry, reviewer)

    def event_fields(self, alerts: Sequence[Alert]) -> Dict[str, Any]:
        """The keys of an event about its alerts: ``detections`` for rules, and ``review`` for playbooks."""
        if not alerts:
            return {"detections": []}
        detections = [self._to_event(alert) for alert in alerts]
        review = {"detections": detections, "entry": to_builtin_entry(alerts[0].entry)}
        return {"detections": detections, "review": b64encode(json.dumps(review).encode()).decode()}

    def _to_event(self, alert: Alert) -> Dict[str, Any]:
        return {
            "id": alert.id,
            "detection": alert.detection,
            "severity": alert.severity,
            "title": alert.title,
            "check": self._checks[alert.detection],
            "reviewer": alert.reviewer,
        }

    def _filter_by_severity(self, alerts: List[Alert]) -> List[Alert]:
        return [alert for alert in alerts if is_at_least(alert.severity, self._min_severity)]
