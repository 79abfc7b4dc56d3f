# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads entries from an archive as a stream, even while other runs add to it, compact it or prune it."""

from __future__ import annotations

import hashlib
from datetime import datetime
from itertools import islice
from typing import Callable, Dict, Iterable, Iterator, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import ArchiveDamaged
from ..project_log.entry import Entry, parse, timestamp
from .chain.chain import StoredCommit, replay
from .chain.rules import ChainState
from .chain.signing import checked_head
from .format.commit import DataFile, Head, parse_data_file_name
from .format.data_file import decompress_gzip, lines_containing, split_lines
from .format.fields import Malformed
from .storage.store import ObjectNotFound, Store, archive_not_found


def bytes_of(store: Store, file: DataFile) -> Iterator[bytes]:
    """Yield the stored bytes of a data file, and compare them with its commit at the end.

    :raises ObjectNotFound: the file does not exist.
    :raises ArchiveDamaged: the bytes differ from the commit; raised after the last byte.
    """
    digest = hashlib.sha256()
    for chunk in store.read(file.path):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != file.sha256:
        raise ArchiveDamaged(f"{file.path} in {store} was changed after it was committed; verify the archive.")


def lines_of(store: Store, file: DataFile, needles: Sequence[bytes] = ()) -> Iterator[bytes]:
    """Yield the canonical lines of a data file, each with its newline, but never more bytes than its commit states.

    With ``needles``, only the lines that contain one of these byte strings.

    :raises ObjectNotFound: the file does not exist.
    :raises ArchiveDamaged: the file differs from its commit; this can be raised after the last line.
    """
    try:
        content = decompress_gzip(bytes_of(store, file), file.content_bytes)
        yield from lines_containing(content, needles) if needles else split_lines(content)
    except Malformed as exc:
        raise ArchiveDamaged(f"{file.path} in {store} is damaged: {exc}; verify the archive.") from exc


def entries_of(store: Store, file: DataFile) -> Iterator[Entry]:
    """Yield the entries of a data file; errors are those of :func:`lines_of`."""
    for line in lines_of(store, file):
        yield parse_entry(store, file, line)


class Snapshot(NamedTuple):
    """The newest commit of an archive, and the state of the chain up to it."""

    head: StoredCommit
    state: ChainState


def take_snapshot(store: Store, pin: Optional[Head] = None) -> Snapshot:
    """Read the present state of an archive.

    :raises StorageError: there is no archive, or its commits are missing.
    :raises ArchiveDamaged: a commit breaks the chain or its rules.
    """
    head = checked_head(store, pin)
    if head is None:
        raise archive_not_found(store)
    return Snapshot(head, replay(store, head))


def cat(
    store: Store,
    start: Optional[datetime] = None,
    end: Optional[datetime] = None,
    pin: Optional[Head] = None,
    on_head: Callable[[StoredCommit], None] = lambda _stored: None,
    needles: Sequence[bytes] = (),
    snapshot: Optional[Snapshot] = None,
) -> Iterator[Entry]:
    """Yield every entry from ``start`` (inclusive) to ``end`` (exclusive) exactly once, day by day.

    Entries without a readable timestamp are always included. If a file is compacted or pruned during the read, the list
    of files is read again from the head, and entries that were already yielded are skipped. ``on_head`` is called with
    each head whose files are listed. With ``needles``, lines without any of these byte strings are skipped; this is
    much faster than parsing them. ``snapshot`` is a recent state of the archive, if the caller has one.

    :raises StorageError: there is no archive, or its commits are missing.
    :raises ArchiveDamaged: a file is missing or differs from its commit.
    """
    done: Set[str] = set()
    first_sequence: Optional[int] = None
    missing: Optional[str] = None
    while True:
        head, state = snapshot or take_snapshot(store, pin)
        snapshot = None
        on_head(head)
        live = state.live
        if missing in live:
            raise ArchiveDamaged(f"{missing} is missing in {store}; verify the archive.")
        first_sequence = head.commit.sequence if first_sequence is None else first_sequence
        merged = {path: file for path, file in state.merged.items() if _sequence(path) > first_sequence}
        try:
            for path in sorted(live):
                if path not in done:
                    yield from _selected(store, live[path], _AlreadyRead(done, merged), start, end, needles)
                    done.add(path)
            return
        except ObjectNotFound:
            missing = path


def read_files(
    store: Store, files: Iterable[DataFile], start: Optional[datetime] = None, end: Optional[datetime] = None
) -> Iterator[Entry]:
    """Yield the entries of data files from ``start`` (inclusive) to ``end`` (exclusive), in the order of the files.

    :raises ObjectNotFound: a file does not exist.
    :raises ArchiveDamaged: a file differs from its commit.
    """
    nothing = _AlreadyRead(set(), {})
    for file in files:
        yield from _selected(store, file, nothing, start, end, ())


class _AlreadyRead:
    """The files whose entries were already yielded; since then, they might have been merged into other files."""

    def __init__(self, files: Set[str], merged: Dict[str, DataFile]) -> None:
        self._files = files
        self._merged = merged

    def slices(self, file: DataFile) -> Iterator[Tuple[int, bool]]:
        """Yield, for each slice of a file in order, its number of entries and whether they were already yielded."""
        for part in file.parts:
            inner = self._merged.get(part.path)
            if part.path in self._files or inner is None:
                yield part.entries, part.path in self._files
            else:
                yield from self.slices(inner)


def _sequence(path: str) -> int:
    name = parse_data_file_name(path)
    return name.sequence if name else 0


def _selected(
    store: Store,
    file: DataFile,
    already_read: _AlreadyRead,
    start: Optional[datetime],
    end: Optional[datetime],
    needles: Sequence[bytes],
) -> Iterator[Entry]:
    if not _may_contain(file, start, end):
        return
    for line in _unread_lines(store, file, already_read, needles):
        found = parse_entry(store, file, line)
        moment = timestamp(found)
        if not _is_within(file, moment):
            raise ArchiveDamaged(
                f"{file.path} in {store} has an entry outside the times in its commit; verify the archive."
            )
        if moment is None or ((start is None or start <= moment) and (end is None or moment < end)):
            yield found


def _is_within(file: DataFile, moment: Optional[datetime]) -> bool:
    """Return whether a timestamp is within the file's times in its commit, by which readers select files."""
    if moment is None or file.first is None or file.last is None:
        return moment is None and file.first is None
    return file.first <= moment <= file.last


def _unread_lines(
    store: Store, file: DataFile, already_read: _AlreadyRead, needles: Sequence[bytes]
) -> Iterator[bytes]:
    """Yield the lines of a file that contain a needle, except for slices that were already yielded as other files."""
    slices = list(already_read.slices(file))
    if not any(is_read for _entries, is_read in slices):
        yield from lines_of(store, file, needles)
        return
    lines = lines_of(store, file)
    for entries, is_read in slices:
        slice_of_part = islice(lines, entries)
        if is_read:
            for _skipped in slice_of_part:
                pass
        else:
            yield from _matching_lines(slice_of_part, needles)
    yield from _matching_lines(lines, needles)


def _matching_lines(lines: Iterator[bytes], needles: Sequence[bytes]) -> Iterator[bytes]:
    return (line for line in lines if not needles or any(needle in line for needle in needles))


def _may_contain(file: DataFile, start: Optional[datetime], end: Optional[datetime]) -> bool:
    if file.first is None or file.last is None:
        return True
    return (start is None or start <= file.last) and (end is None or file.first < end)


def parse_entry(store: Store, file: DataFile, line: bytes) -> Entry:
    """Parse one line of a data file.

    :raises ArchiveDamaged: the line is not an entry.
    """
    try:
        value = parse(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ArchiveDamaged(f"{file.path} in {store} contains a line that is not an entry; verify the archive.")
    return value
