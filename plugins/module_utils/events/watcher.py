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

from ..detections.detector import BASELINE, Alert, Memory
from ..errors import AuditError, Cancelled, CursorRejected, InvalidInput, MissingDependency, StorageError
from ..project_log.client import Api, Page, follow_pages
from ..project_log.entry import Entry, actor, plain, subject, timestamp
from ..project_log.reader import Reader
from ..project_log.selection import Selection
from ..settings import Connection, Range, parse_number
from ..times import RETENTION, format_time, utc_now
from .checkpoint import Checkpoint, Position, Recent, Visit
from .detecting import OPTIONS, Detecting

DEFAULT_INTERVAL = 120.0

_OPTIONS = (
    *("api_token", "api_url", "api_timeout", "api_retries", "api_retry_budget", "validate_certs", "ca_path"),
    *("actions", "actors", "ip_networks", "message_pattern", "resources"),
    *("interval", "start", "checkpoint", "replay", "feedback"),
    *OPTIONS,
)
_ENVIRONMENT = {
    "api_token": "CLOUDSCALE_API_TOKEN",
    "api_url": "CLOUDSCALE_API_URL",
    "api_timeout": "CLOUDSCALE_API_TIMEOUT",
}
_DAY = 86_400.0
_FIRST_WAIT = 5.0
_LONGEST_WAIT = 600.0
# A refusal may come from a restart of the API or of a proxy; after this many it is believed.
_REFUSALS_BORNE = 3
# Entries may become visible after later ones, and clocks differ: how far behind its time a lost place is taken up.
_MARGIN = timedelta(minutes=10)
_SLACK = timedelta(minutes=1)
# Pages that can come again: as many as an hour of one a few seconds holds.
_MOST_VISITS = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """An event to hand on, and the position that holds once it is handed on; one that comes again moves nothing."""

    event: Dict[str, Any]
    then: Position
    is_repeated: bool = False


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
        connection = Connection.from_mapping({**_from_environment(), **_given(known)})
        self._interval = parse_number(known, "interval", DEFAULT_INTERVAL, least=1, most=_DAY)
        self._replay = timedelta(seconds=parse_number(known, "replay", 0, most=_DAY))
        self._detecting = Detecting(known)
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
        self._recent = Recent(self._checkpoint.path if self._replay else None)
        # Of now: after a second kill they come once more.
        self._visits = [replace(visit, at=now()) for visit in self._recent.load()]
        self._to_repeat = deque([*self._visits, *self._begun()])
        self._api = Api(connection, self._stop, clock, wait)
        self._pages: Optional[Iterator[Page]] = None
        self._after: Optional[Position] = None
        self._fired: Dict[int, List[str]] = {}
        self._handed_on: Optional[Position] = None
        self._idle = False
        self._faults = 0
        self._refusals = 0

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
            if self._after is not None:
                self._go_to(self._after)
            if self._idle:
                self._pause(self._interval)
                self._idle = False
            found = self._patiently()
            if found:
                return found

    def done(self, delivery: Delivery) -> None:
        """The event was handed on: after a restart the log is read on behind it."""
        if delivery.is_repeated:
            return
        if "gap" in delivery.event:
            self._note(Visit(delivery.then.url, 0, self._now(), delivery.event))
        self._handed_on = delivery.then
        self._save(delivery.then)

    def _patiently(self) -> List[Delivery]:
        try:
            if self._to_repeat:
                found = self._repeat(self._to_repeat[0])
                self._to_repeat.popleft()
            else:
                found = self._next_page(self._begin())
        except CursorRejected as error:
            return self._lost_place(error)
        except (InvalidInput, MissingDependency, StorageError, Cancelled):
            raise
        except AuditError as error:
            self._bear(error)
            return []
        if self._faults:
            logger.warning("The log of %s can be read again.", self._host)
        self._faults = 0
        return found

    def _begin(self) -> Position:
        """The position, with what the detections have to know there. The first one is where the user said."""
        position = self._position or self._first()
        if position.memory is None:
            self._position = replace(position, memory=self._learned(position.seen))
            self._checkpoint.save(self._position)
            return self._position
        return position

    def _learned(self, until: datetime) -> Memory:
        """What the week before the watch teaches."""
        memory = Memory()
        for page in Reader(self._api).pages(Range(until - BASELINE, until)):
            self._detecting.learn(memory, page.entries)
            if self._stop.is_set():
                raise Cancelled("The watch was stopped.")
        return memory

    def _first(self) -> Position:
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

    def _repeat(self, visit: Visit) -> List[Delivery]:
        """What a visit handed on, as it was then: actions on it may have been cut short."""
        position = self._begin()
        if visit.gap is not None:
            return [Delivery(visit.gap, position, is_repeated=True)]
        try:
            page = self._api.page(visit.url)
        except CursorRejected as error:
            logger.warning("%s What was handed on of it cannot come again.", error.message)
            return []
        alerts = self._alerts_again(page, visit, position)
        return [
            Delivery(self._event(page, index, alerts[index]), position, is_repeated=True)
            for index, entry in enumerate(page.entries[: visit.count])
            if self._selection.matches(entry)
        ]

    def _alerts_again(self, page: Page, visit: Visit, position: Position) -> List[List[Alert]]:
        """The alerts of each entry of a page, as they were when it was handed on."""
        if visit.fired is None:
            return self._detecting.apply(position.memory or Memory(), page.entries)[0]
        fired = visit.fired
        return [self._detecting.again(fired.get(index, ()), entry) for index, entry in enumerate(page.entries)]

    def _begun(self) -> List[Visit]:
        """The visit of the page that the watch ended in, as far as it came."""
        if not self._replay or self._position is None or not self._position.index:
            return []
        return [Visit(self._position.url, self._position.index, self._now())]

    def _note(self, visit: Visit) -> None:
        """Keep what was handed on, and drop what was long ago."""
        since = visit.at - self._replay
        recent = [known for known in self._visits if known.at >= since]
        self._visits = [*recent, visit][-_MOST_VISITS:]
        try:
            self._recent.save(self._visits)
        except StorageError as error:
            logger.error("%s Events may not come again after a restart.", error.message)

    def _next_page(self, position: Position) -> List[Delivery]:
        if self._pages is None:
            self._pages = follow_pages(self._api, position.url)
        page = next(self._pages)
        read_at = page.server_date or self._now()
        found: List[Delivery] = []
        if read_at - position.seen > RETENTION + _SLACK:
            # What retention took from this page moved the others forward: the index means nothing any more.
            left = replace(position, index=0, seen=read_at - RETENTION)
            found.append(self._gap(position, "retention", left.seen, left))
            position = left
        alerts, memory = self._detecting.apply(position.memory or Memory(), page.entries)
        self._fired = {index: [one.detection for one in fired] for index, fired in enumerate(alerts) if fired}
        found.extend(self._deliveries(page, position, alerts))
        self._after = replace(_behind(page, position, read_at), memory=memory)
        if page.next is None:
            self._pages = None
            self._idle = True
            self._refusals = 0
        return found

    def _deliveries(self, page: Page, position: Position, alerts: List[List[Alert]]) -> Iterator[Delivery]:
        for index, entry in enumerate(page.entries):
            if index >= position.index and self._selection.matches(entry):
                yield Delivery(self._event(page, index, alerts[index]), replace(position, index=index + 1))

    def _event(self, page: Page, index: int, alerts: List[Alert]) -> Dict[str, Any]:
        return {**_event(page.entries[index], page.url, index), **self._detecting.fields(alerts)}

    def _gap(self, position: Position, reason: str, until: datetime, then: Position) -> Delivery:
        event = _gap(position, reason, until)
        alert = self._detecting.of_gap(event["meta"]["uuid"], event["gap"])
        return Delivery({**event, **self._detecting.fields([alert])}, then)

    def _lost_place(self, error: CursorRejected) -> List[Delivery]:
        """The API no longer knows the cursor: say so, and read on from the time until which nothing was missing."""
        if self._position is None:
            raise error
        logger.warning("%s", error.message)
        now = self._now()
        seen = self._position.seen
        again = Position(self._api.first_url(seen - _MARGIN), 0, max(seen, now - RETENTION), self._position.memory)
        self._after, self._pages = again, None
        return [self._gap(self._position, "cursor_rejected", now, again)]

    def _bear(self, error: AuditError) -> None:
        """Wait before the next try, longer each time.

        :raises AuditError: this one, when it came too often to be a passing fault.
        """
        self._pages = None
        if not error.retryable:
            self._refusals += 1
            if self._refusals > _REFUSALS_BORNE:
                raise error
        seconds = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(self._faults, 10))
        self._faults += 1
        logger.warning("%s Trying again in %.0f s.", error.message, seconds)
        self._pause(seconds)

    def _go_to(self, position: Position) -> None:
        left = self._handed_on
        if left and left.index:
            # Before the place moves on: killed in between, the page comes again twice rather than never.
            fired = {index: names for index, names in self._fired.items() if index < left.index}
            self._note(Visit(left.url, left.index, self._now(), fired=fired))
        self._handed_on = None
        self._save(position)
        self._position, self._after = position, None

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


def _behind(page: Page, position: Position, read_at: datetime) -> Position:
    """The position behind a page; a place that its entries do not reach yet lies in the pages behind it."""
    if page.next is None:
        return Position(page.poll_more, 0, read_at)
    latest = (timestamp(page.entries[-1]) if page.entries else None) or position.seen
    seen = max(position.seen, min(latest, read_at))
    return Position(page.next, max(0, position.index - len(page.entries)), seen)


def _event(entry: Entry, url: str, index: int) -> Dict[str, Any]:
    owner = subject(entry)
    who = actor(entry)
    return {
        "entry": plain(entry),
        # Playbooks get events as variables, which they take for templates: this form of it cannot pose as one.
        "entry_base64": b64encode(json.dumps(plain(entry)).encode()).decode(),
        "actor": {"kind": who.kind, "name": who.name, "uuid": who.uuid or ""},
        # The subject too: cursors of two projects may be equal.
        "meta": _meta(f"{url}#{index}@{owner.uuid or owner.name}", url, index),
    }


def _gap(position: Position, reason: str, until: datetime) -> Dict[str, Any]:
    since = format_time(position.seen)
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


def _given(options: Mapping[str, Any]) -> Dict[str, Any]:
    return {name: value for name, value in options.items() if value not in (None, "")}


def _from_environment() -> Dict[str, Any]:
    return {option: os.environ[name] for option, name in _ENVIRONMENT.items() if os.environ.get(name)}


def _path(value: Any) -> Optional[str]:
    return os.path.expanduser(str(value)) if value else None
