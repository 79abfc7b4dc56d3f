# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One conversation with the API: a session that turns URLs into pages, patiently, and keeps the token at home."""

from __future__ import annotations

import random
import socket
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Callable, Iterator, List, Mapping, NoReturn, Optional, Protocol, Set, Tuple, Type
from urllib.parse import parse_qs, unquote, urlencode, urljoin, urlsplit

from ..errors import (
    AuditError,
    Cancelled,
    CertificateRejected,
    CursorRejected,
    Forbidden,
    InvalidInput,
    InvalidResponse,
    PaginationLoop,
    RequestRejected,
    ServiceUnavailable,
    Unauthorized,
    Unreachable,
    UntrustedURL,
)
from ..sessions import new_session, origin, requests_library, retry_after, root_cause
from ..settings import Connection
from ..times import format_time, parse_http_date, parse_time, utc_now
from ..tls import causes, is_certificate_error
from . import entry as entries_of
from .entry import Entry, to_printable

RESOURCE = "project-logs"

TOO_MANY_REQUESTS = 429

_RETRY_STATUSES = (TOO_MANY_REQUESTS, 500, 502, 503, 504)
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)
_CURSOR_REJECTED_STATUSES = (400, 404, 410)
_MAX_REDIRECTS = 5
_FIRST_DELAY = 0.5
_MAX_DELAY = 60.0
# urllib3 1.26 unpacks all of a chunk at once, and what is packed well grows a thousandfold.
_CHUNK_SIZE = 1 << 15
# Far more than any page of the log: an answer that grows further is no page, and would fill the memory.
_MAX_RESPONSE_SIZE = 64 << 20
_MAX_CONNECT_TIMEOUT = 10.0
# A host that never answered is more likely misspelt than out of order: tell it within seconds.
_FIRST_CONTACT_RETRIES = 2
_FIRST_CONTACT_BUDGET = 5.0
# A lost packet is possible, too. It takes up to 10 s to notice, which is more than that budget.
_FIRST_CONNECT_RETRIES = 1


@dataclass(frozen=True)
class Page:
    """One answer: its entries in the API's order, and where to go on.

    ``next`` is None on the last page of what is available now; ``poll_more`` later returns what became visible since.
    ``server_date`` is the server's clock when it answered (to the second), None when it did not tell.
    """

    entries: List[Entry]
    next: Optional[str]
    poll_more: str
    server_date: Optional[datetime]
    url: str

    @cached_property
    def timestamps(self) -> List[Optional[datetime]]:
        """The time of each entry; None where it is unreadable."""
        return [entries_of.timestamp(entry) for entry in self.entries]


class Api:
    """The project-logs resource of one API, for one token. GET only; a context manager that closes its session.

    ``stop`` ends every wait at once. ``clock``, ``wait`` and ``chance`` are seams for tests: seconds that only grow,
    a wait that returns True when it was stopped, and a number in [0, 1) for jitter.
    """

    def __init__(
        self,
        connection: Connection,
        stop: Optional[threading.Event] = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Optional[Callable[[float], bool]] = None,
        jitter: Callable[[], float] = random.random,
        throttle: Optional[Throttle] = None,
    ) -> None:
        self.connection = connection
        self.throttle = throttle or Throttle()
        self._stop = stop or threading.Event()
        self._clock = clock
        self._custom_wait = wait
        self._wait = wait or self._stop.wait
        self._jitter = jitter
        self._responded = False
        self._base = urlsplit(connection.api_url)
        self._session = new_session(connection.api_url, connection.api_token)

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        self._session.close()

    def clone(self, stop: threading.Event) -> Api:
        """Another conversation like this one, for another thread; when one is asked to slow down, both do."""
        made = Api(self.connection, stop, self._clock, self._custom_wait, self._jitter, self.throttle)
        made._responded = self._responded
        return made

    @property
    def resource_url(self) -> str:
        return f"{self.connection.api_url}/{RESOURCE}"

    def first_url(self, start: Optional[datetime] = None, end: Optional[datetime] = None) -> str:
        """The URL of the first page of a range."""
        times = {name: format_time(value) for name, value in (("start", start), ("end", end)) if value is not None}
        return f"{self.resource_url}?{urlencode(times)}" if times else self.resource_url

    def url_of(self, raw_query: str) -> str:
        """The URL of a page by the raw query of an earlier ``next`` or ``poll_more``, on this API."""
        return f"{self.resource_url}?{raw_query}"

    def cursor_url(self, cursor: str) -> str:
        """A ``poll_more`` URL that a user handed in, checked before it is used.

        :raises UntrustedURL: it belongs to another API.
        :raises InvalidInput: it is no URL that this API's log would return.
        """
        self._check_url(cursor, "cursor")
        parts = urlsplit(cursor)
        fields = parse_qs(parts.query)
        known = "cursor" in fields or set(fields) == {"start"}
        if parts.path.rstrip("/") != urlsplit(self.resource_url).path or not known:
            raise InvalidInput(f"cursor: {cursor[:200]!r} is no poll_more URL of {self.resource_url}.")
        return cursor

    def start_of(self, cursor: str) -> Optional[datetime]:
        """The time at which a ``poll_more`` URL of a past range continues; None if it carries a cursor.

        :raises UntrustedURL: it belongs to another API.
        :raises InvalidInput: it is not a URL that a read returned.
        """
        fields = parse_qs(urlsplit(self.cursor_url(cursor)).query)
        return None if "cursor" in fields else parse_time(fields["start"][0], utc_now(), "cursor")

    def page(self, url: str) -> Page:
        """Fetch one page; a passing fault is retried within the connection's retries and budget.

        :raises AuditError: what went wrong in the end; the last error is the one told.
        """
        self._check_url(url, "URL")
        if self.throttle.seconds_left(self._clock()) > 0:
            self._sleep(self.throttle.seconds_left(self._clock()))
        attempt = RetrySchedule(self.connection, self._clock, self._jitter)
        while True:
            try:
                page = self._fetch(url)
            except TransientError as fault:
                pause = attempt.delay_after(fault, self._responded)
                if pause is None:
                    raise fault.error from fault.__cause__
                if fault.error.status == TOO_MANY_REQUESTS:
                    self.throttle.block_until(self._clock() + pause)
                self._sleep(pause)
            else:
                self._responded = True
                return page

    def _sleep(self, seconds: float) -> None:
        if self._wait(seconds):
            raise Cancelled("The read was stopped while it waited for the API.")

    def _fetch(self, url: str) -> Page:
        asked = url
        for _redirect in range(_MAX_REDIRECTS + 1):
            status, headers, body = self._send(asked)
            if status not in _REDIRECT_STATUSES:
                break
            asked = urljoin(asked, headers.get("Location", ""))
            self._check_url(asked, "redirect")
        else:
            raise InvalidResponse(
                f"{self._base.netloc} redirected more than {_MAX_REDIRECTS} times; "
                f"check {self._option_name('api_url')}.",
                status,
            )
        if status != 200:
            self._raise_for_status(status, headers, body, url)
        return self._parse_page(body, headers, url)

    def _option_name(self, name: str) -> str:
        """What the user knows an option as."""
        return self.connection.option_name(name)

    def _send(self, url: str) -> Any:
        requests = requests_library()
        try:
            with self._session.get(
                url,
                timeout=(min(_MAX_CONNECT_TIMEOUT, self.connection.timeout), self.connection.timeout),
                allow_redirects=False,
                stream=True,
                verify=self.connection.validate_certs and (self.connection.ca_path or True),
            ) as answer:
                return answer.status_code, answer.headers, b"".join(self._chunks(answer))
        except requests.exceptions.SSLError as exc:
            if not is_certificate_error(exc):
                raise self._unreachable(exc) from exc
            raise CertificateRejected(
                f"The TLS certificate of {self._base.netloc} cannot be verified; check {self._option_name('api_url')}, "
                f"{self._option_name('ca_path')} or the clock."
            ) from exc
        except requests.exceptions.InvalidURL as exc:
            raise InvalidInput(
                f"{self._option_name('api_url')} {self.connection.api_url!r} cannot be used: {exc}."
            ) from exc
        except ValueError as exc:  # requests looks at a redirect before we do
            raise UntrustedURL(f"{self._base.netloc} redirects to a malformed URL; nothing was sent there.") from exc
        except requests.exceptions.RequestException as exc:
            raise self._unreachable(exc) from exc
        except OSError as exc:  # requests tells a missing ca_path this way
            raise InvalidInput(
                f"{self._option_name('ca_path')} or a certificate setting cannot be used: {exc}."
            ) from exc

    def _chunks(self, answer: Any) -> Iterator[bytes]:
        """The body in pieces, unpacked; the time-out bounds the whole answer, so that one that drips in ends too.

        :raises InvalidResponse: it is too large to be a page. Asking again would only fetch it again.
        """
        deadline = self._clock() + self.connection.timeout
        size = 0
        for chunk in answer.iter_content(_CHUNK_SIZE):
            size += len(chunk)
            if size > _MAX_RESPONSE_SIZE:
                raise InvalidResponse(
                    f"The answer of {self._base.netloc} is larger than 64 MiB; check {self._option_name('api_url')}.",
                    200,
                )
            if self._stop.is_set():
                raise Cancelled("The read was stopped.")
            if self._clock() > deadline:
                raise requests_library().exceptions.ReadTimeout("the answer did not end in time")
            yield chunk
        # Before release 2, urllib3 takes an answer that was cut off for a whole one.
        if answer.raw.length_remaining:
            raise requests_library().exceptions.ChunkedEncodingError("it was cut off")

    def _unreachable(self, exc: Exception) -> TransientError:
        exceptions = requests_library().exceptions
        host = self._base.netloc
        if isinstance(exc, exceptions.ConnectTimeout):
            text = f"{host} could not be reached in time; check {self._option_name('api_url')} and the network."
        elif isinstance(exc, exceptions.Timeout) or any(isinstance(cause, socket.timeout) for cause in causes(exc)):
            option = self._option_name("api_timeout")
            text = f"{host} did not answer within {self.connection.timeout:g} s; try later or raise {option}."
        elif isinstance(exc, exceptions.ConnectionError):
            text = f"No connection to {host}: {root_cause(exc)}; check {self._option_name('api_url')} and the network."
        else:
            text = f"The connection to {host} broke in the middle of an answer: {root_cause(exc)}; try again."
        timed_out = isinstance(exc, exceptions.ConnectTimeout)
        return TransientError(Unreachable(text), never_connected=_never_connected(exc), timed_out=timed_out)

    def _raise_for_status(self, status: int, headers: Mapping[str, str], body: bytes, url: str) -> NoReturn:
        host = self._base.netloc
        detail = _error_detail(body, self.connection.api_token)
        if status in _RETRY_STATUSES:
            reason = "asks for fewer requests" if status == TOO_MANY_REQUESTS else "is out of order"
            error: AuditError = ServiceUnavailable(f"{host} {reason} (HTTP {status}){detail}; try again later.", status)
            raise TransientError(error, retry_after(headers))
        if status == 401:
            token = self._option_name("api_token")
            raise Unauthorized(f"{host} does not accept the token (HTTP 401); check {token} and its project.", status)
        if status == 403:
            raise Forbidden(f"{host} forbids this token to read the project log (HTTP 403){detail}.", status)
        if status in _CURSOR_REJECTED_STATUSES and "cursor" in parse_qs(urlsplit(url).query):
            raise CursorRejected(
                f"{host} refuses the cursor (HTTP {status}){detail}; it may have expired: read on with start.", status
            )
        url_option = self._option_name("api_url")
        raise RequestRejected(f"{host} refused to read {RESOURCE} (HTTP {status}){detail}; check {url_option}.", status)

    def _parse_page(self, body: bytes, headers: Mapping[str, str], url: str) -> Page:
        try:
            document = entries_of.parse(body)
        except ValueError as exc:
            raise self._invalid_response("is no JSON or was cut off") from exc
        if not isinstance(document, dict):
            raise self._invalid_response("is no JSON object")
        found, following, poll_more = (document.get(key) for key in ("results", "next", "poll_more"))
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise self._invalid_response("has no list of results")
        if not isinstance(poll_more, str) or not (following is None or isinstance(following, str)):
            raise self._invalid_response(
                "has no poll_more URL" if not isinstance(poll_more, str) else "has a broken next URL"
            )
        for name, target in (("next", following), ("poll_more", poll_more)):
            if target is not None:
                self._check_url(target, name)
        return Page(found, following, poll_more, _server_date(headers), url)

    def _invalid_response(self, what: str) -> TransientError:
        option = self._option_name("api_url")
        return TransientError(
            InvalidResponse(f"The answer of {self._base.netloc} {what}; try again, or check {option}.", 200)
        )

    def _check_url(self, url: str, what: str) -> None:
        """Let no URL pass that would carry the token to another scheme, host or port, or out of the API's path.

        :raises UntrustedURL: the URL leads elsewhere; the sentence names the host.
        """
        try:
            parts = urlsplit(url)
            same_origin = origin(parts) == origin(self._base)
        except ValueError:
            raise UntrustedURL(f"The {what} of the log is malformed; nothing was sent there.") from None
        if not same_origin or parts.username is not None or parts.password is not None:
            elsewhere = to_printable(parts.hostname)
            raise UntrustedURL(
                f"The {what} leads to {elsewhere}, away from {self.connection.api_url}; nothing was sent there."
            )
        if not _is_below(parts.path, self._base.path):
            raise UntrustedURL(f"The {what} leads out of the API's path on {parts.hostname}; nothing was sent there.")


class PageSource(Protocol):
    """What returns pages by their URLs: an API, or something that checks its pages."""

    def page(self, url: str) -> Page:
        """The page at a URL."""


def follow_pages(api: PageSource, url: str) -> Iterator[Page]:
    """Follow ``next`` from a URL to the last page there is now; hold no page.

    A page is handed on only when the one that it says comes next was not asked for before: otherwise a cursor could be
    kept that leads round in a circle.

    :raises PaginationLoop: such a ring.
    :raises AuditError: a page could not be had.
    """
    following: Optional[str] = url
    # A hash of each URL suffices: a chain of a million pages stays small.
    asked: Set[int] = {hash(url)}
    while following is not None:
        page = api.page(following)
        following = page.next
        if following is not None and hash(following) in asked:
            raise PaginationLoop(
                f"The API returned a next page that was already read ({to_printable(following[:200])}); "
                "try again later."
            )
        asked.add(hash(following))
        yield page


class Throttle:
    """What conversations with one API share: when one is asked to slow down, all wait. ``overloads`` counts that."""

    def __init__(self) -> None:
        self.overloads = 0
        self._until = 0.0

    def block_until(self, until: float) -> None:
        self.overloads += 1
        self._until = max(self._until, until)

    def seconds_left(self, now: float) -> float:
        """Seconds until the next request may be sent."""
        return self._until - now


class TransientError(Exception):
    """A transient error: what to raise if it stays, and how many seconds the server asks to wait.

    ``never_connected``: no connection was established; ``timed_out``: because nothing came back in time.
    """

    def __init__(
        self,
        error: AuditError,
        after: Optional[float] = None,
        never_connected: bool = False,
        timed_out: bool = False,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.after = after
        self.never_connected = never_connected
        self.timed_out = timed_out


class RetrySchedule:
    """Counts the tries of one page and says how long to wait before the next one."""

    def __init__(self, connection: Connection, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._connection = connection
        self._clock = clock
        self._jitter = jitter
        self._began = clock()
        self._retries = 0

    def delay_after(self, fault: TransientError, responded: bool) -> Optional[float]:
        """Seconds to wait before the next try; None when it is enough."""
        most, budget = self._limits(fault, responded)
        seconds_left = budget - (self._clock() - self._began)
        if self._retries >= most or seconds_left <= 0 or (fault.after or 0) > seconds_left:
            return None
        longest = min(_MAX_DELAY, _FIRST_DELAY * 2**self._retries)
        self._retries += 1
        # Half of the wait is jitter, so that many hosts that failed together do not come back together.
        pause = fault.after or longest * (1 + self._jitter()) / 2
        return min(pause, seconds_left)

    def _limits(self, fault: TransientError, responded: bool) -> Tuple[int, float]:
        """The maximum number of retries, and the seconds that they may take in all."""
        most, budget = self._connection.retries, self._connection.retry_budget
        # What returns a web page as its first response is no API: asking for minutes would not make it one.
        if responded or not (fault.never_connected or isinstance(fault.error, InvalidResponse)):
            return most, budget
        if fault.timed_out:
            return min(most, _FIRST_CONNECT_RETRIES), budget
        return min(most, _FIRST_CONTACT_RETRIES), min(budget, _FIRST_CONTACT_BUDGET)


def _is_below(path: str, base: str) -> bool:
    steps = unquote(path).split("/")
    return ".." not in steps and "\\" not in unquote(path) and (path == base or path.startswith(base + "/"))


def _never_connected(exc: Exception) -> bool:
    """Whether no connection came about at all (refused, no such host, no TLS), told by urllib3's reason."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, SSLError

    reason = getattr(exc.args[0] if exc.args else None, "reason", None)
    return isinstance(reason, (ConnectTimeoutError, NewConnectionError, SSLError))


def _error_detail(body: bytes, token: str) -> str:
    """What the API says of an error: its ``detail``, or the fields it complains about; nothing for anything else.

    It may repeat the token, which is masked before anything is cut: a part of it would not be known again.
    """
    try:
        said = entries_of.parse(body)
    except ValueError:
        return ""
    if not isinstance(said, dict):
        return ""
    text = said.get("detail") or "; ".join(f"{field}: {_first(reasons)}" for field, reasons in said.items())
    return f": {to_printable(text).replace(token, '***')[:300].strip().rstrip('.')}" if text else ""


def _first(reasons: Any) -> Any:
    return reasons[0] if isinstance(reasons, list) and reasons else reasons


def _server_date(headers: Mapping[str, str]) -> Optional[datetime]:
    return parse_http_date(headers.get("Date", ""))
