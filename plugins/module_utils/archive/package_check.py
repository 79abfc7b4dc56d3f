# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies an evidence package, which anybody could have made or changed. Nothing is unpacked to disk.

A file without the layout of a package, or with a wrong manifest, is refused. Each archive in the package is verified
like an archive, but only with the data files of the range, and the extract is made again from these files.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..counts import pluralize
from ..errors import ArchiveDamaged, InvalidInput, StorageError
from ..settings import Range
from ..times import format_optional, parse_timestamp
from .chain.chain import StoredCommit, find_head, walk_forward
from .chain.rules import ChainState
from .chain.signing import AllowedSigners, signature_name
from .chain.timestamp import Authorities
from .finding import Finding, errors
from .format.commit import DataFile, Head, commit_name, sha256
from .heads import HeadsCheck, NotedHead, check_heads
from .package_layout import (
    FACTS,
    FORMAT,
    HEADS,
    LINES,
    MADE_BY,
    MANIFEST,
    MAX_DOCUMENT,
    README,
    SIGNERS,
    TABLE,
    VERIFICATION,
    PackedRange,
    document,
    extract,
    manifest_line,
    packed_range_of,
    parse_member,
)
from .package_page import PageSection, page
from .reader import read_files
from .storage.store import join_chunks
from .storage.zip_file import Spool, ZipReader
from .storage.zip_store import ZipStore
from .verifier import VerificationResult, verify_archive

_MAX_TEXT = 4096
_MADE_BY = re.compile(r"cloudscale-audit [0-9A-Za-z.+-]{1,60}", re.ASCII)


class Options(NamedTuple):
    """Options of a check: what the caller knows from other sources, and how much is checked."""

    expected_head: Optional[Head] = None
    signers: Optional[AllowedSigners] = None
    signed_from: Optional[int] = None
    every_signature: bool = False
    noted: Optional[Sequence[NotedHead]] = None
    authorities: Optional[Authorities] = None


class ArchiveCheck(NamedTuple):
    """Result for one archive of a package.

    ``head`` is None if the newest commit cannot be read. ``facts`` is the content of ``extract.json``, empty if it
    cannot be read. ``has_signers`` is True if the package contains a list of allowed signers, which proves nothing.
    """

    directory: str
    facts: Dict[str, Any]
    head: Optional[StoredCommit]
    examination: VerificationResult
    heads: Optional[HeadsCheck]
    findings: List[Finding]
    has_signers: bool


class PackageCheck(NamedTuple):
    """Result for a package. ``is_page_checked`` is True if this version made it, so that its page was compared."""

    sha256: str
    bytes: int
    archives: List[ArchiveCheck]
    findings: List[Finding]
    is_page_checked: bool


def check_package(path: str, options: Options, now: Optional[datetime] = None) -> PackageCheck:
    """Find everything that is wrong with a package.

    Findings are those of :func:`verify_archive`, and ``extract`` (it differs from the entries of the range in the data
    files), ``verification`` (the maker's result does not match, or had findings) and ``page`` (it is not the page of
    this package).

    :raises StorageError: the file cannot be read.
    :raises InvalidInput: an option is not valid for a package of several archives, or ssh-keygen is missing.
    :raises ArchiveDamaged: the file is not a valid package.
    """
    with ZipReader(path) as package:
        directories = _directories(package)
        digests = _check_manifest(package)
        several = [name for name in ("expected_head", "signed_from") if getattr(options, name) is not None]
        if several and len(directories) > 1:
            raise InvalidInput(
                f"--{several[0].replace('_', '-')} is about one archive, and {path} has {len(directories)}; "
                "use --heads FILE."
            )
        checks = [
            _ArchiveCheck(package, directory, names, digests, options, now) for directory, names in directories.items()
        ]
        archives = [check.run() for check in checks]
        packed_ranges = [check.packed for check in checks if check.packed is not None]
        findings = [finding for archive in archives for finding in archive.findings]
        if len(packed_ranges) == len(archives):
            findings.extend(_check_heads_file(package, packed_ranges))
        sections = [check.page_section for check in checks if check.page_section is not None]
        is_same_version = all(archive.facts.get("exported_by") == MADE_BY for archive in archives)
        if len(sections) == len(archives) and is_same_version:
            findings.extend(_check_page(package, sections))
        return PackageCheck(package.sha256(), package.size, archives, findings, is_same_version)


def _directories(package: ZipReader) -> Dict[str, List[str]]:
    """Return the archives' directories and the names in each. Refuse unknown members and another order."""
    found: Dict[str, List[str]] = {}
    for name in package.names:
        member = parse_member(name)
        if member is None:
            raise package.refused(f"{name!a:.120} is a name that no package has")
        found.setdefault(member.directory, []).append(member.name)
    for name in (README, HEADS, MANIFEST):
        if name not in package:
            raise package.refused(f"{name} is missing in it")
    inner = package.names[2:-1]
    if package.names != [README, HEADS, *sorted(inner), MANIFEST]:
        raise package.refused("its members are not in the order of a package")
    del found[""]
    for directory in found:
        for name in (FACTS, LINES, TABLE, VERIFICATION, commit_name(1)):
            if f"{directory}/{name}" not in package:
                raise package.refused(f"{directory}/{name} is missing in it")
    if not found:
        raise package.refused("there is no archive in it")
    return found


def _check_manifest(package: ZipReader) -> Dict[str, str]:
    """Return the SHA-256 of each member. Refuse a manifest that differs from these."""
    digests = {}
    for name in package.names[:-1]:
        content = hashlib.sha256()
        for chunk in package.read(name):
            content.update(chunk)
        digests[name] = content.hexdigest()
    lines = _lines(package, MANIFEST)
    for name in sorted(digests):
        expected = manifest_line(name, digests[name])
        line = next(lines, b"")
        if line != expected:
            raise package.refused(_difference(line, name, digests))
    if next(lines, None) is not None:
        raise package.refused(f"{MANIFEST} has more lines than there are files")
    return digests


def _difference(line: bytes, name: str, digests: Dict[str, str]) -> str:
    """Describe why a line of the manifest is not the expected line for a member."""
    digest, _spaces, listed = line.decode("ascii", "replace").rstrip("\n").partition("  ")
    if listed == name:
        return f"{name} has other bytes than {MANIFEST} says ({digest!a:.80})"
    if listed > name or not line:
        return f"{name} is not in {MANIFEST}"
    if listed in digests:
        return f"{MANIFEST} is not sorted or has a line twice"
    return f"{listed!a:.120} is in {MANIFEST}, but not in the package"


def _lines(package: ZipReader, name: str) -> Iterator[bytes]:
    """Yield the lines of a member, each with its newline; a line that is too long is truncated."""
    rest = b""
    for chunk in package.read(name):
        *complete, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in complete)
        if len(rest) > _MAX_TEXT:
            break
    if rest:
        yield rest


def _check_heads_file(package: ZipReader, packed_ranges: Sequence[PackedRange]) -> Iterator[Finding]:
    lines = list(_lines(package, HEADS))
    if lines != [packed.head_line() for packed in packed_ranges]:
        yield Finding("head", HEADS, "its lines are not the newest commits of the archives in the package")


def _check_page(package: ZipReader, sections: Sequence[PageSection]) -> Iterator[Finding]:
    expected = page(sections)
    found = join_chunks(package.read(README), README, MAX_DOCUMENT)
    if found != expected:
        yield Finding("page", README, "it is not the page of this package")


class _InvalidDocument(Exception):
    """A document in a package is not valid; the text is the reason."""


class _ArchiveCheck:
    """Checks one archive of a package; ``packed`` and ``page_section`` are None if it cannot be read."""

    def __init__(
        self,
        package: ZipReader,
        directory: str,
        names: Sequence[str],
        digests: Dict[str, str],
        options: Options,
        now: Optional[datetime],
    ) -> None:
        self._package = package
        self._directory = directory
        self._digests = digests
        self._options = options
        self._now = now
        self._store = ZipStore(package, directory, names)
        self._signatures: Set[str] = set()
        self._findings: List[Finding] = []
        self._facts: Dict[str, Any] = {}
        self._time_range: Optional[Range] = None
        self.packed: Optional[PackedRange] = None
        self.page_section: Optional[PageSection] = None

    def run(self) -> ArchiveCheck:
        self._read_facts()
        options = self._options
        found = verify_archive(
            self._store,
            options.expected_head,
            options.signers,
            options.signed_from,
            options.every_signature,
            self._now,
            self._is_packed,
            options.authorities,
        )
        self._add(found.findings)
        head, live = self._replay_chain()
        heads = check_heads(self._store, options.noted) if options.noted is not None and head is not None else None
        self._add(heads.findings if heads else ())
        if head is not None and self._time_range is not None:
            path = str(self._facts["archive"]["path"])
            self.packed = packed_range_of(self._store, path, head, live, self._time_range)
            self._check_packed_range(self.packed, found)
        return ArchiveCheck(
            self._directory,
            self._facts,
            head,
            found,
            heads,
            self._findings,
            f"{self._directory}/{SIGNERS}" in self._package,
        )

    def _is_packed(self, file: DataFile) -> bool:
        return self._time_range is None or self._time_range.overlaps(file.first, file.last)

    def _add(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self._report(finding.type, finding.path, finding.detail)

    def _report(self, type_: str, name: str, detail: str) -> None:
        self._findings.append(Finding(type_, f"{self._directory}/{name}", detail))

    def _read_facts(self) -> None:
        try:
            facts = self._document(FACTS)
            self._time_range = _range_in(facts)
            self._facts = facts
        except _InvalidDocument as exc:
            self._report("extract", FACTS, str(exc))

    def _document(self, name: str) -> Dict[str, Any]:
        try:
            body = join_chunks(self._package.read(f"{self._directory}/{name}"), name, MAX_DOCUMENT)
            value = json.loads(body)
        except (StorageError, ValueError, RecursionError) as exc:
            raise _InvalidDocument("it is not a readable JSON document") from exc
        if not isinstance(value, dict):
            raise _InvalidDocument("it is not a JSON object of a package")
        return value

    def _replay_chain(self) -> Tuple[Optional[StoredCommit], Dict[str, DataFile]]:
        """Return the newest commit and the live files; nothing if the chain is broken, which is a finding already."""
        try:
            head, state = find_head(self._store), ChainState()
            for stored in walk_forward(self._store, state, None, head) if head else ():
                if stored.commit.signer is not None:
                    self._signatures.add(signature_name(stored.head, stored.commit.signer))
            return head, state.live
        except (ArchiveDamaged, StorageError) as exc:
            if not errors(self._findings):
                self._report("chain", "commits", exc.message)
            return None, {}

    def _check_packed_range(self, packed: PackedRange, found: VerificationResult) -> None:
        if packed.directory != self._directory:
            self._report("head", "commits", f"its newest commit is of {packed.directory}")
        known = self._signatures.union(file.path for file in packed.files)
        for name in (*self._store.list_files("entries"), *self._store.list_files("signatures")):
            if name not in known:
                self._report("extra", name, "it is neither of the range nor of a commit")
        if self._check_extract(packed):
            is_signed = found.signed_from is not None
            stamped = next(self._store.list_files("timestamps"), None) is not None
            self.page_section = PageSection(self._directory, self._facts, packed.head_line(), is_signed, stamped)
        self._check_verification(packed, found)

    def _check_extract(self, packed: PackedRange) -> bool:
        """Make the extract again and compare it. Return whether ``extract.json`` is correct."""
        time_range = packed.time_range
        try:
            made = extract(read_files(self._store, packed.files, time_range.start, time_range.end), Spool(), Spool())
        except (ArchiveDamaged, StorageError) as exc:
            if not errors(self._findings):
                self._report("extract", LINES, exc.message)
            return False
        for name, spool in ((LINES, made.lines), (TABLE, made.table)):
            if self._digests[f"{self._directory}/{name}"] != spool.sha256:
                self._report("extract", name, "it does not have exactly the entries of the range")
        expected = document(packed.facts(made, str(self._facts["exported_by"])))
        if self._digests[f"{self._directory}/{FACTS}"] != sha256(expected):
            self._report("extract", FACTS, "it differs from the commits and the extract")
            return False
        return True

    def _check_verification(self, packed: PackedRange, found: VerificationResult) -> None:
        try:
            verification = self._document(VERIFICATION)
            problems = [one for one in verification["findings"] if one["severity"] != "warning"]
            matches = verification["intact"] is (not problems)
            matches = matches and verification["status"] == packed.status.to_json()
            matches = matches and verification["signed_from"] == found.signed_from
        except (_InvalidDocument, LookupError, TypeError, AttributeError, RecursionError) as exc:
            self._report("verification", VERIFICATION, f"it cannot be used: {exc}")
            return
        if not matches:
            self._report("verification", VERIFICATION, "it is not of this archive, or contradicts itself")
        elif problems:
            count = pluralize(len(problems), "finding", "findings")
            self._report("verification", VERIFICATION, f"the archive had {count} when the package was made")


def _range_in(facts: Dict[str, Any]) -> Range:
    """Return the range of an extract from ``extract.json``."""
    if facts.get("format") != FORMAT:
        raise _InvalidDocument(f"its format is not {FORMAT}")
    try:
        start, end = facts["range"]["start"], facts["range"]["end"]
        path, made_by = facts["archive"]["path"], facts["exported_by"]
    except (LookupError, TypeError) as exc:
        raise _InvalidDocument("it lacks the range or the archive") from exc
    if not isinstance(path, str) or not isinstance(made_by, str) or not _MADE_BY.fullmatch(made_by):
        raise _InvalidDocument("it does not say what made it")
    time_range = Range(parse_timestamp(start), parse_timestamp(end))
    if [format_optional(time_range.start), format_optional(time_range.end)] != [start, end]:
        raise _InvalidDocument("its range is not in UTC")
    return time_range
