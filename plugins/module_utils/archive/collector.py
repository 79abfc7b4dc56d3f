# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads on from where the archive's head stands and adds what is new, commit by commit.

The cursor moves only inside the commit that also names the entries read before it, so a run may die at any moment,
and any number of runs may work on one archive at once: each commit is created exclusively, and who comes second drops
what it read and goes on from the new head.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from string import punctuation
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from urllib.parse import quote, urlsplit

from ..errors import (
    ArchiveDamaged,
    AuditError,
    Cancelled,
    ClockSkew,
    CursorRejected,
    InvalidInput,
    InvalidResponse,
    PaginationLoop,
    ProjectMismatch,
    ServiceUnavailable,
    StorageError,
)
from ..project_log.client import Api, Page, follow_pages
from ..project_log.entry import Entry, to_printable
from ..times import format_time
from ..version import VERSION
from .chain.chain import StoredCommit, live_files, walk_back
from .chain.coverage import MAX_SKEW, CoverageTracker
from .chain.rules import (
    IDENTITY_HISTORY,
    IDENTITY_REASONS,
    MAX_COMMIT_DELAY,
    NO_OVERLAP,
    RESYNC_LOOKBACK,
    is_overlap_expected,
    newest_covered,
)
from .chain.status import Status, archive_state, status_fields
from .committer import CommitAppender, CommitConflict
from .format.commit import FIRST_SEQUENCE, Commit, DataFile, Gap, Project, Resync, Writer, token_tag, utc_day
from .format.data_file import DayFile
from .overlap import FetchedEntry, Overlap
from .reader import lines_of
from .run_context import RunContext
from .storage.store import DryRun, Store

_MAX_CLOCK_ATTEMPTS = 3
# After one of these, what was read before must not be kept: it may be wrong, or it cannot be written.
_DISCARDING_ERRORS = (PaginationLoop, StorageError, ProjectMismatch, ArchiveDamaged)


@dataclass(frozen=True)
class CollectSettings:
    """What a user may set. ``start`` counts for an archive's first commit only.

    A commit is made when one of the ``most_`` is reached (entries, bytes of canonical text, pages) and at the end of
    what there is to read; without anything new, only once per ``heartbeat``. ``accept_identity`` lets another token or
    API go on where the provider no longer has anything that the archive has.
    """

    project: str = ""
    start: Optional[datetime] = None
    accept_identity: bool = False
    heartbeat: timedelta = timedelta(hours=1)
    max_entries: int = 10_000
    max_bytes: int = 16 << 20
    max_pages: int = 100


@dataclass(frozen=True)
class CollectResult(Status):
    """Where the archive stands after a run, and what the run did; ``gaps`` are those that it recorded.

    ``renamed`` counts entries that were found again but look different now: a project or token was renamed.
    ``clock_skew_seconds`` is by how much the host's clock was ahead of the server's when the last page arrived.
    """

    clock_skew_seconds: float = 0.0
    added: int = 0
    commits_added: int = 0
    renamed: int = 0

    def to_json(self) -> Dict[str, Any]:
        return {**super().to_json(), "added": self.added, "commits_added": self.commits_added}


def collect(
    store: Store, api: Api, settings: Optional[CollectSettings] = None, context: Optional[RunContext] = None
) -> CollectResult:
    """Bring the archive up to what the API has now, and tell what this run did and where the archive stands.

    ``context.stop`` ends the run between two pages.

    :raises StorageError: the archive cannot be read or written; nothing was advanced.
    :raises ArchiveDamaged: the archive is not what it was.
    :raises ProjectMismatch: the API shows another project's log, or one that cannot be shown to be the same.
    :raises AuditError: the API failed; what was read before is in the archive, and the next run goes on from there.
    """
    context = context or RunContext()
    return _Collector(DryRun(store) if context.dry_run else store, api, settings or CollectSettings(), context).run()


class _Batch:
    """What the next commit will hold: the pages read since the head, compressed by day."""

    def __init__(self, cursor_before: str) -> None:
        self.cursor_before = cursor_before
        self.cursor_after = self.cursor_before
        self.pages = 0
        self.entries = 0
        self.gaps: List[Gap] = []
        self._bytes = 0
        self._days: Dict[str, DayFile] = {}

    def add(self, fetched: FetchedEntry) -> None:
        day = utc_day(fetched.moment)
        if day not in self._days:
            self._days[day] = DayFile(day)
        self._days[day].add(fetched.line, fetched.moment)
        self._bytes += len(fetched.line)
        self.entries += 1

    def end_page(self, page: Page) -> None:
        self.cursor_after = _encoded_query(page.poll_more if page.next is None else page.next)
        self.pages += 1

    def is_full(self, settings: CollectSettings) -> bool:
        return self.has_content and (
            self.entries >= settings.max_entries
            or self._bytes >= settings.max_bytes
            or self.pages >= settings.max_pages
        )

    @property
    def has_content(self) -> bool:
        return bool(self.entries or self.gaps)

    def finish(self, sequence: int) -> List[Tuple[DataFile, bytes]]:
        return [self._days[day].finish(sequence) for day in sorted(self._days)]


class _LogRestarted(Exception):
    """The API began the log again instead of continuing after the cursor."""


class _ClockCheckedApi:
    """An API of which a page counts only if the server's date is near the host's clock."""

    def __init__(self, api: Api, now: Callable[[], datetime]) -> None:
        self._api = api
        self._now = now

    def page(self, url: str) -> Page:
        """The page, asked for again when its date is wrong: one of several machines may be.

        :raises ClockSkew: it stays wrong.
        """
        for _attempt in range(_MAX_CLOCK_ATTEMPTS):
            page, clock = self._api.page(url), self._now()
            date = server_date_of(page)
            if abs(clock - date) <= MAX_SKEW:
                return page
        raise ClockSkew(
            f"The API's date is {format_time(date)}, but this host's clock says {format_time(clock)}; they may differ "
            "by 30 minutes. Correct the wrong clock; nothing is lost.",
            _skew_seconds(clock, date),
        )


def _skew_seconds(clock: datetime, date: datetime) -> float:
    """By how many seconds the host's clock is ahead of the server's date."""
    return round((clock - date).total_seconds(), 1)


def server_date_of(page: Page) -> datetime:
    """The date of a page's response.

    :raises InvalidResponse: it has none.
    """
    if page.server_date is None:
        raise InvalidResponse("The API's response has no Date, so an archive cannot record what it covers.", 200)
    return page.server_date


class _Collector:
    """One run."""

    def __init__(self, store: Store, api: Api, settings: CollectSettings, context: RunContext) -> None:
        self._store = store
        self._api = api
        self._settings = settings
        self._stop = context.stop
        self._now = context.now
        self._option_name = context.called
        self._run_id = context.nonce()
        self._new_archive_id = context.nonce()
        self._appender = CommitAppender(store, context)
        self._uuid: Optional[str] = None
        self._skew_seconds = 0.0
        self._asked: Optional[datetime] = None
        self._resynced = False
        self._added = 0
        self._commits = 0
        self._renamed = 0
        self._gaps: List[Gap] = []

    def run(self) -> CollectResult:
        while True:
            self._load_head()
            try:
                tracker = self._read_or_resync()
            except CommitConflict:
                self._resynced, self._asked = False, None
                continue
            if self._commits:
                self._appender.clean_up()
            return self._result(tracker)

    # The head

    def _load_head(self) -> None:
        self._appender.load_head()
        self._uuid = self._head.commit.project.uuid if self._head else None

    @property
    def _head(self) -> Optional[StoredCommit]:
        return self._appender.stored

    @property
    def _archive_id(self) -> str:
        return self._head.commit.archive_id if self._head else self._new_archive_id

    @property
    def _token_tag(self) -> str:
        return token_tag(self._archive_id, self._api.connection.api_token)

    # Reading

    def _read_or_resync(self) -> CoverageTracker:
        try:
            return self._read_from_cursor()
        except (CursorRejected, _LogRestarted) as exc:
            if self._resynced or self._head is None:
                raise
            return self._resync("restart" if isinstance(exc, _LogRestarted) else "cursor", self._head)

    def _read_from_cursor(self) -> CoverageTracker:
        if self._head is None:
            start = self._settings.start
            if start is not None and start > self._now():
                raise InvalidInput(
                    f"{self._option_name('start')}: {format_time(start)} is in the future; an archive begins with what "
                    "happened."
                )
            return self._archive_pages(self._api.first_url(start=start), CoverageTracker(None, start))
        change = self._identity_change(self._head)
        if change:
            return self._resync(change, self._head)
        url = self._api.url_of(self._head.commit.cursor_after)
        return self._archive_pages(url, self._tracker(), self._refuse_restart(self._pages(url), self._head))

    def _tracker(self) -> CoverageTracker:
        return CoverageTracker(self._head.commit if self._head else None, asked=self._asked)

    def _refuse_restart(self, pages: Iterator[Page], head: StoredCommit) -> Iterator[Page]:
        """The same pages; the first one must not begin with what the archive has.

        :raises _Restart: it does: the API forgot the cursor and began again.
        """
        for number, page in enumerate(pages):
            if (
                number == 0
                and page.entries
                and self._is_restart([FetchedEntry.of(entry) for entry in page.entries], head)
            ):
                raise _LogRestarted
            yield page

    def _is_restart(self, fetched: List[FetchedEntry], head: StoredCommit) -> bool:
        edge = head.commit.pruned_until
        # Of pruned entries nothing is left to compare.
        kept = [one for one in fetched if edge is None or one.moment is None or one.moment >= edge]
        if not kept:
            return True
        first, oldest = kept[0], kept[0].moment
        if oldest is None:
            return False
        if first is fetched[0] and oldest >= head.commit.covered_until - RESYNC_LOOKBACK:
            return False
        live = live_files(self._store, head)
        day = f"entries/date={utc_day(oldest)}/"
        return any(
            line == first.line
            for path in sorted(live)
            if path.startswith(day)
            for line in lines_of(self._store, live[path])
        )

    def _identity_change(self, head: StoredCommit) -> Optional[str]:
        """What no commit of late had: ``api``, ``token``, or None. Two hosts may use two tokens in turn."""
        commit, api = head.commit, self._api.connection.api_url
        if (commit.api, commit.token_tag) == (api, self._token_tag):
            return None
        recent = [stored.commit for stored in islice(walk_back(self._store, head), IDENTITY_HISTORY)]
        if api not in {one.api for one in recent}:
            return "api"
        return "token" if self._token_tag not in {one.token_tag for one in recent} else None

    def _archive_pages(
        self, url: str, tracker: CoverageTracker, pages: Optional[Iterator[Page]] = None
    ) -> CoverageTracker:
        """Read the pages from a URL to the end of the log and commit on the way."""
        batch = _Batch(_encoded_query(url))
        try:
            for page in self._pages(url) if pages is None else pages:
                self._add_page(page, batch, tracker)
                if page.next is not None and batch.is_full(self._settings):
                    self._commit(batch, tracker)
                    batch = _Batch(batch.cursor_after)
        except AuditError as exc:
            if batch.has_content and not isinstance(exc, _DISCARDING_ERRORS):
                self._commit(batch, tracker)
            raise
        if batch.has_content or self._is_heartbeat_due(tracker):
            self._commit(batch, tracker)
        return tracker

    def _pages(self, url: str) -> Iterator[Page]:
        for page in follow_pages(_ClockCheckedApi(self._api, self._now), url):
            yield page
            if self._stop.is_set() and page.next is not None:
                raise Cancelled("The collection was stopped; what it had read is in the archive.")

    def _add_page(self, page: Page, batch: _Batch, tracker: CoverageTracker, overlap: Optional[Overlap] = None) -> bool:
        """Add a page to the batch; True when it lies wholly behind what the archive had."""
        self._check_project(page.entries)
        self._record_response(page, batch, tracker)
        fetched = [FetchedEntry.of(entry) for entry in page.entries]
        for one in fetched:
            if overlap is None or overlap.is_new(one):
                batch.add(one)
        batch.end_page(page)
        moments = [one.moment for one in fetched if one.moment is not None]
        tracker.advance(min(moments, default=None), at_end=page.next is None)
        return overlap is not None and overlap.is_past_archive(fetched)

    def _record_response(self, page: Page, batch: _Batch, tracker: CoverageTracker) -> None:
        clock, date = self._now(), server_date_of(page)
        self._skew_seconds = _skew_seconds(clock, date)
        gap = tracker.receive_page(date, clock)
        self._asked = tracker.asked
        if gap is not None:
            batch.gaps.append(gap)

    def _check_project(self, entries: List[Entry]) -> None:
        for entry in entries:
            uuid = _project_uuid(entry)
            if uuid is None or uuid == self._uuid:
                continue
            if self._uuid is not None:
                raise ProjectMismatch(
                    f"The API returned entries of project {to_printable(uuid)}, but {self._store} holds the log of "
                    f"project {to_printable(self._uuid)}; check the token and the archive's path."
                )
            self._uuid = uuid

    def _is_heartbeat_due(self, tracker: CoverageTracker) -> bool:
        return self._head is None or tracker.server_date - self._head.commit.server_date >= self._settings.heartbeat

    # Joining the log again

    def _resync(self, why: str, stored: StoredCommit) -> CoverageTracker:
        """Read again what the archive has last, and make one commit of what is new after it; then read on."""
        self._resynced = True
        head, overlap = stored.commit, Overlap(self._store, stored)
        url = self._api.first_url(start=overlap.start)
        batch, tracker = _Batch(head.cursor_after), self._tracker()
        last: Optional[Page] = None
        for last in self._pages(url):
            if self._add_page(last, batch, tracker, overlap):
                break
        for fetched in overlap.resolve_undecided():
            batch.add(fetched)
        joined = bool(overlap.found or overlap.renamed)
        comparable = is_overlap_expected(head, tracker.asked)
        accepted = why in IDENTITY_REASONS and not joined and self._accept_identity(why, head, comparable)
        if why not in IDENTITY_REASONS and comparable and not joined:
            batch.gaps.append(Gap(head.covered_until, tracker.covered_until, NO_OVERLAP))
        told = Resync(why, overlap.start, overlap.found + overlap.renamed, overlap.renamed, accepted)
        self._commit(batch, tracker, told)
        self._renamed += overlap.renamed
        if last is None or last.next is None:
            return tracker
        return self._archive_pages(last.next, tracker)

    def _accept_identity(self, why: str, head: Commit, comparable: bool) -> bool:
        """Whether the user's acceptance is recorded of a log of which nothing is left to compare.

        :raises ProjectMismatch: there is something to compare, or the user does not accept it.
        """
        if head.newest is None:
            return False  # the archive never had an entry
        if comparable or not self._settings.accept_identity:
            raise ProjectMismatch(
                f"The {why} changed, and what the API returns does not overlap with the log in {self._store}; "
                + (
                    "check the token and the archive's path."
                    if comparable
                    else f"set {self._option_name('accept_identity')} if it is the same."
                )
            )
        return True

    # Writing

    def _commit(self, batch: _Batch, tracker: CoverageTracker, resync: Optional[Resync] = None) -> None:
        sequence = self._head.commit.sequence + 1 if self._head else FIRST_SEQUENCE
        files = batch.finish(sequence)
        self._check_duration(tracker)
        commit = self._build_commit(sequence, batch, tracker, resync, tuple(file for file, _body in files))
        self._appender.add(commit, {file.path: body for file, body in files})
        self._added += batch.entries
        self._gaps.extend(batch.gaps)
        self._commits += 1

    def _check_duration(self, tracker: CoverageTracker) -> None:
        """A claim about the provider's retention rests on when the run began, so that must not be long ago."""
        head = self._head.commit if self._head else None
        since = max(tracker.asked, head.server_date) if head and head.run == self._run_id else tracker.asked
        if tracker.server_date - since > MAX_COMMIT_DELAY:
            raise ServiceUnavailable("Reading took more than a day without a commit; run it again.")

    def _build_commit(
        self,
        sequence: int,
        batch: _Batch,
        tracker: CoverageTracker,
        resync: Optional[Resync],
        files: Tuple[DataFile, ...],
    ) -> Commit:
        head = self._head.commit if self._head else None
        return Commit(
            archive_id=self._archive_id,
            sequence=sequence,
            kind="resync" if resync else "entries" if batch.entries else "heartbeat",
            run=self._run_id,
            signer=None,  # set where it is signed
            previous=self._head.head.sha256 if self._head else None,
            project=Project(self._settings.project or (head.project.name if head else ""), self._uuid),
            api=self._api.connection.api_url,
            token_tag=self._token_tag,
            cursor_before=batch.cursor_before,
            cursor_after=batch.cursor_after,
            asked=tracker.asked,
            covered_from=tracker.covered_from,
            covered_until=tracker.covered_until,
            files=files,
            removed=(),
            gaps=tuple(batch.gaps),
            entries=batch.entries,
            total_entries=(head.total_entries if head else 0) + batch.entries,
            total_gaps=(head.total_gaps if head else 0) + len(batch.gaps),
            pages=batch.pages,
            committed_at=max(self._now(), tracker.server_date),
            server_date=tracker.server_date,
            clock_skew_seconds=self._skew_seconds,
            collector=Writer(VERSION, socket.gethostname()),
            newest=newest_covered(head, files, tracker.covered_until),
            resync=resync,
            pruned_until=head.pruned_until if head else None,
        )

    def _result(self, tracker: CoverageTracker) -> CollectResult:
        """Of a run that reached the end: what it read counts, whether or not a heartbeat was due to write it down."""
        fields = {"covered_from": tracker.covered_from, **status_fields(self._head, tracker.covered_until)}
        return CollectResult(
            str(self._store),
            archive_state(tracker.covered_until, True, tracker.server_date),
            gaps=self._gaps,
            clock_skew_seconds=self._skew_seconds,
            added=self._added,
            commits_added=self._commits,
            renamed=self._renamed,
            **fields,
        )


def _encoded_query(url: str) -> str:
    """The query of a URL as it stands; what is no ASCII in it is percent-encoded."""
    return quote(urlsplit(url).query, safe=punctuation)


def _project_uuid(entry: Entry) -> Optional[str]:
    subject: Any = entry.get("subject")
    project = subject.get("project") if isinstance(subject, dict) else None
    uuid = project.get("uuid") if isinstance(project, dict) else None
    return uuid if isinstance(uuid, str) else None
