# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Delivers new alerts of an archive to receivers: at least once, in order, with ids that never change.

Entries are processed in the order in which commits added them, starting with the memory of the detections at the
receiver's position. So the alerts do not depend on the number of runs or on entries that were pruned since.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..archive.chain.chain import StoredCommit, has_commit
from ..archive.chain.signing import checked_head
from ..archive.format.commit import READING_KINDS, Commit, Head
from ..archive.forwarder import AddedFiles
from ..archive.reader import parse_entry
from ..archive.storage.store import Store
from ..detections.config import Config
from ..detections.detector import Alert, Detector
from ..errors import ArchiveDamaged, AuditError, Cancelled
from .message import compose
from .positions import Position, PositionFile, Progress
from .receivers import Receiver
from .tracker import DeliveryTracker

_MESSAGES_PER_SAVE = 100
"""Positions are saved after each commit, and after this many messages within a commit."""


class DeliveryResult(NamedTuple):
    """The number of alerts that a run delivered to one receiver, and the failure that ended it, if any."""

    receiver: str
    alerts: int
    failure: Optional[AuditError]

    def to_json(self) -> Dict[str, Any]:
        """Plain values for programs."""
        failure = {"msg": self.failure.message, **self.failure.failure} if self.failure else None
        return {"receiver": self.receiver, "alerts": self.alerts, "failure": failure}


class NotifyResult(NamedTuple):
    """The result of a run.

    ``alert_counts`` has all alerts so far by severity, and ``pruned`` is the number of new entries that were pruned
    before the run could process them.
    """

    deliveries: List[DeliveryResult]
    alert_counts: Dict[str, int]
    pruned: int


class Notifier:
    """One run on one archive. ``note`` is called with messages for the user, such as about a new receiver.

    A receiver that fails gets no more messages in this run and keeps its position; the others continue. A receiver
    without a position begins at the current head, or with ``from_start`` at the first entry.
    """

    def __init__(
        self,
        store: Store,
        file: PositionFile,
        config: Config,
        receivers: Sequence[Receiver],
        stop: Optional[threading.Event] = None,
        from_start: bool = False,
        note: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self._store = store
        self._file = file
        self._config = config
        self._by_name = {detection.name: detection for detection in config.detections}
        self._receivers = receivers
        self._stop = stop or threading.Event()
        self._from_start = from_start
        self._note = note
        self._additions = AddedFiles(store)
        self._pruned = 0
        self._unsaved = 0
        self._archive_id = ""
        self._position = Position()
        self._trackers: List[DeliveryTracker] = []
        self._inactive: List[DeliveryTracker] = []

    def run(self, on_head: Callable[[StoredCommit], None] = lambda _head: None) -> NotifyResult:
        """Deliver the alerts of all commits up to the newest one.

        :raises StorageError: the archive or the bookmark cannot be read or written.
        :raises ArchiveDamaged: a file is missing or does not match its commit, or the commit of a position is missing.
        :raises Cancelled: the run was stopped; the next run continues.
        """
        self._file.check()
        known = self._file.read()
        head = checked_head(self._store, self._newest_delivered(known))
        if head is None:
            return NotifyResult([], {}, 0)
        on_head(head)
        self._archive_id = head.commit.archive_id
        if not known:
            known = self._file.read(self._archive_id)
            self._newest_delivered(known)
        self._create_trackers(known)
        try:
            self._process_commits(head)
        finally:
            self._save()
        deliveries = [
            DeliveryResult(tracker.receiver.label, tracker.delivered, tracker.failure) for tracker in self._trackers
        ]
        return NotifyResult(deliveries, dict(self._position.alert_counts), self._pruned)

    def _create_trackers(self, known: Mapping[str, Progress]) -> None:
        """Create a tracker for each receiver, and start at the earliest of their positions."""
        for receiver in self._receivers:
            tracker = DeliveryTracker(receiver, known.get(receiver.key), self._file.clock, self._deliver, self._on_sent)
            if tracker.is_new and self._from_start:
                tracker.set_first_position(Position())
            elif tracker.is_new:
                self._note(
                    f"{receiver.label} is new: it gets alerts of entries that are archived from now on. To send it "
                    "the alerts of all entries, pass --from-start in its first run."
                )
            elif self._file.was_rebooted and receiver.loses_recent_on_reboot:
                tracker.rewind_after_reboot()
            self._trackers.append(tracker)
        self._inactive = sorted(
            (tracker for tracker in self._trackers if not tracker.is_new), key=lambda tracker: tracker.position.sequence
        )
        if self._inactive:
            self._position = self._inactive[0].position

    def _newest_delivered(self, known: Mapping[str, Progress]) -> Optional[Head]:
        """The newest commit up to which a receiver got alerts.

        :raises ArchiveDamaged: the archive no longer has the commit of a position.
        """
        progress = [known[receiver.key] for receiver in self._receivers if receiver.key in known]
        heads = {timed.position.head for one in progress for timed in one.positions if timed.position.head}
        for head in sorted(heads):
            if not has_commit(self._store, head):
                raise ArchiveDamaged(
                    f"Alerts were delivered up to commit {head.sequence}, but {self._store} no longer has that "
                    "commit: the archive was truncated, replaced, or restored from an older copy. Verify the archive, "
                    f"then remove the bookmark {self._file} and pass --from-start: all alerts are delivered again, "
                    "with the same ids."
                )
        return max(heads, default=None)

    def _process_commits(self, head: StoredCommit) -> None:
        detector = Detector(self._config.detections, self._config.facts, head.commit.project.name)
        for stored in self._additions.commits(self._position.head, head):
            if self._stop.is_set():
                raise Cancelled("The command was stopped; the next run continues from here.")
            self._activate(stored.commit.sequence - 1)
            if not self._inactive and all(tracker.failure for tracker in self._trackers):
                return
            self._process_commit(stored, detector)
        self._activate(head.commit.sequence)
        self._finish(head.commit.sequence)

    def _activate(self, sequence: int) -> None:
        """Activate the trackers whose position is at or before this commit, and continue from the last activated
        position."""
        while self._inactive and self._inactive[0].position.sequence <= sequence:
            tracker = self._inactive.pop(0)
            tracker.is_active = True
            self._position = replace(tracker.position, last_alert=None)

    def _process_commit(self, stored: StoredCommit, detector: Detector) -> None:
        """Deliver the alerts of the entries that one commit added."""
        before, memory = self._position, self._position.memory
        alerts: List[Alert] = []
        if stored.commit.kind in READING_KINDS and stored.commit.files:
            # A copy, since a receiver that fails keeps the memory of its position.
            memory = detector.memory = memory.copy()
            alerts = self._alerts(stored.commit, detector)
        self._position = Position(stored.head, memory, _add_counts(before.alert_counts, alerts))
        for tracker in self._active():
            tracker.deliver(alerts, before)
            if tracker.digest_end == stored.commit.sequence:
                tracker.end_digest()
            tracker.advance(self._position)
        if self._unsaved:
            self._save()

    def _alerts(self, commit: Commit, detector: Detector) -> List[Alert]:
        """The alerts of the entries that a commit added. Identical entries give one alert."""
        found: Dict[str, Alert] = {}
        for file, lines in self._additions.files(commit):
            if lines is None:
                self._pruned += file.entries
                continue
            for line in lines:
                for alert in detector.alerts(parse_entry(self._store, file, line)):
                    found.setdefault(alert.id, alert)
        return list(found.values())

    def _finish(self, sequence: int) -> None:
        """Send digests, and give new receivers their first position.

        The end of a digest is saved before the digest is sent, so that after a crash the next run sends the same one.
        """
        waiting = [tracker for tracker in self._active() if tracker.has_pending_alerts]
        for tracker in waiting:
            tracker.plan_digest_end(sequence)
        if waiting:
            self._save()
        for tracker in waiting:
            tracker.end_digest()
        for tracker in self._active():
            tracker.advance(self._position)
        for tracker in self._trackers:
            if tracker.is_new:
                tracker.set_first_position(self._position)

    def _active(self) -> List[DeliveryTracker]:
        return [tracker for tracker in self._trackers if tracker.is_active and tracker.failure is None]

    def _deliver(self, receiver: Receiver, alerts: Sequence[Alert]) -> None:
        receiver.channel.send(compose(alerts, self._by_name), self._stop)

    def _on_sent(self) -> None:
        self._unsaved += 1
        if self._unsaved >= _MESSAGES_PER_SAVE:
            self._save()

    def _save(self) -> None:
        """Save the positions of all receivers, if one has changed."""
        self._unsaved = 0
        if any(tracker.is_changed for tracker in self._trackers):
            known = {tracker.receiver.key: tracker.progress() for tracker in self._trackers if not tracker.is_new}
            self._file.write(self._archive_id, known)
            for tracker in self._trackers:
                tracker.is_changed = False


def _add_counts(counts: Mapping[str, int], alerts: Sequence[Alert]) -> Mapping[str, int]:
    return Counter(counts) + Counter(alert.severity for alert in alerts) if alerts else counts
