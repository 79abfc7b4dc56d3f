# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads many files in order, and several of them at once where requests take time."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import chain
from typing import Any, Callable, Deque, Iterable, Iterator

from .store import Store

Chunks = Iterator[bytes]


def prefetch_chunks(store: Store, names: Iterable[str]) -> Iterator[Callable[[], Chunks]]:
    """Yield, for each file in order, a function that returns its chunks; the function or the chunks raise its error.

    Up to ``store.max_concurrent_reads`` files are requested in advance, and one chunk of each is kept in memory.
    """
    if store.max_concurrent_reads == 1:
        for name in names:
            yield partial(store.read, name)
        return
    from concurrent.futures import ThreadPoolExecutor  # slow to import, and local archives do not need it

    pending: Deque[Any] = deque()
    with ThreadPoolExecutor(store.max_concurrent_reads) as pool:
        try:
            for name in names:
                pending.append(pool.submit(_start_reading, store, name))
                if len(pending) == store.max_concurrent_reads:
                    yield pending.popleft().result
            while pending:
                yield pending.popleft().result
        finally:
            for future in pending:
                future.cancel()


def _start_reading(store: Store, name: str) -> Chunks:
    chunks = store.read(name)
    return chain([next(chunks, b"")], chunks)
