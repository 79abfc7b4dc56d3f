# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests that every store must pass, as classes for test modules to inherit.

A module that inherits StoreContract defines the fixture ``empty_store``. A module that inherits BucketContract defines
``buckets``, ``world``, ``address`` (of an archive in each kind of bucket), ``versioned_address`` and
``locked_address``.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.dry_run import DryRun
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.prefetch import prefetch_chunks
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3 import S3Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3_address import ArchiveAddress
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import (
    ObjectNotFound,
    Store,
    read_file,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged, StorageError
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

RECORD = "pending/000000000001-5f0c9a1b2d3e4f60.json"
DATA = "entries/date=2026-11-22/000000000001-3f9ac0d1e2b4.jsonl.gz"
OLDER_DATA = "entries/date=2026-11-21/000000000002-0123456789ab.jsonl.gz"
FIRST = "commits/000000000001.json"
SECOND = "commits/000000000002.json"


def commit_name(sequence: int) -> str:
    return f"commits/{sequence:012d}.json"


def is_intact(world: World) -> bool:
    """Whether the archive verifies and contains exactly the entries of the log."""
    return world.verify() == [] and world.archived() == world.logged()


class StoreContract:
    """The behaviour of every :class:`Store`. ``RACES`` is the number of commits that concurrent writers create."""

    RACES = 2

    @pytest.fixture
    def store(self, empty_store: Store) -> Store:
        empty_store.prepare(None)
        return empty_store

    def test_an_empty_store_contains_nothing(self, empty_store: Store) -> None:
        assert (list(empty_store.list_files("entries")), empty_store.list_commits()) == ([], [])
        assert (empty_store.list_deleted_commits(), list(empty_store.list_unexpected())) == ([], [])
        with pytest.raises(ObjectNotFound):
            read_file(empty_store, FIRST)
        assert empty_store.find_claim(FIRST) is None
        empty_store.check_not_locked([DATA])
        empty_store.delete([FIRST, DATA, RECORD])
        empty_store.purge([DATA, RECORD])

    def test_preparing_twice_changes_nothing(self, store: Store) -> None:
        store.prepare(None)
        assert list(store.list_unexpected()) == []

    def test_files_are_read_as_they_were_written(self, store: Store) -> None:
        body = bytes(range(256)) * 2000
        store.put({RECORD: b"{}", DATA: body, OLDER_DATA: b""})
        assert read_file(store, DATA) == body
        assert read_file(store, OLDER_DATA) == b""
        assert len(list(store.read(DATA))) > 1

    def test_an_error_names_the_store(self, store: Store) -> None:
        with pytest.raises(ObjectNotFound, match=str(store)):
            read_file(store, DATA)

    def test_files_are_listed_in_order_and_after_a_name(self, store: Store) -> None:
        store.put({RECORD: b"{}", DATA: b"data", OLDER_DATA: b"data"})
        assert list(store.list_files("entries")) == [OLDER_DATA, DATA]
        assert list(store.list_files("entries", after=OLDER_DATA)) == [DATA]
        assert list(store.list_files("entries", after=DATA)) == []
        assert list(store.list_files("pending")) == [RECORD]
        assert list(store.list_unexpected()) == []

    def test_put_replaces_an_existing_file(self, store: Store) -> None:
        store.put({RECORD: b"{}", DATA: b"da"})
        store.put({RECORD: b"{}", DATA: b"data"})
        assert read_file(store, DATA) == b"data"
        assert (list(store.list_files("entries")), list(store.list_files("pending"))) == ([DATA], [RECORD])

    def test_a_record_is_settled_after_put(self, store: Store) -> None:
        store.put({RECORD: b"{}", DATA: b"data"})
        assert store.is_settled(RECORD)

    def test_deleted_files_are_gone(self, store: Store) -> None:
        store.put({RECORD: b"{}", DATA: b"data"})
        store.delete([DATA, RECORD])
        assert (list(store.list_files("entries")), list(store.list_files("pending"))) == ([], [])
        with pytest.raises(ObjectNotFound):
            read_file(store, DATA)

    def test_purged_files_are_gone(self, store: Store) -> None:
        store.put({RECORD: b"{}"})
        store.check_not_locked([RECORD])
        store.purge([RECORD])
        assert list(store.list_files("pending")) == []

    def test_a_commit_is_created_once(self, store: Store) -> None:
        assert store.put_if_absent(FIRST, b"mine")
        assert store.put_if_absent(FIRST, b"mine")
        assert not store.put_if_absent(FIRST, b"yours")
        assert read_file(store, FIRST) == b"mine"
        assert store.find_claim(FIRST) is None

    def test_one_of_eight_concurrent_writers_creates_each_commit(self, store: Store) -> None:
        bodies = [b"%d" % number for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            for sequence in range(1, self.RACES + 1):
                name = commit_name(sequence)
                created = pool.map(lambda body, name=name: store.put_if_absent(name, body), bodies)  # type: ignore[misc]
                assert [body for body, is_mine in zip(bodies, created) if is_mine] == [read_file(store, name)]

    def test_commits_are_listed_in_order_and_after_a_sequence(self, store: Store) -> None:
        for sequence in (1, 2, 3):
            store.put_if_absent(commit_name(sequence), b"x")
        store.put({"commits/note.txt": b""})
        assert store.list_commits() == [1, 2, 3]
        assert store.list_commits(after=1) == [2, 3]
        assert store.list_commits(after=3) == []

    def test_a_run_continues_from_the_head(self, store: Store) -> None:
        store.put_if_absent(FIRST, b"one")
        store.prepare((FIRST, b"one"))
        assert store.put_if_absent(SECOND, b"two")
        assert (read_file(store, FIRST), read_file(store, SECOND)) == (b"one", b"two")

    def test_the_check_of_conditional_writes_leaves_nothing_behind(self, store: Store) -> None:
        store.check_put_if_absent(None, RECORD)
        assert (list(store.list_files("pending")), store.list_commits()) == ([], [])
        store.put_if_absent(FIRST, b"one")
        store.check_put_if_absent((FIRST, b"one"), RECORD)
        assert (list(store.list_files("pending")), store.list_commits()) == ([], [1])
        assert read_file(store, FIRST) == b"one"

    def test_files_are_prefetched_in_order(self, store: Store) -> None:
        bodies = [b"%d" % number for number in range(2 * store.max_concurrent_reads + 1)]
        names = [commit_name(number + 1) for number in range(len(bodies))]
        for name, body in zip(names, bodies):
            store.put_if_absent(name, body)
        assert [b"".join(read_chunks()) for read_chunks in prefetch_chunks(store, names)] == bodies

    def test_a_dry_run_shows_its_writes_and_stores_none(self, store: Store) -> None:
        store.put_if_absent(FIRST, b"one")
        dry = DryRun(store)
        dry.prepare(None)
        dry.put({DATA: b"data"})
        assert dry.put_if_absent(SECOND, b"two")
        dry.delete([FIRST])
        assert [read_file(dry, name) for name in (FIRST, SECOND, DATA)] == [b"one", b"two", b"data"]
        assert (store.list_commits(), list(store.list_files("entries"))) == ([1], [])
        assert list(store.list_files("pending")) == []


class BucketContract:
    """The behaviour of an archive in a bucket, at any server and in any kind of bucket."""

    def test_two_collectors_commit_concurrently(self, address: str, world: World) -> None:
        world.store = S3Store(address)
        world.append(40, ago=90)
        failures: list[BaseException] = []

        def run() -> None:
            try:
                world.collect(S3Store(address), max_entries=4)
            except BaseException as exc:  # noqa: BLE001 - every failure fails the test
                failures.append(exc)

        for _round in range(3):
            world.append(9, ago=60)
            threads = [threading.Thread(target=run) for _collector in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert failures == []
        assert is_intact(world)
        assert list(world.store.list_files("pending")) == []

    def test_a_delete_marker_stops_the_run(self, versioned_address: str, buckets: Buckets, world: World) -> None:
        world.store = S3Store(versioned_address)
        location = ArchiveAddress.parse(versioned_address).location
        for _run in range(3):
            world.append(2)
            world.collect()
        for sequence in (3, 1):
            buckets.client().delete_object(Bucket=location.bucket, Key=location.prefix + commit_name(sequence))
            found = [(finding.type, finding.path) for finding in world.verify()]
            assert ("commit_deleted", commit_name(sequence)) in found
        with pytest.raises(ArchiveDamaged, match=r"Commit 3 in .* was deleted"):
            world.collect()

    def test_prune_and_compact_leave_no_version(self, address: str, buckets: Buckets, world: World) -> None:
        world.store = S3Store(address.replace("&lock_days=1", ""))
        location = ArchiveAddress.parse(address).location
        for ago in (3, 3, 2, 2, 0, 0):
            world.append(2, ago=ago * 86400)
            world.collect()
        assert compact(world.store, context=world.context()).commits == 2
        assert prune(world.store, world.clock.ago(days=2), world.context()).commits == 1
        found = buckets.client().list_object_versions(Bucket=location.bucket, Prefix=f"{location.prefix}entries/")
        assert len(found["Versions"]) == len(list(world.store.list_files("entries"))) == 3
        assert world.verify() == []

    def test_locked_files_cannot_be_purged(self, locked_address: str, world: World) -> None:
        world.store = S3Store(locked_address)
        world.append(2, ago=3 * 86400)
        world.append(2)
        world.collect()
        for name in (*world.store.list_files("entries"), FIRST):
            with pytest.raises(StorageError, match=r"denied access: cannot delete .*locks"):
                world.store.purge([name])
        with pytest.raises(StorageError, match=r"is locked until .* and cannot be deleted"):
            prune(world.store, world.clock.ago(days=1), world.context())
        assert len(world.store.list_commits()) == 1
        assert is_intact(world)
