# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies offline, without a token or network, that an archive is intact, and finds all deviations.

There are three passes: the chain of commits, each live data file, and all other files. All passes read streams, and
never read more of a file than a collector would have written. Files that are added during a verification are left to
the next one.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from functools import partial
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set
from typing import Counter as CounterOf

from ..errors import StorageError
from ..times import format_time, utc_now
from .chain.coverage import MAX_CLOCK_LEAD
from .chain.rules import ChainState
from .chain.signing import AllowedSigners, parse_signature_name
from .chain.timestamp import Authorities, timestamp_names
from .data_file_check import verify_data_file
from .finding import Finding
from .format.canonical_lines import CanonicalLines
from .format.commit import FIRST_SEQUENCE, Commit, DataFile, Head, commit_name, parse_data_file_name, sha256
from .format.fields import Malformed
from .signature_check import SignatureCheck, SignedCommit
from .storage.prefetch import prefetch_chunks
from .storage.store import InvalidObject, ObjectNotFound, Store, join_chunks
from .timestamp_check import DatedCommit, TimestampCheck, Timestamps
from .unlisted_files import UnlistedFilesCheck, names_in

MAX_LISTED = 1000
"""Maximum number of findings of one type that are listed; further ones are only counted."""


class VerificationResult(NamedTuple):
    """Result of a verification.

    ``signed_from`` is the first commit that names a signer. ``signed_up_to`` is the newest commit whose signature was
    checked and is good; the signature covers all commits before. ``timestamps`` are the good time stamps, or None if
    they were not checked.
    """

    findings: List[Finding]
    signed_from: Optional[int]
    signed_up_to: Optional[int]
    timestamps: Optional[Timestamps] = None


def verify(
    store: Store,
    expected_head: Optional[Head] = None,
    signers: Optional[AllowedSigners] = None,
    now: Optional[datetime] = None,
) -> List[Finding]:
    """Return everything that is wrong with the archive; see :func:`verify_archive`."""
    return verify_archive(store, expected_head, signers, now=now).findings


def verify_archive(
    store: Store,
    expected_head: Optional[Head] = None,
    signers: Optional[AllowedSigners] = None,
    signed_from: Optional[int] = None,
    every_signature: bool = False,
    now: Optional[datetime] = None,
    is_included: Callable[[DataFile], bool] = lambda _file: True,
    authorities: Optional[Authorities] = None,
) -> VerificationResult:
    """Find everything that is wrong with the archive, in the order of its commits, of its files, and of its signatures.

    Types of findings about commits: ``commit_missing``, ``commit_deleted``, ``commit_edited``, ``commit_reordered``,
    ``commit_duplicated``, ``commit_malformed``, ``chain``, ``totals``, ``cursor``, ``coverage``, ``identity``,
    ``removal``, ``head``.
    About files: ``missing``, ``altered``, ``appended``, ``moved``, ``content`` (it differs from its commit),
    ``unreadable``, ``extra``, and the warnings ``orphan``, ``deletion_pending``, ``unfinished`` (no run made a commit
    yet) and ``foreign`` (it is not a part of an archive).

    About signatures: ``signature_bad``, ``signature_absent``, ``signature_ahead``, and the warning ``signature_extra``.
    About time stamps: ``timestamp_bad``, ``timestamp_absent``, ``timestamp_lost``, and the warning ``timestamp_extra``.

    ``expected_head`` is a head that was noted elsewhere: the archive must still contain that commit. With ``signers``,
    the archive must be signed by keys that were allowed at the time. ``signed_from`` is the first commit that must be
    signed. Only the newest signature is verified cryptographically, because it covers all commits before it; with
    ``every_signature``, all are. ``now`` is the verifier's time.

    With authorities, the archive must have time stamps, and all are verified. Otherwise, only their names are
    checked.

    Every live data file must exist and is read. If the archive is only a part of one, ``is_included`` returns whether a
    file belongs to that part.

    :raises StorageError: the archive's directories cannot be listed.
    :raises InvalidInput: signatures or time stamps must be checked, but ssh-keygen or openssl is not installed.
    """
    run = _Verification(store, expected_head, now or utc_now(), is_included)
    return run.run(signers, signed_from, every_signature, authorities)


class _Verification:
    """One verification. ``_state`` is the state of the chain up to the commit that was read last."""

    def __init__(
        self, store: Store, expected_head: Optional[Head], now: datetime, is_included: Callable[[DataFile], bool]
    ) -> None:
        self._store = store
        self._now = now
        self._is_included = is_included
        self._expected_head = expected_head
        self._findings: List[Finding] = []
        self._state = ChainState()
        self._signed: List[SignedCommit] = []
        self._dates: Optional[List[DatedCommit]] = None
        self._digests: Dict[str, int] = {}
        self._readable: Set[int] = set()
        self._lines = CanonicalLines()

    def run(
        self,
        signers: Optional[AllowedSigners],
        signed_from: Optional[int],
        every_signature: bool,
        authorities: Optional[Authorities],
    ) -> VerificationResult:
        # Listed before the head is read: files that a collector adds later are left to the next verification.
        timestamps = timestamp_names(self._store)
        self._dates = [] if timestamps else None
        signatures = names_in(self._store, "signatures")
        pending = names_in(self._store, "pending")
        data_files = names_in(self._store, "entries")
        sequences = self._commits()
        head = sequences[-1] if sequences else 0
        if not sequences:
            self._report_no_commit(data_files, signatures)
        self._verify_chain(sequences)
        missing = self._without_removed_since(self._verify_files(), head)
        unlisted_check = UnlistedFilesCheck(self._store, self._state, self._readable, head)
        self._findings.extend(unlisted_check.findings(data_files, pending, missing))
        signature_check = SignatureCheck(self._store, signatures, signers, self._now)
        self._findings.extend(signature_check.findings(self._signed, head, signed_from, every_signature))
        timestamp_check = TimestampCheck(self._store, timestamps, authorities)
        self._findings.extend(timestamp_check.findings(self._dates or []))
        return VerificationResult(
            list(_truncate(self._findings)),
            self._signed[0].head.sequence if self._signed else None,
            signature_check.signed_up_to,
            timestamp_check.result,
        )

    def _report(self, type_: str, path: str, detail: str) -> None:
        self._findings.append(Finding(type_, path, detail))

    def _commits(self) -> List[int]:
        try:
            return self._store.list_commits()
        except InvalidObject:
            return []

    def _report_no_commit(self, files: List[str], signatures: List[str]) -> None:
        sequences = [(name and name.sequence) for name in map(parse_data_file_name, files)]
        signed = [found.head.sequence for found in map(parse_signature_name, signatures) if found]
        first = commit_name(FIRST_SEQUENCE)
        if sequences and all(sequence == FIRST_SEQUENCE for sequence in (*sequences, *signed)):
            self._report("unfinished", first, "the first run was killed before its commit; collect again")
        else:
            self._report("commit_missing", first, "the archive has no commit")

    # The chain of commits

    def _verify_chain(self, sequences: List[int]) -> None:
        previous: Optional[str] = None
        expected = FIRST_SEQUENCE
        has_expected_head = False
        for read_chunks, sequence in zip(prefetch_chunks(self._store, map(commit_name, sequences)), sequences):
            if sequence != expected:
                last = f" to {sequence - 1}" if sequence - 1 > expected else ""
                self._report("commit_missing", commit_name(expected), f"missing commits: {expected}{last}")
                self._state.skip()
                previous = None
            body = self._read_commit(sequence, read_chunks)
            commit = None if body is None else self._parse_commit(sequence, body)
            head = None if body is None else Head(sequence, sha256(body))
            if commit is None or head is None:
                self._state.skip()
            else:
                self._verify_commit(commit, previous)
                self._add_commit(commit, head)
            has_expected_head = has_expected_head or (head is not None and head == self._expected_head)
            previous = head.sha256 if head else None
            expected = sequence + 1
        for sequence in self._store.list_deleted_commits():
            self._report("commit_deleted", commit_name(sequence), "it was deleted; an older version might remain")
        self._verify_head(expected - 1, has_expected_head)

    def _add_commit(self, commit: Commit, head: Head) -> None:
        self._state.apply(commit)
        self._readable.add(commit.sequence)
        if self._dates is not None:
            self._dates.append(DatedCommit(head, commit.server_date))
        if commit.signer is not None:
            self._signed.append(SignedCommit(commit.archive_id, head, commit.signer, commit.server_date))

    def _read_commit(self, sequence: int, read_chunks: Callable[[], Iterator[bytes]]) -> Optional[bytes]:
        name = commit_name(sequence)
        try:
            return join_chunks(read_chunks(), f"{name} in {self._store}")
        except ObjectNotFound:
            self._report("commit_missing", name, "it was deleted during the verification")
        except StorageError as exc:
            self._report("unreadable", name, exc.message)
        return None

    def _parse_commit(self, sequence: int, body: bytes) -> Optional[Commit]:
        name = commit_name(sequence)
        duplicate_of = self._digests.setdefault(sha256(body), sequence)
        if duplicate_of != sequence:
            self._report("commit_duplicated", name, f"it has the same bytes as commit {duplicate_of}")
            return None
        try:
            commit = Commit.parse(body)
        except Malformed as exc:
            self._report("commit_malformed", name, str(exc))
            return None
        if commit.sequence != sequence:
            self._report("commit_reordered", name, f"its content is commit {commit.sequence}")
            return None
        return commit

    def _verify_head(self, head: int, has_expected_head: bool) -> None:
        expected = self._expected_head
        if expected is None or has_expected_head:
            return
        name = commit_name(expected.sequence)
        if expected.sequence > head:
            self._report("head", name, f"the archive ends at commit {head}: commits were cut off")
        else:
            self._report("head", name, f"it is not the expected commit, whose SHA-256 is {expected.sha256}")

    def _verify_commit(self, commit: Commit, previous: Optional[str]) -> None:
        if previous is not None and commit.previous is not None and commit.previous != previous:
            before = commit_name(commit.sequence - 1)
            self._report("commit_edited", before, f"commit {commit.sequence} has another SHA-256 for it")
        for violation in self._state.violations(commit):
            self._report(violation.type, commit.name, violation.detail)
        if commit.committed_at > self._now + MAX_CLOCK_LEAD:
            self._report("coverage", commit.name, f"it was made in the future, at {format_time(commit.committed_at)}")

    # The live data files

    def _verify_files(self) -> List[str]:
        """Compare the live files with their commits; return the paths of those that do not exist."""
        missing: List[str] = []
        paths = sorted(path for path, file in self._state.live.items() if self._is_included(file))
        for read_chunks, path in zip(prefetch_chunks(self._store, paths), paths):
            try:
                found = verify_data_file(self._state.live[path], read_chunks, self._lines)
            except ObjectNotFound:
                missing.append(path)
                continue
            if found:
                self._findings.append(found)
        return missing

    def _without_removed_since(self, missing: List[str], head: int) -> List[str]:
        """Return the missing files without those that a commit made after ``head`` removed."""
        removed: Set[str] = set()
        for sequence in self._store.list_commits(after=head) if missing and head else ():
            body = self._read_commit(sequence, partial(self._store.read, commit_name(sequence)))
            commit = None if body is None else self._parse_commit(sequence, body)
            removed.update(commit.removed if commit else ())
        return [path for path in missing if path not in removed]


def _truncate(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the first findings of each type, then the numbers of further ones."""
    counts: CounterOf[str] = Counter()
    for finding in findings:
        counts[finding.type] += 1
        if counts[finding.type] <= MAX_LISTED:
            yield finding
    for type_, count in counts.items():
        if count > MAX_LISTED:
            yield Finding(type_, "", f"and {count - MAX_LISTED} more")
