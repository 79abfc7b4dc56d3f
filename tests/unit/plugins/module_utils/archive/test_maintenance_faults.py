# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compacting and pruning with concurrent runs, kills, disk errors and power failures."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import (
    compact,
    prune,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    StorageError,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Clock
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive import test_maintenance
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_maintenance import (
    DAY,
    FAILURES,
    Work,
    fill,
    midnight,
    since,
    work,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    Disk,
    DurableDisk,
    Killed,
    RacingStore,
    World,
)

archive = test_maintenance.archive


# Concurrent runs


RIVALS: dict[str, Callable[[World], Any]] = {
    "collect": lambda world: (world.append(2, ago=2 * DAY), world.collect()),
    "compact": lambda world: work(compact, world),
    "prune": lambda world: work(prune, world, midnight(21)),
}


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("job", ["collect", "compact", "prune"])
def test_the_loser_of_a_race_reads_the_archive_again(archive: World, job: str, rival: str) -> None:
    racing = RacingStore(archive.path, lambda: RIVALS[rival](archive))
    if job == "collect":
        archive.append(3)
        archive.collect(racing)
    else:
        work(*{"compact": (compact,), "prune": (prune,)}[job], archive, *[midnight(21)], store=racing)
    assert archive.verify() == []
    pruned = "prune" in (job, rival)
    assert archive.archived() == (since(archive, midnight(21)) if pruned else archive.logged())
    assert not any(name.startswith("pending/") for name in archive.files())


def test_a_reader_gets_each_entry_once_although_its_day_is_compacted_twice(archive: World) -> None:
    reader = cat(archive.store)
    got = [next(reader) for _entry in range(13)]  # it has given the first file of 2026-11-21 and holds its second
    got.append(next(reader))
    work(compact, archive)
    archive.append(1, ago=DAY)
    archive.collect()
    work(compact, archive)
    got.extend(reader)
    late = archive.log.entries[-1]
    assert Counter(map(canonical, got)) - Counter([canonical(late)]) == archive.logged() - Counter([canonical(late)])


def test_a_reader_continues_after_pruned_files(archive: World) -> None:
    reader = cat(archive.store)
    got = [next(reader)]
    work(prune, archive, midnight(21))
    got.extend(reader)
    assert Counter(map(canonical, got[3:])) == since(archive, midnight(21))


# Failures


def test_what_a_killed_run_did_not_remove_is_removed_by_any_later_one(archive: World) -> None:
    class Dying(LocalStore):
        def delete(self, names: Any) -> None:
            if any(name.startswith("entries/") for name in names):
                raise Killed

    for later in (
        lambda: archive.collect(pin=True),
        lambda: work(compact, archive),
        lambda: work(prune, archive, midnight(20)),
    ):
        archive.append(1, ago=2 * DAY)
        archive.collect(pin=True)
        with pytest.raises(Killed):
            work(compact, archive, store=Dying(str(archive.path)))
        found = archive.verify()
        assert {finding.type for finding in found} == {"deletion_pending"}
        assert all(finding.is_warning for finding in found)
        later()
        assert archive.verify() == []


def test_what_came_back_from_a_copy_is_removed_again(archive: World) -> None:
    copy = {name: (archive.path / name).read_bytes() for name in archive.store.list_files("entries")}
    work(prune, archive, midnight(21))
    for name, body in copy.items():
        (archive.path / name).parent.mkdir(exist_ok=True)
        (archive.path / name).write_bytes(body)
    assert {finding.type for finding in archive.verify()} == {"deletion_pending"}
    work(prune, archive, midnight(21))
    assert archive.verify() == []


def test_files_that_must_not_be_deleted_yet_do_not_stop_collection(archive: World) -> None:
    class Locked(LocalStore):
        def delete(self, names: Any) -> None:
            for name in names:
                if name.startswith("entries/"):
                    raise StorageError(f"{name} is under a retention lock until 2030-01-01.")
                super().delete([name])

    locked = Locked(str(archive.path))
    with pytest.raises(StorageError, match="retention lock"):
        work(prune, archive, midnight(21), store=locked, pin=archive.pin)
    archive.append(1)
    archive.collect(locked, pin=True)
    assert archive.archived() == since(archive, midnight(21))
    assert {finding.type for finding in archive.verify()} == {"deletion_pending"}
    archive.collect(pin=True)
    assert archive.verify() == []


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("job", [compact, prune])
def test_a_run_may_fail_at_any_change_of_the_disk(
    server: Simulator, clock: Clock, tmp_path: Path, job: Work, failure: Optional[int]
) -> None:
    world = World(server, clock, tmp_path)
    fill(world)
    filled = world.path
    number = 0
    while True:
        number += 1
        world.path = tmp_path / str(number)
        world.store = LocalStore(str(world.path))
        shutil.copytree(filled, world.path)
        world.pin_path = tmp_path / f"pin-{number}"
        world.pin.write(world.head)
        with Disk(fail_at=number, failure=failure).in_place() as disk:
            with suppress(Killed, StorageError):
                work(job, world, midnight(21))
        if len(disk.calls) < number:
            break
        assert all(finding.is_warning for finding in world.verify()), number
        archived = world.archived()
        assert archived in ((world.logged(),) if job is compact else (world.logged(), since(world, midnight(21))))
        if number % 2:
            work(job, world, midnight(21))
        world.wait(hours=2)
        world.collect(pin=True)
        assert world.verify() == [], number
        work(job, world, midnight(21))
        assert world.verify() == [], number
        assert world.archived() == (world.logged() if job is compact else since(world, midnight(21)))
        assert not any(name.startswith("pending/") for name in world.files()), number
    assert number > (30 if job is compact else 10)


def test_a_finished_run_survives_a_power_failure(world: World, tmp_path: Path) -> None:
    """The power fails after each change of the disk, so that only synced data survives."""
    directory = tmp_path / "disk"
    directory.mkdir()
    world.path = directory / "archive"
    world.store = LocalStore(str(world.path))
    durable = DurableDisk(directory)
    numbers = iter(range(10_000))

    def note(name: str, subject: Any) -> None:
        durable.note(name, subject)

    def fail_and_look(name: str, subject: Any) -> None:
        durable.note(name, subject)
        target = tmp_path / f"restored-{next(numbers)}"
        durable.restore(target)
        survivor = LocalStore(str(target / "archive"))
        assert [finding for finding in world.verify(survivor) if not finding.is_warning] == []
        assert world.archived(survivor) in (world.logged(), since(world, midnight(20)))

    with Disk(after_each=note).in_place():
        fill(world)
    for job in (compact, prune):
        with Disk(after_each=fail_and_look).in_place():
            work(job, world, midnight(20))
    assert next(numbers) > 30
