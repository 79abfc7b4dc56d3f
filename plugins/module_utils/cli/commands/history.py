# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells what happened to a resource, over all archives given, and what the API has after them."""

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

ABOUT = "tell what happened to a resource, under all names that it had; needs no token for archives"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("resource", metavar="RESOURCE", help="its name, exact or with * and ?; best effort")
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
        raise InvalidInput("RESOURCE is empty; name the resource, exactly or with * and ?.")
    zone = zone_from_options(options)
    time_range, selection = range_and_selection(options)
    with ExitStack() as stack:
        logs = _logs(options, stop)
        for log in logs:
            stack.callback(log.close)
        told = [
            History(log, options.resource, lambda one: time_range.contains(timestamp(one)) and selection.matches(one))
            for log in logs
        ]
        found = keep_newest(merge_by_time([(one.log.project, one.entries()) for one in told]), selection.limit)
        if options.json:
            _print_json(found)
        else:
            _print_table(options.resource, found, told, zone)
        return worst([warn_of_incomplete_log(log, time_range, zone, len(logs) > 1) for log in logs])


def _logs(options: argparse.Namespace, stop: threading.Event) -> List[Log]:
    from ...archive.history import add_tail, archived_logs

    logs = archived_logs(archives_from_options(options))
    if options.token_file or not logs:
        with_token(options, stop, lambda api: add_tail(logs, api))
    return logs


def _print_json(found: Iterable[ProjectEntry]) -> None:
    """A list of entries as they were received, one a line."""
    write = sys.stdout.buffer.write
    is_first = True
    for _project, entry in found:
        write((b"[\n" if is_first else b",\n") + canonical(entry))
        is_first = False
    write(b"[]\n" if is_first else b"\n]\n")
    sys.stdout.buffer.flush()


def _print_table(resource: str, found: Iterable[ProjectEntry], told: List[History], zone: tzinfo) -> None:
    counted = _CountedEntries(found)
    print_entries(counted, "table", zone, with_project=len(told) > 1)
    if counted.entries:
        print_line("")
        print_line(f"{pluralize(counted.entries, 'entry', 'entries')} about {to_printable(resource)}.")
    else:
        print_line(f"No entry is about {to_printable(resource)}.")
    for history in told:
        _print_names(history, zone)
    for history in told:
        _print_coverage(history.log, zone)


class _CountedEntries:
    """Counts what passes."""

    def __init__(self, found: Iterable[ProjectEntry]) -> None:
        self.entries = 0
        self._found = found

    def __iter__(self) -> Iterator[ProjectEntry]:
        for one in self._found:
            self.entries += 1
            yield one


def _print_names(history: History, zone: tzinfo) -> None:
    for name, times in sorted(history.names.items()):
        spells = ", ".join(_describe_period(one.start, one.end, zone) for one in times[:3])
        more = ", ..." if len(times) > 3 else ""
        print_line(f"{to_printable(history.log.project)}: it was also named {to_printable(name)} ({spells}{more}).")
    if history.has_more:
        print_line(
            f"{to_printable(history.log.project)}: it had more names than can be followed; ask for them one by one."
        )


def _describe_period(start: Optional[datetime], end: Optional[datetime], zone: tzinfo) -> str:
    words = [f"from {_local_time(start, zone)}"] if start else []
    words += [f"until {_local_time(end, zone)}"] if end else []
    return " ".join(words)


def _print_coverage(log: Log, zone: tzinfo) -> None:
    if log.store is None or log.commit is None:
        print_line(f"{to_printable(log.project)}: the entries are the API's, which keeps 90 days.")
        return
    start, end = _local_time(log.commit.retained_from, zone), _local_time(log.commit.covered_until, zone)
    then = "; from then on the entries are the API's" if log.tail else ""
    print_line(f"{to_printable(log.project)}: the archive covers {start} to {end}{then}.")


def _local_time(moment: datetime, zone: tzinfo) -> str:
    from ...project_log.rows import utc_offset

    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {utc_offset(local)}"
