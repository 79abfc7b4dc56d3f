# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.times import (
    NAMED_DAYS,
    format_time,
    is_relative,
    parse_age,
    parse_duration,
    parse_time,
    parse_timestamp,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2100, 1, 1), timezones=OFFSETS)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("2026-11-22", utc(2026, 11, 22)),
        (date(2026, 11, 22), utc(2026, 11, 22)),
        ("2026-11-22T08:00:00Z", utc(2026, 11, 22, 8)),
        ("2026-11-22T08:00Z", utc(2026, 11, 22, 8)),
        ("2026-11-22t08:00:00z", utc(2026, 11, 22, 8)),
        ("2026-11-22T08:00:00+02:00", utc(2026, 11, 22, 6)),
        ("2026-11-22T08:00:00-0530", utc(2026, 11, 22, 13, 30)),
        ("2026-11-22 08:00:00+00:00", utc(2026, 11, 22, 8)),
        ("2026-11-22T08:00:00.1234567+01", utc(2026, 11, 22, 7, 0, 0, 123456)),
        (" 2026-11-22T08:00:00,5Z ", utc(2026, 11, 22, 8, 0, 0, 500000)),
        (datetime(2026, 11, 22, 8, tzinfo=timezone(timedelta(hours=1))), utc(2026, 11, 22, 7)),
        ("-90d", NOW - timedelta(days=90)),
        ("-24h", NOW - timedelta(hours=24)),
        ("-15m", NOW - timedelta(minutes=15)),
        ("-30s", NOW - timedelta(seconds=30)),
        ("-2w", NOW - timedelta(weeks=2)),
    ],
)
def test_accepted_forms(text: object, moment: datetime) -> None:
    assert parse_time(text, NOW) == moment


# 2026-11-22 is a Sunday; in Kiritimati (UTC+14) it is already Monday.
@pytest.mark.parametrize(
    ("text", "in_utc", "in_zurich", "in_kiritimati"),
    [
        ("today", utc(2026, 11, 22), utc(2026, 11, 21, 23), utc(2026, 11, 22, 10)),
        ("yesterday", utc(2026, 11, 21), utc(2026, 11, 20, 23), utc(2026, 11, 21, 10)),
        ("this-week", utc(2026, 11, 16), utc(2026, 11, 15, 23), utc(2026, 11, 22, 10)),
        ("last-week", utc(2026, 11, 9), utc(2026, 11, 8, 23), utc(2026, 11, 15, 10)),
        ("this-month", utc(2026, 11, 1), utc(2026, 10, 31, 23), utc(2026, 10, 31, 10)),
        ("last-month", utc(2026, 10, 1), utc(2026, 9, 30, 22), utc(2026, 9, 30, 10)),
        ("2026-07-01", utc(2026, 7, 1), utc(2026, 6, 30, 22), utc(2026, 6, 30, 10)),
        (date(2026, 7, 1), utc(2026, 7, 1), utc(2026, 6, 30, 22), utc(2026, 6, 30, 10)),
        ("2026-07-01T00:00:00Z", utc(2026, 7, 1), utc(2026, 7, 1), utc(2026, 7, 1)),
        ("-1h", utc(2026, 11, 22, 11), utc(2026, 11, 22, 11), utc(2026, 11, 22, 11)),
    ],
)
def test_days_begin_in_the_time_zone(
    text: object, in_utc: datetime, in_zurich: datetime, in_kiritimati: datetime
) -> None:
    assert parse_time(text, NOW) == in_utc
    assert parse_time(text, NOW, "start", ZoneInfo("Europe/Zurich")) == in_zurich
    assert parse_time(text, NOW, "start", ZoneInfo("Pacific/Kiritimati")) == in_kiritimati


@pytest.mark.parametrize("now", [utc(2026, 1, 1), utc(2026, 1, 31, 23, 59), utc(2026, 3, 1)])
@pytest.mark.parametrize("name", sorted(NAMED_DAYS))
def test_a_named_time_is_the_midnight_before_or_at_its_present(name: str, now: datetime) -> None:
    moment = parse_time(name, now)
    assert moment <= now
    assert moment.time() == NOW.min.time()
    assert moment.weekday() == 0 or not name.endswith("week")
    assert moment.day == 1 or not name.endswith("month")


def test_a_day_without_midnight_begins_when_the_clocks_skip_it() -> None:
    zone = ZoneInfo("America/Santiago")
    begin = parse_time("2026-09-06", NOW, "start", zone)
    assert begin == utc(2026, 9, 6, 4)
    assert (begin - timedelta(microseconds=1)).astimezone(zone).date() == date(2026, 9, 5)


@pytest.mark.parametrize(
    ("text", "relative"),
    [
        ("-30d", True),
        ("now", True),
        ("last-month", True),
        ("2026-11-22", False),
        ("2026-11-22T08:00Z", False),
        ("", False),
    ],
)
def test_some_times_depend_on_when_they_are_read(text: str, relative: bool) -> None:
    assert is_relative(text) is relative


@pytest.mark.parametrize("text", ["2026-11-22T08:00:00", "2026-11-22 08:00", datetime(2026, 11, 22, 8)])
def test_a_time_without_offset_is_reported_as_such(text: object) -> None:
    with pytest.raises(InvalidInput, match=r"^start: .*no offset from UTC"):
        parse_time(text, NOW, "start")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "Today",
        "this week",
        "-7",
        "7d",
        "-1y",
        "1700000000",
        "2026-11-22T08:00:00Zjunk",
        "22.11.2026",
        "-9d-1h",
        "NOW\n2",
    ],
)
def test_other_forms_are_refused_with_the_forms_that_exist(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^end: .*Use a date"):
        parse_time(text, NOW, "end")


@pytest.mark.parametrize("text", ["2026-02-31", "2026-13-01", "2026-11-22T25:00:00Z", "-999999999d", "٢٠٢٦-11-22"])
def test_times_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_time(text, NOW)


@given(MOMENTS)
def test_any_moment_survives_writing_and_reading(moment: datetime) -> None:
    assert parse_time(format_time(moment), NOW) == moment
    assert parse_timestamp(format_time(moment)) == moment


@given(MOMENTS)
def test_iso_forms_of_any_offset_mean_the_same_moment(moment: datetime) -> None:
    assert parse_time(moment.isoformat(), NOW) == moment


@given(st.text())
def test_any_text_is_a_time_or_a_clear_refusal(text: str) -> None:
    try:
        moment = parse_time(text, NOW)
    except InvalidInput:
        return
    assert moment.utcoffset() == timedelta(0)


@given(st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text())))
def test_an_unreadable_timestamp_is_none(value: object) -> None:
    moment = parse_timestamp(value)
    assert moment is None or moment.utcoffset() == timedelta(0)


def test_a_timestamp_needs_no_more_than_the_api_writes() -> None:
    assert parse_timestamp("2025-12-11T12:23:17.460366Z") == utc(2025, 12, 11, 12, 23, 17, 460366)
    assert parse_timestamp("2025-12-11T12:23:17.460366") is None
    assert parse_timestamp("2025-02-30T12:23:17Z") is None


@pytest.mark.parametrize("text", ["24:00:00Z", "24:00:00.000000Z", "12:00:00+01:75", "23:59:60Z"])
def test_a_timestamp_that_not_every_python_reads_alike_is_unreadable(text: str) -> None:
    assert parse_timestamp(f"2025-12-11T{text}") is None


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9998-12-31T23:59:59-01:00"])
def test_a_timestamp_at_an_end_of_the_calendar_is_unreadable(text: str) -> None:
    assert parse_timestamp(text) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1095d", NOW - timedelta(days=1095)),
        ("2w", NOW - timedelta(weeks=2)),
        ("3y", utc(2023, 11, 22, 12)),  # with a leap day: 1096 days
        ("-30d", NOW - timedelta(days=30)),
        ("2024-01-01", utc(2024, 1, 1)),
        (date(2024, 1, 1), utc(2024, 1, 1)),
    ],
)
def test_ages(text: object, moment: datetime) -> None:
    assert parse_age(text, NOW) == moment


def test_a_year_after_a_leap_day() -> None:
    assert parse_age("1y", utc(2024, 2, 29)) == utc(2023, 2, 28)


@pytest.mark.parametrize("text", ["3", "3 years", "", "9999y", "2999-01-01", "2026-11-22T13:00:00Z"])
def test_no_ages(text: str) -> None:
    with pytest.raises(InvalidInput, match="^older_than: .*(3y, 1095d, or a date|the calendar)"):
        parse_age(text, NOW, "older_than")


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("60s", timedelta(minutes=1)),
        (" 15m ", timedelta(minutes=15)),
        ("1h", timedelta(hours=1)),
        ("0d", timedelta()),
        ("2w", timedelta(days=14)),
        ("3y", timedelta(days=3 * 365)),
        ("999999y", timedelta(days=999999 * 365)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "1.5h", "1 h", "1H", "1h30m", "1000000s", "٣h", None, 60])
def test_no_durations(text: object) -> None:
    with pytest.raises(InvalidInput, match=r"^every: .* is not a valid duration; use a form such as 60s"):
        parse_duration(text, "every")


def test_the_first_and_the_last_year_of_timestamps() -> None:
    assert parse_timestamp("0002-01-01T00:00:00Z") == utc(2, 1, 1)
    assert parse_timestamp("9998-12-31T23:59:59Z") == utc(9998, 12, 31, 23, 59, 59)
