# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prefetching: in order, limited concurrency, and errors at the file that caused them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.prefetch import prefetch_chunks
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import ObjectNotFound
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import MemoryStore

NAMES = [f"entries/{number}" for number in range(7)]


class SlowStore(MemoryStore):
    """A store whose first reads wait for each other; ``started`` are the names of the reads that started."""

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self.max_concurrent_reads = at_once
        self.put({name: name.encode() for name in NAMES})
        self.started: list[str] = []
        self._together = threading.Barrier(at_once)

    def read(self, name: str) -> Iterator[bytes]:
        self.started.append(name)
        if name in NAMES[: self.max_concurrent_reads]:
            self._together.wait(30)
        yield from (self.files[name][:3], self.files[name][3:])


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_files_are_yielded_in_order_and_requested_in_advance(at_once: int) -> None:
    store = SlowStore(at_once)
    for number, read_chunks in enumerate(prefetch_chunks(store, NAMES)):
        assert b"".join(read_chunks()) == NAMES[number].encode()
        assert len(store.started) <= number + at_once
    assert sorted(store.started) == NAMES


@pytest.mark.parametrize("at_once", [1, 3, 9])
def test_an_error_is_raised_when_its_file_is_read(at_once: int) -> None:
    store = MemoryStore()
    store.max_concurrent_reads = at_once
    store.put({name: b"" for name in NAMES if name != NAMES[4]})
    failed = []
    for name, read_chunks in zip(NAMES, prefetch_chunks(store, NAMES)):
        try:
            assert b"".join(read_chunks()) == b""
        except ObjectNotFound:
            failed.append(name)
    assert failed == [NAMES[4]]


def test_closing_early_leaves_no_thread_behind() -> None:
    before, store = threading.active_count(), SlowStore(3)
    readers = prefetch_chunks(store, iter(NAMES))
    next(readers)
    readers.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(store.started) <= 3
