# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the states of several archives as a table."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Iterator, List, Mapping, Sequence

from ..times import parse_timestamp
from .output import describe_failure, format_duration

_COLUMNS = ("Project", "State", "Lag", "Deadline", "Gaps", "Verified", "Entries")


def status_table(archives: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[str]:
    """The lines of a table with a row for each archive, and below it the failures.

    ``archives`` are the JSON values that status prints, with the key ``name``.
    """
    rows = [list(_COLUMNS), *(_row(archive, now) for archive in archives)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
    for archive in archives:
        if "state" not in archive:
            yield f"{archive['name']}: {archive.get('msg')}"
        elif archive.get("failure"):
            yield f"{archive['name']}: {describe_failure(archive['failure'])}"


def _row(archive: Mapping[str, Any], now: datetime) -> List[str]:
    name = str(archive["name"])
    if "state" not in archive:
        return [name, "error", *["-"] * (len(_COLUMNS) - 2)]
    return [
        name,
        str(archive["state"]),
        _relative_time(archive.get("covered_until"), now),
        _relative_time(archive.get("retention_deadline"), now),
        str(len(archive.get("gaps") or ())),
        _relative_time(archive.get("last_verified"), now),
        str(archive.get("entries", 0)),
    ]


def _relative_time(value: Any, now: datetime) -> str:
    """The time between a moment and now in words; a dash without a moment."""
    moment = parse_timestamp(value)
    if moment is None:
        return "-"
    text = format_duration(abs(moment - now)) or "0 min"
    return f"in {text}" if moment > now else text
