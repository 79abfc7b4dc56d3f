# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies offline that an archive is intact, or finds what was done to it. Needs no token and no network.

Three passes: the chain of commits, each data file that is live, and everything else that is stored there. All three
work on streams, and read no more of anything than a collector would have written. What is added while the verifier runs
is left to its next run.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple
from typing import Counter as CounterOf

from ..errors import StorageError
from ..times import format_time, utc_now
from .chain.chain import pending_records
from .chain.coverage import MAX_CLOCK_LEAD
from .chain.rules import ChainState
from .chain.signing import AllowedSigners, parse_signature_name
from .chain.timestamp import Authorities, timestamp_names
from .finding import Finding
from .format.canonical_lines import CanonicalLines
from .format.commit import (
    FIRST_SEQUENCE,
    UNDATED_DAY,
    Commit,
    DataFile,
    Head,
    Malformed,
    commit_name,
    parse_commit_name,
    parse_data_file_name,
    parse_pending_name,
    sha256,
    utc_day,
)
from .format.data_file import complete_lines, decompress_gzip, split_lines
from .signature_check import SignatureCheck, SignedCommit
from .storage.prefetch import prefetch_chunks
from .storage.store import InvalidObject, ObjectNotFound, Store, join_chunks
from .timestamp_check import DatedCommit, TimestampCheck, Timestamps

MAX_LISTED = 1000
"""How many findings of one type are listed; the others are counted."""

_FINDING_TYPES = {
    "entries": "extra",
    "commits": "extra",
    "signatures": "signature_extra",
    "timestamps": "timestamp_extra",
}


class VerificationResult(NamedTuple):
    """What a verification found.

    ``signed_from`` is the first commit that names a signer, ``signed_up_to`` the newest one whose signature was checked
    and is good: it vouches for all commits before. ``timestamps`` are the good time stamps; None if none were checked.
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
    """Everything that is wrong with the archive; see :func:`examine`."""
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
    About files: ``missing``, ``altered``, ``appended``, ``moved``, ``content`` (not what its commit says it holds),
    ``unreadable``, ``extra``, and the warnings ``orphan``, ``deletion_pending``, ``unfinished`` (no run made a commit
    yet) and ``foreign`` (something that is none of the archive's).

    About signatures: ``signature_bad``, ``signature_absent``, ``signature_ahead``, and the warning ``signature_extra``.
    About time stamps: ``timestamp_bad``, ``timestamp_absent``, ``timestamp_lost``, and the warning ``timestamp_extra``.

    ``expected_head`` is a head seen earlier and kept elsewhere: the archive must still contain that commit. With
    ``signers`` the archive must be signed, by keys that were allowed at the time. ``signed_from`` is the commit from
    which on it must be signed. Only the newest signature is checked by its bytes, unless ``every_signature`` is; it
    vouches for all commits before it. ``now`` is the verifier's time.

    With authorities there must be time stamps, and all of them are checked; without, only their names are.

    Every live data file must be there and is read, unless the archive is a part of one: then ``is_included`` says which
    of them belong to the part.

    :raises StorageError: the archive's folders cannot be listed.
    :raises InvalidInput: signatures or time stamps are to be checked, and ssh-keygen or openssl is missing.
    """
    run = _Verification(store, expected_head, now or utc_now(), is_included)
    return run.run(signers, signed_from, every_signature, authorities)


class _Verification:
    """One run over one archive; ``_state`` is what the commits up to the one reached add up to."""

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
        self._known: Set[int] = set()
        self._lines = CanonicalLines()
        self._announced: Dict[str, Optional[List[str]]] = {}

    def run(
        self,
        signers: Optional[AllowedSigners],
        signed_from: Optional[int],
        every_signature: bool,
        authorities: Optional[Authorities],
    ) -> VerificationResult:
        # Listed before the head is looked for: what a collector adds meanwhile is left to the next verification.
        stamped = timestamp_names(self._store)
        self._dates = [] if stamped else None
        listed = self._names("signatures")
        pending = self._names("pending")
        others = self._names("entries")
        sequences = self._commits()
        head = sequences[-1] if sequences else 0
        if not sequences:
            self._report_no_commit(others, listed)
        self._verify_chain(sequences)
        paths = sorted(path for path, file in self._state.live.items() if self._is_included(file))
        asked = zip(prefetch_chunks(self._store, paths), paths)
        missing = [path for read_chunks, path in asked if not self._verify_file(self._state.live[path], read_chunks)]
        self._verify_others(others, head, self._without_removed_since(missing, head))
        self._verify_pending(pending, head)
        self._verify_foreign()
        check = SignatureCheck(self._store, listed, signers, self._now)
        found = list(check.findings(self._signed, head, signed_from, every_signature))
        stamps = TimestampCheck(self._store, stamped, authorities)
        found.extend(stamps.findings(self._dates or []))
        return VerificationResult(
            list(_truncate([*self._findings, *found])),
            self._signed[0].head.sequence if self._signed else None,
            check.signed_up_to,
            stamps.result,
        )

    def _report(self, type_: str, path: str, detail: str) -> None:
        self._findings.append(Finding(type_, path, detail))

    def _names(self, folder: str) -> List[str]:
        try:
            return list(self._store.names(folder))
        except InvalidObject:
            return []  # told as what it is, by the store

    def _commits(self) -> List[int]:
        try:
            return self._store.commits()
        except InvalidObject:
            return []

    def _report_no_commit(self, files: List[str], signatures: List[str]) -> None:
        names = [(name and name.sequence) for name in map(parse_data_file_name, files)]
        signed = [found.head.sequence for found in map(parse_signature_name, signatures) if found]
        first = commit_name(FIRST_SEQUENCE)
        if names and all(sequence == FIRST_SEQUENCE for sequence in (*names, *signed)):
            self._report("unfinished", first, "the first run was killed before its commit; collect again")
        else:
            self._report("commit_missing", first, "the archive has no commit")

    # The chain of commits

    def _verify_chain(self, sequences: List[int]) -> None:
        digest: Optional[str] = None
        expected = FIRST_SEQUENCE
        seen_expected_head = False
        for read_chunks, sequence in zip(prefetch_chunks(self._store, map(commit_name, sequences)), sequences):
            if sequence != expected:
                self._report(
                    "commit_missing", commit_name(expected), f"none from {expected} to {sequence - 1} is there"
                )
                self._state.skip()
                digest = None
            body = self._read_commit(sequence, read_chunks)
            commit = None if body is None else self._parse_commit(sequence, body)
            if commit is None:
                self._state.skip()
            else:
                self._verify_link(commit, digest)
                self._state.apply(commit)
                self._known.add(sequence)
            digest = None if body is None else sha256(body)
            if commit is not None and digest is not None and self._dates is not None:
                self._dates.append(DatedCommit(Head(sequence, digest), commit.server_date))
            if commit is not None and commit.signer is not None and digest is not None:
                head = Head(sequence, digest)
                self._signed.append(SignedCommit(commit.archive_id, head, commit.signer, commit.server_date))
            if self._expected_head == Head(sequence, digest or ""):
                seen_expected_head = True
            expected = sequence + 1
        for sequence in self._store.list_deleted_commits():
            self._report("commit_deleted", commit_name(sequence), "it was deleted; an older version of it may be left")
        self._verify_head(expected - 1, seen_expected_head)

    def _read_commit(self, sequence: int, read_chunks: Callable[[], Iterator[bytes]]) -> Optional[bytes]:
        name = commit_name(sequence)
        try:
            return join_chunks(read_chunks(), f"{name} in {self._store}")
        except ObjectNotFound:
            self._report("commit_missing", name, "it vanished while it was looked for")
        except StorageError as exc:
            self._report("unreadable", name, exc.message)
        return None

    def _parse_commit(self, sequence: int, body: bytes) -> Optional[Commit]:
        name = commit_name(sequence)
        duplicate_of = self._digests.setdefault(sha256(body), sequence)
        if duplicate_of != sequence:
            self._report("commit_duplicated", name, f"it has the bytes of commit {duplicate_of}")
            return None
        try:
            commit = Commit.parse(body)
        except Malformed as exc:
            self._report("commit_malformed", name, str(exc))
            return None
        if commit.sequence != sequence:
            self._report("commit_reordered", name, f"it says it is commit {commit.sequence}")
            return None
        return commit

    def _verify_head(self, head: int, seen_expected: bool) -> None:
        expected = self._expected_head
        if expected is None or seen_expected:
            return
        name = commit_name(expected.sequence)
        if expected.sequence > head:
            self._report("head", name, f"the archive ends at commit {head}: commits were cut off")
        else:
            self._report("head", name, f"the commit is not the one expected, {expected.sha256}")

    def _verify_link(self, commit: Commit, digest: Optional[str]) -> None:
        if digest is not None and commit.previous is not None and commit.previous != digest:
            before = commit_name(commit.sequence - 1)
            self._report("commit_edited", before, f"commit {commit.sequence} rests on other bytes of it")
        for violation in self._state.violations(commit):
            self._report(violation.type, commit.name, violation.detail)
        if commit.committed_at > self._now + MAX_CLOCK_LEAD:
            self._report("coverage", commit.name, f"it was made in the future, at {format_time(commit.committed_at)}")

    # The live data files

    def _verify_file(self, file: DataFile, read_chunks: Callable[[], Iterator[bytes]]) -> bool:
        """Compare one file with its commit; False when it is absent."""
        try:
            found = verify_data_file(file, read_chunks, self._lines)
        except ObjectNotFound:
            return False
        self._findings.extend([found] if found else [])
        return True

    def _without_removed_since(self, missing: List[str], head: int) -> List[str]:
        """Of files found absent, those that no commit made meanwhile removed."""
        removed: Set[str] = set()
        for sequence in self._store.commits(after=head) if missing and head else ():
            body = self._read_commit(sequence, partial(self._store.chunks, commit_name(sequence)))
            commit = None if body is None else self._parse_commit(sequence, body)
            removed.update(commit.removed if commit else ())
        return [path for path in missing if path not in removed]

    # All other files

    def _verify_others(self, stored: List[str], head: int, missing: List[str]) -> None:
        unlisted = [name for name in stored if name not in self._state.live]
        locations = self._locate(unlisted, missing) if missing else {}
        moved: Set[str] = set()
        for path in missing:
            found = locations.get(self._state.live[path].sha256)
            if found is None:
                self._report("missing", path, "no file of this name is left")
            else:
                moved.add(found)
                self._report("moved", path, f"the file now lies at {found}")
        self._announced = pending_records(self._store)
        named = {name for names in self._announced.values() for name in names or ()}
        undeleted = [name for name in unlisted if name not in moved and self._verify_unlisted(name, head, named)]
        if undeleted:
            count = f"; {len(undeleted)} such files in all" if len(undeleted) > 1 else ""
            self._report("deletion_pending", undeleted[0], f"a commit removed it, but it was not deleted yet{count}")
        for name in self._names("commits"):
            if not parse_commit_name(name):
                self._report("extra", name, "it has not the name of a commit")

    def _locate(self, names: List[str], missing: List[str]) -> Dict[str, str]:
        """Where the bytes with a digest lie."""
        limit = max(self._state.live[path].bytes for path in missing)
        locations = {}
        for name in names:
            digest = self._digest_of(name, limit)
            if digest:
                locations[digest] = name
        return locations

    def _digest_of(self, name: str, limit: int) -> Optional[str]:
        """The digest of a file; None if it cannot be read, or is larger than a limit."""
        content, size = hashlib.sha256(), 0
        try:
            for chunk in self._store.chunks(name):
                content.update(chunk)
                size += len(chunk)
                if size > limit:
                    return None
        except StorageError:
            return None
        return content.hexdigest()

    def _verify_unlisted(self, name: str, head: int, named: Set[str]) -> bool:
        """A file that is not live: to be deleted (True), left behind by a lost run, or put there."""
        parts = parse_data_file_name(name)
        if parts is None:
            self._report("extra", name, "it has not the name of a data file")
        elif parts.sequence > head + 1:
            self._report("extra", name, f"the archive ends at commit {head}: commits were cut off, or it was put there")
        elif parts.sequence > head:
            self._report("orphan", name, "its commit was not made yet; a run is at work, or was killed")
        elif name in self._state.removed:
            removed_file = self._state.removed[name]
            if self._digest_of(name, removed_file.bytes) == removed_file.sha256:
                return True
            self._report("extra", name, "a commit removed the file of this name, and this one has other bytes")
        elif parts.sequence in self._known:  # else that commit was reported already
            self._verify_unnamed(name, parts.day, name in named)
        return False

    def _verify_unnamed(self, name: str, day: str, is_announced: bool) -> None:
        """A file of a sequence whose commit does not name it."""
        missing = self._count_missing(name, day)
        if missing == 0:
            why = "a run that lost a race or was killed left it behind" if is_announced else "no commit names it"
            self._report("orphan", name, f"{why}; all its entries are in the archive")
            return
        what = "cannot be read" if missing is None else f"holds entries that the archive has not ({missing})"
        if is_announced:
            self._report(
                "orphan",
                name,
                f"a run announced it and made no commit of it; it {what}: look at it now, the next run removes it",
            )
        else:
            self._report("extra", name, f"no commit names it, and it {what}")

    def _count_missing(self, name: str, day: str) -> Optional[int]:
        """How many of its lines, as a multiset, are not among the archive's lines of that day; None: unreadable."""
        live = [file for path, file in self._state.live.items() if path.startswith(f"entries/date={day}/")]
        unmatched: CounterOf[bytes] = Counter()
        try:
            # What is larger than the whole day cannot be a part of it, and is not unpacked any further.
            for line in split_lines(
                decompress_gzip(self._store.chunks(name), sum(file.content_bytes for file in live))
            ):
                unmatched[_short_digest(line)] += 1
        except ObjectNotFound:
            return 0  # cleared away meanwhile, as left-overs are
        except (Malformed, StorageError):
            return None
        for file in live if unmatched else ():
            with suppress(Malformed, StorageError):  # a damaged one is a finding of its own
                self._subtract(unmatched, file)
        return sum(unmatched.values())

    def _verify_pending(self, names: List[str], head: int) -> None:
        for name in names:
            sequence = parse_pending_name(name)
            if sequence is None:
                self._report("foreign", name, "it has not the name of what runs store there")
            elif not FIRST_SEQUENCE <= sequence <= head + 1:
                self._report("foreign", name, f"it is of commit {sequence}, but the archive ends at {head}")
            elif self._announced.get(name, ()) is None:
                self._report("foreign", name, "it is no record of a run")

    def _verify_foreign(self) -> None:
        for thing in self._store.list_unexpected():
            if thing.name not in self._state.live:  # that one is told where it is read
                type_ = _FINDING_TYPES.get(thing.name.partition("/")[0], "foreign")
                self._report(type_, thing.name, f"it is {thing.what}, which no run makes there")

    def _subtract(self, unmatched: CounterOf[bytes], file: DataFile) -> None:
        for line in split_lines(decompress_gzip(self._store.chunks(file.path), file.content_bytes)):
            digest = _short_digest(line)
            if digest in unmatched:
                unmatched[digest] -= 1
                if not unmatched[digest]:
                    del unmatched[digest]


def verify_data_file(
    file: DataFile, read_chunks: Callable[[], Iterator[bytes]], lines: CanonicalLines
) -> Optional[Finding]:
    """What is wrong with a data file, of which ``ask`` gives the stored bytes; None when nothing is.

    :raises ObjectNotFound: it is absent.
    """
    content = _FileContent(file, lines)
    stored = _StoredBytes(file)
    try:
        damage = content.read(stored.hash_chunks(read_chunks()))
    except ObjectNotFound:
        raise
    except StorageError as exc:
        return Finding("unreadable", file.path, exc.message)
    if stored.is_appended:
        return Finding("appended", file.path, "bytes follow those that were committed")
    if not stored.is_same:
        return Finding("altered", file.path, "its bytes are not those that were committed")
    return Finding("content", file.path, damage) if damage else None


def _truncate(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The same findings; of each type the first ones, and then how many more."""
    counts: CounterOf[str] = Counter()
    for finding in findings:
        counts[finding.type] += 1
        if counts[finding.type] <= MAX_LISTED:
            yield finding
    for type_, count in counts.items():
        if count > MAX_LISTED:
            yield Finding(type_, "", f"and {count - MAX_LISTED} more")


class _StoredBytes:
    """The bytes of a data file as they are stored, hashed while they pass."""

    def __init__(self, file: DataFile) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._prefix: Optional[str] = None
        self.bytes = 0

    def hash_chunks(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            room = self._file.bytes - self.bytes
            if 0 <= room < len(chunk):
                head = self._digest.copy()
                head.update(chunk[:room])
                self._prefix = head.hexdigest()
            self._digest.update(chunk)
            self.bytes += len(chunk)
            yield chunk
            if self.bytes > self._file.bytes:
                return  # known to be another file, however much follows

    @property
    def is_same(self) -> bool:
        return self.bytes == self._file.bytes and self._digest.hexdigest() == self._file.sha256

    @property
    def is_appended(self) -> bool:
        return self._prefix == self._file.sha256


class _FileContent:
    """What a data file holds, compared with what its commit says of it."""

    def __init__(self, file: DataFile, lines: CanonicalLines) -> None:
        self._file = file
        self._lines = lines
        self._day = _day(file)
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._entries = 0
        self._first: Optional[datetime] = None
        self._last: Optional[datetime] = None
        self._slices = _Slices(file)

    def read(self, chunks: Iterator[bytes]) -> Optional[str]:
        """What is wrong with it, None when nothing is; takes all the chunks in any case."""
        try:
            for block in complete_lines(decompress_gzip(chunks, self._file.content_bytes)):
                self._add_block(block)
            return self._difference()
        except Malformed as exc:
            for _rest in chunks:
                pass
            return str(exc)

    def _add_block(self, block: bytes) -> None:
        self._digest.update(block)
        self._slices.add_block(block)
        self._bytes += len(block)
        try:
            span = self._lines.span(block)
        except ValueError as exc:
            raise Malformed(str(exc)) from exc
        self._entries += span.entries
        if span.undated and self._day != UNDATED_DAY:
            raise Malformed("it holds an entry without a readable timestamp")
        if span.first and span.last:
            self._add_times(span.first, span.last)

    def _add_times(self, first: datetime, last: datetime) -> None:
        if not utc_day(first) == utc_day(last) == self._day:
            raise Malformed("it holds an entry of another day")
        self._first = first if self._first is None else min(self._first, first)
        self._last = last if self._last is None else max(self._last, last)

    def _difference(self) -> Optional[str]:
        file = self._file
        if (self._bytes, self._digest.hexdigest()) != (file.content_bytes, file.content_sha256):
            return "its content is not the one its commit describes"
        if (self._entries, self._first, self._last) != (file.entries, file.first, file.last):
            return "it holds another number of entries, or of other times, than its commit says"
        return self._slices.difference()


class _Slices:
    """The slices of a compacted file, each hashed again."""

    def __init__(self, file: DataFile) -> None:
        self._expected = [(part.content_sha256, part.content_bytes, part.entries) for part in file.parts]
        self._found: List[Tuple[str, int, int]] = []
        self._restart()

    def _restart(self) -> None:
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._entries = 0

    def add_block(self, block: bytes) -> None:
        for line in split_lines([block]) if self._expected else ():
            self._digest.update(line)
            self._bytes += len(line)
            self._entries += 1
            done = len(self._found)
            if done < len(self._expected) and self._entries == self._expected[done][2]:
                self._found.append((self._digest.hexdigest(), self._bytes, self._entries))
                self._restart()

    def difference(self) -> Optional[str]:
        if self._found == self._expected and not self._entries:
            return None
        return "its slices are not the files it was compacted from"


def _day(file: DataFile) -> str:
    name = parse_data_file_name(file.path)
    return name.day if name else ""


def _short_digest(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()[:16]
