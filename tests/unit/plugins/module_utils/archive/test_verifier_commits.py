# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each type of finding about commits and the head has its attack."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import live_files, load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import (
    Commit,
    DataFile,
    Gap,
    Head,
    Part,
    Resync,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.data_file import DayFile
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import lines_of
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import timestamp
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive import test_verifier
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.forgery import commit_path, forge
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_verifier import types
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import NOON, World

archive = test_verifier.archive


# Commits


def test_a_missing_commit(archive: World) -> None:
    commit_path(archive, 2).unlink()
    assert types(archive) == {"commit_missing"}


def test_a_commit_far_ahead_is_one_finding_and_no_endless_search(archive: World) -> None:
    commit_path(archive, 999_999_999_999).write_bytes(b"")
    assert [finding.type for finding in archive.verify()] == ["commit_missing", "commit_malformed"]


def test_no_commit_at_all(world: World) -> None:
    assert types(world) == {"commit_missing"}


def test_a_first_run_that_was_killed_is_a_warning(world: World) -> None:
    world.append(4, ago=86_400)
    world.collect()
    commit_path(world, 1).unlink()
    assert {(finding.type, finding.is_warning) for finding in world.verify()} == {
        ("unfinished", True),
        ("orphan", True),
    }
    world.collect()
    assert world.verify() == []
    world.append(4)
    world.collect()
    for sequence in (1, 2):
        commit_path(world, sequence).unlink()
    assert "commit_missing" in {finding.type for finding in world.verify() if not finding.is_warning}


def test_other_bytes_instead_of_a_removed_file_are_extra(archive: World) -> None:
    archive.wait(days=2)
    archive.collect()
    removed = prune(archive.store, archive.clock.now, archive.context()).files
    assert removed
    assert archive.verify() == []
    name = archive.head.commit.removed[0]
    path = archive.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(b'{"message":"forged"}\n'))
    assert [(finding.type, finding.path) for finding in archive.verify()] == [("extra", name)]


def test_an_edited_commit(archive: World) -> None:
    path = commit_path(archive, 2)
    path.write_bytes(path.read_bytes().replace(b'"host":"', b'"host":"x'))
    findings = archive.verify()
    assert [(finding.type, finding.path) for finding in findings] == [("commit_edited", "commits/000000000002.json")]


def test_two_commits_exchanged(archive: World) -> None:
    second, third = commit_path(archive, 2), commit_path(archive, 3)
    body = second.read_bytes()
    second.write_bytes(third.read_bytes())
    third.write_bytes(body)
    assert "commit_reordered" in types(archive)


def test_a_commit_repeated(archive: World) -> None:
    commit_path(archive, 3).write_bytes(commit_path(archive, 2).read_bytes())
    assert "commit_duplicated" in types(archive)


@pytest.mark.parametrize("body", [b"", b"\0" * 500, b"{}\n"])
def test_a_commit_that_is_none(archive: World, body: bytes) -> None:
    commit_path(archive, 2).write_bytes(body)
    assert "commit_malformed" in types(archive)


def test_a_linked_commit(archive: World, tmp_path: Path) -> None:
    path = commit_path(archive, 2)
    path.rename(tmp_path / "commit")
    path.symlink_to(tmp_path / "commit")
    assert types(archive) == {"commit_missing", "extra"}


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("chain", {"archive_id": "other"}),
        ("chain", {"kind": "heartbeat"}),
        ("chain", {"pages": 0}),
        ("chain", {"pruned_until": NOON - 50 * HOUR}),
        ("totals", {"entries": 4}),
        ("totals", {"total_entries": 5}),
        ("totals", {"total_gaps": 1}),
        ("totals", {"newest": None}),
        ("coverage", {"asked": NOON - 2 * HOUR}),
        ("coverage", {"clock_skew_seconds": 1801.0}),
        ("cursor", {"cursor_before": "cursor=1"}),
        ("cursor", {"cursor_after": "cursor=1"}),
        ("coverage", {"covered_from": NOON - HOUR}),
        ("coverage", {"covered_until": NOON + HOUR}),
        ("coverage", {"covered_until": NOON - HOUR}),
        ("coverage", {"server_date": NOON - HOUR}),
        ("coverage", {"server_date": NOON + 24 * HOUR}),
        ("coverage", {"gaps": (Gap(NOON - HOUR, NOON, "retention"),), "total_gaps": 1}),
        ("identity", {"token_tag": "00000000"}),
        ("identity", {"api": "https://elsewhere.example/v1"}),
    ],
)
def test_a_forged_commit_contradicts_its_neighbours(archive: World, expected: str, changes: dict[str, Any]) -> None:
    forge(archive, 2, **changes)
    assert expected in types(archive)


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("chain", {"kind": "resync", "resync": Resync("cursor", NOON - 24 * HOUR, 1, 0, False)}),
        ("coverage", {"asked": NOON - 25 * HOUR}),
        ("totals", {"newest": None}),
    ],
)
def test_a_forged_first_commit_that_no_run_could_make(archive: World, expected: str, changes: dict[str, Any]) -> None:
    forge(archive, 1, **changes)
    assert types(archive) == {expected}


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("coverage", {"total_gaps": 1}),
        ("coverage", {"covered_from": NOON - 91 * 24 * HOUR}),
        ("chain", {"pruned_until": NOON - 12 * HOUR}),
    ],
)
def test_a_fact_that_no_first_commit_has_and_all_later_ones_repeat(
    archive: World, expected: str, changes: dict[str, Any]
) -> None:
    for sequence in range(1, 6):
        forge(archive, sequence, **changes)
    assert types(archive) == {expected}


def test_a_forged_project(archive: World) -> None:
    project = load_commit(archive.store, 2).commit.project
    forge(archive, 2, project=project._replace(uuid="other"))
    assert types(archive) == {"identity"}


def test_a_forged_list_of_files(archive: World) -> None:
    file = load_commit(archive.store, 2).commit.files[0]
    forge(archive, 3, files=(file,))
    assert "chain" in types(archive)


def test_a_forged_removal(archive: World) -> None:
    other = "entries/date=2020-01-01/000000000001-0123456789ab.jsonl.gz"
    forge(archive, 5, kind="prune", pages=0, removed=(other,))
    assert "removal" in types(archive)


# The head


def test_a_tail_that_was_cut_off(archive: World) -> None:
    head = archive.head.head
    commit_path(archive, 5).unlink()
    commit_path(archive, 4).unlink()
    assert types(archive) == {"orphan"}
    for path in archive.path.glob("entries/*/00000000000[45]-*"):
        path.unlink()
    assert types(archive) == set()
    assert types(archive, expected_head=head) == {"head"}


def test_a_chain_that_was_forged_from_within(archive: World) -> None:
    head = archive.head.head
    forge(archive, 2, run="other")
    assert types(archive) == set()
    assert types(archive, expected_head=head) == {"head"}


def test_an_expected_head_may_be_any_commit_of_the_chain(archive: World) -> None:
    for sequence in range(1, 6):
        assert archive.verify(expected_head=load_commit(archive.store, sequence).head) == []
    assert types(archive, expected_head=Head(3, "0" * 64)) == {"head"}


# Kinds that rearrange files


def rearranged(world: World, kind: str, **changes: Any) -> Commit:
    """Return the commit that would follow the head without a read of the API."""
    head = world.head
    return replace(
        head.commit,
        sequence=head.commit.sequence + 1,
        kind=kind,
        previous=head.head.sha256,
        cursor_before=head.commit.cursor_after,
        files=changes.get("files", ()),
        removed=changes["removed"],
        gaps=(),
        entries=sum(file.entries for file in changes.get("files", ())),
        total_entries=head.commit.total_entries - changes.get("gone", 0),
        pages=0,
        resync=None,
        pruned_until=changes.get("pruned_until"),
    )


def write(world: World, commit: Commit) -> None:
    world.store.put_if_absent(commit.name, commit.to_bytes())


def compact(world: World) -> tuple[Commit, list[DataFile]]:
    """Merge all live files of the one day, which has ended."""
    world.wait(days=1)
    world.collect()
    origins = [file for _path, file in sorted(live_files(world.store, world.head).items())]
    joined = DayFile("2026-11-22")
    for file in origins:
        for line in lines_of(world.store, file):
            joined.add(line, timestamp(json.loads(line)))
    described, body = joined.finish(world.head.commit.sequence + 1)
    parts = tuple(Part(file.path, file.content_sha256, file.content_bytes, file.entries) for file in origins)
    world.store.put({described.path: body})
    commit = rearranged(
        world, "compact", files=(replace(described, parts=parts),), removed=tuple(file.path for file in origins)
    )
    return commit, origins


def test_a_prune_is_accepted_and_its_file_awaits_deletion(archive: World) -> None:
    archive.wait(days=1)
    archive.collect()
    files = live_files(archive.store, archive.head)
    edge = NOON + timedelta(hours=12)
    gone = sum(file.entries for file in files.values())
    write(archive, rearranged(archive, "prune", removed=tuple(sorted(files)), gone=gone, pruned_until=edge))
    (finding,) = archive.verify()
    assert (finding.type, finding.path, finding.is_warning) == ("deletion_pending", min(files), True)
    assert f"{len(files)} such files in all" in finding.detail
    assert len(files) > 1
    archive.store.delete(list(files))
    assert archive.verify() == []
    archive.append(2)
    archive.collect()
    assert archive.verify() == []
    assert archive.head.commit.pruned_until == edge


def test_a_compaction_is_accepted_and_its_slices_are_hashed_again(archive: World) -> None:
    commit, origins = compact(archive)
    write(archive, commit)
    archive.store.delete([file.path for file in origins])
    assert archive.verify() == []
    assert archive.archived() == archive.logged()


@pytest.mark.parametrize("change", ["content", "origin", "count"])
def test_a_compaction_of_something_else(archive: World, change: str) -> None:
    commit, origins = compact(archive)
    (file,) = commit.files
    first, *others = file.parts
    if change == "content":
        first = first._replace(content_sha256="0" * 64)
    elif change == "origin":
        first = first._replace(path="entries/date=2026-11-22/000000000001-0123456789ab.jsonl.gz")
    else:
        first = first._replace(entries=2)
    write(archive, replace(commit, files=(replace(file, parts=(first, *others)),)))
    archive.store.delete([origin.path for origin in origins])
    assert types(archive) - {"content"} == {"removal"}


def test_a_compaction_that_drops_entries(archive: World) -> None:
    commit, origins = compact(archive)
    write(archive, replace(commit, files=(), entries=0))
    archive.store.delete([origin.path for origin in origins])
    assert "totals" in types(archive)
