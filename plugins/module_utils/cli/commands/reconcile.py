# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the archive with what the provider still has."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, List, Optional

from ...counts import pluralize
from ..archive import archive_from_options, store_from_options
from ..connection import add_connection, with_token
from ..exit_status import FINDINGS, GAP, OK
from ..metrics import add_metrics, findings_samples, measure
from ..output import add_json, print_findings, print_json, print_line, when
from ..selection import add_range, range_from_options
from ..time_zone import add_time_zone, zone_from_options

if TYPE_CHECKING:
    from ...archive.finding import Finding

ABOUT = "read the log again by time, and compare the archive with it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_connection(parser)
    add_range(parser)
    add_time_zone(parser)
    add_metrics(parser)


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    from ...archive.reconciler import reconcile

    time_range, zone = range_from_options(options), zone_from_options(options)
    problems: Optional[List[Finding]] = None
    with measure("reconcile", options.metrics, str(store_from_options(options)), state=options.state) as measurement:
        measurement.samples = lambda: findings_samples("reconcile", problems)
        store = archive_from_options(options)
        told = with_token(options, stop, lambda api: reconcile(store, api, time_range, on_head=measurement.note_head))
        problems = [finding for finding in told.findings if not finding.is_warning]
        # A comparison of nothing says nothing.
        compared = told.start is not None
        measurement.end(FINDINGS if problems else OK if compared else GAP, compared and not problems)
    if options.json:
        findings = [finding.to_json() for finding in told.findings]
        same = not problems if problems or compared else None
        print_json({"same": same, "compared": told.to_json(), "findings": findings})
    else:
        print_findings(told.findings)
        if told.start:
            count = pluralize(told.entries, "entry", "entries")
            result = "they differ" if problems else "the archive has what the provider has"
            print_line(f"Compared {count} from {when(told.start, zone)} to {when(told.end, zone)}: {result}.")
    return measurement.status
