# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a run believes the head that it builds on.

Trust begins at an anchor: a head that was remembered or is named by the user, a commit that the run's own key signed,
or one that an allowed signer signed. The commits after it are checked by the rules of the chain and by their
signatures before anything is built on them, signed, or erased because they say so.
"""

from __future__ import annotations

from functools import partial
from typing import Iterator, Optional

from ..errors import ArchiveDamaged, AuditError, InvalidInput
from .chain.chain import StoredCommit, load_commit, parse_stored_commit, replay, walk_back, walk_forward
from .chain.coverage import MAX_CLOCK_LEAD
from .chain.rules import IDENTITY_REASONS, ChainState
from .chain.signing import SigningKey, signature_problem
from .format.commit import FIRST_SEQUENCE, READING_KINDS, Head
from .run_context import RunContext
from .storage.store import Claim, DryRun, ObjectNotFound, Store


def check_head(store: Store, head: StoredCommit, pin: Optional[Head], context: RunContext) -> bool:
    """Refuse a head that cannot be trusted; whether it was reached from an anchor.

    False means that nothing is signed and nothing was remembered: such a run may add, but erases nothing of others.

    :raises ArchiveDamaged: a commit since the anchor breaks a rule, or lacks a good signature of a known key.
    :raises InvalidInput: options are missing without which the archive cannot be trusted or signed.
    """
    key = context.sign_key
    if key is None and head.commit.signer is not None:
        raise InvalidInput(f"{store} is signed, and this run has no key; give it one ({context.called('sign_key')}).")
    anchor = _anchor(store, head, pin, context)
    if anchor is None and head.commit.signer is not None:
        raise InvalidInput(
            f"Nothing shows that the newest commits of {store} are genuine: neither this run's key nor an allowed "
            f"signer signed them. Name the signers ({context.called('allowed_signers')}), or the head that you "
            f"verified (--expected-head {head.commit.sequence}:{head.head.sha256})."
        )
    if anchor is not None:
        _check_since(store, anchor, head, context)
    if key is not None:
        _check_may_sign(store, head, key, anchor, context)
    return anchor is not None


def check_claim(store: Store, head: Optional[StoredCommit], claim: Claim, context: RunContext) -> None:
    """Refuse a claim that is not what a collector would commit next: nothing else is copied to the archive.

    It must follow ``head`` (None: the archive has no commit) by the rules, be signed as a commit has to be, and name
    data files that are there.

    :raises ArchiveDamaged: it is none of these.
    """
    sequence = head.commit.sequence + 1 if head else FIRST_SEQUENCE
    try:
        link = parse_stored_commit(store, sequence, claim.body)
        simulated = DryRun(store)
        simulated.put_if_absent(link.commit.name, link.body)
        if head is None and context.sign_key is not None and link.commit.signer is None:
            raise ArchiveDamaged("it is not signed, and this run has a key.")
        _check_since(simulated, head, link, context)
        _check_files(store, link)
    except AuditError as exc:
        if exc.retryable:
            raise
        raise ArchiveDamaged(
            f"{claim.address} is not copied to {store}; find out who wrote it, then remove it: {exc.message}"
        ) from exc


def _check_files(store: Store, link: StoredCommit) -> None:
    from .format.canonical_lines import CanonicalLines  # takes its time, and few runs find a claim
    from .verifier import verify_data_file

    for file in link.commit.files:
        try:
            found = verify_data_file(file, partial(store.chunks, file.path), CanonicalLines())
        except ObjectNotFound as exc:
            raise ArchiveDamaged(f"{file.path}, which it names, is missing.") from exc
        if found is not None:
            raise ArchiveDamaged(f"{file.path}, which it names, is not what it says: {found.detail}.")


def _anchor(store: Store, head: StoredCommit, pin: Optional[Head], context: RunContext) -> Optional[StoredCommit]:
    if context.expected_head == head.head:
        return head
    if pin is not None:
        return head if head.head == pin else load_commit(store, pin.sequence)
    if head.commit.signer is None:
        return None
    key, signers = context.sign_key, context.allowed_signers
    own = (link for link in walk_back(store, head) if key is not None and link.commit.signer == key.fingerprint)
    anchor = next((link for link in own if signature_problem(store, link, None) is None), None)
    if anchor is None and signers is not None and signature_problem(store, head, signers) is None:
        return head
    return anchor


def _check_since(store: Store, anchor: Optional[StoredCommit], head: StoredCommit, context: RunContext) -> None:
    key, signers, latest = context.sign_key, context.allowed_signers, context.now() + MAX_CLOCK_LEAD
    for link in _verified_commits(store, anchor, head):
        if link.commit.committed_at > latest:
            raise ArchiveDamaged(f"{link.commit.name} in {store} was made in the future; verify the archive.")
        if link.commit.signer is None:
            continue
        own = key is not None and link.commit.signer == key.fingerprint
        if not own and signers is None:
            raise ArchiveDamaged(
                f"{link.commit.name} in {store} is signed by {link.commit.signer}, a key that is not known here; name "
                f"the signers ({context.called('allowed_signers')}), or verify the archive."
            )
        damage = signature_problem(store, link, None if own else signers)
        if damage:
            raise ArchiveDamaged(f"{link.commit.name} in {store} cannot be trusted: {damage}; verify the archive.")


def _verified_commits(store: Store, anchor: Optional[StoredCommit], head: StoredCommit) -> Iterator[StoredCommit]:
    """The commits after the anchor, checked by the rules; by all commits before where a rule needs those."""
    if anchor is None:
        yield from walk_forward(store, ChainState(), None, head)
        return
    before, replayed = anchor.commit, False
    for link in walk_forward(store, ChainState.after(anchor.commit), anchor, head):
        changed = (link.commit.api, link.commit.token_tag) != (before.api, before.token_tag)
        joined = link.commit.resync is not None and link.commit.resync.why in IDENTITY_REASONS
        if not replayed and (changed or joined or link.commit.kind not in READING_KINDS):
            replay(store, head)
            replayed = True
        before = link.commit
        yield link


def _check_may_sign(
    store: Store, head: StoredCommit, key: SigningKey, anchor: Optional[StoredCommit], context: RunContext
) -> None:
    """Refuse the first signature of an archive, or of a key, that nothing vouches for."""
    signers = context.allowed_signers
    if head.commit.signer is None:
        if anchor is not None:
            return
        if context.sign_from != head.head:
            raise InvalidInput(
                f"{store} is not signed. To sign from its newest commit on, verify it, then pass "
                f"--sign-from {head.commit.sequence}:{head.head.sha256}, or collect with a pin first."
            )
        from .verifier import verify  # takes its time, and only this one run needs it

        problems = [finding for finding in verify(store, now=context.now()) if not finding.is_warning]
        if problems:
            raise ArchiveDamaged(
                f"{store} is not signed: it has findings, the first is {problems[0].type} in {problems[0].path}."
            )
        return
    if signers is None and all(link.commit.signer != key.fingerprint for link in walk_back(store, head)):
        raise InvalidInput(
            f"The key {key.fingerprint} signed no commit of {store} yet; name it and the other signers "
            f"({context.called('allowed_signers')})."
        )
