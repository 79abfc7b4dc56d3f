# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the archive with the entries that the provider still has."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, List, Optional

from ...archive.finding import errors
from ...counts import pluralize
from ..archive import check_exists, store_from_options
from ..connection import add_connection, with_token
from ..exit_status import FINDINGS, GAP, OK
from ..metrics import add_metrics, findings_samples, measure
from ..output import add_json, format_moment, print_findings, print_json, print_line
from ..selection import add_range, range_from_options
from ..time_zone import add_time_zone, zone_from_options

if TYPE_CHECKING:
    from ...archive.finding import Finding

ABOUT = "read the log again from the API, and compare the archive with it"


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
    store = store_from_options(options)
    with measure("reconcile", options.metrics, str(store), state=options.state) as measurement:
        measurement.samples = lambda: findings_samples("reconcile", problems)
        check_exists(store)
        done = with_token(options, stop, lambda api: reconcile(store, api, time_range, on_head=measurement.record_head))
        problems = errors(done.findings)
        # An empty comparison is not a success.
        compared = done.start is not None
        measurement.end(FINDINGS if problems else OK if compared else GAP, compared and not problems)
    if options.json:
        findings = [finding.to_json() for finding in done.findings]
        same = not problems if problems or compared else None
        print_json({"same": same, "compared": done.to_json(), "findings": findings})
    else:
        print_findings(done.findings)
        if done.start:
            count = pluralize(done.entries, "entry", "entries")
            start, end = format_moment(done.start, zone), format_moment(done.end, zone)
            result = "they differ" if problems else "the archive matches the API"
            print_line(f"Compared {count} from {start} to {end}: {result}.")
    return measurement.status
