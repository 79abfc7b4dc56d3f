# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares an archive with the provider's log, which is read by time and not by the cursors of the collector.

The range is read once from its ``start`` to the end of the log, so that entries that became visible late are compared,
however late. An error in either way of reading, the provider's or this collection's, shows as a difference.

The archive is read day by day, when the first entry of a day arrives. Memory contains the digests of the days that are
being read, 16 bytes for each archived entry, and the differences.

Entries that were committed before the last request must be found at the provider. An entry that is found only at the
provider might have been collected in the meantime: it is looked up in the newest commit before it counts as missing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, TypeVar
from typing import Counter as CounterOf

from ..counts import pluralize
from ..errors import ArchiveDamaged, InvalidResponse, ProjectMismatch
from ..project_log.client import Api, Page
from ..project_log.entry import Entry, parse, subject, to_printable
from ..project_log.reader import Reader
from ..project_log.windows import LATENESS
from ..settings import Range
from ..times import RETENTION, format_optional
from .chain.chain import StoredCommit, live_files
from .chain.coverage import RETENTION_MARGIN, VISIBILITY_DELAY
from .chain.signing import checked_head
from .finding import Finding
from .format.commit import Commit, DataFile, Head
from .overlap import FetchedEntry, identity_digest
from .reader import lines_of
from .storage.store import ObjectNotFound, Store, archive_not_found

_MAX_LISTED = 20
_DIGEST_SIZE = 16
_Found = TypeVar("_Found")


@dataclass
class Reconciliation:
    """Result of a comparison.

    ``start`` and ``end`` limit the part of the range that was compared; both are None if nothing was. ``entries`` is
    the number of entries found on both sides, ``renamed`` the number of those whose names differ.
    """

    start: Optional[datetime] = None
    end: Optional[datetime] = None
    entries: int = 0
    renamed: int = 0
    findings: List[Finding] = field(default_factory=list)

    def to_json(self) -> Dict[str, Any]:
        """Return plain values, without the findings."""
        return {
            "start": format_optional(self.start),
            "end": format_optional(self.end),
            "entries": self.entries,
            "renamed": self.renamed,
        }


def reconcile(
    store: Store,
    api: Api,
    time_range: Optional[Range] = None,
    pin: Optional[Head] = None,
    on_head: Callable[[StoredCommit], None] = lambda _stored: None,
) -> Reconciliation:
    """Read the log again by time and compare it with the archive, both as multisets, first by exact form.

    Types of findings: ``missing_in_archive``, ``missing_at_provider``, and the warnings ``renamed`` and
    ``not_compared`` (no part of the range is available on both sides). Only the period that the provider still has at
    the end of the read, and that the archive covers, is compared. Entries without a readable time are not compared.

    :raises StorageError: there is no archive, or it cannot be read.
    :raises ArchiveDamaged: a commit or a file is missing or was changed.
    :raises ProjectMismatch: the API returns another project's log.
    :raises AuditError: the API failed.
    """
    return _Comparison(store, api, pin, on_head).run(time_range or Range())


class _Day:
    """The comparison of one day so far.

    ``unmatched`` are the digests of archived entries that were not found at the provider yet. ``provider_only`` are
    the entries that only the provider has.
    """

    def __init__(self, time_range: Range, archived: List[bytes]) -> None:
        self.time_range = time_range
        self.unmatched: CounterOf[bytes] = Counter(archived)
        self.provider_only: List[FetchedEntry] = []
        self.found = 0
        self.renamed = 0
        self._archived = b"".join(archived)

    @property
    def archived(self) -> CounterOf[bytes]:
        """The digests of the entries in the archive when the read reached this day."""
        size = _DIGEST_SIZE
        return Counter(self._archived[at : at + size] for at in range(0, len(self._archived), size))

    def add(self, fetched: FetchedEntry) -> None:
        digest = _digest(fetched.line)
        if self.unmatched[digest] > 0:
            self.count_match(digest)
        else:
            self.provider_only.append(fetched)

    def count_match(self, digest: bytes) -> None:
        self.found += 1
        self.unmatched[digest] -= 1
        if not self.unmatched[digest]:
            del self.unmatched[digest]

    def match_renamed(self, archived: List[FetchedEntry]) -> None:
        """Match entries that differ only in names, since a project or token was renamed."""
        by_identity: Dict[bytes, List[bytes]] = {}
        for one in archived:
            by_identity.setdefault(identity_digest(one), []).append(_digest(one.line))
        candidates, self.provider_only = self.provider_only, []
        for one in candidates:
            digests = by_identity.get(identity_digest(one))
            if digests:
                self.count_match(digests.pop())
                self.renamed += 1
            else:
                self.provider_only.append(one)

    def match_collected(self, collected: CounterOf[bytes]) -> None:
        """Match entries that were collected in the meantime."""
        candidates, self.provider_only = self.provider_only, []
        for one in candidates:
            digest = _digest(one.line)
            if collected[digest] > 0:
                collected[digest] -= 1
                self.found += 1
            else:
                self.provider_only.append(one)


class _Comparison:
    """One run of :func:`reconcile`.

    ``_live`` are the live files as of ``_head``. Before ``_oldest``, entries might be deleted on one side.
    """

    def __init__(self, store: Store, api: Api, pin: Optional[Head], on_head: Callable[[StoredCommit], None]) -> None:
        self._on_head = on_head
        self._store = store
        self._api = api
        self._pin = pin
        self._oldest = datetime.min.replace(tzinfo=timezone.utc)
        self._head, self._live = self._load_archive()
        self._days: Dict[date, _Day] = {}
        self._unfinished: List[_Day] = []
        self._result = Reconciliation()

    def run(self, time_range: Range) -> Reconciliation:
        head = self._head
        end = head.covered_until - VISIBILITY_DELAY
        end = end if time_range.end is None else min(end, time_range.end)
        self._update_oldest(self._api.page(self._api.first_url(end)))
        start = max(moment for moment in (head.covered_from, time_range.start, self._oldest) if moment)
        if start >= end:
            self._add_finding(
                "not_compared", "commits", "no part of this range is both in the archive and at the provider"
            )
            return self._result
        self._compare(Range(start=start, end=end))
        self._result.start, self._result.end = max(start, self._oldest), end
        return self._result

    def _load_archive(self) -> Tuple[Commit, Dict[str, DataFile]]:
        stored = checked_head(self._store, self._pin)
        if stored is None:
            raise archive_not_found(self._store)
        self._on_head(stored)
        self._oldest = max(self._oldest, stored.commit.pruned_until or self._oldest)
        return stored.commit, live_files(self._store, stored)

    def _add_finding(self, type_: str, path: str, detail: str) -> None:
        self._result.findings.append(Finding(type_, path, detail))

    # Day by day

    def _compare(self, time_range: Range) -> None:
        poll_more = self._read_provider(time_range)
        days = [self._day_of(day) for day in _days(time_range)]
        if any(day.unmatched for day in days):
            # The archive might contain entries that became visible after the last page.
            self._read_provider(replace(time_range, cursor=poll_more))
        if any(day.provider_only for day in days):
            self._head, self._live = self._load_archive()
        for day in days:
            self._finish_day(day)

    def _read_provider(self, time_range: Range) -> Optional[str]:
        """Read a range and compare each entry with its day. Return the URL that continues from here."""
        days = {day.start.date(): day for day in _days(time_range) if day.start}
        poll_more = None
        for page in Reader(self._api).pages(time_range):
            poll_more = page.poll_more
            self._update_oldest(page)
            self._check_project(page.entries)
            moments = [moment for moment in page.timestamps if moment is not None]
            for entry, moment in zip(page.entries, page.timestamps):
                if moment is not None:
                    self._day_of(days[moment.date()]).add(FetchedEntry.of(entry))
            if moments:
                self._match_renamed_before(min(moments) - LATENESS)
        return poll_more

    def _day_of(self, time_range: Range) -> _Day:
        """Return the comparison of a day; its archived entries are read at the first call."""
        key = (time_range.start or datetime.min).date()
        if key not in self._days:
            self._days[key] = _Day(time_range, self._read_archived(time_range, _digests))
            self._unfinished.append(self._days[key])
        return self._days[key]

    def _match_renamed_before(self, moment: datetime) -> None:
        """Match renamed entries of days that ended before ``moment``, to free memory.

        After a rename, all entries of a day can differ.
        """
        for day in [day for day in self._unfinished if day.time_range.end and day.time_range.end <= moment]:
            self._match_renamed(day)
            self._unfinished.remove(day)

    def _match_renamed(self, day: _Day) -> None:
        if day.unmatched and day.provider_only:
            day.match_renamed(self._read_archived(day.time_range, _picker(day.unmatched)))

    def _finish_day(self, day: _Day) -> None:
        self._match_renamed(day)
        if day.provider_only:
            day.match_collected(self._read_archived(day.time_range, _digest_counts) - day.archived)
        # The provider deletes entries during the read, so the entries that it must have are known only at the end.
        archived = self._read_archived(day.time_range, _picker(day.unmatched)) if day.unmatched else []
        if day.renamed:
            count = pluralize(day.renamed, "entry has", "entries have")
            self._add_finding("renamed", _directory(day.time_range), f"{count} other names at the provider")
        self._result.entries += day.found
        self._result.renamed += day.renamed
        self._report(day.time_range, "missing_in_archive", day.provider_only)
        self._report(day.time_range, "missing_at_provider", archived)

    def _is_comparable(self, one: FetchedEntry, day: Range) -> bool:
        return one.moment is not None and one.moment >= self._oldest and day.contains(one.moment)

    def _report(self, day: Range, type_: str, entries: List[FetchedEntry]) -> None:
        counted = [one for one in entries if self._is_comparable(one, day)]
        for one in counted[:_MAX_LISTED]:
            self._add_finding(type_, _directory(day), _describe(one))
        if len(counted) > _MAX_LISTED:
            self._add_finding(type_, _directory(day), f"and {len(counted) - _MAX_LISTED} more")

    # The provider's side

    def _update_oldest(self, page: Page) -> None:
        if page.server_date is None:
            raise InvalidResponse("The API's response has no Date, so its entries cannot be compared.", 200)
        self._oldest = max(self._oldest, page.server_date - RETENTION + RETENTION_MARGIN)

    def _check_project(self, entries: List[Entry]) -> None:
        archived = self._head.project.uuid
        for label in map(subject, entries):
            if label.kind == "project" and archived and label.uuid and label.uuid != archived:
                raise ProjectMismatch(
                    f"The API returned entries of project {to_printable(label.uuid)}, but {self._store} holds the log "
                    f"of project {to_printable(archived)}; check the token and the archive's path."
                )

    # The archive's side

    def _read_archived(self, day: Range, read: Callable[[Iterator[bytes]], _Found]) -> _Found:
        """Call ``read`` with the archived lines of a day, and again if a file was compacted or pruned meanwhile."""
        while True:
            try:
                return read(self._lines(day))
            except ObjectNotFound as exc:
                before, (self._head, self._live) = self._live, self._load_archive()
                missing = next((path for path in sorted(before) if path in self._live and not self._exists(path)), None)
                if missing:
                    raise ArchiveDamaged(f"{missing} is missing in {self._store}; verify the archive.") from exc

    def _exists(self, path: str) -> bool:
        try:
            next(self._store.read(path), None)
        except ObjectNotFound:
            return False
        return True

    def _lines(self, day: Range) -> Iterator[bytes]:
        for path in sorted(self._live):
            if path.startswith(f"{_directory(day)}/"):
                yield from lines_of(self._store, self._live[path])


def _days(time_range: Range) -> Iterator[Range]:
    """Yield the UTC days of a range with a start and an end; the first and the last day can be parts of days."""
    start = time_range.start
    while start is not None and time_range.end is not None and start < time_range.end:
        midnight = datetime.combine(start.date() + timedelta(days=1), time(), timezone.utc)
        yield Range(start=start, end=min(midnight, time_range.end))
        start = midnight


def _directory(day: Range) -> str:
    return f"entries/date={day.start.date().isoformat()}" if day.start else "entries"


def _digests(lines: Iterator[bytes]) -> List[bytes]:
    return list(map(_digest, lines))


def _digest_counts(lines: Iterator[bytes]) -> CounterOf[bytes]:
    return Counter(map(_digest, lines))


def _picker(wanted: CounterOf[bytes]) -> Callable[[Iterator[bytes]], List[FetchedEntry]]:
    """Return a function that reads the entries with these digests, each as often as it is counted."""

    def pick(lines: Iterator[bytes]) -> List[FetchedEntry]:
        left = Counter(wanted)
        found = []
        for line in lines:
            digest = _digest(line)
            if left[digest] > 0:
                left[digest] -= 1
                found.append(FetchedEntry.of(parse(line)))
        return found

    return pick


def _describe(one: FetchedEntry) -> str:
    values = [one.entry.get(name) for name in ("timestamp", "action", "message")]
    digest = hashlib.sha256(one.line.rstrip(b"\n")).hexdigest()
    return " ".join(to_printable(value)[:200] for value in (*values, f"(SHA-256 {digest})"))


def _digest(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()[:_DIGEST_SIZE]
