# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creates an evidence package: one zip file with the entries of a range and everything needed to check them.

The same archives and range give the same bytes on one host with one version. The only time in a package is that of each
archive's newest commit.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

from ..errors import ArchiveDamaged, InvalidInput, StorageError
from ..files import check_destination, content_sha256, draft_file, move_into_place
from ..settings import Range
from ..times import utc_now
from .chain.chain import StoredCommit, walk_forward
from .chain.rules import ChainState
from .chain.signing import AllowedSigners, checked_head, signature_name
from .chain.timestamp import parse_timestamp_name, read_timestamp_file
from .completeness import MissingRange
from .finding import Finding, errors
from .format.commit import Head
from .package_layout import (
    FACTS,
    HEADS,
    LINES,
    MANIFEST,
    MAX_DOCUMENT,
    README,
    SIGNERS,
    TABLE,
    VERIFICATION,
    ExtractFiles,
    PackedRange,
    document,
    extract,
    manifest_line,
    packed_range_of,
)
from .package_page import PageSection, page
from .reader import bytes_of, read_files
from .storage.prefetch import prefetch_chunks
from .storage.store import InvalidObject, ObjectNotFound, Store, archive_not_found, join_chunks
from .storage.zip_file import Spool, ZipWriter
from .verification_json import verification_to_json
from .verifier import verify_archive

MAX_SMALL = 1 << 20
"""Maximum size of a signature in bytes."""


class Source(NamedTuple):
    """An archive to pack, and the path of its file of allowed signers, if there is one."""

    store: Store
    allowed_signers: Optional[str] = None


class PackedArchive(NamedTuple):
    """A packed archive: ``facts`` is the content of its ``extract.json``, ``problems`` are its error findings."""

    directory: str
    facts: Dict[str, Any]
    missing: Sequence[MissingRange]
    problems: Sequence[Finding]


class Package(NamedTuple):
    """A package that was created."""

    sha256: str
    bytes: int
    archives: Sequence[PackedArchive]


def make_package(sources: Sequence[Source], dest: str, time_range: Range, now: Optional[datetime] = None) -> Package:
    """Pack the entries of a range from one or more archives, with their evidence, into the zip file ``dest``.

    The file appears complete or not at all. ``now`` is the time of the verification; it is not stored in the package.

    :raises InvalidInput: ``dest`` is not a valid path, an archive is named twice, or signers cannot be read.
    :raises StorageError: an archive cannot be read or has no commit, or the file cannot be written.
    :raises ArchiveDamaged: an archive's chain, or a data file of the range, is damaged.
    """
    check_destination(dest, "--dest")
    seen: List[Head] = []
    while True:
        heads = [_head_of(source.store) for source in sources]
        try:
            with draft_file(dest, "--dest") as draft:
                archives = _pack(sources, heads, ZipWriter(draft, dest), time_range, now or utc_now())
                package = Package(content_sha256(draft), os.path.getsize(draft), archives)
                move_into_place(draft, dest)
                return package
        except (ObjectNotFound, _ArchiveChanged) as exc:
            # Another run might have added, compacted or pruned in the meantime; then there is a newer head.
            if seen == [head.head for head in heads]:
                raise ArchiveDamaged(f"{exc.message[:-1]}: it is missing; verify the archive.") from exc
            seen = [head.head for head in heads]


class _ArchiveChanged(StorageError):
    """An archive got a newer commit while it was packed."""


def _head_of(store: Store) -> StoredCommit:
    head = checked_head(store)
    if head is None:
        raise archive_not_found(store)
    return head


def _pack(
    sources: Sequence[Source], heads: Sequence[StoredCommit], zip_file: ZipWriter, time_range: Range, now: datetime
) -> List[PackedArchive]:
    with zip_file as writer, _temporary_directory() as directory_path:
        _check_distinct(sources, heads)
        prepared = [
            _PreparedArchive(source, head, time_range, now, os.path.join(directory_path, str(number)))
            for number, (source, head) in enumerate(zip(sources, heads))
        ]
        # Members of a package are sorted by name.
        prepared.sort(key=lambda one: f"{one.directory}/")
        writer.add_bytes(README, page([one.page_section for one in prepared]))
        writer.add_bytes(HEADS, b"".join(one.packed.head_line() for one in prepared))
        for one in prepared:
            one.write(writer)
        lines = (manifest_line(name, digest) for name, digest in sorted(writer.digests.items()))
        writer.add_bytes(MANIFEST, b"".join(lines))
        return [PackedArchive(one.directory, one.facts, one.packed.missing, one.problems) for one in prepared]


def _check_distinct(sources: Sequence[Source], heads: Sequence[StoredCommit]) -> None:
    seen: Dict[str, Store] = {}
    for source, head in zip(sources, heads):
        other = seen.get(head.commit.archive_id)
        if other is not None:
            raise InvalidInput(f"{other} and {source.store} are the same archive; name it once.")
        seen[head.commit.archive_id] = source.store


@contextmanager
def _temporary_directory() -> Iterator[str]:
    try:
        directory = tempfile.TemporaryDirectory(prefix="cloudscale-audit-")
    except OSError as exc:
        raise _unwritable(exc) from exc
    with directory as path:
        yield path


def _unwritable(exc: OSError) -> StorageError:
    return StorageError(
        f"Cannot write a temporary file: {exc.strerror or exc}; set TMPDIR to a directory with more space."
    )


class _PreparedArchive:
    """One archive that was read and verified, with its extract in temporary files."""

    def __init__(self, source: Source, head: StoredCommit, time_range: Range, now: datetime, spool: str) -> None:
        store = source.store
        self._store = store
        self.path = str(store)
        self.head = head
        # Listed before the commits, because a time stamp is made after its commit.
        self._timestamps = _timestamps(store)
        self._signatures: List[str] = []
        self.packed = self._read_chain(time_range)
        self.directory = self.packed.directory
        self._signers = _bytes_of_file(source.allowed_signers) if source.allowed_signers else None
        self._extracted = self._extract(spool)
        signers = AllowedSigners(source.allowed_signers) if source.allowed_signers else None
        found = verify_archive(store, signers=signers, now=now)
        if store.list_commits(after=head.commit.sequence):
            raise _ArchiveChanged(f"{head.commit.name} in {store} is no longer the newest commit.")
        self.problems = errors(found.findings)
        self._verification = verification_to_json(found, self.packed.status, with_signers=signers is not None)
        self.facts = self.packed.facts(self._extracted)
        self.page_section = PageSection(
            self.directory, self.facts, self.packed.head_line(), bool(self._signatures), bool(self._timestamps)
        )

    def _read_chain(self, time_range: Range) -> PackedRange:
        state = ChainState()
        for stored in walk_forward(self._store, state, None, self.head):
            if stored.commit.signer is not None:
                self._signatures.append(signature_name(stored.head, stored.commit.signer))
        return packed_range_of(self._store, self.path, self.head, state.live, time_range)

    def _extract(self, spool: str) -> ExtractFiles:
        time_range = self.packed.time_range
        try:
            entries = read_files(self._store, self.packed.files, time_range.start, time_range.end)
            with closing(Spool(f"{spool}.lines")) as lines, closing(Spool(f"{spool}.table")) as table:
                return extract(entries, lines, table)
        except OSError as exc:
            raise _unwritable(exc) from exc

    def write(self, writer: ZipWriter) -> None:
        """Add the archive's members, in the order of their names."""
        prefix = f"{self.directory}/"
        if self._signers is not None:
            writer.add_bytes(prefix + SIGNERS, self._signers)
        for stored in walk_forward(self._store, ChainState(), None, self.head):
            writer.add_bytes(prefix + stored.commit.name, stored.body)
        for file in self.packed.files:
            writer.add(prefix + file.path, bytes_of(self._store, file), file.bytes, deflate=False)
        writer.add_spool(prefix + TABLE, self._extracted.table)
        writer.add_bytes(prefix + FACTS, document(self.facts))
        writer.add_spool(prefix + LINES, self._extracted.lines)
        self._add_signatures(writer)
        for name, body in sorted(self._timestamps.items()):
            writer.add_bytes(prefix + name, body)
        writer.add_bytes(prefix + VERIFICATION, document(self._verification))

    def _add_signatures(self, writer: ZipWriter) -> None:
        """Add the signatures of the commits. The verification reports a missing or invalid signature."""
        for read_chunks, name in zip(prefetch_chunks(self._store, self._signatures), self._signatures):
            with suppress(ObjectNotFound, InvalidObject):
                writer.add_bytes(
                    f"{self.directory}/{name}", join_chunks(read_chunks(), f"{name} in {self._store}", MAX_SMALL)
                )


def _timestamps(store: Store) -> Dict[str, bytes]:
    """Return the files with time stamps; other objects are skipped."""
    found: Dict[str, bytes] = {}
    with suppress(InvalidObject):
        for name in filter(parse_timestamp_name, store.list_files("timestamps")):
            with suppress(InvalidObject, ObjectNotFound):
                found[name] = read_timestamp_file(store, name)
    return found


def _bytes_of_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return join_chunks(iter(lambda: file.read(1 << 16), b""), path, MAX_DOCUMENT)
    except OSError as exc:
        raise InvalidInput(
            f"Cannot read the allowed signers in {path}: {exc.strerror or exc}; check the path."
        ) from exc
