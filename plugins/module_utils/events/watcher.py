# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watches the log for programs that react: every entry becomes an event, at least once, over restarts and outages."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from base64 import b64encode
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional
from urllib.parse import urlsplit

from ..detections.detector import BASELINE_PERIOD, Alert, Memory
from ..errors import AuditError, Cancelled, CursorRejected, InvalidInput, MissingDependency, StorageError
from ..project_log.client import Api, Page, follow_pages
from ..project_log.entry import Entry, actor, subject, timestamp, to_builtin_entry
from ..project_log.reader import Reader
from ..project_log.selection import Selection
from ..settings import Connection, Range, parse_number
from ..times import RETENTION, format_time, utc_now
from .checkpoint import Checkpoint, DeliveredPage, Position, ReplayLog
from .detecting import OPTIONS, PageDetector

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
# A refusal may come from a restart of the API or of a proxy; after this many it is believed.
_MAX_REJECTIONS = 3
# Entries may become visible after later ones, and clocks differ: how far behind its time a lost place is taken up.
_OVERLAP = timedelta(minutes=10)
_RETENTION_TOLERANCE = timedelta(minutes=1)
# Pages that can come again: as many as an hour of one a few seconds holds.
_MAX_REPLAY_PAGES = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """An event to hand on, and the position that holds once it is handed on; one that comes again moves nothing."""

    event: Dict[str, Any]
    next_position: Position
    is_replay: bool = False


class Watcher:
    """The log as deliveries: ``read`` waits for some, ``done`` is told of each one that was handed on.

    Options are those of CONNECTION and SELECTION (without ``limit``), ``interval`` (seconds between polls), ``start``
    (where to begin without a checkpoint), ``checkpoint`` (a file), ``replay`` (seconds: what was handed on that shortly
    before the watch ended is handed on again when it starts), and those of Detecting. ``stop`` ends every wait. The
    other arguments are seams for tests.

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
        known = {name: value for name, value in options.items() if not name.startswith("eda_")}
        _check_names(known)
        connection = Connection.from_mapping({**_from_environment(), **_without_empty(known)})
        self._interval = parse_number(known, "interval", DEFAULT_INTERVAL, minimum=1, maximum=_DAY)
        self._replay_period = timedelta(seconds=parse_number(known, "replay", 0, maximum=_DAY))
        self._detecting = PageDetector(known)
        self._start = str(known.get("start") or "now")
        Range.from_mapping({"start": self._start}, now())
        self._selection = Selection.from_mapping(known)
        self._now = now
        self._stop = stop or threading.Event()
        self._wait = wait or self._stop.wait
        self._checkpoint = Checkpoint(_path(known.get("checkpoint")))
        self._position = self._checkpoint.load()
        if self._position is not None:
            # Tell at once, not after the first event, that the file cannot be replaced.
            self._checkpoint.save(self._position)
        self._replay_log = ReplayLog(self._checkpoint.path if self._replay_period else None)
        # Of now: after a second kill they come once more.
        self._delivered_pages = [replace(visit, at=now()) for visit in self._replay_log.load()]
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
        """Wait until there is something to hand on: what one page holds, in the API's order. Call it when all is done.

        Passing faults are waited out, for as long as they last.

        :raises AuditError: asking again would not help; the sentence says what would.
        :raises Cancelled: a wait was ended.
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

    def done(self, delivery: Delivery) -> None:
        """The event was handed on: after a restart the log is read on behind it."""
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
        """The position, with what the detections have to know there. The first one is where the user said."""
        position = self._position or self._initial_position()
        if position.memory is None:
            self._position = replace(position, memory=self._learn_baseline(position.complete_until))
            self._checkpoint.save(self._position)
            return self._position
        return position

    def _learn_baseline(self, until: datetime) -> Memory:
        """What the week before the watch teaches."""
        memory = Memory()
        for page in Reader(self._api).pages(Range(until - BASELINE_PERIOD, until)):
            self._detecting.learn(memory, page.entries)
            if self._stop.is_set():
                raise Cancelled("The watch was stopped.")
        return memory

    def _initial_position(self) -> Position:
        """What is relative counts from the API's clock: ours may be ahead of it."""
        now = self._api.page(self._api.first_url(self._now())).server_date or self._now()
        span = Range.from_mapping({"start": self._start}, now)
        for warning in span.warnings:
            logger.warning("%s", warning)
        start = span.start or now
        position = Position(self._api.first_url(start), 0, max(start, now - RETENTION))
        self._checkpoint.save(position)
        self._position = position
        return position

    def _replay_page(self, visit: DeliveredPage) -> List[Delivery]:
        """What a visit handed on, as it was then: actions on it may have been cut short."""
        position = self._prepared_position()
        if visit.gap is not None:
            return [Delivery(visit.gap, position, is_replay=True)]
        try:
            page = self._api.page(visit.url)
        except CursorRejected as error:
            logger.warning("%s What was handed on of it cannot come again.", error.message)
            return []
        alerts = self._replayed_alerts(page, visit, position)
        return [
            Delivery(self._event(page, index, alerts[index]), position, is_replay=True)
            for index, entry in enumerate(page.entries[: visit.count])
            if self._selection.matches(entry)
        ]

    def _replayed_alerts(self, page: Page, visit: DeliveredPage, position: Position) -> List[List[Alert]]:
        """The alerts of each entry of a page, as they were when it was handed on."""
        if visit.fired is None:
            return self._detecting.apply(position.memory or Memory(), page.entries)[0]
        fired = visit.fired
        return [self._detecting.again(fired.get(index, ()), entry) for index, entry in enumerate(page.entries)]

    def _unfinished_page(self) -> List[DeliveredPage]:
        """The visit of the page that the watch ended in, as far as it came."""
        if not self._replay_period or self._position is None or not self._position.index:
            return []
        return [DeliveredPage(self._position.url, self._position.index, self._now())]

    def _record_page(self, visit: DeliveredPage) -> None:
        """Keep what was handed on, and drop what was long ago."""
        since = visit.at - self._replay_period
        recent = [known for known in self._delivered_pages if known.at >= since]
        self._delivered_pages = [*recent, visit][-_MAX_REPLAY_PAGES:]
        try:
            self._replay_log.save(self._delivered_pages)
        except StorageError as error:
            logger.error("%s Events may not come again after a restart.", error.message)

    def _read_page(self, position: Position) -> List[Delivery]:
        if self._pages is None:
            self._pages = follow_pages(self._api, position.url)
        page = next(self._pages)
        read_at = page.server_date or self._now()
        found: List[Delivery] = []
        if read_at - position.complete_until > RETENTION + _RETENTION_TOLERANCE:
            # What retention took from this page moved the others forward: the index means nothing any more.
            left = replace(position, index=0, complete_until=read_at - RETENTION)
            found.append(self._gap(position, "retention", left.complete_until, left))
            position = left
        alerts, memory = self._detecting.apply(position.memory or Memory(), page.entries)
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
                yield Delivery(self._event(page, index, alerts[index]), replace(position, index=index + 1))

    def _event(self, page: Page, index: int, alerts: List[Alert]) -> Dict[str, Any]:
        return {**_event(page.entries[index], page.url, index), **self._detecting.event_fields(alerts)}

    def _gap(self, position: Position, reason: str, until: datetime, next_position: Position) -> Delivery:
        event = _gap(position, reason, until)
        alert = self._detecting.gap_alert(event["meta"]["uuid"], event["gap"])
        return Delivery({**event, **self._detecting.event_fields([alert])}, next_position)

    def _recover_cursor(self, error: CursorRejected) -> List[Delivery]:
        """The API no longer knows the cursor: say so, and read on from the time until which nothing was missing."""
        if self._position is None:
            raise error
        logger.warning("%s", error.message)
        now = self._now()
        complete_until = self._position.complete_until
        again = Position(
            self._api.first_url(complete_until - _OVERLAP),
            0,
            max(complete_until, now - RETENTION),
            self._position.memory,
        )
        self._next_position, self._pages = again, None
        return [self._gap(self._position, "cursor_rejected", now, again)]

    def _back_off(self, error: AuditError) -> None:
        """Wait before the next try, longer each time.

        :raises AuditError: this one, when it came too often to be a passing fault.
        """
        self._pages = None
        if not error.retryable:
            self._rejections += 1
            if self._rejections > _MAX_REJECTIONS:
                raise error
        seconds = min(_MAX_BACKOFF, _MIN_BACKOFF * 2 ** min(self._failed_reads, 10))
        self._failed_reads += 1
        logger.warning("%s Trying again in %.0f s.", error.message, seconds)
        self._pause(seconds)

    def _advance(self, position: Position) -> None:
        left = self._acknowledged
        if left and left.index:
            # Before the place moves on: killed in between, the page comes again twice rather than never.
            fired = {index: names for index, names in self._fired.items() if index < left.index}
            self._record_page(DeliveredPage(left.url, left.index, self._now(), fired=fired))
        self._acknowledged = None
        self._save(position)
        self._position, self._next_position = position, None

    def _save(self, position: Position) -> None:
        """Events matter more than the checkpoint: without it they come again, with the same uuid."""
        try:
            self._checkpoint.save(position)
        except StorageError as error:
            logger.error("%s Events will come again after a restart.", error.message)

    def _pause(self, seconds: float) -> None:
        if self._wait(seconds):
            raise Cancelled("The watch was stopped.")

    @property
    def _host(self) -> str:
        return urlsplit(self._api.connection.api_url).netloc


def _position_after(page: Page, position: Position, read_at: datetime) -> Position:
    """The position behind a page; a place that its entries do not reach yet lies in the pages behind it."""
    if page.next is None:
        return Position(page.poll_more, 0, read_at)
    latest = (timestamp(page.entries[-1]) if page.entries else None) or position.complete_until
    complete_until = max(position.complete_until, min(latest, read_at))
    return Position(page.next, max(0, position.index - len(page.entries)), complete_until)


def _event(entry: Entry, url: str, index: int) -> Dict[str, Any]:
    owner = subject(entry)
    who = actor(entry)
    return {
        "entry": to_builtin_entry(entry),
        # Playbooks get events as variables, which they take for templates: this form of it cannot pose as one.
        "entry_base64": b64encode(json.dumps(to_builtin_entry(entry)).encode()).decode(),
        "actor": {"kind": who.kind, "name": who.name, "uuid": who.uuid or ""},
        # The subject too: cursors of two projects may be equal.
        "meta": _meta(f"{url}#{index}@{owner.uuid or owner.name}", url, index),
    }


def _gap(position: Position, reason: str, until: datetime) -> Dict[str, Any]:
    since = format_time(position.complete_until)
    sentences = {
        "retention": f"The log was not read since {since}, longer than the provider's retention of {RETENTION.days} "
        "days: entries in between may be lost.",
        "cursor_rejected": f"The provider refused the place where reading would have gone on: the log is read again "
        f"from shortly before {since}, and some entries may come twice.",
    }
    gap = {"reason": reason, "since": since, "until": format_time(until), "message": sentences[reason]}
    meta = _meta(f"{position.url}#gap@{since}", position.url, position.index)
    return {"gap": gap, "meta": meta}


def _meta(name: str, url: str, index: int) -> Dict[str, Any]:
    return {"uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, name)), "source_offset": {"url": url, "index": index}}


def _check_names(options: Mapping[str, Any]) -> None:
    if "limit" in options:
        raise InvalidInput("limit: a stream of events has no end, and so no newest entries; leave it out.")
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise InvalidInput(f"There is no option {', '.join(unknown)}; there are {', '.join(_OPTIONS)}.")


def _without_empty(options: Mapping[str, Any]) -> Dict[str, Any]:
    return {name: value for name, value in options.items() if value not in (None, "")}


def _from_environment() -> Dict[str, Any]:
    return {option: os.environ[name] for option, name in _ENVIRONMENT_VARIABLES.items() if os.environ.get(name)}


def _path(value: Any) -> Optional[str]:
    return os.path.expanduser(str(value)) if value else None
