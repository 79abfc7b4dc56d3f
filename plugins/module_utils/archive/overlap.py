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
from typing import Any, Dict, List, Mapping, NamedTuple, Optional
from typing import Counter as CounterOf

from ..project_log.entry import Entry, actor, canonical, subject, timestamp
from ..times import format_time
from .chain.chain import StoredCommit, live_files
from .chain.rules import resync_start
from .format.commit import DataFile, utc_day
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


class LateEntries:
    """The archived entries from before ``start``, which can be fetched when the log is read again from there.

    They became visible late and follow newer entries in the log, so the API can return them again. A day is loaded when
    an entry of that day is fetched.
    """

    def __init__(
        self, store: Store, live: Mapping[str, DataFile], start: datetime, pruned_until: Optional[datetime]
    ) -> None:
        self._store = store
        self._live = live
        self._start = start
        self._pruned_until = pruned_until
        self._days: Dict[str, CounterOf[bytes]] = {}

    def is_archived(self, fetched: FetchedEntry) -> bool:
        """Return whether a fetched entry is from before ``start``, and was pruned or matches an archived entry."""
        moment = fetched.moment
        if moment is None or moment >= self._start:
            return False
        if self._pruned_until is not None and moment < self._pruned_until:
            return True
        archived, identity = self._archived_on(utc_day(moment)), identity_digest(fetched)
        archived[identity] -= 1
        return archived[identity] >= 0

    def _archived_on(self, day: str) -> CounterOf[bytes]:
        if day not in self._days:
            paths = [path for path in sorted(self._live) if path.startswith(f"entries/date={day}/")]
            entries = (FetchedEntry.of(entry) for path in paths for entry in entries_of(self._store, self._live[path]))
            self._days[day] = Counter(
                identity_digest(entry) for entry in entries if entry.moment and entry.moment < self._start
            )
        return self._days[day]


class Overlap:
    """The archived entries from ``start`` on, to be matched with fetched ones.

    ``late`` has the archived entries from before ``start``. ``found`` and ``renamed`` count the entries from ``start``
    on that were found again unchanged and with changed names.
    """

    def __init__(self, store: Store, head: StoredCommit) -> None:
        live = live_files(store, head)
        self._newest = max((file.last for file in live.values() if file.last), default=None)
        self.start = resync_start(head.commit)
        self.late = LateEntries(store, live, self.start, head.commit.pruned_until)
        self.found = 0
        self.renamed = 0
        self._by_line: CounterOf[bytes] = Counter()
        self._by_identity: CounterOf[bytes] = Counter()
        self._undecided: List[FetchedEntry] = []
        self._unmatched = 0
        self._pruned_until = head.commit.pruned_until
        for path in sorted(live):
            if _may_reach(live[path], self.start):
                self._expect(store, live[path])

    def is_new(self, fetched: FetchedEntry) -> bool:
        """True if a fetched entry is certainly not archived. Keep undecided ones for :meth:`resolve_undecided`."""
        if fetched.moment is not None and fetched.moment < self.start:
            return not self.late.is_archived(fetched)
        if self._is_pruned(fetched.moment):
            return False
        exact = _digest(fetched.line)
        if self._by_line[exact] > 0:
            self._by_line[exact] -= 1
            self._by_identity[identity_digest(fetched)] -= 1
            self.found += 1
            self._unmatched -= 1
            return False
        if self._by_identity[identity_digest(fetched)] > 0:
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
            identity = identity_digest(fetched)
            if self._by_identity[identity] > 0:
                self._by_identity[identity] -= 1
                self.renamed += 1
            else:
                new.append(fetched)
        self._undecided = []
        return new

    def _expect(self, store: Store, file: DataFile) -> None:
        for entry in entries_of(store, file):
            fetched = FetchedEntry.of(entry)
            if fetched.moment is None or fetched.moment >= self.start:
                self._unmatched += 1
                self._by_line[_digest(fetched.line)] += 1
                self._by_identity[identity_digest(fetched)] += 1


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
