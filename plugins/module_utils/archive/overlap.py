# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Distinguishes new entries from archived ones when a time range is read again.

Entries have no id, and two can be equal in every field, so they are matched as multisets. Each archived entry matches
one fetched entry: first by its exact form, then by the fields that do not change when a project or token is renamed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set
from typing import Counter as CounterOf

from ..project_log.entry import Entry, actor, canonical, subject, timestamp
from ..times import format_time
from .chain.chain import StoredCommit, walk_forward
from .chain.coverage import MAX_SKEW
from .chain.rules import ChainState, resync_start
from .format.commit import DataFile, parse_data_file_name, utc_day
from .reader import entries_of
from .storage.store import Store

READ_PAST_NEWEST = timedelta(minutes=10)
"""How far past the newest archived entry the read must reach before the overlap counts as completely read."""


class FetchedEntry(NamedTuple):
    """An entry returned by the API, with its canonical line and its timestamp."""

    entry: Entry
    line: bytes
    moment: Optional[datetime]

    @classmethod
    def of(cls, entry: Entry) -> FetchedEntry:
        return cls(entry, canonical(entry) + b"\n", timestamp(entry))


class ArchivedEntries:
    """A multiset of archived entries, from which each fetched entry takes the one that it matches."""

    def __init__(self) -> None:
        self._by_line: CounterOf[bytes] = Counter()
        self._by_identity: CounterOf[bytes] = Counter()

    def add(self, archived: FetchedEntry) -> None:
        self._by_line[_digest(archived.line)] += 1
        self._by_identity[identity_digest(archived)] += 1

    def add_all(self, archived: Iterable[FetchedEntry]) -> None:
        for one in archived:
            self.add(one)

    def has(self, fetched: FetchedEntry) -> bool:
        """Whether there is the same entry."""
        return self._by_line[_digest(fetched.line)] > 0

    def take(self, fetched: FetchedEntry) -> bool:
        """Take the same entry; False if there is none."""
        if not self.has(fetched):
            return False
        self._by_line[_digest(fetched.line)] -= 1
        self._by_identity[identity_digest(fetched)] -= 1
        return True

    def has_renamed(self, fetched: FetchedEntry) -> bool:
        """Whether there is an entry that differs only in names."""
        return self._by_identity[identity_digest(fetched)] > 0

    def take_renamed(self, fetched: FetchedEntry) -> bool:
        """Take an entry that differs only in names; False if there is none. Take the same entries first."""
        if not self.has_renamed(fetched):
            return False
        self._by_identity[identity_digest(fetched)] -= 1
        return True


class Overlap:
    """The archived entries that are read again from ``start`` on, to be matched with fetched ones.

    Archived entries from before ``start`` can be among them: those that became visible late follow newer entries in the
    log. They are loaded by day when an entry of that day is fetched. ``found`` and ``renamed`` count the entries that
    were found again unchanged and with changed names.
    """

    def __init__(self, store: Store, head: StoredCommit) -> None:
        self._store = store
        self.start = resync_start(head.commit)
        self._live = _files_read_again(store, head, self.start)
        self._newest = max((file.last for file in self._live.values() if file.last), default=None)
        self.found = 0
        self.renamed = 0
        self._archived = ArchivedEntries()
        self._skipped: CounterOf[bytes] = Counter()
        self._undecided: List[FetchedEntry] = []
        self._unmatched = 0
        self._late_days: Set[str] = set()
        self._pruned_until = head.commit.pruned_until
        for archived in read_entries(store, (file for file in self._live.values() if _may_reach(file, self.start))):
            if not self._is_late(archived):
                self._unmatched += 1
                self._archived.add(archived)

    def skip_once(self, fetched: FetchedEntry) -> None:
        """Do not take an entry for new if it is fetched again; this run archives it already."""
        self._skipped[fetched.line] += 1

    def is_new(self, fetched: FetchedEntry) -> bool:
        """True if a fetched entry is certainly not archived. Keep undecided ones for :meth:`resolve_undecided`."""
        if self._is_pruned(fetched.moment):
            return False
        if self._skipped[fetched.line] > 0:
            self._skipped[fetched.line] -= 1
            return False
        if self._is_late(fetched):
            self._expect_late(utc_day(fetched.moment))
        if self._archived.take(fetched):
            self.found += 1
            self._unmatched -= not self._is_late(fetched)
            return False
        if self._archived.has_renamed(fetched):
            self._undecided.append(fetched)
            return False
        return True

    def is_past_archive(self, entries: List[FetchedEntry]) -> bool:
        """True if no archived entry can follow this page, so that the overlap is completely read."""
        moments = [fetched.moment for fetched in entries]
        if not self._unmatched:
            return self._is_past_pruned(moments)
        newest = self._newest
        if newest is None:
            return False
        return bool(moments) and all(moment is not None and moment > newest + READ_PAST_NEWEST for moment in moments)

    def _is_past_pruned(self, moments: List[Optional[datetime]]) -> bool:
        """True if all entries of a page are newer than the pruned days, which the API returns again."""
        if self._pruned_until is None:
            return True
        return bool(moments) and not any(self._is_pruned(moment) for moment in moments)

    def _is_pruned(self, moment: Optional[datetime]) -> bool:
        return moment is not None and self._pruned_until is not None and moment < self._pruned_until

    def resolve_undecided(self) -> List[FetchedEntry]:
        """Return the undecided entries that are new: no unmatched archived entry with the same identity is left."""
        new: List[FetchedEntry] = []
        for fetched in self._undecided:
            if self._archived.take_renamed(fetched):
                self.renamed += 1
            else:
                new.append(fetched)
        self._undecided = []
        return new

    def _is_late(self, fetched: FetchedEntry) -> bool:
        return fetched.moment is not None and fetched.moment < self.start

    def _expect_late(self, day: str) -> None:
        if day in self._late_days:
            return
        self._late_days.add(day)
        for archived in read_entries(self._store, files_of_day(self._live, day)):
            if self._is_late(archived):
                self._archived.add(archived)


def files_of_day(live: Mapping[str, DataFile], day: str) -> List[DataFile]:
    """The data files that have the entries of a UTC day."""
    return [file for path, file in live.items() if path.startswith(f"entries/date={day}/")]


def read_entries(store: Store, files: Iterable[DataFile]) -> Iterator[FetchedEntry]:
    """Yield the archived entries of data files; errors are those of :func:`entries_of`."""
    for file in files:
        yield from map(FetchedEntry.of, entries_of(store, file))


def _files_read_again(store: Store, head: StoredCommit, start: datetime) -> Dict[str, DataFile]:
    """The live files that can have entries of the log after its first entry from ``start`` on, where the read begins.

    Commits have the order of the log, so these are the files of the first commit that can have that entry, and of later
    ones. It was made after ``start``, unless an entry has a time in the future.
    """
    state, first = ChainState(), head.commit.sequence
    for stored in walk_forward(store, state, None, head):
        commit = stored.commit
        is_after = commit.server_date + MAX_SKEW >= start
        if is_after or any(file.last is not None and file.last >= start for file in commit.files):
            first = min(first, commit.sequence)
    return {path: file for path, file in state.live.items() if max(_sequences(state, path)) >= first}


def _sequences(state: ChainState, path: str) -> Iterator[int]:
    """Yield the sequences of the commits that collected the entries of a file."""
    merged, name = state.merged.get(path), parse_data_file_name(path)
    if merged is not None:
        for part in merged.parts:
            yield from _sequences(state, part.path)
    elif name is not None:
        yield name.sequence


def _may_reach(file: DataFile, start: datetime) -> bool:
    return file.last is None or file.last >= start


def identity_digest(fetched: FetchedEntry) -> bytes:
    """Return a digest of the fields of an entry that do not change when something is renamed."""
    entry = fetched.entry
    moment = entry.get("timestamp") if fetched.moment is None else format_time(fetched.moment)
    who, about = actor(entry), subject(entry)
    facts: Dict[str, Any] = {
        "facts": [moment, entry.get("action"), entry.get("message"), entry.get("ip_address")],
        "actor": [who.kind, who.uuid or who.name],
        "subject": [about.kind, about.uuid or about.name],
    }
    return _digest(canonical(facts))


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
