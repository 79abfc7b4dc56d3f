# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints entries of archives."""

from __future__ import annotations

import argparse
import threading

from ..archive import archives_from_options
from ..completeness import warn_of_incomplete_log
from ..exit_status import worst
from ..formats import add_format, format_from_options, print_entries
from ..selection import add_selection, range_and_selection
from ..signals import end_on_signal
from ..time_zone import add_time_zone, zone_from_options

ABOUT = "print entries of archives, ordered by time; needs no token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_format(parser)
    add_time_zone(parser)
    add_selection(parser)


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_on_signal()
    from ...archive.history import archived_logs
    from ...archive.merge import merge_by_time
    from ...archive.reader import cat
    from ...project_log.selection import keep_newest

    zone = zone_from_options(options)
    time_range, selection = range_and_selection(options)
    output_format = format_from_options(options)
    archives = archives_from_options(options)
    logs = archived_logs(archives)
    entries = [
        (
            log.project,
            filter(selection.matches, cat(store, time_range.start, time_range.end, needles=selection.needles)),
        )
        for log, (_name, store) in zip(logs, archives)
    ]
    several = len(logs) > 1
    print_entries(keep_newest(merge_by_time(entries), selection.limit), output_format, zone, with_project=several)
    return worst([warn_of_incomplete_log(log, time_range, zone, several) for log in logs])
