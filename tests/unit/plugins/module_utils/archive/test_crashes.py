# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever fails whenever, the archive stays sound: nothing is lost, nothing doubled, nothing claimed too early."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import AuditError, StorageError
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Clock
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    Disk,
    Killed,
    Platter,
    World,
)
from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

FAULTS = (
    Fault("status"),
    Fault("html"),
    Fault("loop"),
    Fault("truncated"),
    Fault("status", status=410, cursor=True),
)
FAILURES = (None, errno.EIO, errno.ENOSPC, errno.EROFS)


def calls_of_a_run(world: World) -> int:
    """How many changes to the disk one run takes that begins an archive of this log."""
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
                world.collect(pin=True, most_entries=4)
        if (world.path / "commits").exists() and any((world.path / "commits").iterdir()):
            assert [finding for finding in world.verify() if not finding.is_warning] == [], number
        assert is_part_of_log(world), number
        world.collect(pin=True)
        world.collect(pin=True)  # the first run after a crash of the first one has no pin yet
        assert world.verify() == [], number
        assert world.archived() == world.logged(), number
        assert not any(name.startswith("pending/") for name in world.files()), number


def test_what_was_told_as_done_survives_a_power_failure(world: World, tmp_path: Path) -> None:
    """After each change of the disk the power fails, and only what was synced is still there."""
    folder = tmp_path / "disk"
    folder.mkdir()
    world.path = folder / "archive"
    world.store = LocalStore(str(world.path))
    platter = Platter(folder)
    acknowledged = 0
    numbers = iter(range(10_000))

    def fail_and_look(name: str, subject: Any) -> None:
        platter.note(name, subject)
        target = tmp_path / f"restored-{next(numbers)}"
        platter.restore(target)
        survivor = LocalStore(str(target / "archive"))
        if survivor.commits() or acknowledged:
            assert [finding for finding in world.verify(survivor) if not finding.is_warning] == []
        assert is_part_of_log(world, survivor)
        assert sum(world.archived(survivor).values()) >= acknowledged

    for _run in range(3):
        world.append(7)
        with Disk(after_each=fail_and_look).in_place():
            world.collect(most_entries=4)
        acknowledged = sum(world.archived().values())
    assert next(numbers) > 80


class Life(RuleBasedStateMachine):
    """Entries come, runs of two collectors succeed, die and fail, the API faults, tokens rotate, time passes."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.acknowledged = 0
        self.began = False

    @rule(count=strategies.integers(1, 9), late=strategies.booleans())
    def log(self, count: int, late: bool) -> None:
        self.world.append(count, ago=1800 if late else 20, step=0 if late else 1)

    @rule(times=strategies.integers(2, 4))
    def log_twins(self, times: int) -> None:
        moment = self.world.clock.ago(seconds=30).isoformat()
        self.world.log.extend([{"timestamp": moment, "message": "twin"}] * times)

    @rule(minutes=strategies.sampled_from([1, 61, 60 * 24]))
    def wait(self, minutes: int) -> None:
        self.world.wait(minutes=minutes)

    @rule(size=strategies.integers(1, 5), most=strategies.integers(1, 9))
    def collect(self, size: int, most: int) -> None:
        self.world.simulator.set(page_size=size)
        self.world.collect(most_entries=most, pin=True)
        self.began = True
        self.acknowledged = sum(self.world.archived().values())
        assert self.world.verify() == []
        assert self.world.archived() == self.world.logged()

    @rule(number=strategies.integers(1, 60), failure=strategies.sampled_from(FAILURES))
    def die(self, number: int, failure: Optional[int]) -> None:
        with Disk(fail_at=number, failure=failure).in_place():
            with suppress(Killed, StorageError):
                self.world.collect()

    @rule(
        good=strategies.integers(0, 3),
        fault=strategies.sampled_from(
            [
                Fault("status"),
                Fault("html"),
                Fault("loop"),
                Fault("truncated"),
                Fault("status", status=410, cursor=True),
            ]
        ),
    )
    def be_served_badly(self, good: int, fault: Fault) -> None:
        self.world.simulator.script(*[Fault("pass")] * good, fault)
        try:
            self.world.collect()
        except AuditError:
            pass
        finally:
            self.world.simulator.clear_script()

    @rule(size=strategies.integers(1, 5), before=strategies.integers(1, 3))
    def race(self, size: int, before: int) -> None:
        """A second collector runs from begin to end while the first is about to decide its n-th commit."""
        self.world.simulator.set(page_size=size)
        self.world.append(5)
        self.world.collect(Rival(self.world, before))

    @rule()
    def rotate_token(self) -> None:
        if sum(self.world.archived().values()):
            self.world.project.rotate_token()

    @invariant()
    def nothing_is_lost_that_was_told_as_archived(self) -> None:
        archived = self.world.archived()
        assert sum(archived.values()) >= self.acknowledged
        assert not archived - self.world.logged()
        if self.world.store.commits():
            assert [finding for finding in self.world.verify() if not finding.is_warning] == []


class Rival(LocalStore):
    def __init__(self, world: World, before: int) -> None:
        super().__init__(str(world.path))
        self._world = world
        self._before = before

    def decide(self, name: str, body: bytes) -> bool:
        self._before -= 1
        if self._before == 0:
            self._world.collect(LocalStore(str(self._world.path)), most_entries=3)
        return super().decide(name, body)


@pytest.fixture
def worlds(server: Simulator, clock: Clock, tmp_path: Path) -> Iterator[Any]:
    numbers = iter(range(1_000_000))

    def make() -> Life:
        folder = tmp_path / str(next(numbers))
        os.mkdir(folder)
        return Life(World(server, clock, folder))

    return make


def test_an_archive_lives_through_anything(worlds: Any) -> None:
    run_state_machine_as_test(
        worlds,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],  # to shrink a failure by hand: add Phase.shrink
            suppress_health_check=list(HealthCheck),
        ),
    )
