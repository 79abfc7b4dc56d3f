# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies that the archive, or an evidence package, is intact."""

from __future__ import annotations

import argparse
import threading
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, List, Optional

from ...archive.chain.status import Status
from ...archive.format.commit import Head
from ...counts import pluralize
from ...times import parse_duration, utc_now
from ..archive import check_exists, is_package, store_from_options
from ..exit_status import FINDINGS, NOT_CURRENT, OK
from ..heads import print_heads
from ..metrics import add_metrics, findings_samples, measure
from ..output import add_json, format_moment, print_findings, print_gaps, print_json, print_line, time_since
from ..signals import end_on_signal
from ..signing import parse_head
from ..time_zone import add_time_zone, zone_from_options
from ..timestamps import add_timestamp_ca, authorities_from_options, print_timestamps

if TYPE_CHECKING:
    from ...archive.finding import Finding

ABOUT = "verify that the archive, or an evidence package, is intact; needs no token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_time_zone(parser)
    parser.add_argument(
        "--expected-head",
        type=parse_head,
        metavar="SEQUENCE:SHA256",
        help="a head noted earlier, which the archive must contain",
    )
    parser.add_argument(
        "--allowed-signers",
        metavar="FILE",
        help="path to a file with the keys that must have signed the archive, in the allowed signers format of "
        "ssh-keygen",
    )
    parser.add_argument(
        "--heads",
        metavar="FILE",
        help="path to a file with heads noted elsewhere, one JSON object per line, which the archive must contain",
    )
    add_timestamp_ca(parser)
    parser.add_argument(
        "--signed-from",
        type=int,
        metavar="SEQUENCE",
        help="first commit that must be signed, as must all later ones",
    )
    parser.add_argument(
        "--every-signature", action="store_true", help="check all signatures instead of only the newest one"
    )
    parser.add_argument(
        "--max-lag",
        metavar="DURATION",
        help="maximum age of the time until which the archive covers the log, such as 15m, 1h or 2d; exit with status "
        "6 if it is older (default: no limit)",
    )
    add_metrics(parser)


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_on_signal()
    if is_package(options.path):
        from ..package import verify_package  # few runs need it

        return verify_package(options)
    from ...archive.chain.signing import AllowedSigners
    from ...archive.chain.status import status_or_none
    from ...archive.finding import errors
    from ...archive.heads import check_heads, read_heads
    from ...archive.verification_json import verification_to_json
    from ...archive.verifier import verify_archive

    zone = zone_from_options(options)
    max_lag = parse_duration(options.max_lag, "--max-lag") if options.max_lag is not None else None
    problems: Optional[List[Finding]] = None
    store = store_from_options(options)
    with measure("verify", options.metrics, str(store), state=options.state) as measurement:
        measurement.samples = lambda: findings_samples("verify", problems)
        signers = AllowedSigners(options.allowed_signers) if options.allowed_signers else None
        authorities = authorities_from_options(options)
        noted = read_heads(options.heads) if options.heads else None
        check_exists(store)
        # Read the status first: commits and signatures that a collector adds during the run are not verified.
        before = status_or_none(store, utc_now())
        measurement.project = before.project.name if before else ""
        found = verify_archive(
            store,
            options.expected_head,
            signers,
            options.signed_from,
            options.every_signature,
            authorities=authorities,
        )
        heads = check_heads(store, noted) if noted is not None and before and before.head else None
        findings = [*found.findings, *(heads.findings if heads else ())]
        problems = errors(findings)
        current = None if max_lag is None else is_within(before, max_lag)
        verdict = FINDINGS if problems else NOT_CURRENT if current is False else OK
        measurement.end(verdict, not problems)
    if options.json:
        print_json(verification_to_json(found, before, heads, bool(signers), options.every_signature, current))
        return measurement.status
    print_findings(findings)
    if problems:
        count = pluralize(len(problems), "finding", "findings")
        print_line(f"Not intact: {count}. Keep {options.path} unchanged, and compare it with a copy.")
        return measurement.status
    if before is None or before.head is None:
        print_line("The archive has no commit yet; run collect again.")
    else:
        _print_intact(before, before.head, zone)
    if found.signed_up_to:
        signer = "by an allowed signer" if signers else "by an unknown key; pass --allowed-signers"
        checked = "all signatures were" if options.every_signature else "only its signature was"
        print_line(f"Signed from commit {found.signed_from} on.")
        print_line(f"Commit {found.signed_up_to} is signed {signer}; {checked} checked.")
    if found.timestamps:
        print_timestamps(found.timestamps)
    if heads:
        print_heads(heads)
    if before and current is False:
        reached = f"{format_moment(before.covered_until, zone)}, {time_since(before.covered_until)}"
        print_line(f"Not current: the archive covers the log until {reached}; --max-lag allows {options.max_lag}.")
    return measurement.status


def is_within(status: Optional[Status], max_lag: timedelta) -> bool:
    """True if an archive covers the log until at most ``max_lag`` ago."""
    return status is not None and status.covered_until is not None and utc_now() - status.covered_until <= max_lag


def _print_intact(found: Status, newest: Head, zone: tzinfo) -> None:
    gaps = f"with {pluralize(len(found.gaps), 'gap', 'gaps')} on record" if found.gaps else "without a gap"
    print_line(
        f"Intact: {pluralize(found.entries, 'entry', 'entries')} in {pluralize(found.commits, 'commit', 'commits')}, "
        f"covering {format_moment(found.covered_from, zone)} to {format_moment(found.covered_until, zone)} {gaps}"
        f"{'; older days were pruned' if found.pruned_until else ''}."
    )
    print_gaps(found.gaps, zone)
    print_line(f"Head: {newest.sequence}:{newest.sha256}, of archive {found.archive_id}")
