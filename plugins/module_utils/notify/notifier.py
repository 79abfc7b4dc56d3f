# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Delivers new alerts of an archive to receivers: at least once, in order, under ids that never change.

Entries are looked at in the order in which commits added them, from what the detections remembered at a receiver's
position. So the same alerts are found in however many runs, and also when old entries were pruned since.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..archive.chain.chain import StoredCommit
from ..archive.chain.signing import checked_head
from ..archive.format.commit import READING_KINDS, Commit, Head
from ..archive.forwarder import AddedFiles, has_commit
from ..archive.reader import parse_entry
from ..archive.storage.store import Store
from ..detections.config import Config
from ..detections.detector import Alert, Detector
from ..errors import ArchiveDamaged, AuditError, Cancelled
from .message import compose
from .positions import Position, PositionFile, Progress
from .receivers import Receiver
from .track import DeliveryTracker

_MESSAGES_PER_SAVE = 100
"""After so many messages within one commit, positions are stored before its end."""


class DeliveryResult(NamedTuple):
    """What a run did for one receiver: the alerts it took, and why it takes no more, if it does not."""

    receiver: str
    alerts: int
    failure: Optional[AuditError]

    def to_json(self) -> Dict[str, Any]:
        """Plain values for programs."""
        failure = {"msg": self.failure.message, **self.failure.failure} if self.failure else None
        return {"receiver": self.receiver, "alerts": self.alerts, "failure": failure}


class NotifyResult(NamedTuple):
    """What a run did. ``found``: all alerts so far, by severity; ``pruned``: entries that were gone before it came."""

    deliveries: List[DeliveryResult]
    found: Dict[str, int]
    pruned: int


class Notifier:
    """One run on one archive. ``note`` is given sentences for people, such as that a receiver is new.

    A receiver that fails gets nothing more in this run, and its position stays; the others go on. A receiver without a
    position begins at the present head, with ``from_start`` at the first entry.
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

    def run(self, on_head: Callable[[StoredCommit], None] = lambda _link: None) -> NotifyResult:
        """Deliver the alerts of all commits up to the newest one.

        :raises StorageError: the archive or the bookmark cannot be read or written.
        :raises ArchiveDamaged: a file is absent or holds something else than its commit says, or the commit of a
            position is gone.
        :raises Cancelled: the run was stopped; the next one continues.
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
        deliveries = [DeliveryResult(track.receiver.label, track.delivered, track.failure) for track in self._trackers]
        return NotifyResult(deliveries, dict(self._position.found), self._pruned)

    def _create_trackers(self, known: Mapping[str, Progress]) -> None:
        """Give each receiver its position, and stand at the one that is furthest back."""
        for receiver in self._receivers:
            track = DeliveryTracker(receiver, known.get(receiver.key), self._file.clock, self._deliver, self._on_sent)
            if track.is_new and self._from_start:
                track.set_first_position(Position())
            elif track.is_new:
                self._note(
                    f"{receiver.label} is new: it gets alerts of entries that are archived from now on; pass "
                    "--from-start in its first run for those of all entries."
                )
            elif self._file.was_rebooted and receiver.loses_recent_on_reboot:
                track.rewind_after_reboot()
            self._trackers.append(track)
        self._inactive = sorted(
            (track for track in self._trackers if not track.is_new), key=lambda track: track.position.sequence
        )
        if self._inactive:
            self._position = self._inactive[0].position

    def _newest_delivered(self, known: Mapping[str, Progress]) -> Optional[Head]:
        """The newest commit up to which a receiver got alerts. Refuse to guess where to continue.

        :raises ArchiveDamaged: the archive no longer has such a commit.
        """
        progress = [known[receiver.key] for receiver in self._receivers if receiver.key in known]
        heads = {mark.position.head for one in progress for mark in one.marks if mark.position.head}
        for head in sorted(heads):
            if not has_commit(self._store, head):
                raise ArchiveDamaged(
                    f"Alerts were delivered up to commit {head.sequence}, but {self._store} no longer has that "
                    "commit: it was cut, replaced, or restored from an older copy. Verify it, then remove the bookmark "
                    f"{self._file} and pass --from-start: all alerts are delivered again, under the same ids."
                )
        return max(heads, default=None)

    def _process_commits(self, head: StoredCommit) -> None:
        detector = Detector(self._config.detections, self._config.facts, head.commit.project.name)
        for link in self._additions.commits(self._position.head, head):
            if self._stop.is_set():
                raise Cancelled("It was stopped; the next run continues where this one ended.")
            self._activate(link.commit.sequence - 1)
            if not self._inactive and all(track.failure for track in self._trackers):
                return
            self._process_commit(link, detector)
        self._activate(head.commit.sequence)
        self._finish(head.commit.sequence)

    def _activate(self, sequence: int) -> None:
        """Take along the receivers whose position this is. What is known at their position counts from there on."""
        while self._inactive and self._inactive[0].position.sequence <= sequence:
            track = self._inactive.pop(0)
            track.is_active = True
            self._position = replace(track.position, last_alert=None)

    def _process_commit(self, link: StoredCommit, detector: Detector) -> None:
        """Look at what one commit added, and deliver its alerts."""
        before, memory = self._position, self._position.memory
        alerts: List[Alert] = []
        if link.commit.kind in READING_KINDS and link.commit.files:
            # A receiver that fails keeps the memory of its position.
            memory = detector.memory = memory.copy()
            alerts = self._alerts(link.commit, detector)
        self._position = Position(link.head, memory, _add_counts(before.found, alerts))
        for track in self._active():
            track.deliver(alerts, before)
            if track.digest_end == link.commit.sequence:
                track.end_digest()
            track.advance(self._position)
        if self._unsaved:
            self._save()

    def _alerts(self, commit: Commit, detector: Detector) -> List[Alert]:
        """The alerts of what a commit added, each id once: entries without any difference are one alert."""
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
        """Send digests, and let new receivers begin.

        The end of a digest is stored before it is sent: a later run sends the same one again if this one is killed.
        """
        waiting = [track for track in self._active() if track.has_pending_alerts]
        for track in waiting:
            track.plan_digest_end(sequence)
        if waiting:
            self._save()
        for track in waiting:
            track.end_digest()
        for track in self._active():
            track.advance(self._position)
        for track in self._trackers:
            if track.is_new:
                track.set_first_position(self._position)

    def _active(self) -> List[DeliveryTracker]:
        return [track for track in self._trackers if track.is_active and track.failure is None]

    def _deliver(self, receiver: Receiver, alerts: Sequence[Alert]) -> None:
        receiver.channel.send(compose(alerts, self._by_name), self._stop)

    def _on_sent(self) -> None:
        self._unsaved += 1
        if self._unsaved >= _MESSAGES_PER_SAVE:
            self._save()

    def _save(self) -> None:
        """Store the positions that there are, if one has changed."""
        self._unsaved = 0
        if any(track.is_changed for track in self._trackers):
            known = {track.receiver.key: track.progress() for track in self._trackers if not track.is_new}
            self._file.write(self._archive_id, known)
            for track in self._trackers:
                track.is_changed = False


def _add_counts(found: Mapping[str, int], alerts: Sequence[Alert]) -> Mapping[str, int]:
    return Counter(found) + Counter(alert.severity for alert in alerts) if alerts else found
