# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The chain of commits: finding its head, pinning it, walking it back, and clearing away what no commit names."""

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
    Malformed,
    commit_name,
    parse_data_file_name,
    parse_pending_name,
    parse_pending_record,
    sha256,
)
from ..storage.prefetch import prefetch_chunks
from ..storage.store import InvalidObject, ObjectNotFound, Store, join_chunks, read
from .rules import ChainState

MAX_LOOKBACK = 100
"""How many commits back a run looks for what other runs left behind."""


_MAX_RECORD = 1 << 20


class StoredCommit(NamedTuple):
    """A commit as it is stored."""

    commit: Commit
    body: bytes

    @property
    def head(self) -> Head:
        return Head(self.commit.sequence, sha256(self.body))


def load_commit(store: Store, sequence: int) -> StoredCommit:
    """The commit with this sequence.

    :raises ObjectNotFound: there is none.
    :raises ArchiveDamaged: the file of that name is no such commit.
    """
    return parse_stored_commit(store, sequence, read(store, commit_name(sequence)))


def parse_stored_commit(store: Store, sequence: int, body: bytes) -> StoredCommit:
    """The commit with this sequence from its bytes.

    :raises ArchiveDamaged: they are no such commit.
    """
    name = commit_name(sequence)
    try:
        commit = Commit.parse(body)
    except Malformed as exc:
        raise ArchiveDamaged(f"{name} in {store} is no commit: {exc}; verify the archive.") from exc
    if commit.sequence != sequence:
        raise ArchiveDamaged(f"{name} in {store} is commit {commit.sequence}; verify the archive.")
    return StoredCommit(commit, body)


def find_head(store: Store, pin: Optional[Head] = None) -> Optional[StoredCommit]:
    """The newest commit; None for an archive without any.

    With ``pin``, a head seen earlier, only the commits after it are looked for.

    :raises ArchiveDamaged: the pinned commit is absent or different, a commit after it is missing, or there are data
        files but no commit.
    """
    head = _pinned(store, pin) if pin is not None else None
    found = store.commits(after=pin.sequence if pin else 0)
    if pin is not None and found and found[-1] != pin.sequence + len(found):
        raise ArchiveDamaged(f"Commits after {pin.sequence} are missing in {store}; verify it.")
    head = _newer(store, load_commit(store, found[-1]) if found else head)
    if head is None:
        _check_new(store)
    return head


def _newer(store: Store, link: Optional[StoredCommit]) -> Optional[StoredCommit]:
    """This commit, or a newer one: a list may be older than what it lists.

    Something else under the next commit's name is no commit; it only stops whoever wants to make one.
    """
    while True:
        sequence = link.commit.sequence if link else 0
        try:
            link = load_commit(store, sequence + 1)
        except (ObjectNotFound, InvalidObject):
            return link


def walk_back(store: Store, head: StoredCommit) -> Iterator[StoredCommit]:
    """The commits from this one back to the first; each is the one that the next names.

    :raises ArchiveDamaged: a commit is missing, or is not the one that the next names.
    """
    link = head
    while True:
        yield link
        previous, sequence = link.commit.previous, link.commit.sequence - 1
        if previous is None:
            return
        try:
            link = load_commit(store, sequence)
        except ObjectNotFound as exc:
            raise _missing(store, sequence) from exc
        if link.head.sha256 != previous:
            raise ArchiveDamaged(f"{commit_name(sequence)} in {store} was changed; verify the archive.")


def _missing(store: Store, sequence: int) -> ArchiveDamaged:
    return ArchiveDamaged(f"{commit_name(sequence)} in {store} is missing; verify the archive.")


def replay(store: Store, head: StoredCommit) -> ChainState:
    """What all commits up to this one add up to: each is the one that the next names, and breaks no rule.

    :raises ArchiveDamaged: a commit is missing, is not the one that the next names, or says what no collector writes.
    """
    state = ChainState()
    for _checked in walk_forward(store, state, None, head):
        pass
    return state


def walk_forward(
    store: Store, state: ChainState, after: Optional[StoredCommit], head: StoredCommit
) -> Iterator[StoredCommit]:
    """The commits after ``after`` (None: all) up to ``head``, in order, each checked against ``state`` and applied.

    :raises ArchiveDamaged: as :func:`replay`; what was yielded before is only known to lead to ``head`` at the end.
    """
    first = after.commit.sequence + 1 if after else FIRST_SEQUENCE
    digest = after.head.sha256 if after else None
    sequences = range(first, head.commit.sequence + 1)
    link = after
    for sequence, ask in zip(sequences, prefetch_chunks(store, map(commit_name, sequences))):
        try:
            link = parse_stored_commit(store, sequence, join_chunks(ask(), f"{commit_name(sequence)} in {store}"))
        except ObjectNotFound as exc:
            raise _missing(store, sequence) from exc
        if link.commit.previous != digest:
            raise ArchiveDamaged(
                f"{link.commit.name} in {store} does not name the commit before it; verify the archive."
            )
        for violation in state.violations(link.commit):
            raise ArchiveDamaged(
                f"{link.commit.name} in {store} breaks the rules of an archive: {violation.detail}; verify the archive."
            )
        state.apply(link.commit)
        digest = link.head.sha256
        yield link
    if link is None or link.head != head.head:
        raise ArchiveDamaged(f"{head.commit.name} in {store} changed while it was read; verify the archive.")


def live_files(store: Store, head: Optional[StoredCommit]) -> Dict[str, DataFile]:
    """The data files that make up the archive as of this commit, by path; errors as of :func:`replay`."""
    return replay(store, head).live if head else {}


def gaps(store: Store, head: Commit) -> List[Gap]:
    """All gaps ever recorded, the oldest first. The totals lead to the commits that recorded them."""
    found: List[Gap] = []
    last = head
    while last.total_gaps:
        last = _first_with(store, last)
        found.extend(reversed(last.gaps))
        if last.sequence == FIRST_SEQUENCE or not last.gaps:
            break
        last = load_commit(store, last.sequence - 1).commit
    return found[::-1]


def _first_with(store: Store, commit: Commit) -> Commit:
    """The first commit of those up to this one that has its total of gaps."""
    low, high = FIRST_SEQUENCE, commit.sequence
    while low < high:
        sequence = (low + high) // 2
        middle = load_commit(store, sequence).commit
        if middle.total_gaps < commit.total_gaps:
            low = middle.sequence + 1
        else:
            high, commit = middle.sequence, middle
    return commit


def remove_leftovers(store: Store, head: StoredCommit, reach: int = MAX_LOOKBACK) -> None:
    """Remove what lost and killed runs left behind under sequences that are decided, up to that of the head.

    Only commits that lead to the head, which must be trusted, and are at most ``reach`` before it are believed. A data
    file of a lost run can never become live: its sequence's commit exists and does not name it. Where that commit
    removed files, that is finished, too. A record goes last, and only if nothing that it names can appear any more;
    else a later run looks again. A refused removal, as under a retention lock, ends the clean-up for this run.
    """
    found = list(_decided(store, head.commit.sequence, reach))
    if not found:
        return
    commits = {link.commit.sequence: link.commit for link in islice(walk_back(store, head), reach)}
    records = {name: store.is_settled(name) for name in found if _is_record(name)}
    # Listed anew and removed first: a run that is still at it makes its drafts before its record, and without them
    # none of the files that the record names can appear once they are removed.
    drafts = [name for name in _decided(store, head.commit.sequence, reach) if not _is_record(name)]
    with suppress(StorageError):
        store.delete([name for name in drafts if _sequence_of(name) in commits])
        for record, settled in records.items():
            commit = commits.get(_sequence_of(record))
            if commit is None:
                continue
            named = {file.path for file in commit.files}
            store.delete([name for name in _names_in(store, record) if name not in named])
            store.purge(commit.removed)
            store.delete([record] if settled else [])


def pending_records(store: Store) -> Dict[str, Optional[List[str]]]:
    """The data files that runs which are at work, or were killed, announced, by record; None: it is no record."""
    found: Dict[str, Optional[List[str]]] = {}
    for record in _pending(store):
        if parse_pending_name(record) is not None and _is_record(record):
            with suppress(ObjectNotFound):  # another run clears it
                found[record] = _read_record(store, record)
    return found


def _decided(store: Store, head: int, reach: int) -> Iterator[str]:
    first = max(0, head - reach) + 1
    for name in _pending(store, after=f"pending/{first:012d}"):
        sequence = parse_pending_name(name)
        if sequence is not None and first <= sequence <= head:
            yield name
        elif name > f"pending/{head + 1:012d}":
            return


def _pending(store: Store, after: str = "") -> Iterator[str]:
    try:
        return store.names("pending", after)
    except InvalidObject:  # who writes will fail there; who only reads needs nothing of it
        return iter(())


def _is_record(name: str) -> bool:
    return name.endswith(".json")


def _sequence_of(record: str) -> int:
    return parse_pending_name(record) or 0


def _names_in(store: Store, record: str) -> List[str]:
    try:
        return _read_record(store, record) or []
    except ObjectNotFound:  # another run clears it too
        return []


def _read_record(store: Store, record: str) -> Optional[List[str]]:
    try:
        body = join_chunks(store.chunks(record), f"{record} in {store}", _MAX_RECORD)
    except InvalidObject:
        return None
    return parse_pending_record(body, _sequence_of(record))


def _pinned(store: Store, pin: Head) -> StoredCommit:
    with suppress(ObjectNotFound, ArchiveDamaged):
        link = load_commit(store, pin.sequence)
        if link.head == pin:
            return link
    raise ArchiveDamaged(
        f"Commit {pin.sequence} in {store} is absent or not the one seen earlier: the archive was cut or replaced; "
        "verify it and restore it from a copy."
    )


def _check_new(store: Store) -> None:
    """A first run that was killed leaves data files of the first commit only."""
    parts = map(parse_data_file_name, store.names("entries"))
    if any(part is not None and part.sequence > FIRST_SEQUENCE for part in parts):
        raise ArchiveDamaged(f"{store} has data files but no commit: its commits were lost; restore them from a copy.")
