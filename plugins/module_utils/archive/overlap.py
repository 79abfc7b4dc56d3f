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
from .chain.chain import Link, live_files
from .chain.rules import resync_start
from .format.commit import DataFile
from .reader import entries_of
from .storage.store import Store

AHEAD = timedelta(minutes=10)
"""How far past the newest archived entry a re-read goes before the overlap counts as wholly read."""


class Fetched(NamedTuple):
    """An entry as it was fetched, its canonical line and its timestamp."""

    entry: Entry
    line: bytes
    moment: Optional[datetime]

    @classmethod
    def of(cls, entry: Entry) -> Fetched:
        return cls(entry, canonical(entry) + b"\n", timestamp(entry))


class Overlap:
    """The archived entries from ``start`` on, waiting to be found again.

    ``found`` and ``renamed`` count the entries found again in the same and in another form.
    """

    def __init__(self, store: Store, head: Link) -> None:
        live = live_files(store, head)
        self._newest = max((file.last for file in live.values() if file.last), default=None)
        self.start = resync_start(head.commit)
        self.found = 0
        self.renamed = 0
        self._exact: CounterOf[bytes] = Counter()
        self._alike: CounterOf[bytes] = Counter()
        self._held: List[Fetched] = []
        self._missing = 0
        self._edge = head.commit.pruned_until
        self._oldest = max(self.start, self._edge or self.start)
        for path in sorted(live):
            if _reaches(live[path], self.start):
                self._expect(store, live[path])

    def is_new(self, fetched: Fetched) -> bool:
        """Whether a fetched entry is certainly not in the archive. A doubtful one is held for :meth:`settle`."""
        if fetched.moment is not None and fetched.moment < self._oldest:
            return False  # pruned, or older than what was asked for: the archive had it
        exact = _digest(fetched.line)
        if self._exact[exact] > 0:
            self._exact[exact] -= 1
            self._alike[likeness(fetched)] -= 1
            self.found += 1
            self._missing -= 1
            return False
        if self._alike[likeness(fetched)] > 0:
            self._held.append(fetched)
            return False
        return True

    def is_behind(self, entries: List[Fetched]) -> bool:
        """Whether these entries, a page, lie wholly past what the archive has."""
        moments = [fetched.moment for fetched in entries]
        if not self._missing:
            return self._is_past_edge(moments)
        newest = self._newest
        if newest is None:
            return False
        return bool(moments) and all(moment is not None and moment > newest + AHEAD for moment in moments)

    def _is_past_edge(self, moments: List[Optional[datetime]]) -> bool:
        """Whether a page follows all pruned entries, which are read again too."""
        edge = self._edge
        if edge is None:
            return True
        return bool(moments) and all(moment is None or moment >= edge for moment in moments)

    def settle(self) -> List[Fetched]:
        """The held entries that are new after all: those for which no archived entry is left to account."""
        fresh = []
        for fetched in self._held:
            like = likeness(fetched)
            if self._alike[like] > 0:
                self._alike[like] -= 1
                self.renamed += 1
            else:
                fresh.append(fetched)
        self._held = []
        return fresh

    def _expect(self, store: Store, file: DataFile) -> None:
        for entry in entries_of(store, file):
            fetched = Fetched.of(entry)
            if fetched.moment is None or fetched.moment >= self.start:
                self._missing += 1
                self._exact[_digest(fetched.line)] += 1
                self._alike[likeness(fetched)] += 1


def _reaches(file: DataFile, start: datetime) -> bool:
    return file.last is None or file.last >= start


def likeness(fetched: Fetched) -> bytes:
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
