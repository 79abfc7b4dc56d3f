# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All stores pass the same tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3 import S3Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import Store
from ansible_collections.auditops.cloudscale.tests.storage.buckets import KINDS, Buckets
from ansible_collections.auditops.cloudscale.tests.storage.contract import BucketContract, StoreContract


@pytest.fixture(params=["directory", *KINDS, "commit bucket"])
def empty_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "directory":
        return LocalStore(str(tmp_path / "missing/archive"))
    buckets: Buckets = request.getfixturevalue("buckets")
    if request.param == "commit bucket":
        return S3Store(f"{buckets.new_location('locked')}?claims={buckets.new_location()}&lock_days=1")
    return S3Store(buckets.new_location(request.param))


class TestStores(StoreContract):
    pass


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, buckets: Buckets) -> str:
    return buckets.new_location(request.param)


@pytest.fixture
def versioned_address(buckets: Buckets) -> str:
    return buckets.new_location("versioned")


@pytest.fixture
def locked_address(buckets: Buckets) -> str:
    return f"{buckets.new_location('locked')}?lock_days=1"


class TestBuckets(BucketContract):
    pass
