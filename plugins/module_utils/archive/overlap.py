# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells entries that an archive has from new ones when a span is read a second time.

Entries have no id and may be equal in every field, so they are matched as multisets: each archived entry accounts for
one entry read again, first by its exact form, then by what cannot change when a project or a token is renamed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Dict, List, NamedTuple, Optional
from typing import Counter as CounterOf

from ..project_log.entry import Entry, actor, canonical, subject, timestamp
from ..times import format_time
from .chain.chain import StoredCommit, live_files
from .chain.rules import resync_start
from .format.commit import DataFile
from .reader import entries_of
from .storage.store import Store

READ_PAST_NEWEST = timedelta(minutes=10)
"""How far past the newest archived entry a re-read goes before the overlap counts as wholly read."""


class FetchedEntry(NamedTuple):
    """An entry as it was fetched, its canonical line and its timestamp."""

    entry: Entry
    line: bytes
    moment: Optional[datetime]

    @classmethod
    def of(cls, entry: Entry) -> FetchedEntry:
        return cls(entry, canonical(entry) + b"\n", timestamp(entry))


class Overlap:
    """The archived entries from ``start`` on, waiting to be found again.

    ``found`` and ``renamed`` count the entries found again in the same and in another form.
    """

    def __init__(self, store: Store, head: StoredCommit) -> None:
        live = live_files(store, head)
        self._newest = max((file.last for file in live.values() if file.last), default=None)
        self.start = resync_start(head.commit)
        self.found = 0
        self.renamed = 0
        self._by_line: CounterOf[bytes] = Counter()
        self._by_identity: CounterOf[bytes] = Counter()
        self._undecided: List[FetchedEntry] = []
        self._unmatched = 0
        self._pruned_until = head.commit.pruned_until
        self._oldest = max(self.start, self._pruned_until or self.start)
        for path in sorted(live):
            if _may_reach(live[path], self.start):
                self._expect(store, live[path])

    def is_new(self, fetched: FetchedEntry) -> bool:
        """Whether a fetched entry is certainly not in the archive. A doubtful one is held for :meth:`settle`."""
        if fetched.moment is not None and fetched.moment < self._oldest:
            return False  # pruned, or older than what was asked for: the archive had it
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
        """Whether these entries, a page, lie wholly past what the archive has."""
        moments = [fetched.moment for fetched in entries]
        if not self._unmatched:
            return self._is_past_edge(moments)
        newest = self._newest
        if newest is None:
            return False
        return bool(moments) and all(moment is not None and moment > newest + READ_PAST_NEWEST for moment in moments)

    def _is_past_edge(self, moments: List[Optional[datetime]]) -> bool:
        """Whether a page follows all pruned entries, which are read again too."""
        pruned_until = self._pruned_until
        if pruned_until is None:
            return True
        return bool(moments) and all(moment is None or moment >= pruned_until for moment in moments)

    def resolve_undecided(self) -> List[FetchedEntry]:
        """The held entries that are new after all: those for which no archived entry is left to account."""
        new = []
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
    """What stays the same of an entry when names are rendered anew."""
    entry = fetched.entry
    moment = entry.get("timestamp") if fetched.moment is None else format_time(fetched.moment)
    who, what = actor(entry), subject(entry)
    facts: Dict[str, Any] = {
        "facts": [moment, entry.get("action"), entry.get("message"), entry.get("ip_address")],
        "actor": [who.kind, who.uuid or who.name],
        "subject": [what.kind, what.uuid or what.name],
    }
    return _digest(canonical(facts))


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
