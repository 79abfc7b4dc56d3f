# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures, made and checked by the real ssh-keygen."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    NAMESPACE,
    AllowedSigners,
    check_key,
    sign,
    signatures,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged, InvalidInput
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import MemoryStore, World


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path, "log1")


@pytest.fixture
def archive(world: World, signer: Signer) -> World:
    """Two commits, the newer one signed."""
    for _run in range(2):
        world.append(2, ago=30)
        world.wait(minutes=1)
        world.collect()
    sign(world.store, world.head.head, signer.key)
    return world


def told(world: World, signer: Signer) -> list[tuple[str, bool]]:
    findings = world.verify(signers=AllowedSigners(signer.allowed))
    return [(finding.type, finding.is_warning) for finding in findings]


def test_the_head_is_signed(archive: World, signer: Signer) -> None:
    assert told(archive, signer) == []
    archive.append(1)
    archive.collect()
    assert told(archive, signer) == [("signed_up_to", True)]
    sign(archive.store, archive.head.head, signer.key)
    assert told(archive, signer) == []
    assert [signature.sequence for signature in signatures(archive.store)] == [3, 2]
    assert archive.verify() == []


def test_ssh_keygen_alone_checks_it(archive: World, signer: Signer) -> None:
    (name,) = archive.store.names("signatures")
    command = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        signer.allowed,
        "-I",
        "log1@example.com",
        "-n",
        NAMESPACE,
        "-s",
        name,
    ]
    commit = (archive.path / archive.head.commit.name).read_bytes()
    assert subprocess.run(command, cwd=archive.path, input=commit, check=False, timeout=60).returncode == 0
    assert subprocess.run(command, cwd=archive.path, input=b"x", check=False, timeout=60).returncode != 0


def test_two_hosts_may_sign_the_same_commit(archive: World, signer: Signer, tmp_path: Path) -> None:
    other = Signer(tmp_path, "log2")
    sign(archive.store, archive.head.head, other.key)
    assert len(list(archive.store.names("signatures"))) == 2
    sign(archive.store, archive.head.head, other.key)
    assert len(list(archive.store.names("signatures"))) == 2
    Path(signer.allowed).write_text(Path(signer.allowed).read_text() + Path(other.allowed).read_text())
    assert told(archive, signer) == []


def test_a_signature_of_a_stranger_is_bad(archive: World, tmp_path: Path) -> None:
    assert told(archive, Signer(tmp_path, "stranger")) == [("signature_bad", False), ("signature_absent", False)]


def test_a_signature_for_another_purpose_is_bad(world: World, signer: Signer) -> None:
    world.collect()
    commit = (world.path / world.head.commit.name).read_bytes()
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", signer.key, "-n", "git"]
    stray = subprocess.run(command, input=commit, capture_output=True, check=True, timeout=60).stdout
    world.store.put({"signatures/000000000001-000000000000.sig": stray})
    assert told(world, signer) == [("signature_bad", False), ("signature_absent", False)]


def test_a_signature_of_another_commit_or_none_is_bad(archive: World, signer: Signer) -> None:
    (name,) = archive.store.names("signatures")
    body = (archive.path / name).read_bytes()
    for sequence, other in ((1, body), (2, b"none"), (9, body)):
        archive.store.remove(archive.store.names("signatures"))
        archive.store.put({f"signatures/{sequence:012d}-000000000000.sig": other})
        assert told(archive, signer) == [("signature_bad", False), ("signature_absent", False)]


def test_where_nothing_is_signed(world: World, signer: Signer) -> None:
    world.collect()
    assert told(world, signer) == [("signature_absent", False)]


def test_any_store_will_do(world: World, signer: Signer) -> None:
    store = MemoryStore()
    status = world.collect(store)
    assert status.head is not None
    sign(store, status.head, signer.key)
    assert world.verify(store, signers=AllowedSigners(signer.allowed)) == []


def test_a_commit_that_was_exchanged_is_not_signed(archive: World, signer: Signer) -> None:
    with pytest.raises(ArchiveDamaged, match="not the one that was written"):
        sign(archive.store, archive.head.head._replace(sha256="0" * 64), signer.key)


def test_what_cannot_sign_says_so(archive: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = Signer(tmp_path, "locked", passphrase="a long passphrase")
    (tmp_path / "text").write_text("no key")
    for key in (locked.key, str(tmp_path / "text")):
        with pytest.raises(InvalidInput, match=r"Commit 2 in .* is not signed, for the key .* cannot sign: \w"):
            sign(archive.store, archive.head.head, key)
    with pytest.raises(InvalidInput, match="cannot be read"):
        check_key(str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInput, match="cannot be read"):
        AllowedSigners(str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for call in (check_key, AllowedSigners):
        with pytest.raises(InvalidInput, match="ssh-keygen is missing"):
            call(locked.key)
