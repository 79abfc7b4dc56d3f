# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each type of finding about files has its attack; an intact archive has no finding."""

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
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.status import status
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import (
    sha256,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3_address import FROM_ENVIRONMENT
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify_archive
from ansible_collections.auditops.cloudscale.plugins.module_utils.cli.commands import verify as command
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.forgery import (
    commit_path,
    data_path,
    forge,
    forge_file,
)
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


def test_an_extra_file_that_is_not_a_data_file(archive: World) -> None:
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


@pytest.mark.parametrize(("ahead", "expected"), [(1, ("orphan", True)), (2, ("extra", False))])
def test_data_files_past_the_head_show_a_cut_unless_they_are_of_the_next_commit(
    archive: World, ahead: int, expected: tuple[str, bool]
) -> None:
    sequence = archive.head.commit.sequence + ahead
    path = archive.path / f"entries/date=2026-11-22/{sequence:012d}-0123456789ab.jsonl.gz"
    path.write_bytes(b"whatever")
    assert [(finding.type, finding.is_warning) for finding in archive.verify()] == [expected]


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


@pytest.mark.parametrize(("sequence", "expected"), [(0, ["foreign"]), (1, []), (6, []), (7, ["foreign"])])
def test_only_a_commit_that_exists_or_is_the_next_has_a_pending_record(
    archive: World, sequence: int, expected: list[str]
) -> None:
    name = f"entries/date=2026-11-22/{sequence:012d}-0123456789ab.jsonl.gz"
    path = archive.path / f"pending/{sequence:012d}-0123456789abcdef.json"
    path.write_text(json.dumps({"format": 1, "files": [name]}))
    assert archive.head.head.sequence == 5
    assert [finding.type for finding in archive.verify()] == expected


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


def test_an_endless_file_instead_of_a_live_one_is_not_read_to_its_end(archive: World) -> None:
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
        (lambda text: b"no entry\n" * 3, "not an entry"),
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


# Status


def test_the_status_is_that_of_the_head(archive: World) -> None:
    result = status(archive.store, archive.clock.now)
    assert (result.entries, result.commits, result.head, result.state) == (12, 5, archive.head.head, "current")
    assert result.covered_until == archive.clock.now - timedelta(seconds=10)
    assert {*result.to_json(), "added", "commits_added"} == set(archive.collect().to_json())


@pytest.mark.parametrize("minutes", [29, 31])
def test_coverage_that_ends_in_the_future_is_stale_unless_clocks_can_differ_so_much(
    archive: World, minutes: int
) -> None:
    now = archive.head.commit.covered_until - timedelta(minutes=minutes)
    assert status(archive.store, now).state == ("current" if minutes == 29 else "stale")


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
