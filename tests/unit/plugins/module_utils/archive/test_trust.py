# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recovery after a refused head, and the only option that overrides a pin."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    AllowedSigners,
    SigningKey,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3 import S3Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import RacingStore, World


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey(Signer(tmp_path, "log1").key)


@pytest.fixture
def signers(key: SigningKey, tmp_path: Path) -> AllowedSigners:
    return AllowedSigners(str(tmp_path / "log1.allowed"))


@pytest.fixture
def archive(world: World, key: SigningKey) -> World:
    for _run in range(3):
        world.append(2, ago=30)
        world.wait(minutes=1)
        world.collect(pin=True, sign_key=key)
    return world


def restore_older_copy(world: World) -> None:
    """Return a copy of the archive as of commit 2."""
    for path in [*world.path.glob("*/000000000003*"), *world.path.glob("entries/*/000000000003*")]:
        path.unlink()


def test_only_the_head_that_is_there_overrides_a_pin(archive: World, key: SigningKey, signers: AllowedSigners) -> None:
    newest, warnings = archive.head.head, list[str]()
    restore_older_copy(archive)
    archive.append(1, ago=20)
    found = archive.head.head
    for expected in (None, newest, found._replace(sha256="0" * 64), found._replace(sequence=1)):
        with pytest.raises(ArchiveDamaged):
            archive.collect(pin=True, sign_key=key, expected_head=expected, warn=warnings.append)
        assert archive.pin.read() == newest
    assert warnings == []
    assert archive.collect(pin=True, sign_key=key, expected_head=found, warn=warnings.append).commits_added == 1
    assert "(commit 3) is replaced by the expected head (commit 2)" in warnings[0]
    assert archive.pin.read() == archive.head.head
    assert archive.verify(signers=signers) == []
    assert archive.archived() == archive.logged()
    warnings.clear()
    archive.collect(pin=True, sign_key=key, expected_head=archive.head.head, warn=warnings.append)
    assert warnings == []


@pytest.mark.parametrize("pin", [False, True])
def test_a_run_that_names_the_head_may_lose_a_race(archive: World, key: SigningKey, pin: bool) -> None:
    archive.append(3, ago=20)
    racing = RacingStore(archive.path, lambda: archive.collect(sign_key=key, max_entries=1))
    archive.collect(racing, pin=pin, sign_key=key, expected_head=archive.head.head)
    assert archive.archived() == archive.logged()


def test_a_good_prefix_is_copied_to_a_new_place_of_a_locked_bucket(
    archive: World, key: SigningKey, signers: AllowedSigners, buckets: Buckets, tmp_path: Path
) -> None:
    """Objects cannot be moved in a locked bucket; a pin in the good prefix is also valid for the copy."""
    head = archive.head
    forged = replace(head.commit, sequence=4, previous=head.head.sha256, run="forger", signer=None)
    archive.store.put_if_absent(forged.name, forged.to_bytes())
    refused = S3Store(buckets.upload(archive.path))
    archive.append(1, ago=20)
    with pytest.raises(ArchiveDamaged, match="breaks the rules"):
        archive.collect(refused, pin=True, sign_key=key)
    good = tmp_path / "good"
    shutil.copytree(archive.path, good)
    (good / forged.name).unlink()
    copied = S3Store(buckets.upload(good))
    assert archive.collect(copied, pin=True, sign_key=key).added == 1
    assert archive.verify(copied, signers=signers, expected_head=head.head) == []
    assert archive.archived(copied) == archive.logged()
