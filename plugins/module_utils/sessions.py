# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions of requests that send a token to one server only, and the meaning of their errors and headers."""

from __future__ import annotations

from typing import Any, Mapping, Optional
from urllib.parse import urlsplit

from .errors import MissingDependency
from .settings import is_loopback
from .times import parse_http_date, utc_now
from .tls import causes
from .version import USER_AGENT


def requests_library() -> Any:
    """The library requests, imported only when a request is sent.

    :raises MissingDependency: the library is not installed.
    """
    try:
        import requests
    except ImportError:
        raise MissingDependency("requests") from None
    return requests


def new_session(url: str, token: Optional[str]) -> Any:
    """A session for the host of a URL, with a token or without credentials."""
    session = requests_library().Session()
    session.headers.update({"Accept": "application/json", "User-Agent": USER_AGENT})
    # As auth, not as a header, which requests would replace by an entry of ~/.netrc.
    session.auth = _Bearer(token)
    # A proxy from the environment would see the unencrypted requests to a loopback server.
    session.trust_env = not is_loopback(urlsplit(url).hostname)
    return session


class _Bearer:
    def __init__(self, token: Optional[str]) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def origin(parts: Any) -> Any:
    """Scheme, host and port of a split URL; they are equal for the same server."""
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def root_cause(exc: BaseException) -> str:
    """The innermost cause of an error in a few words; the outer errors repeat URLs and object addresses."""
    # urllib3 1 first passes an argument that http.client does not know: that TypeError is not a cause.
    *_outer, innermost = (cause for cause in causes(exc) if not isinstance(cause, TypeError))
    text = getattr(innermost, "strerror", None) or type(innermost).__name__
    return str(text)


def never_connected(exc: Exception) -> bool:
    """True if no connection was established (refused, DNS, TLS), by urllib3's reason."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, SSLError

    reason = getattr(exc.args[0] if exc.args else None, "reason", None)
    return isinstance(reason, (ConnectTimeoutError, NewConnectionError, SSLError))


def retry_after(headers: Mapping[str, str]) -> Optional[float]:
    """The seconds to wait that the server asks for, as a number or as a date by the server's own clock.

    None or 0 if the server asks for none, or if the date has passed.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value[:12])
    date, now = parse_http_date(value), parse_http_date(headers.get("Date", ""))
    if date is None:
        return None
    return max(0.0, (date - (now or utc_now())).total_seconds())
