# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Heads noted elsewhere detect what root rewrites on the archive's host, and entries cannot forge their records."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.heads import (
    check_heads,
    head_line,
    head_record,
    read_heads,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.cli.heads import publish_head
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.journald import Journald

LATER = "2026-11-22T13:00:00Z"


def noted(archive: World, *sequences: int, **more: Any) -> list[str]:
    """Return records of these commits' heads in the form of a ledger."""
    return [json.dumps({**head_record(load_commit(archive.store, number), LATER), **more}) for number in sequences]


def written(directory: Path, lines: list[str]) -> str:
    (directory / "heads.jsonl").write_text("\n".join(lines) + "\n")
    return str(directory / "heads.jsonl")


@pytest.fixture
def archive(world: World) -> World:
    for _day in range(4):
        world.append(3)
        world.collect()
        world.wait(days=1)
    return world


def test_all_heads_of_an_archive_fit(archive: World, tmp_path: Path) -> None:
    found = check_heads(archive.store, read_heads(written(tmp_path, noted(archive, 1, 2, 4))))
    assert found.findings == []
    assert (found.checked, found.others, found.since) == (3, 0, 1)


def test_the_line_for_people_and_the_record_name_the_same_head(archive: World) -> None:
    link = archive.head
    record = head_record(link, LATER)
    assert head_line(link).split()[1:4] == [record["archive_id"], str(record["sequence"]), record["sha256"]]
    assert head_line(link).endswith(f"covered {record['covered_until']}")
    assert record["noted_at"] == LATER


def test_an_archive_that_was_cut_replaced_or_rewritten_lacks_them(archive: World, tmp_path: Path) -> None:
    heads = read_heads(written(tmp_path, noted(archive, 2, 3, 4)))
    (archive.path / "commits/000000000004.json").unlink()
    (cut,) = check_heads(archive.store, heads).findings
    assert (cut.type, "cut off" in cut.detail, "line 3" in cut.detail) == ("head", True, True)
    path = archive.path / "commits/000000000003.json"
    path.write_bytes(path.read_bytes().replace(b'"host":"', b'"host":"x'))
    assert [finding.path for finding in check_heads(archive.store, heads).findings] == [
        "commits/000000000003.json",
        "commits/000000000004.json",
    ]


def test_a_ledger_without_this_archive_proves_nothing(archive: World, tmp_path: Path) -> None:
    others = noted(archive, 1, 2, archive_id="0123456789abcdef")
    found = check_heads(archive.store, read_heads(written(tmp_path, others)))
    assert [finding.type for finding in found.findings] == ["head"]
    assert (found.checked, found.others) == (0, 2)
    assert not check_heads(archive.store, read_heads(written(tmp_path, [*others, *noted(archive, 1)]))).findings


def test_a_superseded_head_does_not_count(archive: World, tmp_path: Path) -> None:
    lines = noted(archive, 1, 4)
    (archive.path / "commits/000000000004.json").unlink()
    assert check_heads(archive.store, read_heads(written(tmp_path, lines))).findings
    lines.append(json.dumps({**json.loads(lines[1]), "superseded": "restored from the copy of Monday"}))
    found = check_heads(archive.store, read_heads(written(tmp_path, lines)))
    assert (found.findings, found.checked, found.superseded) == ([], 1, 2)


def test_what_was_removed_or_merged_since_is_counted(archive: World, tmp_path: Path) -> None:
    heads = read_heads(written(tmp_path, noted(archive, 2)))
    archive.append(3, ago=5)
    archive.collect()
    context = archive.context(pin=archive.pin)
    archive.pin.write(archive.head)
    prune(archive.store, archive.clock.now - timedelta(days=3), context)
    compact(archive.store, None, context)
    found = check_heads(archive.store, heads)
    assert (found.findings, found.pruned) == ([], 1)


def test_a_day_that_was_merged_since_is_counted(archive: World, tmp_path: Path) -> None:
    for _run in range(2):
        archive.append(3, ago=30)
        archive.collect()
        archive.wait(minutes=10)
    archive.wait(days=1)
    archive.collect()
    before = read_heads(written(tmp_path, noted(archive, archive.head.commit.sequence)))
    assert compact(archive.store, None, archive.context()).commits == 1
    found = check_heads(archive.store, before)
    assert (found.findings, found.pruned, found.compacted) == ([], 0, 1)
    after = read_heads(written(tmp_path, noted(archive, archive.head.commit.sequence)))
    assert check_heads(archive.store, after).compacted == 0


@pytest.mark.parametrize(
    "line",
    [
        "head 0123 4 abc covered 2026-11-22T12:00:00Z",
        '{"archive_id": "a", "sequence": "4", "sha256": "' + "0" * 64 + '"}',
        '{"archive_id": "a", "sequence": true, "sha256": "' + "0" * 64 + '"}',
        '{"archive_id": "a", "sequence": 0, "sha256": "' + "0" * 64 + '"}',
        '{"archive_id": "a", "sequence": 4, "sha256": "' + "0" * 63 + '"}',
        '{"archive_id": "a", "sequence": 4, "sha256": "' + "0" * 64 + '", "superseded": ""}',
        "[]",
        "[" * 50_000,
    ],
)
def test_invalid_records_are_refused_with_their_line(archive: World, tmp_path: Path, line: str) -> None:
    with pytest.raises(InvalidInput, match=r"Line 2 of .*heads\.jsonl"):
        read_heads(written(tmp_path, [*noted(archive, 1), line]))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Cannot read the noted heads"):
        read_heads(str(tmp_path / "none"))


def test_a_service_writes_its_head_to_the_journal(
    archive: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    with Journald(tmp_path / "journal") as journald:
        publish_head(archive.head, as_json=False, socket=journald.path)
        monkeypatch.setenv("JOURNAL_STREAM", "8:12345")
        publish_head(archive.head, as_json=True, socket=journald.path)
    assert capsys.readouterr().out == head_line(archive.head) + "\n"
    (message,) = journald.messages
    assert message["SYSLOG_IDENTIFIER"] == "cloudscale-audit-head"
    found = check_heads(archive.store, read_heads(written(tmp_path, [message["MESSAGE"]])))
    assert (found.findings, found.checked) == ([], 1)


def test_a_journal_that_takes_nothing_does_not_fail_the_run(
    archive: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:12345")
    publish_head(archive.head, as_json=True, socket=str(tmp_path / "none"))
    assert "The head is not in the journal" in capsys.readouterr().err


def test_another_archive_in_the_place_of_the_first_is_seen(archive: World, tmp_path: Path) -> None:
    heads = read_heads(written(tmp_path, noted(archive, 4)))
    shutil.rmtree(archive.path)
    archive.collect()
    assert [finding.type for finding in check_heads(archive.store, heads).findings] == ["head"]
