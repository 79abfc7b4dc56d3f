# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the metrics and the state of a run, even if the run fails."""

from __future__ import annotations

import argparse
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence

from ..errors import AuditError, Cancelled
from ..times import format_optional, format_time, utc_now
from .exit_status import INTERNAL_ERROR, exit_status
from .output import warn

if TYPE_CHECKING:
    from ..archive.chain.chain import StoredCommit
    from ..archive.finding import Finding
    from ..archive.format.commit import Head
    from ..archive.metrics import Sample
    from ..archive.state import StateFile


def _no_samples() -> List[Sample]:
    return []


@dataclass
class Measurement:
    """Facts about a run for its metrics, which the command sets during the run.

    ``archive`` and ``project`` are labels. A run can have ``succeeded`` even if its exit status is not 0. ``samples``
    returns further metrics, also after a failure. ``covered_until`` is set by a collection run; it can be later than
    that of ``head``, since a run without new entries writes no commit.
    """

    archive: str
    project: str = ""
    status: int = INTERNAL_ERROR
    succeeded: bool = False
    failure: Optional[Dict[str, Any]] = None
    covered_until: Optional[datetime] = None
    head: Optional[Head] = None
    samples: Callable[[], List[Sample]] = field(default=_no_samples)

    def end(self, status: int, succeeded: bool = True) -> int:
        """Set the result of the run, and return the exit status."""
        self.status, self.succeeded = status, succeeded
        return status

    def record_head(self, stored: StoredCommit) -> None:
        """Set the head, and the label of the project if it has none."""
        self.project = self.project or stored.commit.project.name
        self.head = stored.head


def add_metrics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--metrics",
        metavar="FILE.prom",
        help="path to a file for the metrics of this run, FILE.prom, which node_exporter reads; a directory with "
        "--projects or several archives",
    )


def findings_samples(command: str, problems: Optional[Sequence[Finding]]) -> List[Sample]:
    """The metric with the number of findings of a command; empty while the number is unknown."""
    from ..archive.metrics import Sample

    return [] if problems is None else [Sample(f"{command}_findings", len(problems))]


@contextmanager
def measure(
    command: str, file: Optional[str], archive: str, project: str = "", state: Optional[StateFile] = None
) -> Iterator[Measurement]:
    """Measure the run in the block; afterwards write metrics to ``file`` and the run to ``state``, if set.

    A run that was stopped writes nothing: a deliberate stop says nothing about the archive.

    :raises StorageError: the block succeeded, but the file cannot be written.
    """
    started, run = utc_now(), Measurement(archive, project)

    def write() -> None:
        if state is not None:
            _record(state, command, started, run)
        if file is None:
            return
        from ..archive.metrics import MeasuredRun, write_metrics

        measured = MeasuredRun(command, run.archive, run.project, started, utc_now(), run.status, run.succeeded)
        write_metrics(file, measured, run.samples())

    try:
        yield run
    except Cancelled:
        raise
    except BaseException as error:
        run.end(exit_status(error) if isinstance(error, AuditError) else INTERNAL_ERROR, succeeded=False)
        run.failure = {"msg": error.message, **error.failure} if isinstance(error, AuditError) else {"msg": repr(error)}
        try:
            write()
        except AuditError as second:
            sys.stderr.write(f"cloudscale-audit: {second.message}\n")
        raise
    write()


def _record(state: StateFile, command: str, started: datetime, run: Measurement) -> None:
    """Save the run for later runs. If that fails, only warn: the run itself did not fail."""
    from ..archive.state import LastRun

    ended = format_time(utc_now()) if run.succeeded else None
    try:
        state.record(
            command,
            LastRun(
                attempted=format_time(started),
                succeeded=ended,
                exit_status=run.status,
                failure=run.failure,
                covered_until=format_optional(run.covered_until),
                head=list(run.head) if run.head else None,
            ),
        )
    except (AuditError, OSError) as exc:
        warn(f"The state of this run cannot be saved: {getattr(exc, 'message', exc)}")
