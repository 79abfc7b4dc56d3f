# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Forwards new entries of the archive to systemd's journal."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, Optional

from ...counts import pluralize
from ...errors import ArchiveDamaged
from ..archive import check_exists, store_from_options
from ..exit_status import OK
from ..metrics import add_metrics, measure
from ..output import add_json, print_json, print_line
from ..selection import add_conditions, selection_from_options

if TYPE_CHECKING:
    from ...journal import Journal
    from ...project_log.entry import Entry
    from ...project_log.selection import Selection

ABOUT = "forward new entries of the archive to systemd's journal; needs no token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    parser.add_argument(
        "--bookmark",
        metavar="FILE",
        help="path to the file that stores the position in the archive; created if missing (default: in the state "
        "directory)",
    )
    parser.add_argument(
        "--format",
        choices=("ecs", "ocsf"),
        help="write events of the Elastic Common Schema or OCSF (default: entries as received, with an id)",
    )
    add_conditions(parser)
    parser.add_argument(
        "--socket", metavar="PATH", help="path to the socket of another journald, such as that of a namespace"
    )
    add_metrics(parser)


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    from ...archive.bookmark import Bookmark
    from ...archive.forwarder import forward
    from ...journal import SOCKET, Journal

    selection = selection_from_options(options)
    store = store_from_options(options)
    with measure("journal", options.metrics, str(store), state=options.state) as measurement:
        with Journal(options.socket or SOCKET) as journal:
            bookmark, writer = Bookmark(_bookmark_path(options)), _JournalWriter(journal, selection, options.format)
            check_exists(store)
            done = forward(store, bookmark, writer.send, stop, on_head=measurement.record_head)
        measurement.end(OK)
    if options.json:
        print_json({**done._asdict(), "entries": writer.entries})
    else:
        print_line(f"{pluralize(writer.entries, 'entry', 'entries')} written to the journal.")
        if done.pruned:
            print_line(f"{pluralize(done.pruned, 'entry', 'entries')} were pruned before they could be written.")
    return measurement.status


class _JournalWriter:
    """Writes the selected entries to the journal, as received or as events of a schema, and counts them."""

    def __init__(self, journal: Journal, selection: Selection, schema: Optional[str]) -> None:
        self.entries = 0
        self._journal = journal
        self._selection = selection
        self._schema = schema

    def send(self, name: str, line: bytes) -> None:
        from ...project_log.schemas import SCHEMAS, event_line, with_id

        entry = _entry(name, line)
        if not self._selection.matches(entry):
            return
        if self._schema is None:
            self._journal.send_entry(name, line)
        else:
            event = with_id(SCHEMAS[self._schema](entry), self._schema, name)
            self._journal.send_event(name, event_line(event).decode())
        self.entries += 1


def _entry(name: str, line: bytes) -> Entry:
    from ...project_log.entry import parse

    try:
        entry = parse(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise ArchiveDamaged(f"The line {name} is not a valid entry; verify the archive.")
    return entry


def _bookmark_path(options: argparse.Namespace) -> str:
    if options.bookmark:
        return str(options.bookmark)
    options.state.create_directory()
    return str(options.state.path_of("journal.json"))
