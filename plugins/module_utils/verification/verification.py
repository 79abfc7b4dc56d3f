# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits until the log tells what is expected of it, or until it is certain that it does not."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Callable, Dict, List, Mapping, Optional

from ..errors import AuditError, Cancelled, InvalidInput, MissingChanges, UnexpectedChanges
from ..project_log.client import Api
from ..project_log.entry import to_builtin_entry
from ..project_log.reader import Reader
from ..settings import CLOCK_TOLERANCE, Connection, Range, parse_number
from ..times import RETENTION, format_time, utc_now
from .expectations import Comparison, Expectations, Missing
from .explanation import explain

Wait = Callable[[float], bool]


@dataclass(frozen=True)
class WaitPolicy:
    """How long to wait, in seconds: for what is missing at most, between two polls, and once nothing is missing."""

    timeout: float = 60
    interval: float = 5
    settle: float = 5

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> WaitPolicy:
        """Build it from the options ``timeout``, ``interval`` and ``settle``; None means the default.

        :raises InvalidInput: one is no number, or too small or too large; between two polls there is some time.
        """
        return cls(
            timeout=parse_number(options, "timeout", cls.timeout),
            interval=parse_number(options, "interval", cls.interval, minimum=0.001),
            settle=parse_number(options, "settle", cls.settle),
        )


@dataclass(frozen=True)
class Result:
    """What came out: the evidence, how long it took in seconds, where to read on, and the error to tell if any."""

    comparison: Comparison
    missing: List[Missing]
    waited: float
    poll_more: str
    warnings: List[str] = field(default_factory=list)
    error: Optional[AuditError] = None

    def as_dict(self) -> Dict[str, Any]:
        """The verdict as plain values."""
        return {
            "matched": [to_builtin_entry(entry) for entry in self.comparison.matched],
            "missing": [_missing_as_dict(missing) for missing in self.missing],
            "unexpected": [to_builtin_entry(found.entry) for found in self.comparison.unexpected],
            "waited": round(self.waited, 3),
            "poll_more": self.poll_more,
        }


class Verification:
    """Options, read and checked before anything is asked; then one comparison of the log with them.

    :raises InvalidInput: an option cannot be used.
    """

    def __init__(self, options: Mapping[str, Any], now: Optional[datetime] = None) -> None:
        self._connection = Connection.from_mapping(options)
        self._range = Range.from_mapping(options, now or utc_now())
        self._expectations = Expectations.from_mapping(options)
        self._wait_policy = WaitPolicy.from_mapping(options)
        _require_rules(self._expectations)
        _require_range(self._range)

    def run(
        self, once: bool = False, clock: Callable[[], float] = time.monotonic, wait: Optional[Wait] = None
    ) -> Result:
        """Read the range and poll on until the verdict is certain; with ``once`` read it once, and miss nothing.

        ``clock`` and ``wait`` are seams for tests, as those of Api.

        :raises InvalidInput: by the API's clock, no entry can be in the range.
        :raises AuditError: the log could not be read.
        """
        pause = wait or threading.Event().wait
        with Api(self._connection, clock=clock, wait=pause) as api:
            watch = _PolledRange(api, self._range, Comparison(self._expectations))
            waited = watch.wait_for_result(WaitPolicy(0, 1, 0) if once else self._wait_policy, clock, pause)
        comparison = watch.comparison
        missing = comparison.missing()
        error: Optional[AuditError] = None
        if comparison.unexpected or (missing and not once):
            kind = UnexpectedChanges if comparison.unexpected else MissingChanges
            error = kind(explain(missing, comparison.unexpected, len(self._expectations.expect), waited))
        return Result(comparison, missing, waited, watch.poll_more, watch.warnings, error)


class _PolledRange:
    """One range that is read once, and then polled: ``poll_more`` continues the range, ``_cursor`` its polls."""

    def __init__(self, api: Api, time_range: Range, comparison: Comparison) -> None:
        self._reader = Reader(api)
        self._time_range = time_range
        self._cursor = ""
        self.comparison = comparison
        self.warnings: List[str] = []

    @property
    def poll_more(self) -> str:
        """The URL to continue from, as of a read of the same range."""
        return self._reader.poll_more or ""

    def wait_for_result(self, wait_policy: WaitPolicy, clock: Callable[[], float], wait: Wait) -> float:
        """Returns how many seconds it took."""
        began = asked = clock()
        self._read(self._time_range)
        self.warnings = list(self._reader.warnings)
        met: Optional[float] = None
        while not self.comparison.unexpected:
            now = clock()
            if not self.comparison.met:
                due, done = began + wait_policy.timeout, now
            else:
                met = now if met is None else met
                # What became visible while the last answer was on its way may not be in it.
                due, done = met + wait_policy.settle, asked if wait_policy.settle else now
            if done >= due:
                break
            if wait(max(0.0, min(wait_policy.interval, due - now))):
                raise Cancelled("The verification was stopped before it came to an end.")
            asked = clock()
            self._read(replace(self._time_range, cursor=self._cursor))
        return clock() - began

    def _read(self, time_range: Range) -> None:
        for page in self._reader.pages(time_range):
            if not self._cursor:
                _require_possible_entries(time_range, page.server_date or utc_now())
            for entry in page.entries:
                self.comparison.add(entry)
            self._cursor = page.poll_more


def _require_rules(wanted: Expectations) -> None:
    """Refuse expectations that every log meets.

    :raises InvalidInput: there is no rule, or none that an entry, or its absence, could violate.
    """
    if wanted.exclusive or wanted.forbid:
        return
    if not wanted.expect:
        raise InvalidInput("There is nothing to verify: give a rule in expect or forbid, or set exclusive to true.")
    if all(rule.minimum == 0 and rule.maximum is None for rule in wanted.expect):
        raise InvalidInput(
            "There is nothing to verify: every rule of expect has min 0 and no max, so any log meets them. "
            "Raise min, set max, or set exclusive to true."
        )


def _require_range(time_range: Range) -> None:
    """Refuse a range without a beginning, most often a variable without a value, and one that is empty.

    :raises InvalidInput: there is neither a cursor nor a start, or start equals end.
    """
    if time_range.cursor is None and time_range.start is None:
        raise InvalidInput(
            "There is no range to verify: set cursor to the poll_more of a read before the change, or set start. "
            "A cursor from a variable without a value counts as not set."
        )
    if time_range.is_empty:
        raise InvalidInput("The range is empty: start equals end, and end is exclusive.")


def _require_possible_entries(time_range: Range, server_time: datetime) -> None:
    """Refuse a range that the API cannot have entries of.

    :raises InvalidInput: it lies in the future, or before what the provider keeps.
    """
    if time_range.start is not None and time_range.start > server_time + CLOCK_TOLERANCE:
        raise InvalidInput(
            f"start ({format_time(time_range.start)}) is in the future; "
            f"the API's clock shows {format_time(server_time)}."
        )
    if time_range.end is not None and time_range.end < server_time - RETENTION:
        raise InvalidInput(
            f"end ({format_time(time_range.end)}) is before the provider's retention of {RETENTION.days} days: "
            "nothing of the range is left to verify."
        )


def _missing_as_dict(missing: Missing) -> Dict[str, Any]:
    nearest = missing.nearest
    return {
        **missing.rule.given,
        "name": missing.rule.name,
        "wanted": missing.rule.wanted,
        "found": missing.found,
        "nearest": nearest and {**nearest._asdict(), "entry": to_builtin_entry(nearest.entry)},
    }
