# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metadata of a report for programs: time range, time zone and time of making.

Parsers of CSV and JSON lines do not skip comments, so the metadata of these formats is in a file next to them. Parquet
files contain it.
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
"""Suffix of the companion file: next to ``report.csv`` it is ``report.meta.json``."""

PARQUET_KEY = "audit_report"
"""Key of the metadata in a Parquet file."""

_DESCRIBED = ("csv", "jsonl")
_MADE = re.compile(rb'"made": "[0-9T:+.-]+"')


def with_companion(paths: Mapping[str, str], stem: str) -> Dict[str, str]:
    """The path of each format, and the path of the companion file if a format needs it."""
    is_needed = any(form in paths for form in _DESCRIBED)
    return {**paths, **({NAME: f"{stem}.{NAME}.json"} if is_needed else {})}


def metadata(
    title: str,
    time_range: Range,
    now: datetime,
    zone: tzinfo,
    zone_name: str,
    projects: Sequence[str],
    summary: Mapping[str, Any],
) -> Dict[str, Any]:
    """The metadata. ``start`` is None if the range begins with the oldest entry or at a cursor."""
    return {
        "title": title,
        "start": _local(time_range.start, zone),
        "end": _local(time_range.end or now, zone),
        "time_zone": zone_name,
        "made": _local(now, zone),
        "projects": list(projects),
        "entries": summary["entries"],
        "complete": summary["complete"],
        "generator": f"auditops.cloudscale {VERSION}",
    }


def companion(about: Mapping[str, Any], paths: Mapping[str, str]) -> str:
    """Text of the companion file, with the SHA-256 of each file that it describes."""
    digests = {form: content_sha256(paths[form]) for form in _DESCRIBED if form in paths}
    return json.dumps({**about, "sha256": digests}, indent=2, ensure_ascii=True) + "\n"


def without_made(content: bytes) -> bytes:
    """Content of a file without the time of making, for a comparison with an earlier file."""
    return _MADE.sub(b"", content)


def _local(moment: Optional[datetime], zone: tzinfo) -> Optional[str]:
    return None if moment is None else moment.astimezone(zone).isoformat(timespec="seconds")
