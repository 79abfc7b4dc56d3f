# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong between a client and the API, scripted."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import format_datetime
from fnmatch import fnmatchcase
from typing import Any, List, Optional, Union

from .log import encode

KINDS = (
    "pass",  # no fault: lets a request through, so that the next fault hits a later one
    "status",  # an error answer: status, body, retry_after
    "html",  # an HTML page instead of JSON, with status 502 or the one given
    "reset",  # the connection is reset before a byte of the answer
    "reset_body",  # ... in the middle of the body
    "truncated",  # Content-Length promises more than is sent before an orderly close
    "empty",  # status 200 and no body
    "not_object",  # JSON, but a list
    "no_results",  # the answer lacks its results
    "no_poll_more",  # the answer lacks its poll_more
    "foreign_next",  # next leads to another host (to)
    "foreign_poll_more",  # poll_more leads to another host (to)
    "redirect",  # to the same URL once more, or to another place (to)
    "loop",  # next is the URL of the request itself
    "slow",  # the answer begins after some seconds
    "drip",  # the body comes in drops, with a pause of some seconds between them
    "raw",  # any bytes as body, with status 200 or the one given, and a Content-Encoding if one is given (encoding)
)
FOREIGN = "https://api.foreign.example/v1/project-logs?cursor=10025"

_DEFAULT_STATUS = {"status": 503, "html": 502, "redirect": 302}
_DETAILS = {
    400: "Bad request.",
    401: "Invalid token.",
    403: "You do not have permission to perform this action.",
    404: "Not found.",
    410: "Gone.",
    429: "Request was throttled.",
}
_HTML = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502 Bad Gateway</h1></body>\r\n</html>\r\n"


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, ``times`` times, on requests that match.

    ``seconds`` is the wait of ``slow`` and the pause between two drops of ``drip``. ``retry_after`` is seconds, a time
    (sent as HTTP date) or any text. ``method`` and ``path`` (a glob below /v1) select requests, ``cursor`` those with
    or without one, ``project`` those of one project, by name; None takes all.
    """

    kind: str
    status: Optional[int] = None
    body: Any = None
    encoding: Optional[str] = None
    retry_after: Union[int, float, str, datetime, None] = None
    to: Optional[str] = None
    seconds: float = 1.0
    times: int = 1
    method: Optional[str] = "GET"
    path: str = "/project-logs"
    cursor: Optional[bool] = None
    project: Optional[str] = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is not a valid kind of fault; use one of {', '.join(KINDS)}")

    def matches(self, method: str, path: str, with_cursor: bool, project: Optional[str]) -> bool:
        return (
            self.method in (None, method)
            and fnmatchcase(path, self.path)
            and self.cursor in (None, with_cursor)
            and self.project in (None, project)
        )

    @property
    def answer_status(self) -> int:
        return self.status or _DEFAULT_STATUS.get(self.kind, 200)

    @property
    def answer_body(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        if self.body is not None:
            return encode(self.body)
        if self.kind == "html":
            return _HTML
        return encode({"detail": _DETAILS.get(self.answer_status, "Service temporarily unavailable.")})

    @property
    def retry_after_header(self) -> Optional[str]:
        if isinstance(self.retry_after, datetime):
            return format_datetime(self.retry_after.astimezone(timezone.utc), usegmt=True)
        return None if self.retry_after is None else str(self.retry_after)


class Script:
    """The faults still to come: each matching request takes the first that fits it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: List[Fault] = []

    def add(self, *faults: Fault) -> None:
        with self._lock:
            for fault in faults:
                self._faults.extend([fault] * fault.times)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def __len__(self) -> int:
        """How many requests are still to be hit."""
        return len(self._faults)

    def take(self, method: str, path: str, with_cursor: bool, project: Optional[str]) -> Optional[Fault]:
        with self._lock:
            for position, fault in enumerate(self._faults):
                if fault.matches(method, path, with_cursor, project):
                    return self._faults.pop(position)
        return None
