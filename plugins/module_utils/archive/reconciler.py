# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares an archive with what the provider still has, on another path than the one it was collected on.

The collector follows one chain of cursors; here each day is read anew by ``start`` and ``end``. So a fault of either
path shows, be it the provider's or ours. One day is held in memory at a time, as digests.

What a commit named before a day was read at the provider must be found there. What is found there and not in that
commit may have been collected meanwhile: it is looked for in the newest commit before it counts as missing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, timezone
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, TypeVar
from typing import Counter as CounterOf

from ..errors import ArchiveDamaged, InvalidResponse, ProjectMismatch
from ..project_log.client import Api, Page
from ..project_log.entry import Entry, parse, subject, visible
from ..project_log.reader import Reader
from ..settings import Range
from ..times import RETENTION, format_optional
from .chain.chain import Link, find_head, live_files
from .chain.coverage import MARGIN, SLACK
from .finding import Finding
from .format.commit import Commit, DataFile, Head
from .overlap import Fetched, likeness
from .reader import lines_of
from .storage.store import ObjectNotFound, Store, no_archive

_MOST_TOLD = 20
_Found = TypeVar("_Found")


@dataclass
class Reconciliation:
    """What was compared, and what differs.

    ``start`` and ``end`` are what the question was clipped to; both are None when nothing is left that both sides must
    have. ``entries`` were found on both sides, ``renamed`` of them in another form: a project or token was renamed.
    """

    start: Optional[datetime] = None
    end: Optional[datetime] = None
    entries: int = 0
    renamed: int = 0
    findings: List[Finding] = field(default_factory=list)

    def to_json(self) -> Dict[str, Any]:
        """What was compared, as plain values, without the findings."""
        return {
            "start": format_optional(self.start),
            "end": format_optional(self.end),
            "entries": self.entries,
            "renamed": self.renamed,
        }


def reconcile(
    store: Store,
    api: Api,
    span: Optional[Range] = None,
    pin: Optional[Head] = None,
    on_head: Callable[[Link], None] = lambda _link: None,
) -> Reconciliation:
    """Read the log again by time and compare it with the archive; both as multisets, first by exact form.

    Types of findings: ``missing_in_archive``, ``missing_at_provider``, and the warnings ``renamed`` and
    ``not_compared`` (nothing of the range is on both sides). Compared is what the provider must still have at the end
    of the read, and what the archive covers; entries without a readable time are not.

    :raises StorageError: there is no archive, or it cannot be read.
    :raises ArchiveDamaged: it is not what it was.
    :raises ProjectMismatch: the API shows another project's log.
    :raises AuditError: the API failed.
    """
    return _Comparison(store, api, pin, on_head).run(span or Range())


class _Difference(NamedTuple):
    """Entries of one day that only one side has."""

    ours: List[Fetched]
    theirs: List[Fetched]


class _Comparison:
    """One run. ``_live`` are the live files as of ``_head``; before ``_oldest`` one side may have nothing any more."""

    def __init__(self, store: Store, api: Api, pin: Optional[Head], on_head: Callable[[Link], None]) -> None:
        self._on_head = on_head
        self._store = store
        self._api = api
        self._pin = pin
        self._oldest = datetime.min.replace(tzinfo=timezone.utc)
        self._head, self._live = self._look()
        self._told = Reconciliation()

    def run(self, span: Range) -> Reconciliation:
        head = self._head
        end = head.covered_until - SLACK
        end = end if span.end is None else min(end, span.end)
        self._note_date(self._api.page(self._api.first_url(end)))
        start = max(moment for moment in (head.covered_from, span.start, self._oldest) if moment)
        if start >= end:
            self._find("not_compared", "commits", "nothing of this range is both in the archive and at the provider")
            return self._told
        for day in _days(start, end):
            self._compare(day)
        self._told.start, self._told.end = max(start, self._oldest), end
        return self._told

    def _look(self) -> Tuple[Commit, Dict[str, DataFile]]:
        link = find_head(self._store, self._pin)
        if link is None:
            raise no_archive(self._store)
        self._on_head(link)
        self._oldest = max(self._oldest, link.commit.pruned_until or self._oldest)
        return link.commit, live_files(self._store, link)

    def _find(self, type_: str, path: str, detail: str) -> None:
        self._told.findings.append(Finding(type_, path, detail))

    # One day

    def _compare(self, day: Range) -> None:
        archived = self._reading(day, _digests)
        seen: CounterOf[bytes] = Counter()
        strange: List[Fetched] = []
        for fetched in self._fetched(day):
            digest = _digest(fetched.line)
            seen[digest] += 1
            if seen[digest] > archived[digest]:
                strange.append(fetched)
        lost = +(archived - seen)
        # The provider deletes while we read: what it must still have is known only at the end.
        ours = [one for one in self._reading(day, _picker(lost)) if self._counts(one, day)] if lost else []
        theirs = [one for one in strange if self._counts(one, day)]
        self._told.entries += sum((archived & seen).values())
        self._tell(day, self._without_late(day, archived, self._without_renamed(day, _Difference(ours, theirs))))

    def _counts(self, one: Fetched, day: Range) -> bool:
        return one.moment is not None and one.moment >= self._oldest and day.holds(one.moment)

    def _without_renamed(self, day: Range, found: _Difference) -> _Difference:
        """Take away the pairs that are one entry whose names are rendered anew."""
        alike = Counter(map(likeness, found.ours))
        theirs: List[Fetched] = []
        paired: CounterOf[bytes] = Counter()
        for one in found.theirs:
            like = likeness(one)
            if paired[like] < alike[like]:
                paired[like] += 1
            else:
                theirs.append(one)
        count = sum(paired.values())
        if not count:
            return found
        self._told.entries += count
        self._told.renamed += count
        self._find("renamed", _folder(day), f"{count} entries look different at the provider: a name was changed")
        ours: List[Fetched] = []
        for one in found.ours:
            if paired[likeness(one)] > 0:
                paired[likeness(one)] -= 1
            else:
                ours.append(one)
        return _Difference(ours, theirs)

    def _without_late(self, day: Range, archived: CounterOf[bytes], found: _Difference) -> _Difference:
        """Take away what collectors brought in meanwhile."""
        if not found.theirs:
            return found
        self._head, self._live = self._look()
        more = self._reading(day, _digests) - archived
        theirs: List[Fetched] = []
        for one in found.theirs:
            digest = _digest(one.line)
            if more[digest] > 0:
                more[digest] -= 1
                self._told.entries += 1
            else:
                theirs.append(one)
        return _Difference(found.ours, [one for one in theirs if self._counts(one, day)])

    def _tell(self, day: Range, found: _Difference) -> None:
        for type_, entries in (("missing_in_archive", found.theirs), ("missing_at_provider", found.ours)):
            for one in entries[:_MOST_TOLD]:
                self._find(type_, _folder(day), _described(one))
            if len(entries) > _MOST_TOLD:
                self._find(type_, _folder(day), f"and {len(entries) - _MOST_TOLD} more")

    # The provider's side

    def _fetched(self, day: Range) -> Iterator[Fetched]:
        for page in Reader(self._api).pages(day):
            self._note_date(page)
            self._check_project(page.entries)
            for fetched in map(Fetched.of, page.entries):
                if fetched.moment is not None:
                    yield fetched

    def _note_date(self, page: Page) -> None:
        if page.server_date is None:
            raise InvalidResponse("The API's answer has no Date, which tells what it must still have.", 200)
        self._oldest = max(self._oldest, page.server_date - RETENTION + MARGIN)

    def _check_project(self, entries: List[Entry]) -> None:
        archived = self._head.project.uuid
        for label in map(subject, entries):
            if label.kind == "project" and archived and label.uuid and label.uuid != archived:
                raise ProjectMismatch(
                    f"The API returned entries of project {visible(label.uuid)}, but {self._store} holds the log of "
                    f"project {visible(archived)}; check the token and the archive's path."
                )

    # The archive's side

    def _reading(self, day: Range, read: Callable[[Iterator[bytes]], _Found]) -> _Found:
        """What comes of the archived lines of a day; read anew when a file was compacted or pruned meanwhile."""
        lost: Optional[str] = None
        while True:
            try:
                return read(self._lines(day))
            except ObjectNotFound as exc:
                before, (self._head, self._live) = self._live, self._look()
                lost = next((path for path in sorted(before) if path in self._live and not self._is_there(path)), None)
                if lost:
                    raise ArchiveDamaged(f"{lost} is missing in {self._store}; verify the archive.") from exc

    def _is_there(self, path: str) -> bool:
        try:
            next(self._store.chunks(path), None)
        except ObjectNotFound:
            return False
        return True

    def _lines(self, day: Range) -> Iterator[bytes]:
        for path in sorted(self._live):
            if path.startswith(f"{_folder(day)}/"):
                yield from lines_of(self._store, self._live[path])


def _days(start: datetime, end: datetime) -> Iterator[Range]:
    while start < end:
        midnight = datetime.combine(start.date() + timedelta(days=1), time(), timezone.utc)
        yield Range(start=start, end=min(midnight, end))
        start = midnight


def _folder(day: Range) -> str:
    return f"entries/date={day.start.date().isoformat()}" if day.start else "entries"


def _digests(lines: Iterator[bytes]) -> CounterOf[bytes]:
    return Counter(map(_digest, lines))


def _picker(wanted: CounterOf[bytes]) -> Callable[[Iterator[bytes]], List[Fetched]]:
    """Reads those entries, each as often as it is wanted."""

    def pick(lines: Iterator[bytes]) -> List[Fetched]:
        left = Counter(wanted)
        found = []
        for line in lines:
            digest = _digest(line)
            if left[digest] > 0:
                left[digest] -= 1
                found.append(Fetched.of(parse(line)))
        return found

    return pick


def _described(one: Fetched) -> str:
    told = [one.entry.get(name) for name in ("timestamp", "action", "message")]
    digest = hashlib.sha256(one.line.rstrip(b"\n")).hexdigest()
    return " ".join(visible(value)[:200] for value in (*told, f"(SHA-256 {digest})"))


def _digest(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()[:16]
