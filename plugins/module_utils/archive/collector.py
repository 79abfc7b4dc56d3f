# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Collects new entries from the API and appends them to an archive, commit by commit.

Each commit stores a cursor together with the entries that were read before it. A run can therefore be killed at any
moment, and several runs can collect into one archive at the same time: each commit is created exclusively, and a run
that loses the race discards what it read and continues from the new head.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from ..errors import (
    ArchiveDamaged,
    AuditError,
    Cancelled,
    CursorRejected,
    InvalidInput,
    PaginationLoop,
    ProjectMismatch,
    ServiceUnavailable,
    StorageError,
)
from ..project_log.client import Api, Page, follow_pages
from ..project_log.entry import Entry, to_printable
from ..times import format_time
from ..version import VERSION
from .batch import Batch, encoded_query
from .chain.chain import StoredCommit
from .chain.coverage import CoverageTracker
from .chain.rules import IDENTITY_REASONS, MAX_COMMIT_DELAY, NO_OVERLAP, is_overlap_expected, newest_covered
from .chain.status import Status, archive_state, status_fields
from .committer import CommitAppender, CommitConflict
from .format.commit import FIRST_SEQUENCE, Commit, DataFile, Gap, Project, Resync, Writer, token_tag
from .log_identity import LogRestarted, check_continues, identity_change, project_uuid
from .overlap import FetchedEntry, Overlap
from .response_clock import ClockCheckedApi, clock_skew, server_date_of
from .run_context import RunContext
from .storage.dry_run import DryRun
from .storage.store import ObjectNotFound, Store

# Pages read before one of these errors are discarded: they might be wrong, or they cannot be written.
_DISCARDING_ERRORS = (PaginationLoop, StorageError, ProjectMismatch, ArchiveDamaged)


@dataclass(frozen=True)
class CollectSettings:
    """Settings of a collection run. ``start`` applies only to an archive's first commit.

    A commit is made when one of the maximums is reached (entries, bytes of canonical text, pages) and at the end of
    the log; without new entries, only once per ``heartbeat``. ``accept_identity`` allows another token or API if the
    provider no longer has any of the archived entries.
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
    """Status of the archive after a run, and the changes made by the run; ``gaps`` are those that it recorded.

    ``renamed`` is the number of entries that were found again with different names: a project or token was renamed.
    ``clock_skew_seconds`` is how far the host's clock was ahead of the server's when the last page arrived.
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
    """Append the entries that the API has and the archive does not.

    ``context.stop`` ends the run between two pages.

    :raises StorageError: the archive cannot be read or written; commits made before remain.
    :raises ArchiveDamaged: a commit or a file is missing or was changed.
    :raises ProjectMismatch: the API returns another project's log, or a log that might not be the archived one.
    :raises AuditError: the API failed; entries read before are archived, and the next run continues after them.
    """
    context = context or RunContext()
    return _Collector(DryRun(store) if context.dry_run else store, api, settings or CollectSettings(), context).run()


class _Collector:
    """One run."""

    def __init__(self, store: Store, api: Api, settings: CollectSettings, context: RunContext) -> None:
        self._store = store
        self._api = api
        self._settings = settings
        self._stop = context.stop
        self._now = context.now
        self._option_name = context.option_name
        self._run_id = context.nonce()
        self._new_archive_id = context.nonce()
        self._appender = CommitAppender(store, context)
        self._uuid: Optional[str] = None
        self._skew_seconds = 0.0
        self._asked: Optional[datetime] = None
        self._overlap: Optional[Overlap] = None  # after a resync of this run
        self._added = 0
        self._commits = 0
        self._renamed = 0
        self._gaps: List[Gap] = []

    def run(self) -> CollectResult:
        while True:
            self._load_head()
            try:
                tracker = self._read()
            except CommitConflict:
                self._overlap, self._asked = None, None
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

    def _read(self) -> CoverageTracker:
        try:
            return self._read_or_resync()
        except ObjectNotFound as exc:
            self._appender.refuse_missing(exc)

    def _read_or_resync(self) -> CoverageTracker:
        try:
            return self._read_from_cursor()
        except (CursorRejected, LogRestarted) as exc:
            if self._overlap or self._head is None:
                raise
            if isinstance(exc, LogRestarted):
                return self._resync("restart", self._head, exc.late)
            return self._resync("cursor", self._head)

    def _read_from_cursor(self) -> CoverageTracker:
        if self._head is None:
            return self._begin()
        change = identity_change(self._store, self._head, self._api.connection.api_url, self._token_tag)
        if change:
            return self._resync(change, self._head)
        url = self._api.url_of(self._head.commit.cursor_after)
        return self._archive_pages(url, self._tracker(), self._check_first(self._pages(url), self._head))

    def _begin(self) -> CoverageTracker:
        """Read the log for the first commit of a new archive."""
        start = self._settings.start
        if start is not None and start > self._now():
            raise InvalidInput(f"{self._option_name('start')}: {format_time(start)} is in the future; use a past time.")
        return self._archive_pages(self._api.first_url(start=start), CoverageTracker(None, start))

    def _tracker(self) -> CoverageTracker:
        return CoverageTracker(self._head.commit if self._head else None, asked=self._asked)

    def _check_first(self, pages: Iterator[Page], head: StoredCommit) -> Iterator[Page]:
        """Yield the pages unchanged.

        :raises LogRestarted: the first entries are not those after the cursor.
        """
        is_checked = False
        for page in pages:
            if page.entries and not is_checked:
                check_continues(self._store, head, page.entries)
                is_checked = True
            yield page

    def _archive_pages(
        self, url: str, tracker: CoverageTracker, pages: Optional[Iterator[Page]] = None
    ) -> CoverageTracker:
        """Read the pages from a URL to the end of the log, and commit whenever a batch is full."""
        batch = Batch(encoded_query(url))
        try:
            for page in self._pages(url) if pages is None else pages:
                self._add_page(page, batch, tracker)
                if page.next is not None and self._is_full(batch):
                    self._commit(batch, tracker)
                    batch = Batch(batch.cursor_after)
        except AuditError as exc:
            if batch.has_content and not isinstance(exc, _DISCARDING_ERRORS):
                self._commit(batch, tracker)
            raise
        if batch.has_content or self._is_heartbeat_due(tracker):
            self._commit(batch, tracker)
        return tracker

    def _is_full(self, batch: Batch) -> bool:
        return batch.is_full(self._settings.max_entries, self._settings.max_bytes, self._settings.max_pages)

    def _pages(self, url: str) -> Iterator[Page]:
        for page in follow_pages(ClockCheckedApi(self._api, self._now), url):
            yield page
            if self._stop.is_set() and page.next is not None:
                raise Cancelled("The collection run was stopped; the entries read so far are archived.")

    def _add_page(self, page: Page, batch: Batch, tracker: CoverageTracker) -> List[FetchedEntry]:
        """Add the new entries of a page to the batch. Return all entries of the page."""
        self._check_project(page.entries)
        self._record_response(page, batch, tracker)
        fetched = [FetchedEntry.of(entry) for entry in page.entries]
        for one in fetched:
            if self._overlap is None or self._overlap.is_new(one):
                batch.add(one)
        batch.end_page(page)
        moments = [one.moment for one in fetched if one.moment is not None]
        tracker.advance(min(moments, default=None), at_end=page.next is None)
        return fetched

    def _record_response(self, page: Page, batch: Batch, tracker: CoverageTracker) -> None:
        """Record the date of a page, and a gap if the provider might have deleted entries before it."""
        clock, date = self._now(), server_date_of(page)
        self._skew_seconds = clock_skew(clock, date)
        gap = tracker.receive_page(date, clock)
        self._asked = tracker.asked
        if gap is not None:
            batch.gaps.append(gap)

    def _check_project(self, entries: List[Entry]) -> None:
        for entry in entries:
            uuid = project_uuid(entry)
            if uuid is None or uuid == self._uuid:
                continue
            if self._uuid is not None:
                raise ProjectMismatch(
                    f"The API returned entries of project {to_printable(uuid)}, but {self._store} holds the log of "
                    f"project {to_printable(self._uuid)}; check the token and the archive's path."
                )
            self._uuid = uuid

    def _is_heartbeat_due(self, tracker: CoverageTracker) -> bool:
        # After a resync, the cursor must move past the entries that the API returned again.
        if self._head is None or self._overlap:
            return True
        return tracker.server_date - self._head.commit.server_date >= self._settings.heartbeat

    # Reading again by time

    def _resync(self, why: str, stored: StoredCommit, late: Sequence[FetchedEntry] = ()) -> CoverageTracker:
        """Read the log again from a day before the newest archived entry, commit the entries that are not archived, and
        continue. ``late`` are such entries from before that day."""
        head, overlap = stored.commit, Overlap(self._store, stored)
        self._overlap = overlap
        url = self._api.first_url(start=overlap.start)
        batch, tracker = Batch(head.cursor_after), self._tracker()
        for one in late:
            batch.add(one)
            overlap.skip_once(one)
        page: Optional[Page] = None
        for page in self._pages(url):
            if overlap.is_past_archive(self._add_page(page, batch, tracker)):
                break
        self._add_undecided(batch)
        overlaps = bool(overlap.found or overlap.renamed)
        expects_overlap = is_overlap_expected(head, tracker.asked)
        accepted = why in IDENTITY_REASONS and not overlaps and self._accept_identity(why, head, expects_overlap)
        if why not in IDENTITY_REASONS and expects_overlap and not overlaps:
            batch.gaps.append(Gap(head.covered_until, tracker.covered_until, NO_OVERLAP))
        resync = Resync(why, overlap.start, overlap.found + overlap.renamed, overlap.renamed, accepted)
        if why == "token" and overlaps and page is not None:
            # The cursor is one of this log. Unlike the read by time, it misses no late entries.
            self._overlap = None
            batch, tracker = batch.without_entries(), self._tracker()
            self._record_response(page, batch, tracker)
            self._commit(batch, tracker, resync)
            self._renamed += overlap.renamed
            return self._read_from_cursor()
        self._commit(batch, tracker, resync)
        self._renamed += overlap.renamed
        if page is None or page.next is None:
            return tracker
        return self._archive_pages(page.next, tracker)

    def _accept_identity(self, why: str, head: Commit, expects_overlap: bool) -> bool:
        """Return whether to record that the user accepted a log without an overlap.

        :raises ProjectMismatch: an overlap is expected, or the user did not accept the log.
        """
        if head.newest is None:
            return False  # the archive never had an entry
        if not expects_overlap and self._settings.accept_identity:
            return True
        advice = (
            "check the token and the archive's path"
            if expects_overlap
            else f"set {self._option_name('accept_identity')} if it is the same log"
        )
        raise ProjectMismatch(f"The {why} changed, and the API's log does not overlap with {self._store}; {advice}.")

    def _add_undecided(self, batch: Batch) -> None:
        for fetched in self._overlap.resolve_undecided() if self._overlap else ():
            batch.add(fetched)

    # Writing

    def _commit(self, batch: Batch, tracker: CoverageTracker, resync: Optional[Resync] = None) -> None:
        self._add_undecided(batch)
        sequence = self._head.commit.sequence + 1 if self._head else FIRST_SEQUENCE
        files = batch.finish(sequence)
        self._check_duration(tracker)
        commit = self._build_commit(sequence, batch, tracker, resync, tuple(file for file, _body in files))
        self._appender.add(commit, {file.path: body for file, body in files})
        self._added += batch.entries
        self._gaps.extend(batch.gaps)
        self._commits += 1

    def _check_duration(self, tracker: CoverageTracker) -> None:
        """Refuse a commit long after the start of the run: its gaps are computed from that start."""
        head = self._head.commit if self._head else None
        since = max(tracker.asked, head.server_date) if head and head.run == self._run_id else tracker.asked
        if tracker.server_date - since > MAX_COMMIT_DELAY:
            raise ServiceUnavailable("Reading took more than a day without a commit; start another collection run.")

    def _build_commit(
        self,
        sequence: int,
        batch: Batch,
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
            signer=None,  # set by the CommitAppender
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
        """Return the result of a run that reached the end of the log; its coverage might be newer than the head's."""
        fields = {"covered_from": tracker.covered_from, **status_fields(self._head, tracker.covered_until)}
        return CollectResult(
            str(self._store),
            archive_state(tracker.covered_until, at_end=True, now=tracker.server_date),
            gaps=self._gaps,
            clock_skew_seconds=self._skew_seconds,
            added=self._added,
            commits_added=self._commits,
            renamed=self._renamed,
            **fields,
        )
