# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives in the buckets of Ceph, the software of the provider's object storage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3 import S3Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3_address import BucketAccess
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import StorageError
from ansible_collections.auditops.cloudscale.tests.e2e.object_storage.ceph import COLLECTOR, Ceph
from ansible_collections.auditops.cloudscale.tests.storage.buckets import KINDS, Buckets, set_credentials
from ansible_collections.auditops.cloudscale.tests.storage.contract import BucketContract, StoreContract, is_intact
from ansible_collections.auditops.cloudscale.tests.storage.proxy import Fault, FaultyProxy
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_attacks import (
    ATTACKS,
    IN_FOLDERS_ONLY,
    check_named,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

GUIDE = Path(version.__file__).parents[2] / "docs/docsite/rst/archive_bucket_guide.rst"
# The first release with conditional writes in every bucket.
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
    """An archive's address in a bucket of each kind, as the guide shows it."""
    return new_address(buckets, request.param)


@pytest.fixture
def versioned_address(buckets: Buckets) -> str:
    return new_address(buckets, "versioned")


@pytest.fixture
def locked_address(buckets: Buckets) -> str:
    return new_address(buckets, "locked")


@pytest.fixture
def empty_store(address: str) -> S3Store:
    return S3Store(address)


def new_address(buckets: Buckets, kind: str) -> str:
    location = buckets.new_location(kind)
    if kind == "plain":
        return location
    return f"{location}?claims={buckets.new_location()}" + ("&lock_days=1" if kind == "locked" else "")


class TestStores(StoreContract):
    RACES = 20


class TestBuckets(BucketContract):
    pass


@pytest.mark.parametrize("kind", KINDS)
def test_a_bucket_without_conditional_writes_is_refused(ceph: Ceph, buckets: Buckets, kind: str) -> None:
    store = S3Store(buckets.new_location(kind))
    record = "pending/000000000001-probe.json"
    if kind == "plain" or ceph.release >= CONDITIONS_EVERYWHERE:
        store.check_put_if_absent(None, record)
        return
    with pytest.raises(StorageError, match="ignores If-None-Match"):
        store.check_put_if_absent(None, record)


def test_runs_survive_lost_connections(
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
                    assert error.retryable  # noqa: PT017 - the run can succeed
                assert not world.archived() - world.logged()
                assert proxy.left == []
                world.collect(heartbeat=timedelta(0))
                assert is_intact(world)


@pytest.mark.parametrize("name", sorted(ATTACKS.keys() - IN_FOLDERS_ONLY))
def test_an_attack_is_found(buckets: Buckets, archive: World, tmp_path: Path, name: str) -> None:
    check_named(archive, name, lambda: S3Store(buckets.upload(archive.path)))


@pytest.fixture
def rights(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that grants the rights in the guide at a location, and switches to the collector's credentials."""
    examples = re.findall(r"^\.\. code-block:: json\n\n((?:    .*\n|\n)+)", GUIDE.read_text(), re.MULTILINE)
    policy, *more = map(json.loads, examples)

    def grant(location: str, with_removal: bool = False) -> str:
        bucket, prefix = location[5:].split("/")
        statements = [*policy["Statement"], *(more if with_removal else ())]
        text = json.dumps({**policy, "Statement": statements})
        text = text.replace(":::audit/shop", f":::{bucket}/{prefix}").replace(":::audit", f":::{bucket}")
        buckets.client().put_bucket_policy(Bucket=bucket, Policy=text)
        set_credentials(monkeypatch, Buckets(buckets.url, COLLECTOR))
        return location

    return grant


def test_the_documented_rights_suffice_and_do_not_allow_to_delete_commits(
    rights: Callable[..., str], buckets: Buckets, world: World
) -> None:
    world.store = S3Store(rights(buckets.new_location()))
    for _run in range(2):
        world.append(2)
        world.collect()
    assert is_intact(world)
    with pytest.raises(StorageError, match="denied access: cannot delete"):
        world.store.delete(["commits/000000000001.json"])
    with pytest.raises(StorageError, match="denied access: cannot list"):
        S3Store("s3://locked/x").list_commits()


def test_pruning_and_compacting_need_the_other_documented_rights(
    rights: Callable[..., str], buckets: Buckets, world: World
) -> None:
    location = rights(buckets.new_location())
    world.store = S3Store(location)
    for ago in (3, 2, 2, 0):
        world.append(2, ago=ago * 86400)
        world.collect()
    for job in (compact, prune):
        with pytest.raises(StorageError, match="denied access: cannot delete"):
            job(world.store, world.clock.ago(days=1), world.context())
    assert {finding.type for finding in world.verify()} == {"deletion_pending"}
    assert world.archived() == world.logged()
    world.store = S3Store(rights(location, with_removal=True))
    assert prune(world.store, world.clock.ago(days=2), world.context()).entries == 2
    assert compact(world.store, context=world.context()).commits == 0
    assert world.verify() == []
