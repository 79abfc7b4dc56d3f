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
from .chain.chain import StoredCommit, find_head, load_commit, remove_leftovers
from .chain.coverage import MAX_SKEW
from .chain.signing import signature_name, signed_text
from .format.commit import Commit, Head, pending_name, pending_record
from .run_context import RunContext
from .storage.store import MAX_COMMIT_SIZE, ObjectNotFound, Store
from .trust import check_claim, check_head

_RUN_AGAIN = "run it again to remove the other files"


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


class CommitConflict(Exception):
    """Another run created the commit that this one was about to create."""


class CommitAppender:
    """The newest commit as one run knows it; ``link`` is None while the archive has none.

    With a pin the commit is remembered outside the archive, and one that was remembered must still be there.
    ``is_trusted``: the head was reached from an anchor, so that what its commits say may be acted on.
    """

    def __init__(self, store: Store, context: RunContext) -> None:
        self._store = store
        self._context = context
        self._pin: Optional[Head] = None
        self._discarded: Dict[str, List[str]] = {}
        self._is_exclusive_create_checked = False
        self.stored: Optional[StoredCommit] = None
        self.is_trusted = False

    @property
    def commit(self) -> Optional[Commit]:
        return self.stored.commit if self.stored else None

    @property
    def head(self) -> Optional[Head]:
        return self.stored.head if self.stored else None

    def load_head(self) -> None:
        """Find the head, check that it can be trusted, rest on it durably, and clear away what earlier runs left.

        :raises ArchiveDamaged: it is not what was remembered, or not what a collector writes.
        :raises ClockSkew: it is of a later time than this host's clock says.
        :raises StorageError: the archive cannot be read or written.
        """
        known = self.head if self.is_trusted else None
        self._pin = known or (self._context.pin.read() if self._context.pin else None)
        # What the user expects is the head before this run: after a lost race it is another one.
        self.stored = (
            find_head(self._store, self._pin)
            if known or not self._context.expected_head
            else self._load_expected_head()
        )
        if self.stored:
            check_clock(self._context.now(), self.stored.commit)
            self.is_trusted = check_head(self._store, self.stored, self._pin, self._context)
        self._store.prepare((self.stored.commit.name, self.stored.body) if self.stored else None)
        if self.stored:
            self._update_pin()
            self.clean_up()

    def _load_expected_head(self) -> Optional[StoredCommit]:
        """The head, which the user has verified. This alone overrides a pin."""
        expected, stored = self._context.expected_head, find_head(self._store)
        if expected is None or stored is None or stored.head != expected:
            named = f"{expected.sequence}:{expected.sha256}" if expected else "expected"
            raise ArchiveDamaged(f"The newest commit of {self._store} is not {named}; verify the archive.")
        if self._pin not in (None, expected):
            self._context.warn(
                f"The head that was remembered of {self._store} (commit {self._pin.sequence}) is replaced by the one "
                f"that was named as expected (commit {expected.sequence})."
            )
        self._pin = None
        return stored

    def clean_up(self) -> None:
        """Clear away what lost and killed runs left; of others only what trusted commits say."""
        if self.stored and self.is_trusted:
            remove_leftovers(self._store, self.stored)
        elif self.stored:
            self._clean_up_own()

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
        stored = StoredCommit(commit, commit.to_bytes())
        self._check_name_is_free(stored)
        pending = pending_name(commit.sequence, commit.run)
        signature = self._signature(stored)
        self._check_exclusive_create(pending)
        try:
            if files or commit.removed:
                self._store.put({pending: pending_record(files), **files, **signature})
            elif signature:
                self._store.put(signature)
            won = self._store.put_if_absent(commit.name, stored.body)
        except ObjectNotFound:
            # Another run takes a draft away only when its sequence is decided.
            if commit.sequence not in self._store.commits(after=commit.sequence - 1):
                raise
            won = False
        if not won:
            self._discarded[pending] = list(files)
            self._publish_claim(commit.name)
            raise CommitConflict
        self.stored, self.is_trusted = stored, self.is_trusted or commit.previous is None
        self._update_pin()
        # A prune may remove thousands of files, a compaction those of one day.
        self._store.purge(self.interruptible(commit.removed) if commit.kind == "prune" else commit.removed)
        self._store.delete([pending])

    def _check_exclusive_create(self, pending: str) -> None:
        """Once in a run; one that commits nothing needs no proof."""
        if not self._is_exclusive_create_checked:
            self._store.check_put_if_absent(
                (self.stored.commit.name, self.stored.body) if self.stored else None, pending
            )
            self._is_exclusive_create_checked = True

    def _publish_claim(self, name: str) -> None:
        """Finish what another run was killed at, if it can be believed."""
        claim = self._store.claim(name)
        if claim is not None:
            check_claim(self._store, self.stored, claim, self._context)
            self._store.copy_claim(name, claim.body)

    def interruptible(self, names: Iterable[str], advice: str = _RUN_AGAIN) -> Iterator[str]:
        """The names of files, one by one; ``then`` says what becomes of the rest.

        :raises Cancelled: the run was stopped before the next one.
        """
        for name in names:
            self.check_stopped(advice)
            yield name

    def check_stopped(self, advice: str) -> None:
        """:raises Cancelled: the run was stopped."""
        if self._context.stop.is_set():
            raise Cancelled(f"It was stopped; {advice}.")

    def _check_name_is_free(self, stored: StoredCommit) -> None:
        """Refuse before anything is written for a commit that can never be made.

        :raises InvalidObject: something else has the name of the commit.
        """
        name = stored.commit.name
        if len(stored.body) > MAX_COMMIT_SIZE:
            raise StorageError(f"{name} would be larger than any reader takes; compact first, or prune fewer days.")
        with suppress(ObjectNotFound):
            next(self._store.chunks(name), None)

    def _signature(self, stored: StoredCommit) -> Dict[str, bytes]:
        key, commit = self._context.sign_key, stored.commit
        if key is None or commit.signer is None:
            return {}
        body = key.sign(commit.archive_id, stored.head)
        signers = self._context.allowed_signers
        if signers is not None:
            damage = signers.damage(body, signed_text(commit.archive_id, stored.head), commit.server_date)
            if damage:
                # An expired or unlisted key must not make a commit that nobody accepts.
                raise InvalidInput(f"The signature of this run is not allowed: {damage}; nothing was committed.")
        return {signature_name(stored.head, commit.signer): body}

    def _clean_up_own(self) -> None:
        """Remove what this run wrote for commits that others made: nothing else may be believed here."""
        for pending, names in self._discarded.items():
            with suppress(ObjectNotFound):
                sequence = int(pending[len("pending/") :].partition("-")[0])
                named = {file.path for file in load_commit(self._store, sequence).commit.files}
                self._store.delete([name for name in names if name not in named])
                self._store.delete([pending] if self._store.is_settled(pending) else [])
        self._discarded = {}

    def _update_pin(self) -> None:
        if self.stored is None:
            return
        self._context.on_head(self.stored)
        if self._context.pin and self.head != self._pin and not self._context.dry_run:
            self._context.pin.write(self.stored)
            self._pin = self.head
