# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive stays intact whenever a run fails: no entry is lost or duplicated, no coverage is claimed too early."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import StorageError
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Clock
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    Disk,
    DurableDisk,
    Killed,
    World,
)

FAILURES = (None, errno.EIO, errno.ENOSPC, errno.EROFS)


def calls_of_a_run(world: World) -> int:
    """Count the changes to the disk of a run that begins an archive of this log."""
    with Disk().in_place() as disk:
        world.collect(LocalStore(str(world.path.with_name("measured"))))
    return len(disk.calls)


def is_part_of_log(world: World, store: Optional[LocalStore] = None) -> bool:
    return not world.archived(store) - world.logged()


@pytest.mark.parametrize("failure", FAILURES)
def test_a_run_may_fail_at_any_change_of_the_disk(
    server: Simulator, clock: Clock, tmp_path: Path, failure: int
) -> None:
    world = World(server, clock, tmp_path)
    server.set(page_size=4)
    world.append(7)
    for number in range(1, calls_of_a_run(world) + 1):
        world.path = tmp_path / f"archive-{number}"
        world.pin_path = tmp_path / f"pin-{number}"
        world.store = LocalStore(str(world.path))
        with Disk(fail_at=number, failure=failure).in_place():
            with suppress(Killed, StorageError):
                world.collect(pin=True, max_entries=4)
        if (world.path / "commits").exists() and any((world.path / "commits").iterdir()):
            assert [finding for finding in world.verify() if not finding.is_warning] == [], number
        assert is_part_of_log(world), number
        world.collect(pin=True)
        world.collect(pin=True)  # the first run after a crash of the first one has no pin yet
        assert world.verify() == [], number
        assert world.archived() == world.logged(), number
        assert not any(name.startswith("pending/") for name in world.files()), number


def test_a_finished_run_survives_a_power_failure(world: World, tmp_path: Path) -> None:
    """The power fails after each change of the disk, so that only synced data survives."""
    directory = tmp_path / "disk"
    directory.mkdir()
    world.path = directory / "archive"
    world.store = LocalStore(str(world.path))
    durable = DurableDisk(directory)
    acknowledged = 0
    numbers = iter(range(10_000))

    def fail_and_look(name: str, subject: Any) -> None:
        durable.note(name, subject)
        target = tmp_path / f"restored-{next(numbers)}"
        durable.restore(target)
        survivor = LocalStore(str(target / "archive"))
        if survivor.list_commits() or acknowledged:
            assert [finding for finding in world.verify(survivor) if not finding.is_warning] == []
        assert is_part_of_log(world, survivor)
        assert sum(world.archived(survivor).values()) >= acknowledged

    for _run in range(3):
        world.append(7)
        with Disk(after_each=fail_and_look).in_place():
            world.collect(max_entries=4)
        acknowledged = sum(world.archived().values())
    assert next(numbers) > 80
