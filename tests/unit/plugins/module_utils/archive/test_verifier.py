# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each type of finding has its attack; an intact archive has no finding."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
import time
import tracemalloc
import zlib
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive import verifier
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import live_files, load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.rules import newest_covered
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.status import status
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import (
    Commit,
    DataFile,
    Gap,
    Head,
    Part,
    parse_data_file_name,
    sha256,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.data_file import DayFile
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat, lines_of
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3_address import FROM_ENVIRONMENT
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify_archive
from ansible_collections.auditops.cloudscale.plugins.module_utils.cli.commands import verify as command
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import timestamp
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import NOON, World


@pytest.fixture
def archive(world: World) -> World:
    """Four commits of three entries each, of the same day, and a heartbeat at the end."""
    for _run in range(4):
        world.append(3, ago=30)
        world.wait(minutes=1)
        world.collect()
    world.wait(hours=2)
    world.collect()
    assert world.verify() == []
    return world


def types(world: World, **options: Any) -> set[str]:
    return {finding.type for finding in world.verify(**options)}


def commit_path(world: World, sequence: int) -> Path:
    return world.path / "commits" / f"{sequence:012d}.json"


def data_path(world: World, sequence: int) -> Path:
    return next((world.path / "entries").glob(f"*/{sequence:012d}-*"))


def forge(world: World, sequence: int, **changes: Any) -> None:
    """Change a commit and recompute the hashes in all later ones, so that only the content shows it."""
    path = commit_path(world, sequence)
    path.write_bytes(replace(Commit.parse(path.read_bytes()), **changes).to_bytes())
    forge_previous(world, sequence)


def forge_previous(world: World, sequence: int) -> None:
    """Recompute the hashes in all commits after this one."""
    previous = sha256(commit_path(world, sequence).read_bytes())
    while commit_path(world, sequence + 1).exists():
        sequence += 1
        path = commit_path(world, sequence)
        path.write_bytes(replace(Commit.parse(path.read_bytes()), previous=previous).to_bytes())
        previous = sha256(path.read_bytes())


def forge_file(world: World, sequence: int, stored: bytes, **facts: Any) -> None:
    """Replace a data file, and describe the new file in its commit."""
    file = load_commit(world.store, sequence).commit.files[0]
    digest = sha256(stored)
    day = file.path.split("/")[1]
    path = f"entries/{day}/{sequence:012d}-{digest[:12]}.jsonl.gz"
    (world.path / file.path).unlink()
    (world.path / path).write_bytes(stored)
    forge(world, sequence, files=(replace(file, path=path, sha256=digest, bytes=len(stored), **facts),))


# Files


def test_what_was_replaced_is_not_read_as_what_was_committed(archive: World) -> None:
    path = data_path(archive, 2)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"johanna@", b"nobody1@")))
    with pytest.raises(ArchiveDamaged, match=r"was changed after it was committed; verify the archive"):
        list(cat(archive.store))


def test_commits_added_during_a_verification_are_not_reported_as_verified(
    archive: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head = archive.head.head

    def slowly(*arguments: Any, **options: Any) -> verifier.VerificationResult:
        found = verify_archive(*arguments, **options)
        archive.append(3)
        archive.collect()
        return found

    monkeypatch.setattr(verifier, "verify_archive", slowly)
    monkeypatch.setattr(command, "end_on_signal", lambda: None)
    unset = ("metrics", "allowed_signers", "expected_head", "signed_from", "heads", "state", "max_lag", "timestamp_ca")
    nothing = dict.fromkeys(unset)
    options = Namespace(path=str(archive.path), access=FROM_ENVIRONMENT, every_signature=False, json=False, **nothing)
    assert command.run(options, Event()) == 0
    assert archive.head.head != head
    assert f"Head: {head.sequence}:{head.sha256}, of archive " in capsys.readouterr().out


def test_a_missing_file(archive: World) -> None:
    data_path(archive, 2).unlink()
    assert types(archive) == {"missing"}


def test_a_missing_directory(archive: World) -> None:
    shutil.rmtree(archive.path / "entries")
    assert types(archive) == {"missing"}


@pytest.mark.parametrize("attack", ["flip", "cut", "empty", "zero"])
def test_an_altered_file(archive: World, attack: str) -> None:
    path = data_path(archive, 2)
    body = bytearray(path.read_bytes())
    body[40] ^= 1
    path.write_bytes({"flip": bytes(body), "cut": body[:-1], "empty": b"", "zero": bytes(len(body))}[attack])
    assert types(archive) == {"altered"}


@pytest.mark.parametrize("more", [b"x", b"\0" * 100_000, gzip.compress(b'{"message":"forged"}\n', mtime=0)])
def test_bytes_appended_to_a_file(archive: World, more: bytes) -> None:
    with data_path(archive, 2).open("ab") as file:
        file.write(more)
    assert types(archive) == {"appended"}


def test_a_moved_file(archive: World) -> None:
    path = data_path(archive, 2)
    (archive.path / "entries" / "date=2020-01-01").mkdir()
    path.rename(archive.path / "entries" / "date=2020-01-01" / path.name)
    findings = archive.verify()
    assert [finding.type for finding in findings] == ["moved"]
    assert "date=2020-01-01" in findings[0].detail


def test_a_linked_file_or_directory(archive: World, tmp_path: Path) -> None:
    path = data_path(archive, 2)
    path.rename(tmp_path / "data")
    path.symlink_to(tmp_path / "data")
    assert types(archive) == {"unreadable"}
    path.unlink()
    (tmp_path / "data").rename(path)
    path.parent.rename(tmp_path / "day")
    path.parent.symlink_to(tmp_path / "day")
    assert types(archive) == {"unreadable", "extra"}


def test_an_extra_file_with_entries_of_its_own(archive: World) -> None:
    stored = gzip.compress(b'{"message":"forged"}\n')
    (data_path(archive, 2).parent / f"000000000002-{sha256(stored)[:12]}.jsonl.gz").write_bytes(stored)
    assert types(archive) == {"extra"}


def test_an_extra_file_that_is_no_data_file(archive: World) -> None:
    (archive.path / "entries" / "note.txt").touch()
    (archive.path / "commits" / "000000000009.json.bak").touch()
    assert [finding.type for finding in archive.verify()] == ["extra", "extra"]


def test_an_unlisted_bomb_is_decompressed_no_further_than_the_size_of_its_day(archive: World) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head, block = (packer.compress(b"\n" * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _time in range(2))
    stored = head + block * (1 << 14)
    (data_path(archive, 2).parent / f"000000000002-{sha256(stored)[:12]}.jsonl.gz").write_bytes(stored)
    began = time.monotonic()
    assert types(archive) == {"extra"}
    assert time.monotonic() - began < 60  # to the end, it would be an hour


@pytest.mark.parametrize(("ahead", "told"), [(1, ("orphan", True)), (2, ("extra", False))])
def test_data_files_past_the_head_show_a_cut_unless_they_are_of_the_next_commit(
    archive: World, ahead: int, told: tuple[str, bool]
) -> None:
    sequence = archive.head.commit.sequence + ahead
    path = archive.path / f"entries/date=2026-11-22/{sequence:012d}-0123456789ab.jsonl.gz"
    path.write_bytes(b"whatever")
    assert [(finding.type, finding.is_warning) for finding in archive.verify()] == [told]


def test_an_orphan_is_a_warning(archive: World) -> None:
    stored = gzip.compress(gzip.decompress(data_path(archive, 2).read_bytes()), mtime=1)
    (data_path(archive, 2).parent / f"000000000003-{sha256(stored)[:12]}.jsonl.gz").write_bytes(stored)
    findings = archive.verify()
    assert [(finding.type, finding.is_warning) for finding in findings] == [("orphan", True)]


def test_what_a_killed_loser_announced_is_an_orphan_even_if_it_read_more(archive: World) -> None:
    stored = gzip.compress(b'{"message":"read by the loser only"}\n')
    path = data_path(archive, 2).parent / f"000000000003-{sha256(stored)[:12]}.jsonl.gz"
    path.write_bytes(stored)
    record = {"format": 1, "files": [str(path.relative_to(archive.path))]}
    (archive.path / "pending/000000000003-0123456789abcdef.json").write_text(json.dumps(record))
    (finding,) = archive.verify()
    assert (finding.type, finding.is_warning) == ("orphan", True)
    assert "contains entries that are not in the archive (1)" in finding.detail


def test_an_orphan_that_has_a_line_once_too_often_is_extra(archive: World) -> None:
    stored = gzip.compress(gzip.decompress(data_path(archive, 2).read_bytes()) * 2)
    (data_path(archive, 2).parent / f"000000000003-{sha256(stored)[:12]}.jsonl.gz").write_bytes(stored)
    assert types(archive) == {"extra"}


def test_a_bomb_in_the_place_of_a_file_is_bounded(archive: World) -> None:
    stored = gzip.compress(b"\n" * 10_000_000)
    forge_file(archive, 2, stored, content_bytes=300)
    assert types(archive) == {"content"}


def found_in_memory(archive: World, most: int) -> set[str]:
    """Return the types of findings; fail if the verification needs more memory than this."""
    tracemalloc.start()
    try:
        found = types(archive)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
    return found


def test_decompression_is_bounded_even_if_a_forged_commit_allows_more(archive: World) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head, block = (packer.compress(b" " * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _time in range(2))
    forge_file(archive, 2, head + block * 1023, content_bytes=1 << 40)
    assert found_in_memory(archive, 300 << 20) == {"content"}
    assert "longer than any entry" in archive.verify()[0].detail


def test_a_commit_without_an_end_is_bounded(archive: World) -> None:
    os.truncate(commit_path(archive, 2), 1 << 40)
    assert "unreadable" in found_in_memory(archive, 100 << 20)


def test_a_file_without_an_end_in_place_of_a_live_one_is_not_read_to_its_end(archive: World) -> None:
    os.truncate(data_path(archive, 2), 1 << 40)
    assert found_in_memory(archive, 10 << 20) == {"appended"}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"created", b"deleted"),
        lambda text: text + text.splitlines(keepends=True)[0],
        lambda text: text.replace(b":", b": "),
        lambda text: text.replace(b"2026-11-22", b"2026-11-23"),
        lambda text: b"no entry\n" * 3,
        lambda text: b"".join(reversed(text.splitlines(keepends=True))),
    ],
)
def test_content_that_differs_from_its_commit(archive: World, change: Callable[[bytes], bytes]) -> None:
    text = change(gzip.decompress(data_path(archive, 2).read_bytes()))
    forge_file(archive, 2, gzip.compress(text))
    assert types(archive) == {"content"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace(b'":"', b'": "'), "canonical"),
        (lambda text: text.replace(b"2026-11-22", b"2026-11-23"), "another day"),
        (lambda text: b"no entry\n" * 3, "no entry"),
        (lambda text: text[:-1], "canonical"),
    ],
)
def test_content_that_no_collector_writes(archive: World, change: Callable[[bytes], bytes], said: str) -> None:
    text = change(gzip.decompress(data_path(archive, 2).read_bytes()))
    forge_file(archive, 2, gzip.compress(text), content_sha256=sha256(text), content_bytes=len(text))
    findings = archive.verify()
    assert [finding.type for finding in findings] == ["content"]
    assert said in findings[0].detail


@pytest.mark.parametrize("fact", ["first", "last"])
def test_times_that_the_file_has_not(archive: World, fact: str) -> None:
    file = load_commit(archive.store, 2).commit.files[0]
    forge(archive, 2, files=(replace(file, **{fact: NOON}),))
    assert "content" in types(archive)


def test_another_number_of_entries(archive: World) -> None:
    file = load_commit(archive.store, 2).commit.files[0]
    forge(archive, 2, files=(replace(file, entries=4),))
    assert types(archive) == {"content", "totals"}


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


def test_other_bytes_in_place_of_a_removed_file_are_extra(archive: World) -> None:
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


# Reading


class Racing(LocalStore):
    """Calls a function at the first read of a data file."""

    def __init__(self, path: str, event: Callable[[], Any]) -> None:
        super().__init__(path)
        self.events = [event]

    def chunks(self, name: str) -> Any:
        parts = parse_data_file_name(name)
        if parts and parts.sequence == 3 and self.events:
            self.events.pop()()
        return super().chunks(name)


def compact_and_delete(world: World) -> None:
    commit, origins = compact(world)
    write(world, commit)
    world.store.delete([origin.path for origin in origins])


def test_cat_gives_each_entry_once_although_it_is_compacted_meanwhile(archive: World) -> None:
    store = Racing(str(archive.path), lambda: compact_and_delete(archive))
    assert archive.archived(store) == archive.logged()
    assert not store.events


def test_verify_does_not_miss_what_was_compacted_meanwhile(archive: World) -> None:
    store = Racing(str(archive.path), lambda: compact_and_delete(archive))
    assert archive.verify(store) == []
    assert not store.events


def test_cat_reports_a_missing_file(archive: World) -> None:
    data_path(archive, 3).unlink()
    with pytest.raises(ArchiveDamaged, match="missing"):
        list(cat(archive.store))


@pytest.mark.parametrize("name", ["first", "last"])
def test_cat_refuses_a_file_whose_times_differ_from_its_commit(archive: World, name: str) -> None:
    """Otherwise an entry could be hidden from readers of a range."""
    commit = load_commit(archive.store, 3).commit
    (file,) = commit.files
    assert file.first is not None
    assert file.last is not None
    assert file.first < file.last
    other = file.last if name == "first" else file.first
    for path in (archive.path / "commits").iterdir():
        if int(path.stem) > 3:
            path.unlink()
    forged = replace(commit, files=(replace(file, **{name: other}),))
    before = load_commit(archive.store, 2).commit
    forged = replace(forged, newest=newest_covered(before, forged.files, forged.covered_until))
    commit_path(archive, 3).write_bytes(forged.to_bytes())
    with pytest.raises(ArchiveDamaged, match="has an entry outside the times in its commit"):
        list(cat(archive.store))


def test_cat_selects_by_time(archive: World) -> None:
    moments = sorted(moment for moment in map(timestamp, cat(archive.store)) if moment)
    found = list(map(timestamp, cat(archive.store, start=moments[2], end=moments[7])))
    assert sorted(moment for moment in found if moment) == moments[2:7]


# Status


def test_the_status_is_that_of_the_head(archive: World) -> None:
    told = status(archive.store, archive.clock.now)
    assert (told.entries, told.commits, told.head, told.state) == (12, 5, archive.head.head, "current")
    assert told.covered_until == archive.clock.now - timedelta(seconds=10)
    assert {*told.to_json(), "added", "commits_added"} == set(archive.collect().to_json())


@pytest.mark.parametrize(("days", "state"), [(0.9, "current"), (1.1, "stale"), (89, "stale"), (90, "expired")])
def test_silence_degrades_and_then_expires(archive: World, days: float, state: str) -> None:
    assert status(archive.store, archive.clock.now + timedelta(days=days)).state == state


def test_a_read_that_did_not_reach_the_end_is_a_backlog(world: World) -> None:
    from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import AuditError
    from ansible_collections.auditops.cloudscale.tests.simulator import Fault

    world.append(9, ago=3600)
    world.simulator.script(Fault("pass"), Fault("status"))
    with pytest.raises(AuditError):
        world.collect()
    assert status(world.store, world.clock.now).state == "backlog"


def test_the_status_lists_all_gaps_and_an_empty_archive_has_none(world: World) -> None:
    assert status(world.store, NOON).to_json()["head"] is None
    world.collect()
    for _gap in range(2):
        world.wait(days=100)
        world.collect()
    gaps = status(world.store, world.clock.now).gaps
    assert len(gaps) == 2
    assert gaps[0].end < gaps[1].start


def test_neither_verify_nor_status_nor_cat_needs_requests() -> None:
    code = (
        "import sys; sys.modules['requests'] = None\n"
        "from ansible_collections.auditops.cloudscale.plugins.module_utils.archive import reader, verifier\n"
    )
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code) == 0
