# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cursor, heartbeats, and the coverage that a collection run may claim."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive import collector
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    AuditError,
    ClockSkew,
    InvalidInput,
    InvalidResponse,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api, Page
from ansible_collections.auditops.cloudscale.tests.simulator import Fault
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_collector import is_intact
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_collector_resync import (
    refuse_cursor,
    resync_of,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    NOON,
    World,
)

# Cursor, heartbeat and coverage


def test_the_first_commit_is_made_even_when_there_is_nothing(world: World) -> None:
    result = world.collect()
    assert (result.added, result.commits_added, result.state) == (0, 1, "current")
    assert world.commits()[0]["kind"] == "heartbeat"


def test_a_heartbeat_moves_the_cursor_at_most_once_per_interval(world: World) -> None:
    world.collect()
    world.wait(minutes=59)
    world.log.hide()
    assert world.collect().commits_added == 0
    world.wait(minutes=1)
    assert world.collect().commits_added == 1
    first, second = world.commits()
    assert second["kind"] == "heartbeat"
    assert second["cursor_before"] == first["cursor_after"] != second["cursor_after"]
    assert world.verify() == []


def test_coverage_takes_the_earlier_clock_and_retention_the_later_one(world: World) -> None:
    world.append(1)
    result = world.collect(now=lambda: NOON + timedelta(minutes=29))
    assert result.covered_until == NOON - timedelta(seconds=10)
    assert result.covered_from == NOON + timedelta(minutes=29) - timedelta(days=90)
    assert result.retention_deadline == NOON + timedelta(days=90) - timedelta(seconds=610)
    assert result.state == "current"
    assert world.commits()[0]["clock_skew_seconds"] == 1740.0
    assert world.verify() == []
    late = world.collect(now=lambda: NOON - timedelta(minutes=29), heartbeat=timedelta(0))
    assert late.covered_until == NOON - timedelta(seconds=10)
    assert world.verify() == []


@pytest.mark.parametrize("days", [60, -10, 0.03])
def test_a_wrong_date_is_refused_with_both_times_and_changes_nothing(world: World, days: float) -> None:
    world.append(3)
    world.collect()
    before = world.files()
    world.append(2, ago=30)
    world.simulator.set(clock_offset=timedelta(days=days))
    try:
        with pytest.raises(ClockSkew, match=r"The API's date is \S+Z, but this host's clock says 2026-11-22T12:00:00Z"):
            world.collect()
    finally:
        world.simulator.set(clock_offset=timedelta(0))
    assert world.files() == before
    assert world.collect().added == 2
    assert is_intact(world)


def test_a_host_whose_clock_is_behind_the_head_is_refused(world: World) -> None:
    world.append(3)
    world.collect()
    world.wait(hours=-1)
    for job in (world.collect, lambda: compact(world.store, context=world.context())):
        with pytest.raises(ClockSkew, match="the newest commit was made at 2026-11-22T12:00:00Z"):
            job()
    world.wait(hours=2)
    world.append(1)
    world.collect()
    assert is_intact(world)


def test_a_start_in_the_future_is_refused(world: World) -> None:
    world.append(3)
    with pytest.raises(InvalidInput, match=r"start: 2026-11-22T13:00:00Z is in the future"):
        world.collect(start=NOON + timedelta(hours=1))
    assert not world.path.exists() or not world.files()


def test_a_late_entry_meets_a_refused_cursor(world: World) -> None:
    world.append(3, ago=60)
    world.collect()
    world.append(1, ago=3 * 3600)
    refuse_cursor(world)
    assert world.collect().added == 1
    assert is_intact(world)


def test_a_backlog_with_an_unordered_entry_and_a_refused_cursor_hides_no_loss(world: World) -> None:
    world.append(6, ago=80 * 86400, step=86400)
    world.append(1, ago=60)
    world.append(20, ago=70 * 86400, step=86400)
    world.simulator.script(Fault("pass"), Fault("pass"), Fault("pass"), Fault("status", status=403, times=9))
    with pytest.raises(AuditError):
        world.collect(max_entries=5)
    assert world.head.commit.covered_until < world.clock.ago(days=69)
    world.simulator.clear_script()
    refuse_cursor(world)
    world.collect()
    assert is_intact(world)


def test_a_restart_of_the_api_inside_retention_duplicates_no_entry(world: World) -> None:
    world.append(50, ago=50 * 86400, step=86400)
    world.collect(max_entries=99)
    world.append(2)
    begin = {
        "next": None,
        "poll_more": f"{world.simulator.url}/project-logs?cursor=1",
        "results": world.log.entries[:9],
    }
    world.simulator.script(Fault("raw", body=json.dumps(begin).encode(), cursor=True))
    result = world.collect(max_entries=99)
    assert (result.added, resync_of(world)["why"]) == (2, "restart")
    assert is_intact(world)


def test_coverage_begins_at_the_requested_start(world: World) -> None:
    world.append(1, ago=7200)
    world.append(1, ago=60)
    result = world.collect(start=NOON - timedelta(hours=1))
    assert (result.added, result.covered_from) == (1, NOON - timedelta(hours=1))
    assert world.verify() == []


def test_a_commit_in_the_middle_of_a_backlog_claims_no_more_than_was_read(world: World) -> None:
    world.append(6, ago=3600, step=60)
    world.collect(max_entries=3)
    assert world.commits()[0]["covered_until"] == "2026-11-22T10:59:50Z"
    assert world.commits()[1]["covered_until"] == "2026-11-22T11:59:50Z"


def test_an_entry_of_the_future_extends_no_coverage(world: World) -> None:
    world.log.append(timestamp="2027-11-22T00:00:00Z")
    world.append(5)
    world.collect(max_entries=3)
    assert world.commits()[0]["covered_until"] == "2026-11-22T11:58:50Z"
    assert is_intact(world)


class Dateless(Api):
    """An API whose responses have no date."""

    def page(self, url: str) -> Page:
        return replace(super().page(url), server_date=None)


def test_a_response_without_a_date_is_refused(world: World) -> None:
    with Dateless(world.connection) as api, pytest.raises(InvalidResponse, match="Date"):
        collector.collect(world.store, api, context=world.context())


# Retention


def test_a_gap_is_recorded_when_the_provider_may_have_deleted_first(world: World) -> None:
    world.append(3)
    world.collect()
    world.append(2, ago=0)
    world.wait(days=91)
    world.append(4)
    result = world.collect()
    assert [gap.to_json() for gap in result.gaps] == [
        {"from": "2026-11-22T11:59:50Z", "to": "2026-11-23T12:10:00Z", "why": "retention"}
    ]
    assert (result.added, result.head is not None) == (4, True)
    assert world.commits()[-1]["total_gaps"] == 1
    assert world.verify() == []
    assert world.collect().gaps == []


def test_a_gap_in_silence_is_recorded_too(world: World) -> None:
    world.collect()
    world.wait(days=100)
    assert len(world.collect().gaps) == 1
    assert world.verify() == []


def test_no_gap_just_before_the_deadline(world: World) -> None:
    deadline = world.collect().retention_deadline
    assert deadline is not None
    world.clock.now = deadline
    assert world.collect().gaps == []


def test_the_margin_counts_once_in_a_chain_of_pages(world: World) -> None:
    deadline = world.collect().retention_deadline
    assert deadline is not None
    world.append(9, ago=20)
    world.clock.now = deadline
    pages = iter(range(9))
    world.simulator.before_page(lambda: world.wait(seconds=min(1, next(pages))))
    try:
        assert world.collect().gaps == []
    finally:
        world.simulator.before_page(None)


def test_a_gap_is_not_recorded_again_while_its_backlog_is_read(world: World) -> None:
    world.collect()
    world.wait(days=91)
    world.append(9, ago=90 * 86400 - 60)
    assert len(world.collect(max_entries=3).gaps) == 1
    assert world.commits()[1]["covered_until"] == world.commits()[1]["gaps"][0]["to"]
    assert world.verify() == []


def test_a_first_backlog_at_the_edge_of_retention_has_no_gap(world: World) -> None:
    world.append(9, ago=90 * 86400 - 30, step=1)
    world.simulator.before_page(lambda: world.wait(seconds=1))
    try:
        result = world.collect(max_entries=3)
    finally:
        world.simulator.before_page(None)
    assert (result.added, result.gaps) == (9, [])
    assert is_intact(world)
