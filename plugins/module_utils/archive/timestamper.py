# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests time stamps of an archive's head from a time stamping authority, by RFC 3161 over HTTP.

The head is stamped after a run has made its commits, so an unavailable or wrong authority cannot affect the commits.
"""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional
from urllib.parse import urlsplit

from ..errors import ArchiveDamaged, Cancelled, InvalidInput, NotStamped, StorageError
from ..project_log.entry import to_printable
from ..sessions import new_session, requests_library, root_cause
from ..times import format_time, utc_now
from .chain.chain import StoredCommit, load_commit
from .chain.coverage import MAX_SKEW
from .chain.status import Status
from .chain.timestamp import (
    MAX_TIMESTAMP,
    Authorities,
    InvalidTimestamp,
    TimestampToken,
    make_query,
    parse_timestamp_name,
    read_timestamp_file,
    read_token,
    response_problem,
    timestamp_file,
    timestamp_names,
)
from .format.commit import Head
from .storage.store import Store

_TIMEOUT_SECONDS = 30.0
"""Time limit of one request, including its response."""

_CONNECT_TIMEOUT_SECONDS = 10.0
# Reading a larger chunk would wait for all its bytes, however slowly they arrive.
_CHUNK = 1
_MAX_EXAMINED = 10
"""Maximum number of the newest time stamps that are read to find one of this archive."""


class HeadTimestamp(NamedTuple):
    """A head that was stamped by an authority, and the time stated by the authority."""

    head: Head
    time: datetime

    def to_json(self) -> Dict[str, Any]:
        """Return the values for the status of an archive."""
        return {"sequence": self.head.sequence, "sha256": self.head.sha256, "time": format_time(self.time)}


class Authority(NamedTuple):
    """A time stamping authority.

    With ``authorities``, a time stamp must have one of their certificates; without them, it must only be complete.
    Tests replace ``clock``.
    """

    url: str
    authorities: Optional[Authorities] = None
    clock: Callable[[], float] = time.monotonic

    @property
    def host(self) -> str:
        """The name to show. The other parts of the URL can contain a customer's name."""
        return to_printable(urlsplit(self.url).hostname)

    def check_url(self, option: str) -> None:
        """:raises InvalidInput: it is not a valid HTTP URL; ``option`` is the name of the option for the error."""
        try:
            parts = urlsplit(self.url)
            is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
            # The URL is stored in files that everybody can read.
            is_valid = is_valid and "@" not in parts.netloc
        except ValueError:
            is_valid = False
        if not is_valid:
            raise InvalidInput(
                f"{option} must be the http:// or https:// URL of a time stamping authority, without a password."
            )

    def stamp(self, sha256: str, stop: threading.Event, now: Callable[[], datetime] = utc_now) -> bytes:
        """Return a time stamp of a SHA-256. It is checked to match this request and the host's clock.

        :raises NotStamped: the authority does not respond, refuses the request, or returns an invalid time stamp.
        :raises InvalidInput: openssl is not installed.
        :raises Cancelled: ``stop`` was set.
        """
        query = make_query(sha256)
        response = self._request(query, stop)
        try:
            token = read_token(response)
        except InvalidTimestamp as exc:
            raise self._not_stamped(f"returned no time stamp: {exc}") from exc
        damage = response_problem(response, query, self.authorities)
        if damage:
            raise self._not_stamped(f"returned a time stamp that is not valid: {damage}")
        if abs(token.time - now()) > MAX_SKEW:
            raise self._not_stamped(f"returned the time {format_time(token.time)}; check the clock of this host")
        return response

    def _request(self, query: bytes, stop: threading.Event) -> bytes:
        exceptions = requests_library().exceptions
        headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
        try:
            with (
                new_session(self.url, None) as session,
                session.post(
                    self.url,
                    data=query,
                    headers=headers,
                    timeout=(_CONNECT_TIMEOUT_SECONDS, _TIMEOUT_SECONDS),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                if response.status_code != 200:
                    raise self._not_stamped(f"responded with HTTP {response.status_code}", response.status_code)
                return b"".join(self._chunks(response, stop))
        except exceptions.Timeout as exc:
            raise self._not_stamped("did not respond in time") from exc
        except exceptions.RequestException as exc:
            raise self._not_stamped(f"cannot be reached: {root_cause(exc)}") from exc
        except (OSError, ValueError) as exc:  # requests reports a malformed redirect this way
            raise self._not_stamped("cannot be reached; check its URL") from exc

    def _chunks(self, response: Any, stop: threading.Event) -> Iterator[bytes]:
        """Yield the response in chunks, until the time limit at most."""
        deadline = self.clock() + _TIMEOUT_SECONDS
        size = 0
        for chunk in response.iter_content(_CHUNK):
            size += len(chunk)
            if size > MAX_TIMESTAMP:
                raise self._not_stamped("returned more bytes than any time stamp has")
            if stop.is_set():
                raise Cancelled("The run was stopped before the head was stamped.")
            if self.clock() > deadline:
                raise self._not_stamped("did not respond in time")
            yield chunk

    def _not_stamped(self, what: str, status: Optional[int] = None) -> NotStamped:
        return NotStamped(f"The time stamping authority {self.host} {what}.", status)


def stamp_head(
    store: Store,
    stored: StoredCommit,
    newest: Optional[HeadTimestamp],
    authority: Authority,
    every: timedelta,
    stop: threading.Event,
    now: Callable[[], datetime] = utc_now,
) -> HeadTimestamp:
    """Have the head stamped, unless the time stamp ``newest`` is younger than ``every``. Return the newest time stamp.

    :raises StorageError: the archive cannot be read or written; other errors are those of :meth:`Authority.stamp`.
    """
    if newest is not None and -MAX_SKEW <= now() - newest.time < every:
        return newest
    body = authority.stamp(stored.head.sha256, stop, now)
    store.put({timestamp_file(stored.head).name: body})
    return HeadTimestamp(stored.head, read_token(body).time)


def newest_timestamp(store: Store) -> Optional[HeadTimestamp]:
    """Return the newest time stamp of a commit of this archive, without a check of its certificate; None without any.

    :raises StorageError: the time stamps cannot be listed.
    :raises InvalidInput: there are time stamps, but openssl is not installed.
    """
    named = [one for one in map(parse_timestamp_name, timestamp_names(store)) if one]
    for one in sorted(named, reverse=True)[:_MAX_EXAMINED]:
        with suppress(InvalidTimestamp, StorageError, ArchiveDamaged):
            head = load_commit(store, one.sequence).head
            token = read_token(read_timestamp_file(store, one.name))
            if one.is_of(head) and token.sha256 == head.sha256:
                return HeadTimestamp(head, token.time)
    return None


def with_timestamp(status: Status, store: Store) -> Status:
    """Return the status with the newest time stamp, if this host can read it."""
    with suppress(InvalidInput):
        newest = newest_timestamp(store)
        return replace(status, timestamp=newest.to_json() if newest else None)
    return status


def probe(authority: Authority, stop: threading.Event) -> TimestampToken:
    """Request a time stamp of a random value to test the authority; errors are those of :meth:`Authority.stamp`."""
    return read_token(authority.stamp(secrets.token_hex(32), stop))
