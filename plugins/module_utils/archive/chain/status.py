# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an archive stands: what it covers, until when it has to be read again, and in which state it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Dict, List, Optional

from ...errors import ArchiveDamaged, StorageError
from ...times import format_optional
from ..format.commit import (
    Gap,
    Head,
)
from ..storage.store import Store
from .chain import find_head, gaps
from .coverage import is_at_end, retention_deadline

SILENCE = timedelta(days=1)
"""An archive whose newest proof is older than this is no longer collected as it should be."""


def state_of(covered: datetime, at_end: bool, now: datetime) -> str:
    """``live``, ``backlog`` (there was more to read), ``degraded`` (silent for a day) or ``expired`` (entries lost)."""
    if now >= retention_deadline(covered):
        return "expired"
    if not at_end:
        return "backlog"
    return "degraded" if now - covered > SILENCE else "live"


@dataclass(frozen=True)
class Status:
    """Where an archive stands. Of a run, ``added``, ``commits`` and ``gaps`` are the run's; else the archive's.

    ``head`` and the times are None while there is no commit. ``rerendered`` counts entries that were found again but
    look different now (a project or token was renamed). Nothing is covered before ``pruned_until``, if there is one:
    these days were let go of on purpose.
    """

    added: int = 0
    commits: int = 0
    head: Optional[Head] = None
    covered_from: Optional[datetime] = None
    covered_until: Optional[datetime] = None
    gaps: List[Gap] = field(default_factory=list)
    state: str = "backlog"
    rerendered: int = 0
    pruned_until: Optional[datetime] = None

    @property
    def retention_deadline(self) -> Optional[datetime]:
        return None if self.covered_until is None else retention_deadline(self.covered_until)

    def to_json(self) -> Dict[str, Any]:
        """The same as plain values, times as text: what modules return and the command prints."""
        return {
            "added": self.added,
            "commits": self.commits,
            "head": self.head._asdict() if self.head else None,
            "covered_from": format_optional(self.covered_from),
            "covered_until": format_optional(self.covered_until),
            "pruned_until": format_optional(self.pruned_until),
            "retention_deadline": format_optional(self.retention_deadline),
            "gaps": [gap.to_json() for gap in self.gaps],
            "state": self.state,
        }


def status(store: Store, now: datetime, pin: Optional[Head] = None) -> Status:
    """Where the archive stands as of its newest commit; nothing is verified.

    :raises StorageError: it cannot be read.
    :raises ArchiveDamaged: its head, or the pinned commit, is not what it was.
    """
    head = find_head(store, pin)
    if head is None:
        return Status()
    commit = head.commit
    return Status(
        added=commit.total_entries,
        commits=commit.sequence,
        head=head.head,
        covered_from=commit.kept_from,
        covered_until=commit.covered_until,
        gaps=gaps(store, commit),
        state=state_of(commit.covered_until, is_at_end(commit), now),
        pruned_until=commit.pruned_until,
    )


def standing(store: Store, now: datetime) -> Optional[Status]:
    """The status, or None where even the newest commit cannot be read.

    Taken before a verification, it tells of nothing that a collector at work adds meanwhile.
    """
    try:
        return status(store, now)
    except (ArchiveDamaged, StorageError):
        return None
