# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exit statuses, and which one an error ends with."""

from __future__ import annotations

from ..errors import ArchiveDamaged, AuditError, InvalidInput, MissingLibrary, StorageError

FINE, FINDINGS, USAGE, API, STORAGE, GAP = range(6)
UNFORESEEN = 1
"""How Python ends after an error that nobody caught."""


def exit_status(error: AuditError) -> int:
    if isinstance(error, ArchiveDamaged):
        return FINDINGS
    if isinstance(error, (InvalidInput, MissingLibrary)):
        return USAGE
    return STORAGE if isinstance(error, StorageError) else API
