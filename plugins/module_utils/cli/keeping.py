# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the commands share that make an archive smaller."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Optional

from ..archive.chain import Hint
from .words import add_json, number, print_json, say

if TYPE_CHECKING:
    from ..archive.retention import Rearranged


def add_options(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    parser.add_argument(
        "--pin", metavar="FILE", help="the file in which collect remembers the head, so that a cut is seen"
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing, tell what would come")


def hint_of(options: argparse.Namespace) -> Optional[Hint]:
    return Hint(options.pin) if options.pin else None


def tell(options: argparse.Namespace, done: Rearranged, verb: str) -> None:
    """One line for people, or all of it as JSON."""
    if options.json:
        print_json(done.to_json())
        return
    say(
        f"{number(done.entries, 'entry', 'entries')} of {number(done.days, 'day', 'days')} "
        f"in {number(done.files, 'file', 'files')} {'would be ' if options.dry_run else ''}{verb}."
    )
    if done.head and done.commits:
        say(f"Head: {done.head.sequence}:{done.head.sha256}")
