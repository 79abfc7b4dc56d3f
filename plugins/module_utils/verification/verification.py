# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Polls the log until the expectations are met, or until they can no longer be met in time."""

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
    """Waiting times in seconds: maximum for missing changes, between two polls, and after all expectations are met."""

    timeout: float = 60
    interval: float = 5
    settle: float = 5

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> WaitPolicy:
        """Read the options ``timeout``, ``interval`` and ``settle``; None means the default.

        :raises InvalidInput: an option is not a number, too small or too large; the interval cannot be 0.
        """
        return cls(
            timeout=parse_number(options, "timeout", cls.timeout),
            interval=parse_number(options, "interval", cls.interval, minimum=0.001),
            settle=parse_number(options, "settle", cls.settle),
        )


@dataclass(frozen=True)
class Result:
    """Outcome: the comparison, the seconds waited, the URL to continue from, and the error, if there is one."""

    comparison: Comparison
    missing: List[Missing]
    waited: float
    poll_more: str
    warnings: List[str] = field(default_factory=list)
    error: Optional[AuditError] = None

    def as_dict(self) -> Dict[str, Any]:
        """The result as built-in types."""
        return {
            "matched": [to_builtin_entry(entry) for entry in self.comparison.matched],
            "missing": [_missing_as_dict(missing) for missing in self.missing],
            "unexpected": [to_builtin_entry(change.entry) for change in self.comparison.unexpected],
            "waited": round(self.waited, 3),
            "poll_more": self.poll_more,
        }


class Verification:
    """One verification: checks the options first, then compares the log with them.

    :raises InvalidInput: an option is not valid.
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
        """Read the range and poll until the result is final.

        With ``once``, read the range only once; then missing changes are not an error. Tests replace ``clock`` and
        ``wait``, as in Api.

        :raises InvalidInput: the range cannot have entries, by the API's clock.
        :raises AuditError: the log cannot be read.
        """
        pause = wait or threading.Event().wait
        with Api(self._connection, clock=clock, wait=pause) as api:
            polled = _PolledRange(api, self._range, Comparison(self._expectations))
            wait_policy = WaitPolicy(0, 1, 0) if once else self._wait_policy
            waited = polled.wait_for_result(wait_policy, clock, pause)
        comparison = polled.comparison
        missing = comparison.missing()
        error: Optional[AuditError] = None
        if comparison.unexpected or (missing and not once):
            kind = UnexpectedChanges if comparison.unexpected else MissingChanges
            error = kind(explain(missing, comparison.unexpected, len(self._expectations.expect), waited))
        return Result(comparison, missing, waited, polled.poll_more, self._range.warnings, error)


class _PolledRange:
    """A range that is read once and then polled. ``poll_more`` continues the range, ``_cursor`` the polls."""

    def __init__(self, api: Api, time_range: Range, comparison: Comparison) -> None:
        self._reader = Reader(api)
        self._time_range = time_range
        self._cursor = ""
        self.comparison = comparison

    @property
    def poll_more(self) -> str:
        """The URL to continue from, the same as after a read of the range."""
        return self._reader.poll_more or ""

    def wait_for_result(self, wait_policy: WaitPolicy, clock: Callable[[], float], wait: Wait) -> float:
        """Poll until the result is final; returns the seconds waited."""
        began = requested = clock()
        self._read(self._time_range)
        met_at: Optional[float] = None
        while not self.comparison.unexpected:
            now = clock()
            if not self.comparison.met:
                deadline, covered = began + wait_policy.timeout, now
            else:
                met_at = now if met_at is None else met_at
                deadline = met_at + wait_policy.settle
                # Entries that became visible after the last request was sent might not be in its response.
                covered = requested if wait_policy.settle else now
            if covered >= deadline:
                break
            if wait(max(0.0, min(wait_policy.interval, deadline - now))):
                raise Cancelled("The verification was stopped before it had a result.")
            requested = clock()
            self._read(replace(self._time_range, cursor=self._cursor))
        return clock() - began

    def _read(self, time_range: Range) -> None:
        for page in self._reader.pages(time_range):
            if not self._cursor:
                _require_possible_entries(time_range, page.server_date or utc_now())
            for entry in page.entries:
                self.comparison.add(entry)
            self._cursor = page.poll_more


def _require_rules(expectations: Expectations) -> None:
    """Reject expectations that every log meets.

    :raises InvalidInput: there is no rule, or none that an entry or its absence could violate.
    """
    if expectations.exclusive or expectations.forbid:
        return
    if not expectations.expect:
        raise InvalidInput("There is nothing to verify: add a rule to expect or forbid, or set exclusive to true.")
    if all(rule.minimum == 0 and rule.maximum is None for rule in expectations.expect):
        raise InvalidInput(
            "There is nothing to verify: every rule of expect has min 0 and no max, so any log meets them. "
            "Raise min, set max, or set exclusive to true."
        )


def _require_range(time_range: Range) -> None:
    """Reject a range without a beginning, which is usually a variable without a value, and an empty range.

    :raises InvalidInput: neither a cursor nor a start is set, or start equals end.
    """
    if time_range.cursor is None and time_range.start is None:
        raise InvalidInput(
            "There is no range to verify: set cursor to the poll_more of a read before the change, or set start. "
            "An empty cursor counts as not set."
        )
    if time_range.is_empty:
        raise InvalidInput("The range is empty: start equals end, and end is exclusive.")


def _require_possible_entries(time_range: Range, server_time: datetime) -> None:
    """Reject a range that the API cannot have entries of.

    :raises InvalidInput: the range begins in the future, or ends before the provider's retention.
    """
    start, end = time_range.start, time_range.end
    if start is not None and start > server_time + CLOCK_TOLERANCE:
        raise InvalidInput(
            f"start ({format_time(start)}) is in the future; the API's clock shows {format_time(server_time)}."
        )
    if end is not None and end < server_time - RETENTION:
        raise InvalidInput(
            f"end ({format_time(end)}) is before the provider's retention of {RETENTION.days} days: "
            "the log no longer has entries of the range."
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
