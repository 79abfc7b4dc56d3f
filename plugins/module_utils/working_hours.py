# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Working hours: shifts on weekdays, in a time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo
from typing import FrozenSet, Iterable, Optional, Tuple
from zoneinfo import ZoneInfo

from .errors import InvalidInput

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = "|".join(_DAYS)
_SHIFT = re.compile(rf"({_DAY})(?:-({_DAY}))? (\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
_HOLIDAY = re.compile(r"(\d{4}-)?\d\d-\d\d", re.ASCII)
_SHIFT_FORM = "use a form such as Mon-Fri 07:00-19:00 Europe/Zurich, and commas between shifts"


@dataclass(frozen=True)
class Shift:
    """Weekdays (Monday is 0) with the begin and end of work; the end can be on the next day."""

    days: FrozenSet[int]
    begins: time
    ends: time

    def day_of(self, local: datetime) -> Optional[date]:
        """The day on which the shift that contains this time began; None if the time is outside of the shift."""
        moment, day = local.time(), local.date()
        if self.begins < self.ends:
            inside = self.begins <= moment < self.ends
        elif moment >= self.begins:
            inside = True
        else:
            inside, day = moment < self.ends, day - timedelta(days=1)
        return day if inside and day.weekday() in self.days else None


@dataclass(frozen=True)
class WorkingHours:
    """Shifts in a time zone, and the text they were parsed from. No shift begins on ``holidays`` (ISO dates)."""

    text: str
    shifts: Tuple[Shift, ...]
    zone: tzinfo
    holidays: FrozenSet[str] = frozenset()

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> WorkingHours:
        """Parse ``Mon-Fri 07:00-19:00, Sat 08:00-12:00 Europe/Zurich``; ``zone`` is the default time zone.

        :raises InvalidInput: the text has another form, or its time zone is unknown on this host.
        """
        *shifts, last = text.split(",")
        words = last.split()
        zone = words.pop() if len(words) == 3 else zone
        return cls(
            text,
            tuple(_shift(" ".join(part.split())) for part in (*shifts, " ".join(words))),
            time_zone(zone, "working_hours"),
        )

    def contains(self, moment: datetime) -> bool:
        """True if an (aware) time is within working hours."""
        local = moment.astimezone(self.zone)
        days = (shift.day_of(local) for shift in self.shifts)
        return any(day is not None and not self._is_holiday(day) for day in days)

    def with_holidays(self, holidays: Iterable[str]) -> WorkingHours:
        """The same working hours with holidays: dates such as 2026-04-03, or 12-25 for every year.

        :raises InvalidInput: one is not a date.
        """
        days = frozenset(holidays)
        for day in days:
            _check_holiday(day)
        return replace(self, holidays=days)

    def _is_holiday(self, day: date) -> bool:
        text = day.isoformat()
        return bool(self.holidays) and (text in self.holidays or text[5:] in self.holidays)


def _check_holiday(text: str) -> None:
    try:
        if not _HOLIDAY.fullmatch(text):
            raise ValueError("another form")
        # 2024 is a leap year, so it has every day.
        date.fromisoformat(text if len(text) == 10 else f"2024-{text}")
    except ValueError:
        raise InvalidInput(f"holidays: {text!r} is not a date; use 2026-04-03, or 12-25 for every year.") from None


def _shift(text: str) -> Shift:
    match = _SHIFT.fullmatch(text)
    if not match:
        raise InvalidInput(f"working_hours: {text!r} is not valid; {_SHIFT_FORM}.")
    first, last = _DAYS.index(match[1]), _DAYS.index(match[2] or match[1])
    days = frozenset((first + offset) % 7 for offset in range((last - first) % 7 + 1))
    try:
        begins, ends = time(int(match[3]), int(match[4])), _end(int(match[5]), int(match[6]))
    except ValueError:
        raise InvalidInput(f"working_hours: {text!r} has a time that does not exist; {_SHIFT_FORM}.") from None
    return Shift(days, begins, ends)


def _end(hour: int, minute: int) -> time:
    """The end of a shift; 24:00 is midnight at the end of the day."""
    return time(0, 0) if (hour, minute) == (24, 0) else time(hour, minute)


def time_zone(name: str, option: str) -> tzinfo:
    """A time zone by its name in the IANA database, such as Europe/Zurich.

    :raises InvalidInput: the name is unknown on this host; the message names the option.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidInput(
            f"{option}: {name!r} is not a time zone known on this host; use a name such as UTC or Europe/Zurich."
        ) from None
