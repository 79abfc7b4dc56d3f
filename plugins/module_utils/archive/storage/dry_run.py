# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A store for dry runs."""

from __future__ import annotations

from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

from .store import Claim, Store, UnexpectedItem


class DryRun:
    """A :class:`Store` on top of another one that it never changes: writes are kept in memory, deletions ignored."""

    max_concurrent_reads = 1

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written: Dict[str, bytes] = {}

    def __str__(self) -> str:
        return str(self._store)

    def read(self, name: str) -> Iterator[bytes]:
        return iter([self._written[name]]) if name in self._written else self._store.read(name)

    def list_files(self, directory: str, after: str = "") -> Iterator[str]:
        return self._store.list_files(directory, after)

    def list_unexpected(self) -> Iterator[UnexpectedItem]:
        return self._store.list_unexpected()

    def list_commits(self, after: int = 0) -> List[int]:
        return self._store.list_commits(after)

    def list_deleted_commits(self, after: int = 0) -> List[int]:
        return self._store.list_deleted_commits(after)

    def prepare(self, head: Optional[Tuple[str, bytes]]) -> None:
        """Nothing to prepare."""

    def check_put_if_absent(self, head: Optional[Tuple[str, bytes]], record: str) -> None:
        """Nothing to check: no commit can be overwritten."""

    def put(self, files: Mapping[str, bytes]) -> None:
        self._written.update(files)

    def is_settled(self, record: str) -> bool:
        return self._store.is_settled(record)

    def put_if_absent(self, name: str, body: bytes) -> bool:
        self._written[name] = body
        return True

    def find_claim(self, name: str) -> Optional[Claim]:
        return self._store.find_claim(name)

    def copy_claim(self, name: str, body: bytes) -> None:
        """Ignored."""

    def delete(self, names: Iterable[str]) -> None:
        """Ignored."""

    def check_not_locked(self, names: Iterable[str]) -> None:
        self._store.check_not_locked(names)

    def purge(self, names: Iterable[str]) -> None:
        """Ignored."""
