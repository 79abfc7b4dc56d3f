# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A read-only store for an archive in a zip file."""

from __future__ import annotations

from bisect import bisect_right
from typing import Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from ...errors import StorageError
from ..format.commit import parse_commit_name
from .store import Claim, ObjectNotFound, UnexpectedItem
from .zip_file import ZipReader


class ZipStore:
    """A :class:`Store` in a directory of a checked zip file. All methods that write raise StorageError."""

    max_concurrent_reads = 1

    def __init__(self, package: ZipReader, directory: str, names: Sequence[str]) -> None:
        """``names`` are the sorted names of the files in the directory."""
        self._package = package
        self._directory = f"{directory}/"
        self._names = names

    def __str__(self) -> str:
        return f"{self._package}/{self._directory}".rstrip("/")

    def read(self, name: str) -> Iterator[bytes]:
        if self._directory + name not in self._package:
            raise ObjectNotFound(f"There is no {name} in {self}.")
        return self._package.read(self._directory + name)

    def list_files(self, directory: str, after: str = "") -> Iterator[str]:
        first = bisect_right(self._names, max(f"{directory}/", after))
        for name in self._names[first:]:
            if not name.startswith(f"{directory}/"):
                return
            yield name

    def list_unexpected(self) -> Iterator[UnexpectedItem]:
        return iter(())

    def list_commits(self, after: int = 0) -> List[int]:
        sequences = (parse_commit_name(name) for name in self.list_files("commits"))
        return [sequence for sequence in sequences if sequence is not None and sequence > after]

    def list_deleted_commits(self, after: int = 0) -> List[int]:  # noqa: ARG002 - a zip file keeps no record
        return []

    def find_claim(self, name: str) -> Optional[Claim]:  # noqa: ARG002 - a package has no commit bucket
        return None

    def is_settled(self, record: str) -> bool:  # noqa: ARG002 - nobody writes to a package
        return True

    def prepare(self, head: Optional[Tuple[str, bytes]]) -> None:  # noqa: ARG002
        raise self._read_only()

    def check_put_if_absent(self, head: Optional[Tuple[str, bytes]], record: str) -> None:  # noqa: ARG002
        raise self._read_only()

    def put(self, files: Mapping[str, bytes]) -> None:  # noqa: ARG002
        raise self._read_only()

    def put_if_absent(self, name: str, body: bytes) -> bool:  # noqa: ARG002
        raise self._read_only()

    def copy_claim(self, name: str, body: bytes) -> None:  # noqa: ARG002
        raise self._read_only()

    def delete(self, names: Iterable[str]) -> None:  # noqa: ARG002
        raise self._read_only()

    def check_not_locked(self, names: Iterable[str]) -> None:  # noqa: ARG002
        raise self._read_only()

    def purge(self, names: Iterable[str]) -> None:  # noqa: ARG002
        raise self._read_only()

    def _read_only(self) -> StorageError:
        return StorageError(f"{self} is an evidence package, which is read-only; use the archive instead.")
