# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Follows the log and turns each entry into an event, at least once, across restarts and outages."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional
from urllib.parse import urlsplit

from ..detections.detector import BASELINE_PERIOD, Alert, Memory
from ..errors import AuditError, Cancelled, CursorRejected, InvalidInput, MissingDependency, StorageError
from ..project_log.client import Api, Page, follow_pages
from ..project_log.entry import timestamp
from ..project_log.reader import Reader
from ..project_log.selection import Selection
from ..settings import Connection, Range, credential_file, parse_number, read_token
from ..times import RETENTION, utc_now
from .checkpoint import Checkpoint, DeliveredPage, Position, ReplayLog
from .event import entry_event, gap_event
from .page_detector import OPTIONS, PageDetector

DEFAULT_INTERVAL = 120.0

_OPTIONS = (
    *("api_token", "api_url", "api_timeout", "api_retries", "api_retry_budget", "validate_certs", "ca_path"),
    *("actions", "actors", "ip_networks", "message_pattern", "resources"),
    *("interval", "start", "checkpoint", "replay", "feedback"),
    *OPTIONS,
)
_ENVIRONMENT_VARIABLES = {
    "api_token": "CLOUDSCALE_API_TOKEN",
    "api_url": "CLOUDSCALE_API_URL",
    "api_timeout": "CLOUDSCALE_API_TIMEOUT",
}
_DAY = 86_400.0
_MIN_BACKOFF = 5.0
_MAX_BACKOFF = 600.0
# A restart of the API or of a proxy can reject a few requests; more rejections than this are an error.
_MAX_REJECTIONS = 3
# Entries can become visible late, and clocks differ: after a rejected cursor, reading starts this much earlier.
_OVERLAP = timedelta(minutes=10)
_RETENTION_TOLERANCE = timedelta(minutes=1)
# Enough for a replay of one hour with a page every few seconds.
_MAX_REPLAY_PAGES = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """An event, and the position to save once the event is delivered; a replay changes no position."""

    event: Dict[str, Any]
    next_position: Position
    is_replay: bool = False


class Watcher:
    """Reads deliveries from the log. Call ``acknowledge`` for each delivery of ``read`` once its event is delivered.

    Options are those of CONNECTION and SELECTION (without ``limit``), ``interval`` (seconds between polls), ``start``
    (where to begin without a checkpoint), ``checkpoint`` (a file), ``replay`` (seconds: events that were delivered this
    shortly before the end of the watcher are delivered again when it starts), and those of PageDetector. ``stop`` ends
    every wait. The other arguments are seams for tests.

    :raises InvalidInput: an option cannot be used.
    :raises StorageError: the checkpoint cannot be used.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        stop: Optional[threading.Event] = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Optional[Callable[[float], bool]] = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        own = {name: value for name, value in options.items() if not name.startswith("eda_")}
        _check_names(own)
        connection = Connection.from_mapping({**_from_environment(), **_without_empty(own)})
        self._interval = parse_number(own, "interval", DEFAULT_INTERVAL, minimum=1, maximum=_DAY)
        self._replay_period = timedelta(seconds=parse_number(own, "replay", 0, maximum=_DAY))
        self._detector = PageDetector(own)
        self._start = str(own.get("start") or "now")
        Range.from_mapping({"start": self._start}, now())
        self._selection = Selection.from_mapping(own)
        self._now = now
        self._stop = stop or threading.Event()
        self._wait = wait or self._stop.wait
        self._checkpoint = Checkpoint(_path(own.get("checkpoint")))
        self._position = self._checkpoint.load()
        if self._position is not None:
            # Fail now, not after the first event, if the file is not writable.
            self._checkpoint.save(self._position)
        self._replay_log = ReplayLog(self._checkpoint.path if self._replay_period else None)
        # Restart the replay period, so that a second crash replays these pages too.
        self._delivered_pages = [replace(page, at=now()) for page in self._replay_log.load()]
        self._pages_to_replay = deque([*self._delivered_pages, *self._unfinished_page()])
        self._api = Api(connection, self._stop, clock, wait)
        self._pages: Optional[Iterator[Page]] = None
        self._next_position: Optional[Position] = None
        self._fired: Dict[int, List[str]] = {}
        self._acknowledged: Optional[Position] = None
        self._is_caught_up = False
        self._failed_reads = 0
        self._rejections = 0

    def close(self) -> None:
        """End every wait and the session."""
        self._stop.set()
        self._api.close()

    def read(self) -> List[Delivery]:
        """Wait for entries, and return the deliveries of one page in the API's order.

        Acknowledge all of them before the next call. Transient errors are retried for as long as they last.

        :raises AuditError: a retry would not help; the message says what would.
        :raises Cancelled: ``stop`` was set during a wait.
        """
        while True:
            if self._next_position is not None:
                self._advance(self._next_position)
            if self._is_caught_up:
                self._pause(self._interval)
                self._is_caught_up = False
            found = self._try_read()
            if found:
                return found

    def acknowledge(self, delivery: Delivery) -> None:
        """Save that an event was delivered: after a restart, reading continues after it."""
        if delivery.is_replay:
            return
        if "gap" in delivery.event:
            self._record_page(DeliveredPage(delivery.next_position.url, 0, self._now(), delivery.event))
        self._acknowledged = delivery.next_position
        self._save(delivery.next_position)

    def _try_read(self) -> List[Delivery]:
        try:
            if self._pages_to_replay:
                found = self._replay_page(self._pages_to_replay[0])
                self._pages_to_replay.popleft()
            else:
                found = self._read_page(self._prepared_position())
        except CursorRejected as error:
            return self._recover_cursor(error)
        except (InvalidInput, MissingDependency, StorageError, Cancelled):
            raise
        except AuditError as error:
            self._back_off(error)
            return []
        if self._failed_reads:
            logger.warning("The log of %s can be read again.", self._host)
        self._failed_reads = 0
        return found

    def _prepared_position(self) -> Position:
        """The current position, with the detections' memory; the first position is the option ``start``."""
        position = self._position or self._initial_position()
        if position.memory is None:
            self._position = replace(position, memory=self._learn_baseline(position.complete_until))
            self._checkpoint.save(self._position)
            return self._position
        return position

    def _learn_baseline(self, until: datetime) -> Memory:
        """The detections' memory after the baseline period before a time."""
        memory = Memory()
        for page in Reader(self._api).pages(Range(until - BASELINE_PERIOD, until)):
            self._detector.learn(memory, page.entries)
            if self._stop.is_set():
                raise Cancelled("The event source was stopped.")
        return memory

    def _initial_position(self) -> Position:
        """The position of the option ``start``; relative times count from the API's clock, since ours may be ahead."""
        now = self._api.page(self._api.first_url(self._now())).server_date or self._now()
        time_range = Range.from_mapping({"start": self._start}, now)
        for warning in time_range.warnings:
            logger.warning("%s", warning)
        start = time_range.start or now
        position = Position(self._api.first_url(start), 0, max(start, now - RETENTION))
        self._checkpoint.save(position)
        self._position = position
        return position

    def _replay_page(self, delivered: DeliveredPage) -> List[Delivery]:
        """The deliveries of a page again: a crash can have interrupted actions on them."""
        position = self._prepared_position()
        if delivered.gap is not None:
            return [Delivery(delivered.gap, position, is_replay=True)]
        try:
            page = self._api.page(delivered.url)
        except CursorRejected as error:
            logger.warning("%s The events of this page are not replayed.", error.message)
            return []
        alerts = self._replayed_alerts(page, delivered, position)
        return [
            Delivery(self._entry_event(page, index, alerts[index]), position, is_replay=True)
            for index, entry in enumerate(page.entries[: delivered.count])
            if self._selection.matches(entry)
        ]

    def _replayed_alerts(self, page: Page, delivered: DeliveredPage, position: Position) -> List[List[Alert]]:
        """The alerts of each entry of a page, as they were when the page was delivered."""
        if delivered.fired is None:
            return self._detector.detect(position.memory or Memory(), page.entries)[0]
        fired = delivered.fired
        return [self._detector.recreate_alerts(fired.get(index, ()), entry) for index, entry in enumerate(page.entries)]

    def _unfinished_page(self) -> List[DeliveredPage]:
        """The delivered part of the page at the checkpoint; a list of at most one."""
        if not self._replay_period or self._position is None or not self._position.index:
            return []
        return [DeliveredPage(self._position.url, self._position.index, self._now())]

    def _record_page(self, delivered: DeliveredPage) -> None:
        """Add a page to the replay log, and remove pages older than the replay period."""
        since = delivered.at - self._replay_period
        recent = [page for page in self._delivered_pages if page.at >= since]
        self._delivered_pages = [*recent, delivered][-_MAX_REPLAY_PAGES:]
        try:
            self._replay_log.save(self._delivered_pages)
        except StorageError as error:
            logger.error("%s A restart might not replay all events.", error.message)

    def _read_page(self, position: Position) -> List[Delivery]:
        if self._pages is None:
            self._pages = follow_pages(self._api, position.url)
        page = next(self._pages)
        read_at = page.server_date or self._now()
        found: List[Delivery] = []
        if read_at - position.complete_until > RETENTION + _RETENTION_TOLERANCE:
            # The provider deleted entries of this page, so the index of the others is unknown.
            resumed = replace(position, index=0, complete_until=read_at - RETENTION)
            found.append(self._gap_delivery(position, "retention", resumed.complete_until, resumed))
            position = resumed
        alerts, memory = self._detector.detect(position.memory or Memory(), page.entries)
        self._fired = {index: [one.detection for one in fired] for index, fired in enumerate(alerts) if fired}
        found.extend(self._deliveries(page, position, alerts))
        self._next_position = replace(_position_after(page, position, read_at), memory=memory)
        if page.next is None:
            self._pages = None
            self._is_caught_up = True
            self._rejections = 0
        return found

    def _deliveries(self, page: Page, position: Position, alerts: List[List[Alert]]) -> Iterator[Delivery]:
        for index, entry in enumerate(page.entries):
            if index >= position.index and self._selection.matches(entry):
                yield Delivery(self._entry_event(page, index, alerts[index]), replace(position, index=index + 1))

    def _entry_event(self, page: Page, index: int, alerts: List[Alert]) -> Dict[str, Any]:
        return {**entry_event(page.entries[index], page.url, index), **self._detector.event_fields(alerts)}

    def _gap_delivery(self, position: Position, reason: str, until: datetime, next_position: Position) -> Delivery:
        event = gap_event(position, reason, until)
        alert = self._detector.gap_alert(event["meta"]["uuid"], event["gap"])
        return Delivery({**event, **self._detector.event_fields([alert])}, next_position)

    def _recover_cursor(self, error: CursorRejected) -> List[Delivery]:
        """Deliver a gap for a rejected cursor, and continue from the time until which nothing is missing."""
        if self._position is None:
            raise error
        logger.warning("%s", error.message)
        now = self._now()
        complete_until = self._position.complete_until
        resumed = Position(
            self._api.first_url(complete_until - _OVERLAP),
            0,
            max(complete_until, now - RETENTION),
            self._position.memory,
        )
        self._next_position, self._pages = resumed, None
        return [self._gap_delivery(self._position, "cursor_rejected", now, resumed)]

    def _back_off(self, error: AuditError) -> None:
        """Wait before the next attempt, longer each time.

        :raises AuditError: the given error, if the API rejected too many requests for a transient error.
        """
        self._pages = None
        if not error.retryable:
            self._rejections += 1
            if self._rejections > _MAX_REJECTIONS:
                raise error
        seconds = min(_MAX_BACKOFF, _MIN_BACKOFF * 2 ** min(self._failed_reads, 10))
        self._failed_reads += 1
        logger.warning("%s Retrying in %.0f s.", error.message, seconds)
        self._pause(seconds)

    def _advance(self, position: Position) -> None:
        """Go to the position after the current page."""
        last = self._acknowledged
        if last and last.index:
            # Record the page before advancing: a crash in between duplicates a page but never loses one.
            fired = {index: names for index, names in self._fired.items() if index < last.index}
            self._record_page(DeliveredPage(last.url, last.index, self._now(), fired=fired))
        self._acknowledged = None
        self._save(position)
        self._position, self._next_position = position, None

    def _save(self, position: Position) -> None:
        """Save the checkpoint. If that fails, continue: after a restart, events are repeated with the same uuid."""
        try:
            self._checkpoint.save(position)
        except StorageError as error:
            logger.error("%s A restart will repeat events.", error.message)

    def _pause(self, seconds: float) -> None:
        if self._wait(seconds):
            raise Cancelled("The event source was stopped.")

    @property
    def _host(self) -> str:
        return urlsplit(self._api.connection.api_url).netloc


def _position_after(page: Page, position: Position, read_at: datetime) -> Position:
    """The position after a page. If the page has fewer entries than the index, the rest counts on the next page."""
    if page.next is None:
        return Position(page.poll_more, 0, read_at)
    latest = (timestamp(page.entries[-1]) if page.entries else None) or position.complete_until
    complete_until = max(position.complete_until, min(latest, read_at))
    return Position(page.next, max(0, position.index - len(page.entries)), complete_until)


def _check_names(options: Mapping[str, Any]) -> None:
    if "limit" in options:
        raise InvalidInput("limit does not apply to a stream of events; remove it.")
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise InvalidInput(f"Unknown option {', '.join(unknown)}; use {', '.join(_OPTIONS)}.")


def _without_empty(options: Mapping[str, Any]) -> Dict[str, Any]:
    return {name: value for name, value in options.items() if value not in (None, "")}


def _from_environment() -> Dict[str, Any]:
    """Options from environment variables. In a systemd service, the credential ``api_token`` overrides the variable."""
    found = {option: os.environ[name] for option, name in _ENVIRONMENT_VARIABLES.items() if os.environ.get(name)}
    credential = credential_file("api_token")
    return {**found, "api_token": read_token(credential)} if credential else found


def _path(value: Any) -> Optional[str]:
    return os.path.expanduser(str(value)) if value else None
