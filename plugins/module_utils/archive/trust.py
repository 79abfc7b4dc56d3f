# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides whether a run can trust the head of an archive.

Trust starts at an anchor: the pinned or expected head, a commit signed by the run's own key, or one signed by an
allowed signer. The commits after the anchor are checked by the rules of the chain and by their signatures before the
run appends a commit, signs one, or deletes files that they remove.
"""

from __future__ import annotations

from functools import partial
from typing import Iterator, Optional

from ..errors import ArchiveDamaged, AuditError, InvalidInput
from .chain.chain import StoredCommit, load_commit, parse_stored_commit, replay, walk_back, walk_forward
from .chain.coverage import MAX_CLOCK_LEAD
from .chain.rules import IDENTITY_REASONS, ChainState
from .chain.signing import SigningKey, signature_problem
from .finding import errors
from .format.commit import FIRST_SEQUENCE, READING_KINDS, Head
from .run_context import RunContext
from .storage.dry_run import DryRun
from .storage.store import Claim, ObjectNotFound, Store


def check_head(store: Store, head: StoredCommit, pin: Optional[Head], context: RunContext) -> bool:
    """Refuse a head that cannot be trusted. Return True if it was reached from an anchor.

    False means that there is no anchor: the archive is not signed and has no pin. Such a run can append, but never
    deletes files of other runs.

    :raises ArchiveDamaged: a commit after the anchor breaks a rule, or lacks a good signature of a known key.
    :raises InvalidInput: an option is missing that is required to trust or sign the archive.
    """
    key = context.sign_key
    if key is None and head.commit.signer is not None:
        raise InvalidInput(f"{store} is signed, and this run has no key; set {context.option_name('sign_key')}.")
    anchor = _anchor(store, head, pin, context)
    if anchor is None and head.commit.signer is not None:
        raise InvalidInput(
            f"Nothing shows that the newest commits of {store} are genuine: neither this run's key nor an allowed "
            f"signer signed them. Set {context.option_name('allowed_signers')}, or verify the archive and pass "
            f"{context.option_name('expected_head')} {head.commit.sequence}:{head.head.sha256}."
        )
    if anchor is not None:
        _check_since(store, anchor, head, context)
    if key is not None:
        _check_may_sign(store, head, key, anchor, context)
    return anchor is not None


def check_claim(store: Store, head: Optional[StoredCommit], claim: Claim, context: RunContext) -> None:
    """Refuse a claim that no collector would commit next, so that it is not copied to the archive.

    A claim must follow ``head`` (None: the archive has no commit) by the rules of the chain, have the signature that
    its commit requires, and name existing data files.

    :raises ArchiveDamaged: the claim does not meet one of these requirements.
    """
    sequence = head.commit.sequence + 1 if head else FIRST_SEQUENCE
    try:
        stored = parse_stored_commit(store, sequence, claim.body)
        simulated = DryRun(store)
        simulated.put_if_absent(stored.commit.name, stored.body)
        if head is None and context.sign_key is not None and stored.commit.signer is None:
            raise ArchiveDamaged("it is not signed, and this run has a key.")
        _check_since(simulated, head, stored, context)
        _check_files(store, stored)
    except AuditError as exc:
        if exc.retryable:
            raise
        raise ArchiveDamaged(
            f"{claim.address} was not copied to {store}; find out who wrote it, then delete it: {exc.message}"
        ) from exc


def _check_files(store: Store, stored: StoredCommit) -> None:
    from .data_file_check import verify_data_file
    from .format.canonical_lines import CanonicalLines  # slow to import, and few runs find a claim

    for file in stored.commit.files:
        try:
            found = verify_data_file(file, partial(store.read, file.path), CanonicalLines())
        except ObjectNotFound as exc:
            raise ArchiveDamaged(f"{file.path}, which it names, is missing.") from exc
        if found is not None:
            raise ArchiveDamaged(f"{file.path}, which it names, differs from its description: {found.detail}.")


def _anchor(store: Store, head: StoredCommit, pin: Optional[Head], context: RunContext) -> Optional[StoredCommit]:
    if context.expected_head == head.head:
        return head
    if pin is not None:
        return head if head.head == pin else load_commit(store, pin.sequence)
    if head.commit.signer is None:
        return None
    key, signers = context.sign_key, context.allowed_signers
    own = (stored for stored in walk_back(store, head) if key is not None and stored.commit.signer == key.fingerprint)
    anchor = next((stored for stored in own if signature_problem(store, stored, None) is None), None)
    if anchor is None and signers is not None and signature_problem(store, head, signers) is None:
        return head
    return anchor


def _check_since(store: Store, anchor: Optional[StoredCommit], head: StoredCommit, context: RunContext) -> None:
    key, signers, latest = context.sign_key, context.allowed_signers, context.now() + MAX_CLOCK_LEAD
    for stored in _verified_commits(store, anchor, head):
        if stored.commit.committed_at > latest:
            raise ArchiveDamaged(f"{stored.commit.name} in {store} was made in the future; verify the archive.")
        if stored.commit.signer is None:
            continue
        own = key is not None and stored.commit.signer == key.fingerprint
        if not own and signers is None:
            raise ArchiveDamaged(
                f"{stored.commit.name} in {store} is signed by {stored.commit.signer}, a key that is not known here; "
                f"set {context.option_name('allowed_signers')}, or verify the archive."
            )
        damage = signature_problem(store, stored, None if own else signers)
        if damage:
            raise ArchiveDamaged(f"{stored.commit.name} in {store} cannot be trusted: {damage}; verify the archive.")


def _verified_commits(store: Store, anchor: Optional[StoredCommit], head: StoredCommit) -> Iterator[StoredCommit]:
    """Yield the commits after the anchor, checked by the rules of the chain.

    Rules that need all commits before are checked by a replay of the complete chain.
    """
    if anchor is None:
        yield from walk_forward(store, ChainState(), None, head)
        return
    before, replayed = anchor.commit, False
    for stored in walk_forward(store, ChainState.after(anchor.commit), anchor, head):
        commit = stored.commit
        is_other_identity = (commit.api, commit.token_tag) != (before.api, before.token_tag)
        is_identity_resync = commit.resync is not None and commit.resync.why in IDENTITY_REASONS
        if not replayed and (is_other_identity or is_identity_resync or commit.kind not in READING_KINDS):
            replay(store, head)
            replayed = True
        before = commit
        yield stored


def _check_may_sign(
    store: Store, head: StoredCommit, key: SigningKey, anchor: Optional[StoredCommit], context: RunContext
) -> None:
    """Refuse the first signature of an archive, or of a key, unless an anchor or an option allows it."""
    signers = context.allowed_signers
    if head.commit.signer is None:
        if anchor is not None:
            return
        if context.sign_from != head.head:
            raise InvalidInput(
                f"{store} is not signed. To sign from its newest commit on, verify the archive, then pass "
                f"{context.option_name('sign_from')} {head.commit.sequence}:{head.head.sha256}; "
                "or collect with a pin first."
            )
        from .verifier import verify  # slow to import, and only this run needs it

        problems = errors(verify(store, now=context.now()))
        if problems:
            raise ArchiveDamaged(
                f"{store} was not signed because it has findings; the first is {problems[0].type} in "
                f"{problems[0].path}. Run verify to see all findings."
            )
        return
    if signers is None and all(stored.commit.signer != key.fingerprint for stored in walk_back(store, head)):
        raise InvalidInput(
            f"The key {key.fingerprint} has not signed any commit of {store} yet; set "
            f"{context.option_name('allowed_signers')} to a file with this key and the other signers."
        )
