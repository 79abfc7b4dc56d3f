# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which period an access review compares with, and what it refuses; needs none of the reports' libraries."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Optional, Tuple
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.access_review import (
    Period,
    duration_before,
    preceding_range,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.coverage import SourceCoverage
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.sources import Origin
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import Report
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Range
from ansible_collections.auditops.cloudscale.plugins.module_utils.times import parse_time

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
ZURICH = ZoneInfo("Europe/Zurich")


@pytest.mark.parametrize(
    ("start", "end", "before"),
    [
        ("-30d", None, "2026-09-23T12:00:00Z"),
        ("-30d", "-10d", "2026-10-03T12:00:00Z"),
        # Whole days stay whole days where the clocks change: on 25 October the day has 25 hours.
        ("2026-11-01", "2026-11-08", "2026-10-24T22:00:00Z"),
        ("2026-10-25", "2026-10-26", "2026-10-23T22:00:00Z"),
        # Before a month is a month, before two months are two.
        ("last-month", "this-month", "2026-08-31T22:00:00Z"),
        ("2026-01-01", "2026-03-01", "2025-10-31T23:00:00Z"),
        ("2026-01-01", "2027-01-01", "2024-12-31T23:00:00Z"),
        # These are not whole days in that zone.
        ("2026-11-01T00:00:00Z", "2026-11-08T00:00:00Z", "2026-10-25T00:00:00Z"),
        ("2026-11-01", "2026-11-01T01:00:00Z", "2026-10-31T21:00:00Z"),
        # The part that lies in the future belongs to the length.
        ("2026-11-21", "2026-11-25", "2026-11-16T23:00:00Z"),
    ],
)
def test_the_period_before_is_as_long(start: str, end: Optional[str], before: str) -> None:
    asked = Range.from_mapping({"start": start, "end": end}, NOW, ZURICH)
    found = preceding_range(asked, NOW, ZURICH)
    assert found == Range(parse_time(before, NOW), asked.start)
    assert asked.start is not None
    assert duration_before(asked, found) == asked.start - parse_time(before, NOW)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (None, "-10d"),
        ("-10d", "-10d"),
        ("2099-01-01", None),
        ("0001-06-01", "2026-01-01"),
        ("0001-06-01T08:00:00Z", None),
    ],
)
def test_some_ranges_have_no_period_before(start: Optional[str], end: Optional[str]) -> None:
    asked = Range.from_mapping({"start": start, "end": end}, NOW)
    assert preceding_range(asked, NOW, timezone.utc) is None
    assert duration_before(asked, None) == timedelta(0)


def coverage(project: str, *why: str) -> SourceCoverage:
    missing = [("2026-10-01 00:00", "2026-10-02 00:00", reason) for reason in why]
    return SourceCoverage(Origin(project), "", "", missing)


@pytest.mark.parametrize(("project", "reasons"), [("shop", ["before", "no overlap"]), ("mail", []), ("another", [])])
def test_reasons_are_those_of_the_project_each_once(project: str, reasons: Tuple[str, ...]) -> None:
    period = Period("", [coverage("shop", "before", "no overlap"), coverage("shop", "before"), coverage("mail")])
    assert period.reasons(project) == reasons
    assert not period.is_complete
    assert Period("", [coverage("mail")]).is_complete


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"limit": 10}, "limit: an access review needs all entries of a period; remove limit"),
        ({"cursor": "https://api.example/x"}, "cursor: an access review needs all entries of a period"),
        ({"form": "acess_review"}, "'acess_review' is not valid; use one of activity, access_review"),
    ],
)
def test_what_leaves_somebody_out_is_refused(options: Dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        Report({"form": "access_review", **options})


def test_empty_fields_of_a_survey_are_not_set() -> None:
    Report({"form": "access_review", "limit": "", "cursor": "", "actors": [""]})
    Report({"form": "", "limit": 10})
