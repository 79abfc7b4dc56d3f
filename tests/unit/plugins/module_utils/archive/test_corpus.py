# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Appended commits with valid hashes that no collector could have made.

Each commit is one that a collector could make next, except for one lie. ``verify`` must find it; a pinned collector,
``prune`` and ``cat`` must refuse it and change nothing. In a signed archive, even a commit without a lie is refused,
because it has no signature.
"""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.rules import resync_start
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    AllowedSigners,
    SigningKey,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import (
    Commit,
    Resync,
    sha256,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged, AuditError
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.corpus import (
    CASES,
    LEGITIMATE,
    LIES,
    Forged,
    after,
    append,
    errors,
    fill,
    stored,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World


@pytest.fixture
def archive(world: World) -> World:
    fill(world)
    assert world.verify() == []
    return world


@pytest.mark.parametrize("kind", LEGITIMATE)
def test_what_a_collector_could_make_is_accepted(archive: World, kind: str) -> None:
    """Each forged commit differs from an accepted one only in its lie."""
    append(archive, LEGITIMATE[kind](archive))
    assert errors(archive) == []
    archive.append(1, ago=20)
    assert archive.collect(pin=True).added == 1
    assert errors(archive) == []


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind}: {name}" for kind, name in CASES])
def test_a_false_statement_is_found_and_no_commit_follows_it(archive: World, kind: str, name: str) -> None:
    noted = archive.head.head
    forged = LEGITIMATE[kind](archive)
    forged = forged._replace(commit=replace(forged.commit, **LIES[kind][name](forged.commit, archive)))
    append(archive, forged)
    assert errors(archive)
    assert errors(archive, expected_head=noted)
    before = archive.files()
    archive.append(1, ago=20)
    if name in ONLY_IN_FILES:
        return
    with pytest.raises(AuditError):
        archive.collect(pin=True)
    with pytest.raises(AuditError):
        prune(archive.store, archive.clock.ago(days=1), archive.context(pin=archive.pin))
    assert archive.files() == before
    if name not in UNSEEN_BY_READERS:
        with pytest.raises(ArchiveDamaged):
            list(cat(archive.store))


# Lies that only a clock shows, or only the bytes of data files, which a collector does not read.
UNSEEN_BY_READERS = {"made in the future"}
ONLY_IN_FILES = {"more bytes", "other content"}


@pytest.mark.parametrize("kind", LEGITIMATE)
def test_no_commit_can_be_appended_to_a_signed_archive_without_the_key(world: World, tmp_path: Path, kind: str) -> None:
    signer = Signer(tmp_path, "log1")
    key = SigningKey(signer.key)
    fill(world, sign_key=key)
    signers = AllowedSigners(signer.allowed)
    assert errors(world, signers=signers) == []
    for claimed in (None, key.fingerprint, SigningKey(Signer(tmp_path, f"other-{kind}").key).fingerprint):
        forged = LEGITIMATE[kind](world)
        append(world, forged._replace(commit=replace(forged.commit, signer=claimed)))
        assert errors(world)
        assert errors(world, signers=signers)
        before = world.files()
        for options in ({"pin": True}, {}):
            with pytest.raises(AuditError):
                world.collect(sign_key=key, **options)  # type: ignore[arg-type]
        with pytest.raises(AuditError):
            list(cat(world.store))
        assert world.files() == before
        (world.path / forged.commit.name).unlink()
        for path in forged.files:
            (world.path / path).unlink()
    world.append(1, ago=20)
    assert world.collect(pin=True, sign_key=key).added == 1
    assert errors(world, signers=signers) == []


@pytest.mark.parametrize(("accepted", "found"), [(False, ["identity"]), (True, [])])
def test_another_token_must_be_accepted_even_if_the_provider_deleted_all_archived_entries(
    world: World, accepted: bool, found: list[str]
) -> None:
    world.append(2)
    world.collect()
    world.wait(days=100)
    world.collect()
    described = Resync("token", resync_start(world.head.commit), 0, 0, accepted)
    append(world, Forged(after(world, "resync", token_tag="00000000", resync=described), {}))
    assert errors(world) == found


def test_a_file_without_entries_is_found(archive: World) -> None:
    file, files = stored(archive, "0000-00-00", [])
    append(archive, Forged(after(archive, "entries", files=(file,)), files))
    assert errors(archive) == ["chain"]


def test_an_old_commit_and_its_file_edited_together_are_found_by_readers(archive: World) -> None:
    sequence = archive.head.commit.sequence - 3
    path = archive.path / f"commits/{sequence:012d}.json"
    commit = Commit.parse(path.read_bytes())
    while not commit.files:
        sequence -= 1
        path = archive.path / f"commits/{sequence:012d}.json"
        commit = Commit.parse(path.read_bytes())
    (file, *_more) = commit.files
    text = gzip.decompress((archive.path / file.path).read_bytes()).replace(b"has been created", b"has been removed")
    body = gzip.compress(text, mtime=0)
    day = file.path.rpartition("/")[0]
    forged = replace(
        file,
        path=f"{day}/{sequence:012d}-{sha256(body)[:12]}.jsonl.gz",
        sha256=sha256(body),
        bytes=len(body),
        content_sha256=sha256(text),
        content_bytes=len(text),
    )
    (archive.path / forged.path).write_bytes(body)
    path.write_bytes(replace(commit, files=(forged,)).to_bytes())
    with pytest.raises(ArchiveDamaged, match="does not name the previous commit"):
        list(cat(archive.store))
    assert errors(archive)


def test_a_commit_that_is_missing_is_damage_to_readers(archive: World) -> None:
    (archive.path / "commits/000000000003.json").unlink()
    with pytest.raises(ArchiveDamaged, match=r"commits/000000000003.json in .* is missing; verify the archive"):
        list(cat(archive.store))


@pytest.mark.parametrize("plant", ["deep", "pipe", "directory", "sequence 0", "large"])
def test_an_unexpected_object_in_pending_stops_no_run(archive: World, plant: str) -> None:
    """A forged file next to the object must still be found."""
    path = archive.path / "pending/000000000002-forged.json"
    if plant == "deep":
        path.write_bytes(b"[" * 200_000)
    elif plant == "pipe":
        os.mkfifo(path)
    elif plant == "directory":
        path.mkdir()
    elif plant == "large":
        path.write_bytes(bytes(50_000_000))
    else:
        path.with_name("000000000000-forged.json").write_bytes(b'{"format": 1, "files": []}')
    body = gzip.compress(b'{"message":"forged"}\n', mtime=0)
    day = max((archive.path / "entries").iterdir())
    (day / f"000000000001-{sha256(body)[:12]}.jsonl.gz").write_bytes(body)
    assert errors(archive) == ["extra"]
    archive.append(1, ago=20)
    assert archive.collect(pin=True).added == 1
    assert errors(archive) == ["extra"]
