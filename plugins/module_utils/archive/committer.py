# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a run adds commits to an archive: it finds the newest one, builds on it, and learns when another run was first.

A commit's exclusive creation is the only point of decision. What a commit removes is removed after it, and the run's
pending record stays until that is done: anyone who finds the record of a run that was killed completes its work.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Dict, Iterable, Iterator, List, Mapping, Optional

from ..errors import ArchiveDamaged, Cancelled, ClockSkew, InvalidInput, StorageError
from ..times import format_time
from .chain.chain import Link, clear_left_overs, find_head, load
from .chain.coverage import MAX_SKEW
from .chain.signing import signature_name, signed_text
from .format.commit import Commit, Head, pending_name, pending_record
from .run_context import RunContext
from .storage.store import LARGEST_COMMIT, ObjectNotFound, Store
from .trust import check_claim, check_head

_AGAIN = "run it again to remove the other files"


def check_clock(now: datetime, head: Commit) -> None:
    """Refuse to build on a head that is of a later time than this host's clock says.

    :raises ClockSkew: it is, by more than 30 minutes.
    """
    if now < head.server_date - MAX_SKEW:
        raise ClockSkew(
            f"This host's clock says {format_time(now)}, but the newest commit is of {format_time(head.server_date)}; "
            "correct the clock. Nothing is lost.",
            (now - head.server_date).total_seconds(),
        )


class Lost(Exception):
    """Another run created the commit that this one was about to create."""


class Tip:
    """The newest commit as one run knows it; ``link`` is None while the archive has none.

    With a pin the commit is remembered outside the archive, and one that was remembered must still be there.
    ``is_trusted``: the head was reached from an anchor, so that what its commits say may be acted on.
    """

    def __init__(self, store: Store, context: RunContext) -> None:
        self._store = store
        self._context = context
        self._pin: Optional[Head] = None
        self._lost: Dict[str, List[str]] = {}
        self._is_proved = False
        self.link: Optional[Link] = None
        self.is_trusted = False

    @property
    def commit(self) -> Optional[Commit]:
        return self.link.commit if self.link else None

    @property
    def head(self) -> Optional[Head]:
        return self.link.head if self.link else None

    def find(self) -> None:
        """Find the head, check that it can be trusted, rest on it durably, and clear away what earlier runs left.

        :raises ArchiveDamaged: it is not what was remembered, or not what a collector writes.
        :raises ClockSkew: it is of a later time than this host's clock says.
        :raises StorageError: the archive cannot be read or written.
        """
        known = self.head if self.is_trusted else None
        self._pin = known or (self._context.pin.read() if self._context.pin else None)
        # What the user expects is the head before this run: after a lost race it is another one.
        self.link = find_head(self._store, self._pin) if known or not self._context.expected_head else self._expected()
        if self.link:
            check_clock(self._context.now(), self.link.commit)
            self.is_trusted = check_head(self._store, self.link, self._pin, self._context)
        self._store.prepare((self.link.commit.name, self.link.body) if self.link else None)
        if self.link:
            self._remember()
            self.clear()

    def _expected(self) -> Optional[Link]:
        """The head, which the user has verified. This alone overrides a pin."""
        expected, link = self._context.expected_head, find_head(self._store)
        if expected is None or link is None or link.head != expected:
            named = f"{expected.sequence}:{expected.sha256}" if expected else "expected"
            raise ArchiveDamaged(f"The newest commit of {self._store} is not {named}; verify the archive.")
        if self._pin not in (None, expected):
            self._context.warn(
                f"The head that was remembered of {self._store} (commit {self._pin.sequence}) is replaced by the one "
                f"that was named as expected (commit {expected.sequence})."
            )
        self._pin = None
        return link

    def clear(self) -> None:
        """Clear away what lost and killed runs left; of others only what trusted commits say."""
        if self.link and self.is_trusted:
            clear_left_overs(self._store, self.link)
        elif self.link:
            self._clear_own()

    def sign(self, commit: Commit) -> Commit:
        """The same commit, naming this run's key as its signer."""
        key = self._context.sign_key
        return replace(commit, signer=key.fingerprint if key else None)

    def add(self, commit: Commit, files: Mapping[str, bytes]) -> None:
        """Write data files and the signature, decide the commit, and remove what it removes.

        :raises Cancelled: the run was stopped while it removed files; any later run removes the rest.
        :raises Lost: another run has decided a commit of this sequence; nothing of this one counts.
        :raises InvalidInput: the key cannot sign, or may not at this time.
        :raises StorageError: the archive cannot be written; unless the removal failed, nothing was advanced.
        :raises ArchiveDamaged: the next commit was claimed by one that no collector could have made.
        """
        commit = self.sign(commit)
        link = Link(commit, commit.to_bytes())
        self._check_free(link)
        record = pending_name(commit.sequence, commit.run)
        signature = self._signature(link)
        self._prove(record)
        try:
            if files or commit.removed:
                self._store.put({record: pending_record(files), **files, **signature})
            elif signature:
                self._store.put(signature)
            won = self._store.decide(commit.name, link.body)
        except ObjectNotFound:
            # Another run takes a draft away only when its sequence is decided.
            if commit.sequence not in self._store.commits(after=commit.sequence - 1):
                raise
            won = False
        if not won:
            self._lost[record] = list(files)
            self._publish_claim(commit.name)
            raise Lost
        self.link, self.is_trusted = link, self.is_trusted or commit.previous is None
        self._remember()
        # A prune may remove thousands of files, a compaction those of one day.
        self._store.erase(self.until_stopped(commit.removed) if commit.kind == "prune" else commit.removed)
        self._store.remove([record])

    def _prove(self, record: str) -> None:
        """Once in a run; one that commits nothing needs no proof."""
        if not self._is_proved:
            self._store.prove_exclusive((self.link.commit.name, self.link.body) if self.link else None, record)
            self._is_proved = True

    def _publish_claim(self, name: str) -> None:
        """Finish what another run was killed at, if it can be believed."""
        claim = self._store.claim(name)
        if claim is not None:
            check_claim(self._store, self.link, claim, self._context)
            self._store.publish(name, claim.body)

    def until_stopped(self, names: Iterable[str], then: str = _AGAIN) -> Iterator[str]:
        """The names of files, one by one; ``then`` says what becomes of the rest.

        :raises Cancelled: the run was stopped before the next one.
        """
        for name in names:
            self.check_stopped(then)
            yield name

    def check_stopped(self, then: str) -> None:
        """:raises Cancelled: the run was stopped."""
        if self._context.stop.is_set():
            raise Cancelled(f"It was stopped; {then}.")

    def _check_free(self, link: Link) -> None:
        """Refuse before anything is written for a commit that can never be made.

        :raises ForeignThing: something else has the name of the commit.
        """
        name = link.commit.name
        if len(link.body) > LARGEST_COMMIT:
            raise StorageError(f"{name} would be larger than any reader takes; compact first, or prune fewer days.")
        with suppress(ObjectNotFound):
            next(self._store.chunks(name), None)

    def _signature(self, link: Link) -> Dict[str, bytes]:
        key, commit = self._context.sign_key, link.commit
        if key is None or commit.signer is None:
            return {}
        body = key.sign(commit.archive_id, link.head)
        signers = self._context.allowed_signers
        if signers is not None:
            damage = signers.damage(body, signed_text(commit.archive_id, link.head), commit.server_date)
            if damage:
                # An expired or unlisted key must not make a commit that nobody accepts.
                raise InvalidInput(f"The signature of this run is not allowed: {damage}; nothing was committed.")
        return {signature_name(link.head, commit.signer): body}

    def _clear_own(self) -> None:
        """Remove what this run wrote for commits that others made: nothing else may be believed here."""
        for record, names in self._lost.items():
            with suppress(ObjectNotFound):
                sequence = int(record[len("pending/") :].partition("-")[0])
                named = {file.path for file in load(self._store, sequence).commit.files}
                self._store.remove([name for name in names if name not in named])
                self._store.remove([record] if self._store.is_settled(record) else [])
        self._lost = {}

    def _remember(self) -> None:
        if self.link is None:
            return
        self._context.on_head(self.link)
        if self._context.pin and self.head != self._pin and not self._context.dry_run:
            self._context.pin.write(self.link)
            self._pin = self.head
