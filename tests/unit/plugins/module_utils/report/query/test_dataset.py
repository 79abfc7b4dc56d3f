# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine answers is what Python finds in the same entries."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log import entry
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.selection import Selection
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query import sources as sources_module
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.dataset import EntryTable, label
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.engine import embedded
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.sources import Sources
from ansible_collections.auditops.cloudscale.tests.simulator import history
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

ZURICH = ZoneInfo("Europe/Zurich")
HOSTILE: list[dict[str, Any]] = [
    {"timestamp": "about noon", "message": "when?"},
    {"timestamp": "2026-11-20T08:00:00", "message": "no offset"},
    {"timestamp": "2026-11-20T08:00:00+05:45", "message": "Kathmandu"},
    {"timestamp": "9999-12-31T23:59:59.999999Z", "message": "the last moment"},
    {"timestamp": "9999-12-31T23:59:59-12:00", "message": "behind the last moment"},
    {"timestamp": "7", "message": {"not": "a text"}, "action": ["x"], "ip_address": 1.10, "actor": None, "subject": []},
    {"actor": {"user": {"email": 'quote " brace } \\ back'}}, "ip_address": "nowhere"},
    {"actor": {"api_token": {"uuid": "u", "description": "system"}}, "more": {"unknown": [1.5]}},
]


@contextmanager
def asked(world: World, baseline: timedelta = timedelta(0), **options: Any) -> Iterator[EntryTable]:
    folder = world.path.parent / "spool"
    folder.mkdir(exist_ok=True)
    given = {"api_token": world.project.token, "api_url": world.simulator.url, "api_retries": 0, **options}
    sources = Sources(given, str(folder), world.clock.now, baseline)
    with embedded(str(folder / "spill")) as engine:
        yield EntryTable(engine, sources, Selection.from_mapping(options), baseline)


@pytest.fixture
def lived(world: World) -> World:
    """Weeks over the change from summer time, with entries of all sorts among them."""
    world.simulator.set(page_size=500)
    world.log.extend(history(weeks=5, until=world.clock.now - timedelta(days=1), seed=3))
    for found in HOSTILE:
        world.log.append(**found)
    return world


def entries_of(world: World) -> list[entry.Entry]:
    return list(world.log.entries)


def test_counts_are_those_of_the_entries(lived: World) -> None:
    entries = entries_of(lived)
    with asked(lived) as table:
        assert table.count() == len(entries)
        actors = Counter({str(label(seen.value)): 0 for seen in table.values("actor")})
        for seen in table.values("actor"):
            actors[str(label(seen.value))] += seen.entries
        assert actors == Counter(str(entry.actor(found)) for found in entries)
        addresses = {seen.value: seen.entries for seen in table.values("ip_address") if seen.value != "1.1"}
        assert addresses == Counter(found["ip_address"] for found in entries if found["ip_address"] != 1.1)
        moments = [moment for moment in map(entry.timestamp, entries) if moment is not None]
        assert table.extent() == (min(moments), max(moments))


def test_slots_add_up(lived: World) -> None:
    entries = [found for found in entries_of(lived) if entry.timestamp(found)]
    with asked(lived) as table:
        own = [seen.value for seen in table.values("actor") if str(label(seen.value)) == "backup"]
        slots = table.slots(own)
    assert sum(slot.entries for slot in slots) == len(entries)
    assert sum(slot.own for slot in slots) == sum(str(entry.actor(found)) == "backup" for found in entries) > 0
    assert all(slot.start.minute % 15 == 0 for slot in slots)


@pytest.mark.parametrize(
    "chosen",
    [
        {"actions": ["server_*"]},
        {"actors": ["system", "johanna@example.com"]},
        {"ip_networks": ["192.0.2.0/24", "2001:db8::/32"]},
        {"message_pattern": r"(?i)^server '(?!web)"},
        {"resources": ["web-*", "*-data"]},
        {"resources": ["web-*"], "message_pattern": "rebooted"},
        {"message_pattern": "Server", "actions": ["*_delete"], "actors": ["backup", "deployment"]},
        {"actions": ["no_such"]},
    ],
)
def test_what_is_selected_is_what_a_selection_matches(lived: World, chosen: dict[str, Any]) -> None:
    selection = Selection.from_mapping(chosen)
    wanted = [found for found in entries_of(lived) if selection.matches(found)]
    assert bool(wanted) == (chosen != {"actions": ["no_such"]})
    with asked(lived, **chosen) as table:
        rows = list(table.ordered())
    assert Counter(row["timestamp"] for row in rows) == Counter(found["timestamp"] for found in wanted)


def test_a_limit_keeps_the_newest(lived: World) -> None:
    with asked(lived, limit=5) as table:
        assert table.count() == 5
        times = [row["timestamp"] for row in table.ordered()]
    assert times == sorted(found["timestamp"] for found in entries_of(lived) if entry.timestamp(found))[-5:]


def test_values_known_before_are_kept_apart(lived: World) -> None:
    start = lived.clock.now - timedelta(days=1)
    lived.append(1, ago=60, actor={"user": {"email": "new@example.com"}})
    with asked(lived, baseline=timedelta(days=20), start=start.isoformat()) as table:
        known = {str(label(value)) for value in table.known("actor") or ()}
        assert "new@example.com" in {str(label(seen.value)) for seen in table.values("actor")}
    assert "johanna@example.com" in known
    assert "new@example.com" not in known
    with asked(lived) as table:
        assert table.known("actor") is None


def test_an_empty_log_has_no_values(world: World) -> None:
    with asked(world) as table:
        assert (table.count(), table.values("action"), table.slots([]), table.extent()) == (0, [], [], (None, None))
        assert table.newest(table.selected, 5) == (0, [])
        assert list(table.ordered()) == []


def test_what_the_engine_cannot_read_is_read_all_the_same(world: World) -> None:
    world.log.append(message="half of a pair: \ud800", timestamp=world.clock.ago(seconds=50))
    world.append(2, ago=40)
    world.collect()
    with asked(world, archives=[str(world.path)]) as table:
        assert [row["message"][:4] for row in table.ordered()] == ["half", "Serv", "Serv"]
        assert {row["sequence"] for row in table.newest(table.selected, 9)[1]} == {1}


def test_a_damaged_archive_is_said_to_be_so(world: World) -> None:
    world.append(3)
    world.collect()
    path = next(world.path.glob("entries/*/*.gz"))
    forged = gzip.compress(gzip.decompress(path.read_bytes()).replace(b"johanna@", b"nobody1@"))
    for body in (b"no gzip", forged):
        path.write_bytes(body)
        with pytest.raises(ArchiveDamaged, match="verify the archive"), asked(world, archives=[str(world.path)]):
            pass


def test_a_span_may_begin_and_end_within_a_day(world: World) -> None:
    for ago in (49, 48, 25, 24, 1):
        world.append(2, ago=ago * 3600)
    world.log.append(timestamp="about noon", message="when?")
    world.collect()
    start, end = (world.clock.ago(hours=hours).isoformat() for hours in (48, 24))
    with asked(world, archives=[str(world.path)], ask_api=False, start=start, end=end) as table:
        moments = [row["moment"] for row in table.ordered()]
    assert len(moments) == 1 + 2 + 2
    assert moments[-1] is None


def test_files_of_an_archive_that_lies_elsewhere_are_copied_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.append(3)
    world.collect()
    monkeypatch.setattr(sources_module, "is_remote", lambda _path: True)
    with asked(world, archives=[str(world.path)], ask_api=False) as table:
        assert table.count() == 3
    copies = world.path.parent / "spool" / "archive-0"
    for file in world.head.commit.files:
        assert (copies / file.path).read_bytes() == (world.path / file.path).read_bytes()


def test_an_archive_gives_what_the_api_gives(lived: World) -> None:
    with asked(lived) as table:
        fetched = list(table.ordered())
    lived.collect(max_entries=100)
    with asked(lived, archives=[str(lived.path)], ask_api=False) as table:
        archived = list(table.ordered())
    # A project is called by its archive's name, or the API's.
    assert [json.dumps({**row, "project": ""}, default=str) for row in archived] == [
        json.dumps({**row, "project": ""}, default=str) for row in fetched
    ]
    assert datetime(2026, 11, 20, 2, 15) in {row["moment"] for row in archived}


def test_the_first_of_simultaneous_values_is_deterministic(world: World) -> None:
    for name in ("zoe", "adam", "mia"):
        world.log.append(timestamp=world.clock.ago(seconds=60), actor={"user": {"email": f"{name}@example.com"}})
    with asked(world) as table:
        (seen,) = table.values("ip_address")
    assert (seen.entries, str(label(seen.by))) == (3, "adam@example.com")
