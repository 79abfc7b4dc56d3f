# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One receiver in one run: what it still has to get, and up to where it got everything."""

from __future__ import annotations

from typing import Callable, List, Optional, Sequence

from ..detections.detector import Alert
from ..errors import AuditError, Cancelled
from .message import MAX_ALERTS
from .positions import Position, Progress, TimedPosition
from .receivers import Receiver

Send = Callable[[Receiver, Sequence[Alert]], None]
"""Delivers some alerts as one message; on return the receiver has them."""


class DeliveryTracker:
    """``progress`` is None for a new receiver. ``on_sent`` is called after each message, with the position moved.

    A receiver that failed once gets nothing more: an alert never arrives before an earlier one. ``is_active``: the run
    has come to the receiver's position.
    """

    def __init__(
        self,
        receiver: Receiver,
        progress: Optional[Progress],
        clock: Callable[[], float],
        send: Send,
        on_sent: Callable[[], None],
    ) -> None:
        self.receiver = receiver
        self.is_active = False
        self.is_changed = False
        self.failure: Optional[AuditError] = None
        self.delivered = 0
        self.digest_end: Optional[int] = progress.digest_end if progress else None
        self._marks: List[TimedPosition] = list(progress.marks) if progress else []
        self._has_moved = False
        self._buffer: List[Alert] = []
        self._clock = clock
        self._send = send
        self._on_sent = on_sent

    @property
    def is_new(self) -> bool:
        return not self._marks

    @property
    def position(self) -> Position:
        return self._marks[-1].position

    @property
    def has_pending_alerts(self) -> bool:
        """Whether alerts wait for the end of a digest."""
        return bool(self._buffer) and self.failure is None

    def progress(self) -> Progress:
        """What to store."""
        found = Progress(self._marks, self.digest_end)
        return (
            found.without_outdated(self._clock())
            if self.receiver.loses_recent_on_reboot
            else Progress(self._marks[-1:], self.digest_end)
        )

    def set_first_position(self, position: Position) -> None:
        """Give a new receiver its first position."""
        self._marks = [TimedPosition(position, self._clock())]
        self.is_changed = True

    def rewind_after_reboot(self) -> None:
        """Go back to what had settled when the host was booted."""
        self._marks = Progress(self._marks).after_reboot().marks

    def deliver(self, alerts: Sequence[Alert], before: Position) -> None:
        """Deliver the alerts of one commit, before which ``before`` is; a digest is delivered when it is full."""
        for alert in self._undelivered(alerts, before):
            if not self.receiver.accepts(alert.severity):
                continue
            self._buffer.append(alert)
            if not self.receiver.digest or len(self._buffer) == MAX_ALERTS:
                self.flush()
                if self.failure is not None:
                    return
                self._set_position(Position(before.head, before.memory, before.found, alert.id))
                self._on_sent()

    def advance(self, position: Position) -> None:
        """Go behind a commit, unless something of it or of an earlier one still has to be delivered."""
        if self.failure is None and not self._buffer and not self.position.is_equal(position):
            self._set_position(position)

    def plan_digest_end(self, sequence: int) -> None:
        """Let the digest under way end with this commit, also if it is sent by a later run."""
        if self.digest_end is None:
            self.digest_end = sequence
            self.is_changed = True

    def flush(self) -> None:
        """Deliver the digest under way, if it has alerts."""
        if self._buffer:
            try:
                self._send(self.receiver, self._buffer)
            except Cancelled:
                raise
            except AuditError as error:
                self.failure = error
                return
            self.delivered += len(self._buffer)
            self._buffer.clear()

    def end_digest(self) -> None:
        self.flush()
        if self.failure is None:
            self.digest_end = None

    def _undelivered(self, alerts: Sequence[Alert], before: Position) -> Sequence[Alert]:
        """The alerts of a commit without those that an earlier run delivered."""
        position = self.position
        ids = [alert.id for alert in alerts]
        if position.last_alert is None or position.head != before.head or position.last_alert not in ids:
            return alerts
        return alerts[ids.index(position.last_alert) + 1 :]

    def _set_position(self, position: Position) -> None:
        """One mark for each run is enough."""
        if self._has_moved:
            self._marks.pop()
        self._marks.append(TimedPosition(position, self._clock()))
        self._has_moved = self.is_changed = True
