# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Follows an archive's commits and forwards each new entry at least once, under a stable name."""

from __future__ import annotations

import threading
from itertools import chain, islice
from typing import Callable, Dict, Iterator, NamedTuple, Optional, Tuple

from ..errors import ArchiveDamaged, Cancelled
from .bookmark import Bookmark
from .chain.chain import StoredCommit, find_head, has_commit, load_commit, replay, walk_forward
from .chain.rules import ChainState
from .chain.signing import checked_head
from .format.commit import READING_KINDS, Commit, DataFile, Head, sha256
from .reader import lines_of
from .storage.store import ObjectNotFound, Store

_MIN_ENTRIES_PER_BOOKMARK = 1000

Send = Callable[[str, bytes], None]
"""Sends an entry's name and its canonical line without the newline; returns when the receiver accepted the entry."""


class ForwardResult(NamedTuple):
    """Number of entries that a run forwarded, and number of entries that were pruned before they were forwarded."""

    entries: int
    pruned: int


def forward(
    store: Store,
    bookmark: Bookmark,
    send: Send,
    stop: Optional[threading.Event] = None,
    on_head: Callable[[StoredCommit], None] = lambda _stored: None,
) -> ForwardResult:
    """Send the entries added after the bookmark, up to the newest commit. ``stop`` ends the run between two commits.

    An entry's name is ``ARCHIVE_ID/SEQUENCE/FILE/LINE``: the commit that added the entry, its file at that time, and
    its line in that file, counted from 1. The bookmark advances only past entries that were sent. An entry can be sent
    twice under the same name.

    :raises StorageError: the archive or the bookmark cannot be read or written.
    :raises ArchiveDamaged: a file is missing or differs from its commit, or the bookmark's commit is missing.
    :raises Cancelled: ``stop`` was set; the next run continues from there.
    """
    return _Forwarder(store, bookmark, send, stop or threading.Event()).run(on_head)


class _Forwarder:
    """One run of :func:`forward`."""

    def __init__(self, store: Store, bookmark: Bookmark, send: Send, stop: threading.Event) -> None:
        self._store = store
        self._added = AddedFiles(store)
        self._bookmark = bookmark
        self._send = send
        self._stop = stop
        self._sent = 0
        self._pruned = 0

    def run(self, on_head: Callable[[StoredCommit], None]) -> ForwardResult:
        forwarded = next(iter(self._bookmark.read()), None)
        self._check_bookmark(forwarded)
        head = checked_head(self._store, forwarded)
        if head:
            on_head(head)
        bookmarked, last = 0, forwarded
        try:
            for stored in self._added.commits(forwarded, head):
                if self._stop.is_set():
                    raise Cancelled("The run was stopped; the next run continues where this one ended.")
                self._forward(stored.commit)
                last = stored.head
                if self._sent - bookmarked >= _MIN_ENTRIES_PER_BOOKMARK:
                    self._bookmark.write(last)
                    bookmarked, forwarded = self._sent, last
        finally:
            if last is not None and last != forwarded:
                self._bookmark.write(last)
        return ForwardResult(self._sent, self._pruned)

    def _check_bookmark(self, forwarded: Optional[Head]) -> None:
        """Refuse a bookmark whose commit does not exist, instead of guessing where to continue.

        :raises ArchiveDamaged: the archive no longer has the commit that was forwarded last.
        """
        if forwarded is None or has_commit(self._store, forwarded):
            return
        raise ArchiveDamaged(
            f"Entries were forwarded up to commit {forwarded.sequence}, but {self._store} no longer has that "
            "commit: the archive was truncated, replaced, or restored from an older copy. Verify the archive, then "
            f"delete the bookmark {self._bookmark} to forward all entries again, under the same ids."
        )

    def _forward(self, commit: Commit) -> None:
        for file, lines in self._added.files(commit):
            if lines is None:
                self._pruned += file.entries
                continue
            for number, line in enumerate(lines, 1):
                self._send(f"{commit.archive_id}/{commit.sequence}/{file.path}/{number}", line.rstrip(b"\n"))
                self._sent += 1


class AddedFiles:
    """Finds the entries that each commit of an archive added, even if their files were compacted since."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # By the path of a merged file: the file that contains its lines now, and the number of lines before them.
        self._locations: Dict[str, Tuple[DataFile, int]] = {}
        self._live: Optional[Dict[str, DataFile]] = None

    def commits(self, forwarded: Optional[Head], head: Optional[StoredCommit]) -> Iterator[StoredCommit]:
        """Yield the commits after ``forwarded`` (None: all commits) up to ``head``, each checked by the rules."""
        if head is None:
            return iter(())
        after = load_commit(self._store, forwarded.sequence) if forwarded else None
        return walk_forward(self._store, ChainState.after(after.commit) if after else ChainState(), after, head)

    def files(self, commit: Commit) -> Iterator[Tuple[DataFile, Optional[Iterator[bytes]]]]:
        """Yield the files that a commit added, each with its canonical lines and their newlines; None if pruned.

        Read the lines of one file before you take the next file.
        """
        # Other kinds of commits add no entries.
        for file in commit.files if commit.kind in READING_KINDS else ():
            yield file, self._lines(file, commit)

    def _lines(self, file: DataFile, commit: Commit) -> Optional[Iterator[bytes]]:
        """Return the lines of a file, even if it was compacted since; None if it was pruned."""
        while True:
            container, before = self._locations.get(file.path, (file, 0))
            try:
                return islice(_opened(lines_of(self._store, container)), before, before + file.entries)
            except ObjectNotFound:
                if self._live is not None and container.path not in self._live:
                    return None
                self._reload_live_files(container.path, commit)

    def _reload_live_files(self, missing: str, commit: Commit) -> None:
        """Read the list of live files, for the first time or because a file no longer exists."""
        head = find_head(self._store, Head(commit.sequence, sha256(commit.to_bytes())))
        if head is None:
            raise ObjectNotFound(f"There is no commit left in {self._store}.")
        state = replay(self._store, head)
        self._live = state.live
        if missing in self._live:
            raise ArchiveDamaged(f"{missing} is missing in {self._store}; verify the archive.")
        self._locations = {}
        for container in self._live.values():
            self._locations.update(_part_locations(container, container, 0, state.merged))


def _part_locations(
    container: DataFile, merged: DataFile, before: int, others: Dict[str, DataFile]
) -> Iterator[Tuple[str, Tuple[DataFile, int]]]:
    """Yield the location of each file that was merged into ``container``, directly or through another merged file."""
    for part in merged.parts:
        yield part.path, (container, before)
        if part.path in others:
            yield from _part_locations(container, others[part.path], before, others)
        before += part.entries


def _opened(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Read the first line now, so that a missing file fails at once and an open file stays readable."""
    first = next(lines, None)
    return iter(()) if first is None else chain([first], lines)
