# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the history of a resource from all given archives, and from the API after them."""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import ExitStack
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Iterable, Iterator, List, Optional

from ...counts import pluralize
from ...errors import InvalidInput
from ...project_log.entry import canonical, timestamp, to_printable
from ..archive import archives_from_options
from ..completeness import warn_of_incomplete_log
from ..connection import add_connection, with_token
from ..exit_status import worst
from ..formats import print_entries
from ..output import add_json, print_line
from ..selection import add_selection, range_and_selection
from ..signals import end_on_signal
from ..time_zone import add_time_zone, zone_from_options

if TYPE_CHECKING:
    from ...archive.history import History, Log
    from ...archive.merge import ProjectEntry

ABOUT = "print the history of a resource under all its names; needs no token for archives"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "resource", metavar="RESOURCE", help="name of the resource, exact or with * and ?; matching is best effort"
    )
    add_json(parser)
    add_time_zone(parser)
    add_selection(parser, with_resource=False)
    add_connection(parser)


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    end_on_signal()
    from ...archive.history import History
    from ...archive.merge import merge_by_time
    from ...project_log.selection import keep_newest

    if not options.resource.strip():
        raise InvalidInput("RESOURCE is empty; pass the name of a resource, exact or with * and ?.")
    zone = zone_from_options(options)
    time_range, selection = range_and_selection(options)
    with ExitStack() as stack:
        logs = _logs(options, stop)
        for log in logs:
            stack.callback(log.close)
        histories = [
            History(
                log, options.resource, lambda entry: time_range.contains(timestamp(entry)) and selection.matches(entry)
            )
            for log in logs
        ]
        merged = merge_by_time([(history.log.project, history.entries()) for history in histories])
        entries = keep_newest(merged, selection.limit)
        if options.json:
            _print_json(entries)
        else:
            _print_table(options.resource, entries, histories, zone)
        return worst([warn_of_incomplete_log(log, time_range, zone, len(logs) > 1) for log in logs])


def _logs(options: argparse.Namespace, stop: threading.Event) -> List[Log]:
    from ...archive.history import add_tail, archived_logs

    logs = archived_logs(archives_from_options(options))
    if options.token_file or not logs:
        with_token(options, stop, lambda api: add_tail(logs, api))
    return logs


def _print_json(entries: Iterable[ProjectEntry]) -> None:
    """Print a list of entries as received, one per line."""
    write = sys.stdout.buffer.write
    is_first = True
    for _project, entry in entries:
        write((b"[\n" if is_first else b",\n") + canonical(entry))
        is_first = False
    write(b"[]\n" if is_first else b"\n]\n")
    sys.stdout.buffer.flush()


def _print_table(resource: str, entries: Iterable[ProjectEntry], histories: List[History], zone: tzinfo) -> None:
    counted = _CountedEntries(entries)
    print_entries(counted, "table", zone, with_project=len(histories) > 1)
    if counted.entries:
        print_line("")
        print_line(f"{pluralize(counted.entries, 'entry', 'entries')} about {to_printable(resource)}.")
    else:
        print_line(f"No entry is about {to_printable(resource)}.")
    for history in histories:
        _print_names(history, zone)
    for history in histories:
        _print_coverage(history.log, zone)


class _CountedEntries:
    """Counts entries while they are iterated."""

    def __init__(self, entries: Iterable[ProjectEntry]) -> None:
        self.entries = 0
        self._entries = entries

    def __iter__(self) -> Iterator[ProjectEntry]:
        for entry in self._entries:
            self.entries += 1
            yield entry


def _print_names(history: History, zone: tzinfo) -> None:
    project = to_printable(history.log.project)
    for name, periods in sorted(history.names.items()):
        described = ", ".join(_describe_period(period.start, period.end, zone) for period in periods[:3])
        more = ", ..." if len(periods) > 3 else ""
        print_line(f"{project}: the resource was also named {to_printable(name)} ({described}{more}).")
    if history.has_more:
        print_line(f"{project}: the resource had too many names to follow; run history for each of them.")


def _describe_period(start: Optional[datetime], end: Optional[datetime], zone: tzinfo) -> str:
    words = [f"from {_local_time(start, zone)}"] if start else []
    words += [f"until {_local_time(end, zone)}"] if end else []
    return " ".join(words)


def _print_coverage(log: Log, zone: tzinfo) -> None:
    if log.store is None or log.commit is None:
        print_line(f"{to_printable(log.project)}: the entries come from the API, which keeps 90 days.")
        return
    start, end = _local_time(log.commit.retained_from, zone), _local_time(log.commit.covered_until, zone)
    tail = "; later entries come from the API" if log.tail else ""
    print_line(f"{to_printable(log.project)}: the archive covers {start} to {end}{tail}.")


def _local_time(moment: datetime, zone: tzinfo) -> str:
    from ...project_log.rows import utc_offset

    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {utc_offset(local)}"
