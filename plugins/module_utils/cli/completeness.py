# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Warns of the parts of a time range that an archive does not contain."""

from __future__ import annotations

from datetime import tzinfo
from typing import TYPE_CHECKING, Sequence

from ..archive.completeness import (
    FUTURE,
    NOT_COLLECTED,
    NOT_COVERED,
    PRUNED,
    MissingRange,
    is_complete,
    missing_parts,
)
from ..project_log.entry import to_printable
from ..settings import Range
from ..times import utc_now
from .exit_status import GAP, OK
from .output import format_moment, warn

if TYPE_CHECKING:
    from ..archive.history import Log

_REASONS = {
    NOT_COVERED: "the archive begins later",
    PRUNED: "they were pruned",
    NOT_COLLECTED: "they are not collected yet",
    FUTURE: "this time is in the future",
}


def warn_of_missing_parts(time_range: Range, missing: Sequence[MissingRange], zone: tzinfo, project: str = "") -> int:
    """Print the missing parts of a time range on stderr, each after ``project``, and return the exit status."""
    if time_range.is_empty:
        warn("--start equals --end, so the range is empty.")
    for part in missing:
        warn(project + _sentence(part, zone))
    return OK if is_complete(time_range, missing) else GAP


def warn_of_incomplete_log(log: Log, time_range: Range, zone: tzinfo, with_project: bool) -> int:
    """Warn of the missing parts of one log, as of the commit with which it was opened; return the exit status."""
    from ..archive.chain.chain import gaps

    if log.store is None or log.commit is None:
        return OK
    # Entries after the archive come from the API.
    archived = time_range if log.boundary is None else time_range.intersect(end=log.boundary)
    missing = missing_parts(log.commit, gaps(log.store, log.commit), archived, utc_now())
    return warn_of_missing_parts(time_range, missing, zone, f"{to_printable(log.project)}: " if with_project else "")


def _sentence(part: MissingRange, zone: tzinfo) -> str:
    bounds = [("from", part.start), ("to", part.end)]
    period = " ".join(f"{word} {format_moment(moment, zone)}" for word, moment in bounds if moment)
    if part.why in _REASONS:
        return f"The archive has no entries {period}: {_REASONS[part.why]}."
    return f"Entries {period} may be missing: the archive has a gap ({to_printable(part.why)})."
