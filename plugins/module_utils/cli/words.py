# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people and programs read on standard output."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Iterable, Optional

from ..archive.format import Gap
from ..entry import visible
from ..timespan import format_time

if TYPE_CHECKING:
    from ..archive.verifier import Finding


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def print_json(value: Any) -> None:
    say(json.dumps(value, sort_keys=True))


def tell_gaps(gaps: Iterable[Gap]) -> None:
    for gap in gaps:
        say(f"GAP from {when(gap.start)} to {when(gap.end)} ({gap.why}): entries of this time may be missing.")


def tell_findings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        mark = "warning" if finding.is_warning else "FINDING"
        say(f"{mark} {finding.type}: {visible(finding.path)}: {visible(finding.detail)}")


def number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def when(moment: Optional[datetime]) -> str:
    return "never" if moment is None else format_time(moment.replace(microsecond=0))


def ago(moment: Optional[datetime]) -> str:
    return "never" if moment is None else f"{_distance(now() - moment)} ago"


def ahead(moment: Optional[datetime]) -> str:
    if moment is None:
        return "never"
    return f"in {_distance(moment - now())}" if moment > now() else ago(moment)


def _distance(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"


def now() -> datetime:
    return datetime.now(timezone.utc)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
