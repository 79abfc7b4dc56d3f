# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Permanently removes the oldest days of the archive."""

from __future__ import annotations

import argparse
import sys
import threading
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from ...archive.run_context import RunContext
from ...archive.storage.store import Store
from ...counts import pluralize
from ...errors import Cancelled, InvalidInput
from ...times import RETENTION, parse_age, utc_now
from ..exit_status import OK
from ..maintenance import add_options, run_maintenance
from ..output import print_line
from ..signals import end_on_signal, set_on_signal

if TYPE_CHECKING:
    from ...archive.maintenance import MaintenanceResult

ABOUT = "permanently remove the oldest days; the rest remains verifiable"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser)
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        help="remove all days older than this age, such as 3y or 1095d, or before a date; complete days only",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation on a terminal")
    parser.add_argument(
        "--allow-recent",
        action="store_true",
        help=f"allow an age of less than {RETENTION.days} days, the provider's retention",
    )


def run(options: argparse.Namespace, stop: threading.Event) -> int:
    from ...archive.maintenance import prune

    if not options.older_than:
        return _nothing_to_prune(options)
    parse_age(options.older_than, utc_now(), "--older-than")  # fail before the archive is opened

    def before(now: datetime) -> datetime:
        edge = parse_age(options.older_than, now, "--older-than")
        if edge > now - RETENTION and not options.allow_recent:
            raise InvalidInput(
                f"--older-than: {options.older_than} removes entries that the provider still has; use at least "
                f"{RETENTION.days} days, such as 3y or 1095d, or pass --allow-recent."
            )
        return edge

    def work(store: Store, context: RunContext) -> MaintenanceResult:
        if _needs_confirmation(options):
            _confirm(store, prune(store, before, replace(context, dry_run=True)), stop)
        return prune(store, before, context)

    run_maintenance(options, stop, work, "removed")
    return OK


def _nothing_to_prune(options: argparse.Namespace) -> int:
    """A project without a retention policy keeps all entries.

    :raises InvalidInput: ``--older-than`` is missing for a single archive.
    """
    if not options.projects:
        raise InvalidInput("--older-than is missing; pass an age such as 3y or 1095d, or a date.")
    print_line("The project has no retention policy, so nothing is removed.")
    return OK


def _needs_confirmation(options: argparse.Namespace) -> bool:
    """True if a user is at a terminal and has not confirmed by a flag; a projects file confirms by its policies."""
    return not (options.yes or options.dry_run or options.projects) and sys.stdin.isatty() and sys.stderr.isatty()


def _confirm(store: Store, preview: MaintenanceResult, stop: threading.Event) -> None:
    """Ask the user to confirm the removal.

    :raises Cancelled: the user did not confirm.
    """
    if not preview.files:
        return
    count, days = pluralize(preview.entries, "entry", "entries"), pluralize(preview.days, "day", "days")
    # A signal must end the wait for the answer, not only set ``stop``.
    end_on_signal()
    sys.stderr.write(f"This permanently removes {count} of {days} from {store}. Continue? [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    set_on_signal(stop)
    if answer.strip().lower() not in ("y", "yes"):
        raise Cancelled("Nothing was removed.")
