# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes an archive smaller and keeps it verifiable: ``compact`` merges files, ``prune`` deletes old days.

Neither reads the API. A commit names the files to remove, and they are deleted after it is created; if the run is
killed in between, the next run deletes them. Collectors can run at the same time: the run that loses the race for a
commit reads the archive again.
"""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, timezone
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

from ..errors import ArchiveDamaged, Cancelled
from ..times import format_optional
from ..version import VERSION
from .chain.chain import StoredCommit, remove_leftovers, replay
from .chain.rules import ChainState, is_pruned_by
from .committer import CommitAppender, CommitConflict
from .format.commit import UNDATED_DAY, Commit, DataFile, Head, Part, Writer, parse_data_file_name
from .format.data_file import DayFile
from .reader import lines_of
from .run_context import RunContext
from .storage.dry_run import DryRun
from .storage.store import ObjectNotFound, Store, archive_not_found

CLOSE_DELAY = timedelta(hours=1)
"""How far past the end of a day the archive's coverage must reach before the day's files are merged or removed."""

_UNCHANGED = "nothing was changed"
_EARLIEST = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class MaintenanceResult:
    """Changes made by a run, or, with ``dry_run``, the changes that it would make.

    ``days`` is the number of days whose files were removed; ``files``, ``bytes`` and ``entries`` count those files.
    ``commits`` is the number of commits made, ``head`` the archive's head after the run. ``pruned_until`` is the start
    of the oldest day that the archive keeps.
    """

    days: int = 0
    files: int = 0
    entries: int = 0
    bytes: int = 0
    commits: int = 0
    archive_id: Optional[str] = None
    head: Optional[Head] = None
    pruned_until: Optional[datetime] = None

    def to_json(self) -> Dict[str, Any]:
        """Return the values that the command prints as JSON."""
        return {
            "days": self.days,
            "files": self.files,
            "entries": self.entries,
            "bytes": self.bytes,
            "commits": self.commits,
            "head": {"archive_id": self.archive_id, **self.head._asdict()} if self.head else None,
            "pruned_until": format_optional(self.pruned_until),
        }


Cutoff = Union[datetime, Callable[[datetime], datetime]]
"""A time, or a function that computes a time from the server date of the newest commit."""


def compact(
    store: Store,
    before: Optional[Cutoff] = None,
    context: Optional[RunContext] = None,
) -> MaintenanceResult:
    """Merge the files of each closed UTC day into one file, with one commit per day.

    With ``before``, only days that end by then are merged. A day is closed when the archive's coverage reaches one hour
    past its end. Entries that arrive later are stored in another file, which a later run merges.

    :raises StorageError: there is no archive, it cannot be read or written, or a lock still protects a file; in the
        last case nothing was committed.
    :raises ArchiveDamaged: a file differs from its commit; the file is not merged.
    :raises Cancelled: ``context.stop`` was set; the days merged so far stay merged.
    """
    return _Run(store, context or RunContext()).compact(before)


def prune(
    store: Store,
    before: Cutoff,
    context: Optional[RunContext] = None,
) -> MaintenanceResult:
    """Remove the files of all closed UTC days that end by ``before``, in one commit.

    Entries without a readable time are removed with the day on which they were collected. Errors and options are
    those of :func:`compact`; files that a stopped run did not delete are deleted by the next run.
    """
    return _Run(store, context or RunContext()).prune(before)


class _Run:
    """One run of compact or prune."""

    def __init__(self, store: Store, context: RunContext) -> None:
        self._store = DryRun(store) if context.dry_run else store
        self._appender = CommitAppender(self._store, context)
        self._stop = context.stop
        self._now = context.now
        self._run_id = context.nonce()
        self._dry_run = context.dry_run
        self._removed: List[DataFile] = []
        self._commits = 0

    def compact(self, before: Optional[Cutoff]) -> MaintenanceResult:
        while True:
            head, state = self._load()
            cutoff = _cutoff(before, head.commit)
            days = {day: files for day, files in _days(state.live, cutoff).items() if len(files) > 1}
            self._check_not_locked(file for day in sorted(days) for file in days[day])
            try:
                for day in sorted(days):
                    self._merge(day, days[day])
                return self._finish()
            except CommitConflict:
                continue

    def prune(self, before: Cutoff) -> MaintenanceResult:
        while True:
            head, state = self._load()
            cutoff = max(_cutoff(before, head.commit), head.commit.pruned_until or _EARLIEST)
            files = [
                file for path, file in sorted(state.live.items()) if is_pruned_by(file, cutoff, state.undated.get(path))
            ]
            self._check_not_locked(files)
            self._appender.check_stopped(_UNCHANGED)
            try:
                if files:
                    self._commit("prune", files, pruned_until=cutoff)
                return self._finish()
            except CommitConflict:
                continue

    def _load(self) -> Tuple[StoredCommit, ChainState]:
        """Return the head and the chain's state. First delete the files that earlier runs did not finish deleting."""
        self._appender.load_head()
        head = self._appender.stored
        if head is None:
            raise archive_not_found(self._store)
        state = replay(self._store, head)
        remove_leftovers(self._store, head, lookback=head.commit.sequence)
        self._store.purge(self._appender.interruptible(_undeleted_files(self._store, head.commit, state)))
        return head, state

    def _check_not_locked(self, files: Iterable[DataFile]) -> None:
        """Check all files before the first commit: files under a lock could only be deleted when the lock ends."""
        self._store.check_not_locked(self._appender.interruptible((file.path for file in files), _UNCHANGED))

    def _merge(self, day: str, files: Sequence[DataFile]) -> None:
        if self._stop.is_set():
            raise Cancelled("The run was stopped; the days done so far stay compacted.")
        if self._dry_run:
            self._record_removed(files)
            return
        merged = _MergedDay(day)
        for file in files:
            self._append(merged, file)
        self._commit("compact", files, merged)

    def _append(self, merged: _MergedDay, file: DataFile) -> None:
        try:
            merged.append(self._store, file)
        except ObjectNotFound as exc:
            self._appender.refuse_missing(exc)

    def _commit(
        self,
        kind: str,
        removed: Sequence[DataFile],
        merged: Optional[_MergedDay] = None,
        pruned_until: Optional[datetime] = None,
    ) -> None:
        head = self._head
        sequence = head.commit.sequence + 1
        added = [merged.finish(sequence)] if merged else []
        entries = sum(file.entries for file, _body in added)
        commit = replace(
            head.commit,
            sequence=sequence,
            kind=kind,
            run=self._run_id,
            previous=head.head.sha256,
            cursor_before=head.commit.cursor_after,
            files=tuple(file for file, _body in added),
            removed=tuple(file.path for file in removed),
            gaps=(),
            entries=entries,
            total_entries=head.commit.total_entries + entries - sum(file.entries for file in removed),
            pages=0,
            committed_at=max(self._now(), head.commit.server_date),
            collector=Writer(VERSION, socket.gethostname()),
            resync=None,
            pruned_until=pruned_until or head.commit.pruned_until,
        )
        if not self._dry_run:
            self._appender.add(commit, {file.path: body for file, body in added})
            self._commits += 1
        self._record_removed(removed)

    @property
    def _head(self) -> StoredCommit:
        if self._appender.stored is None:
            raise ValueError("load_head was not called")
        return self._appender.stored

    def _record_removed(self, removed: Sequence[DataFile]) -> None:
        self._removed.extend(removed)

    def _finish(self) -> MaintenanceResult:
        if self._commits:
            self._appender.clean_up()
        return MaintenanceResult(
            days=len({file.day for file in self._removed}),
            files=len(self._removed),
            entries=sum(file.entries for file in self._removed),
            bytes=sum(file.bytes for file in self._removed),
            commits=self._commits,
            archive_id=self._head.commit.archive_id,
            head=self._head.head,
            pruned_until=self._head.commit.pruned_until,
        )


class _MergedDay:
    """The merged file of one day. Each part is hashed again while it is appended."""

    def __init__(self, day: str) -> None:
        self._file = DayFile(day)
        self._parts: List[DataFile] = []

    def append(self, store: Store, file: DataFile) -> None:
        """Append a file's lines.

        :raises ObjectNotFound: the file does not exist.
        :raises ArchiveDamaged: the file differs from its commit.
        """
        content = hashlib.sha256()
        for line in lines_of(store, file):
            content.update(line)
            self._file.add(line, None)
        if content.hexdigest() != file.content_sha256:
            raise ArchiveDamaged(f"{file.path} in {store} differs from its commit; verify the archive.")
        self._parts.append(file)

    def finish(self, sequence: int) -> Tuple[DataFile, bytes]:
        file, body = self._file.finish(sequence)
        parts = [Part(one.path, one.content_sha256, one.content_bytes, one.entries) for one in self._parts]
        first = min((one.first for one in self._parts if one.first), default=None)
        last = max((one.last for one in self._parts if one.last), default=None)
        return replace(file, first=first, last=last, parts=tuple(parts)), body


def _cutoff(before: Optional[Cutoff], head: Commit) -> datetime:
    """Return the latest midnight by which days are closed and, with ``before``, old enough."""
    closed = head.covered_until - CLOSE_DELAY
    requested = before(head.server_date) if callable(before) else before
    latest = closed if requested is None else min(requested, closed)
    return datetime.combine(latest.astimezone(timezone.utc).date(), time(), timezone.utc)


def _days(live: Dict[str, DataFile], cutoff: datetime) -> Dict[str, List[DataFile]]:
    """Return the live files of each day that ends by ``cutoff``, in the order of their commits."""
    days: Dict[str, List[DataFile]] = {}
    for path in sorted(live):
        day = live[path].day
        if day != UNDATED_DAY and day < cutoff.date().isoformat():
            days.setdefault(day, []).append(live[path])
    return days


def _undeleted_files(store: Store, head: Commit, state: ChainState) -> List[str]:
    """Return the files that a commit removed but that are still stored: a run was killed, or a copy was restored."""
    return sorted(name for name in store.list_files("entries") if name in state.removed and _is_committed(name, head))


def _is_committed(name: str, head: Commit) -> bool:
    parts = parse_data_file_name(name)
    return parts is not None and parts.sequence <= head.sequence
