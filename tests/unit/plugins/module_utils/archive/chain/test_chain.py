# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import timedelta
from typing import Iterator, List

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import find_head, gaps, walk_back
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World


class RecordingStore(LocalStore):
    """Records the names of the files that were read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.names_read: List[str] = []

    def read(self, name: str) -> Iterator[bytes]:
        self.names_read.append(name)
        return super().read(name)


class OutdatedList(LocalStore):
    """A store whose list of commits is outdated."""

    def list_commits(self, after: int = 0) -> List[int]:
        return [sequence for sequence in super().list_commits(after) if sequence <= 2]


def test_all_gaps_are_found_with_few_reads(world: World) -> None:
    assert world.collect().gaps == []
    expected = []
    for length in (9, 1, 1, 40):
        for _commit in range(length):
            world.wait(hours=1)
            expected.extend(world.collect(heartbeat=timedelta(0)).gaps)
        world.wait(days=100)
        expected.extend(world.collect().gaps)
    assert len(expected) == 4
    store = RecordingStore(str(world.path))
    assert gaps(store, world.head.commit) == expected
    assert len(store.names_read) <= 4 * 7
    for link in walk_back(world.store, world.head):
        assert gaps(world.store, link.commit) == expected[: link.commit.total_gaps]


def test_a_head_is_found_although_the_list_is_outdated(world: World) -> None:
    for _commit in range(4):
        world.collect(heartbeat=timedelta(0))
    found = find_head(OutdatedList(str(world.path)))
    assert found is not None
    assert found.commit.sequence == 4
