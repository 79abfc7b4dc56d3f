# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the state of the archive."""

from __future__ import annotations

import argparse
import threading
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Dict, List, Tuple

from ...archive.chain.coverage import MAX_SKEW
from ...archive.chain.pin import HeadPin
from ...archive.chain.status import Status
from ...archive.format.commit import Head
from ...errors import InvalidInput
from ...project_log.entry import to_printable
from ...times import parse_timestamp, utc_now
from ..archive import archive_from_options, readable_state
from ..exit_status import NOT_CURRENT, OK
from ..output import (
    add_json,
    describe_failure,
    format_moment,
    print_gaps,
    print_json,
    print_line,
    time_since,
    time_until,
)
from ..signals import end_on_signal
from ..time_zone import add_time_zone, zone_from_options

if TYPE_CHECKING:
    from ...archive.heads import NotedHead

ABOUT = "print the state of the archive; needs no token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_time_zone(parser)
    parser.add_argument(
        "--heads",
        type=heads_in_file,
        metavar="FILE",
        help="with --json: path to a file of heads, one JSON object per line; adds the commits since the newest head, "
        "for a ledger on another host",
    )
    parser.add_argument(
        "--pin", metavar="FILE", help="path to the pin file of collect, to search only commits since its last run"
    )


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_on_signal()
    from ...archive.chain.status import status
    from ...archive.ledger import continuation
    from ...archive.state import with_runs
    from ...archive.storage.store import archive_not_found
    from ...archive.timestamper import with_timestamp

    pin = HeadPin(options.pin).read() if options.pin else None
    zone = zone_from_options(options)
    store = archive_from_options(options)
    now = utc_now()
    runs = (options.state.runs() or readable_state(options.path).runs()) if options.path else {}
    found = with_runs(status(store, now, pin), runs, now)
    head = found.head
    if head is None:
        raise archive_not_found(store)
    found = with_timestamp(found, store)
    if options.json:
        ledger = {} if options.heads is None else {"continuation": continuation(store, options.heads).to_json()}
        print_json({**found.to_json(), **ledger})
    else:
        _print_status(options.path, found, head, zone)
    return OK if found.state == "current" else NOT_CURRENT


def heads_in_file(path: str) -> List[NotedHead]:
    """The heads in a file. It is read once for all archives, since it can be standard input."""
    from ...archive.heads import read_heads

    try:
        return read_heads(path)
    except InvalidInput as exc:
        raise argparse.ArgumentTypeError(exc.message) from exc


_VERDICTS = {
    "current": "Caught up: the archive has all entries until {until}, {ago}.",
    "backlog": "NOT caught up: at {until}, {ago}, there was more to read. The next run of collect continues.",
    "stale": "NOT caught up: nothing was read since {until}, {ago}. No entry is lost if collect runs by {deadline}.",
    "expired": "NOT caught up: nothing was read since {until}, {ago}. Since {deadline} the provider has been deleting "
    "entries that are not archived; run collect now.",
}


def _verdict(found: Status, zone: tzinfo) -> str:
    """The state in one sentence."""
    if found.covered_until is not None and found.covered_until > utc_now() + MAX_SKEW:
        until = f"{format_moment(found.covered_until)}, {time_since(found.covered_until)} by this host's clock"
        return f"NOT known to be caught up: the archive ends at {until}. Correct the clock, or verify the archive."
    return _VERDICTS[found.state].format(
        until=format_moment(found.covered_until, zone),
        ago=time_since(found.covered_until),
        deadline=format_moment(found.retention_deadline, zone),
    )


def _describe_timestamp(timestamp: Dict[str, Any], zone: tzinfo) -> str:
    moment = parse_timestamp(timestamp["time"])
    existed_by = f"{format_moment(moment, zone)} ({time_since(moment)})"
    return f"commit {timestamp['sequence']} existed by {existed_by}, not verified"


def _print_status(path: str, found: Status, head: Head, zone: tzinfo) -> None:
    if found.failure:
        print_line(describe_failure(found.failure))
    print_line(_verdict(found, zone))
    rows: List[Tuple[str, str]] = [
        ("project", to_printable(found.project.name or found.project.uuid) or "unnamed"),
        ("archive", path),
        ("state", found.state),
        (
            "covered from",
            f"{format_moment(found.covered_from, zone)}{', older days were pruned' if found.pruned_until else ''}",
        ),
        ("covered until", f"{format_moment(found.covered_until, zone)} ({time_since(found.covered_until)})"),
        ("deadline", f"{format_moment(found.retention_deadline, zone)} ({time_until(found.retention_deadline)})"),
        ("entries", str(found.entries)),
        ("commits", str(found.commits)),
        ("head", f"{head.sequence}:{head.sha256}"),
        *([("time stamp", _describe_timestamp(found.timestamp, zone))] if found.timestamp else []),
        ("last verified", format_moment(found.last_verified, zone)),
        ("gaps", str(len(found.gaps)) if found.gaps else "none"),
    ]
    for name, value in rows:
        print_line(f"{name:<14} {value}")
    print_gaps(found.gaps, zone)
