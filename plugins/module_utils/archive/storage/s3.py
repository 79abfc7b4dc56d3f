# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive in a bucket of any S3-compatible server.

**Concurrency.** A commit is created by a conditional PUT (``If-None-Match: *``), which the server refuses if the commit
exists. Some servers ignore the condition in some buckets, so each run checks this before its first commit. For such
buckets, commits are first created in another location, the commit bucket (``claims`` in the URL), and then copied to
the archive. Anyone with write access there can create one, so a run checks commits of other runs before it copies them.

**Late requests.** A request can take effect after the run that sent it was killed or gave up waiting for the response.
So a pending record remains until none of the files that it names can still appear:

- A record is stored before the first of its data files is sent.
- A data file is sent only if its request is signed within an hour after the server stored the record, by the server's
  clock. The server rejects a request 15 minutes after it was signed, even if the host was suspended meanwhile.
- A later run deletes the files that a record of an existing commit names, and keeps the record for other runs. The
  record is deleted when it is a day old by the server's clock, or when the run that wrote it got a response to the
  first attempt of each of its requests.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from datetime import timedelta
from typing import Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple, Union

from ...errors import ArchiveDamaged, StorageError
from ..format.commit import commit_name, parse_commit_name
from ..format.pending import pending_record
from .s3_address import FROM_ENVIRONMENT, ArchiveAddress, BucketAccess
from .s3_objects import Objects, S3Client
from .store import TOP_LEVEL_NAMES, Claim, UnexpectedItem


class RequestTimes(NamedTuple):
    """Limits for requests, by the server's clock.

    A request for a data file can be signed for ``signed_within`` after its record was stored. When a record is older
    than ``settled_after``, no request for its files can still take effect.
    """

    signed_within: timedelta = timedelta(hours=1)
    settled_after: timedelta = timedelta(days=1)


DEFAULT_TIMES = RequestTimes()


class S3Store:
    """A :class:`Store` in a bucket; for the format of ``address``, see :meth:`ArchiveAddress.parse`.

    Settings that ``access`` leaves open come from the environment: the endpoint from ``AWS_ENDPOINT_URL_S3`` or
    ``AWS_ENDPOINT_URL``, credentials as boto3 finds them. The constructor sends no request.
    """

    # Less than the ten connections of boto3's pool.
    max_concurrent_reads = 8

    def __init__(
        self,
        address: Union[str, ArchiveAddress],
        access: BucketAccess = FROM_ENVIRONMENT,
        times: RequestTimes = DEFAULT_TIMES,
    ) -> None:
        self._address = ArchiveAddress.parse(address) if isinstance(address, str) else address
        self._access = access
        self._times = times
        client = S3Client(access)
        location, commit_bucket, lock = self._address
        self._archive = Objects(client, location, lock)
        self._commit_bucket = Objects(client, commit_bucket) if commit_bucket else None
        self._settled: Set[str] = set()

    def __str__(self) -> str:
        return str(self._address.location)

    @contextmanager
    def scratch(self) -> Iterator[S3Store]:
        """A temporary store below this one with the same access, without locks; deleted when the block ends.

        Several threads can use it at once.
        """
        store = S3Store(self._address.child(f"probe-{secrets.token_hex(8)}"), self._access, self._times)
        try:
            yield store
        finally:
            store._delete_all()

    def _delete_all(self) -> None:
        for objects in filter(None, (self._archive, self._commit_bucket)):
            for name in list(objects.list_names("")):
                objects.delete(name)

    def read(self, name: str) -> Iterator[bytes]:
        return self._archive.read(name)

    def list_files(self, directory: str, after: str = "") -> Iterator[str]:
        return self._archive.list_names(f"{directory}/", after)

    def list_unexpected(self) -> Iterator[UnexpectedItem]:
        """Only at the top: everything below is an object, which :meth:`list_files` returns."""
        location, commit_bucket, _lock = self._address
        shared = commit_bucket.prefix if commit_bucket and commit_bucket.bucket == location.bucket else ""
        for name in self._archive.list_top_level():
            if name.rstrip("/") not in {*TOP_LEVEL_NAMES, ""} and not shared.startswith(location.prefix + name):
                yield UnexpectedItem(name.rstrip("/"), "a prefix with objects" if name.endswith("/") else "an object")

    def list_commits(self, after: int = 0) -> List[int]:
        names = self._archive.list_names("commits/", commit_name(after) if after else "")
        return [sequence for sequence in map(parse_commit_name, names) if sequence is not None]

    def list_deleted_commits(self, after: int = 0) -> List[int]:
        names = self._archive.list_deleted("commits/", commit_name(after) if after else "")
        return [sequence for sequence in map(parse_commit_name, names) if sequence is not None]

    def prepare(self, head: Optional[Tuple[str, bytes]]) -> None:
        sequence = (parse_commit_name(head[0]) if head else None) or 0
        for deleted in self.list_deleted_commits(after=sequence):
            raise ArchiveDamaged(
                f"Commit {deleted} in {self} was deleted: the bucket has a delete marker for it; verify the archive "
                "and restore it."
            )

    def check_put_if_absent(self, head: Optional[Tuple[str, bytes]], record: str) -> None:
        objects = self._commit_bucket or self._archive
        # An empty record: if it cannot be deleted again, any later run deletes it.
        name, body = head or (record, pending_record(()))
        try:
            # Before the first commit, or in a new commit bucket, the first PUT succeeds; the second must always fail.
            if objects.put_new(name, body) and objects.put_new(name, body):
                raise self._no_conditional_writes()
        finally:
            if head is None:
                objects.delete(name)
        if head is not None and self._commit_bucket is not None and self._commit_bucket.find(name) != body:
            raise self._different_commit(name)

    def put(self, files: Mapping[str, bytes]) -> None:
        records = sorted(name for name in files if name.startswith("pending/"))
        results = [self._archive.put(name, files[name]) for name in records]
        stored = min((result.date for result in results), default=None)
        signing_deadline = stored and stored + self._times.signed_within
        for name in sorted(files.keys() - set(records)):
            results.append(self._archive.put(name, files[name], signing_deadline))
        if all(result.first_attempt for result in results):
            self._settled.update(records)

    def is_settled(self, record: str) -> bool:
        return record in self._settled or self._archive.is_older(record, self._times.settled_after)

    def put_if_absent(self, name: str, body: bytes) -> bool:
        if self._commit_bucket is None:
            return self._archive.put_if_absent(name, body)
        created = self._commit_bucket.put_if_absent(name, body)
        if created:
            # If this run is killed before the copy, the next run finds the claim.
            self.copy_claim(name, body)
        return created

    def find_claim(self, name: str) -> Optional[Claim]:
        claimed = self._commit_bucket.find(name) if self._commit_bucket else None
        if self._commit_bucket is None or claimed is None:
            return None
        stored = self._archive.find(name)
        if stored is None:
            return Claim(claimed, f"{self._commit_bucket}/{name}")
        if stored != claimed:
            raise self._different_commit(name)
        return None

    def copy_claim(self, name: str, body: bytes) -> None:
        stored = self._archive.find(name)
        if stored is None and self._archive.put_if_absent(name, body):
            return
        if stored != body:
            raise self._different_commit(name)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._archive.delete(name)

    def check_not_locked(self, names: Iterable[str]) -> None:
        for name in names:
            lock = self._archive.describe_lock(name)
            if lock is not None:
                raise StorageError(
                    f"{self}/{name} is locked {lock} and cannot be deleted; wait, or select older days only."
                )

    def purge(self, names: Iterable[str]) -> None:
        for name in names:
            self._archive.purge(name)

    def _different_commit(self, name: str) -> ArchiveDamaged:
        return ArchiveDamaged(f"{name} in {self} differs from the one in {self._commit_bucket}; verify the archive.")

    def _no_conditional_writes(self) -> StorageError:
        return StorageError(
            f"The server ignores If-None-Match in {self._commit_bucket or self}, so one collector could overwrite the "
            "commit of another; name a plain bucket for new commits, as in ?claims=s3://BUCKET/PREFIX (Ceph before "
            "release 20 ignores it in versioned and locked buckets)."
        )
