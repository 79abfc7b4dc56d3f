# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Times that users and the API write: parsing and formatting."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any, Callable, Dict, Optional

from .errors import InvalidInput

RETENTION = timedelta(days=90)
"""How long the provider keeps entries (its announcement of 2026-05-15, in force since 2026-07-15)."""

YEARS = (2, 9998)
"""The first and the last year of a readable timestamp; a day before or after it is still a valid date."""

EARLIEST = datetime(YEARS[0], 1, 1, tzinfo=timezone.utc)
"""The earliest readable timestamp."""

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIME = re.compile(
    # Without 24:00, which only some releases of Python accept.
    r"(\d{4}-\d\d-\d\d)[T ]([01]\d|2[0-3]):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?\s?(Z|[+-]\d\d(?::?[0-5]\d)?)?",
    re.ASCII | re.IGNORECASE,
)
# The form of nearly all timestamps of the API.
_API_FORMAT = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d{6})?Z", re.ASCII)
_RELATIVE = re.compile(r"-(\d{1,9})([smhdw])", re.ASCII)
_AGE = re.compile(r"(\d{1,5})([dwy])", re.ASCII)
_DURATION = re.compile(r"(\d{1,6})([smhdwy])", re.ASCII)
_AGE_FORMS = "3y, 1095d, or a date that has passed, such as 2023-11-22"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_TIME_FORMS = (
    "Use a date (2026-11-22), a time with offset (2026-11-22T08:00:00Z), now, a relative time (-90d, -24h, -15m), "
    "today, yesterday, this-week, last-week, this-month or last-month."
)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


NAMED_DAYS: Dict[str, Callable[[date], date]] = {
    "today": lambda today: today,
    "yesterday": lambda today: today - timedelta(days=1),
    "this-week": _monday,
    "last-week": lambda today: _monday(today) - timedelta(weeks=1),
    "this-month": lambda today: today.replace(day=1),
    "last-month": lambda today: (today.replace(day=1) - timedelta(days=1)).replace(day=1),
}
"""The first day of each named period, given today's date. Weeks begin on Monday."""


def parse_time(text: Any, now: datetime, option: str = "time", zone: tzinfo = timezone.utc) -> datetime:
    """Parse a time that a user wrote; returns an aware time in UTC.

    The text is ISO 8601 with an offset or ``Z``, a date, ``now``, a time relative to ``now`` (-15m), or a name in
    NAMED_DAYS. Dates and names mean the first moment of a day in ``zone``. ``option`` names the value in errors.

    :raises InvalidInput: the text is something else, has no offset, or is a time that does not exist.
    """
    if isinstance(text, datetime):
        return _to_utc(text, option)
    try:
        if isinstance(text, date):
            return first_moment(text, zone)
        value = str(text).strip()
        if value == "now":
            return now
        if value in NAMED_DAYS:
            return first_moment(NAMED_DAYS[value](now.astimezone(zone).date()), zone)
        return _parse(value, now, option, zone)
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(f"{option}: {str(text)!r} does not exist. {_TIME_FORMS}") from exc


def is_relative(text: Any) -> bool:
    """True if the meaning of a time that a user wrote depends on the current time: ``-90d``, ``now``, ``today``."""
    value = str(text).strip()
    return value == "now" or value in NAMED_DAYS or _RELATIVE.fullmatch(value) is not None


def first_moment(day: date, zone: tzinfo) -> datetime:
    """The beginning of a day in a time zone, in UTC: midnight, or the clock change if that skips midnight."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(timezone.utc)


def parse_age(text: Any, now: datetime, option: str = "age") -> datetime:
    """Parse an age (``1095d``, ``156w``, ``3y``), a date or a time; returns the moment so long ago.

    Years are calendar years, so 3 years are never a day short.

    :raises InvalidInput: the text is something else, or is in the future.
    """
    age = _AGE.fullmatch(str(text).strip())
    try:
        moment = _subtract(now, int(age[1]), age[2]) if age else parse_time(text, now, option)
    except InvalidInput as exc:
        raise InvalidInput(f"{option}: {str(text)!r} is not a valid age; use {_AGE_FORMS}.") from exc
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(f"{option}: {text} is too long ago; use {_AGE_FORMS}.") from exc
    if moment > now:
        raise InvalidInput(f"{option}: {text} is in the future; use {_AGE_FORMS}.")
    return moment


def parse_duration(text: Any, option: str = "duration") -> timedelta:
    """Parse a duration such as ``15m`` or ``3y``: a number with s, m, h, d, w or y (365 days).

    :raises InvalidInput: the text is something else.
    """
    match = _DURATION.fullmatch(str(text).strip())
    if match is None:
        raise InvalidInput(
            f"{option}: {str(text)!r} is not a valid duration; use a form such as 60s, 15m, 1h, 30d or 3y."
        )
    count, unit = int(match[1]), match[2]
    return timedelta(days=365 * count) if unit == "y" else timedelta(**{_UNITS[unit]: count})


def utc_now() -> datetime:
    """This host's time, aware and in UTC."""
    return datetime.now(timezone.utc)


def format_time(moment: datetime) -> str:
    """Format a time as the API does: UTC with ``Z``, and microseconds unless they are 0."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def format_optional(moment: Optional[datetime]) -> Optional[str]:
    """The same as :func:`format_time`; None for None."""
    return None if moment is None else format_time(moment)


def parse_timestamp(value: Any) -> Optional[datetime]:
    """Parse a timestamp of the API; None if it is unreadable, has no offset, or is outside of YEARS."""
    if not isinstance(value, str):
        return None
    try:
        moment = _parse_iso(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment is not None and YEARS[0] <= moment.year <= YEARS[1] else None


def parse_http_date(value: str) -> Optional[datetime]:
    """Parse the time in an HTTP header such as ``Date``; None if it is unreadable."""
    from email.utils import parsedate_to_datetime  # a slow import, which commands without requests do not need

    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _subtract(now: datetime, count: int, unit: str) -> datetime:
    if unit != "y":
        return now - timedelta(**{_UNITS[unit]: count})
    day = 28 if (now.month, now.day) == (2, 29) else now.day
    return now.replace(year=now.year - count, day=day)


def _parse(value: str, now: datetime, option: str, zone: tzinfo) -> datetime:
    if _DATE.fullmatch(value):
        return first_moment(datetime.strptime(value, "%Y-%m-%d").date(), zone)
    relative = _RELATIVE.fullmatch(value)
    if relative:
        return now - timedelta(**{_UNITS[relative[2]]: int(relative[1])})
    moment = _parse_iso(value)
    if moment is not None:
        return moment
    if _TIME.fullmatch(value):
        raise InvalidInput(f"{option}: {value!r} has no offset from UTC; use {value}Z or {value}+01:00.")
    raise InvalidInput(f"{option}: {value!r} is not a valid time. {_TIME_FORMS}")


def _parse_iso(value: str) -> Optional[datetime]:
    """Parse an aware time, in UTC; None if the text has another form or no offset.

    :raises ValueError: the time does not exist, such as 31 February.
    """
    if _API_FORMAT.fullmatch(value):
        return datetime.fromisoformat(f"{value[:-1]}+00:00")
    match = _TIME.fullmatch(value)
    if not match or not match[6]:
        return None
    day, hour, minute, second, fraction, offset = match.groups()
    # datetime.fromisoformat of Python 3.9 accepts neither Z nor fractions other than 3 or 6 digits.
    text = f"{day}T{hour}:{minute}:{second or '00'}.{(fraction or '')[:6]:0<6}{_full_offset(offset)}"
    return datetime.fromisoformat(text).astimezone(timezone.utc)


def _full_offset(offset: str) -> str:
    if offset in "zZ":
        return "+00:00"
    digits = offset[1:].replace(":", "")
    return f"{offset[0]}{digits[:2]}:{digits[2:] or '00'}"


def _to_utc(moment: datetime, option: str) -> datetime:
    if moment.tzinfo is None:
        raise InvalidInput(f"{option}: {moment.isoformat()} has no offset from UTC; add Z or an offset.")
    return moment.astimezone(timezone.utc)
