# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the metrics of a run as a file for the textfile collector of node_exporter.

Each command writes its own file for each archive, so no command overwrites the metrics of another one. Metrics are
times, not ages: an age in a file would stop growing when the runs stop. The few gauges are written without a client
library, which hosts would need.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..files import replace_file
from ..project_log.entry import to_printable
from .chain.coverage import is_at_end, retention_deadline
from .chain.status import STATES, archive_state
from .format.commit import Commit

_PREFIX = "cloudscale_audit_"
_LAST_SUCCESS = "last_success_timestamp_seconds"
_HELP = {
    "last_run_timestamp_seconds": "End of the last run of the command.",
    "last_run_duration_seconds": "Duration of the last run of the command.",
    "last_run_exit_status": "Exit status of the last run of the command; 0 if it succeeded.",
    _LAST_SUCCESS: "End of the last successful run of the command; 0 if there was none.",
    "covered_from_timestamp_seconds": "Start of the period that the archive covers, except for its gaps.",
    "covered_until_timestamp_seconds": "End of the period that the archive covers, by the provider's clock.",
    "retention_deadline_timestamp_seconds": "Time at which the provider starts to delete entries not yet archived.",
    "entries": "Number of entries in the archive.",
    "commits_total": "Number of commits in the archive.",
    "gaps_total": "Number of recorded gaps, in which entries might be missing.",
    "state": "1 for the state of the archive at the end of the last run, else 0.",
    "clock_skew_seconds": "Lead of the host's clock over the provider's in the last run; negative if it is behind.",
    "alerts_total": "Number of alerts that notify has found.",
    "verify_findings": "Number of findings of the last verification.",
    "reconcile_findings": "Number of findings when the archive was last compared with the provider.",
}
_LABEL_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"'})  # printable text contains no line breaks


class Sample(NamedTuple):
    """A value of one of the metrics, in base units, with the metric's name without the prefix and its own labels."""

    name: str
    value: float
    labels: Tuple[Tuple[str, str], ...] = ()


@dataclass(frozen=True)
class MeasuredRun:
    """A finished run of a command on an archive. ``succeeded`` is True even if the run reported findings."""

    command: str
    archive: str
    project: str
    started: datetime
    ended: datetime
    exit_status: int
    succeeded: bool


def write_metrics(path: str, run: MeasuredRun, samples: List[Sample]) -> None:
    """Replace the file atomically, readable for all users; a failed run keeps the time of the last success.

    :raises InvalidInput: the path is a directory, or its parent directory does not exist.
    :raises StorageError: the file cannot be written.
    """
    success = run.ended.timestamp() if run.succeeded else _last_success(path)
    run_samples = [
        Sample("last_run_timestamp_seconds", run.ended.timestamp()),
        Sample("last_run_duration_seconds", (run.ended - run.started).total_seconds()),
        Sample("last_run_exit_status", run.exit_status),
        Sample(_LAST_SUCCESS, success),
    ]
    labels = {"archive": run.archive, "project": run.project}
    lines = [*_lines(run_samples, {**labels, "command": run.command}), *_lines(samples, labels)]
    replace_file(path, [line.encode("utf-8", "replace") for line in lines], "--metrics", mode=0o644)


def archive_samples(commit: Commit, now: datetime, covered_until: Optional[datetime] = None) -> List[Sample]:
    """Return the metrics of an archive as of its newest commit.

    ``covered_until`` comes from a run that reached the end of the log. It can be later than the commit's, because
    commits without entries are made only once per hour.
    """
    covered = covered_until or commit.covered_until
    state = archive_state(covered, covered_until is not None or is_at_end(commit), now)
    return [
        Sample("covered_from_timestamp_seconds", commit.retained_from.timestamp()),
        Sample("covered_until_timestamp_seconds", covered.timestamp()),
        Sample("retention_deadline_timestamp_seconds", retention_deadline(covered).timestamp()),
        Sample("entries", commit.total_entries),
        Sample("commits_total", commit.sequence),
        Sample("gaps_total", commit.total_gaps),
        *(Sample("state", int(state == name), (("state", name),)) for name in STATES),
    ]


def _lines(samples: List[Sample], labels: Mapping[str, str]) -> Iterator[str]:
    described = ""
    for sample in samples:
        name = _PREFIX + sample.name
        if name != described:
            yield f"# HELP {name} {_HELP[sample.name]}"
            yield f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}"
            described = name
        yield f"{name}{{{_labels({**labels, **dict(sample.labels)})}}} {sample.value}"


def _labels(labels: Dict[str, str]) -> str:
    return ",".join(f'{name}="{to_printable(labels[name]).translate(_LABEL_ESCAPES)}"' for name in sorted(labels))


def _last_success(path: str) -> float:
    """Return the time of the last success from the existing file; 0 if there is no readable file."""
    try:
        with open(path, "rb") as file:
            found = re.search(rb"^%b%b\{.*\} (\S+)$" % (_PREFIX.encode(), _LAST_SUCCESS.encode()), file.read(), re.M)
        return float(found[1]) if found else 0
    except (OSError, ValueError):
        return 0
