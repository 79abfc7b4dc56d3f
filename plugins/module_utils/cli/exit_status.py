# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exit statuses of the command, and the one that an error leads to."""

from __future__ import annotations

from ..errors import ArchiveDamaged, AuditError, InvalidInput, MissingDependency, StorageError

OK, FINDINGS, USAGE, API, STORAGE, GAP, NOT_CURRENT = range(7)
INTERNAL_ERROR = 70
"""An error that nobody expected (EX_SOFTWARE of sysexits.h)."""

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
