# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import timedelta
from typing import Iterator, List

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import find_head, gaps, walk_back
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import LocalStore
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World


class Counting(LocalStore):
    """Tells which commits were read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.read: List[str] = []

    def chunks(self, name: str) -> Iterator[bytes]:
        self.read.append(name)
        return super().chunks(name)


class Late(LocalStore):
    """Its list is that of a while ago."""

    def commits(self, after: int = 0) -> List[int]:
        return [sequence for sequence in super().commits(after) if sequence <= 2]


def test_all_gaps_are_found_without_walking_the_chain(world: World) -> None:
    assert world.collect().gaps == []
    expected = []
    for length in (9, 1, 1, 40):
        for _commit in range(length):
            world.wait(hours=1)
            expected.extend(world.collect(heartbeat=timedelta(0)).gaps)
        world.wait(days=100)
        expected.extend(world.collect().gaps)
    assert len(expected) == 4
    store = Counting(str(world.path))
    assert gaps(store, world.head.commit) == expected
    assert len(store.read) <= 4 * 7
    for link in walk_back(world.store, world.head):
        assert gaps(world.store, link.commit) == expected[: link.commit.total_gaps]


def test_a_head_that_the_list_does_not_have_yet_is_found(world: World) -> None:
    for _commit in range(4):
        world.collect(heartbeat=timedelta(0))
    found = find_head(Late(str(world.path)))
    assert found is not None
    assert found.commit.sequence == 4
