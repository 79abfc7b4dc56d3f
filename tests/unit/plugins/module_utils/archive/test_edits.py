# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both verifiers find every edit of a signed archive, given allowed signers and a head noted before."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import live_files
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    AllowedSigners,
    SigningKey,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import Head, sha256
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Clock
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.both import (
    Verdicts,
    cache_signature_checks,
    verdicts,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.examples import examples
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer, allowing
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World
from hypothesis import given
from hypothesis import strategies as st

KINDS = ("commits", "entries", "signatures")
Draw = Callable[..., Any]


class Signed(NamedTuple):
    """A signed archive that is not changed, a copy to edit, and the head noted elsewhere."""

    path: Path
    copy: Path
    now: datetime
    head: Head
    allowed: str
    names: dict[str, list[str]]

    @property
    def verdicts(self) -> Verdicts:
        return verdicts(self.copy, self.now, self.head, self.allowed)


@pytest.fixture
def signed(server: Simulator, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signed:
    """Entries of four days, collected by two hosts in turn, the oldest pruned and one compacted."""
    world = World(server, clock, tmp_path)
    hosts = [Signer(tmp_path, name) for name in ("log1", "log2")]
    allowed = allowing(tmp_path / "allowed", *hosts)
    runs = [{"sign_key": SigningKey(host.key), "allowed_signers": AllowedSigners(allowed)} for host in hosts]
    world.clock.now -= timedelta(days=3)
    for day in range(4):
        for run in runs:
            world.append(2, ago=30)
            world.collect(**run)
            world.wait(hours=1)
        world.wait(hours=22 if day < 3 else 0)
    prune(world.store, world.clock.ago(days=2), world.context(**runs[0]))
    compact(world.store, world.clock.ago(days=1), world.context(**runs[1]))
    world.append(1, ago=20)
    world.collect(**runs[0])
    live = sorted(live_files(world.store, world.head))
    names = {kind: [name for name in world.files() if name.startswith(kind)] for kind in KINDS}
    shutil.copytree(world.path, tmp_path / "copy")
    cache_signature_checks(monkeypatch)
    return Signed(world.path, tmp_path / "copy", world.clock.now, world.head.head, allowed, {**names, "entries": live})


def is_same_signature(body: bytes, edited: bytes) -> bool:
    """Return whether only the armor differs: spaces, line breaks, and bits that base64 does not use."""
    begin, end = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"

    def blob(text: bytes) -> bytes:
        return base64.b64decode(b"".join(text.partition(begin)[2].partition(end)[0].split()), validate=True)

    try:
        return begin in edited and end in edited and blob(body) == blob(edited)
    except ValueError:
        return False


def edit_bytes(signed: Signed, draw: Draw) -> bool:
    """Flip, cut or insert a byte; return False if the edit changes nothing that matters."""
    kind = draw(st.sampled_from(KINDS))
    path = signed.copy / draw(st.sampled_from(signed.names[kind]))
    body = path.read_bytes()
    place, bits = draw(st.integers(0, len(body) - 1)), bytes([draw(st.integers(1, 255))])
    edited = {
        "flip": body[:place] + bytes([body[place] ^ bits[0]]) + body[place + 1 :],
        "cut": body[:place],
        "insert": body[:place] + bits + body[place:],
        "append": body + bits,
    }[draw(st.sampled_from(["flip", "cut", "insert", "append"]))]
    path.write_bytes(edited)
    return kind != "signatures" or not is_same_signature(body, edited)


def drop(signed: Signed, draw: Draw) -> bool:
    (signed.copy / draw(st.sampled_from(signed.names[draw(st.sampled_from(KINDS))]))).unlink()
    return True


def exchange(signed: Signed, draw: Draw) -> bool:
    """Exchange two files of a kind, or replace one with the other."""
    names = signed.names[draw(st.sampled_from(KINDS))]
    one, other = (signed.copy / name for name in draw(st.permutations(names))[:2])
    body = one.read_bytes()
    one.write_bytes(other.read_bytes())
    if draw(st.booleans()):
        other.write_bytes(body)
    return True


def rewrite(signed: Signed, draw: Draw) -> bool:
    """Change a commit and recompute the hashes in all later ones."""
    sequence = draw(st.integers(1, signed.head.sequence))
    path = signed.copy / f"commits/{sequence:012d}.json"
    commit = json.loads(path.read_bytes())
    key, value = draw(
        st.sampled_from(
            [
                ("run", "forged"),
                ("api", "https://elsewhere.example/v1"),
                ("cursor_after", "cursor=1"),
                ("collector", {"version": "9", "host": "elsewhere"}),
                ("signer", None),
                ("files", []),
                ("total_entries", 1),
            ]
        )
    )
    store(path, {**commit, key: value})
    for later in range(sequence + 1, signed.head.sequence + 1):
        previous, path = sha256(path.read_bytes()), signed.copy / f"commits/{later:012d}.json"
        store(path, {**json.loads(path.read_bytes()), "previous": previous})
    return bool(commit[key] != value)


def append_commit(signed: Signed, draw: Draw) -> bool:
    """A commit that follows all rules, without a genuine signature, or the bytes of an older one."""
    sequence, head = signed.head.sequence + 1, signed.copy / f"commits/{signed.head.sequence:012d}.json"
    path = signed.copy / f"commits/{sequence:012d}.json"
    if draw(st.booleans()):
        path.write_bytes((signed.copy / draw(st.sampled_from(signed.names["commits"]))).read_bytes())
        return True
    before = json.loads(head.read_bytes())
    changes = {"sequence": sequence, "kind": "heartbeat", "run": "forged", "previous": signed.head.sha256}
    changes |= {"cursor_before": before["cursor_after"], "files": [], "entries": 0}
    signer = draw(st.sampled_from([None, before["signer"]]))
    store(path, {**before, **changes, "signer": signer})
    if draw(st.booleans()):
        genuine = signed.copy / draw(st.sampled_from(signed.names["signatures"]))
        name = f"signatures/{sequence:012d}-{sha256(path.read_bytes())}-{genuine.stem[-8:]}.sig"
        (signed.copy / name).write_bytes(genuine.read_bytes())
    return True


def plant(signed: Signed, draw: Draw) -> bool:
    """A data file with an entry that the archive does not have, named as one of an older commit."""
    name = draw(st.sampled_from(signed.names["entries"]))
    moment = name.split("/")[1].partition("=")[2]
    body = gzip.compress(f'{{"message":"planted","timestamp":"{moment}T12:00:00Z"}}\n'.encode(), mtime=0)
    sequence = draw(st.integers(1, signed.head.sequence))
    path = (signed.copy / name).parent / f"{sequence:012d}-{sha256(body)[:12]}.jsonl.gz"
    path.write_bytes(body)
    return True


def store(path: Path, commit: dict[str, Any]) -> None:
    path.write_bytes(json.dumps(commit, separators=(",", ":")).encode() + b"\n")


EDITS = [edit_bytes, edit_bytes, edit_bytes, drop, exchange, rewrite, append_commit, plant]


def test_every_edit_of_a_signed_archive_is_found_by_both_verifiers(signed: Signed) -> None:
    @given(data=st.data())
    @examples(60)
    def check(data: st.DataObject) -> None:
        shutil.rmtree(signed.copy, ignore_errors=True)
        shutil.copytree(signed.path, signed.copy)
        edit = data.draw(st.sampled_from(EDITS))
        if edit(signed, data.draw):
            assert signed.verdicts.both_found

    assert signed.verdicts == (set(), set())
    check()
