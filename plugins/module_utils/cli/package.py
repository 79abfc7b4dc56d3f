# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies an evidence package, and prints the result."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Dict, Optional

from ..archive.chain.signing import AllowedSigners
from ..archive.finding import errors
from ..archive.heads import head_line, read_heads
from ..archive.package_check import ArchiveCheck, Options, PackageCheck, check_package
from ..archive.package_page import describe_missing
from ..counts import pluralize
from ..errors import InvalidInput
from .exit_status import FINDINGS, OK
from .heads import print_heads
from .output import print_findings, print_json, print_line
from .timestamps import authorities_from_options, print_timestamps

if TYPE_CHECKING:
    from ..archive.chain.chain import StoredCommit


def verify_package(options: argparse.Namespace) -> int:
    """Verify the package at ``options.path``, and return the exit status."""
    for name in ("max_lag", "metrics"):
        if getattr(options, name) is not None:
            raise InvalidInput(f"--{name.replace('_', '-')} applies to archives, not to evidence packages; remove it.")
    signers = AllowedSigners(options.allowed_signers) if options.allowed_signers else None
    noted = read_heads(options.heads) if options.heads else None
    authorities = authorities_from_options(options)
    check_options = Options(
        options.expected_head, signers, options.signed_from, options.every_signature, noted, authorities
    )
    found = check_package(options.path, check_options)
    problems = errors(found.findings)
    if options.json:
        print_json(_to_json(found, check_options))
        return FINDINGS if problems else OK
    print_findings(found.findings)
    if problems:
        count = pluralize(len(problems), "finding", "findings")
        print_line(f"Not intact: {count}. Keep {options.path} unchanged, and ask its author for another copy.")
        return FINDINGS
    archives, size = pluralize(len(found.archives), "archive", "archives"), pluralize(found.bytes, "byte", "bytes")
    print_line(f"Intact: evidence of {archives}, {size}.")
    for archive in found.archives:
        _print_archive(archive, check_options)
    if not found.is_page_checked:
        print_line("The package was made by another version, so its README.txt was not checked.")
    print_line(f"SHA-256: {found.sha256}")
    return OK


def _print_archive(archive: ArchiveCheck, check_options: Options) -> None:
    facts = archive.facts
    name, time_range, days = archive.directory, facts["range"], facts["day_files"]
    others = days["live"] - days["packed"]
    print_line(
        f"{name}: {pluralize(facts['entries'], 'entry', 'entries')} from {time_range['start'] or 'the beginning'} to "
        f"{time_range['end'] or 'the end'}, in {pluralize(days['packed'], 'data file', 'data files')}."
    )
    if others:
        files = pluralize(others, "data file of other days is", "data files of other days are")
        print_line(f"{name}: {files} not in the package and could not be checked.")
    if facts["missing"]:
        print_line(f"{name}: {describe_missing(facts['missing'])}")
    if archive.head is not None:
        print_line(f"{name}: {head_line(archive.head)}")
        print_line(f"{name}: {_signature_sentence(archive, check_options)}")
    if archive.heads:
        print_heads(archive.heads)
    if archive.examination.timestamps:
        print_timestamps(archive.examination.timestamps)


def _signature_sentence(archive: ArchiveCheck, check_options: Options) -> str:
    """The signature of the newest commit, in one sentence."""
    up_to = archive.examination.signed_up_to
    if up_to is None:
        return "No commit is signed; compare the head with a head that was noted elsewhere."
    if check_options.signers:
        return f"Commit {up_to} is signed by an allowed signer."
    in_package = " The allowed signers in the package prove nothing by themselves." if archive.has_signers else ""
    return f"Commit {up_to} is signed by an unknown key; pass --allowed-signers.{in_package}"


def _to_json(found: PackageCheck, check_options: Options) -> Dict[str, Any]:
    return {
        "intact": not errors(found.findings),
        "findings": [finding.to_json() for finding in found.findings],
        "package": {"sha256": found.sha256, "bytes": found.bytes, "page_checked": found.is_page_checked},
        "archives": [_archive_to_json(archive, check_options) for archive in found.archives],
    }


def _archive_to_json(archive: ArchiveCheck, check_options: Options) -> Dict[str, Any]:
    examination, facts = archive.examination, archive.facts
    is_signed = bool(examination.signed_up_to)
    names = ("entries", "range", "complete", "missing", "day_files", "as_of", "exported_by")
    return {
        "directory": archive.directory,
        **{name: facts.get(name) for name in names},
        "project": archive.head.commit.project._asdict() if archive.head else None,
        "head": _head(archive.head),
        "heads": archive.heads.to_json() if archive.heads else None,
        "signed_from": examination.signed_from,
        "signed_up_to": examination.signed_up_to,
        "signer_allowed": bool(check_options.signers) if is_signed else None,
        "every_signature": check_options.every_signature if is_signed else None,
        "timestamps": examination.timestamps.to_json() if examination.timestamps else None,
    }


def _head(stored: Optional[StoredCommit]) -> Optional[Dict[str, Any]]:
    return {"archive_id": stored.commit.archive_id, **stored.head._asdict()} if stored else None
