# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Appends commits to an archive, each after the newest one, and detects when another run was faster.

Only the exclusive creation of a commit decides which run wins. Files that a commit removes are deleted after it is
created, and the run's pending record stays until then: the next run finds the record and completes the work.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Dict, Iterable, Iterator, List, Mapping, NoReturn, Optional

from ..errors import ArchiveDamaged, Cancelled, ClockSkew, InvalidInput, StorageError
from ..times import format_time
from .chain.chain import StoredCommit, find_head, load_commit, remove_leftovers
from .chain.coverage import MAX_SKEW
from .chain.signing import signature_name, signed_text
from .format.commit import Commit, Head
from .format.pending import parse_pending_name, pending_name, pending_record
from .run_context import RunContext
from .storage.store import MAX_COMMIT_SIZE, ObjectNotFound, Store
from .trust import check_claim, check_head

_RUN_AGAIN = "run it again to delete the other files"


def check_clock(now: datetime, head: Commit) -> None:
    """Refuse to append when this host's clock is behind the newest commit.

    :raises ClockSkew: the clock is more than 30 minutes behind.
    """
    if now < head.server_date - MAX_SKEW:
        raise ClockSkew(
            f"This host's clock says {format_time(now)}, but the newest commit was made at "
            f"{format_time(head.server_date)}. Correct the clock; nothing is lost.",
            (now - head.server_date).total_seconds(),
        )


class CommitConflict(Exception):
    """Another run created the commit that this one was about to create."""


class CommitAppender:
    """Appends commits for one run. ``stored`` is the newest commit, or None while the archive has none.

    With a pin, the head is remembered outside the archive, and a remembered head must still be in the archive.
    ``is_trusted`` is True if the head was reached from a trust anchor; otherwise, the run never deletes files of other
    runs.
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
        """Find the head, check that it can be trusted, make it durable, and remove files left by earlier runs.

        :raises ArchiveDamaged: the head is not the remembered one, or breaks a rule of the chain.
        :raises ClockSkew: this host's clock is behind the head.
        :raises StorageError: the archive cannot be read or written.
        """
        known = self.head if self.is_trusted else None
        self._pin = known or (self._context.pin.read() if self._context.pin else None)
        # The user verified the head as it was before this run, so it no longer applies after a lost race.
        is_head_expected = self._context.expected_head and not known
        self.stored = self._load_expected_head() if is_head_expected else find_head(self._store, self._pin)
        if self.stored:
            check_clock(self._context.now(), self.stored.commit)
            self.is_trusted = check_head(self._store, self.stored, self._pin, self._context)
        self._store.prepare((self.stored.commit.name, self.stored.body) if self.stored else None)
        if self.stored:
            self._report_head()
            self.clean_up()

    def refuse_missing(self, missing: ObjectNotFound) -> NoReturn:
        """Tell why a file of the head's state cannot be read.

        :raises CommitConflict: another run created a commit since, which can have removed the file.
        :raises ArchiveDamaged: the file is missing.
        """
        if self.stored and self._store.list_commits(after=self.stored.commit.sequence):
            raise CommitConflict from missing
        raise ArchiveDamaged(f"{missing.message.rstrip('.')}; verify the archive.") from missing

    def _load_expected_head(self) -> Optional[StoredCommit]:
        """Return the head if it is the one that the user verified; only an expected head overrides a pin."""
        expected, stored = self._context.expected_head, find_head(self._store)
        if expected is None or stored is None or stored.head != expected:
            wanted = f"{expected.sequence}:{expected.sha256}" if expected else "expected"
            raise ArchiveDamaged(f"The newest commit of {self._store} is not {wanted}; verify the archive.")
        if self._pin not in (None, expected):
            self._context.warn(
                f"The pinned head of {self._store} (commit {self._pin.sequence}) is replaced by the expected head "
                f"(commit {expected.sequence})."
            )
        self._pin = None
        return stored

    def clean_up(self) -> None:
        """Remove files left by lost and killed runs; those of other runs only if the head is trusted."""
        if self.stored and self.is_trusted:
            remove_leftovers(self._store, self.stored)
        elif self.stored:
            self._clean_up_own()

    def sign(self, commit: Commit) -> Commit:
        """Return the commit with this run's key as its signer."""
        key = self._context.sign_key
        return replace(commit, signer=key.fingerprint if key else None)

    def add(self, commit: Commit, files: Mapping[str, bytes]) -> None:
        """Write data files and the signature, create the commit, and delete the files that it removes.

        :raises Cancelled: the run was stopped while it deleted files; the next run deletes the others.
        :raises CommitConflict: another run created the commit with this sequence; this run's commit does not exist.
        :raises InvalidInput: the key cannot sign, or is not allowed to sign at this time.
        :raises StorageError: the archive cannot be written; the commit exists only if deleting files failed.
        :raises ArchiveDamaged: the next sequence is claimed by a commit that no collector could have made.
        """
        commit = self.sign(commit)
        stored = StoredCommit(commit, commit.to_bytes())
        self._check_can_be_created(stored)
        record = pending_name(commit.sequence, commit.run)
        signature = self._signature(stored)
        self._check_exclusive_create(record)
        try:
            if files or commit.removed:
                self._store.put({record: pending_record(files), **files, **signature})
            elif signature:
                self._store.put(signature)
            won = self._store.put_if_absent(commit.name, stored.body)
        except ObjectNotFound:
            # Another run deletes this run's files in pending/ only after a commit with this sequence exists.
            if commit.sequence not in self._store.list_commits(after=commit.sequence - 1):
                raise
            won = False
        if not won:
            self._discarded[record] = list(files)
            self._publish_claim(commit.name)
            raise CommitConflict
        self.stored, self.is_trusted = stored, self.is_trusted or commit.previous is None
        self._report_head()
        # A prune can delete thousands of files, so it can be interrupted; a compaction deletes those of one day.
        self._store.purge(self.interruptible(commit.removed) if commit.kind == "prune" else commit.removed)
        self._store.delete([record])

    def _check_exclusive_create(self, record: str) -> None:
        """Check once per run, before its first commit, that the storage never overwrites a commit."""
        if not self._is_exclusive_create_checked:
            self._store.check_put_if_absent(
                (self.stored.commit.name, self.stored.body) if self.stored else None, record
            )
            self._is_exclusive_create_checked = True

    def _publish_claim(self, name: str) -> None:
        """Copy the commit that another run claimed but did not copy, if the commit is valid."""
        claim = self._store.find_claim(name)
        if claim is not None:
            check_claim(self._store, self.stored, claim, self._context)
            self._store.copy_claim(name, claim.body)

    def interruptible(self, names: Iterable[str], advice: str = _RUN_AGAIN) -> Iterator[str]:
        """Yield the names. ``advice`` completes the error: what to do about the names that were not yielded.

        :raises Cancelled: the run was stopped.
        """
        for name in names:
            self.check_stopped(advice)
            yield name

    def check_stopped(self, advice: str) -> None:
        """:raises Cancelled: the run was stopped."""
        if self._context.stop.is_set():
            raise Cancelled(f"The run was stopped; {advice}.")

    def _check_can_be_created(self, stored: StoredCommit) -> None:
        """Refuse a commit that can never be created, before any file is written for it.

        :raises InvalidObject: the name of the commit is taken by an object that is not a file.
        """
        name = stored.commit.name
        if len(stored.body) > MAX_COMMIT_SIZE:
            raise StorageError(f"{name} would exceed the maximum size of a commit; compact first, or prune fewer days.")
        with suppress(ObjectNotFound):
            next(self._store.read(name), None)

    def _signature(self, stored: StoredCommit) -> Dict[str, bytes]:
        key, commit = self._context.sign_key, stored.commit
        if key is None or commit.signer is None:
            return {}
        body = key.sign(commit.archive_id, stored.head)
        signers = self._context.allowed_signers
        if signers is not None:
            damage = signers.find_problem(body, signed_text(commit.archive_id, stored.head), commit.server_date)
            if damage:
                # A commit signed by an expired or unlisted key would be refused by everybody.
                raise InvalidInput(f"The signature of this run is not allowed: {damage}; nothing was committed.")
        return {signature_name(stored.head, commit.signer): body}

    def _clean_up_own(self) -> None:
        """Delete the files that this run wrote for commits that other runs created. Safe without a trusted head."""
        for record, names in self._discarded.items():
            with suppress(ObjectNotFound):
                sequence = parse_pending_name(record) or 0
                named = {file.path for file in load_commit(self._store, sequence).commit.files}
                self._store.delete([name for name in names if name not in named])
                if self._store.is_settled(record):
                    self._store.delete([record])
        self._discarded = {}

    def _report_head(self) -> None:
        if self.stored is None:
            return
        self._context.on_head(self.stored)
        if self._context.pin and self.head != self._pin and not self._context.dry_run:
            self._context.pin.write(self.stored)
            self._pin = self.head
