# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads entries back out of an archive, as a stream, also while others add to it, compact it or prune it."""

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
from .format.commit import DataFile, Head, Malformed, parse_data_file_name
from .format.data_file import decompress_gzip, lines_containing, split_lines
from .storage.store import ObjectNotFound, Store, archive_not_found


def bytes_of(store: Store, file: DataFile) -> Iterator[bytes]:
    """The bytes of a data file as they are stored; who has read them all knows that they are those of its commit.

    :raises ObjectNotFound: the file is gone.
    :raises ArchiveDamaged: its bytes are others; told at their end.
    """
    digest = hashlib.sha256()
    for chunk in store.chunks(file.path):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != file.sha256:
        raise ArchiveDamaged(f"{file.path} in {store} is not as it was committed; verify the archive.")


def lines_of(store: Store, file: DataFile, needles: Sequence[bytes] = ()) -> Iterator[bytes]:
    """The canonical lines of a data file, each with its newline; never more than its commit says it holds.

    With ``needles``, only the lines that have one of these bytes.

    :raises ObjectNotFound: the file is gone.
    :raises ArchiveDamaged: it does not hold what its commit says; what differs may be told at the end of its lines.
    """
    try:
        content = decompress_gzip(bytes_of(store, file), file.content_bytes)
        yield from lines_containing(content, needles) if needles else split_lines(content)
    except Malformed as exc:
        raise ArchiveDamaged(f"{file.path} in {store} is damaged: {exc}; verify the archive.") from exc


def entries_of(store: Store, file: DataFile) -> Iterator[Entry]:
    """The entries of a data file; errors as of :func:`lines_of`."""
    for line in lines_of(store, file):
        yield parse_entry(store, file, line)


class Snapshot(NamedTuple):
    """The newest commit of an archive, and what all commits up to it add up to."""

    head: StoredCommit
    state: ChainState


def take_snapshot(store: Store, pin: Optional[Head] = None) -> Snapshot:
    """What an archive has now.

    :raises StorageError: the archive has no commit: it is none, or has lost them.
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
    """Every entry of the archive from ``start`` (inclusive) to ``end`` (exclusive), day by day, each exactly once.

    An entry whose timestamp is unreadable is never left out. When a file vanishes underneath, because it was compacted
    or pruned meanwhile, the list of files is taken anew from the head, and what was already given is not given again.
    ``on_head`` is told each head that the list was taken from. With ``needles``, lines without any of these bytes are
    left out; that costs far less than to parse them. ``listed`` is what the archive had a moment ago, where that is
    known.

    :raises StorageError: the archive has no commit: it is none, or has lost them.
    :raises ArchiveDamaged: a file is absent or holds something else than its commit says.
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
    """The entries of these data files from ``start`` (inclusive) to ``end`` (exclusive), in the order of the files.

    :raises ObjectNotFound: a file is gone.
    :raises ArchiveDamaged: a file holds something else than its commit says.
    """
    nothing = _AlreadyRead(set(), {})
    for file in files:
        yield from _selected(store, file, nothing, start, end, ())


class _AlreadyRead:
    """What a reader gave already: whole files, which may since be slices of others, and slices of those of others."""

    def __init__(self, files: Set[str], merged: Dict[str, DataFile]) -> None:
        self._files = files
        self._merged = merged

    def slices(self, file: DataFile) -> Iterator[Tuple[int, bool]]:
        """The numbers of entries in the slices of a file, in order, and whether each was given."""
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
                f"{file.path} in {store} has an entry of another time than its commit says; verify the archive."
            )
        if moment is None or ((start is None or start <= moment) and (end is None or moment < end)):
            yield found


def _is_within(file: DataFile, moment: Optional[datetime]) -> bool:
    """Whether an entry's timestamp is one that the file's commit allows; by these times files are left out."""
    if moment is None or file.first is None or file.last is None:
        return moment is None and file.first is None
    return file.first <= moment <= file.last


def _unread_lines(
    store: Store, file: DataFile, already_read: _AlreadyRead, needles: Sequence[bytes]
) -> Iterator[bytes]:
    """The lines of a file, with needles those that have one, without slices that were given as files of their own."""
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
    """The entry of one line of a data file.

    :raises ArchiveDamaged: it is no entry.
    """
    try:
        value = parse(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ArchiveDamaged(f"{file.path} in {store} holds a line that is no entry; verify the archive.")
    return value
