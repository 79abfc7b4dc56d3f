# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applies detections to a range of an archive or of the API's log."""

from __future__ import annotations

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
    """A part of the range that an archive does not hold."""

    archive: str
    part: MissingRange


class SearchResult(NamedTuple):
    """The alerts of a range, how many entries it has, and which parts of it were not there to look at."""

    alerts: List[Alert]
    entries: int
    missing: List[MissingPart]
    poll_more: Optional[str] = None
    warnings: Sequence[str] = ()


class Search:
    """Options, read and checked before anything is read; then the alerts of the API's log or of archives.

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
        """Search all of it.

        :raises AuditError: it could not be read.
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
        # What the provider deleted, an archive may have.
        warnings = [] if self._range.can_have_entries else self._range.warnings
        return self._filtered(SearchResult(alerts, entries, missing, None, warnings))

    def error(self, found: SearchResult) -> Optional[NotAsExpected]:
        """Why the result is not acceptable, with ``fail_on``."""
        if self._fail_on is None:
            return None
        severe = [alert for alert in found.alerts if is_at_least(alert.severity, self._fail_on)]
        if severe:
            first = severe[0]
            return AlertsFound(
                f"{pluralize(len(severe), 'alert', 'alerts')} of severity {self._fail_on} or higher, the first is "
                f"{first.detection} by {to_printable(actor(first.entry))}: "
                f"{truncate(to_printable(first.entry.get('message')), 160)}."
            )
        if found.warnings:
            return RangeIncomplete(f"Nothing can be said about the whole range: {' '.join(found.warnings)}")
        if not is_complete(self._range, [part.part for part in found.missing]):
            return RangeIncomplete(
                f"{found.missing[0].archive} does not hold the whole range ({found.missing[0].part.why}), so nothing "
                "can be said about all of it; collect first, or choose another range."
            )
        return None

    def to_json(self, found: SearchResult) -> Dict[str, Any]:
        """Plain values for programs; the newest alerts where there is a limit."""
        left_out = len(found.alerts) - (self._selection.limit or len(found.alerts))
        newest = found.alerts[max(0, left_out) :]
        return {
            "alerts": [alert.to_json() for alert in newest],
            "entries": found.entries,
            "inactive": {
                one.name: fact for one in self._detections for fact in [one.missing_fact(self._facts)] if fact
            },
            "missing": [{"archive": part.archive, **part.part.to_json()} for part in found.missing],
            "poll_more": found.poll_more,
        }

    def _filtered(self, found: SearchResult) -> SearchResult:
        return found._replace(alerts=[alert for alert in found.alerts if self._selection.matches(alert.entry)])


def search_archive(
    store: Store, span: Range, detections: Sequence[Detection], facts: SiteFacts, now: datetime
) -> SearchResult:
    """Search a range of an archive. All its entries before the range teach what is normal.

    :raises StorageError: there is no archive, or it cannot be read.
    :raises ArchiveDamaged: it is not what its commits say.
    """
    head = checked_head(store)
    if head is None:
        raise archive_not_found(store)
    detector = Detector(detections, facts, head.commit.project.name or str(store))
    alerts, count = _apply(detector, cat(store, None, span.end), span.start)
    missing = missing_parts(head.commit, gaps(store, head.commit), span, now)
    return SearchResult(alerts, count, [MissingPart(str(store), part) for part in missing])


def search_api(
    api: Api, span: Range, detections: Sequence[Detection], facts: SiteFacts, project: str = ""
) -> SearchResult:
    """Search a range of the API's log. The week before it teaches what is normal; before a cursor nothing does.

    :raises AuditError: the log could not be read.
    """
    detector = Detector(detections, facts, project)
    # Without the moment of asking, which would make the range complain of a start that nobody gave.
    read = span if span.start is None else Range(span.start - BASELINE_PERIOD, span.end)
    reader = Reader(api)
    entries = (entry for page in reader.pages(read) for entry in page.entries)
    alerts, count = _apply(detector, entries, span.start)
    return SearchResult(alerts, count, [], reader.poll_more, span.warnings)


def _apply(detector: Detector, entries: Iterable[Entry], start: Optional[datetime]) -> Tuple[List[Alert], int]:
    """The alerts of all entries from a start on, and their number; what lies before only teaches what is normal."""
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
