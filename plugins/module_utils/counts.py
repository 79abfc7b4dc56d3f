# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counts in sentences."""

from __future__ import annotations


def pluralize(count: int, one: str, many: str) -> str:
    """A number and its noun: ``1 entry``, ``2 entries``."""
    return f"{count} {one if count == 1 else many}"
