# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""API client: fetches pages of the project log, retries, and never sends the token to another server."""

from __future__ import annotations

import random
import socket
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Callable, Iterator, List, Mapping, NoReturn, Optional, Protocol, Set, Type
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
from ..sessions import never_connected, new_session, origin, requests_library, retry_after, root_cause
from ..settings import Connection
from ..times import format_time, parse_http_date, parse_time, utc_now
from ..tls import causes, is_certificate_error
from .entry import Entry, parse, timestamp, to_printable
from .retries import RetrySchedule, Throttle, TransientError

RESOURCE = "project-logs"

TOO_MANY_REQUESTS = 429

_RETRY_STATUSES = (TOO_MANY_REQUESTS, 500, 502, 503, 504)
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)
_CURSOR_REJECTED_STATUSES = (400, 404, 410)
_MAX_REDIRECTS = 5
# urllib3 1.26 decompresses a whole chunk at once; the output can be 1000 times larger.
_CHUNK_SIZE = 1 << 15
# Far larger than any page. A larger response cannot be a page and could exhaust memory.
_MAX_RESPONSE_SIZE = 64 << 20
_MAX_CONNECT_TIMEOUT = 10.0


@dataclass(frozen=True)
class Page:
    """One page of the log: its entries in the API's order, and the URLs that continue from it.

    ``next`` is None on the last page available now. ``poll_more`` later returns the entries added after this page.
    ``server_date`` is the server's time of the response, to the second; None if the response has none.
    """

    entries: List[Entry]
    next: Optional[str]
    poll_more: str
    server_date: Optional[datetime]
    url: str

    @cached_property
    def timestamps(self) -> List[Optional[datetime]]:
        """The timestamp of each entry; None if it is unreadable."""
        return [timestamp(entry) for entry in self.entries]


class Api:
    """Client of an API's project log, for one token. It sends GET requests only. Use it as a context manager.

    ``stop`` ends every wait at once. ``on_page`` is called with each page that this client returns. Tests replace
    ``clock`` (a monotonic time in seconds), ``wait`` (returns True if it was stopped) and ``jitter`` (a number in
    [0, 1)).
    """

    def __init__(
        self,
        connection: Connection,
        stop: Optional[threading.Event] = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Optional[Callable[[float], bool]] = None,
        jitter: Callable[[], float] = random.random,
        throttle: Optional[Throttle] = None,
        on_page: Optional[Callable[[Page], None]] = None,
    ) -> None:
        self.connection = connection
        self.throttle = throttle or Throttle()
        self._stop = stop or threading.Event()
        self._clock = clock
        self._custom_wait = wait
        self._wait = wait or self._stop.wait
        self._jitter = jitter
        self._on_page = on_page
        self._responded = False
        self._option_name = connection.option_name
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
        """A client for another thread, without ``on_page``; when the API asks one of the two to slow down, both do."""
        copy = Api(self.connection, stop, self._clock, self._custom_wait, self._jitter, self.throttle)
        copy._responded = self._responded
        return copy

    @property
    def resource_url(self) -> str:
        return f"{self.connection.api_url}/{RESOURCE}"

    def first_url(self, start: Optional[datetime] = None, end: Optional[datetime] = None) -> str:
        """The URL of the first page of a range."""
        times = {name: format_time(value) for name, value in (("start", start), ("end", end)) if value is not None}
        return f"{self.resource_url}?{urlencode(times)}" if times else self.resource_url

    def url_of(self, raw_query: str) -> str:
        """The URL on this API with the raw query of an earlier ``next`` or ``poll_more``."""
        return f"{self.resource_url}?{raw_query}"

    def cursor_url(self, cursor: str) -> str:
        """Return the ``poll_more`` URL that a user set, after checking it.

        :raises UntrustedURL: the URL belongs to another API.
        :raises InvalidInput: the URL is not a ``poll_more`` URL of this API's log.
        """
        self._check_url(cursor, "cursor")
        parts = urlsplit(cursor)
        fields = parse_qs(parts.query)
        known = "cursor" in fields or set(fields) == {"start"}
        if parts.path.rstrip("/") != urlsplit(self.resource_url).path or not known:
            raise InvalidInput(f"cursor: {cursor[:200]!r} is not a poll_more URL of {self.resource_url}.")
        return cursor

    def start_of(self, cursor: str) -> Optional[datetime]:
        """The start time in the ``poll_more`` URL of a past range; None if the URL carries a cursor instead.

        :raises UntrustedURL: the URL belongs to another API.
        :raises InvalidInput: the URL is not a ``poll_more`` URL of this API's log.
        """
        fields = parse_qs(urlsplit(self.cursor_url(cursor)).query)
        return None if "cursor" in fields else parse_time(fields["start"][0], utc_now(), "cursor")

    def page(self, url: str) -> Page:
        """Fetch one page; retry after transient errors, within the connection's retries and budget.

        :raises AuditError: the last error.
        """
        self._check_url(url, "URL")
        blocked = self.throttle.seconds_left(self._clock())
        if blocked > 0:
            self._sleep(blocked)
        page = self._fetch_with_retries(url)
        self._responded = True
        if self._on_page is not None:
            self._on_page(page)
        return page

    def _fetch_with_retries(self, url: str) -> Page:
        schedule = RetrySchedule(self.connection, self._clock, self._jitter)
        while True:
            try:
                return self._fetch(url)
            except TransientError as transient:
                delay = schedule.delay_after(transient, self._responded)
                if delay is None:
                    raise transient.error from transient.__cause__
                if transient.error.status == TOO_MANY_REQUESTS:
                    self.throttle.block_until(self._clock() + delay)
                self._sleep(delay)

    def _sleep(self, seconds: float) -> None:
        if self._wait(seconds):
            raise Cancelled("The read was stopped while it waited for the API.")

    def _fetch(self, url: str) -> Page:
        target = url
        for _redirect in range(_MAX_REDIRECTS + 1):
            status, headers, body = self._send(target)
            if status not in _REDIRECT_STATUSES:
                break
            target = urljoin(target, headers.get("Location", ""))
            self._check_url(target, "redirect")
        else:
            option = self._option_name("api_url")
            raise InvalidResponse(
                f"{self._base.netloc} redirected more than {_MAX_REDIRECTS} times; check {option}.", status
            )
        if status != 200:
            self._raise_for_status(status, headers, body, url)
        return self._parse_page(body, headers, url)

    def _send(self, url: str) -> Any:
        requests = requests_library()
        try:
            with self._session.get(
                url,
                timeout=(min(_MAX_CONNECT_TIMEOUT, self.connection.timeout), self.connection.timeout),
                allow_redirects=False,
                stream=True,
                verify=self.connection.validate_certs and (self.connection.ca_path or True),
            ) as response:
                return response.status_code, response.headers, b"".join(self._chunks(response))
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
        except ValueError as exc:  # requests parses a redirect even if it does not follow it
            raise UntrustedURL(f"{self._base.netloc} redirects to a malformed URL; nothing was sent there.") from exc
        except requests.exceptions.RequestException as exc:
            raise self._unreachable(exc) from exc
        except OSError as exc:  # how requests reports a missing ca_path
            raise InvalidInput(
                f"{self._option_name('ca_path')} or a certificate setting cannot be used: {exc}."
            ) from exc

    def _chunks(self, response: Any) -> Iterator[bytes]:
        """The decompressed body in chunks. The timeout covers the complete response, so a slow body cannot exceed it.

        :raises InvalidResponse: the body is too large to be a page; a retry would only fetch it again.
        """
        deadline = self._clock() + self.connection.timeout
        size = 0
        for chunk in response.iter_content(_CHUNK_SIZE):
            size += len(chunk)
            if size > _MAX_RESPONSE_SIZE:
                raise InvalidResponse(
                    f"The response of {self._base.netloc} is larger than 64 MiB; check {self._option_name('api_url')}.",
                    200,
                )
            if self._stop.is_set():
                raise Cancelled("The read was stopped.")
            if self._clock() > deadline:
                raise requests_library().exceptions.ReadTimeout("the response did not end in time")
            yield chunk
        # Before release 2, urllib3 accepts a truncated response as complete.
        if response.raw.length_remaining:
            raise requests_library().exceptions.ChunkedEncodingError("the response was truncated")

    def _unreachable(self, exc: Exception) -> TransientError:
        exceptions = requests_library().exceptions
        host = self._base.netloc
        if isinstance(exc, exceptions.ConnectTimeout):
            text = f"{host} could not be reached in time; check {self._option_name('api_url')} and the network."
        elif isinstance(exc, exceptions.Timeout) or any(isinstance(cause, socket.timeout) for cause in causes(exc)):
            option = self._option_name("api_timeout")
            text = f"{host} did not respond within {self.connection.timeout:g} s; try again later or raise {option}."
        elif isinstance(exc, exceptions.ConnectionError):
            text = f"No connection to {host}: {root_cause(exc)}; check {self._option_name('api_url')} and the network."
        else:
            text = f"The connection to {host} broke during a response: {root_cause(exc)}; try again."
        timed_out = isinstance(exc, exceptions.ConnectTimeout)
        return TransientError(Unreachable(text), never_connected=never_connected(exc), timed_out=timed_out)

    def _raise_for_status(self, status: int, headers: Mapping[str, str], body: bytes, url: str) -> NoReturn:
        host = self._base.netloc
        detail = _error_detail(body, self.connection.api_token)
        if status in _RETRY_STATUSES:
            reason = "asks for fewer requests" if status == TOO_MANY_REQUESTS else "is unavailable"
            error: AuditError = ServiceUnavailable(f"{host} {reason} (HTTP {status}){detail}; try again later.", status)
            raise TransientError(error, retry_after(headers))
        if status == 401:
            token = self._option_name("api_token")
            raise Unauthorized(f"{host} does not accept the token (HTTP 401); check {token} and its project.", status)
        if status == 403:
            raise Forbidden(
                f"{host} does not allow this token to read the project log (HTTP 403){detail}; use another token.",
                status,
            )
        if status in _CURSOR_REJECTED_STATUSES and "cursor" in parse_qs(urlsplit(url).query):
            raise CursorRejected(
                f"{host} rejects the cursor (HTTP {status}){detail}; it may have expired: set start instead.", status
            )
        url_option = self._option_name("api_url")
        raise RequestRejected(f"{host} rejected the request (HTTP {status}){detail}; check {url_option}.", status)

    def _parse_page(self, body: bytes, headers: Mapping[str, str], url: str) -> Page:
        try:
            document = parse(body)
        except ValueError as exc:
            raise self._invalid_response("is not valid JSON or was truncated") from exc
        if not isinstance(document, dict):
            raise self._invalid_response("is not a JSON object")
        results, next_url, poll_more = (document.get(key) for key in ("results", "next", "poll_more"))
        if not isinstance(results, list) or not all(isinstance(item, dict) for item in results):
            raise self._invalid_response("has no list of results")
        if not isinstance(poll_more, str):
            raise self._invalid_response("has no poll_more URL")
        if next_url is not None and not isinstance(next_url, str):
            raise self._invalid_response("has an invalid next URL")
        for name, target in (("next", next_url), ("poll_more", poll_more)):
            if target is not None:
                self._check_url(target, name)
        return Page(results, next_url, poll_more, parse_http_date(headers.get("Date", "")), url)

    def _invalid_response(self, problem: str) -> TransientError:
        option = self._option_name("api_url")
        return TransientError(
            InvalidResponse(f"The response of {self._base.netloc} {problem}; try again, or check {option}.", 200)
        )

    def _check_url(self, url: str, name: str) -> None:
        """Reject a URL that would send the token to another scheme, host or port, or outside of the API's path.

        :raises UntrustedURL: the URL does not belong to the API; the message names its host.
        """
        try:
            parts = urlsplit(url)
            same_origin = origin(parts) == origin(self._base)
        except ValueError:
            raise UntrustedURL(f"The {name} of the log is malformed; nothing was sent there.") from None
        if not same_origin or parts.username is not None or parts.password is not None:
            host = to_printable(parts.hostname)
            raise UntrustedURL(
                f"The {name} leads to {host}, away from {self.connection.api_url}; nothing was sent there."
            )
        if not _is_below(parts.path, self._base.path):
            raise UntrustedURL(
                f"The {name} leads outside of the API's path on {parts.hostname}; nothing was sent there."
            )


class PageSource(Protocol):
    """Returns pages by their URLs: an API, or a wrapper that checks its pages."""

    def page(self, url: str) -> Page:
        """The page at a URL."""


def follow_pages(api: PageSource, url: str) -> Iterator[Page]:
    """Yield the page at a URL, then follow ``next`` to the last available page. Pages are not kept in memory.

    A page is yielded only if its ``next`` was not fetched before, so that no caller saves a cursor of a loop.

    :raises PaginationLoop: a page's ``next`` was fetched before.
    :raises AuditError: a page cannot be read.
    """
    next_url: Optional[str] = url
    # Hashes of the URLs are enough, and stay small even for a million pages.
    fetched: Set[int] = {hash(url)}
    while next_url is not None:
        page = api.page(next_url)
        next_url = page.next
        if next_url is not None and hash(next_url) in fetched:
            raise PaginationLoop(
                f"The API returned a next page that was already read ({to_printable(next_url[:200])}); try again later."
            )
        fetched.add(hash(next_url))
        yield page


def _is_below(path: str, base: str) -> bool:
    steps = unquote(path).split("/")
    return ".." not in steps and "\\" not in unquote(path) and (path == base or path.startswith(base + "/"))


def _error_detail(body: bytes, token: str) -> str:
    """The API's explanation of an error: its ``detail``, or the invalid fields; empty if the body has neither.

    The explanation can repeat the token. Mask it before truncating, because a part of the token would not be found.
    """
    try:
        document = parse(body)
    except ValueError:
        return ""
    if not isinstance(document, dict):
        return ""
    text = document.get("detail") or "; ".join(f"{field}: {_first(reasons)}" for field, reasons in document.items())
    return f": {to_printable(text).replace(token, '***')[:300].strip().rstrip('.')}" if text else ""


def _first(reasons: Any) -> Any:
    return reasons[0] if isinstance(reasons, list) and reasons else reasons
