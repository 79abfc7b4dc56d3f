# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pending records: the names of the data files that a run is about to write, for cleaning up after a killed run."""

from __future__ import annotations

import json
import re
from typing import Iterable, List, Optional

from .commit import FORMAT, parse_data_file_name

_NAME = re.compile(r"pending/(\d{12})-([0-9a-z]{1,32})\.(json|tmp)", re.ASCII)


def pending_name(sequence: int, run: str) -> str:
    """The name of the record of a run for its next commit."""
    return f"pending/{sequence:012d}-{run}.json"


def parse_pending_name(name: str) -> Optional[int]:
    """The sequence in the name of a pending record or a temporary file; None for any other name."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def pending_record(names: Iterable[str]) -> bytes:
    """The content of a pending record."""
    return json.dumps({"format": FORMAT, "files": sorted(names)}).encode("ascii") + b"\n"


def parse_pending_record(body: bytes, sequence: int) -> Optional[List[str]]:
    """The data files of this sequence that a pending record names; None if the bytes are not a pending record."""
    try:
        names = json.loads(body)["files"]
        return [name for name in names if _sequence(name) == sequence]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _sequence(name: str) -> Optional[int]:
    parts = parse_data_file_name(name)
    return parts.sequence if parts else None
