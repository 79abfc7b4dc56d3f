# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shared by ``prune`` and ``compact``: flags, and a run with metrics."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING, Callable, List

from ..archive.chain.chain import StoredCommit
from ..archive.run_context import RunContext
from ..archive.storage.store import Store
from ..counts import pluralize
from .archive import check_exists, store_from_options
from .exit_status import OK
from .heads import publish_head
from .metrics import add_metrics, measure
from .output import add_json, print_json, print_line
from .signing import add_signing, context_from_options

if TYPE_CHECKING:
    from ..archive.maintenance import MaintenanceResult

Operation = Callable[[Store, RunContext], "MaintenanceResult"]


def add_options(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_signing(parser)
    add_metrics(parser)
    parser.add_argument("--dry-run", action="store_true", help="write nothing; print what would be changed")


def run_maintenance(options: argparse.Namespace, stop: threading.Event, operation: Operation, verb: str) -> None:
    """Run the operation on the archive, and print the result with ``verb``, a past participle."""
    heads: List[StoredCommit] = []
    writes = not options.dry_run
    store = store_from_options(options)
    with measure(
        options.name, options.metrics if writes else None, str(store), state=options.state if writes else None
    ) as measurement:

        def on_head(head: StoredCommit) -> None:
            heads[:] = [head]
            measurement.record_head(head)

        check_exists(store)
        done = operation(store, context_from_options(options, store, stop, on_head))
        measurement.end(OK)
    if options.json:
        print_json(done.to_json())
    else:
        _print_result(options, done, verb)
    if heads and done.commits and writes:
        publish_head(heads[0], options.json)


def _print_result(options: argparse.Namespace, done: MaintenanceResult, verb: str) -> None:
    print_line(
        f"{pluralize(done.entries, 'entry', 'entries')} of {pluralize(done.days, 'day', 'days')} "
        f"in {pluralize(done.files, 'file', 'files')} {'would be ' if options.dry_run else ''}{verb}."
    )
