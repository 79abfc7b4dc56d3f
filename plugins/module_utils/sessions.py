# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions of requests whose secrets stay with the host they are for, and what their errors and headers mean."""

from __future__ import annotations

from typing import Any, Mapping, Optional
from urllib.parse import urlsplit

from .errors import MissingDependency
from .settings import is_loopback
from .times import parse_http_date, utc_now
from .tls import causes
from .version import USER_AGENT


def requests_library() -> Any:
    """The library requests, imported only where something is sent.

    :raises MissingDependency: it is not installed.
    """
    try:
        import requests
    except ImportError:
        raise MissingDependency("requests") from None
    return requests


def new_session(url: str, token: Optional[str]) -> Any:
    """A session for the host of a URL, with a token for it or without any credentials."""
    session = requests_library().Session()
    session.headers.update({"Accept": "application/json", "User-Agent": USER_AGENT})
    # As auth and not as a header: otherwise requests lets an entry of ~/.netrc replace it.
    session.auth = _Bearer(token)
    # A proxy from the environment would see in the clear what a loopback server is sent.
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
    """Scheme, host and port of a URL that was split; what is equal is the same server."""
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def root_cause(exc: BaseException) -> str:
    """The innermost reason in few words: the outer ones repeat URLs and object addresses."""
    # urllib3 1 first passes http.client an argument that it does not know: that TypeError is no cause.
    *_outer, innermost = (cause for cause in causes(exc) if not isinstance(cause, TypeError))
    text = getattr(innermost, "strerror", None) or type(innermost).__name__
    return str(text)


def retry_after(headers: Mapping[str, str]) -> Optional[float]:
    """Seconds that the server asks to wait: as seconds or as a date, which counts from the server's own clock.

    None or 0 when it asks for nothing, or for a moment that has passed.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value[:12])
    moment, now = parse_http_date(value), parse_http_date(headers.get("Date", ""))
    if moment is None:
        return None
    return max(0.0, (moment - (now or utc_now())).total_seconds())
