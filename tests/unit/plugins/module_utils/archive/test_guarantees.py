# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables of attacks in the auditors' guide: each row is executed, and each cell is its result."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit, replay
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    AllowedSigners,
    SigningKey,
    signature_name,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import Commit, sha256
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reconciler import reconcile
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import AuditError
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.corpus import (
    Forged,
    append,
    entries,
    errors,
    fill,
    heartbeat,
    prune_commit,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.forgery import (
    commit_path,
    forge,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer, allowing
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import MemoryStore, World

GUIDE = Path(version.__file__).parents[2] / "docs/docsite/rst/archive_auditors_guide.rst"
NOT_NOTICED = "\u2013"
UNSIGNED, SIGNED, WITH_A_KEY = range(3)


def table(number: int) -> dict[str, dict[str, str]]:
    """Return the cells of one of the guide's tables of attacks, by row and column."""
    lines = GUIDE.read_text().split("\nSee which attacks are detected\n")[1].split("\nRun the checks of an audit\n")[0]
    heading, *rows = re.findall(r"^   \* - (.*(?:\n {5}.*)*)", lines.split(".. list-table::")[number + 1], re.MULTILINE)
    columns = [re.sub(r"\s+", " ", cell).replace("``", "").strip() for cell in re.split(r"\n {5}- ", heading)]
    found = {}
    for row in rows:
        name, *cells = [re.sub(r"\s+", " ", cell).strip() for cell in re.split(r"\n {5}- ", row)]
        found[name] = dict(zip(columns[1:], cells))
    return found


class Scene(NamedTuple):
    """An archive, and the key of the host that collects into it, if it is signed."""

    world: World
    key: SigningKey | None = None
    signers: AllowedSigners | None = None
    stolen: SigningKey | None = None

    @property
    def sign(self) -> dict[str, Any]:
        return {"sign_key": self.key, "allowed_signers": self.signers} if self.key else {}


def newest_file(scene: Scene) -> Path:
    return scene.world.path / max(replay(scene.world.store, scene.world.head).live)


def damage_file(scene: Scene) -> None:
    path = newest_file(scene)
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def edit_commit(scene: Scene) -> None:
    path = commit_path(scene.world, 3)
    path.write_bytes(replace(Commit.parse(path.read_bytes()), run="forged").to_bytes())


def rewrite_unsigned(scene: Scene) -> None:
    for number in scene.world.store.list_commits():
        forge(scene.world, number, signer=None)
    for path in (scene.world.path / "signatures").iterdir():
        path.unlink()


def cut(scene: Scene) -> None:
    number = scene.world.head.commit.sequence
    for path in [*scene.world.path.glob(f"*/{number:012d}*"), *scene.world.path.glob(f"entries/*/{number:012d}*")]:
        path.unlink()


def cut_two_but_no_signature(scene: Scene) -> None:
    for _commit in range(2):
        commit_path(scene.world, scene.world.head.commit.sequence).unlink()


def append_invalid_commit(scene: Scene) -> None:
    made = heartbeat(scene.world)
    append(scene.world, made._replace(commit=replace(made.commit, total_entries=0)))


def add_file(scene: Scene) -> None:
    (newest_file(scene).parent / "000000000003-0123456789ab.jsonl.gz").write_bytes(b"forged")


def signatures(scene: Scene) -> list[Path]:
    return sorted((scene.world.path / "signatures").iterdir())


def append_signed(scene: Scene, made: Forged, signer: SigningKey | None = None) -> None:
    """Append a commit that names a key as its signer, and sign it with the stolen key."""
    key = scene.stolen
    assert key is not None
    commit = replace(made.commit, signer=(signer or key).fingerprint)
    body = commit.to_bytes()
    head = scene.world.head.head._replace(sequence=commit.sequence, sha256=sha256(body))
    name = signature_name(head, commit.signer or "")
    append(scene.world, Forged(commit, {**made.files, name: key.sign(commit.archive_id, head)}))


def skip_entries(scene: Scene) -> None:
    elsewhere = MemoryStore()
    scene.world.collect(elsewhere)
    later = load_commit(elsewhere, elsewhere.list_commits()[-1]).commit.cursor_after
    made = heartbeat(scene.world)
    append_signed(scene, made._replace(commit=replace(made.commit, cursor_after=later)))


def rewrite_own(scene: Scene) -> None:
    """Replace the newest commit, made by the owner of the stolen key, with one without entries."""
    world = scene.world
    newest = world.head.commit
    cut(scene)
    made = heartbeat(world)
    kept = {name: getattr(newest, name) for name in ("cursor_after", "covered_until", "asked", "server_date")}
    append_signed(scene, made._replace(commit=replace(made.commit, **kept)))


UNSIGNED_ATTACKS: dict[str, Callable[[Scene], Any]] = {
    "Damage or delete a data file": damage_file,
    "Change, exchange or delete an old commit": edit_commit,
    "Rewrite commits, with all hashes": lambda scene: forge(scene.world, 3, run="forged"),
    "Cut off the end": cut,
    "Append a commit that breaks the rules": append_invalid_commit,
    "Append a commit that keeps the rules, with invented entries": lambda scene: append(
        scene.world, entries(scene.world)
    ),
    "Add a data file that no commit names": add_file,
}
SIGNED_ATTACKS: dict[str, Callable[[Scene], Any]] = {
    **UNSIGNED_ATTACKS,
    "Rewrite everything as if it was never signed": rewrite_unsigned,
    "Cut off the end, but leave the signatures": cut_two_but_no_signature,
    "Delete a signature": lambda scene: signatures(scene)[2].unlink(),
    "Replace the newest signature": lambda scene: signatures(scene)[-1].write_text("forged"),
    "Replace an older signature": lambda scene: signatures(scene)[2].write_text("forged"),
}
KEY_ATTACKS: dict[str, Callable[[Scene], Any]] = {
    "Append invented entries": lambda scene: append_signed(scene, entries(scene.world)),
    "Append a later cursor, which skips entries": skip_entries,
    "Prune early, up to what is covered": lambda scene: append_signed(scene, prune_commit(scene.world)),
    "Rewrite the newest commits, if this key signed them": rewrite_own,
    "Append a commit that breaks the rules": lambda scene: append_signed(
        scene, Forged(replace(heartbeat(scene.world).commit, total_entries=0), {})
    ),
    "Append a commit in another host's name": lambda scene: append_signed(scene, heartbeat(scene.world), scene.key),
}


def is_refused(call: Callable[[], Any]) -> str:
    try:
        call()
    except AuditError:
        return "refused"
    return NOT_NOTICED


def is_found(scene: Scene, **options: Any) -> str:
    return "found" if errors(scene.world, **options) else NOT_NOTICED


def compared(world: World) -> str:
    with Api(world.connection) as api:
        try:
            result = reconcile(world.store, api)
        except AuditError:
            return "refused"
    return "found" if any(not finding.is_warning for finding in result.findings) else NOT_NOTICED


def observed(scene: Scene, attack: Callable[[Scene], Any], columns: list[str]) -> dict[str, str]:
    """Return the result of each column's command after the attack. Runs come last, because they change the archive."""
    world = scene.world
    noted = world.head.head
    attack(scene)
    ways: dict[str, Callable[[], str]] = {
        "verify": lambda: is_found(scene),
        "verify, allowed signers": lambda: is_found(scene, signers=scene.signers),
        "verify, noted head": lambda: is_found(scene, expected_head=noted),
        "cat, export": lambda: is_refused(lambda: list(cat(world.store))),
        "reconcile": lambda: compared(world),
        "next run, pin": lambda: is_refused(partial(world.collect, pin=True, **scene.sign)),
        "next run": lambda: is_refused(partial(world.collect, **scene.sign)),
    }
    return {name: ways[name]() for name in ways if name in columns}


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (number, name)
        for number, attacks in enumerate((UNSIGNED_ATTACKS, SIGNED_ATTACKS, KEY_ATTACKS))
        for name in attacks
    ],
)
def test_a_row_of_the_tables_is_true(world: World, tmp_path: Path, number: int, name: str) -> None:
    scene = Scene(world)
    if number:
        host, other = Signer(tmp_path, "log1"), Signer(tmp_path, "log2")
        both = AllowedSigners(allowing(tmp_path / "both", host, other))
        scene = Scene(world, SigningKey(host.key), both, SigningKey(other.key))
    fill(world, **scene.sign)
    for key in (scene.key, scene.stolen):
        world.append(1, ago=25)
        world.wait(minutes=1)
        world.collect(pin=True, **{**scene.sign, **({"sign_key": key} if number == WITH_A_KEY else {})})
    world.wait(minutes=2)
    world.append(1, ago=40)
    attack = (UNSIGNED_ATTACKS, SIGNED_ATTACKS, KEY_ATTACKS)[number][name]
    expected = table(number)[name]
    assert observed(scene, attack, list(expected)) == expected


def test_the_tables_have_no_other_rows() -> None:
    for number, attacks in enumerate((UNSIGNED_ATTACKS, SIGNED_ATTACKS, KEY_ATTACKS)):
        assert sorted(table(number)) == sorted(attacks)


def test_every_signature_shows_a_replaced_one(world: World, tmp_path: Path) -> None:
    from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify_archive

    key = SigningKey(Signer(tmp_path, "log1").key)
    for _run in range(3):
        world.append(1, ago=30)
        world.collect(sign_key=key)
        world.wait(minutes=1)
    signatures(Scene(world))[1].write_text("forged")
    found = verify_archive(world.store, every_signature=True, now=world.clock.now + timedelta(minutes=1)).findings
    assert [finding.type for finding in found] == ["signature_bad"]
