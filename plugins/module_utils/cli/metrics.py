# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the metrics of a run, however it ends."""

from __future__ import annotations

import argparse
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Iterator, List, Optional, Sequence

from ..errors import AuditError, Cancelled
from ..times import utc_now
from .exit_status import INTERNAL_ERROR, exit_status

if TYPE_CHECKING:
    from ..archive.chain.chain import Link
    from ..archive.finding import Finding
    from ..archive.metrics import Sample


def _no_samples() -> List[Sample]:
    return []


@dataclass
class Measurement:
    """What a run tells its metrics: the command sets it as it learns it.

    ``archive`` and ``project`` are labels. ``succeeded``: the run did all it should, even if its exit status is not 0.
    ``samples`` returns what the run found out beside how it went, also when it failed.
    """

    archive: str
    project: str = ""
    status: int = INTERNAL_ERROR
    succeeded: bool = False
    samples: Callable[[], List[Sample]] = field(default=_no_samples)

    def end(self, status: int, succeeded: bool = True) -> int:
        """Set how the run ended, and return its exit status."""
        self.status, self.succeeded = status, succeeded
        return status

    def note_head(self, link: Link) -> None:
        """Take the label of the project from the archive's newest commit, unless it has one."""
        self.project = self.project or link.commit.project.name


def add_metrics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--metrics", metavar="FILE.prom", help="write metrics of this run to FILE.prom, for node_exporter"
    )


def findings_samples(command: str, problems: Optional[Sequence[Finding]]) -> List[Sample]:
    """The number of findings of a command; nothing while it is not known."""
    from ..archive.metrics import Sample

    return [] if problems is None else [Sample(f"{command}_findings", len(problems))]


@contextmanager
def measured(command: str, file: Optional[str], archive: str, project: str = "") -> Iterator[Measurement]:
    """Write metrics after the block to ``file``, if there is one. The block sets the measurement.

    A run that was stopped writes none: a deliberate stop says nothing about the archive.

    :raises StorageError: the block went well, but the file cannot be written.
    """
    began, run = utc_now(), Measurement(archive, project)

    def write() -> None:
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
        try:
            write()
        except AuditError as second:
            sys.stderr.write(f"cloudscale-audit: {second.message}\n")
        raise
    write()
