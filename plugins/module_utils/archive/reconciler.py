# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares an archive with what the provider still has, on another path than the one it was collected on.

The collector continues from cursors that it saved. Here the range is read again from its ``start`` to the end of the
log, once, so that each request is sent once and an entry that became visible late is compared, however late. A fault of
either path shows, be it the provider's or ours.

The archive is read day by day, when the first entry of a day arrives. What is held in memory: the digests of the days
that the read is in, 16 bytes for each archived entry, and what differs.

What a commit named before the last request must be found at the provider. What is found there and not in that commit
may have been collected meanwhile: it is looked for in the newest commit before it counts as missing.
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
from ..project_log.entry import Entry, parse, subject, visible
from ..project_log.reader import Reader
from ..project_log.windows import LATENESS
from ..settings import Range
from ..times import RETENTION, format_optional
from .chain.chain import Link, live_files
from .chain.coverage import MARGIN, SLACK
from .chain.signing import readable_head
from .finding import Finding
from .format.commit import Commit, DataFile, Head
from .overlap import Fetched, likeness
from .reader import lines_of
from .storage.store import ObjectNotFound, Store, no_archive

_MOST_TOLD = 20
_DIGEST_SIZE = 16
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


class _Day:
    """The comparison of one day so far.

    ``lost`` are the archived entries not found yet, by digest, and ``strange`` the entries that only the provider has.
    """

    def __init__(self, span: Range, archived: List[bytes]) -> None:
        self.span = span
        self.lost: CounterOf[bytes] = Counter(archived)
        self.strange: List[Fetched] = []
        self.found = 0
        self.renamed = 0
        self._archived = b"".join(archived)

    @property
    def archived(self) -> CounterOf[bytes]:
        """What the archive had when the read reached this day."""
        size = _DIGEST_SIZE
        return Counter(self._archived[at : at + size] for at in range(0, len(self._archived), size))

    def meet(self, fetched: Fetched) -> None:
        digest = _digest(fetched.line)
        if self.lost[digest] > 0:
            self.find(digest)
        else:
            self.strange.append(fetched)

    def find(self, digest: bytes) -> None:
        self.found += 1
        self.lost[digest] -= 1
        if not self.lost[digest]:
            del self.lost[digest]

    def pair(self, ours: List[Fetched]) -> None:
        """Take away the pairs that are one entry whose names are rendered anew."""
        alike: Dict[bytes, List[bytes]] = {}
        for one in ours:
            alike.setdefault(likeness(one), []).append(_digest(one.line))
        theirs, self.strange = self.strange, []
        for one in theirs:
            digests = alike.get(likeness(one))
            if digests:
                self.find(digests.pop())
                self.renamed += 1
            else:
                self.strange.append(one)

    def find_collected(self, more: CounterOf[bytes]) -> None:
        """Take away what collectors brought in meanwhile."""
        theirs, self.strange = self.strange, []
        for one in theirs:
            digest = _digest(one.line)
            if more[digest] > 0:
                more[digest] -= 1
                self.found += 1
            else:
                self.strange.append(one)


class _Comparison:
    """One run. ``_live`` are the live files as of ``_head``; before ``_oldest`` one side may have nothing any more."""

    def __init__(self, store: Store, api: Api, pin: Optional[Head], on_head: Callable[[Link], None]) -> None:
        self._on_head = on_head
        self._store = store
        self._api = api
        self._pin = pin
        self._oldest = datetime.min.replace(tzinfo=timezone.utc)
        self._head, self._live = self._look()
        self._days: Dict[date, _Day] = {}
        self._unpaired: List[_Day] = []
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
        self._compare(Range(start=start, end=end))
        self._told.start, self._told.end = max(start, self._oldest), end
        return self._told

    def _look(self) -> Tuple[Commit, Dict[str, DataFile]]:
        link = readable_head(self._store, self._pin)
        if link is None:
            raise no_archive(self._store)
        self._on_head(link)
        self._oldest = max(self._oldest, link.commit.pruned_until or self._oldest)
        return link.commit, live_files(self._store, link)

    def _find(self, type_: str, path: str, detail: str) -> None:
        self._told.findings.append(Finding(type_, path, detail))

    # Day by day

    def _compare(self, span: Range) -> None:
        poll_more = self._meet(span)
        days = [self._day_of(day) for day in _days(span)]
        if any(day.lost for day in days):
            # Of a day that was loaded last, the archive may have what became visible after the last page.
            self._meet(replace(span, cursor=poll_more))
        if any(day.strange for day in days):
            self._head, self._live = self._look()
        for day in days:
            self._conclude(day)

    def _meet(self, span: Range) -> Optional[str]:
        """Read a range, and look for each of its entries in its day; returns the URL that continues from here."""
        days = {day.start.date(): day for day in _days(span) if day.start}
        poll_more = None
        for page in Reader(self._api).pages(span):
            poll_more = page.poll_more
            self._note_date(page)
            self._check_project(page.entries)
            moments = [moment for moment in page.timestamps if moment is not None]
            for entry, moment in zip(page.entries, page.timestamps):
                if moment is not None:
                    self._day_of(days[moment.date()]).meet(Fetched.of(entry))
            if moments:
                self._pair_before(min(moments) - LATENESS)
        return poll_more

    def _day_of(self, span: Range) -> _Day:
        """The comparison of a day; its archived entries are read when it is needed first."""
        key = (span.start or datetime.min).date()
        if key not in self._days:
            self._days[key] = _Day(span, self._reading(span, _digests))
            self._unpaired.append(self._days[key])
        return self._days[key]

    def _pair_before(self, moment: datetime) -> None:
        """Pair the renamed entries of days that ended before: after a rename, these are all entries of a day."""
        for day in [day for day in self._unpaired if day.span.end and day.span.end <= moment]:
            self._pair(day)
            self._unpaired.remove(day)

    def _pair(self, day: _Day) -> None:
        if day.lost and day.strange:
            day.pair(self._reading(day.span, _picker(day.lost)))

    def _conclude(self, day: _Day) -> None:
        self._pair(day)
        if day.strange:
            day.find_collected(self._reading(day.span, _counts_of_digests) - day.archived)
        # The provider deletes while we read: what it must still have is known only at the end.
        ours = self._reading(day.span, _picker(day.lost)) if day.lost else []
        if day.renamed:
            look = pluralize(day.renamed, "entry looks", "entries look")
            self._find("renamed", _folder(day.span), f"{look} different at the provider: a name was changed")
        self._told.entries += day.found
        self._told.renamed += day.renamed
        self._tell(day.span, "missing_in_archive", day.strange)
        self._tell(day.span, "missing_at_provider", ours)

    def _counts(self, one: Fetched, day: Range) -> bool:
        return one.moment is not None and one.moment >= self._oldest and day.holds(one.moment)

    def _tell(self, day: Range, type_: str, entries: List[Fetched]) -> None:
        counted = [one for one in entries if self._counts(one, day)]
        for one in counted[:_MOST_TOLD]:
            self._find(type_, _folder(day), _described(one))
        if len(counted) > _MOST_TOLD:
            self._find(type_, _folder(day), f"and {len(counted) - _MOST_TOLD} more")

    # The provider's side

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


def _days(span: Range) -> Iterator[Range]:
    """The days of UTC of a range that has a start and an end; the first and the last one may be parts."""
    start = span.start
    while start is not None and span.end is not None and start < span.end:
        midnight = datetime.combine(start.date() + timedelta(days=1), time(), timezone.utc)
        yield Range(start=start, end=min(midnight, span.end))
        start = midnight


def _folder(day: Range) -> str:
    return f"entries/date={day.start.date().isoformat()}" if day.start else "entries"


def _digests(lines: Iterator[bytes]) -> List[bytes]:
    return list(map(_digest, lines))


def _counts_of_digests(lines: Iterator[bytes]) -> CounterOf[bytes]:
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
    return hashlib.sha256(line).digest()[:_DIGEST_SIZE]
