# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interface to the storage of an archive, with helpers for every storage that implements it.

Only :meth:`Store.put_if_absent` decides which run wins a race. Every other method can be repeated, or interrupted, at
any time.
"""

from __future__ import annotations

from typing import Iterable, Iterator, List, Mapping, NamedTuple, Optional, Protocol, Tuple

from ...errors import StorageError

DIRECTORIES = ("entries", "commits", "pending", "signatures", "timestamps")
TOP_LEVEL_NAMES = frozenset(DIRECTORIES)
"""The only names that belong at the top of an archive."""

MAX_COMMIT_SIZE = 32 << 20
"""Bytes. A typical commit has a few kilobytes; one that removes 400,000 files reaches this size."""


class ObjectNotFound(StorageError):
    """No file has this name."""


class InvalidObject(StorageError):
    """The name belongs to something that no collector writes: a directory, a link, a pipe, or an oversized file."""


class Claim(NamedTuple):
    """A commit in the commit bucket that the archive does not contain yet: its bytes and its address."""

    body: bytes
    address: str


class UnexpectedItem(NamedTuple):
    """Something that no collector writes: its name inside the archive, and its kind, such as "a named pipe"."""

    name: str
    kind: str


class Store(Protocol):
    """The files of one archive, by their names inside the archive, such as ``commits/000000000042.json``.

    Every method raises StorageError if the storage fails, ObjectNotFound if a named file does not exist, and
    InvalidObject if the name belongs to something other than a file.
    """

    max_concurrent_reads: int
    """Number of files that threads should read at once; 1 if concurrency brings no gain."""

    def __str__(self) -> str:
        """The path or address of the archive."""

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file in chunks."""

    def list_files(self, directory: str, after: str = "") -> Iterator[str]:
        """Yield the sorted names of the files in a top-level directory; with ``after``, only those that sort after it.

        ``entries`` includes the files in the directories of days. A missing directory has no files.
        """

    def list_unexpected(self) -> Iterator[UnexpectedItem]:
        """Yield everything that :meth:`list_files` leaves out, without entering directories."""

    def list_commits(self, after: int = 0) -> List[int]:
        """Return the sequences of the existing commits greater than ``after``, in order."""

    def list_deleted_commits(self, after: int = 0) -> List[int]:
        """Return the sequences of deleted commits greater than ``after``, as far as the storage keeps a record."""

    def prepare(self, head: Optional[Tuple[str, bytes]]) -> None:
        """Prepare for writing, and make the head durable: the name and bytes of the newest commit, or None.

        :raises ArchiveDamaged: a commit after the head was deleted.
        """

    def check_put_if_absent(self, head: Optional[Tuple[str, bytes]], record: str) -> None:
        """Check that the storage never overwrites a commit. Every run does this before its first commit.

        The check writes the head's own bytes again or, without a head, writes the pending record of this name twice.

        :raises StorageError: the storage overwrites existing commits.
        :raises ArchiveDamaged: the head differs from the commit in the commit bucket.
        """

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files durably, records in ``pending/`` first; each one is written completely or not at all.

        Once a record :meth:`is_settled`, delete the other temporary files in ``pending/``, then the files that the
        record names: none of them can appear afterwards.
        """

    def is_settled(self, record: str) -> bool:
        """Return whether no write of the run that stored this pending record can still take effect."""

    def put_if_absent(self, name: str, body: bytes) -> bool:
        """Create a commit durably, unless another one has this name; return whether these bytes are stored now."""

    def find_claim(self, name: str) -> Optional[Claim]:
        """Return the commit of this name if it exists only in the commit bucket.

        :raises ArchiveDamaged: the archive contains a different commit of this name.
        """

    def copy_claim(self, name: str, body: bytes) -> None:
        """Copy a claim, which the caller has checked, into the archive."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; missing ones are ignored. The storage can keep older versions."""

    def check_not_locked(self, names: Iterable[str]) -> None:
        """Check that no retention lock protects any of these files.

        :raises StorageError: a file is locked; the message names the file and the end of the lock.
        """

    def purge(self, names: Iterable[str]) -> None:
        """Delete files with all their versions.

        :raises StorageError: the storage refuses, for instance because of a lock; some files might be deleted already.
        """


def archive_not_found(store: Store) -> StorageError:
    """The error for a store that contains no archive."""
    return StorageError(f"There is no archive in {store}; check the path, or run collect first.")


def read_file(store: Store, name: str) -> bytes:
    """The content of a small file.

    :raises ObjectNotFound: no file has this name.
    :raises InvalidObject: the name belongs to something else, or the file is larger than any file of a collector.
    :raises StorageError: the file cannot be read.
    """
    return join_chunks(store.read(name), f"{name} in {store}")


def join_chunks(chunks: Iterable[bytes], description: str, limit: int = MAX_COMMIT_SIZE) -> bytes:
    """The content of a small file from its chunks.

    :raises InvalidObject: the file has more than ``limit`` bytes.
    """
    collected: List[bytes] = []
    size = 0
    for chunk in chunks:
        collected.append(chunk)
        size += len(chunk)
        if size > limit:
            raise InvalidObject(f"Cannot read {description}: the file is larger than {limit >> 10} KiB; move it away.")
    return b"".join(collected)
