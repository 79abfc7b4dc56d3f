# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the metrics of a run, however it ends."""

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
    """What a run tells its metrics: the command sets it as it learns it.

    ``archive`` and ``project`` are labels. ``succeeded``: the run did all it should, even if its exit status is not 0.
    ``samples`` returns what the run found out beside how it went, also when it failed. ``covered_until`` is that of a
    collection run; it may be later than that of ``head``, since a quiet run writes no commit.
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
        """Set how the run ended, and return its exit status."""
        self.status, self.succeeded = status, succeeded
        return status

    def note_head(self, link: StoredCommit) -> None:
        """Take the label of the project from the archive's newest commit, unless it has one."""
        self.project = self.project or link.commit.project.name
        self.head = link.head


def add_metrics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--metrics", metavar="FILE.prom", help="write metrics of this run to FILE.prom, for node_exporter"
    )


def findings_samples(command: str, problems: Optional[Sequence[Finding]]) -> List[Sample]:
    """The number of findings of a command; nothing while it is not known."""
    from ..archive.metrics import Sample

    return [] if problems is None else [Sample(f"{command}_findings", len(problems))]


@contextmanager
def measure(
    command: str, file: Optional[str], archive: str, project: str = "", state: Optional[StateFile] = None
) -> Iterator[Measurement]:
    """Write metrics after the block to ``file`` and the run to ``state``, if given. The block sets the measurement.

    A run that was stopped writes none: a deliberate stop says nothing about the archive.

    :raises StorageError: the block went well, but the file cannot be written.
    """
    began, run = utc_now(), Measurement(archive, project)

    def write() -> None:
        if state is not None:
            _record(state, command, began, run)
        if file is None:
            return
        from ..archive.metrics import Run, write_metrics

        ended = Run(command, run.archive, run.project, began, utc_now(), run.status, run.succeeded)
        write_metrics(file, ended, run.samples())

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


def _record(state: StateFile, command: str, began: datetime, run: Measurement) -> None:
    """Remember the run for later ones. That it cannot be remembered is no reason to call it failed."""
    from ..archive.state import Run

    ended = format_time(utc_now()) if run.succeeded else None
    try:
        state.record(
            command,
            Run(
                attempted=format_time(began),
                succeeded=ended,
                exit_status=run.status,
                failure=run.failure,
                covered_until=format_optional(run.covered_until),
                head=list(run.head) if run.head else None,
            ),
        )
    except (AuditError, OSError) as exc:
        warn(f"This run cannot be remembered: {getattr(exc, 'message', exc)}")
