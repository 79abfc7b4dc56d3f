# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history of a resource under all its names, in archives and in the API's newer entries."""

from __future__ import annotations

import io
from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Callable, Dict, List, Optional, Sequence

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive import history as history_module
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.history import (
    History,
    Log,
    add_tail,
    archived_logs,
    spool_entry,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.merge import merge_by_time
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged, StorageError
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, timestamp
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.selection import resource_matches
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import NOON, World


def log_of(*messages: str) -> Log:
    """Return a log with one entry per minute."""
    return log_with([{"timestamp": at(n), "action": "x", "message": message} for n, message in enumerate(messages)])


def log_with(entries: Sequence[Dict[str, Any]]) -> Log:
    tail = io.BytesIO()
    for entry in entries:
        spool_entry(tail, entry)
    return Log("shop", tail=tail)


def at(minute: int) -> str:
    return (NOON + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


def minutes_of(log: Log, glob: str) -> List[int]:
    """Return the minutes of the entries in a history."""
    return [(moment - NOON) // timedelta(minutes=1) for moment in moments(log, glob) if moment is not None]


def moments(log: Log, glob: str) -> List[Optional[datetime]]:
    return [timestamp(entry) for entry in History(log, glob, lambda _entry: True).entries()]


LIFE = (
    "Server 'db' has been created",
    "Volume 'data' has been attached to server 'db'",
    "Server 'db' has been renamed to 'database'",
    "Server 'database' has been rebooted",
    "Server 'other' has been created",
    "Server 'database' has been renamed to 'archive'",
    "Server 'archive' has been deleted",
)


@pytest.mark.parametrize("name", ["db", "database", "archive"])
def test_renames_are_followed_in_both_directions(name: str) -> None:
    assert minutes_of(log_of(*LIFE), name) == [0, 1, 2, 3, 5, 6]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("other", [4]), ("data", [1]), ("d*", [0, 1, 2, 3, 5, 6]), ("o?her", [4]), ("nobody", []), ("*", list(range(7)))],
)
def test_only_entries_about_the_resource_are_returned(name: str, expected: List[int]) -> None:
    assert minutes_of(log_of(*LIFE), name) == expected


def test_a_name_counts_only_while_the_resource_had_it() -> None:
    log = log_of(
        "Server 'a' has been created",
        "Server 'a' has been deleted",
        "Server 'x' has been renamed to 'a'",
        "Server 'a' has been rebooted",
        "Server 'a' has been renamed to 'b'",
        "Server 'a' has been created",
        "Server 'b' has been renamed to 'c'",
        "Server 'b' has been created",
        "Server 'c' has been deleted",
    )
    assert minutes_of(log, "c") == [2, 3, 4, 6, 8]
    assert minutes_of(log, "x") == [2, 3, 4, 6, 8]
    # A name matches all resources that ever had it.
    assert minutes_of(log, "a") == [0, 1, 2, 3, 4, 5, 6, 8]


def test_another_kind_of_the_same_name_is_another_resource() -> None:
    log = log_of(
        "Server 'web' has been renamed to 'www'",
        "Volume 'www' has been created",
        "Volume 'www' has been attached to server 'www'",
        "Server 'www' has been deleted",
    )
    assert minutes_of(log, "web") == [0, 2, 3]
    assert minutes_of(log, "www") == [0, 1, 2, 3]


def test_two_servers_that_swap_names_are_distinguished() -> None:
    swap = [f"Server '{old}' has been renamed to '{new}'" for old, new in ("at", "ba", "tb")]
    log = log_of("Server 'a' has been created", "Server 'b' has been created", *swap, "Server 'b' has been deleted")
    names = History(log, "t", lambda _entry: True)
    assert [timestamp(entry) for entry in names.entries()] == [NOON + timedelta(minutes=n) for n in (0, 2, 4, 5)]
    assert set(names.names) == {"a", "b"}


def test_what_cannot_be_dated_is_not_left_out() -> None:
    entries = [
        {"timestamp": "noon", "message": "Server 'db' has been created"},
        {"timestamp": at(1), "message": "Server 'db' has been renamed to 'database'"},
        {"timestamp": None, "message": "Server 'db' has been rebooted"},
        {"timestamp": "noon", "message": "Server 'database' has been renamed to 'x'"},
        {"timestamp": at(2), "message": "Server 'x' has been deleted"},
    ]
    found = list(History(log_with(entries), "database", lambda _entry: True).entries())
    assert found == entries[:4]


MISLEADING = ["it's", "x' has been deleted", 'quote " \\', "\u202e\x07\n", "half \ud83d pair", "Zürich 🏔", "'", "a*b"]


@pytest.mark.parametrize("name", [*MISLEADING, "' has been renamed to '"])
def test_names_that_were_made_to_mislead_are_found(name: str) -> None:
    log = log_of(
        f"Server '{name}' has been created",
        "Server 'bystander' has been created",
        f"Volume 'data' has been attached to server '{name}'",
        f"Server '{name}' has been deleted",
    )
    assert minutes_of(log, name) == [0, 2, 3]


def test_too_many_names_are_truncated_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = [f"Server 'n{number}' has been renamed to 'n{number + 1}'" for number in range(150)]
    history = History(log_of(*chain), "n0", lambda _entry: True)
    assert len(list(history.entries())) == history_module.MAX_NAMES + 1
    assert history.has_more
    assert not History(log_of(*LIFE), "db", lambda _entry: True).has_more


@pytest.mark.parametrize("count", [2_000, 20_000])
def test_renames_by_the_thousand_take_no_longer_than_their_number(count: int) -> None:
    swaps = [f"Server '{'ab'[number % 2]}' has been renamed to '{'ba'[number % 2]}'" for number in range(count)]
    assert len(minutes_of(log_of(*swaps), "a")) == count


def test_only_relevant_entries_are_returned_but_all_renames_are_followed() -> None:
    history = History(log_of(*LIFE), "archive", lambda entry: "rebooted" in entry["message"])
    assert [entry["message"] for entry in history.entries()] == [LIFE[3]]


def test_an_unwritable_temporary_file_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"timestamp": at(0), "action": "x", "message": "Server 'data' has been created", "padding": "x" * (2 << 20)}
    log = log_with([entry])
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(StorageError, match="temporary files"):
        minutes_of(log, "data")


# --- Archives


def live(world: World, *messages: str) -> None:
    for message in messages:
        world.wait(minutes=1)
        world.log.append(timestamp=world.clock.now, message=message)
        world.wait(minutes=1)


@pytest.fixture
def with_tail(request: pytest.FixtureRequest) -> Callable[..., List[Log]]:
    """Reads the API after these archives."""

    def read(world: World, *logs: Log) -> List[Log]:
        found = list(logs)
        with Api(world.connection) as api:
            add_tail(found, api)
        for log in found:
            request.addfinalizer(log.close)
        return found

    return read


def test_an_archive_is_read_as_of_all_its_commits(world: World) -> None:
    for message in LIFE:
        live(world, message)
        world.collect()
    (log,) = archived_logs([(None, world.store)])
    found = [entry["message"] for entry in History(log, "database", lambda _entry: True).entries()]
    assert found == [LIFE[number] for number in (0, 1, 2, 3, 5, 6)]


def test_commits_are_read_once_also_for_a_resource_that_was_renamed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for message in LIFE:
        live(world, message)
        world.collect()
    read: Counter[str] = Counter()
    genuine = LocalStore.read
    monkeypatch.setattr(LocalStore, "read", lambda store, name: read.update([name]) or genuine(store, name))
    (log,) = archived_logs([(None, world.store)])
    assert len(moments(log, "db")) == len(LIFE) - 1
    first = [count for name, count in read.items() if name == "commits/000000000001.json"]
    assert first == [1]


def test_what_is_compacted_while_a_history_is_read_is_found_all_the_same(world: World) -> None:
    for message in LIFE:
        live(world, message)
        world.collect()
    world.wait(days=2)
    live(world, "Server 'archive' has been mourned")
    world.collect()
    (log,) = archived_logs([(None, world.store)])
    before = moments(log, "db")
    compact(world.store, context=world.context())
    # The second pass for a renamed resource reuses the snapshot of the first one.
    assert moments(log, "db") == before
    assert len(before) == len(LIFE)


def test_needles_omit_no_entry(world: World) -> None:
    world.append(200)
    live(world, *LIFE)
    world.collect(max_entries=50)
    (log,) = archived_logs([(None, world.store)])
    for glob in ("n*", "*1", "d?ta", "db", "archive", "*"):
        found = Counter(map(canonical, History(log, glob, lambda _entry: True).entries()))
        meant = Counter(canonical(entry) for entry in cat(world.store) if resource_matches(entry, (glob,)))
        assert not meant - found
        assert glob in ("db", "archive", "d?ta") or meant == found


def test_the_api_continues_where_the_archive_ends(world: World, with_tail: Any) -> None:
    live(world, *LIFE[:3])
    world.collect()
    live(world, *LIFE[3:])
    world.log.append(timestamp="noon", message="Server 'archive' has been rebooted")
    (log,) = archived_logs([(None, world.store)])
    assert with_tail(world, log) == [log]
    found = [entry["message"] for entry in History(log, "db", lambda _entry: True).entries()]
    assert found == [LIFE[number] for number in (0, 1, 2, 3, 5, 6)]


def test_a_new_token_of_the_same_project_continues_its_archive(world: World, with_tail: Any) -> None:
    live(world, *LIFE[:3])
    world.collect()
    live(world, *LIFE[3:])
    (log,) = archived_logs([(None, world.store)])
    log.commit = log.commit and log.commit.__class__(**{**vars(log.commit), "token_tag": "00000000"})
    assert with_tail(world, log) == [log]
    assert len(moments(log, "db")) == 6


def test_the_log_of_another_project_is_kept_apart(
    world: World, server: Any, clock: Any, tmp_path: Any, with_tail: Any
) -> None:
    other = World(server, clock, tmp_path / "other")
    live(world, *LIFE)
    live(other, LIFE[0])
    other.collect()
    logs = with_tail(world, *archived_logs([(None, other.store)]))
    histories = [(log.project, History(log, "database", lambda _entry: True).entries()) for log in logs]
    found = list(merge_by_time(histories))
    # Names in another project do not matter for this one.
    assert [one.project for one in found] == [logs[1].project] * 6
    assert logs[1].store is None


def test_without_an_archive_the_api_is_all_there_is(world: World, with_tail: Any) -> None:
    live(world, *LIFE)
    (log,) = with_tail(world)
    assert len(moments(log, "archive")) == 6


def test_a_missing_or_damaged_archive_is_reported(world: World) -> None:
    with pytest.raises(StorageError, match="There is no archive"):
        archived_logs([(None, world.store)])
    live(world, *LIFE)
    world.collect()
    (log,) = archived_logs([(None, world.store)])
    victim = next(world.path.glob("entries/*/*"))
    victim.write_bytes(victim.read_bytes()[:-9] + b"x" * 9)
    with pytest.raises(ArchiveDamaged, match="verify the archive"):
        moments(log, "db")


def test_several_logs_are_merged_by_time() -> None:
    one = [{"timestamp": at(n), "n": n} for n in (0, 2, 4)]
    times = {1: at(1), "undated": "noon", 3: at(3)}
    two = [{"timestamp": moment, "n": name} for name, moment in times.items()]
    found = list(merge_by_time([("one", one), ("two", two), ("none", [])]))
    assert [entry["n"] for _project, entry in found] == [0, 1, "undated", 2, 3, 4]
    assert [project for project, _entry in found] == ["one", "two", "two", "one", "two", "one"]


def test_a_token_of_another_api_is_none_of_the_archive(world: World) -> None:
    live(world, LIFE[0])
    world.collect()
    (log,) = archived_logs([(None, world.store)])
    assert log.has_token(world.connection)
    assert not log.has_token(Connection(api_token=world.project.token, api_url="https://api.example.com/v1"))
    assert not log.has_token(Connection(api_token="other", api_url=world.simulator.url))
