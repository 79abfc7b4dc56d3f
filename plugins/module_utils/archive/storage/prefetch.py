# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads many files one after the other without waiting for the way to each."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import chain
from typing import Any, Callable, Deque, Iterable, Iterator

from .store import Store

Chunks = Iterator[bytes]


def prefetch_chunks(store: Store, names: Iterable[str]) -> Iterator[Callable[[], Chunks]]:
    """For each file, in order, what returns its bytes piece by piece; that, or they, raise why it cannot be read.

    As many as the store allows at once are begun before they are taken. Of each of them one piece is held in memory.
    """
    if store.max_concurrent_reads == 1:
        for name in names:
            yield partial(store.chunks, name)
        return
    from concurrent.futures import ThreadPoolExecutor  # takes its time, and an archive in a folder needs none

    waiting: Deque[Any] = deque()
    with ThreadPoolExecutor(store.max_concurrent_reads) as pool:
        try:
            for name in names:
                waiting.append(pool.submit(_begin, store, name))
                if len(waiting) == store.max_concurrent_reads:
                    yield waiting.popleft().result
            while waiting:
                yield waiting.popleft().result
        finally:
            for one in waiting:
                one.cancel()


def _begin(store: Store, name: str) -> Chunks:
    chunks = store.chunks(name)
    return chain([next(chunks, b"")], chunks)
