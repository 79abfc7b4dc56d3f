# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints entries of the archive."""

from __future__ import annotations

import argparse
import sys
import threading

from ...project_log.entry import canonical
from ..archive import archive_of
from ..exit_status import OK
from ..selection import add_selection, selected
from ..signals import end_at_once

ABOUT = "print entries of the archive as JSON lines; needs no token and no network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_at_once()
    from ...archive.reader import cat
    from ...project_log.selection import newest

    span, selection = selected(options)
    matches = filter(selection.matches, cat(archive_of(options), span.start, span.end))
    for entry in newest(matches, selection.limit):
        sys.stdout.buffer.write(canonical(entry) + b"\n")
    sys.stdout.buffer.flush()
    return OK
