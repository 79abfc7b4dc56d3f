# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people and programs read on standard output."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any, Iterable, Iterator, List, Mapping, Optional

from ..archive.format.commit import Gap
from ..counts import pluralize
from ..project_log.entry import to_printable
from ..times import format_time, utc_now

if TYPE_CHECKING:
    from ..archive.finding import Finding


class CapturedOutput:
    """What a command printed about one of several archives: lines for people, or a value for programs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: List[str] = []
        self.value: Any = None


class _Thread(threading.local):
    captured: Optional[CapturedOutput] = None


_thread = _Thread()


@contextmanager
def captured(name: str) -> Iterator[CapturedOutput]:
    """Keep what this thread prints in the block, which is about the archive of this name."""
    _thread.captured = CapturedOutput(name)
    try:
        yield _thread.captured
    finally:
        _thread.captured = None


def print_line(line: str) -> None:
    if _thread.captured:
        _thread.captured.lines.append(line)
    else:
        sys.stdout.write(line + "\n")


def print_json(value: Any) -> None:
    if _thread.captured:
        _thread.captured.value = value
    else:
        sys.stdout.write(json.dumps(value, sort_keys=True) + "\n")


def warn(sentence: str) -> None:
    print_note(f"warning: {sentence}")


def print_note(sentence: str) -> None:
    """Say something on standard error that is worth knowing, and no reason to worry."""
    name = f"{_thread.captured.name}: " if _thread.captured else ""
    sys.stderr.write(f"cloudscale-audit: {name}{sentence}\n")


def is_captured() -> bool:
    """Whether this thread works on one of several archives, so that nobody watches its progress."""
    return _thread.captured is not None


def print_gaps(gaps: Iterable[Gap], zone: tzinfo = timezone.utc) -> None:
    for gap in gaps:
        span = f"from {when(gap.start, zone)} to {when(gap.end, zone)}"
        print_line(f"GAP {span} ({to_printable(gap.why)}): entries of this time may be missing.")


def print_findings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        mark = "warning" if finding.is_warning else "FINDING"
        print_line(f"{mark} {finding.type}: {to_printable(finding.path)}: {to_printable(finding.detail)}")


def describe_failure(failure: Mapping[str, Any]) -> str:
    """Why the last run of a command failed, as the status of an archive has it."""
    return f"The last run of {failure.get('command')} failed: {to_printable(str(failure.get('msg')))}"


def when(moment: Optional[datetime], zone: tzinfo = timezone.utc) -> str:
    """A moment to the second, with its offset from UTC, in a form that ``--start`` accepts."""
    if moment is None:
        return "never"
    moment = moment.replace(microsecond=0)
    return format_time(moment) if zone is timezone.utc else moment.astimezone(zone).isoformat()


def ago(moment: Optional[datetime]) -> str:
    """How long ago a moment was, or how long it takes until one that is yet to come, as by another clock."""
    if moment is None:
        return "never"
    passed = utc_now() - moment
    distance = format_duration(abs(passed))
    if not distance:
        return "just now"
    return f"{distance} ago" if passed > timedelta(0) else f"in {distance}"


def ahead(moment: Optional[datetime]) -> str:
    """How long it takes until a moment, or how long ago it was."""
    if moment is None or moment <= utc_now():
        return ago(moment)
    return f"in {format_duration(moment - utc_now()) or 'less than a minute'}"


def format_duration(span: timedelta) -> str:
    """A duration in its two largest units, as far as they are not zero; empty for less than a minute."""
    hours, minutes = divmod(int(span.total_seconds() // 60), 60)
    days, hours = divmod(hours, 24)
    parts = [(days, pluralize(days, "day", "days")), (hours, f"{hours} h"), (minutes, f"{minutes} min")]
    return " ".join(text for count, text in (parts[:2] if days else parts) if count)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
