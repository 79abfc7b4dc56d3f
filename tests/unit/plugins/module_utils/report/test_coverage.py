# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report says it misses of the asked range; needs none of the reports' libraries."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import List, Optional, Tuple

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import Gap
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.coverage import (
    SourceCoverage,
    missing_of,
    state_of,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.sources import Origin
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Range

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def archive(begins: float, ends: float, project: str = "shop", gaps: Tuple[Gap, ...] = ()) -> Origin:
    return Origin(project, ago(begins), ago(ends), "an archive", None, gaps)


def api(begins: float, project: str = "shop") -> Origin:
    return Origin(project, ago(begins))


@pytest.mark.parametrize(
    ("origins", "start", "end", "told"),
    [
        # An archive by itself.
        ([archive(400, 1)], 300, 2, []),
        ([archive(400, 1)], 500, 2, [(500, 400, "before")]),
        ([archive(400, 1)], 300, None, [(1, None, "after")]),
        ([archive(400, 10)], 300, 5, [(10, 5, "after")]),
        ([archive(400, 1)], 500, 450, [(500, 450, "before")]),
        # The API continues where an archive ends, or has the entries pruned there.
        ([archive(400, 1), api(1)], 300, None, []),
        ([archive(30, 1), api(80)], 80, None, []),
        ([archive(30, 1), api(90)], 365, None, [(365, 89.5, "before")]),
        # An archive that nobody collected for longer than the provider keeps entries.
        ([archive(400, 120), api(90)], 300, None, [(120, 89.5, "after")]),
        # Another project's log does not help.
        ([archive(400, 1), api(1, "other")], 300, None, [(1, None, "after")]),
        # The API by itself has what the provider keeps.
        ([api(90)], 90 + 1 / 86400, None, []),
        ([api(90)], 120, None, [(120, 89.5, "retention")]),
        ([api(90)], 120, 100, [(120, 100, "retention")]),
        ([api(90), archive(400, 1, "other")], 120, None, [(120, 89.5, "retention")]),
        # Nobody has what lies after the moment of asking.
        ([api(90)], 30, -5, [(0, -5, "future")]),
        ([api(90)], 120, -5, [(120, 89.5, "retention"), (0, -5, "future")]),
        ([api(90)], -2, -5, [(-2, -5, "future")]),
        ([api(90)], -2, None, [(-2, None, "future")]),
        ([api(90)], 30, -1 / 86400, []),
        ([archive(400, 1)], 30, -5, [(1, 0, "after"), (0, -5, "future")]),
        ([archive(400, 1), api(1)], 30, -5, [(0, -5, "future")]),
        ([archive(400, 1), api(1)], -2, -5, [(-2, -5, "future")]),
    ],
)
def test_parts_that_no_source_has_are_missing(
    origins: List[Origin], start: float, end: Optional[float], told: List[Tuple[float, Optional[float], str]]
) -> None:
    asked = Range(ago(start), None if end is None else ago(end))
    expected = [(ago(begins), None if ends is None else ago(ends), why) for begins, ends, why in told]
    assert missing_of(origins[0], origins, asked, NOW) == expected


def test_what_was_deleted_since_the_last_report_changes_none_of_that_day() -> None:
    for origins in ([api(90)], [archive(30, 1), api(90)], [archive(400, 120), api(90)]):
        later = [replace(origin, covered_from=ago(89.9)) if origin.archive is None else origin for origin in origins]
        asked = Range(ago(300), None)
        assert missing_of(later[0], later, asked, NOW) == missing_of(origins[0], origins, asked, NOW) != []


def test_missing_parts_are_reported_once() -> None:
    origins = [archive(30, 1), api(90)]
    assert missing_of(origins[1], origins, Range(ago(365), None), NOW) == []


def test_future_parts_are_reported_once() -> None:
    origins = [archive(400, 1), api(1)]
    assert missing_of(origins[1], origins, Range(ago(30), ago(-5)), NOW) == []


def test_what_an_archive_knows_to_be_lost_is_missing_whatever_the_api_has() -> None:
    gap = Gap(ago(50), ago(40), "no overlap")
    origins = [archive(400, 1, gaps=(gap,)), api(1)]
    assert missing_of(origins[0], origins, Range(ago(60), None), NOW) == [gap]


def test_without_a_start_nothing_is_missing_before_what_is_kept() -> None:
    for origin in (archive(400, 0), api(90)):
        assert missing_of(origin, [origin], Range(None, ago(1)), NOW) == []


@pytest.mark.parametrize(
    ("reasons", "state"),
    [([], "complete"), (["future"], "unfinished"), (["retention"], "incomplete"), (["future", "after"], "incomplete")],
)
def test_a_range_that_is_not_over_has_no_gaps_for_that(reasons: List[str], state: str) -> None:
    of_one = SourceCoverage(api(90), "", "", [("", "", why) for why in reasons])
    assert state_of([of_one, SourceCoverage(api(90, "mail"), "", "", [])]) == state
