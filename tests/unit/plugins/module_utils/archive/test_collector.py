# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive import collector
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import CollectSettings
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    Cancelled,
    InvalidResponse,
    PaginationLoop,
    ServiceUnavailable,
    Unauthorized,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Page
from ansible_collections.auditops.cloudscale.tests.simulator import Fault
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    NOON,
    MemoryStore,
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
