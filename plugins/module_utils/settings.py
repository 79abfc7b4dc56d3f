# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of users, validated and typed, for modules, lookup, callback, command and event source."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, Callable, Collection, Iterable, List, Mapping, Optional
from urllib.parse import urlsplit

from .errors import InvalidInput
from .times import RETENTION, format_optional, format_time, parse_time

DEFAULT_URL = "https://api.cloudscale.ch/v1"
DEFAULT_CONCURRENCY = 4
MAX_CONCURRENCY = 16
MAX_NUMBER = 1_000_000.0
"""Default maximum of a number: as seconds, eleven days. Longer waits would fail."""

CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far a start can be ahead of a clock before it counts as in the future, because clocks differ."""

OptionNamer = Callable[[str], str]
"""Maps an option's name in modules to its name where the user sets it, such as a flag of the command."""

_TOKEN = re.compile(r"[a-zA-Z0-9._-]+")
_TOLERANCE = timedelta(minutes=1)


@dataclass(frozen=True)
class Connection:
    """How to reach the API. Times are in seconds. The representation never contains ``api_token``.

    ``option_name`` names the options in errors.
    """

    api_token: str
    api_url: str = DEFAULT_URL
    timeout: float = 45
    retries: int = 8
    retry_budget: float = 600
    validate_certs: bool = True
    ca_path: Optional[str] = None
    option_name: OptionNamer = field(default=str, compare=False)

    def __repr__(self) -> str:
        return f"Connection(api_url={self.api_url!r})"

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any], option_name: OptionNamer = str) -> Connection:
        """Read the options ``api_token``, ``api_url``, ``api_timeout`` and so on; None means the default.

        :raises InvalidInput: a value is missing or not valid; the message names the option, never the token.
        """
        return cls(
            api_token=_token(options.get("api_token"), option_name("api_token")),
            api_url=_api_url(options.get("api_url") or DEFAULT_URL, option_name("api_url")),
            timeout=parse_number(options, "api_timeout", cls.timeout, minimum=1, option_name=option_name),
            retries=int(parse_number(options, "api_retries", cls.retries, option_name=option_name)),
            retry_budget=parse_number(options, "api_retry_budget", cls.retry_budget, option_name=option_name),
            validate_certs=options.get("validate_certs") is not False,
            ca_path=_ca_path(options.get("ca_path"), option_name("ca_path")),
            option_name=option_name,
        )


@dataclass(frozen=True)
class Range:
    """The part of the log to read: from ``start`` (inclusive) to ``end`` (exclusive), or everything after a cursor.

    ``cursor`` is the complete ``poll_more`` URL of an earlier read. Without any of the three, it is the complete log.
    ``now`` is the time of the query, for warnings.
    """

    start: Optional[datetime] = None
    end: Optional[datetime] = None
    cursor: Optional[str] = None
    now: Optional[datetime] = None

    @classmethod
    def from_mapping(
        cls, options: Mapping[str, Any], now: datetime, zone: tzinfo = timezone.utc, option_name: OptionNamer = str
    ) -> Range:
        """Read the options ``start``, ``end`` and ``cursor``; relative times count from ``now``.

        Dates and named times (``today``) begin in ``zone``.

        :raises InvalidInput: a time is not valid, the end is before the start, or both a cursor and a time are set.
        """
        cursor = options.get("cursor") or None
        start, end = (_time(options.get(name), now, option_name(name), zone) for name in ("start", "end"))
        if cursor is not None:
            if start or end:
                raise InvalidInput("cursor excludes start and end; remove cursor, or remove start and end.")
            return cls(cursor=_cursor(str(cursor)), now=now)
        if start and end and end < start:
            start_name, end_name = option_name("start"), option_name("end")
            raise InvalidInput(
                f"{end_name} ({format_time(end)}) is before {start_name} ({format_time(start)}); swap them."
            )
        return cls(start=start, end=end, now=now)

    @property
    def warnings(self) -> List[str]:
        """Reasons why the result could differ from what the user expects."""
        warnings = []
        if self.start and self.now and self.start < self.now - RETENTION - _TOLERANCE:
            warnings.append(
                f"start ({format_time(self.start)}) is before the provider's retention of {RETENTION.days} days: "
                "the provider has deleted older entries, query an archive instead."
            )
        if self._is_future:
            warnings.append(f"start ({format_optional(self.start)}) is in the future: the range has no entries yet.")
        if self.is_empty:
            warnings.append("The range is empty: start equals end, and end is exclusive.")
        return warnings

    @property
    def can_have_entries(self) -> bool:
        """True if the log can have entries of the range: it is not empty and does not begin in the future."""
        return not self.is_empty and not self._is_future

    @property
    def _is_future(self) -> bool:
        return self.start is not None and self.now is not None and self.start > self.now + CLOCK_TOLERANCE

    def contains(self, moment: Optional[datetime]) -> bool:
        """True if the range contains a moment, or if the moment is unknown (None)."""
        if moment is None:
            return True
        if self.start is not None and moment < self.start:
            return False
        return self.end is None or moment < self.end

    def overlaps(self, first: Optional[datetime], last: Optional[datetime]) -> bool:
        """True if a file with entries from ``first`` to ``last`` can have entries of the range; None means unknown."""
        if first is None or last is None:
            return True
        return (self.start is None or self.start <= last) and (self.end is None or first < self.end)

    def contains_all(self, first: Optional[datetime], last: Optional[datetime]) -> bool:
        """True if the range contains all entries of a file with entries from ``first`` to ``last``."""
        return self.contains(first) and self.contains(last)

    def intersect(self, start: Optional[datetime] = None, end: Optional[datetime] = None) -> Range:
        """The part of the range from ``start`` to ``end``; None does not limit that side."""
        starts = [moment for moment in (self.start, start) if moment is not None]
        ends = [moment for moment in (self.end, end) if moment is not None]
        return Range(max(starts, default=None), min(ends, default=None))

    @property
    def is_empty(self) -> bool:
        return self.start is not None and self.end is not None and self.end <= self.start


def concurrency(options: Mapping[str, Any]) -> int:
    """The maximum number of requests at once: the option ``concurrency``.

    :raises InvalidInput: the option is not a whole number from 1 to 16.
    """
    number = parse_number(options, "concurrency", DEFAULT_CONCURRENCY, minimum=1)
    if number > MAX_CONCURRENCY or number != int(number):
        value = options.get("concurrency")
        raise InvalidInput(f"concurrency must be a whole number from 1 to {MAX_CONCURRENCY}, not {value}.")
    return int(number)


def parse_number(
    options: Mapping[str, Any],
    name: str,
    default: float,
    minimum: float = 0,
    maximum: float = MAX_NUMBER,
    option_name: OptionNamer = str,
) -> float:
    """The number in an option; None means the default.

    :raises InvalidInput: it is not a number from ``minimum`` to ``maximum``; the message names the option.
    """
    value = options.get(name)
    if value is None:
        return default
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(f"{option_name(name)}: {value!r} is not a number.") from None
    if not minimum <= number <= maximum:
        raise InvalidInput(f"{option_name(name)} must be at least {minimum:g} and at most {maximum:.0f}, not {value}.")
    return number


def read_token(path: str) -> str:
    """The content of a file with an API token.

    :raises InvalidInput: the file cannot be read.
    """
    try:
        with open(os.path.expanduser(path), encoding="ascii") as file:
            return file.read()
    except (OSError, ValueError) as exc:
        raise InvalidInput(f"The token file {path} cannot be read: {getattr(exc, 'strerror', None) or exc}.") from exc


def credential_file(name: str) -> Optional[str]:
    """The file that systemd's LoadCredential= made of a secret, if this is such a service."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    path = os.path.join(directory, name) if directory else ""
    return path if os.path.exists(path) else None


def describe_unknown(names: Iterable[str], known: Collection[str]) -> List[str]:
    """The unknown names in order, each with the known name of the most similar spelling, if there is one."""
    from difflib import get_close_matches

    described = []
    for name in sorted(set(names) - set(known)):
        nearest = get_close_matches(name, sorted(known), n=1)
        described.append(f"{name} (did you mean {nearest[0]}?)" if nearest else name)
    return described


def is_loopback(host: Optional[str]) -> bool:
    """True if a host name can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _token(value: Any, option: str) -> str:
    token = str(value or "").strip()
    if not token:
        raise InvalidInput(f"{option} is missing: set the option or the environment variable CLOUDSCALE_API_TOKEN.")
    if not _TOKEN.fullmatch(token):
        raise InvalidInput(
            f"{option} is malformed: a token contains only letters, digits, dots, underscores and hyphens."
        )
    return token


def _api_url(value: Any, option: str) -> str:
    url = str(value).strip().rstrip("/")
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or parts.scheme not in ("http", "https"):
        raise InvalidInput(f"{option} {url!r} is not a valid URL of an API; use a URL such as {DEFAULT_URL}.")
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise InvalidInput(f"{option} on {parts.hostname} must not contain a user, password, query or fragment.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise InvalidInput(f"{option} {url!r} would send the token unencrypted; use https://.")
    return url


def _ca_path(value: Any, option: str) -> Optional[str]:
    if not value:
        return None
    path = os.path.expanduser(str(value))
    if not os.path.exists(path):
        raise InvalidInput(f"{option}: {path} does not exist; use the path of a file or directory.")
    return path


def _time(value: Any, now: datetime, name: str, zone: tzinfo) -> Optional[datetime]:
    return None if value in (None, "") else parse_time(value, now, name, zone)


def _cursor(value: str) -> str:
    if "://" not in value:
        raise InvalidInput(f"cursor: {value[:80]!r} is not a URL; use the complete poll_more of an earlier result.")
    return value
