# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A log that the API begins again: its entries have new ids, so they all follow the cursor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_collector import is_intact
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_collector_resync import (
    resync_of,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

DAY = 86400


def begin_again(world: World, change: Callable[[Any], Any] = dict) -> None:
    again = world.simulator.add_project(f"{world.project.name} begun again")
    again.log.extend([change(entry) for entry in world.log.entries])
    world.project.log = world.log = again.log


def renamed(entry: Any) -> Any:
    return {**entry, "subject": {"project": {**entry["subject"]["project"], "name": "new"}}}


def with_another_key(entry: Any) -> Any:
    return {**entry, "id": entry["message"]}


@pytest.mark.parametrize("change", [dict, renamed, with_another_key])
def test_a_log_that_begins_again_is_not_archived_again(world: World, change: Callable[[Any], Any]) -> None:
    world.append(3, ago=10 * DAY)
    world.append(5)
    world.collect()
    world.append(1, ago=5)
    begin_again(world, change)
    assert world.collect().added == 1
    assert resync_of(world)["why"] == "restart"
    assert len(list(world.archived().elements())) == 9
    assert world.verify() == []


def test_an_empty_first_page_does_not_hide_that_the_log_begins_again(world: World) -> None:
    world.append(3, ago=10 * DAY)
    world.append(5)
    world.collect()
    begin_again(world)
    world.simulator.page_sizes([0])
    assert world.collect().added == 0
    assert is_intact(world)


def test_an_entry_without_a_readable_time_does_not_hide_that_the_log_begins_again(world: World) -> None:
    world.log.extend([{"timestamp": None, "message": "undated"}])
    world.append(3, ago=10 * DAY)
    world.append(5)
    world.collect()
    begin_again(world)
    assert world.collect().added == 0
    assert is_intact(world)


@pytest.mark.parametrize("size", [3, 4, 200])
def test_entries_from_before_the_archive_do_not_hide_that_the_log_begins_again(world: World, size: int) -> None:
    world.append(3, ago=10 * DAY)
    world.append(3, ago=2 * DAY)
    world.append(5)
    world.collect(start=world.clock.ago(days=5))
    archived = world.archived()
    assert len(list(archived.elements())) == 8
    begin_again(world)
    world.simulator.set(page_size=size)
    world.collect()
    assert world.archived() == archived
    assert world.verify() == []


def test_late_entries_after_one_that_equals_an_archived_one_are_kept(world: World) -> None:
    world.append(1, ago=3 * DAY)
    twin = dict(world.log.entries[-1])
    world.append(5)
    world.collect()
    world.simulator.set(page_size=200)
    world.log.extend([twin])
    world.append(2, ago=3 * DAY + 50)
    world.append(1, ago=20)
    assert world.collect().added == 3
    assert not world.archived() - world.logged()


def test_late_entries_that_were_not_read_when_the_log_begins_again_are_archived_once(world: World) -> None:
    world.append(2, ago=10 * DAY)
    world.append(5)
    world.collect()
    world.append(2, ago=3 * DAY)
    world.append(1, ago=20)
    begin_again(world)
    world.simulator.set(page_size=200)
    assert world.collect().added == 3
    assert resync_of(world)["why"] == "restart"
    assert is_intact(world)


def test_late_entries_that_differ_from_archived_ones_in_another_key_are_kept(world: World) -> None:
    moment = world.clock.ago(seconds=3 * DAY)
    for resource in ("a", "b"):
        world.log.append(timestamp=moment, message="Volume created", resource=resource)
        world.append(4)
        world.collect()
    assert is_intact(world)


def test_a_late_entry_from_shortly_before_the_archive_is_kept(world: World) -> None:
    world.append(1, ago=60)
    world.collect(start=world.clock.ago(seconds=600))
    world.append(1, ago=900)
    assert world.collect().added == 1
    assert Counter(commit["kind"] for commit in world.commits()) == {"entries": 2}
    assert is_intact(world)
