# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Retries of a request after a transient error: how many, and how long to wait before each."""

from __future__ import annotations

from typing import Callable, Optional, Tuple

from ..errors import AuditError, InvalidResponse
from ..settings import Connection

_FIRST_DELAY = 0.5
_MAX_DELAY = 60.0
# A host that has never responded is more likely a typing error than an outage: fail within seconds.
_NO_RESPONSE_RETRIES = 2
_NO_RESPONSE_BUDGET = 5.0
# A lost packet is possible, too. Noticing it takes up to 10 s, which is more than that budget.
_CONNECT_TIMEOUT_RETRIES = 1


class Throttle:
    """Shared by all clients of one API: when the API asks one of them to slow down, all wait.

    ``overloads`` counts the HTTP 429 responses.
    """

    def __init__(self) -> None:
        self.overloads = 0
        self._blocked_until = 0.0

    def block_until(self, moment: float) -> None:
        self.overloads += 1
        self._blocked_until = max(self._blocked_until, moment)

    def seconds_left(self, now: float) -> float:
        """Seconds until the next request may be sent; not positive if it may be sent now."""
        return self._blocked_until - now


class TransientError(Exception):
    """An error that a retry might resolve.

    ``error`` is raised if it does not. ``after`` is the number of seconds that the server asks to wait.
    ``never_connected``: no connection was established; ``timed_out``: because the host did not respond in time.
    """

    def __init__(
        self,
        error: AuditError,
        after: Optional[float] = None,
        never_connected: bool = False,
        timed_out: bool = False,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.after = after
        self.never_connected = never_connected
        self.timed_out = timed_out


class RetrySchedule:
    """Counts the attempts to read one page and computes the delay before the next one."""

    def __init__(self, connection: Connection, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._connection = connection
        self._clock = clock
        self._jitter = jitter
        self._began = clock()
        self._retries = 0

    def delay_after(self, error: TransientError, responded: bool) -> Optional[float]:
        """Seconds to wait before the next attempt; None if no further attempt is allowed.

        ``responded``: the API has returned a page before.
        """
        max_retries, budget = self._limits(error, responded)
        seconds_left = budget - (self._clock() - self._began)
        if self._retries >= max_retries or seconds_left <= 0 or (error.after or 0) > seconds_left:
            return None
        max_delay = min(_MAX_DELAY, _FIRST_DELAY * 2**self._retries)
        self._retries += 1
        # Half of the delay is random, so that hosts that failed at the same time do not retry at the same time.
        delay = error.after or max_delay * (1 + self._jitter()) / 2
        return min(delay, seconds_left)

    def _limits(self, error: TransientError, responded: bool) -> Tuple[int, float]:
        """The maximum number of retries, and the seconds that they may take in total."""
        retries, budget = self._connection.retries, self._connection.retry_budget
        # A host whose first response is not a page is probably not the API, and minutes of retries do not change that.
        if responded or not (error.never_connected or isinstance(error.error, InvalidResponse)):
            return retries, budget
        if error.timed_out:
            return min(retries, _CONNECT_TIMEOUT_RETRIES), budget
        return min(retries, _NO_RESPONSE_RETRIES), min(budget, _NO_RESPONSE_BUDGET)
