# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading ahead: in order, no more at once than the store allows, and failures where they belong."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.prefetch import prefetch_chunks
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import ObjectNotFound
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import MemoryStore

NAMES = [f"entries/{number}" for number in range(7)]


class Distant(MemoryStore):
    """Each read begins only when as many as may be at once are there; ``begun`` are those that did."""

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self.max_concurrent_reads = at_once
        self.put({name: name.encode() for name in NAMES})
        self.begun: list[str] = []
        self._together = threading.Barrier(at_once)

    def chunks(self, name: str) -> Iterator[bytes]:
        self.begun.append(name)
        if name in NAMES[: self.max_concurrent_reads]:
            self._together.wait(30)
        yield from (self.files[name][:3], self.files[name][3:])


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_files_come_in_order_and_some_are_begun_before(at_once: int) -> None:
    store = Distant(at_once)
    for number, ask in enumerate(prefetch_chunks(store, NAMES)):
        assert b"".join(ask()) == NAMES[number].encode()
        assert len(store.begun) <= number + at_once
    assert sorted(store.begun) == NAMES


@pytest.mark.parametrize("at_once", [1, 3, 9])
def test_a_failure_is_told_where_the_file_is_taken(at_once: int) -> None:
    store = MemoryStore()
    store.max_concurrent_reads = at_once
    store.put({name: b"" for name in NAMES if name != NAMES[4]})
    failed = []
    for name, ask in zip(NAMES, prefetch_chunks(store, NAMES)):
        try:
            assert b"".join(ask()) == b""
        except ObjectNotFound:
            failed.append(name)
    assert failed == [NAMES[4]]


def test_who_has_seen_enough_leaves_no_thread_behind() -> None:
    before, store = threading.active_count(), Distant(3)
    asks = prefetch_chunks(store, iter(NAMES))
    next(asks)
    asks.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(store.begun) <= 3
