# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applies detections to the archive, and prints the alerts."""

from __future__ import annotations

import argparse
import threading
from datetime import tzinfo
from typing import TYPE_CHECKING, Dict

from ...counts import pluralize
from ...project_log.entry import actor, to_printable
from ...times import utc_now
from ..archive import archive_from_options
from ..completeness import warn_of_missing_parts
from ..exit_status import FINDINGS, OK, worst
from ..output import add_json, format_moment, print_json, print_line
from ..selection import add_range, range_from_options
from ..signals import end_on_signal
from ..time_zone import add_time_zone, zone_from_options

if TYPE_CHECKING:
    from ...detections.search import SearchResult

ABOUT = "apply detections to the archive, and print the alerts; needs no token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_range(parser)
    add_time_zone(parser)
    parser.add_argument(
        "--config", metavar="FILE", help="path to a JSON file with detections and facts of the site (default: built-in)"
    )
    parser.add_argument(
        "--fail-on",
        metavar="SEVERITY",
        help="exit with status 1 for alerts of this severity or higher: info, low, medium, high or critical",
    )


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_on_signal()
    from ...detections.config import built_in_config, read_config
    from ...detections.detection import is_at_least, parse_severity
    from ...detections.search import missing_facts, search_archive

    fail_on = parse_severity(options.fail_on, "--fail-on") if options.fail_on else None
    config = read_config(options.config, "--config") if options.config else built_in_config()
    detections, facts = config.detections, config.facts
    time_range, zone = range_from_options(options), zone_from_options(options)
    found = search_archive(archive_from_options(options), time_range, detections, facts, utc_now())
    off = missing_facts(detections, facts)
    missing = [missing.part for missing in found.missing]
    if options.json:
        print_json(
            {
                "alerts": [alert.to_json() for alert in found.alerts],
                "entries": found.entries,
                "inactive": off,
                "missing": [part.to_json() for part in missing],
            }
        )
    else:
        _print_result(found, off, len(detections) - len(off), zone)
    failed = fail_on is not None and any(is_at_least(alert.severity, fail_on) for alert in found.alerts)
    return worst([FINDINGS if failed else OK, warn_of_missing_parts(time_range, missing, zone)])


def _print_result(found: SearchResult, off: Dict[str, str], applied: int, zone: tzinfo) -> None:
    rows = [("When", "Severity", "Detection", "Who", "What")]
    for alert in found.alerts:
        message = to_printable(alert.entry.get("message"))
        rows.append(
            (format_moment(alert.time, zone), alert.severity, alert.detection, str(actor(alert.entry)), message)
        )
    if found.alerts:
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for *cells, message in rows:
            print_line("  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths)), message]).rstrip())
    alerts, entries = pluralize(len(found.alerts), "alert", "alerts"), pluralize(found.entries, "entry", "entries")
    print_line(f"{alerts} in {entries}, by {pluralize(applied, 'detection', 'detections')}.")
    for name, fact in sorted(off.items()):
        print_line(f"{name} is off: set {fact} in --config to turn it on.")
