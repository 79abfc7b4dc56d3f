# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of an archive: its state, covered time range, gaps, and the deadline of the provider retention."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Dict, Optional, Sequence

from ...errors import ArchiveDamaged, StorageError
from ...times import format_optional
from ..format.commit import Gap, Head, Project
from ..storage.store import Store
from .chain import StoredCommit, find_head, gaps
from .coverage import MAX_SKEW, is_at_end, retention_deadline

STATES = ("new", "current", "backlog", "stale", "expired")
"""``new``: no commit yet; ``current``: the last run reached the end of the log; ``backlog``: the last run did not;
``stale``: not read for a day, or read by a clock far ahead; ``expired``: the provider might have deleted entries that
were not read."""

UNKNOWN_PROJECT = Project("", None)

STALE_AFTER = timedelta(days=1)
"""An archive that was not read for longer than this is ``stale``."""


def archive_state(covered: datetime, at_end: bool, now: datetime) -> str:
    """The state of an archive that covers the log up to ``covered``, which was the end of the log if ``at_end``."""
    if now >= retention_deadline(covered):
        return "expired"
    if not at_end:
        return "backlog"
    # Coverage that ends in the future comes from a wrong clock, so the last run might be long ago.
    return "current" if -MAX_SKEW <= now - covered <= STALE_AFTER else "stale"


@dataclass(frozen=True)
class Status:
    """The status of an archive. Head and times are None if it has no commit.

    Prune deleted the days before ``pruned_until``. ``timestamp`` describes the newest time stamp, unchecked, if it was
    requested: ``sequence``, ``sha256`` and ``time``.
    """

    path: str
    state: str = "new"
    project: Project = UNKNOWN_PROJECT
    archive_id: Optional[str] = None
    entries: int = 0
    commits: int = 0
    head: Optional[Head] = None
    covered_from: Optional[datetime] = None
    covered_until: Optional[datetime] = None
    pruned_until: Optional[datetime] = None
    gaps: Sequence[Gap] = ()
    last_verified: Optional[datetime] = None
    failure: Optional[Dict[str, Any]] = None
    timestamp: Optional[Dict[str, Any]] = None

    @property
    def retention_deadline(self) -> Optional[datetime]:
        """The time from which the provider might delete entries that are not archived."""
        return None if self.covered_until is None else retention_deadline(self.covered_until)

    def to_json(self) -> Dict[str, Any]:
        """The status as modules return it and the command prints it."""
        return {
            "project": self.project._asdict(),
            "path": self.path,
            "state": self.state,
            "entries": self.entries,
            "commits": self.commits,
            "head": {"archive_id": self.archive_id, **self.head._asdict()} if self.head else None,
            "covered_from": format_optional(self.covered_from),
            "covered_until": format_optional(self.covered_until),
            "pruned_until": format_optional(self.pruned_until),
            "retention_deadline": format_optional(self.retention_deadline),
            "gaps": [gap.to_json() for gap in self.gaps],
            "last_verified": format_optional(self.last_verified),
            "failure": self.failure,
            "timestamp": self.timestamp,
        }


def status_fields(stored: Optional[StoredCommit], covered_until: Optional[datetime] = None) -> Dict[str, Any]:
    """The fields of a status that come from the newest commit.

    ``covered_until`` comes from a run that reached the end of the log. It can be later than that of the commit, because
    a run without new entries commits only once per heartbeat.
    """
    if stored is None:
        return {}
    commit = stored.commit
    return {
        "project": commit.project,
        "archive_id": commit.archive_id,
        "entries": commit.total_entries,
        "commits": commit.sequence,
        "head": stored.head,
        "covered_from": commit.retained_from,
        "covered_until": covered_until or commit.covered_until,
        "pruned_until": commit.pruned_until,
    }


def status(store: Store, now: datetime, pin: Optional[Head] = None) -> Status:
    """The status as of the newest commit, without verification.

    :raises StorageError: the archive cannot be read.
    :raises ArchiveDamaged: the head or the pinned commit is missing or invalid.
    """
    stored = find_head(store, pin)
    if stored is None:
        return Status(str(store))
    commit = stored.commit
    state = archive_state(commit.covered_until, is_at_end(commit), now)
    return Status(str(store), state, gaps=gaps(store, commit), **status_fields(stored))


def status_or_none(store: Store, now: datetime) -> Optional[Status]:
    """The status, or None if the newest commit cannot be read."""
    try:
        return status(store, now)
    except (ArchiveDamaged, StorageError):
        return None
