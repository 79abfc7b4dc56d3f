# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a run adds commits to an archive: it finds the newest one, builds on it, and learns when another run was first.

A commit's exclusive creation is the only point of decision. What a commit removes is removed after it, and the run's
pending record stays until that is done: whoever finds the record of a run that was killed makes up for it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Mapping, Optional

from ..errors import ClockSkew
from ..times import format_time
from .chain.chain import Link, clear_left_overs, find_head
from .chain.coverage import MAX_SKEW
from .format.commit import Commit, Head, pending_name, pending_record
from .run_context import RunContext
from .storage.store import ObjectNotFound, Store


def check_clock(now: datetime, head: Commit) -> None:
    """Refuse to build on a head that is of a later time than this host's clock says.

    :raises ClockSkew: it is, by more than 30 minutes.
    """
    if now < head.server_date - MAX_SKEW:
        raise ClockSkew(
            f"This host's clock says {format_time(now)}, but the newest commit is of {format_time(head.server_date)}; "
            "correct the clock. Nothing is lost."
        )


class Lost(Exception):
    """Another run created the commit that this one was about to create."""


class Tip:
    """The newest commit as one run knows it; ``link`` is None while the archive has none.

    With a pin the commit is remembered outside the archive, and one that was remembered must still be there.
    """

    def __init__(self, store: Store, context: RunContext) -> None:
        self._store = store
        self._context = context
        self._pin: Optional[Head] = None
        self.link: Optional[Link] = None

    @property
    def commit(self) -> Optional[Commit]:
        return self.link.commit if self.link else None

    @property
    def head(self) -> Optional[Head]:
        return self.link.head if self.link else None

    def find(self) -> None:
        """Find the head, rest on it durably, and clear away what runs before this one left behind.

        :raises ArchiveDamaged: it is not what was remembered.
        :raises StorageError: the archive cannot be read or written.
        """
        self._pin = self._context.pin.read() if self._context.pin else None
        self.link = find_head(self._store, self._pin)
        self._store.prepare((self.link.commit.name, self.link.body) if self.link else None)
        if self.link:
            self._remember()
            self.clear()

    def clear(self) -> None:
        """Clear away what lost and killed runs left behind under sequences that are decided."""
        if self.link:
            clear_left_overs(self._store, self.link.commit.sequence)

    def add(self, commit: Commit, files: Mapping[str, bytes]) -> None:
        """Write data files, decide the commit that names them, and remove what it removes.

        :raises Lost: another run has decided a commit of this sequence; nothing of this one counts.
        :raises StorageError: the archive cannot be written; unless the removal failed, nothing was advanced.
        """
        body = commit.to_bytes()
        record = pending_name(commit.sequence, commit.run)
        try:
            if files or commit.removed:
                self._store.put({record: pending_record(files), **files})
            won = self._store.decide(commit.name, body)
        except ObjectNotFound:
            # Another run takes a draft away only when its sequence is decided.
            if commit.sequence not in self._store.commits(after=commit.sequence - 1):
                raise
            won = False
        if not won:
            raise Lost
        self.link = Link(commit, body)
        self._remember()
        self._store.erase(commit.removed)
        self._store.remove([record])

    def _remember(self) -> None:
        if self.link is None:
            return
        self._context.on_head(self.link)
        if self._context.pin and self.head != self._pin and not self._context.dry_run:
            self._context.pin.write(self.link.head)
            self._pin = self.head
