# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Concurrent collection runs, and heads that are pinned, cut off or replaced."""

from __future__ import annotations

import errno
import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    ArchiveDamaged,
    StorageError,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_collector import is_intact
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    Disk,
    Killed,
    RacingStore,
    World,
)

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
        if world.store.list_commits():
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
    with pytest.raises(ArchiveDamaged, match="missing or differs from the pinned one"):
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
