# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a command that reads entries says of the parts of a time range that the archive does not hold."""

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
from .output import warn, when

if TYPE_CHECKING:
    from ..archive.history import Log

_REASONS = {
    NOT_COVERED: "the archive begins later",
    PRUNED: "they were pruned",
    NOT_COLLECTED: "they are not collected yet",
    FUTURE: "this is in the future",
}


def warn_of_missing_parts(asked: Range, missing: Sequence[MissingRange], zone: tzinfo, project: str = "") -> int:
    """Print the parts that are missing on stderr, each after ``project``, and return the exit status of the command."""
    if asked.is_empty:
        warn("--start equals --end, so the range is empty.")
    for part in missing:
        warn(project + _sentence(part, zone))
    return OK if is_complete(asked, missing) else GAP


def warn_of_incomplete_log(log: Log, asked: Range, zone: tzinfo, with_project: bool) -> int:
    """The same of one of the logs of a command, as of the commit that it was opened with."""
    from ..archive.chain.chain import gaps

    if log.store is None or log.commit is None:
        return OK
    # What follows the archive is the API's.
    held = asked if log.boundary is None else asked.intersect(end=log.boundary)
    missing = missing_parts(log.commit, gaps(log.store, log.commit), held, utc_now())
    return warn_of_missing_parts(asked, missing, zone, f"{to_printable(log.project)}: " if with_project else "")


def _sentence(part: MissingRange, zone: tzinfo) -> str:
    bounds = [("from", part.start), ("to", part.end)]
    span = " ".join(f"{word} {when(moment, zone)}" for word, moment in bounds if moment)
    if part.why in _REASONS:
        return f"The archive holds no entries {span}: {_REASONS[part.why]}."
    return f"Entries {span} may be missing: the archive has a gap ({to_printable(part.why)})."
