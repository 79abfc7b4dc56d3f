# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run tells Prometheus: a file for the textfile collector of node_exporter.

Each command writes a file of its own for each archive, so none erases what another one told. Moments are told, not
ages: an age in a file would stand still when the runs do. A few gauges need no client library, which hosts would have
to install.
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
    "last_run_timestamp_seconds": "When the last run of the command ended.",
    "last_run_duration_seconds": "How long the last run of the command took.",
    "last_run_exit_status": "Exit status of the last run: 0 if it is fine; the meanings are those of the command.",
    _LAST_SUCCESS: "When the last run of the command that did all it should ended; 0 if there was none.",
    "covered_from_timestamp_seconds": "From when on the archive misses nothing but its gaps.",
    "covered_until_timestamp_seconds": "Until when the archive misses nothing but its gaps, by the provider's clock.",
    "retention_deadline_timestamp_seconds": "When the provider begins to delete what is not archived.",
    "entries": "Entries in the archive.",
    "commits_total": "Commits of the archive.",
    "gaps_total": "Spans of time recorded in which entries may be missing.",
    "state": "1 for the state that the archive was in at the end of the last run.",
    "clock_skew_seconds": "By how much the host's clock was ahead of the provider's in the last run; negative: behind.",
    "alerts_total": "Alerts that notify found so far.",
    "verify_findings": "What the last verification found that a sound archive does not have.",
    "reconcile_findings": "In what the archive differed from what the provider had, when they were last compared.",
}
_LABEL_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"'})  # there is no line break in what is visible


class Sample(NamedTuple):
    """A value, in base units, of one of the metrics, by its name without the prefix and its labels of its own."""

    name: str
    value: float
    labels: Tuple[Tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Run:
    """A run of a command on an archive that ended. ``succeeded``: it did all it should, whatever it then told."""

    command: str
    archive: str
    project: str
    started: datetime
    ended: datetime
    exit_status: int
    succeeded: bool


def write_metrics(path: str, run: Run, samples: List[Sample]) -> None:
    """Put the file in place, whole and readable for all; the time of the last success outlives a failed run.

    :raises InvalidInput: the path is a folder, or lies in none.
    :raises StorageError: the file cannot be written.
    """
    success = run.ended.timestamp() if run.succeeded else _last_success(path)
    told = [
        Sample("last_run_timestamp_seconds", run.ended.timestamp()),
        Sample("last_run_duration_seconds", (run.ended - run.started).total_seconds()),
        Sample("last_run_exit_status", run.exit_status),
        Sample(_LAST_SUCCESS, success),
    ]
    labels = {"archive": run.archive, "project": run.project}
    lines = [*_lines(told, {**labels, "command": run.command}), *_lines(samples, labels)]
    replace_file(path, [line.encode("utf-8", "replace") for line in lines], "--metrics", mode=0o644)


def archive_samples(commit: Commit, now: datetime, covered_until: Optional[datetime] = None) -> List[Sample]:
    """Where an archive stands as of its newest commit. ``covered_until`` is of a run that read to the log's end.

    Such a run knows more than the commit, because it writes one without entries only once in a while.
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
    """What the file told so far; 0 when there is none, or none that can be read."""
    try:
        with open(path, "rb") as file:
            found = re.search(rb"^%b%b\{.*\} (\S+)$" % (_PREFIX.encode(), _LAST_SUCCESS.encode()), file.read(), re.M)
        return float(found[1]) if found else 0
    except (OSError, ValueError):
        return 0
