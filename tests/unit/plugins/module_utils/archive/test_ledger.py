# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A ledger of heads: its keeper notes new heads, and refuses archives that do not continue the noted ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.heads import check_heads, parse_heads
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.ledger import (
    MAX_COMMITS,
    Continuation,
    Extension,
    continuation,
    extend,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import StorageError
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.forgery import forge
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import MemoryStore, World

AT = "2026-11-29T12:00:00Z"


class Keeper:
    """Keeps a ledger of the heads in responses of hosts."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.max_commits = MAX_COMMITS

    @property
    def noted(self) -> Any:
        return parse_heads([line.encode() for line in self.lines], "ledger")

    def ask(self, *worlds: World, **options: Any) -> Extension:
        return self.take({f"host{number}": [self.answer(world)] for number, world in enumerate(worlds)}, **options)

    def answer(self, world: World) -> Any:
        return json.loads(json.dumps(continuation(world.store, self.noted, self.max_commits).to_json()))

    def take(self, answers: Any, superseded: Optional[dict[str, str]] = None, is_complete: bool = True) -> Extension:
        found = extend(self.noted, answers, AT, superseded or {}, is_complete)
        self.lines += found.lines
        return found


def grow(world: World, commits: int) -> World:
    for _run in range(commits):
        world.append(2, ago=30)
        world.wait(minutes=1)
        world.collect(project="shop")
    return world


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def archive(world: World) -> World:
    return grow(world, 3)


def sequences(keeper: Keeper) -> list[int]:
    return [one.head.sequence for one in keeper.noted]


def test_the_head_is_noted_whenever_it_is_another_one(archive: World, keeper: Keeper) -> None:
    keeper.ask(archive)
    assert keeper.ask(archive) == ([], [])
    grow(archive, 2)
    keeper.ask(archive)
    assert sequences(keeper) == [3, 5]
    assert json.loads(keeper.lines[0]) == {
        "archive_id": archive.head.commit.archive_id,
        "project": "shop",
        "sequence": 3,
        "sha256": keeper.noted[0].head.sha256,
        "covered_until": archive.commits()[2]["covered_until"],
        "noted_at": AT,
    }
    assert check_heads(archive.store, keeper.noted).findings == []


def test_only_what_is_new_is_sent(archive: World, keeper: Keeper) -> None:
    keeper.ask(archive)
    grow(archive, 2)
    sent = continuation(archive.store, keeper.noted)
    assert (sent.after, len(sent.commits)) == (keeper.noted[0].head, 2)
    store = MemoryStore()
    with pytest.raises(StorageError, match="There is no commit in memory"):
        continuation(store, [])
    assert MAX_COMMITS >= 100


def test_many_commits_are_sent_in_several_responses(archive: World, keeper: Keeper) -> None:
    keeper.max_commits = 2
    keeper.ask(archive)
    grow(archive, 5)
    for _run in range(3):
        keeper.ask(archive)
    assert sequences(keeper) == [3, 5, 7, 8]


def test_what_does_not_continue_is_refused(archive: World, keeper: Keeper) -> None:
    keeper.ask(archive)
    kept = list(keeper.lines)
    grow(archive, 2)
    forge(archive, 2, run="forged")
    (refused,) = keeper.ask(archive).refused
    assert refused == f"archive {archive.head.commit.archive_id} (shop): it does not continue commit 3, which was noted"
    assert keeper.lines == kept


def test_a_cut_archive_is_refused(archive: World, keeper: Keeper) -> None:
    keeper.ask(archive)
    (archive.path / archive.head.commit.name).unlink()
    assert "it does not continue commit 3" in keeper.ask(archive).refused[0]


def test_a_host_that_claims_the_noted_head_is_walked(archive: World, keeper: Keeper) -> None:
    """The root user of a host can send anything; its commits must continue the noted head."""
    keeper.ask(archive)
    grow(archive, 3)
    honest = keeper.answer(archive)
    forge(archive, 2, run="forged")
    forged = [(archive.path / f"commits/00000000000{number}.json").read_text() for number in (4, 5, 6)]
    left_out = {**honest, "commits": [honest["commits"][0], honest["commits"][2]]}
    later = {**honest, "after": {**honest["after"], "sequence": 4}, "commits": honest["commits"][1:]}
    for answer, reason in (
        ({**honest, "commits": forged}, "commit 4 does not name the SHA-256 of the commit before"),
        (left_out, "omits commits"),
        (later, "does not name the SHA-256"),
        ({**honest, "archive_id": "0123456789abcdef"}, "commits of another archive"),
        ({**honest, "commits": ["{}"]}, "not a list of commits"),
        ({**honest, "commits": ["\u00e9"]}, "not a list of commits"),
        ({**honest, "after": {"sequence": "x"}}, "not a list of commits"),
        ({"archive_id": "x"}, "not a list of commits"),
        (None, "not a list of commits"),
        ([], "not a list of commits"),
    ):
        found = keeper.take({"host": [answer]}, is_complete=False)
        assert (found.lines, reason in found.refused[0]) == ([], True), (reason, found.refused)
    keeper.take({"host": [honest]})
    assert sequences(keeper) == [3, 6]


def test_two_histories_of_one_archive_are_refused(archive: World, keeper: Keeper, tmp_path: Path) -> None:
    """Two hosts share the archive, or the response depends on the sender of the request."""
    keeper.ask(archive)
    other = tmp_path / "other"
    shutil.copytree(archive.path, other)
    grow(archive, 2)
    behind = continuation(LocalStore(str(other)), keeper.noted).to_json()
    assert keeper.take({"one": [keeper.answer(archive)], "two": [behind]}).refused == []
    assert sequences(keeper) == [3, 5]
    grow(archive, 1)
    honest = keeper.answer(archive)
    forge(archive, 6, run="forged")
    found = keeper.take({"one": [honest], "two": [keeper.answer(archive)]})
    assert (found.lines, len(found.refused)) == ([], 1)
    assert "two has another commit 6 of it than another host" in found.refused[0]


def test_a_missing_archive_is_refused_if_all_hosts_responded(archive: World, keeper: Keeper) -> None:
    keeper.ask(archive)
    assert keeper.take({"host": []}, is_complete=False) == ([], [])
    (refused,) = keeper.take({"host": []}).refused
    assert refused.endswith("(shop): no host has it, but commit 3 of it was noted")
    shutil.rmtree(archive.path)
    (refused,) = keeper.ask(grow(archive, 1)).refused
    assert refused.endswith("no host has it, but commit 3 of it was noted")


def test_a_restore_that_was_accepted_supersedes_what_is_lost(archive: World, keeper: Keeper) -> None:
    for _run in range(3):
        keeper.ask(archive)
        grow(archive, 1)
    archive_id = archive.head.commit.archive_id
    for sequence in (5, 6):
        (archive.path / f"commits/00000000000{sequence}.json").unlink()
    grow(archive, 1)
    assert len(keeper.ask(archive).refused) == 1
    found = keeper.ask(archive, superseded={archive_id: "restored from the copy of Monday"})
    assert found.refused == []
    lost, new = map(json.loads, found.lines)
    assert (lost["sequence"], lost["superseded"]) == (5, "restored from the copy of Monday")
    assert (new["sequence"], "superseded" in new) == (5, False)
    checked = check_heads(archive.store, keeper.noted)
    assert (checked.findings, checked.checked, checked.superseded) == ([], 3, 2)
    grow(archive, 1)
    assert keeper.ask(archive).refused == []
    assert sequences(keeper)[-1] == 6


def test_a_reason_does_not_let_a_host_choose_where_it_begins(archive: World, keeper: Keeper) -> None:
    keeper.ask(archive)
    archive_id = archive.head.commit.archive_id
    forge(archive, 2, run="forged")
    forged = Continuation(archive_id, archive.head.head, []).to_json()
    (refused,) = keeper.take({"host": [forged]}, superseded={archive_id: "restored"}).refused
    assert refused.endswith("it begins with a commit that was not noted")


def test_an_archive_that_has_a_superseded_head_again_continues_an_older_one(archive: World, keeper: Keeper) -> None:
    keeper.ask(archive)
    grow(archive, 2)
    keeper.ask(archive)
    keeper.lines.append(json.dumps({**json.loads(keeper.lines[-1]), "superseded": "an older copy was restored"}))
    sent = continuation(archive.store, keeper.noted)
    assert (sent.after, len(sent.commits)) == (keeper.noted[0].head, 2)
    assert keeper.ask(archive).refused == []
    # The superseded head was noted again, so it counts from then on.
    assert keeper.ask(archive) == ([], [])
    (archive.path / "commits/000000000005.json").unlink()
    assert len(keeper.ask(archive).refused) == 1
    assert [finding.type for finding in check_heads(archive.store, keeper.noted).findings] == ["head"]


def test_an_archive_that_was_closed_is_superseded(archive: World, keeper: Keeper) -> None:
    keeper.ask(archive)
    archive_id = archive.head.commit.archive_id
    assert len(keeper.take({"host": []}, superseded={archive_id: "project closed"}).lines) == 1
    assert keeper.take({"host": []}) == ([], [])
    assert keeper.take({"host": []}, superseded={archive_id: "again"}) == ([], [])


def test_no_line_can_be_a_template(archive: World, keeper: Keeper) -> None:
    archive.append(1, ago=5)
    archive.collect(project="{{ 7*7 }}{% raw %}{# x")
    keeper.ask(archive)
    assert not any(mark in keeper.lines[0] for mark in ("{{", "{%", "{#"))
    assert json.loads(keeper.lines[0])["project"] == "{{ 7*7 }}{% raw %}{# x"
    assert not any(mark in keeper.take({"host": []}).refused[0] for mark in ("{{", "{%", "{#"))
