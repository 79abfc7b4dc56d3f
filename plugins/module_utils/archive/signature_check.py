# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies signatures: each signed commit must have its own, and signatures without a commit are reported."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Iterator, NamedTuple, Optional, Sequence, Set

from ..errors import StorageError
from .chain.signing import (
    AllowedSigners,
    Signature,
    parse_signature_name,
    read_signature,
    signature_name,
    signed_text,
    signer_fingerprint,
)
from .finding import Finding
from .format.commit import FIRST_SEQUENCE, Head, commit_name
from .storage.store import InvalidObject, ObjectNotFound, Store

_MAX_PARALLEL = 4
_MAX_UNMATCHED = 100


class SignedCommit(NamedTuple):
    """A commit that names its signer."""

    archive_id: str
    head: Head
    signer: str
    server_date: datetime

    @property
    def name(self) -> str:
        return signature_name(self.head, self.signer)


class SignatureCheck:
    """The signatures of one archive, as listed before its head was read.

    With ``signers``, only their signatures are valid. Without them, a signature shows only that somebody has the key
    that the commit names. ``signed_up_to`` is the newest commit whose signature was checked and is good.
    """

    def __init__(self, store: Store, listed: Sequence[str], signers: Optional[AllowedSigners], now: datetime) -> None:
        self._store = store
        self._listed = listed
        self._signers = signers
        self._now = now
        self.signed_up_to: Optional[int] = None

    def findings(
        self, commits: Sequence[SignedCommit], head: int, signed_from: Optional[int], every: bool
    ) -> Iterator[Finding]:
        """Check the newest signature, or ``every`` one, and that none is missing; ``head`` is the newest sequence."""
        if not commits and (self._signers is not None or signed_from is not None):
            yield Finding("signature_absent", "signatures", "no commit is signed")
        elif signed_from is not None and commits[0].head.sequence > signed_from:
            first = commits[0].head.sequence
            yield Finding("signature_absent", commit_name(signed_from), f"only commits from {first} on are signed")
        yield from self._check_missing(commits)
        yield from self._check_signatures(commits if every else commits[-1:])
        yield from self._check_unmatched(commits, head)

    def _check_missing(self, commits: Sequence[SignedCommit]) -> Iterator[Finding]:
        listed = set(self._listed)
        for one in commits:
            # The list is older than the head: a signature might have been added by a collection run since.
            if one.name not in listed and not self._exists(one.name):
                yield Finding("signature_absent", commit_name(one.head.sequence), "its signature is missing")

    def _exists(self, name: str) -> bool:
        try:
            next(self._store.read(name), None)
        except (ObjectNotFound, InvalidObject):
            return False
        except StorageError:
            pass  # reported when the signature is read
        return True

    def _check_signatures(self, commits: Sequence[SignedCommit]) -> Iterator[Finding]:
        present = [one for one in commits if self._exists(one.name)]  # missing ones are reported by _check_missing
        with ThreadPoolExecutor(_MAX_PARALLEL) as pool:
            for one, damage in zip(present, pool.map(self._damage, present)):
                if damage:
                    yield Finding("signature_bad", commit_name(one.head.sequence), damage)
                else:
                    self.signed_up_to = one.head.sequence

    def _damage(self, one: SignedCommit) -> Optional[str]:
        try:
            body = read_signature(self._store, one.name)
        except StorageError as exc:
            return exc.message
        text = signed_text(one.archive_id, one.head)
        if signer_fingerprint(body, text) != one.signer:
            return "its signature is not by its signer"
        return self._signers.find_problem(body, text, one.server_date) if self._signers else None

    def _check_unmatched(self, commits: Sequence[SignedCommit], head: int) -> Iterator[Finding]:
        """Check the signatures without a commit. Those of lost races and killed runs are at most of the next commit."""
        known = {one.name for one in commits}
        unmatched = [name for name in self._listed if name not in known]
        signers = {one.signer for one in commits}
        archive_id = commits[-1].archive_id if commits else None
        ahead = 0
        # First those that would show a cut, so that nobody can hide them behind many others.
        unmatched.sort(key=lambda name: not _is_ahead(name, head))
        for name in unmatched[:_MAX_UNMATCHED]:
            found = parse_signature_name(name)
            if found is None:
                yield Finding("signature_extra", name, "its name is not that of a signature")
            elif found.head.sequence == FIRST_SEQUENCE:
                continue  # from a first run that was killed: its archive had another id
            elif archive_id is None or not self._is_genuine(found, archive_id, signers):
                yield Finding("signature_extra", name, "it is not a signature of this archive by one of its keys")
            elif found.head.sequence > head + 1 and not ahead:
                ahead = found.head.sequence
                yield Finding("signature_ahead", name, f"it is genuine, so commits after {head} were cut off")
        more = unmatched[_MAX_UNMATCHED:]
        if more and not ahead and _is_ahead(more[0], head):
            yield Finding(
                "signature_ahead", more[0], f"too many are of commits after {head} to check if the end was cut off"
            )
        if more:
            yield Finding("signature_extra", "signatures", f"and {len(more)} more without a commit")

    def _is_genuine(self, found: Signature, archive_id: str, signers: Set[str]) -> bool:
        try:
            body = read_signature(self._store, found.name)
        except StorageError:
            return False
        text = signed_text(archive_id, found.head)
        if self._signers is not None:
            return self._signers.find_problem(body, text, self._now) is None
        return signer_fingerprint(body, text) in signers


def _is_ahead(name: str, head: int) -> bool:
    """Return whether a signature is of a commit that was cut off, if the signature is genuine."""
    found = parse_signature_name(name)
    return found is not None and found.head.sequence > head + 1
