# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints lines for people and JSON for programs, and formats times."""

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
    """The output of a command for one of several archives: lines for people, or a value for programs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: List[str] = []
        self.value: Any = None


class _Thread(threading.local):
    captured: Optional[CapturedOutput] = None


_thread = _Thread()


@contextmanager
def capture_output(name: str) -> Iterator[CapturedOutput]:
    """Capture what this thread prints in the block, for the archive with this name."""
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
    """Print a sentence on standard error, with the name of the archive if there are several."""
    name = f"{_thread.captured.name}: " if _thread.captured else ""
    sys.stderr.write(f"cloudscale-audit: {name}{sentence}\n")


def is_captured() -> bool:
    """True if this thread works on one of several archives, so that its progress is not shown."""
    return _thread.captured is not None


def print_gaps(gaps: Iterable[Gap], zone: tzinfo = timezone.utc) -> None:
    for gap in gaps:
        start, end = format_moment(gap.start, zone), format_moment(gap.end, zone)
        print_line(f"GAP from {start} to {end} ({to_printable(gap.why)}): entries from this time may be missing.")


def print_findings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        mark = "warning" if finding.is_warning else "FINDING"
        print_line(f"{mark} {finding.type}: {to_printable(finding.path)}: {to_printable(finding.detail)}")


def describe_failure(failure: Mapping[str, Any]) -> str:
    """The failure in the status of an archive, as a sentence."""
    return f"The last run of {failure.get('command')} failed: {to_printable(str(failure.get('msg')))}"


def format_moment(moment: Optional[datetime], zone: tzinfo = timezone.utc) -> str:
    """A time to the second with its offset from UTC, in a format that ``--start`` accepts."""
    if moment is None:
        return "never"
    moment = moment.replace(microsecond=0)
    return format_time(moment) if zone is timezone.utc else moment.astimezone(zone).isoformat()


def time_since(moment: Optional[datetime]) -> str:
    """The time since a moment in words; a moment of a faster clock can be in the future."""
    if moment is None:
        return "never"
    elapsed = utc_now() - moment
    duration = format_duration(abs(elapsed))
    if not duration:
        return "just now"
    return f"{duration} ago" if elapsed > timedelta(0) else f"in {duration}"


def time_until(moment: Optional[datetime]) -> str:
    """The time until a moment in words, or since a moment in the past."""
    if moment is None or moment <= utc_now():
        return time_since(moment)
    return f"in {format_duration(moment - utc_now()) or 'less than a minute'}"


def format_duration(duration: timedelta) -> str:
    """A duration in its two largest units that are not zero; empty for less than a minute."""
    hours, minutes = divmod(int(duration.total_seconds() // 60), 60)
    days, hours = divmod(hours, 24)
    parts = [(days, pluralize(days, "day", "days")), (hours, f"{hours} h"), (minutes, f"{minutes} min")]
    return " ".join(text for count, text in (parts[:2] if days else parts) if count)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
