# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the commands share that make an archive smaller."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, Callable

from ..archive.chain.pin import HeadPin
from ..archive.run_context import RunContext
from ..archive.storage.open import existing_archive
from ..archive.storage.store import Store
from .output import add_json, pluralize, print_json, say
from .signing import add_sign_key, check_sign_key, sign_head, tell_unsigned

if TYPE_CHECKING:
    from ..archive.maintenance import MaintenanceResult

Work = Callable[[Store, RunContext], "MaintenanceResult"]


def add_options(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    parser.add_argument(
        "--pin", metavar="FILE", help="the file in which collect remembers the head, so that a cut is seen"
    )
    add_sign_key(parser)
    parser.add_argument("--dry-run", action="store_true", help="write nothing, tell what would come")


def rearrange(options: argparse.Namespace, stop: threading.Event, work: Work, verb: str) -> None:
    """Do the work on the archive, sign the newest commit if a key is given, and tell what was done."""
    check_sign_key(options)
    store = existing_archive(options.path)
    pin = HeadPin(options.pin) if options.pin else None
    done = work(store, RunContext(pin=pin, stop=stop, dry_run=options.dry_run))
    if done.head and done.commits:
        sign_head(options, store, done.head)
    if options.json:
        print_json(done.to_json())
    else:
        _tell(options, store, done, verb)


def _tell(options: argparse.Namespace, store: Store, done: MaintenanceResult, verb: str) -> None:
    say(
        f"{pluralize(done.entries, 'entry', 'entries')} of {pluralize(done.days, 'day', 'days')} "
        f"in {pluralize(done.files, 'file', 'files')} {'would be ' if options.dry_run else ''}{verb}."
    )
    if done.head and done.commits:
        say(f"Head: {done.head.sequence}:{done.head.sha256}")
        tell_unsigned(options, store)
