# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies an evidence package, which anybody may have made or changed. Nothing is unpacked onto a disk.

A file that is not laid out as a package, or whose manifest does not fit, is refused. Then each archive in it is
verified as archives are, but with the data files of the range alone, and the extract is made again from these.
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
from .finding import Finding
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
    PROTOCOL,
    README,
    SIGNERS,
    TABLE,
    PackedRange,
    document,
    extract,
    manifest_line,
    packed_range_of,
    parse_member,
)
from .package_page import PageSection, page
from .protocol import errors
from .reader import read_files
from .storage.store import join_chunks
from .storage.zip_file import Spool, ZipReader
from .storage.zip_store import ZipStore
from .verifier import VerificationResult, verify_archive

_MAX_TEXT = 4096
_MADE_BY = re.compile(r"cloudscale-audit [0-9A-Za-z.+-]{1,60}", re.ASCII)


class Options(NamedTuple):
    """What the caller knows from elsewhere, and how much is checked."""

    expected_head: Optional[Head] = None
    signers: Optional[AllowedSigners] = None
    signed_from: Optional[int] = None
    every_signature: bool = False
    noted: Optional[Sequence[NotedHead]] = None
    authorities: Optional[Authorities] = None


class ArchiveCheck(NamedTuple):
    """What was found about one archive of a package.

    ``head`` is None if its newest commit cannot be read. ``facts`` are those of ``extract.json``; they are empty if
    they cannot be read. ``has_signers``: there is a list of allowed signers in the package, which proves nothing.
    """

    directory: str
    facts: Dict[str, Any]
    head: Optional[StoredCommit]
    examination: VerificationResult
    heads: Optional[HeadsCheck]
    findings: List[Finding]
    has_signers: bool


class PackageCheck(NamedTuple):
    """What was found about a package. ``is_page_checked``: the same version made it, so its page could be compared."""

    sha256: str
    bytes: int
    archives: List[ArchiveCheck]
    findings: List[Finding]
    is_page_checked: bool


def check_package(path: str, options: Options, now: Optional[datetime] = None) -> PackageCheck:
    """Find everything that is wrong with a package.

    Findings are those of :func:`examine`, and ``extract`` (it is not what the data files hold of the range),
    ``protocol`` (the maker's verification does not fit, or had findings) and ``page`` (it is not the page of this
    package).

    :raises StorageError: the file cannot be read.
    :raises InvalidInput: options cannot be used with a package of several archives, or ssh-keygen is missing.
    :raises ArchiveDamaged: the file is refused.
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
        subjects = [check.subject for check in checks if check.subject is not None]
        findings = [finding for archive in archives for finding in archive.findings]
        if len(subjects) == len(archives):
            findings.extend(_check_heads_file(package, subjects))
        described = [check.described for check in checks if check.described is not None]
        same = all(archive.facts.get("exported_by") == MADE_BY for archive in archives)
        if len(described) == len(archives) and same:
            findings.extend(_check_page(package, described))
        return PackageCheck(package.sha256(), package.size, archives, findings, same)


def _directories(package: ZipReader) -> Dict[str, List[str]]:
    """The archives' directories and the names in each; refuses members that no package has, or in another order."""
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
        for name in (FACTS, LINES, TABLE, PROTOCOL, commit_name(1)):
            if f"{directory}/{name}" not in package:
                raise package.refused(f"{directory}/{name} is missing in it")
    if not found:
        raise package.refused("there is no archive in it")
    return found


def _check_manifest(package: ZipReader) -> Dict[str, str]:
    """The SHA-256 of each member; refuses a manifest that is not exactly of these."""
    digests = {}
    for name in package.names[:-1]:
        content = hashlib.sha256()
        for chunk in package.chunks(name):
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
    """Why a line of the manifest is not the one of a member."""
    digest, _spaces, listed = line.decode("ascii", "replace").rstrip("\n").partition("  ")
    if listed == name:
        return f"{name} has other bytes than {MANIFEST} says ({digest!a:.80})"
    if listed > name or not line:
        return f"{name} is not in {MANIFEST}"
    if listed in digests:
        return f"{MANIFEST} is not sorted or has a line twice"
    return f"{listed!a:.120} is in {MANIFEST}, but not in the package"


def _lines(package: ZipReader, name: str) -> Iterator[bytes]:
    """The lines of a member, each with its newline; one that is too long is cut."""
    rest = b""
    for chunk in package.chunks(name):
        *complete, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in complete)
        if len(rest) > _MAX_TEXT:
            break
    if rest:
        yield rest


def _check_heads_file(package: ZipReader, subjects: Sequence[PackedRange]) -> Iterator[Finding]:
    lines = list(_lines(package, HEADS))
    if lines != [subject.head_line() for subject in subjects]:
        yield Finding("head", HEADS, "its lines are not the newest commits of the archives in the package")


def _check_page(package: ZipReader, described: Sequence[PageSection]) -> Iterator[Finding]:
    expected = page(described)
    found = join_chunks(package.chunks(README), README, MAX_DOCUMENT)
    if found != expected:
        yield Finding("page", README, "it is not the page of this package")


class _InvalidDocument(Exception):
    """What a document in a package says cannot be used; the text says why."""


class _ArchiveCheck:
    """Checks one archive of a package; ``subject`` and ``described`` are None if it cannot be read."""

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
        self._span: Optional[Range] = None
        self.subject: Optional[PackedRange] = None
        self.described: Optional[PageSection] = None

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
        if head is not None and self._span is not None:
            path = str(self._facts["archive"]["path"])
            self.subject = packed_range_of(self._store, path, head, live, self._span)
            self._check_subject(self.subject, found)
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
        return self._span is None or self._span.overlaps(file.first, file.last)

    def _add(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self._find(finding.type, finding.path, finding.detail)

    def _find(self, type_: str, name: str, detail: str) -> None:
        self._findings.append(Finding(type_, f"{self._directory}/{name}", detail))

    def _read_facts(self) -> None:
        try:
            facts = self._document(FACTS)
            self._span = _range_in(facts)
            self._facts = facts
        except _InvalidDocument as exc:
            self._find("extract", FACTS, str(exc))

    def _document(self, name: str) -> Dict[str, Any]:
        try:
            body = join_chunks(self._package.chunks(f"{self._directory}/{name}"), name, MAX_DOCUMENT)
            value = json.loads(body)
        except (StorageError, ValueError, RecursionError) as exc:
            raise _InvalidDocument("it is not a JSON document that can be read") from exc
        if not isinstance(value, dict):
            raise _InvalidDocument("it is not a JSON object of a package")
        return value

    def _replay_chain(self) -> Tuple[Optional[StoredCommit], Dict[str, DataFile]]:
        """The newest commit and the live files; none where the chain is broken, which is a finding already."""
        try:
            head, state = find_head(self._store), ChainState()
            for stored in walk_forward(self._store, state, None, head) if head else ():
                if stored.commit.signer is not None:
                    self._signatures.add(signature_name(stored.head, stored.commit.signer))
            return head, state.live
        except (ArchiveDamaged, StorageError) as exc:
            if not errors(self._findings):
                self._find("chain", "commits", exc.message)
            return None, {}

    def _check_subject(self, subject: PackedRange, found: VerificationResult) -> None:
        if subject.directory != self._directory:
            self._find("head", "commits", f"its newest commit is of {subject.directory}")
        known = self._signatures.union(file.path for file in subject.files)
        for name in (*self._store.names("entries"), *self._store.names("signatures")):
            if name not in known:
                self._find("extra", name, "it is neither of the range nor of a commit")
        if self._check_extract(subject):
            is_signed = found.signed_from is not None
            stamped = next(self._store.names("timestamps"), None) is not None
            self.described = PageSection(self._directory, self._facts, subject.head_line(), is_signed, stamped)
        self._check_protocol(subject, found)

    def _check_extract(self, subject: PackedRange) -> bool:
        """Make the extract again; whether what ``extract.json`` says is right."""
        span = subject.span
        try:
            made = extract(read_files(self._store, subject.files, span.start, span.end), Spool(), Spool())
        except (ArchiveDamaged, StorageError) as exc:
            if not errors(self._findings):
                self._find("extract", LINES, exc.message)
            return False
        for name, spool in ((LINES, made.lines), (TABLE, made.table)):
            if self._digests[f"{self._directory}/{name}"] != spool.sha256:
                self._find("extract", name, "it does not have exactly the entries of the range")
        expected = document(subject.facts(made, str(self._facts["exported_by"])))
        if self._digests[f"{self._directory}/{FACTS}"] != sha256(expected):
            self._find("extract", FACTS, "it says something else than the commits and the extract")
            return False
        return True

    def _check_protocol(self, subject: PackedRange, found: VerificationResult) -> None:
        try:
            protocol = self._document(PROTOCOL)
            problems = [one for one in protocol["findings"] if one["severity"] != "warning"]
            fits = protocol["intact"] is (not problems)
            fits = fits and protocol["status"] == subject.status.to_json()
            fits = fits and protocol["signed_from"] == found.signed_from
        except (_InvalidDocument, LookupError, TypeError, AttributeError, RecursionError) as exc:
            self._find("protocol", PROTOCOL, f"it cannot be used: {exc}")
            return
        if not fits:
            self._find("protocol", PROTOCOL, "it is not of this archive, or contradicts itself")
        elif problems:
            count = pluralize(len(problems), "finding", "findings")
            self._find("protocol", PROTOCOL, f"the archive had {count} when the package was made")


def _range_in(facts: Dict[str, Any]) -> Range:
    """The range of an extract, out of what ``extract.json`` says."""
    if facts.get("format") != FORMAT:
        raise _InvalidDocument(f"its format is not {FORMAT}")
    try:
        start, end = facts["range"]["start"], facts["range"]["end"]
        path, made_by = facts["archive"]["path"], facts["exported_by"]
    except (LookupError, TypeError) as exc:
        raise _InvalidDocument("it lacks the range or the archive") from exc
    if not isinstance(path, str) or not isinstance(made_by, str) or not _MADE_BY.fullmatch(made_by):
        raise _InvalidDocument("it does not say what made it")
    span = Range(parse_timestamp(start), parse_timestamp(end))
    if [format_optional(span.start), format_optional(span.end)] != [start, end]:
        raise _InvalidDocument("its range is not one of times in UTC")
    return span
