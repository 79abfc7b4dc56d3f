# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import json
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive import collector
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import CollectSettings
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    ArchiveDamaged,
    AuditError,
    Cancelled,
    ClockSkew,
    CursorRejected,
    InvalidInput,
    InvalidResponse,
    PaginationLoop,
    ProjectMismatch,
    ServiceUnavailable,
    StorageError,
    Unauthorized,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api, Page
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical
from ansible_collections.auditops.cloudscale.tests.simulator import Fault
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    NOON,
    Disk,
    Killed,
    MemoryStore,
    RacingStore,
    World,
)


def is_intact(world: World) -> bool:
    return world.verify() == [] and world.archived() == world.logged()


# Collected entries


def test_every_entry_is_archived_exactly_once_over_several_runs(world: World) -> None:
    world.append(11)
    assert world.collect().added == 11
    world.append(2)
    assert world.collect().added == 2
    assert world.collect().added == 0
    assert is_intact(world)


def test_identical_entries_are_all_kept(world: World) -> None:
    for _run in range(2):
        world.log.extend([{"timestamp": "2026-11-22T11:59:00Z", "message": "same"}] * 4)
        world.collect()
    assert max(world.archived().values()) == 8
    assert is_intact(world)


def test_entries_are_kept_as_they_were_received(world: World) -> None:
    texts = [
        '{"timestamp":"2026-11-22T11:00:00Z","message":"{{ 7*7 }}","new":1.10,"big":1e400,"a":[1,{"y":2,"b":0}]}',
        '{"timestamp":"2026-11-22T11:00:00Z","message":"lone \\ud83d surrogate","actor":{"robot":{}}}',
        '{"timestamp":"soon","message":"unreadable time"}',
        '{"message":"no time"}',
        '{"timestamp":"2026-11-22T11:00:00.123456789+02:00","message":"\\u2028 M\\u00fcller"}',
        "{}",
    ]
    world.log.extend(texts)
    world.collect()
    text = b"".join(world.archived()).decode()
    assert '"new":1.10' in text
    assert '"big":1e400' in text
    assert "lone \\ud83d surrogate" in text
    assert "M\u00fcller" in text
    assert sum(world.archived().values()) == len(texts)
    assert world.verify() == []


def test_a_late_entry_is_archived_although_newer_ones_were_before(world: World) -> None:
    world.append(3, ago=10)
    world.collect()
    world.append(1, ago=7200)
    world.collect()
    assert is_intact(world)


def test_files_hold_one_day_of_utc_each(world: World) -> None:
    world.log.append(timestamp="2026-11-21T23:59:59.999999Z")
    world.log.append(timestamp="2026-11-22T00:00:00Z")
    world.log.append(timestamp="2026-11-22T00:30:00+01:00")
    world.log.append(timestamp="never")
    world.collect()
    days = {name.split("/")[1]: name for name in world.files() if name.startswith("entries/")}
    assert sorted(days) == ["date=0000-00-00", "date=2026-11-21", "date=2026-11-22"]
    assert [file["entries"] for file in world.commits()[0]["files"]] == [1, 2, 1]
    assert is_intact(world)


def test_commits_are_made_by_entries_by_bytes_and_by_pages(world: World) -> None:
    world.append(9)
    for number, limits in enumerate(({"max_entries": 3}, {"max_bytes": 1}, {"max_entries": 99, "max_pages": 1})):
        store = MemoryStore()
        assert world.collect(store, **limits).commits_added == 3, number
    assert world.collect(MemoryStore(), max_entries=99).commits_added == 1


def test_empty_pages_in_the_middle_are_passed(world: World) -> None:
    world.append(6)
    world.simulator.page_sizes([0, 2, 0, 0, 1])
    world.collect(max_pages=1)
    assert is_intact(world)
    assert all(commit["entries"] for commit in world.commits())


def test_the_label_and_the_uuid_of_the_project_are_recorded_once_known(world: World) -> None:
    world.collect(project="prod")
    assert world.commits()[0]["project"] == {"name": "prod", "uuid": None}
    world.append()
    world.collect()
    assert world.commits()[1]["project"] == {"name": "prod", "uuid": world.project.uuid}


def test_the_token_is_nowhere_in_the_archive(world: World) -> None:
    world.append(3)
    world.collect()
    assert not any(world.project.token.encode() in (world.path / name).read_bytes() for name in world.files())


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


# A refused cursor


def resync_of(world: World) -> Any:
    """Return the description of the newest resync."""
    return [commit["resync"] for commit in world.commits() if commit["kind"] == "resync"][-1]


def refuse_cursor(world: World, status: int = 404) -> None:
    world.simulator.script(Fault("status", status=status, cursor=True))


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_refused_cursor_joins_the_log_again_without_loss_or_doubles(world: World, status: int) -> None:
    world.append(7)
    world.collect()
    world.append(4, ago=30)
    refuse_cursor(world, status)
    result = world.collect()
    assert (result.added, result.gaps) == (4, [])
    kinds = [commit["kind"] for commit in world.commits()]
    assert kinds.count("resync") == 1
    assert next(commit for commit in world.commits() if commit["kind"] == "resync")["resync"]["overlap"] == 7
    assert is_intact(world)


def test_times_at_the_ends_of_the_calendar_stop_neither_a_collection_nor_a_resync(world: World) -> None:
    world.log.append(timestamp="9999-12-31T23:59:59.999999Z")
    world.append(4, ago=30)
    for moment in ("0001-01-01T00:00:00Z", "0001-01-01T00:00:01Z", "0001-01-01T00:00:02Z"):
        world.log.append(timestamp=moment)
    world.simulator.set(retention=None)
    world.collect()
    world.append(4, ago=20)
    refuse_cursor(world)
    world.collect()
    assert world.archived() == world.logged()
    assert world.verify() == []


def test_a_cursor_refused_in_the_middle_keeps_what_was_read_before(world: World) -> None:
    world.append(12)
    world.simulator.script(Fault("pass"), Fault("pass"), Fault("status", status=410))
    world.collect(max_entries=99)
    assert [commit["kind"] for commit in world.commits()][:2] == ["entries", "resync"]
    assert is_intact(world)


def test_a_second_refusal_in_one_run_is_an_error(world: World) -> None:
    world.append(9)
    world.collect()
    world.append(9, ago=30)
    world.simulator.script(Fault("status", status=410, cursor=True, times=99))
    with pytest.raises(CursorRejected):
        world.collect()
    world.simulator.clear_script()
    world.collect()
    assert is_intact(world)


def test_a_resync_finds_new_entries_equal_to_archived_ones(world: World) -> None:
    twin = {"timestamp": "2026-11-22T11:59:00Z", "message": "same"}
    world.log.extend([twin] * 2)
    world.collect()
    world.log.extend([twin] * 3)
    refuse_cursor(world)
    assert world.collect().added == 3
    assert is_intact(world)


def test_a_renamed_project_does_not_double_the_overlap(world: World) -> None:
    world.append(5)
    world.collect()
    changed = [
        {**entry, "subject": {"project": {"uuid": world.project.uuid, "name": "new"}}} for entry in world.log.entries
    ]
    fresh = world.simulator.add_project("renamed")
    fresh.log.extend([*changed, {**changed[0], "message": "really new"}])
    world.project.log, world.project.token = fresh.log, world.project.token
    refuse_cursor(world)
    result = world.collect()
    assert (result.added, result.renamed) == (1, 5)
    assert world.verify() == []


def test_an_exact_match_counts_before_one_that_is_only_alike(world: World) -> None:
    world.append(1)
    world.collect()
    (archived,) = world.log.entries
    alike = {**archived, "subject": {"project": {"uuid": world.project.uuid, "name": "new"}}}
    other = world.simulator.add_project("alike")
    other.log.extend([alike, archived])
    world.project.log = other.log
    refuse_cursor(world)
    result = world.collect()
    assert (result.added, result.renamed) == (1, 0)
    assert world.archived() == Counter(map(canonical, other.log.entries))


def test_nothing_is_committed_when_the_re_read_fails(world: World) -> None:
    world.append(9)
    world.collect()
    before = world.files()
    refuse_cursor(world)
    world.simulator.script(Fault("pass", cursor=False), Fault("status", status=503, cursor=True))
    with pytest.raises(ServiceUnavailable):
        world.collect()
    assert world.files() == before


def test_a_resync_beyond_retention_records_the_gap(world: World) -> None:
    world.append(5)
    world.collect()
    world.simulator.set(expired_cursor="refuse")
    world.wait(days=120)
    world.append(5)
    result = world.collect()
    assert (result.added, [gap.why for gap in result.gaps]) == (5, ["retention"])
    assert world.commits()[-1]["kind"] in ("resync", "entries")
    assert world.verify() == []


def test_a_resync_that_finds_nothing_again_records_a_gap(world: World) -> None:
    world.append(5)
    world.collect()
    emptied = world.simulator.add_project("emptied")
    world.project.log = emptied.log
    refuse_cursor(world)
    assert [gap.why for gap in world.collect().gaps] == ["no overlap"]
    assert world.verify() == []


def test_a_resync_in_a_quiet_project_is_no_gap(world: World) -> None:
    world.append(2)
    world.collect()
    for _day in range(100):
        world.wait(days=1)
        world.collect()
    refuse_cursor(world)
    assert world.collect().gaps == []
    assert world.verify() == []


def test_a_range_that_the_api_forgets_does_not_double_entries(world: World) -> None:
    world.simulator.set(range_in_urls="dropped")
    for ago in (86400, 60, 7200, 50):  # the third ones are late, and older than where the re-read begins
        world.append(4, ago=ago)
    world.collect()
    refuse_cursor(world)
    assert world.collect().added == 0
    assert is_intact(world)


def test_unreadable_times_are_not_doubled_by_a_resync(world: World) -> None:
    world.append(2)
    world.log.extend([{"timestamp": "soon", "message": str(number)} for number in range(7)])
    world.collect()
    refuse_cursor(world)
    world.collect()
    assert is_intact(world)


# Identity


def test_another_projects_entries_stop_the_run_and_commit_nothing(world: World) -> None:
    world.append(3)
    world.collect()
    before = world.files()
    world.append(1)
    world.log.append(subject={"project": {"uuid": "another", "name": "x"}})
    with pytest.raises(ProjectMismatch, match="another"):
        world.collect()
    assert world.files() == before


def test_entries_about_an_organization_or_a_user_belong_to_the_log(world: World) -> None:
    world.append(1)
    world.append(1, subject={"organization": {"href": "x", "uuid": "another", "name": "x"}})
    world.append(1, subject={"user": {"email": "a@example.com"}})
    world.collect()
    assert is_intact(world)


def test_a_rotated_token_is_accepted_after_the_overlap_was_found(world: World) -> None:
    world.append(5)
    world.collect()
    world.project.rotate_token()
    world.append(2, ago=5)
    result = world.collect()
    assert (result.added, result.gaps) == (2, [])
    assert resync_of(world)["why"] == "token"
    world.append(1, ago=4)
    world.collect()
    assert world.commits()[-1]["kind"] == "entries"
    assert is_intact(world)


def test_a_refused_cursor_does_not_spare_another_token_the_comparison(world: World) -> None:
    world.append(9)
    world.collect()
    before = world.files()
    world.project.rotate_token()
    world.simulator.script(Fault("pass", cursor=False), Fault("status", status=410, cursor=True))
    with pytest.raises(CursorRejected):
        world.collect()
    assert world.files() == before


def test_a_token_of_a_different_log_is_refused(world: World) -> None:
    world.append(5, subject={"user": {"email": "a@example.com"}})
    world.collect()
    before = world.files()
    other = world.simulator.add_project("unlike")
    other.log.append(timestamp=world.clock.ago(seconds=5), subject={"user": {"email": "b@example.com"}})
    world.project.log, world.project.token = other.log, other.token
    for accept in (False, True):
        with pytest.raises(ProjectMismatch, match="overlap"):
            world.collect(accept_identity=accept)
    assert world.files() == before


def test_beyond_retention_another_token_needs_a_recorded_acceptance(world: World) -> None:
    world.append(5)
    world.collect()
    world.project.rotate_token()
    world.wait(days=120)
    world.append(2, ago=5)
    with pytest.raises(ProjectMismatch, match="accept_identity"):
        world.collect()
    assert world.collect(accept_identity=True).added == 2
    assert resync_of(world)["accepted_identity"] is True
    assert world.verify() == []


# Faults of the API


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", status=503), ServiceUnavailable),
        (Fault("status", status=429), ServiceUnavailable),
        (Fault("status", status=401), Unauthorized),
        (Fault("html", status=200), InvalidResponse),
        (Fault("truncated"), Exception),
        (Fault("reset"), Exception),
    ],
)
def test_what_was_read_before_a_fault_is_kept(world: World, fault: Fault, error: Any) -> None:
    world.append(9)
    world.simulator.script(Fault("pass"), Fault("pass"), fault)
    with pytest.raises(error):
        world.collect(max_entries=99)
    assert sum(world.archived().values()) == 6
    assert world.verify() == []
    world.collect()
    assert is_intact(world)


def test_a_circular_chain_of_pages_adds_no_entry(world: World) -> None:
    world.append(5)
    world.simulator.script(Fault("pass"), Fault("loop"))
    with pytest.raises(PaginationLoop):
        world.collect(max_entries=99)
    world.collect()
    assert is_intact(world)


class Ring:
    """An API whose second page links back to the first."""

    def __init__(self, world: World) -> None:
        self.connection = world.connection
        self._pages = {"a": "b", "b": "a"}

    def first_url(self, start: Any = None) -> str:
        return self.url_of("cursor=a")

    def url_of(self, raw_query: str) -> str:
        return f"{self.connection.api_url}/project-logs?{raw_query}"

    def page(self, url: str) -> Page:
        name = url[-1]
        following = self.url_of(f"cursor={self._pages[name]}")
        return Page([{"message": name}], following, following, NOON, url)


def test_a_ring_of_pages_adds_no_entry_twice_however_often_it_is_read(world: World) -> None:
    for _run in range(5):
        with pytest.raises(PaginationLoop):
            collector.collect(world.store, Ring(world), CollectSettings(max_pages=99), world.context())  # type: ignore[arg-type]
    assert max(world.archived().values(), default=0) <= 1


def test_a_stopped_run_keeps_what_it_read(world: World) -> None:
    world.append(9)
    stop = threading.Event()
    pages = iter(range(9))
    world.simulator.before_page(lambda: stop.set() if next(pages) == 1 else None)
    try:
        with pytest.raises(Cancelled):
            world.collect(stop=stop, max_entries=99)
    finally:
        world.simulator.before_page(None)
    assert sum(world.archived().values()) == 6
    world.collect()
    assert is_intact(world)


# Two collectors


def test_the_loser_of_a_race_continues_without_an_error(world: World) -> None:
    world.append(5)
    world.collect()
    world.append(9, ago=20)
    result = world.collect(RacingStore(world.path, lambda: world.collect(max_entries=3)))
    assert result.added == 0
    assert is_intact(world)
    assert not [name for name in world.files() if name.startswith("pending/")]


def test_two_collectors_that_begin_an_archive_at_once_make_one(world: World) -> None:
    world.append(4)

    class Slow(LocalStore):
        def prepare(self, head: Any) -> None:
            super().prepare(head)
            if head is None:
                world.collect(LocalStore(str(world.path)))

    world.collect(Slow(str(world.path)))
    assert len({commit["archive_id"] for commit in world.commits()}) == 1
    assert is_intact(world)


def test_a_draft_taken_away_by_the_winner_is_a_lost_race(world: World) -> None:
    world.append(4)
    world.collect()
    world.append(4, ago=9)

    class Slow(LocalStore):
        """Loses the race for its commit, and its draft files, while it writes."""

        def put(self, files: Any) -> None:
            if not raced:
                raced.append(True)
                world.collect(LocalStore(str(world.path)))
                with Disk(fail_at=1, failure=errno.ENOENT, only=("rename",)).in_place():
                    super().put(files)
            super().put(files)

    raced: list[bool] = []
    assert world.collect(Slow(str(world.path))).added == 0
    assert is_intact(world)


@pytest.mark.parametrize("die_after", [1, 4, 6, 8])
def test_a_loser_killed_during_the_winners_cleanup_leaves_no_file(world: World, tmp_path: Path, die_after: int) -> None:
    """The winner commits at any step of the loser, which is killed at any later step."""
    world.append(5)
    for number in range(1, 30, 2):
        world.path = tmp_path / f"archive-{number}"
        world.store = LocalStore(str(world.path))

        def win(_name: str, _subject: Any, number: int = number) -> None:
            if len(loser.calls) == number:  # noqa: B023 - called only while this one is in place
                loser.calls.append("the winner's")  # noqa: B023
                with Disk().in_place():
                    world.collect(max_entries=3)

        loser = Disk(fail_at=number + 1 + die_after, after_each=win)
        with loser.in_place(), suppress(Killed, StorageError):
            world.collect()
        if world.store.commits():
            assert [finding for finding in world.verify() if not finding.is_warning] == [], number
        world.collect(heartbeat=timedelta(0))
        assert is_intact(world), number


# The pin


def test_the_pin_finds_and_pins_the_head(world: World) -> None:
    world.append(9)
    result = world.collect(pin=True)
    assert result.head is not None
    remembered = {"archive_id": result.archive_id, **result.head._asdict()}
    assert json.loads(world.pin_path.read_bytes()) == remembered
    world.append(3)
    world.collect()
    world.append(3)
    assert world.collect(pin=True).added == 3
    assert is_intact(world)


def cut(world: World) -> None:
    max((world.path / "commits").iterdir()).unlink()


def edit(world: World) -> None:
    path = max((world.path / "commits").iterdir())
    path.write_bytes(path.read_bytes().replace(b'"host":"', b'"host":"x'))


def empty(world: World) -> None:
    for path in (world.path / "commits").iterdir():
        path.unlink()


def test_a_missing_commit_after_the_pinned_head_is_not_replaced(world: World) -> None:
    world.append(3)
    world.collect(pin=True)
    world.append(9)
    world.collect(max_entries=3)
    (world.path / "commits" / "000000000002.json").unlink()
    with pytest.raises(ArchiveDamaged, match="missing"):
        world.collect(pin=True)


def test_a_copy_without_empty_directories_is_usable(world: World) -> None:
    world.append(3)
    world.collect()
    (world.path / "pending").rmdir()
    world.append(3)
    world.collect()
    assert is_intact(world)


@pytest.mark.parametrize("attack", [cut, edit, empty])
def test_a_cut_or_replaced_tail_is_never_extended(world: World, attack: Any) -> None:
    world.append(9)
    world.collect(pin=True)
    attack(world)
    with pytest.raises(ArchiveDamaged, match="absent or not the one"):
        world.collect(pin=True)


def test_a_broken_pin_is_not_taken_for_none(world: World) -> None:
    world.collect(pin=True)
    world.pin_path.write_bytes(b"")
    with pytest.raises(StorageError, match="verify the archive"):
        world.collect(pin=True)


def test_an_archive_that_lost_all_commits_is_not_started_again(world: World) -> None:
    world.append(9)
    world.collect()
    empty(world)
    with pytest.raises(ArchiveDamaged, match="no commit"):
        world.collect()


def test_a_damaged_head_is_not_built_on(world: World) -> None:
    world.append(9)
    world.collect()
    max((world.path / "commits").iterdir()).write_bytes(b"")
    with pytest.raises(ArchiveDamaged):
        world.collect()


# Check mode and snapshots


def test_a_dry_run_reports_additions_and_writes_nothing(world: World, tmp_path: Path) -> None:
    world.append(9)
    would = world.collect(pin=True, dry_run=True)
    assert (would.added, list(tmp_path.iterdir())) == (9, [])
    assert world.collect(pin=True).added == 9
    world.append(2)
    before = world.files(), world.pin_path.read_bytes()
    assert world.collect(pin=True, dry_run=True).added == 2
    assert (world.files(), world.pin_path.read_bytes()) == before
