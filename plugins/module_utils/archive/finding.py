# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings: the results of verify and reconcile."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence

WARNINGS = (
    "orphan",
    "deletion_pending",
    "unfinished",
    "foreign",
    "signature_extra",
    "timestamp_extra",
    "renamed",
    "not_compared",
)
"""Types of findings that do not weaken the evidence, such as unfinished work."""


class Finding(NamedTuple):
    """A deviation from an intact archive: its type, the file that it concerns, and a description."""

    type: str
    path: str
    detail: str

    @property
    def is_warning(self) -> bool:
        return self.type in WARNINGS

    @property
    def severity(self) -> str:
        """``error``, or ``warning`` for a finding that does not weaken the archive's evidence."""
        return "warning" if self.is_warning else "error"

    def to_json(self) -> Dict[str, str]:
        return {**self._asdict(), "severity": self.severity}


def errors(findings: Sequence[Finding]) -> List[Finding]:
    """Return the findings that weaken the archive's evidence."""
    return [finding for finding in findings if not finding.is_warning]
