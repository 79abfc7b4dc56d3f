# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tracks the delivery to one receiver in one run: the alerts that are pending, and the position."""

from __future__ import annotations

from typing import Callable, List, Optional, Sequence

from ..detections.detector import Alert
from ..errors import AuditError, Cancelled
from .message import MAX_ALERTS
from .positions import Position, Progress, TimedPosition
from .receivers import Receiver

Send = Callable[[Receiver, Sequence[Alert]], None]
"""Sends alerts as one message, and returns when the receiver has accepted the message."""


class DeliveryTracker:
    """The delivery to one receiver. ``progress`` is None for a new one; ``on_sent`` is called after each message.

    After a failure the receiver gets no more messages, so that alerts always arrive in order. ``is_active`` is True
    once the run has reached the receiver's position.
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
        self._positions: List[TimedPosition] = list(progress.positions) if progress else []
        self._has_moved = False
        self._buffer: List[Alert] = []
        self._clock = clock
        self._send = send
        self._on_sent = on_sent

    @property
    def is_new(self) -> bool:
        return not self._positions

    @property
    def position(self) -> Position:
        return self._positions[-1].position

    @property
    def has_pending_alerts(self) -> bool:
        """True if alerts wait for the end of a digest."""
        return bool(self._buffer) and self.failure is None

    def progress(self) -> Progress:
        """The progress to save."""
        if self.receiver.loses_recent_on_reboot:
            return Progress(self._positions, self.digest_end).without_outdated(self._clock())
        return Progress(self._positions[-1:], self.digest_end)

    def set_first_position(self, position: Position) -> None:
        """Give a new receiver its first position."""
        self._positions = [TimedPosition(position, self._clock())]
        self.is_changed = True

    def rewind_after_reboot(self) -> None:
        """Go back to the last position that the receiver had certainly stored before the host rebooted."""
        self._positions = Progress(self._positions).after_reboot().positions

    def deliver(self, alerts: Sequence[Alert], before: Position) -> None:
        """Deliver the alerts of the commit after the position ``before``; a full digest is delivered at once."""
        for alert in self._undelivered(alerts, before):
            if not self.receiver.accepts(alert.severity):
                continue
            self._buffer.append(alert)
            if not self.receiver.digest or len(self._buffer) == MAX_ALERTS:
                self.flush()
                if self.failure is not None:
                    return
                self._set_position(Position(before.head, before.memory, before.alert_counts, alert.id))
                self._on_sent()

    def advance(self, position: Position) -> None:
        """Set the position after a commit, unless alerts are pending."""
        if self.failure is None and not self._buffer and not self.position.is_equal(position):
            self._set_position(position)

    def plan_digest_end(self, sequence: int) -> None:
        """End the current digest with this commit, even if a later run sends the digest."""
        if self.digest_end is None:
            self.digest_end = sequence
            self.is_changed = True

    def flush(self) -> None:
        """Send the pending alerts, if any."""
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
        """The alerts of a commit that no earlier run delivered."""
        position = self.position
        ids = [alert.id for alert in alerts]
        if position.last_alert is None or position.head != before.head or position.last_alert not in ids:
            return alerts
        return alerts[ids.index(position.last_alert) + 1 :]

    def _set_position(self, position: Position) -> None:
        """Replace the position of this run; those of earlier runs are kept for a reboot."""

        if self._has_moved:
            self._positions.pop()
        self._positions.append(TimedPosition(position, self._clock()))
        self._has_moved = self.is_changed = True
