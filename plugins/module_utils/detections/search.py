# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applies detections to a range of an archive or of the API's log."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..archive.chain.chain import gaps
from ..archive.chain.signing import checked_head
from ..archive.completeness import MissingRange, is_complete, missing_parts
from ..archive.reader import cat
from ..archive.storage.open import open_archive
from ..archive.storage.store import Store, archive_not_found
from ..counts import pluralize
from ..errors import AlertsFound, NotAsExpected, RangeIncomplete
from ..project_log.client import Api
from ..project_log.entry import Entry, actor, timestamp, to_printable
from ..project_log.reader import Reader
from ..project_log.rows import truncate
from ..project_log.selection import Selection, parse_list
from ..settings import Connection, Range
from ..times import utc_now
from .catalogue import select_detections
from .detection import Detection, SiteFacts, is_at_least
from .detector import BASELINE_PERIOD, Alert, Detector


class MissingPart(NamedTuple):
    """A part of the time range that an archive does not contain."""

    archive: str
    part: MissingRange


class SearchResult(NamedTuple):
    """The alerts of a time range, the number of its entries, and the parts of the range that are missing."""

    alerts: List[Alert]
    entries: int
    missing: List[MissingPart]
    poll_more: Optional[str] = None
    warnings: Sequence[str] = ()


class Search:
    """Finds the alerts of the API's log or of archives, as options say. Options are checked before anything is read.

    :raises InvalidInput: an option cannot be used.
    """

    def __init__(self, options: Mapping[str, Any], now: Optional[datetime] = None) -> None:
        self._now = now or utc_now()
        self._range = Range.from_mapping(options, self._now)
        self._selection = Selection.from_mapping(options)
        self._facts = SiteFacts.from_mapping(options)
        enable, disable = (parse_list(options.get(name), name) for name in ("enable", "disable"))
        self._detections = select_detections(options.get("detections") or (), enable, disable)
        self._fail_on = options.get("fail_on")
        self._archives = parse_list(options.get("archives"), "archives")
        self._connection = None if self._archives else Connection.from_mapping(options)

    def run(self) -> SearchResult:
        """Search the API's log, or all archives.

        :raises AuditError: the log or an archive could not be read.
        """
        if self._connection is not None:
            with Api(self._connection) as api:
                return self._filtered(search_api(api, self._range, self._detections, self._facts))
        alerts: List[Alert] = []
        missing: List[MissingPart] = []
        entries = 0
        for path in self._archives:
            found = search_archive(open_archive(path), self._range, self._detections, self._facts, self._now)
            alerts += found.alerts
            missing += found.missing
            entries += found.entries
        # Archives can contain entries that the provider has deleted.
        warnings = [] if self._range.can_have_entries else self._range.warnings
        return self._filtered(SearchResult(alerts, entries, missing, None, warnings))

    def error(self, found: SearchResult) -> Optional[NotAsExpected]:
        """The error that ``fail_on`` makes of a result, if any."""
        if self._fail_on is None:
            return None
        severe = [alert for alert in found.alerts if is_at_least(alert.severity, self._fail_on)]
        if severe:
            first = severe[0]
            message = truncate(to_printable(first.entry.get("message")), 160)
            return AlertsFound(
                f"{pluralize(len(severe), 'alert', 'alerts')} of severity {self._fail_on} or higher; the first is "
                f"{first.detection} by {to_printable(actor(first.entry))}: {message}."
            )
        if found.warnings:
            return RangeIncomplete(f"The time range could not be checked completely: {' '.join(found.warnings)}")
        if not is_complete(self._range, [part.part for part in found.missing]):
            first_missing = found.missing[0]
            return RangeIncomplete(
                f"{first_missing.archive} does not contain the complete time range ({first_missing.part.why}); run "
                "collect first, or choose another range."
            )
        return None

    def to_json(self, found: SearchResult) -> Dict[str, Any]:
        """Plain values for programs, with the newest alerts up to ``limit``."""
        excess = len(found.alerts) - (self._selection.limit or len(found.alerts))
        return {
            "alerts": [alert.to_json() for alert in found.alerts[max(0, excess) :]],
            "entries": found.entries,
            "inactive": missing_facts(self._detections, self._facts),
            "missing": [{"archive": part.archive, **part.part.to_json()} for part in found.missing],
            "poll_more": found.poll_more,
        }

    def _filtered(self, found: SearchResult) -> SearchResult:
        return found._replace(alerts=[alert for alert in found.alerts if self._selection.matches(alert.entry)])


def missing_facts(detections: Sequence[Detection], facts: SiteFacts) -> Dict[str, str]:
    """The detections that are off, and the missing fact of each."""
    missing = {detection.name: detection.missing_fact(facts) for detection in detections}
    return {name: fact for name, fact in missing.items() if fact}


def search_archive(
    store: Store, time_range: Range, detections: Sequence[Detection], facts: SiteFacts, now: datetime
) -> SearchResult:
    """Find the alerts in a time range of an archive. All entries before the range are the baseline.

    :raises StorageError: there is no archive, or it cannot be read.
    :raises ArchiveDamaged: the archive does not match its commits.
    """
    head = checked_head(store)
    if head is None:
        raise archive_not_found(store)
    detector = Detector(detections, facts, head.commit.project.name or str(store))
    alerts, count = _apply(detector, cat(store, None, time_range.end), time_range.start)
    missing = missing_parts(head.commit, gaps(store, head.commit), time_range, now)
    return SearchResult(alerts, count, [MissingPart(str(store), part) for part in missing])


def search_api(
    api: Api, time_range: Range, detections: Sequence[Detection], facts: SiteFacts, project: str = ""
) -> SearchResult:
    """Find the alerts in a time range of the API's log. The week before is the baseline; a cursor has no baseline.

    :raises AuditError: the log could not be read.
    """
    detector = Detector(detections, facts, project)
    start = time_range.start
    with_baseline = time_range if start is None else replace(time_range, start=start - BASELINE_PERIOD)
    reader = Reader(api)
    entries = (entry for page in reader.pages(with_baseline) for entry in page.entries)
    alerts, count = _apply(detector, entries, start)
    return SearchResult(alerts, count, [], reader.poll_more, time_range.warnings)


def _apply(detector: Detector, entries: Iterable[Entry], start: Optional[datetime]) -> Tuple[List[Alert], int]:
    """The alerts of all entries since ``start``, and the number of these entries; earlier entries are the baseline."""

    alerts: List[Alert] = []
    count = 0
    for entry in entries:
        moment = timestamp(entry)
        if start is not None and moment is not None and moment < start:
            detector.learn(entry)
        else:
            alerts += detector.alerts(entry)
            count += 1
    return alerts, count
