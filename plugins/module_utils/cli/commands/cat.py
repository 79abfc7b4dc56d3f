# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints entries of the archive."""

from __future__ import annotations

import argparse
import sys
import threading
from typing import TYPE_CHECKING, List

from ...archive.chain.chain import gaps
from ...project_log.entry import canonical
from ...times import utc_now
from ..archive import archive_of
from ..completeness import warn_of_missing
from ..selection import add_selection, selected
from ..signals import end_at_once
from ..time_zone import zone_of

if TYPE_CHECKING:
    from ...archive.chain.chain import Link

ABOUT = "print entries of the archive as JSON lines; needs no token and no network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_at_once()
    from ...archive.completeness import missing_parts
    from ...archive.reader import cat
    from ...project_log.selection import newest

    span, selection = selected(options)
    store = archive_of(options)
    heads: List[Link] = []
    matches = filter(selection.matches, cat(store, span.start, span.end, on_head=heads.append))
    for entry in newest(matches, selection.limit):
        sys.stdout.buffer.write(canonical(entry) + b"\n")
    sys.stdout.buffer.flush()
    commit = heads[-1].commit
    return warn_of_missing(span, missing_parts(commit, gaps(store, commit), span, utc_now()), zone_of(options))
