# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a table of entries is about, for programs: its time range, its time zone, and when it was made.

CSV and JSON lines have no place for it that parsers skip, so that it is a file beside them. Parquet files contain it.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, tzinfo
from typing import Any, Dict, Mapping, Optional, Sequence

from ..files import content_sha256
from ..settings import Range
from ..version import VERSION

NAME = "meta"
"""The form of the companion file: beside ``report.csv`` it is ``report.meta.json``."""

PARQUET_KEY = "audit_report"
"""The key of the metadata among a Parquet file's own."""

_DESCRIBED = ("csv", "jsonl")
_MADE = re.compile(rb'"made": "[0-9T:+.-]+"')


def with_companion(paths: Mapping[str, str], stem: str) -> Dict[str, str]:
    """The path of each form, and that of the companion file if a form needs it."""
    is_needed = any(form in paths for form in _DESCRIBED)
    return {**paths, **({NAME: f"{stem}.{NAME}.json"} if is_needed else {})}


def metadata(
    title: str,
    asked: Range,
    now: datetime,
    zone: tzinfo,
    zone_name: str,
    projects: Sequence[str],
    summary: Mapping[str, Any],
) -> Dict[str, Any]:
    """The metadata. ``start`` is None for the oldest entry that is kept, and for a cursor."""
    return {
        "title": title,
        "start": _local(asked.start, zone),
        "end": _local(asked.end or now, zone),
        "time_zone": zone_name,
        "made": _local(now, zone),
        "projects": list(projects),
        "entries": summary["entries"],
        "complete": summary["complete"],
        "generator": f"auditops.cloudscale {VERSION}",
    }


def companion(about: Mapping[str, Any], paths: Mapping[str, str]) -> str:
    """The text of the companion file, with the SHA-256 of each file that it describes."""
    digests = {form: content_sha256(paths[form]) for form in _DESCRIBED if form in paths}
    return json.dumps({**about, "sha256": digests}, indent=2, ensure_ascii=True) + "\n"


def without_made(content: bytes) -> bytes:
    """A file's content without the time of making, to compare it with an earlier one."""
    return _MADE.sub(b"", content)


def _local(moment: Optional[datetime], zone: tzinfo) -> Optional[str]:
    return None if moment is None else moment.astimezone(zone).isoformat(timespec="seconds")
