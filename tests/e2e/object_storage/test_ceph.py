# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives in the buckets of Ceph, which the provider's object storage runs on."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import List

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3 import S3Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3_address import BucketAccess
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import read
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged, StorageError
from ansible_collections.auditops.cloudscale.tests.e2e.object_storage.ceph import COLLECTOR, Ceph
from ansible_collections.auditops.cloudscale.tests.storage.buckets import KINDS, Buckets, set_credentials
from ansible_collections.auditops.cloudscale.tests.storage.proxy import Fault, FaultyProxy
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_attacks import (
    ATTACKS,
    IN_FOLDERS_ONLY,
    check_named,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

GUIDE = Path(version.__file__).parents[2] / "docs/docsite/rst/archive_bucket_guide.rst"
# The first release whose conditional writes hold in every bucket.
CONDITIONS_EVERYWHERE = 20


@pytest.fixture(scope="module", params=["trixie", "forky"])
def ceph(request: pytest.FixtureRequest) -> Iterator[Ceph]:
    with Ceph(request.param) as running:
        yield running


@pytest.fixture
def buckets(ceph: Ceph, monkeypatch: pytest.MonkeyPatch) -> Buckets:
    set_credentials(monkeypatch, ceph.buckets)
    return ceph.buckets


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, buckets: Buckets) -> str:
    """An archive's address in a bucket of each kind, as the guide says to give it."""
    place = buckets.new_location(request.param)
    if request.param == "plain":
        return place
    return f"{place}?claims={buckets.new_location()}" + ("&lock_days=1" if request.param == "locked" else "")


def sound(world: World) -> bool:
    return world.verify() == [] and world.archived() == world.logged()


@pytest.mark.parametrize("kind", KINDS)
def test_a_bucket_that_cannot_decide_is_refused(ceph: Ceph, buckets: Buckets, kind: str) -> None:
    store = S3Store(buckets.new_location(kind))
    record = "pending/000000000001-probe.json"
    if kind == "plain" or ceph.release >= CONDITIONS_EVERYWHERE:
        store.check_put_if_absent(None, record)
        return
    with pytest.raises(StorageError, match="ignores If-None-Match"):
        store.check_put_if_absent(None, record)


def test_one_of_eight_concurrent_writers_creates_each_commit(address: str) -> None:
    store = S3Store(address)
    store.prepare(None)
    bodies = [b"%d" % number for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for sequence in range(1, 21):
            name = f"commits/{sequence:012d}.json"
            won = list(pool.map(lambda body, name=name: store.put_if_absent(name, body), bodies))  # type: ignore[misc]
            assert [body for body, has in zip(bodies, won) if has] == [read(store, name)]


def test_two_collectors_at_once(address: str, world: World) -> None:
    world.store = S3Store(address)
    failures: List[BaseException] = []

    def run() -> None:
        try:
            world.collect(S3Store(address), max_entries=4)
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the test has failed
            failures.append(exc)

    for _round in range(5):
        world.append(30, ago=60)
        threads = [threading.Thread(target=run) for _collector in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert sound(world)
    assert list(world.store.names("pending")) == []


def test_runs_that_lose_their_connection(
    address: str,
    buckets: Buckets,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world.store = S3Store(address)
    world.append(3)
    world.collect()
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with FaultyProxy(buckets) as proxy:
        for how in ("reset_before", "reset_after", "503 SlowDown"):
            for path in ("/pending/", "/entries/", "/commits/"):
                world.append(1, ago=9)
                proxy.script(Fault(how, path=path))
                try:
                    world.collect(S3Store(address, BucketAccess(proxy.url)))
                except StorageError as error:
                    assert error.retryable  # noqa: PT017 - it need not fail
                assert not world.archived() - world.logged()
                assert proxy.left == []
                world.collect(heartbeat=timedelta(0))
                assert sound(world)


def test_a_delete_marker_stops_the_run(buckets: Buckets, world: World) -> None:
    place = buckets.new_location("versioned")
    world.store = S3Store(f"{place}?claims={buckets.new_location()}")
    for _run in range(2):
        world.append(2)
        world.collect()
    bucket, prefix = place[5:].split("/")
    buckets.client().delete_object(Bucket=bucket, Key=f"{prefix}/commits/000000000002.json")
    assert {finding.type for finding in world.verify()} == {"commit_deleted", "orphan"}
    with pytest.raises(ArchiveDamaged, match="Commit 2 .* was deleted"):
        world.collect()


@pytest.mark.parametrize("name", sorted(ATTACKS.keys() - IN_FOLDERS_ONLY))
def test_an_attack_is_named(buckets: Buckets, archive: World, tmp_path: Path, name: str) -> None:
    check_named(archive, name, lambda: S3Store(buckets.upload(archive.path)))


def test_locked_objects_cannot_be_purged(buckets: Buckets, world: World) -> None:
    store = S3Store(f"{buckets.new_location('locked')}?claims={buckets.new_location()}&lock_days=1")
    world.store = store
    world.append(2, ago=3 * 86400)
    world.append(2)
    world.collect()
    for name in (*store.names("entries"), "commits/000000000001.json"):
        with pytest.raises(StorageError, match="does not allow to erase"):
            store.purge([name])
    with pytest.raises(StorageError, match="is locked until .* and stays"):
        prune(store, world.clock.ago(days=1), world.context())
    assert len(store.commits()) == 1
    assert sound(world)


def test_deleted_objects_leave_no_version(address: str, buckets: Buckets, world: World) -> None:
    world.store = S3Store(address.replace("&lock_days=1", ""))
    for ago in (3, 3, 2, 2, 0):
        world.append(2, ago=ago * 86400)
        world.collect()
    assert compact(world.store, context=world.context()).commits == 2
    assert prune(world.store, world.clock.ago(days=2), world.context()).commits == 1
    bucket, prefix = str(world.store)[len("s3://") :].split("/")
    found = buckets.client().list_object_versions(Bucket=bucket, Prefix=f"{prefix}/entries/")
    assert len(found["Versions"]) == len(list(world.store.names("entries"))) == 2
    assert world.verify() == []


@pytest.fixture
def rights(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Gives the collector the rights in the guide in a place, and becomes the collector; returns the place."""
    shown = re.findall(r"^\.\. code-block:: json\n\n((?:    .*\n|\n)+)", GUIDE.read_text(), re.MULTILINE)
    policy, *more = map(json.loads, shown)

    def give(place: str, with_removal: bool = False) -> str:
        bucket, prefix = place[5:].split("/")
        statements = [*policy["Statement"], *(more if with_removal else ())]
        text = json.dumps({**policy, "Statement": statements})
        text = text.replace(":::audit/shop", f":::{bucket}/{prefix}").replace(":::audit", f":::{bucket}")
        buckets.client().put_bucket_policy(Bucket=bucket, Policy=text)
        set_credentials(monkeypatch, Buckets(buckets.url, COLLECTOR))
        return place

    return give


def test_the_documented_rights_suffice_and_no_commit_can_be_deleted_with_them(
    rights: Callable[..., str], buckets: Buckets, world: World
) -> None:
    world.store = S3Store(rights(buckets.new_location()))
    for _run in range(2):
        world.append(2)
        world.collect()
    assert sound(world)
    with pytest.raises(StorageError, match="does not allow to remove"):
        world.store.delete(["commits/000000000001.json"])
    with pytest.raises(StorageError, match="does not allow to list"):
        S3Store("s3://locked/x").commits()


def test_pruning_and_compacting_need_the_other_documented_rights(
    rights: Callable[..., str], buckets: Buckets, world: World
) -> None:
    place = rights(buckets.new_location())
    world.store = S3Store(place)
    for ago in (3, 2, 2, 0):
        world.append(2, ago=ago * 86400)
        world.collect()
    for job in (compact, prune):
        with pytest.raises(StorageError, match="does not allow to erase"):
            job(world.store, world.clock.ago(days=1), world.context())
    assert {finding.type for finding in world.verify()} == {"deletion_pending"}
    assert world.archived() == world.logged()
    world.store = S3Store(rights(place, with_removal=True))
    assert prune(world.store, world.clock.ago(days=2), world.context()).entries == 2
    assert compact(world.store, context=world.context()).commits == 0
    assert world.verify() == []
