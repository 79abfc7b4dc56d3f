# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints entries of the archive."""

from __future__ import annotations

import argparse
import sys
import threading
from typing import TYPE_CHECKING, List

from ..archive.location import existing_archive
from ..entry import canonical
from .outcome import FINE
from .selecting import add_selection, selected
from .signals import end_at_once

if TYPE_CHECKING:
    from ..archive.chain import Link

ABOUT = "print entries of the archive as JSON lines; needs no token and no network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)


def run(options: argparse.Namespace, _stop: threading.Event) -> int:
    end_at_once()
    from ..archive.reading import cat
    from ..archive.store import no_archive
    from ..selector import newest

    span, selection = selected(options)
    store = existing_archive(options.path)
    heads: List[Link] = []
    matches = filter(selection.matches, cat(store, span.start, span.end, on_head=heads.append))
    for entry in newest(matches, selection.limit):
        sys.stdout.buffer.write(canonical(entry) + b"\n")
    if not heads:
        raise no_archive(store)
    sys.stdout.buffer.flush()
    return FINE
