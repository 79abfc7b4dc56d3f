# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exit statuses of the command, and the exit status of each error."""

from __future__ import annotations

from typing import Sequence

from ..errors import ArchiveDamaged, AuditError, InvalidInput, MissingDependency, StorageError

OK, FINDINGS, USAGE, API, STORAGE, GAP, NOT_CURRENT = range(7)
INTERNAL_ERROR = 70
"""An unexpected error (EX_SOFTWARE in sysexits.h)."""

MEANINGS = {
    OK: "fine",
    FINDINGS: "findings",
    USAGE: "usage",
    API: "API",
    STORAGE: "storage",
    GAP: "gap",
    NOT_CURRENT: "not current",
    INTERNAL_ERROR: "internal error",
}


def exit_status(error: AuditError) -> int:
    if isinstance(error, ArchiveDamaged):
        return FINDINGS
    if isinstance(error, (InvalidInput, MissingDependency)):
        return USAGE
    return STORAGE if isinstance(error, StorageError) else API


def worst(statuses: Sequence[int]) -> int:
    """The exit status of several archives: the first that occurs of 70, 1, 4, 5, 3, 2, 6; otherwise 0."""

    return next((status for status in _PRECEDENCE if status in statuses), OK)


_PRECEDENCE = (INTERNAL_ERROR, FINDINGS, STORAGE, GAP, API, USAGE, NOT_CURRENT)
