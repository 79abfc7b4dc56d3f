# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an archive stands: its state, what it covers, and when the provider begins to delete what it lacks."""

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
"""``new``: no commit yet; ``current``: read to the end of the log; ``backlog``: there was more to read; ``stale``: not
read for a day, or by a clock far ahead; ``expired``: the provider may have deleted entries that were not read."""

UNKNOWN_PROJECT = Project("", None)

STALE_AFTER = timedelta(days=1)
"""An archive that was not read for longer than this is stale."""


def archive_state(covered: datetime, at_end: bool, now: datetime) -> str:
    """The state of an archive that covers the log up to ``covered``; ``at_end``: nothing followed then."""
    if now >= retention_deadline(covered):
        return "expired"
    if not at_end:
        return "backlog"
    # One that ends in the future was read by another clock: nothing shows that it was read of late.
    return "current" if -MAX_SKEW <= now - covered <= STALE_AFTER else "stale"


@dataclass(frozen=True)
class Status:
    """Where an archive stands. Head and times are None while it has no commit.

    Nothing before ``pruned_until`` is covered: those days were deleted by a prune. ``timestamp`` is the newest time
    stamp, unchecked, if somebody looked for it: ``sequence``, ``sha256`` and ``time``.
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
        """When the provider begins to delete entries that are not archived."""
        return None if self.covered_until is None else retention_deadline(self.covered_until)

    def to_json(self) -> Dict[str, Any]:
        """Plain values, times as text: what modules return and the command prints."""
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


def status_fields(link: Optional[StoredCommit], covered_until: Optional[datetime] = None) -> Dict[str, Any]:
    """The fields of a status that its newest commit tells.

    ``covered_until`` is that of a run which read to the end of the log: it knows more than the commit, because without
    new entries a commit is made only once in a while.
    """
    if link is None:
        return {}
    commit = link.commit
    return {
        "project": commit.project,
        "archive_id": commit.archive_id,
        "entries": commit.total_entries,
        "commits": commit.sequence,
        "head": link.head,
        "covered_from": commit.retained_from,
        "covered_until": covered_until or commit.covered_until,
        "pruned_until": commit.pruned_until,
    }


def status(store: Store, now: datetime, pin: Optional[Head] = None) -> Status:
    """Where the archive stands as of its newest commit; nothing is verified.

    :raises StorageError: it cannot be read.
    :raises ArchiveDamaged: its head, or the pinned commit, is not what it was.
    """
    link = find_head(store, pin)
    if link is None:
        return Status(str(store))
    commit = link.commit
    state = archive_state(commit.covered_until, is_at_end(commit), now)
    return Status(str(store), state, gaps=gaps(store, commit), **status_fields(link))


def status_or_none(store: Store, now: datetime) -> Optional[Status]:
    """The status, or None where even the newest commit cannot be read.

    Taken before a verification, it tells of nothing that a collector at work adds meanwhile.
    """
    try:
        return status(store, now)
    except (ArchiveDamaged, StorageError):
        return None
