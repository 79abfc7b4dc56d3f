# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks for entries that deserve a second pair of eyes."""

from __future__ import annotations

import argparse
import threading
from datetime import tzinfo
from typing import TYPE_CHECKING, Dict

from ...counts import pluralize
from ...project_log.entry import actor, visible
from ...times import utc_now
from ..archive import archive_of
from ..completeness import warn_of_missing
from ..exit_status import FINDINGS, OK, worst
from ..output import add_json, print_json, say, when
from ..selection import add_span, span_of
from ..signals import end_at_once
from ..time_zone import add_time_zone, zone_of

if TYPE_CHECKING:
    from ...detections.search import Found

ABOUT = "find entries of the archive that deserve a second pair of eyes; needs no token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_span(parser)
    add_time_zone(parser)
    parser.add_argument("--config", metavar="FILE", help="JSON file with detections and facts of the site")
    parser.add_argument(
        "--fail-on",
        metavar="SEVERITY",
        help="exit with 1 for alerts of this severity or a higher one: info, low, medium, high or critical",
    )


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_at_once()
    from ...detections.config import built_in_config, read_config
    from ...detections.detection import is_at_least, severity
    from ...detections.search import search_archive

    fail_on = severity(options.fail_on, "--fail-on") if options.fail_on else None
    config = read_config(options.config, "--config") if options.config else built_in_config()
    detections, facts = config.detections, config.facts
    span = span_of(options)
    found = search_archive(archive_of(options), span, detections, facts, utc_now())
    alerts = found.alerts
    off = {found.name: fact for found in detections for fact in [found.lacks(facts)] if fact}
    if options.json:
        print_json(
            {
                "alerts": [alert.to_json() for alert in alerts],
                "entries": found.entries,
                "inactive": off,
                "missing": [one.part.to_json() for one in found.missing],
            }
        )
    else:
        _tell(found, off, len(detections) - len(off), zone_of(options))
    failed = fail_on is not None and any(is_at_least(alert.severity, fail_on) for alert in alerts)
    return worst(
        [FINDINGS if failed else OK, warn_of_missing(span, [one.part for one in found.missing], zone_of(options))]
    )


def _tell(found: Found, off: Dict[str, str], applied: int, zone: tzinfo) -> None:
    alerts = found.alerts
    rows = [("TIME", "SEVERITY", "DETECTION", "ACTOR", "MESSAGE")]
    for alert in alerts:
        message = visible(alert.entry.get("message"))
        rows.append((when(alert.time, zone), alert.severity, alert.detection, str(actor(alert.entry)), message))
    if alerts:
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for *cells, message in rows:
            say("  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths)), message]).rstrip())
    count, entries = pluralize(len(alerts), "alert", "alerts"), pluralize(found.entries, "entry", "entries")
    say(f"{count} in {entries}, by {pluralize(applied, 'detection', 'detections')}.")
    for name, fact in sorted(off.items()):
        say(f"{name} is off: it needs {fact} in --config.")
