# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reconciling: differences are reported, differences that are allowed are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reconciler import Reconciliation, reconcile
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    ArchiveDamaged,
    InvalidResponse,
    ProjectMismatch,
    StorageError,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api, Page
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Range
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import NOON, World

DAY = 86400


@pytest.fixture
def archive(world: World) -> World:
    """Three days of entries, some of them equal."""
    world.append(7, ago=3 * DAY, step=DAY / 3)
    moment = world.clock.ago(days=1).isoformat()
    world.log.extend([{"timestamp": moment, "message": "twin"}] * 3)
    world.collect()
    return world


class Watched(Api):
    """Calls a function before a page is requested."""

    def __init__(self, world: World, before_page: Callable[[int], Any]) -> None:
        super().__init__(world.connection)
        self._before_page = before_page
        self._asked = 0

    def page(self, url: str) -> Page:
        self._asked += 1
        self._before_page(self._asked)
        return super().page(url)


def compared(
    world: World, time_range: Optional[Range] = None, before_page: Callable[[int], Any] = lambda _number: None
) -> Reconciliation:
    with Watched(world, before_page) as api:
        return reconcile(world.store, api, time_range)


def found(result: Reconciliation) -> Counter[str]:
    return Counter(finding.type for finding in result.findings)


def test_an_intact_archive_equals_the_provider(archive: World) -> None:
    result = compared(archive)
    assert result.findings == []
    assert result.entries == 10
    assert result.to_json()["start"] == "2026-08-24T12:10:00Z"
    assert result.to_json()["end"] == "2026-11-22T11:59:40Z"


@pytest.mark.parametrize("twins", [1, 2])
def test_what_the_archive_never_got(archive: World, twins: int) -> None:
    """The chain of cursors skipped entries, some of them equal."""
    odd = {"timestamp": archive.clock.ago(days=2).isoformat(), "action": "odd", "message": "slipped in"}
    twin = {"timestamp": archive.clock.ago(days=1).isoformat(), "message": "twin"}
    archive.append(1, ago=5)  # too young to be compared
    archive.log.extend([odd, *[twin] * twins])
    result = compared(archive)
    assert found(result) == {"missing_in_archive": 1 + twins}
    assert result.findings[0].path == "entries/date=2026-11-20"
    assert "odd slipped in (SHA-256 " in result.findings[0].detail
    assert not result.findings[0].is_warning


def test_what_the_provider_no_longer_has(world: World) -> None:
    world.append(2, ago=2 * DAY, step=1)
    world.collect()
    world.project = world.simulator.add_project(f"{world.project.name}-emptied")
    result = compared(world)
    assert found(result) == {"missing_at_provider": 2}
    assert all(finding.path == "entries/date=2026-11-20" for finding in result.findings)


@pytest.mark.parametrize(("more", "last"), [(0, "19 (SHA-256 "), (10, "and 10 more")])
def test_many_are_counted(world: World, more: int, last: str) -> None:
    world.collect()
    world.wait(days=1)
    world.collect()
    world.log.extend({"timestamp": world.clock.ago(hours=2).isoformat(), "message": str(n)} for n in range(20 + more))
    result = compared(world)
    assert found(result) == {"missing_in_archive": 21 if more else 20}
    assert last in result.findings[-1].detail


def test_a_renamed_project_is_not_a_difference(archive: World) -> None:
    renamed = archive.simulator.add_project(f"{archive.project.name}-renamed")
    renamed.log.subject = {"project": {"uuid": archive.project.uuid, "name": "New name"}}
    renamed.log.extend({**entry, "subject": renamed.log.subject} for entry in archive.log.entries)
    archive.project = renamed
    result = compared(archive)
    assert set(found(result)) == {"renamed"}
    assert all(finding.is_warning for finding in result.findings)
    assert (result.renamed, result.entries) == (10, 10)


def test_a_late_renamed_entry_is_not_a_difference(world: World) -> None:
    late(world)
    world.collect()
    renamed = world.simulator.add_project(f"{world.project.name}-renamed")
    renamed.log.subject = {"project": {"uuid": world.project.uuid, "name": "New name"}}
    renamed.log.extend({**entry, "subject": renamed.log.subject} for entry in world.log.entries)
    world.project = renamed
    result = compared(world)
    assert set(found(result)) == {"renamed"}
    assert (result.renamed, result.entries) == (49, 49)


@pytest.mark.parametrize("mode", ["dropped", "end", "kept", "cursor"])
@pytest.mark.parametrize("days", [3, 30])
def test_each_page_is_read_once(world: World, mode: Any, days: int) -> None:
    world.simulator.set(range_in_urls=mode)
    world.append(days * 2, ago=days * DAY, step=DAY / 2)
    world.collect()
    world.simulator.clear_requests()
    result = compared(world)
    assert (result.findings, result.entries) == ([], days * 2)
    assert len(world.simulator.requests) == 1 + days * 2 / 3


def late(world: World) -> None:
    """Four days of entries, one every two hours, and one that became visible half a day late."""
    world.append(24, ago=4 * DAY, step=DAY / 12)
    world.append(1, ago=2 * DAY + 15 * 3600)
    world.append(24, ago=2 * DAY, step=DAY / 12)


@pytest.mark.parametrize("mode", ["dropped", "end", "kept"])
def test_an_entry_that_is_hours_late_is_compared(world: World, mode: Any) -> None:
    world.simulator.set(range_in_urls=mode)
    late(world)
    world.collect()
    result = compared(world)
    assert (result.findings, result.entries) == ([], 49)


@pytest.mark.parametrize("mode", ["dropped", "end", "kept"])
@pytest.mark.parametrize("end", [None, NOON - timedelta(days=2, hours=12)])
def test_an_entry_that_is_hours_late_is_missed(world: World, mode: Any, end: Any) -> None:
    world.simulator.set(range_in_urls=mode)
    complete = world.project
    world.append(48, ago=4 * DAY, step=DAY / 12)
    world.collect()
    world.project = world.simulator.add_project(f"{complete.name}-more")
    world.project.log.subject = complete.log.subject
    world.project.log.extend(complete.log.entries[:32])
    world.project.log.append(timestamp=world.clock.ago(hours=63), message="late")
    world.project.log.extend(complete.log.entries[32:])
    result = compared(world, Range(end=end))
    assert found(result) == {"missing_in_archive": 1}
    assert result.findings[0].path == "entries/date=2026-11-19"


def test_only_the_requested_range(archive: World) -> None:
    time_range = Range(start=archive.clock.ago(days=2), end=archive.clock.ago(days=1))
    result = compared(archive, time_range)
    assert (result.findings, result.entries, result.start, result.end) == ([], 3, time_range.start, time_range.end)
    nothing = compared(archive, Range(start=archive.clock.ago(days=200), end=archive.clock.ago(days=100)))
    assert found(nothing) == {"not_compared": 1}
    assert (nothing.start, nothing.findings[0].is_warning) == (None, True)


def test_what_the_provider_deletes_while_it_is_read_is_not_missed(world: World) -> None:
    world.append(40, ago=90 * DAY - 1200, step=30)
    world.collect()
    result = compared(world, before_page=lambda _number: world.wait(minutes=2))
    assert result.findings == []
    assert result.start is not None
    assert result.start > NOON - timedelta(days=90) + timedelta(minutes=12)


def test_pruned_days_are_not_compared(archive: World) -> None:
    prune(archive.store, archive.clock.ago(days=1), context=archive.context())
    result = compared(archive)
    assert result.findings == []
    assert result.to_json()["start"] == "2026-11-21T00:00:00Z"


MEANWHILE: dict[str, Callable[[World], Any]] = {
    "collect": lambda world: (world.append(2, ago=30), world.append(2, ago=2 * DAY), world.collect()),
    "compact": lambda world: compact(world.store, context=world.context()),
    "late compact": lambda world: (
        world.append(2, ago=2 * DAY),
        world.collect(),
        compact(world.store, context=world.context()),
    ),
    "prune": lambda world: prune(world.store, world.clock.ago(days=1), context=world.context()),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("page", range(1, 7))
def test_others_are_at_work(archive: World, meanwhile: str, page: int) -> None:
    """Between any two requests, late entries become visible and are collected, and files are removed."""
    archive.append(1, ago=2 * DAY)
    archive.collect()

    def act(number: int) -> None:
        if number == page:
            MEANWHILE[meanwhile](archive)

    result = compared(archive, Range(start=archive.clock.ago(days=3)), act)
    assert result.findings == []


class Meddled(LocalStore):
    """Calls a function before the first data file is read."""

    def __init__(self, path: str, act: Callable[[], Any]) -> None:
        super().__init__(path)
        self._act: Optional[Callable[[], Any]] = act

    def read(self, name: str) -> Iterator[bytes]:
        if name.startswith("entries/") and self._act:
            act, self._act = self._act, None
            act()
        return super().read(name)


def test_an_entry_collected_after_the_last_page_is_not_a_difference(world: World) -> None:
    world.simulator.set(page_size=20)
    for ago in (60, 50):
        world.append(2, ago=DAY + ago)
        world.collect()
    store = Meddled(str(world.path), lambda: MEANWHILE["late compact"](world))
    with Api(world.connection) as api:
        result = reconcile(store, api)
    assert (result.findings, result.entries) == ([], 6)


def test_another_projects_log_is_refused(archive: World) -> None:
    other = archive.simulator.add_project("another")
    other.log.append(timestamp=archive.clock.ago(hours=1))
    archive.project = other
    with pytest.raises(ProjectMismatch, match="holds the log of project"):
        compared(archive)


def test_an_entry_whose_project_has_no_uuid_is_compared(archive: World) -> None:
    archive.log.append(timestamp=archive.clock.ago(hours=1), message="m", subject={"project": {"name": "shop"}})
    archive.collect()
    result = compared(archive)
    assert (result.findings, result.entries) == ([], 11)


def test_a_response_without_a_date_is_refused(archive: World) -> None:
    class Undated(Api):
        def page(self, url: str) -> Page:
            return replace(super().page(url), server_date=None)

    with Undated(archive.connection) as api, pytest.raises(InvalidResponse, match="has no Date"):
        reconcile(archive.store, api)


def test_an_archive_that_is_none_or_damaged(world: World) -> None:
    with pytest.raises(StorageError, match="no archive"):
        compared(world)
    world.append(2, ago=DAY)
    world.collect()
    next((world.path / "entries").glob("*/*")).unlink()
    with pytest.raises(ArchiveDamaged, match="is missing"):
        compared(world)
