# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The chain of commits: find its head, walk it in both directions, and clean up after runs that did not finish."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import Dict, Iterator, List, NamedTuple, Optional

from ...errors import ArchiveDamaged, StorageError
from ..format.commit import (
    FIRST_SEQUENCE,
    Commit,
    DataFile,
    Gap,
    Head,
    commit_name,
    parse_data_file_name,
    sha256,
)
from ..format.fields import Malformed
from ..format.pending import parse_pending_name, parse_pending_record
from ..storage.prefetch import prefetch_chunks
from ..storage.store import InvalidObject, ObjectNotFound, Store, join_chunks, read_file
from .rules import ChainState

MAX_LOOKBACK = 100
"""Number of commits before the head whose pending records a run cleans up."""

_MAX_RECORD_SIZE = 1 << 20


class StoredCommit(NamedTuple):
    """A commit and the bytes that are stored."""

    commit: Commit
    body: bytes

    @property
    def head(self) -> Head:
        return Head(self.commit.sequence, sha256(self.body))


def load_commit(store: Store, sequence: int) -> StoredCommit:
    """Read a commit.

    :raises ObjectNotFound: the commit does not exist.
    :raises ArchiveDamaged: the file is not a valid commit with this sequence.
    """
    return parse_stored_commit(store, sequence, read_file(store, commit_name(sequence)))


def has_commit(store: Store, head: Head) -> bool:
    """Return whether the archive still has a commit that was its head earlier.

    :raises ArchiveDamaged: the file with its name is not a commit.
    """
    try:
        return load_commit(store, head.sequence).head == head
    except ObjectNotFound:
        return False


def parse_stored_commit(store: Store, sequence: int, body: bytes) -> StoredCommit:
    """Parse the bytes of a commit.

    :raises ArchiveDamaged: the bytes are not a valid commit with this sequence.
    """
    name = commit_name(sequence)
    try:
        commit = Commit.parse(body)
    except Malformed as exc:
        raise ArchiveDamaged(f"{name} in {store} is not a valid commit: {exc}; verify the archive.") from exc
    if commit.sequence != sequence:
        raise ArchiveDamaged(f"{name} in {store} contains commit {commit.sequence}; verify the archive.")
    return StoredCommit(commit, body)


def find_head(store: Store, pin: Optional[Head] = None) -> Optional[StoredCommit]:
    """Find the newest commit; None if the archive has no commit.

    With ``pin``, a head seen earlier, only commits after it are listed.

    :raises ArchiveDamaged: the pinned commit is missing or different, a commit after it is missing, or there are data
        files but no commit.
    """
    head = _load_pinned(store, pin) if pin is not None else None
    listed = store.list_commits(after=pin.sequence if pin else 0)
    if pin is not None and listed and listed[-1] != pin.sequence + len(listed):
        raise ArchiveDamaged(f"Commits after {pin.sequence} are missing in {store}; verify the archive.")
    head = _find_newer(store, load_commit(store, listed[-1]) if listed else head)
    if head is None:
        _check_new(store)
    return head


def _find_newer(store: Store, stored: Optional[StoredCommit]) -> Optional[StoredCommit]:
    """Return the newest commit, starting at this one; a list might lack commits that were just created.

    If the next commit's name belongs to something other than a file, it is ignored here; a run that commits reports it.
    """
    while True:
        sequence = stored.commit.sequence if stored else 0
        try:
            stored = load_commit(store, sequence + 1)
        except (ObjectNotFound, InvalidObject):
            return stored


def walk_back(store: Store, head: StoredCommit) -> Iterator[StoredCommit]:
    """Yield the commits from ``head`` back to the first one, following the hashes.

    :raises ArchiveDamaged: a commit is missing, or has another hash than the next commit names.
    """
    stored = head
    while True:
        yield stored
        previous, sequence = stored.commit.previous, stored.commit.sequence - 1
        if previous is None:
            return
        try:
            stored = load_commit(store, sequence)
        except ObjectNotFound as exc:
            raise _missing(store, sequence) from exc
        if stored.head.sha256 != previous:
            raise ArchiveDamaged(f"{commit_name(sequence)} in {store} was changed; verify the archive.")


def _missing(store: Store, sequence: int) -> ArchiveDamaged:
    return ArchiveDamaged(f"{commit_name(sequence)} in {store} is missing; verify the archive.")


def replay(store: Store, head: StoredCommit) -> ChainState:
    """Check all commits up to ``head`` and return the resulting state.

    :raises ArchiveDamaged: a commit is missing, has another hash than the next commit names, or breaks a rule.
    """
    state = ChainState()
    for _checked in walk_forward(store, state, None, head):
        pass
    return state


def walk_forward(
    store: Store, state: ChainState, after: Optional[StoredCommit], head: StoredCommit
) -> Iterator[StoredCommit]:
    """Yield the commits after ``after`` (None: all) up to ``head``; check each one against ``state`` and apply it.

    That these commits lead to ``head`` is checked after the last one is yielded.

    :raises ArchiveDamaged: as :func:`replay`.
    """
    first = after.commit.sequence + 1 if after else FIRST_SEQUENCE
    previous = after.head.sha256 if after else None
    sequences = range(first, head.commit.sequence + 1)
    stored = after
    for sequence, read_chunks in zip(sequences, prefetch_chunks(store, map(commit_name, sequences))):
        try:
            body = join_chunks(read_chunks(), f"{commit_name(sequence)} in {store}")
        except ObjectNotFound as exc:
            raise _missing(store, sequence) from exc
        stored = parse_stored_commit(store, sequence, body)
        if stored.commit.previous != previous:
            raise ArchiveDamaged(
                f"{stored.commit.name} in {store} does not name the previous commit; verify the archive."
            )
        for violation in state.violations(stored.commit):
            raise ArchiveDamaged(
                f"{stored.commit.name} in {store} breaks the rules of an archive: {violation.detail}; verify the "
                "archive."
            )
        state.apply(stored.commit)
        previous = stored.head.sha256
        yield stored
    if stored is None or stored.head != head.head:
        raise ArchiveDamaged(f"{head.commit.name} in {store} changed while it was read; verify the archive.")


def live_files(store: Store, head: Optional[StoredCommit]) -> Dict[str, DataFile]:
    """The data files that make up the archive as of ``head``, by path; raises as :func:`replay`."""
    return replay(store, head).live if head else {}


def gaps(store: Store, head: Commit) -> List[Gap]:
    """All gaps ever recorded, oldest first. A binary search by ``total_gaps`` finds the commits that recorded them."""
    found: List[Gap] = []
    last = head
    while last.total_gaps:
        last = _first_with_total(store, last)
        found.extend(reversed(last.gaps))
        if last.sequence == FIRST_SEQUENCE or not last.gaps:
            break
        last = load_commit(store, last.sequence - 1).commit
    return found[::-1]


def _first_with_total(store: Store, commit: Commit) -> Commit:
    """The first commit, up to this one, that has the same ``total_gaps``."""
    low, high = FIRST_SEQUENCE, commit.sequence
    while low < high:
        sequence = (low + high) // 2
        middle = load_commit(store, sequence).commit
        if middle.total_gaps < commit.total_gaps:
            low = middle.sequence + 1
        else:
            high, commit = middle.sequence, middle
    return commit


def remove_leftovers(store: Store, head: StoredCommit, lookback: int = MAX_LOOKBACK) -> None:
    """Delete files that lost and killed runs left behind for commits that exist now.

    ``head`` must be trusted. Only the commits that lead to it, at most ``lookback`` of them, are taken into account. A
    data file that its commit does not name can never become live. A removal of files that was interrupted is completed.
    A record is deleted last, and only if it is settled; otherwise a later run tries again. If the storage refuses to
    delete a file, as under a retention lock, the clean-up ends for this run.
    """
    found = list(_pending_up_to(store, head.commit.sequence, lookback))
    if not found:
        return
    commits = {stored.commit.sequence: stored.commit for stored in islice(walk_back(store, head), lookback)}
    records = {name: store.is_settled(name) for name in found if _is_record(name)}
    # Temporary files are listed after the records and deleted before the data files. An active run creates them before
    # its record and data files from them, so a deleted data file cannot appear again.
    temporary = [name for name in _pending_up_to(store, head.commit.sequence, lookback) if not _is_record(name)]
    with suppress(StorageError):
        store.delete([name for name in temporary if _sequence_of(name) in commits])
        for record, is_settled in records.items():
            commit = commits.get(_sequence_of(record))
            if commit is None:
                continue
            committed = {file.path for file in commit.files}
            store.delete([name for name in _files_in(store, record) if name not in committed])
            store.purge(commit.removed)
            if is_settled:
                store.delete([record])


def pending_records(store: Store) -> Dict[str, Optional[List[str]]]:
    """The data files that each pending record names, by the name of the record; None if the record is invalid."""
    found: Dict[str, Optional[List[str]]] = {}
    for record in _list_pending(store):
        if parse_pending_name(record) is not None and _is_record(record):
            with suppress(ObjectNotFound):  # another run deleted it
                found[record] = _read_record(store, record)
    return found


def _pending_up_to(store: Store, head: int, lookback: int) -> Iterator[str]:
    first = max(0, head - lookback) + 1
    for name in _list_pending(store, after=f"pending/{first:012d}"):
        sequence = parse_pending_name(name)
        if sequence is not None and first <= sequence <= head:
            yield name
        elif name > f"pending/{head + 1:012d}":
            return


def _list_pending(store: Store, after: str = "") -> Iterator[str]:
    try:
        return store.list_files("pending", after)
    except InvalidObject:  # a run that writes fails later; readers do not need the directory
        return iter(())


def _is_record(name: str) -> bool:
    return name.endswith(".json")


def _sequence_of(record: str) -> int:
    return parse_pending_name(record) or 0


def _files_in(store: Store, record: str) -> List[str]:
    try:
        return _read_record(store, record) or []
    except ObjectNotFound:  # another run deleted it
        return []


def _read_record(store: Store, record: str) -> Optional[List[str]]:
    try:
        body = join_chunks(store.read(record), f"{record} in {store}", _MAX_RECORD_SIZE)
    except InvalidObject:
        return None
    return parse_pending_record(body, _sequence_of(record))


def _load_pinned(store: Store, pin: Head) -> StoredCommit:
    with suppress(ObjectNotFound, ArchiveDamaged):
        stored = load_commit(store, pin.sequence)
        if stored.head == pin:
            return stored
    raise ArchiveDamaged(
        f"Commit {pin.sequence} in {store} is missing or differs from the pinned one: the archive was truncated or "
        "replaced; verify it and restore it from a copy."
    )


def _check_new(store: Store) -> None:
    """Refuse data files of later commits: a killed first run leaves only files of the first commit."""
    parts = map(parse_data_file_name, store.list_files("entries"))
    if any(part is not None and part.sequence > FIRST_SEQUENCE for part in parts):
        raise ArchiveDamaged(
            f"{store} has data files but no commit: its commits were deleted; restore them from a copy."
        )
