# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the metrics of a run, however it ends."""

from __future__ import annotations

import argparse
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Callable, Iterator, List, Optional, Sequence

from ..archive.chain.chain import find_head
from ..archive.chain.pin import Hint
from ..archive.storage.open import store_at
from ..errors import AuditError, Stopped
from ..times import utc_now
from .exit_status import UNFORESEEN, exit_status

if TYPE_CHECKING:
    from ..archive.finding import Finding
    from ..archive.format.commit import Commit
    from ..archive.metrics import Sample

Describe = Callable[[Optional["Commit"]], List["Sample"]]
"""What a command has to tell beside how it went, given the archive's newest commit, if that can be read."""


@dataclass
class Measurement:
    """How a run went. ``succeeded``: it did all it should, even if its exit status is not 0."""

    status: int = UNFORESEEN
    succeeded: bool = False


def add_metrics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--metrics", metavar="FILE.prom", help="tell how this run went in a file for node_exporter's textfile collector"
    )


def findings_samples(command: str, problems: Optional[Sequence[Finding]]) -> List[Sample]:
    """How many findings a command had; nothing while it is not known."""
    from ..archive.metrics import Sample

    return [] if problems is None else [Sample(f"{command}_findings", len(problems))]


@contextmanager
def measured(
    command: str, options: argparse.Namespace, describe: Describe = lambda _commit: []
) -> Iterator[Measurement]:
    """Write metrics behind the block, which sets the measurement, if the options name a file for them.

    A run that was stopped writes none.

    :raises StorageError: the block went well, but the file cannot be written.
    """
    began, run = utc_now(), Measurement()
    try:
        yield run
    except Stopped:
        raise  # somebody wanted it so: it tells nothing of the archive
    except BaseException as error:
        run = Measurement(exit_status(error) if isinstance(error, AuditError) else UNFORESEEN)
        try:
            _write(command, options, began, run, describe)
        except AuditError as second:
            sys.stderr.write(f"cloudscale-audit: {second.message}\n")
        raise
    _write(command, options, began, run, describe)


def _write(command: str, options: argparse.Namespace, began: datetime, run: Measurement, describe: Describe) -> None:
    if options.metrics is None:
        return
    from ..archive.metrics import Run, write_metrics

    commit = _newest_commit(options)
    project = getattr(options, "project", "") or (commit.project.name if commit else "")
    ended = Run(command, str(store_at(options.path)), project, began, utc_now(), run.status, run.succeeded)
    write_metrics(options.metrics, ended, describe(commit))


def _newest_commit(options: argparse.Namespace) -> Optional[Commit]:
    try:
        pin = Hint(options.pin).read() if getattr(options, "pin", None) else None
        head = find_head(store_at(options.path), pin)
    except AuditError:
        return None
    return head.commit if head else None
