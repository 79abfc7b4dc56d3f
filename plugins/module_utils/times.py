# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user may write as a time, and what the API writes as one."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import Any, Optional

from .errors import InvalidInput

RETENTION = timedelta(days=90)
"""How long the provider keeps entries (its announcement of 2026-05-15, in force since 2026-07-15)."""

YEARS = (2, 9998)
"""The first and the last year of a timestamp that counts as readable: days before and behind it still exist."""

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?\s?(Z|[+-]\d\d:?\d\d|[+-]\d\d)?",
    re.ASCII | re.IGNORECASE,
)
# As the API writes nearly all of them.
_USUAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_RELATIVE = re.compile(r"-(\d{1,9})([smhdw])", re.ASCII)
_AGE = re.compile(r"(\d{1,5})([dwy])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORMS = (
    "Use a date (2026-11-22), a time with offset (2026-11-22T08:00:00Z), now, or a distance back (-90d, -24h, -15m)."
)


def parse_time(text: Any, now: datetime, option: str = "time") -> datetime:
    """Read a time that a user wrote, as an aware time in UTC.

    Accepted are ISO 8601 with an offset or ``Z``, a date (its midnight in UTC), ``now``, and a distance back
    from ``now`` in seconds, minutes, hours, days or weeks. ``option`` names the value in an error.

    :raises InvalidInput: the text is none of these, has no offset, or names no existing time.
    """
    if isinstance(text, datetime):
        return _aware(text, option)
    if isinstance(text, date):
        return datetime(text.year, text.month, text.day, tzinfo=timezone.utc)
    value = str(text).strip()
    if value == "now":
        return now
    try:
        return _parse(value, now, option)
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(f"{option}: {value!r} names no existing time. {_FORMS}") from exc


def parse_age(text: Any, now: datetime, option: str = "age") -> datetime:
    """The moment before which everything is older than an age (``1095d``, ``156w``, ``3y``), or than a date or time.

    Years are those of the calendar, so that 3 years are never a day less.

    :raises InvalidInput: the text is none of these, or lies in the future.
    """
    age = _AGE.fullmatch(str(text).strip())
    try:
        moment = _back(now, int(age[1]), age[2]) if age else parse_time(text, now, option)
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(f"{option}: {text} reaches back behind the calendar.") from exc
    if moment > now:
        raise InvalidInput(f"{option}: {text} lies in the future; use an age (3y, 1095d) or a date that has passed.")
    return moment


def utc_now() -> datetime:
    """This host's time, aware and in UTC."""
    return datetime.now(timezone.utc)


def format_time(moment: datetime) -> str:
    """Write a time the way the API does: UTC, microseconds if there are any, ``Z``."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def format_optional(moment: Optional[datetime]) -> Optional[str]:
    """The same; None for None."""
    return None if moment is None else format_time(moment)


def read_timestamp(value: Any) -> Optional[datetime]:
    """Read a timestamp that the API wrote; None when it is unreadable, has no offset, or lies outside of YEARS."""
    if not isinstance(value, str):
        return None
    try:
        moment = _parse_iso(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment is not None and YEARS[0] <= moment.year <= YEARS[1] else None


def read_http_date(value: str) -> Optional[datetime]:
    """Read the time in a header of HTTP, such as ``Date``; None when it is unreadable."""
    from email.utils import parsedate_to_datetime  # takes its time, and what asks nobody needs no such dates

    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _back(now: datetime, count: int, unit: str) -> datetime:
    if unit != "y":
        return now - timedelta(**{_UNITS[unit]: count})
    day = 28 if (now.month, now.day) == (2, 29) else now.day
    return now.replace(year=now.year - count, day=day)


def _parse(value: str, now: datetime, option: str) -> datetime:
    if _DATE.fullmatch(value):
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=timezone.utc)
    relative = _RELATIVE.fullmatch(value)
    if relative:
        return now - timedelta(**{_UNITS[relative[2]]: int(relative[1])})
    moment = _parse_iso(value)
    if moment is not None:
        return moment
    if _TIME.fullmatch(value):
        raise InvalidInput(f"{option}: {value!r} has no offset from UTC; write {value}Z or {value}+01:00.")
    raise InvalidInput(f"{option}: {value!r} is no time. {_FORMS}")


def _parse_iso(value: str) -> Optional[datetime]:
    """An aware time in UTC; None when the text has another form or no offset; ValueError for a 31 February."""
    if _USUAL.fullmatch(value):
        return datetime.fromisoformat(f"{value[:-1]}+00:00")
    match = _TIME.fullmatch(value)
    if not match or not match[6]:
        return None
    day, hour, minute, second, fraction, offset = match.groups()
    # datetime.fromisoformat of Python 3.9 knows neither Z nor other than 3 or 6 digits of a second.
    text = f"{day}T{hour}:{minute}:{second or '00'}.{(fraction or '')[:6]:0<6}{_full_offset(offset)}"
    return datetime.fromisoformat(text).astimezone(timezone.utc)


def _full_offset(offset: str) -> str:
    if offset in "zZ":
        return "+00:00"
    digits = offset[1:].replace(":", "")
    return f"{offset[0]}{digits[:2]}:{digits[2:] or '00'}"


def _aware(moment: datetime, option: str) -> datetime:
    if moment.tzinfo is None:
        raise InvalidInput(f"{option}: {moment.isoformat()} has no offset from UTC; write it with Z or an offset.")
    return moment.astimezone(timezone.utc)
