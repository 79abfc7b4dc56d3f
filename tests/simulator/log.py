# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One project's log: the order in which entries became visible, cursors into it, ranges and retention."""

from __future__ import annotations

import json
import re
import threading
from array import array
from bisect import bisect_right
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
_CURSOR = re.compile(r"(\d{1,18})(?:-(\d{0,19})-(\d{0,19}))?", re.ASCII)
_FIRST_ID = 10_025
# Free ids before each entry, so that a cursor can move on although no entry was shown.
_MIN_SPACING = 32
_BLOCK = 1_024
_CHUNK = 10_000
_NOBODY: Any = object()


class InvalidCursor(Exception):
    """The text is not a cursor of this API."""


class Table:
    """The database table of all projects' entries: hands out its growing, sparse ids. Safe to share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = 0
        self.newest = _FIRST_ID

    def insert(self, count: int) -> List[int]:
        """The ids of new rows, in commit order."""
        with self._lock:
            return [self._next() for _row in range(count)]

    def _next(self) -> int:
        self._rows += 1
        # The gaps differ as if other customers wrote in between.
        self.newest += _MIN_SPACING + self._rows * 7919 % 61
        return self.newest


@dataclass(frozen=True)
class Cursor:
    """The id of the last row shown; ``span`` is a range inside the cursor itself, as one mode has it."""

    after: int = 0
    bounds: Tuple[int, int] = EVER

    def __str__(self) -> str:
        if self.bounds == EVER:
            return str(self.after)
        start, end = self.bounds
        return f"{self.after}-{start or ''}-{'' if end == EVER[1] else end}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """:raises InvalidCursor: the text is not a cursor."""
        match = _CURSOR.fullmatch(text)
        if not match:
            raise InvalidCursor(text)
        return cls(int(match[1]), (int(match[2] or EVER[0]), int(match[3] or EVER[1])))


@dataclass(frozen=True)
class Cut:
    """A page cut from a log: encoded entries, the id of the last one read, and whether more entries follow."""

    entries: List[bytes]
    last_id: int
    more: bool


class ProjectLog:
    """What one project's tokens may read. Safe to append to while it is served.

    An entry becomes visible when it is appended, whatever its timestamp says; retention goes by the timestamp.
    """

    def __init__(self, subject: Entry, clock: Callable[[], datetime], table: Optional[Table] = None) -> None:
        self.subject = subject
        self.table = table or Table()
        self._clock = clock
        self._lock = threading.Lock()
        self._encoded: List[bytes] = []
        self._ids = array("q")
        self._times = array("q")
        self._hidden = 0
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
        """Insert rows of other projects: the newest id grows, this project sees nothing."""
        self._hidden += len(self.table.insert(count))

    def __len__(self) -> int:
        """How many entries there are, hidden ones included."""
        return len(self._encoded) + self._hidden

    @property
    def entries(self) -> List[Entry]:
        """All entries in visible order, those beyond retention too, decoded again, with Python's numbers."""
        return [json.loads(encoded) for encoded in self._encoded]

    def cut(self, after: int, bounds: Tuple[int, int], size: int) -> Cut:
        """At most ``size`` entries of a range (microseconds) with ids above ``after``."""
        with self._lock:
            found = list(islice(self._positions(bisect_right(self._ids, after), bounds), size + 1))
            following = found.pop() if len(found) > size else None
            entries = [self._encoded[position] for position in found]
            if found:
                return Cut(entries, self._ids[found[-1]], following is not None)
            if following is None:
                return Cut(entries, max(after, self.table.newest), False)
            # An empty page in the middle of a read: on by one, but not as far as the next entry.
            return Cut(entries, max(after + 1, self._ids[following] - _MIN_SPACING + 1), True)

    def lost(self, after: int, since: int) -> bool:
        """Whether retention took entries between an id and the oldest entry left."""
        with self._lock:
            first = bisect_right(self._ids, after)
            oldest = next(self._positions(0, (since, EVER[1])), len(self._ids))
            return next(self._positions(first, (EVER[0], since)), oldest) < oldest

    def _positions(self, position: int, bounds: Tuple[int, int]) -> Iterator[int]:
        start, end = bounds
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
            self._ids.extend(self.table.insert(len(encoded)))
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
        raise ValueError(f"{text!r} is not a time with an offset")
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
