# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures of commits, and which of them a run trusts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain import signing
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.pin import DefaultPin
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    NAMESPACE,
    AllowedSigners,
    SigningKey,
    signature_name,
    signatures,
    signed_text,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify_archive
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged, InvalidInput
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer, allowing
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import MemoryStore, World


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path, "log1")


@pytest.fixture
def archive(world: World, signer: Signer) -> World:
    """Three signed commits."""
    for _run in range(3):
        world.append(2, ago=30)
        world.wait(minutes=1)
        world.collect(sign_key=SigningKey(signer.key))
    return world


def findings(world: World, allowed: str | None, **options: Any) -> list[tuple[str, bool]]:
    signers = AllowedSigners(allowed) if allowed else None
    result = verify_archive(world.store, signers=signers, now=world.clock.now, **options)
    return [(finding.type, finding.is_warning) for finding in result.findings]


def test_every_commit_is_signed_before_it_exists(archive: World, signer: Signer) -> None:
    key = SigningKey(signer.key)
    names = {signature_name(load_commit(archive.store, number).head, key.fingerprint) for number in (1, 2, 3)}
    assert set(archive.store.list_files("signatures")) == names
    assert {commit["signer"] for commit in archive.commits()} == {key.fingerprint}
    found = verify_archive(
        archive.store, signers=AllowedSigners(signer.allowed), every_signature=True, now=archive.clock.now
    )
    assert found == ([], 1, 3, None)
    assert findings(archive, None) == []


def test_the_fingerprint_equals_that_of_ssh_keygen(signer: Signer) -> None:
    printed = subprocess.run(["ssh-keygen", "-l", "-f", signer.key], capture_output=True, text=True, check=True).stdout
    assert printed.split()[1] == SigningKey(signer.key).fingerprint == SigningKey(f"{signer.key}.pub").fingerprint


def test_ssh_keygen_alone_checks_a_signature_without_its_commit(archive: World, signer: Signer) -> None:
    head = archive.head.head
    name = signature_name(head, SigningKey(signer.key).fingerprint)
    command = ["ssh-keygen", "-Y", "verify", "-f", signer.allowed, "-I", "log1@example.com", "-n", NAMESPACE]
    line = f"head {archive.head.commit.archive_id} {head.sequence} {head.sha256}\n".encode()
    for text, good in ((line, True), (line + b"x", False)):
        done = subprocess.run([*command, "-s", name], cwd=archive.path, input=text, check=False, timeout=60)
        assert (done.returncode == 0) is good


def test_a_run_without_a_key_refuses_a_signed_archive(archive: World) -> None:
    before = archive.files()
    with pytest.raises(InvalidInput, match="is signed, and this run has no key"):
        archive.collect()
    assert archive.files() == before


def test_an_unsigned_archive_can_be_signed_from_a_named_head(world: World, signer: Signer) -> None:
    key = SigningKey(signer.key)
    world.append(2)
    world.collect()
    world.append(2, ago=30)
    head = world.head.head
    with pytest.raises(InvalidInput, match=f"is not signed. .* sign_from 1:{head.sha256}"):
        world.collect(sign_key=key)
    with pytest.raises(InvalidInput, match="is not signed"):
        world.collect(sign_key=key, sign_from=head._replace(sha256="0" * 64))
    world.collect(sign_key=key, sign_from=head)
    assert [commit["signer"] for commit in world.commits()] == [None, key.fingerprint]
    assert findings(world, signer.allowed) == []
    assert findings(world, signer.allowed, signed_from=1) == [("signature_absent", False)]
    assert findings(world, signer.allowed, signed_from=2) == []


def test_an_unsigned_archive_can_be_signed_from_a_pinned_head(world: World, signer: Signer) -> None:
    world.append(2)
    world.collect(pin=True)
    world.append(2, ago=30)
    world.collect(pin=True, sign_key=SigningKey(signer.key))
    assert findings(world, signer.allowed, signed_from=2) == []


def test_an_archive_with_findings_is_not_signed(world: World, signer: Signer) -> None:
    world.append(2)
    world.collect()
    next((world.path / "entries").rglob("*.gz")).unlink()
    with pytest.raises(ArchiveDamaged, match="it has findings; the first is missing in entries/"):
        world.collect(sign_key=SigningKey(signer.key), sign_from=world.head.head)


def test_two_hosts_sign_one_archive(archive: World, signer: Signer, tmp_path: Path) -> None:
    other = Signer(tmp_path, "log2")
    both = allowing(tmp_path / "both", signer, other)
    archive.append(1)
    with pytest.raises(InvalidInput, match="neither this run's key nor an allowed signer"):
        archive.collect(sign_key=SigningKey(other.key))
    with pytest.raises(InvalidInput, match="neither this run's key nor an allowed signer"):
        archive.collect(sign_key=SigningKey(other.key), allowed_signers=AllowedSigners(other.allowed))
    with pytest.raises(InvalidInput, match="The signature of this run is not allowed"):
        archive.collect(sign_key=SigningKey(other.key), allowed_signers=AllowedSigners(signer.allowed))
    for host in (other, signer, other):
        archive.append(1, ago=20)
        archive.collect(sign_key=SigningKey(host.key), allowed_signers=AllowedSigners(both))
    assert findings(archive, both, every_signature=True) == []
    assert findings(archive, signer.allowed) == [("signature_bad", False)]
    archive.append(1, ago=10)
    with pytest.raises(ArchiveDamaged, match="a key that is not known here"):
        archive.collect(sign_key=SigningKey(signer.key))


def test_an_expected_head_does_not_let_a_new_key_sign(archive: World, tmp_path: Path) -> None:
    other, head = SigningKey(Signer(tmp_path, "log2").key), archive.head.head
    with pytest.raises(InvalidInput, match="has not signed any commit of"):
        archive.collect(sign_key=other, expected_head=head)
    assert archive.head.head == head


def test_signatures_of_an_expired_key_remain_valid(archive: World, signer: Signer, tmp_path: Path) -> None:
    new = Signer(tmp_path, "new")
    closing = archive.clock.now + timedelta(hours=1)
    both = allowing(tmp_path / "both", new) + ""
    closed = f'valid-before="{closing:%Y%m%d%H%M%S}"'
    # The same key has two lines: one that does not match must not reject it.
    lines = [signer.line('valid-before="20200101"'), signer.line(closed)]
    Path(both).write_text(Path(both).read_text() + "".join(lines))
    archive.wait(hours=2)
    archive.append(1)
    with pytest.raises(InvalidInput, match="The signature of this run is not allowed"):
        archive.collect(sign_key=SigningKey(signer.key), allowed_signers=AllowedSigners(both))
    archive.collect(sign_key=SigningKey(new.key), allowed_signers=AllowedSigners(both))
    assert findings(archive, both, every_signature=True) == []


def test_commits_of_compact_and_prune_are_signed(world: World, signer: Signer) -> None:
    key = SigningKey(signer.key)
    world.clock.now -= timedelta(days=2)
    for wait in (23, 1, 23, 1, 1):
        world.append(3, ago=30)
        world.collect(sign_key=key)
        world.wait(hours=wait)
    for job, before in ((prune, [world.clock.ago(days=1)]), (compact, [])):
        with pytest.raises(InvalidInput, match="has no key"):
            job(world.store, *before, context=world.context())  # type: ignore[operator]
        assert job(world.store, *before, context=world.context(sign_key=key)).commits  # type: ignore[operator]
    assert findings(world, signer.allowed, every_signature=True) == []
    assert world.archived()


def test_readers_check_the_signature_of_the_head(archive: World) -> None:
    newest = max((archive.path / "signatures").iterdir())
    body = newest.read_bytes()
    newest.unlink()
    with pytest.raises(ArchiveDamaged, match="its signature is missing"):
        list(cat(archive.store))
    newest.write_bytes(min((archive.path / "signatures").iterdir()).read_bytes())
    with pytest.raises(ArchiveDamaged, match="its signature is not by its signer"):
        list(cat(archive.store))
    newest.write_bytes(body)
    assert len(list(cat(archive.store))) == 6


@pytest.mark.parametrize("every", [False, True])
def test_signed_up_to_counts_only_checked_signatures(archive: World, signer: Signer, every: bool) -> None:
    oldest, _middle, newest = sorted((archive.path / "signatures").iterdir())
    good = newest.read_bytes()
    options: Any = {"signers": AllowedSigners(signer.allowed), "every_signature": every, "now": archive.clock.now}
    newest.write_bytes(oldest.read_bytes())
    assert verify_archive(archive.store, **options).signed_up_to == (2 if every else None)
    newest.unlink()
    assert verify_archive(archive.store, **options).signed_up_to == (2 if every else None)
    newest.write_bytes(good)
    assert verify_archive(archive.store, **options).signed_up_to == 3


def test_signatures_without_a_commit(archive: World, signer: Signer, tmp_path: Path) -> None:
    key, head = SigningKey(signer.key), archive.head
    commit, directory = head.commit, archive.path / "signatures"

    def write_signature(sequence: int, by: SigningKey = key, archive_id: str = commit.archive_id) -> Path:
        lost = head.head._replace(sequence=sequence, sha256="0" * 64)
        path = archive.path / signature_name(lost, by.fingerprint)
        path.write_bytes(by.sign(archive_id, lost))
        return path

    # From lost races and from a killed run.
    leftovers = [write_signature(2), write_signature(3), write_signature(4), write_signature(1, archive_id="killed")]
    assert findings(archive, signer.allowed) == []
    archive.append(1)
    archive.collect(sign_key=key)
    assert findings(archive, signer.allowed) == []
    assert all(path.exists() for path in leftovers)
    # A genuine signature further ahead shows that the archive was truncated.
    ahead = write_signature(6)
    assert findings(archive, signer.allowed) == findings(archive, None) == [("signature_ahead", False)]
    ahead.unlink()
    junk = [write_signature(3, SigningKey(Signer(tmp_path, "stranger").key)), directory / "note.txt"]
    junk[1].write_text("x")
    (directory / "large").write_bytes(bytes(1 << 20))
    assert set(findings(archive, signer.allowed)) == {("signature_extra", True)}


@pytest.mark.parametrize("sequence", [2, 3, 9])
def test_a_truncation_is_found_among_many_signatures(archive: World, signer: Signer, sequence: int) -> None:
    head, fingerprint = archive.head.head, SigningKey(signer.key).fingerprint
    for number in range(150):
        junk = signature_name(head._replace(sequence=sequence, sha256=f"{number:064x}"), fingerprint)
        (archive.path / junk).write_text("junk")
    for path in [*archive.path.glob("commits/*00[23].json"), *archive.path.glob("entries/*/0000000000*[23]-*")]:
        path.unlink()
    assert ("signature_ahead", False) in findings(archive, signer.allowed)


def test_a_truncation_that_left_the_signatures_is_found(archive: World, signer: Signer) -> None:
    for number in (2, 3):
        (archive.path / f"commits/{number:012d}.json").unlink()
        next((archive.path / "entries").rglob(f"{number:012d}-*")).unlink()
    assert ("signature_ahead", False) in findings(archive, signer.allowed)


def test_a_commit_signed_during_a_verification_leads_to_no_finding(archive: World, signer: Signer) -> None:
    class Growing(LocalStore):
        def list_files(self, directory: str, after: str = "") -> Iterator[str]:
            found = list(super().list_files(directory, after))
            if directory == "signatures":
                archive.append(1)
                archive.collect(sign_key=SigningKey(signer.key))
            return iter(found)

    found = verify_archive(Growing(str(archive.path)), signers=AllowedSigners(signer.allowed), now=archive.clock.now)
    assert (found.findings, found.signed_up_to) == ([], 4)


def test_an_unsigned_archive_with_allowed_signers_is_an_error(world: World, signer: Signer) -> None:
    world.collect()
    assert findings(world, signer.allowed) == [("signature_absent", False)]
    assert findings(world, None) == []
    assert findings(world, None, signed_from=1) == [("signature_absent", False)]


def test_a_signature_for_another_purpose_is_bad(archive: World, signer: Signer) -> None:
    head = archive.head
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", signer.key, "-n", "git"]
    text = signed_text(head.commit.archive_id, head.head)
    stray = subprocess.run(command, input=text, capture_output=True, check=True, timeout=60).stdout
    archive.store.put({signature_name(head.head, head.commit.signer or ""): stray})
    assert findings(archive, signer.allowed) == [("signature_bad", False)]


def test_signatures_work_in_any_store(world: World, signer: Signer) -> None:
    store = MemoryStore()
    world.append(2)
    world.collect(store, sign_key=SigningKey(signer.key))
    assert world.verify(store, signers=AllowedSigners(signer.allowed)) == []
    assert len(signatures(store)) == 1


def test_an_unusable_key_is_reported_before_anything_is_read(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = Signer(tmp_path, "locked", passphrase="a long passphrase")
    (tmp_path / "text").write_text("no key")
    for key in (locked.key, str(tmp_path / "text")):
        with pytest.raises(InvalidInput, match=r"The key .* cannot sign: \w"):
            SigningKey(key)
    (tmp_path / "touch.pub").write_text("sk-ssh-ed25519@openssh.com AAAA x")
    with pytest.raises(InvalidInput, match="needs a touch"):
        SigningKey(str(tmp_path / "touch.pub"))
    for call in (SigningKey, AllowedSigners):
        with pytest.raises(InvalidInput, match="cannot be read"):
            call(str(tmp_path / "nowhere"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for call in (SigningKey, AllowedSigners):
        with pytest.raises(InvalidInput, match="ssh-keygen is missing"):
            call(locked.key)
    with pytest.raises(InvalidInput):
        world.collect(sign_key=SigningKey(f"{locked.key}.pub"))
    assert not world.path.exists() or not world.store.list_commits()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("kill -9 $$", "it was killed by signal 9"),
        ("exec sleep 60", "it does not end"),
        (None, "Exec format error"),
    ],
)
def test_a_failing_ssh_keygen_is_not_reported_as_a_bad_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, why: str
) -> None:
    program = tmp_path / "bin/ssh-keygen"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n" if script else "\x00")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(signing.SSH_KEYGEN, "timeout", 0.2)
    with pytest.raises(InvalidInput, match=f"ssh-keygen does not work on this host: {why}"):
        signing.signer_fingerprint(b"", b"")


def test_long_output_of_ssh_keygen_does_not_block(
    archive: World, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin/ssh-keygen"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nhead -c 300000 /dev/zero >&2\nhead -c 300000 /dev/zero\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(ArchiveDamaged, match="its signature is not by its signer"):
        list(cat(archive.store))


def test_a_default_pin_belongs_to_one_path(
    archive: World, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    warnings: list[str] = []
    pin = DefaultPin(str(archive.store), warnings.append)
    assert pin.read() is None
    pin.write(archive.head)
    assert pin.read() == archive.head.head
    (file,) = (tmp_path / "state/cloudscale-audit").iterdir()
    other = DefaultPin("/srv/other", warnings.append)
    file.rename(Path(other._path).parent)
    assert other.read() is None
    (tmp_path / "state/cloudscale-audit").rename(tmp_path / "gone")
    (tmp_path / "state/cloudscale-audit").write_text("a file")
    pin.write(archive.head)
    assert "cannot be pinned" in warnings[0]
