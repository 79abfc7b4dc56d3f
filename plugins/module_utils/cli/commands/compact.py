# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merges the files of each closed day into one file."""

from __future__ import annotations

import argparse
import threading
from datetime import datetime

from ...times import parse_age, utc_now
from ..exit_status import OK
from ..maintenance import add_options, run_maintenance
from ..output import print_line

ABOUT = "merge the files of each closed day into one file; the archive remains verifiable and readable"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser)
    parser.add_argument(
        "--older-than", metavar="AGE", help="only days older than this age, such as 7d, or before a date (default: all)"
    )


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    from ...archive.maintenance import compact

    if options.projects and not options.older_than:
        print_line("The project has no compaction policy, so nothing is merged.")
        return OK

    def before(now: datetime) -> datetime:
        return parse_age(options.older_than, now, "--older-than")

    if options.older_than:
        before(utc_now())  # fail before the archive is opened

    run_maintenance(
        options,
        stop,
        lambda store, context: compact(store, before if options.older_than else None, context),
        "merged",
    )
    return OK
