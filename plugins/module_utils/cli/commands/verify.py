# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proves that the archive is whole."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, List, Optional

from ...archive.chain.status import Status
from ...archive.format.commit import Head
from ...archive.storage.open import existing_archive
from ...times import utc_now
from ..exit_status import FINDINGS, FINE
from ..metrics import add_metrics, findings_samples, measured
from ..output import add_json, number, print_json, say, tell_findings, tell_gaps, when
from ..signals import end_at_once

if TYPE_CHECKING:
    from ...archive.finding import Finding

ABOUT = "prove that the archive is whole; needs no token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    parser.add_argument(
        "--expected-head", type=_head, metavar="SEQUENCE:SHA256", help="a head noted earlier, which must still be there"
    )
    parser.add_argument(
        "--allowed-signers", metavar="FILE", help="one of these must have signed it; the format is that of ssh-keygen"
    )
    add_metrics(parser)


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_at_once()
    from ...archive.chain.signing import AllowedSigners
    from ...archive.chain.status import standing
    from ...archive.verifier import signed_up_to, verify

    problems: Optional[List[Finding]] = None
    with measured("verify", options, lambda _commit: findings_samples("verify", problems)) as measurement:
        signers = AllowedSigners(options.allowed_signers) if options.allowed_signers else None
        store = existing_archive(options.path)
        # Before the rest: what a collector at work adds or signs meanwhile is not verified.
        before = standing(store, utc_now())
        signed = signed_up_to(store, signers) if signers else None
        findings = verify(store, options.expected_head, signers)
        problems = [finding for finding in findings if not finding.is_warning]
        measurement.status, measurement.succeeded = FINDINGS if problems else FINE, not problems
    if options.json:
        told = [finding._asdict() for finding in findings]
        print_json({"sound": not problems, "findings": told, "signed_up_to": signed})
        return measurement.status
    tell_findings(findings)
    if problems:
        found = number(len(problems), "finding", "findings")
        say(f"Not sound: {found}. Keep {options.path} as it is, and compare it with a copy.")
        return measurement.status
    if before:
        _tell_sound(before)
    if signed:
        say(f"Signed up to commit {signed} by an allowed signer.")
    return measurement.status


def _tell_sound(found: Status) -> None:
    if found.head is None:
        return
    gaps = f"with {number(len(found.gaps), 'gap', 'gaps')} on record" if found.gaps else "without a gap"
    say(
        f"Sound: {number(found.added, 'entry', 'entries')} in {number(found.commits, 'commit', 'commits')}, "
        f"covering {when(found.covered_from)} to {when(found.covered_until)} {gaps}"
        f"{'; older days were pruned' if found.pruned_until else ''}."
    )
    tell_gaps(found.gaps)
    say(f"Head: {found.head.sequence}:{found.head.sha256}")


def _head(text: str) -> Head:
    sequence, _colon, digest = text.partition(":")
    if not sequence.isdigit() or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"{text!r} is no head; it looks like 42:SHA256 and is told by status")
    return Head(int(sequence), digest)
