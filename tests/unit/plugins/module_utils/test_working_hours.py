# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.detection import SiteFacts
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.times import parse_timestamp
from ansible_collections.auditops.cloudscale.plugins.module_utils.working_hours import WorkingHours


def contains(hours: str, time: str) -> bool:
    moment = parse_timestamp(time)
    assert moment is not None
    return WorkingHours.parse(hours).contains(moment)


@pytest.mark.parametrize(
    ("hours", "time", "expected"),
    [
        # 2026-11-23 is a Monday.
        ("Mon-Fri 07:00-19:00", "2026-11-23T07:00:00Z", True),
        ("Mon-Fri 07:00-19:00", "2026-11-23T06:59:59.999999Z", False),
        ("Mon-Fri 07:00-19:00", "2026-11-23T19:00:00Z", False),
        ("Mon-Fri 07:00-19:00", "2026-11-22T12:00:00Z", False),
        ("Sun 07:00-24:00", "2026-11-22T23:59:59Z", True),
        ("Sun 00:00-24:00", "2026-11-23T00:00:00Z", False),
        ("Fri-Mon 07:00-19:00", "2026-11-22T12:00:00Z", True),
        ("Fri-Mon 07:00-19:00", "2026-11-25T12:00:00Z", False),
        ("Mon-Fri 07:00-19:00, Sat 08:00-12:00 UTC", "2026-11-21T11:00:00Z", True),
        ("Mon-Fri 07:00-19:00, Sat 08:00-12:00 UTC", "2026-11-21T13:00:00Z", False),
        # A night shift belongs to the day on which it begins.
        ("Fri 22:00-06:00", "2026-11-21T05:59:00Z", True),
        ("Fri 22:00-06:00", "2026-11-20T05:59:00Z", False),
        ("Fri 22:00-06:00", "2026-11-20T22:00:00Z", True),
        ("Fri 22:00-06:00", "2026-11-21T06:00:00Z", False),
        # The same hour in summer and in winter.
        ("Mon-Fri 07:00-19:00 Europe/Zurich", "2026-07-01T05:00:00Z", True),
        ("Mon-Fri 07:00-19:00 Europe/Zurich", "2026-12-01T05:00:00Z", False),
        ("Mon-Fri 07:00-19:00 Europe/Zurich", "2026-12-01T06:00:00Z", True),
    ],
)
def test_working_hours(hours: str, time: str, expected: bool) -> None:
    assert contains(hours, time) is expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "always", "Mon-Fri", "Mon-Fri 7-19", "mon 07:00-19:00", "Mon 07:00-25:00", "Mon 24:01-07:00"),
        *("Mon 07:00-19:00 Zurich,", "Mon 07:00-19:00 Nowhere/Land", "Mon 07:00-19:00 ../../x", "Mon 07:00-19:00 /etc"),
    ],
)
def test_malformed_working_hours_are_reported(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"working_hours: .*; use .*Europe/Zurich"):
        WorkingHours.parse(text)


@pytest.mark.parametrize(
    ("hours", "holidays", "time", "expected"),
    [
        ("Mon-Fri 07:00-19:00 Europe/Zurich", ["12-25"], "2026-12-25T10:00:00Z", False),
        ("Mon-Fri 07:00-19:00 Europe/Zurich", ["12-25"], "2030-12-25T10:00:00Z", False),
        ("Mon-Fri 07:00-19:00 Europe/Zurich", ["12-25"], "2026-12-24T10:00:00Z", True),
        ("Mon-Fri 07:00-19:00", ["2026-12-25"], "2026-12-25T10:00:00Z", False),
        ("Mon-Fri 07:00-19:00", ["2026-12-25"], "2030-12-25T10:00:00Z", True),
        # A night shift belongs to the day on which it begins.
        ("Thu 22:00-06:00", ["12-25"], "2026-12-25T05:00:00Z", True),
        ("Fri 22:00-06:00", ["12-25"], "2026-12-26T05:00:00Z", False),
        ("Mon-Fri 07:00-19:00", ["02-29"], "2028-02-29T10:00:00Z", False),
    ],
)
def test_nobody_works_on_holidays(hours: str, holidays: List[str], time: str, expected: bool) -> None:
    moment = parse_timestamp(time)
    assert moment is not None
    assert WorkingHours.parse(hours).with_holidays(holidays).contains(moment) is expected


@pytest.mark.parametrize("text", ["", "25.12.", "2026-13-01", "02-30", "2026-02-29", "12-25 ", "20261225", "christmas"])
def test_an_invalid_holiday_is_reported(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"holidays: .* is not a date; use 2026-04-03, or 12-25 for every year"):
        WorkingHours.parse("Mon-Fri 07:00-19:00").with_holidays([text])


def test_holidays_need_working_hours() -> None:
    with pytest.raises(InvalidInput, match="holidays requires working_hours"):
        SiteFacts.from_mapping({"holidays": ["12-25"]})
