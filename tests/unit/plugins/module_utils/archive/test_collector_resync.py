# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading again by time after a refused cursor, a restart of the log, or a change of identity."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    ArchiveDamaged,
    CursorRejected,
    Forbidden,
    ProjectMismatch,
    ServiceUnavailable,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical
from ansible_collections.auditops.cloudscale.tests.simulator import Fault
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_collector import is_intact
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    World,
)

TOO_LATE = 3 * 86400

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


def test_an_archive_of_the_earliest_readable_time_is_read_again(world: World) -> None:
    world.simulator.set(retention=None)
    world.log.append(timestamp="0002-01-01T00:00:00Z")
    world.collect()
    world.append(2)
    refuse_cursor(world)
    world.collect()
    world.append(1, ago=5)
    world.collect()
    assert is_intact(world)


@pytest.mark.parametrize("at", range(4))
def test_a_compaction_while_the_log_is_read_again_does_not_fail_the_run(world: World, at: int) -> None:
    for number, ago in ((2, TOO_LATE), (6, 60), (4, TOO_LATE - 100)):
        world.append(number, ago=ago)
        world.collect()
    pages = count()

    def compact_once() -> None:
        if next(pages) == at:
            world.simulator.before_page(None)
            compact(world.store, context=world.context())

    refuse_cursor(world)
    world.simulator.before_page(compact_once)
    world.collect()
    assert any(commit["kind"] == "compact" for commit in world.commits())
    assert is_intact(world)


def test_a_file_that_is_missing_while_the_log_is_read_again_is_an_error(world: World) -> None:
    world.append(2)
    world.collect()
    next(world.path.glob("entries/*/*")).unlink()
    refuse_cursor(world)
    with pytest.raises(ArchiveDamaged, match=r"entries/.*; verify the archive\."):
        world.collect()


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
    result = world.collect()
    assert (result.added, result.renamed) == (3, 0)
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


def test_a_resync_in_a_quiet_project_adds_no_gap(world: World) -> None:
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


# Entries that became visible more than a day late. They follow newer ones, so a resync reads them after its overlap.


def test_late_entries_are_not_doubled_by_a_resync(world: World) -> None:
    for ago in (60, TOO_LATE):
        world.append(4, ago=ago)
        world.collect()
    refuse_cursor(world)
    assert world.collect().added == 0
    assert is_intact(world)
    # The cursor is past them now.
    world.simulator.clear_requests()
    world.collect()
    assert len(world.simulator.requests) == 1


def test_late_entries_are_not_doubled_after_an_interrupted_resync(world: World) -> None:
    for ago in (60, TOO_LATE):
        world.append(7, ago=ago)
        world.collect()
    world.append(1, ago=30)
    world.simulator.script(Fault("status", status=410, cursor=True), *[Fault("pass")] * 4, Fault("status"))
    with pytest.raises(ServiceUnavailable):
        world.collect()
    assert world.commits()[-1]["kind"] == "resync"
    world.simulator.clear_script()
    assert world.collect().added == 1
    assert is_intact(world)


def test_late_entries_that_are_not_archived_are_new_after_a_resync(world: World) -> None:
    world.append(4)
    world.collect()
    world.append(4, ago=TOO_LATE)
    twin = dict(world.log.entries[-1])
    world.collect()
    world.log.extend([twin])
    world.append(1, ago=TOO_LATE - 9)
    refuse_cursor(world)
    assert world.collect().added == 2
    assert is_intact(world)


def test_renamed_late_entries_are_not_doubled_by_a_resync(world: World) -> None:
    for ago in (60, TOO_LATE):
        world.append(4, ago=ago)
        world.collect()
    renamed = world.simulator.add_project("renamed late")
    subject = {"project": {"uuid": world.project.uuid, "name": "new"}}
    renamed.log.extend([{**entry, "subject": subject} for entry in world.log.entries])
    world.project.log = renamed.log
    refuse_cursor(world)
    assert world.collect().added == 0
    assert world.verify() == []


def test_a_late_exact_match_counts_before_one_that_is_only_alike(world: World) -> None:
    world.append(6)
    world.collect()
    world.append(1, ago=TOO_LATE)
    world.collect()
    archived = world.log.entries[-1]
    alike = {**archived, "subject": {"project": {"uuid": world.project.uuid, "name": "new"}}}
    other = world.simulator.add_project("alike late")
    other.log.extend([*world.log.entries[:-1], alike, archived])
    world.project.log = other.log
    refuse_cursor(world)
    assert world.collect().added == 1
    assert world.archived() == Counter(map(canonical, other.log.entries))
    assert world.verify() == []


def test_pruned_late_entries_do_not_return_after_a_resync(world: World) -> None:
    for ago in (60, TOO_LATE):
        world.append(6, ago=ago)
        world.collect()
    prune(world.store, world.clock.ago(days=1), world.context())
    refuse_cursor(world)
    assert world.collect().added == 0
    assert len(list(world.archived().elements())) == 6
    assert world.verify() == []


def test_a_late_entry_that_equals_one_from_before_the_overlap_is_new(world: World) -> None:
    world.append(1)
    twin = dict(world.log.entries[-1])
    world.collect()
    world.wait(days=3)
    for number in (4, 1):
        world.append(number)
        world.collect()
    world.append(1, ago=30)
    world.log.extend([twin])
    world.append(1)
    refuse_cursor(world)
    assert world.collect().added == 3
    assert is_intact(world)


def test_an_entry_without_a_readable_time_that_equals_an_old_one_is_new_after_a_resync(world: World) -> None:
    undated = {"timestamp": None, "message": "undated"}
    world.log.extend([undated])
    world.append(3)
    world.collect()
    world.wait(days=30)
    world.append(3)
    world.collect()
    world.log.extend([undated])
    refuse_cursor(world)
    assert world.collect().added == 1
    assert is_intact(world)


def test_an_unreadable_time_is_not_doubled_where_it_follows_an_interrupted_run(world: World) -> None:
    world.append(3)
    world.collect()
    world.wait(days=3)
    world.log.extend([{"timestamp": None, "message": "undated"}])
    world.append(4, ago=20)
    world.simulator.script(Fault("pass"), Fault("status", status=403, times=9))
    world.simulator.set(page_size=1)
    with pytest.raises(Forbidden):
        world.collect()
    world.simulator.clear_script()
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


def test_another_token_loses_no_late_entry(world: World) -> None:
    moment = world.clock.ago(seconds=TOO_LATE)
    world.log.append(timestamp=moment, message="Volume created", resource="a")
    world.append(4)
    world.collect()
    world.append(1, ago=TOO_LATE - 9)
    world.log.extend([world.log.entries[0]])
    world.log.append(timestamp=moment, message="Volume created", resource="b")
    world.append(1, ago=20)
    world.project.rotate_token()
    world.simulator.set(page_size=200)
    assert world.collect().added == 4
    assert is_intact(world)


def test_a_cursor_that_another_token_cannot_use_is_replaced(world: World) -> None:
    world.append(5)
    world.collect()
    world.append(2, ago=20)
    world.project.rotate_token()
    world.simulator.set(page_size=200)
    refuse_cursor(world)
    assert world.collect().added == 2
    assert [commit["resync"]["why"] for commit in world.commits() if "resync" in commit] == ["token", "cursor"]
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
