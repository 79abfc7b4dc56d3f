# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Claims that a collector finds: only a commit that it could make itself is copied to the locked bucket.

Anyone who can write to the commit bucket can claim the next commit there. The lies are those of the corpus.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    AllowedSigners,
    SigningKey,
    signature_name,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import commit_name, sha256
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3 import S3Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3_address import BucketLocation
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged, StorageError
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets
from ansible_collections.auditops.cloudscale.tests.storage.proxy import Fault, FaultyProxy
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.corpus import (
    LEGITIMATE,
    LIES,
    Forged,
    errors,
    fill,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer, allowing
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World


class Claims:
    """A copy of an archive in a bucket. ``store`` has a separate commit bucket, in which anybody can claim a commit."""

    def __init__(self, buckets: Buckets, world: World) -> None:
        self._client = buckets.client()
        self._place = BucketLocation.parse(buckets.new_location())
        self.head = world.head
        self.store = S3Store(f"{buckets.upload(world.path)}?claims={self._place}")
        self._put(self.head.commit.name, self.head.body)

    def make(self, forged: Forged) -> None:
        """Claim the next commit instead of an earlier claim."""
        self.store.put(forged.files)
        self._put(forged.commit.name, forged.commit.to_bytes())

    def delete(self) -> None:
        name = commit_name(self.head.commit.sequence + 1)
        self._client.delete_object(Bucket=self._place.bucket, Key=self._place.prefix + name)

    def _put(self, name: str, body: bytes) -> None:
        self._client.put_object(Bucket=self._place.bucket, Key=self._place.prefix + name, Body=body)

    @property
    def is_unchanged(self) -> bool:
        """Return whether the archive has no more commits than at the beginning."""
        return self.store.list_commits()[-1] == self.head.commit.sequence


@pytest.fixture
def archive(world: World) -> World:
    fill(world)
    world.append(1, ago=20)
    return world


@pytest.mark.parametrize("kind", LEGITIMATE)
def test_a_forged_claim_is_not_copied(buckets: Buckets, archive: World, kind: str) -> None:
    claims = Claims(buckets, archive)
    genuine = LEGITIMATE[kind](archive)
    forged: dict[str, Any] = {
        name: replace(genuine.commit, **lie(genuine.commit, archive)) for name, lie in LIES[kind].items()
    }
    for name, body in (("nothing", b"{}\n"), ("the head", claims.head.body), ("deep", b"[" * 100_000)):
        forged[name] = Bytes(genuine.commit.name, body)
    for name, commit in forged.items():
        claims.make(genuine._replace(commit=commit))
        with pytest.raises(ArchiveDamaged, match="was not copied to .*; find out who wrote it, then delete it: "):
            archive.collect(claims.store, pin=True)
        assert claims.is_unchanged, name
    claims.delete()
    assert archive.collect(claims.store, pin=True).added == 1
    # Only the forged data file remains, which no commit names.
    assert errors(archive, store=claims.store) == (["extra"] if kind == "entries" else [])


class Bytes:
    """Bytes that are not a commit."""

    def __init__(self, name: str, body: bytes) -> None:
        self.name = name
        self._body = body

    def to_bytes(self) -> bytes:
        return self._body


@pytest.mark.parametrize("kind", LEGITIMATE)
def test_what_a_killed_run_claimed_is_copied(buckets: Buckets, archive: World, kind: str) -> None:
    claims = Claims(buckets, archive)
    genuine = LEGITIMATE[kind](archive)
    claims.make(genuine)
    assert archive.collect(claims.store, pin=True).added == 1
    assert load_commit(claims.store, genuine.commit.sequence).commit == genuine.commit
    assert errors(archive, store=claims.store) == []


def test_a_claim_whose_file_is_missing_or_other_is_not_copied(buckets: Buckets, archive: World) -> None:
    claims = Claims(buckets, archive)
    genuine = LEGITIMATE["entries"](archive)
    (path,) = genuine.files
    for files, reason in (({}, "is missing"), ({path: b"other"}, "differs from its description")):
        claims.make(genuine._replace(files=files))
        with pytest.raises(ArchiveDamaged, match=f"was not copied to .*{path}, which it names, {reason}"):
            archive.collect(claims.store, pin=True)


def test_in_a_signed_archive_a_claim_needs_the_signature_of_an_allowed_signer(
    buckets: Buckets, world: World, tmp_path: Path
) -> None:
    signer, stranger = Signer(tmp_path, "log1"), Signer(tmp_path, "stranger")
    key, other = SigningKey(signer.key), SigningKey(stranger.key)
    fill(world, sign_key=key)
    world.append(1, ago=20)
    claims = Claims(buckets, world)
    genuine = LEGITIMATE["entries"](world)

    def claim(by: SigningKey | None, signed_by: SigningKey | None = None) -> None:
        commit = replace(genuine.commit, signer=by.fingerprint if by else None)
        body = commit.to_bytes()
        head = claims.head.head._replace(sequence=commit.sequence, sha256=sha256(body))
        signatures = {}
        if by and signed_by:
            signatures = {signature_name(head, by.fingerprint): signed_by.sign(commit.archive_id, head)}
        claims.make(Forged(commit, {**genuine.files, **signatures}))

    options: dict[str, Any] = {"pin": True, "sign_key": key, "allowed_signers": AllowedSigners(signer.allowed)}
    for by, signed_by, reason in (
        (None, None, "it has no signer"),
        (key, None, "its signature is missing"),
        (key, other, "its signature is not by its signer"),
        (other, other, "its key is not allowed"),
    ):
        claim(by, signed_by)
        with pytest.raises(ArchiveDamaged, match=f"was not copied to .*{reason}"):
            world.collect(claims.store, **options)
        assert claims.is_unchanged
    with pytest.raises(ArchiveDamaged, match="a key that is not known here"):
        world.collect(claims.store, pin=True, sign_key=key)
    both = AllowedSigners(allowing(tmp_path / "both", signer, stranger))
    assert world.collect(claims.store, pin=True, sign_key=key, allowed_signers=both).added == 1
    assert errors(world, store=claims.store, signers=both) == []


def test_a_first_commit_that_somebody_claimed_is_checked(buckets: Buckets, world: World, tmp_path: Path) -> None:
    key = SigningKey(Signer(tmp_path, "log1").key)
    world.append(2)
    world.collect()
    first = world.head.commit
    data = {file.path: (world.path / file.path).read_bytes() for file in first.files}
    too_much = replace(first, covered_from=first.covered_from - timedelta(days=9))

    def claimed(forged: Forged) -> S3Store:
        place, claims = buckets.new_location(), buckets.new_location()
        S3Store(claims).put_if_absent(forged.commit.name, forged.commit.to_bytes())
        found = S3Store(f"{place}?claims={claims}")
        found.put({"pending/000000000001-killed.json": b"{}", **forged.files})
        return found

    with pytest.raises(ArchiveDamaged, match="covers time that the provider had already deleted"):
        world.collect(claimed(Forged(too_much, data)))
    with pytest.raises(ArchiveDamaged, match="it is not signed, and this run has a key"):
        world.collect(claimed(Forged(first, data)), sign_key=key)
    store = claimed(Forged(first, data))
    world.collect(store)
    assert world.archived(store) == world.logged()


def test_signatures_are_in_the_locked_bucket_before_the_claim(
    buckets: Buckets, proxy: FaultyProxy, world: World, tmp_path: Path
) -> None:
    """The next run can therefore check the claim of a run that was killed directly after it."""
    signer = Signer(tmp_path, "log1")
    place, claims = buckets.new_location("locked"), buckets.new_location()
    store = S3Store(f"{place}?claims={claims}&lock_days=1")
    world.append(2)
    world.collect(store, sign_key=SigningKey(signer.key))
    world.append(2, ago=30)
    del proxy.requests[:]
    proxy.script(Fault("reset_before", path=f"{place[4:]}/commits/000000000002.json"))
    with pytest.raises(StorageError):
        world.collect(store, sign_key=SigningKey(signer.key))
    puts = [request for request in proxy.requests if request.startswith("PUT") and "000000000001" not in request]
    assert [part for request in puts for part in ("/entries/", "/signatures/", "/commits/") if part in request] == [
        "/entries/",
        "/signatures/",
        "/commits/",
        "/commits/",
    ]
    assert f"{claims[4:]}/commits/" in puts[-2]
    signatures = sorted(name for name in buckets.objects(place) if name.startswith("signatures/"))
    key = f"{place[12:]}/{signatures[-1]}"
    assert buckets.client().head_object(Bucket="locked", Key=key)["ObjectLockMode"] == "GOVERNANCE"
    world.append(1, ago=20)
    assert world.collect(store, sign_key=SigningKey(signer.key)).added == 1
    assert world.verify(store, signers=AllowedSigners(signer.allowed)) == []
    assert world.archived(store) == world.logged()
