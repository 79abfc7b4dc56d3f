# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One project's log: the order in which entries became visible, cursors into it, ranges and retention."""

from __future__ import annotations

import json
import re
import threading
from array import array
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Union

Entry = Dict[str, Any]
RawEntry = Union[Entry, str, bytes]
"""An entry as a dict, or its JSON text, which is then served byte for byte."""

EVER = (0, 1 << 62)

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d)?(?:\.(\d+))?(Z|z|[+-]\d\d:\d\d)", re.ASCII)
_TIMESTAMP = re.compile(rb'"timestamp"\s*:\s*"([^"\\]*)"')
_CURSOR = re.compile(r"(\d{1,19})(?:-(\d{0,19})-(\d{0,19}))?", re.ASCII)
# The vendor's cursor counts more than one project's entries: positions lie apart, so that a cursor can move on
# although no entry was shown, and none of them is an index.
_FIRST_CURSOR = 10_025
_STRIDE = 1_000
_BLOCK = 1_024
_CHUNK = 10_000
_HIDDEN = -1
_NOBODY: Any = object()


class InvalidCursor(Exception):
    """The cursor is none of this log's."""


@dataclass(frozen=True)
class Cursor:
    """A position in the order of visibility; ``idle`` counts the empty pages cut there; ``span`` is a carried range."""

    position: int
    idle: int = 0
    span: Tuple[int, int] = EVER

    def __str__(self) -> str:
        number = _FIRST_CURSOR + self.position * _STRIDE + self.idle
        if self.span == EVER:
            return str(number)
        start, end = self.span
        return f"{number}-{start or ''}-{'' if end == EVER[1] else end}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """:raises InvalidCursor: the text was never given out."""
        match = _CURSOR.fullmatch(text)
        if not match or int(match[1]) < _FIRST_CURSOR:
            raise InvalidCursor(text)
        position, idle = divmod(int(match[1]) - _FIRST_CURSOR, _STRIDE)
        return cls(position, idle, (int(match[2] or EVER[0]), int(match[3] or EVER[1])))


@dataclass(frozen=True)
class Cut:
    """A page as it was cut from a log: encoded entries, whether more of the range are there, and where to go on."""

    entries: List[bytes]
    more: bool
    position: int


class ProjectLog:
    """What one project's tokens may read. Safe to append to while it is served.

    An entry becomes visible when it is appended, whatever its timestamp says; retention goes by the timestamp.
    """

    def __init__(self, subject: Entry, clock: Callable[[], datetime]) -> None:
        self.subject = subject
        self._clock = clock
        self._lock = threading.Lock()
        self._encoded: List[bytes] = []
        self._times = array("q")
        self._blocks: List[Tuple[int, int]] = []

    def append(
        self,
        action: str = "server_create",
        message: str = "Server 'hello' has been created",
        timestamp: Union[datetime, str, None] = None,
        actor: Optional[Entry] = None,
        ip_address: Optional[str] = _NOBODY,
        subject: Optional[Entry] = None,
        **extra: Any,
    ) -> Entry:
        """Make one entry visible, now, at the end, and return it; ``timestamp`` defaults to the server's clock."""
        who = {"user": {"email": "johanna@example.com"}} if actor is None else actor
        if ip_address is _NOBODY:
            ip_address = "192.0.2.10" if "user" in who or "api_token" in who else None
        moment = self._clock() if timestamp is None else timestamp
        entry: Entry = {
            "timestamp": moment if isinstance(moment, str) else write_time(moment),
            "action": action,
            "message": message,
            "ip_address": ip_address,
            "actor": who,
            "subject": self.subject if subject is None else subject,
            **extra,
        }
        self.extend([entry])
        return entry

    def extend(self, entries: Iterable[RawEntry]) -> None:
        """Make entries visible in this order, kept as given. JSON text (str, bytes) is served untouched.

        A dict that lacks ``subject`` gets this project's.
        """
        source = iter(entries)
        while True:
            chunk = [self._encode(entry) for entry in islice(source, _CHUNK)]
            if not chunk:
                return
            now = microseconds(self._clock())
            self._store(chunk, [_time_of(encoded, now) for encoded in chunk])

    def hide(self, count: int = 1) -> None:
        """Let entries pass that this project never sees: cursors move on, nothing is shown."""
        self._store([b""] * count, [_HIDDEN] * count)

    def __len__(self) -> int:
        return len(self._encoded)

    @property
    def entries(self) -> List[Entry]:
        """All entries in visible order, those beyond retention too, decoded anew (numbers as Python's)."""
        return [json.loads(encoded) for encoded in self._encoded if encoded]

    def cut(self, position: int, span: Tuple[int, int], size: int) -> Cut:
        """At most ``size`` entries of a range (microseconds), from a position on."""
        with self._lock:
            found = list(islice(self._positions(position, span), size + 1))
            more = len(found) > size
            on_from = found.pop() if more else len(self._encoded)
            return Cut([self._encoded[index] for index in found], more, on_from)

    def oldest(self, since: int) -> int:
        """The position of the oldest entry that retention (microseconds) has left."""
        with self._lock:
            return next(self._positions(0, (since, EVER[1])), len(self._encoded)) if since > 0 else 0

    def lost(self, position: int, since: int) -> bool:
        """Whether retention took entries between a position and the oldest one left."""
        oldest = self.oldest(since)
        if position >= oldest:
            return False
        with self._lock:
            return next(self._positions(position, (EVER[0], since)), oldest) < oldest

    def _positions(self, position: int, span: Tuple[int, int]) -> Iterator[int]:
        start, end = span
        total = len(self._encoded)
        while position < total:
            block = position // _BLOCK
            stop = min((block + 1) * _BLOCK, total)
            least, most = self._blocks[block]
            if most >= start and least < end:
                times = self._times
                for index in range(position, stop):
                    if start <= times[index] < end:
                        yield index
            position = stop

    def _store(self, encoded: List[bytes], times: List[int]) -> None:
        with self._lock:
            self._encoded.extend(encoded)
            self._times.extend(times)
            # The last block may have been incomplete.
            first = max(0, len(self._encoded) - len(encoded)) // _BLOCK
            del self._blocks[first:]
            for begin in range(first * _BLOCK, len(self._times), _BLOCK):
                block = self._times[begin : begin + _BLOCK]
                self._blocks.append((min(block), max(block)))

    def _encode(self, entry: RawEntry) -> bytes:
        if isinstance(entry, bytes):
            return entry
        if isinstance(entry, str):
            return entry.encode()
        return encode(entry if "subject" in entry else {**entry, "subject": self.subject})


def encode(document: Any) -> bytes:
    """JSON as the API writes it: compact UTF-8; escaped only where UTF-8 cannot say it (lone surrogates)."""
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(document, separators=(",", ":")).encode()


def read_time(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 time with offset.

    :raises ValueError: it is none.
    """
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is no time with an offset")
    day, minute, second, fraction, offset = match.groups()
    zone = "+00:00" if offset in "zZ" else offset
    moment = datetime.fromisoformat(f"{day}T{minute}{second or ':00'}.{(fraction or '')[:6]:0<6}{zone}")
    return max(0, microseconds(moment))


def write_time(moment: datetime) -> str:
    """A time as the API writes it."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _time_of(encoded: bytes, now: int) -> int:
    """The entry's time in microseconds; one without a readable time counts as written now."""
    match = _TIMESTAMP.search(encoded)
    try:
        return read_time(match[1].decode()) if match else now
    except ValueError:
        return now
