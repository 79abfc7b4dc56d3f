# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints entries of the archive."""

from __future__ import annotations

import argparse
import sys
import threading

from ..archive.location import existing_archive
from ..entry import canonical
from ..settings import Range
from .outcome import FINE
from .words import now

ABOUT = "print entries of the archive as JSON lines; needs no token and no network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", metavar="TIME", help="only entries of this moment or later")
    parser.add_argument("--end", metavar="TIME", help="only entries before this moment")
    parser.add_argument("--action", dest="actions", action="append", metavar="GLOB", help="only these actions")
    parser.add_argument("--actor", dest="actors", action="append", metavar="NAME", help="only changes by these")
    parser.add_argument("--ip-network", dest="ip_networks", action="append", metavar="NETWORK", help="only from these")
    parser.add_argument("--message", metavar="REGEX", help="only entries in whose message this is found")
    parser.add_argument("--limit", metavar="N", help="only the newest N matches")


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    from ..archive.reading import cat
    from ..selector import Selection, newest

    span = Range.from_mapping({"start": options.start, "end": options.end}, now())
    selection = Selection.from_mapping(vars(options))
    matches = filter(selection.matches, cat(existing_archive(options.path), span.start, span.end))
    for entry in newest(matches, selection.limit):
        sys.stdout.buffer.write(canonical(entry) + b"\n")
    sys.stdout.buffer.flush()
    return FINE
