# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attacks by somebody who can write to an archive, and the findings that each one causes.

Each attack is checked by a verifier that only has the archive, and by one with a head noted before the attack.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive import verifier
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.rules import newest_covered
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import Commit, sha256
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.times import parse_timestamp
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.forgery import (
    commit_path,
    data_path,
    forge,
    forge_file,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

HOUR = timedelta(hours=1)
FORGED = gzip.compress(b'{"message":"forged"}\n')


def fill(world: World) -> None:
    """Five commits of three days, of which the oldest is pruned and one compacted, and one commit more."""
    world.clock.now -= timedelta(days=2)
    for wait in (23, 1, 23, 1, 1):
        world.append(3, ago=30)
        world.collect()
        world.wait(hours=wait)
    prune(world.store, world.clock.ago(days=1), context=world.context())
    compact(world.store, context=world.context())
    world.wait(hours=2)
    world.append(2)
    world.collect()
    world.collect()


@pytest.fixture
def archive(world: World) -> World:
    fill(world)
    return world


# Attacks. Commits 2 to 5 contain live entries, 6 prunes, 7 compacts, 8 is the newest.


def write(path: Path, body: bytes) -> None:
    path.write_bytes(body)


def edit(world: World, sequence: int, **changes: Any) -> None:
    """Change a commit and nothing else."""
    path = commit_path(world, sequence)
    path.write_bytes(replace(Commit.parse(path.read_bytes()), **changes).to_bytes())


def rewrite(world: World, sequence: int, old: str, new: str) -> None:
    """Change the text of a commit, so that no collector could have written it."""
    path = commit_path(world, sequence)
    path.write_bytes(re.sub(old.encode(), new.encode(), path.read_bytes(), count=1))


def exchange(one: Path, other: Path) -> None:
    body = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(body)


def link(path: Path) -> None:
    elsewhere = path.parents[3] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def move(world: World) -> None:
    path = data_path(world, 8)
    directory = world.path / "entries/date=2020-01-01"
    directory.mkdir()
    path.rename(directory / path.name)


def add_unlisted_file(world: World, body: bytes) -> None:
    write(data_path(world, 8).parent / f"000000000008-{sha256(body)[:12]}.jsonl.gz", body)


def append_to(path: Path, body: bytes) -> None:
    write(path, path.read_bytes() + body)


def leave_out_an_entry(world: World) -> None:
    """Remove an entry from the newest file, and recompute everything that depends on it."""
    commit = load_commit(world.store, 8).commit
    file = commit.files[0]
    text = gzip.decompress((world.path / file.path).read_bytes())
    kept = text.splitlines(keepends=True)[0]
    moment = json.loads(kept)["timestamp"]
    facts = {
        "content_sha256": sha256(kept),
        "content_bytes": len(kept),
        "entries": 1,
        "last": parse_timestamp(moment),
    }
    forge_file(world, 8, gzip.compress(kept), **facts)
    forge(world, 8, entries=1, total_entries=commit.total_entries - 1)
    before, forged = load_commit(world.store, 7).commit, load_commit(world.store, 8).commit
    forge(world, 8, newest=newest_covered(before, forged.files, forged.covered_until))


def restore_pruned(world: World) -> None:
    path = world.path / load_commit(world.store, 6).commit.removed[0]
    path.parent.mkdir(exist_ok=True)
    write(path, FORGED)


def cut(world: World, *sequences: int) -> None:
    for sequence in sequences:
        commit_path(world, sequence).unlink()
        for path in (world.path / "entries").glob(f"*/{sequence:012d}-*"):
            path.unlink()


def rewrite_history(world: World) -> None:
    """Recompute the chain after a change of an old commit."""
    forge(world, 3, run="forged")


class Attack(NamedTuple):
    """An attack, the findings of a verifier that only has the archive, and the findings of one with a noted head."""

    do: Callable[[World], Any]
    alone: set[str]
    head: set[str] = set()


BREAKS = "commit_edited"

ATTACKS: dict[str, Attack] = {
    "a tail cut off": Attack(lambda world: cut(world, 8), set(), {"head"}),
    "two commits cut off": Attack(lambda world: cut(world, 7, 8), {"missing"}, {"head"}),
    "history rewritten": Attack(rewrite_history, set(), {"head"}),
    "an entry left out, all hashes recomputed": Attack(leave_out_an_entry, set(), {"head"}),
    "a file removed": Attack(lambda world: data_path(world, 8).unlink(), {"missing"}),
    "a file elsewhere": Attack(move, {"moved"}),
    "a file with other bytes": Attack(lambda world: write(data_path(world, 8), FORGED), {"altered"}),
    "two files exchanged": Attack(lambda world: exchange(data_path(world, 8), data_path(world, 5)), {"altered"}),
    "a gzip bomb in a file's place": Attack(
        lambda world: write(data_path(world, 8), gzip.compress(bytes(50_000_000))), {"altered"}
    ),
    "a gzip member appended": Attack(lambda world: append_to(data_path(world, 8), FORGED), {"appended"}),
    "a file that is a link": Attack(lambda world: link(data_path(world, 8)), {"unreadable"}),
    "a file that is a pipe": Attack(
        lambda world: (
            data_path(world, 8).unlink(),
            os.mkfifo(world.path / load_commit(world.store, 8).commit.files[0].path),
        ),
        {"unreadable"},
    ),
    "a file at the top": Attack(lambda world: write(world.path / "note.txt", FORGED), {"foreign"}),
    "a file slipped in": Attack(lambda world: add_unlisted_file(world, FORGED), {"extra"}),
    "a file copied": Attack(
        lambda world: add_unlisted_file(world, gzip.compress(gzip.decompress(data_path(world, 8).read_bytes()), 1)),
        {"orphan"},
    ),
    "a pruned file put back": Attack(restore_pruned, {"extra"}),
    "a commit removed": Attack(lambda world: commit_path(world, 4).unlink(), {"commit_missing"}),
    "a commit edited": Attack(lambda world: edit(world, 4, run="forged"), {BREAKS}),
    "two commits exchanged": Attack(
        lambda world: exchange(commit_path(world, 3), commit_path(world, 4)), {"commit_reordered", BREAKS}
    ),
    "a commit repeated": Attack(
        lambda world: write(commit_path(world, 4), commit_path(world, 3).read_bytes()), {"commit_duplicated", BREAKS}
    ),
    "a path that leads out of the archive": Attack(
        lambda world: rewrite(world, 8, r'"path":"[^"]*', '"path":"../../../../etc/passwd'), {"commit_malformed"}
    ),
    "a removal that leads out of the archive": Attack(
        lambda world: rewrite(world, 6, r'"removed":\["[^"]*', r'"removed":["../../../../etc/passwd'),
        {"commit_malformed"},
    ),
    "a commit of nothing": Attack(lambda world: write(commit_path(world, 8), b"{}\n"), {"commit_malformed"}),
    "another archive's commits": Attack(lambda world: forge(world, 4, archive_id="other"), {"chain"}),
    "wrong totals": Attack(lambda world: forge(world, 8, total_entries=99), {"totals"}),
    "coverage moved": Attack(
        lambda world: forge(world, 8, covered_from=world.clock.now - 99 * 24 * HOUR), {"coverage"}
    ),
    "a cursor of another place": Attack(lambda world: forge(world, 8, cursor_before="cursor=1"), {"cursor"}),
    "another token without a word": Attack(lambda world: forge(world, 8, token_tag="00000000"), {"identity"}),
    "a removal of what is not there": Attack(
        lambda world: forge(world, 6, removed=("entries/date=2020-01-01/000000000001-0123456789ab.jsonl.gz",)),
        {"removal"},
    ),
    "entries that no commit describes": Attack(lambda world: forge_file(world, 8, FORGED, entries=2), {"content"}),
}


def found(world: World, **known: Any) -> set[str]:
    return {finding.type for finding in world.verify(**known)}


def test_an_intact_archive_has_no_findings(archive: World) -> None:
    assert archive.verify(expected_head=archive.head.head) == []
    assert [commit["kind"] for commit in archive.commits()][5:] == ["prune", "compact", "entries"]


IN_FOLDERS_ONLY = {"a file that is a link", "a file that is a pipe"}


def check_named(world: World, name: str, move: Callable[[], Store]) -> None:
    """Attack the archive, move it to a store, and verify it there."""
    noted = world.head.head
    attack = ATTACKS[name]
    attack.do(world)
    store = move()
    alone = found(world, store=store)
    assert attack.alone <= alone
    assert bool(attack.alone) == bool(alone)
    assert attack.head <= found(world, store=store, expected_head=noted)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_named(archive: World, name: str) -> None:
    check_named(archive, name, lambda: archive.store)


def test_every_finding_has_its_attack() -> None:
    documented = set(re.findall(r"``(\w+)``", verifier.verify_archive.__doc__ or "")) - {
        "expected_head",
        "signers",
        "now",
        "is_included",
    }
    documented -= {name for name in documented if name.startswith(("sign", "timestamp", "every_"))}
    named = set().union(*(attack.alone | attack.head for attack in ATTACKS.values()))
    assert documented - named == {
        "commit_deleted",
        "deletion_pending",
        "unfinished",
    }  # of versions, and of unfinished work
    assert len(ATTACKS) > 20
