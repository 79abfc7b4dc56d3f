# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes new entries of the archive to systemd's journal."""

from __future__ import annotations

import argparse
import threading

from ...counts import pluralize
from ..archive import archive_of, store_of
from ..exit_status import OK
from ..metrics import add_metrics, measured
from ..output import add_json, print_json, say

ABOUT = "write the archive's new entries to systemd's journal; needs no token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    parser.add_argument(
        "--bookmark",
        metavar="FILE",
        help="remembers up to where they were written; created if missing (default: in the state directory)",
    )
    parser.add_argument("--socket", metavar="PATH", help="of another journald, such as that of a namespace")
    add_metrics(parser)


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    from ...archive.bookmark import Bookmark
    from ...archive.forwarder import forward
    from ...journal import SOCKET, Journal

    with measured("journal", options.metrics, str(store_of(options)), state=options.state) as measurement:
        with Journal(options.socket or SOCKET) as journal:
            bookmark = Bookmark(_bookmark_path(options))
            done = forward(archive_of(options), bookmark, journal.send_entry, stop, on_head=measurement.note_head)
        measurement.end(OK)
    if options.json:
        print_json(done._asdict())
    else:
        say(f"{pluralize(done.entries, 'entry', 'entries')} written to the journal.")
        if done.pruned:
            say(f"{pluralize(done.pruned, 'entry', 'entries')} had been pruned before.")
    return measurement.status


def _bookmark_path(options: argparse.Namespace) -> str:
    if options.bookmark:
        return str(options.bookmark)
    options.state.create_directory()
    return str(options.state.path_of("journal.json"))
