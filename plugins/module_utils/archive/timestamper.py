# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Has the head of an archive stamped by a time stamping authority, by RFC 3161 over HTTP.

This happens after a run has made its commits, so an authority that is down or lies can neither delay nor spoil them.
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
"""The time limit of one request, its answer included."""

_CONNECT_TIMEOUT_SECONDS = 10.0
# A larger piece would be waited for, however slowly its bytes drip in.
_CHUNK = 1
_MAX_EXAMINED = 10
"""How many of the newest time stamps are looked at, to find one that is of the archive."""


class HeadTimestamp(NamedTuple):
    """A head that an authority stamped: the head, and the time of the authority."""

    head: Head
    time: datetime

    def to_json(self) -> Dict[str, Any]:
        """What the status of an archive says of it."""
        return {"sequence": self.head.sequence, "sha256": self.head.sha256, "time": format_time(self.time)}


class Authority(NamedTuple):
    """A time stamping authority.

    ``authorities`` are those whose certificates count; without them a time stamp must only be complete. ``clock`` is a
    seam for tests.
    """

    url: str
    authorities: Optional[Authorities] = None
    clock: Callable[[], float] = time.monotonic

    @property
    def host(self) -> str:
        """What it is called: the rest of its URL can hold a customer's name."""
        return to_printable(urlsplit(self.url).hostname)

    def check_url(self, option: str) -> None:
        """:raises InvalidInput: it is no URL of HTTP; ``option`` is what the user gave it as."""
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
            # The URL is in files that everybody may read.
            usable = usable and "@" not in parts.netloc
        except ValueError:
            usable = False
        if not usable:
            raise InvalidInput(
                f"{option} must be the http:// or https:// URL of a time stamping authority, without a password."
            )

    def stamp(self, sha256: str, stop: threading.Event, now: Callable[[], datetime] = utc_now) -> bytes:
        """A time stamp of a SHA-256, checked: it answers this request, and its time is that of the host's clock.

        :raises NotStamped: the authority does not answer, refuses, or returns something else.
        :raises InvalidInput: there is no openssl.
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
            raise self._not_stamped(f"says that it is {format_time(token.time)}; check the clock of this host")
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
                ) as answer,
            ):
                if answer.status_code != 200:
                    raise self._not_stamped(f"answered with HTTP {answer.status_code}", answer.status_code)
                return b"".join(self._chunks(answer, stop))
        except exceptions.Timeout as exc:
            raise self._not_stamped("did not answer in time") from exc
        except exceptions.RequestException as exc:
            raise self._not_stamped(f"cannot be asked: {root_cause(exc)}") from exc
        except (OSError, ValueError) as exc:  # requests reports a malformed redirect this way
            raise self._not_stamped("cannot be asked; check its URL") from exc

    def _chunks(self, answer: Any, stop: threading.Event) -> Iterator[bytes]:
        """The answer in pieces; one that drips in ends at the time limit."""
        deadline = self.clock() + _TIMEOUT_SECONDS
        size = 0
        for chunk in answer.iter_content(_CHUNK):
            size += len(chunk)
            if size > MAX_TIMESTAMP:
                raise self._not_stamped("returned more than any time stamp")
            if stop.is_set():
                raise Cancelled("It was stopped before the head was stamped.")
            if self.clock() > deadline:
                raise self._not_stamped("did not answer in time")
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
    """Have the head stamped, unless ``newest``, the newest time stamp, was made less than ``every`` ago; the newest.

    :raises StorageError: the archive cannot be read or written; other errors as :meth:`Authority.stamp`.
    """
    if newest is not None and -MAX_SKEW <= now() - newest.time < every:
        return newest
    body = authority.stamp(stored.head.sha256, stop, now)
    store.put({timestamp_file(stored.head).name: body})
    return HeadTimestamp(stored.head, read_token(body).time)


def newest_timestamp(store: Store) -> Optional[HeadTimestamp]:
    """The newest time stamp of a commit of this archive, whose maker nobody checked; None if there is none.

    :raises StorageError: the time stamps cannot be listed.
    :raises InvalidInput: there is one, but no openssl.
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
    """The status together with the newest time stamp, as far as this host can read it."""
    with suppress(InvalidInput):
        newest = newest_timestamp(store)
        return replace(status, timestamp=newest.to_json() if newest else None)
    return status


def probe(authority: Authority, stop: threading.Event) -> TimestampToken:
    """A time stamp of nothing, to see whether the authority works; errors as :meth:`Authority.stamp`."""
    return read_token(authority.stamp(secrets.token_hex(32), stop))
