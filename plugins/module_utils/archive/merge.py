# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merges the entries of several logs into one stream ordered by time, with one entry per log in memory."""

from __future__ import annotations

from datetime import datetime, timezone
from heapq import merge
from typing import Iterable, Iterator, NamedTuple, Sequence, Tuple

from ..project_log.entry import Entry, timestamp

_NEVER = datetime.min.replace(tzinfo=timezone.utc)


class ProjectEntry(NamedTuple):
    """An entry, and the name of the project whose log contains it."""

    project: str
    entry: Entry


def merge_by_time(logs: Sequence[Tuple[str, Iterable[Entry]]]) -> Iterator[ProjectEntry]:
    """Yield the entries of several logs, each given with its project. Each log keeps its own order.

    An entry without a readable time stays directly after the previous entry of its log.
    """
    for _moment, found in merge(*(_timed(project, entries) for project, entries in logs), key=lambda pair: pair[0]):
        yield found


def _timed(project: str, entries: Iterable[Entry]) -> Iterator[Tuple[datetime, ProjectEntry]]:
    moment = _NEVER
    for entry in entries:
        moment = timestamp(entry) or moment
        yield moment, ProjectEntry(project, entry)
