# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import files
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.status import status
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.export import COLUMNS, export
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    ArchiveDamaged,
    InvalidInput,
    StorageError,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, digest
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.schemas import SCHEMAS
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.selection import Selection
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Range
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import NOON, World

HOSTILE = (
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@SUM(A1)",
    "  =1",
    "\t=1",
    "\uff1d1",
    'a,"b"',
    "two\nlines\r",
    "\ud800",
    "fine",
)


def exported(world: World, dest: Path, **options: Any) -> dict[str, Any]:
    time_range = Range(start=options.pop("start", None), end=options.pop("end", None))
    schema = options.pop("schema", None)
    return export(world.store, str(dest), time_range, Selection.from_mapping(options), NOON, schema).manifest


@pytest.fixture
def archive(world: World) -> World:
    world.append(4, ago=30)
    world.collect()
    world.append(3, ago=20, action="server_delete")
    world.collect()
    return world


@pytest.mark.parametrize(("schema", "make"), SCHEMAS.items())
def test_events_of_a_schema(archive: World, tmp_path: Path, schema: str, make: Callable[[Any], Any]) -> None:
    dest = tmp_path / "events.jsonl"
    manifest = exported(archive, dest, schema=schema, actions=["*_delete"])
    assert [json.loads(line) for line in dest.read_bytes().splitlines()] == list(map(make, cat(archive.store)))[-3:]
    assert (manifest["format"], manifest["entries"]) == (schema, 3)
    with pytest.raises(InvalidInput, match=r"use a \.jsonl file"):
        exported(archive, tmp_path / "events.csv", schema=schema)


def test_lines_and_their_manifest(archive: World, tmp_path: Path) -> None:
    dest = tmp_path / "extract.jsonl"
    manifest = exported(archive, dest, start=archive.clock.ago(hours=1), actions=["*_delete"])
    body = dest.read_bytes()
    assert body.splitlines() == [canonical(entry) for entry in cat(archive.store)][-3:]
    assert manifest == json.loads((tmp_path / "extract.jsonl.manifest.json").read_bytes())
    assert manifest["format"] == "jsonl"
    assert (manifest["file"], manifest["entries"], manifest["bytes"]) == ("extract.jsonl", 3, len(body))
    assert manifest["sha256"] == hashlib.sha256(body).hexdigest()
    assert manifest["range"] == {"start": "2026-11-22T11:00:00Z", "end": None}
    assert manifest["selection"]["actions"] == ["*_delete"]
    head = archive.head
    assert manifest["archive"]["head"] == {"sequence": 2, "sha256": head.head.sha256}
    assert manifest["archive"]["archive_id"] == head.commit.archive_id
    assert manifest["archive"]["gaps"] == []
    assert (manifest["complete"], manifest["missing"]) == (True, [])
    assert manifest["exported_at"] == "2026-11-22T12:00:00Z"


def test_a_manifest_has_the_coverage_of_status_and_what_is_missing(archive: World, tmp_path: Path) -> None:
    archive.append(1, ago=5 * 86400)
    archive.collect()
    prune(archive.store, lambda _now: archive.clock.ago(days=2), archive.context())
    manifest = exported(archive, tmp_path / "extract.csv", start=archive.clock.ago(days=3))
    fields = status(archive.store, NOON).to_json()
    for name in ("project", "covered_from", "covered_until", "pruned_until", "gaps"):
        assert manifest["archive"][name] == fields[name]
    assert fields["covered_from"] == fields["pruned_until"] == "2026-11-20T00:00:00Z"
    assert manifest["complete"] is False
    assert manifest["missing"] == [{"from": "2026-11-19T12:00:00Z", "to": "2026-11-20T00:00:00Z", "why": "pruned"}]


def test_an_extract_of_nothing(world: World, archive: World, tmp_path: Path) -> None:
    assert exported(archive, tmp_path / "none.jsonl", end=archive.clock.ago(days=1))["entries"] == 0
    assert (tmp_path / "none.jsonl").read_bytes() == b""


def test_no_cell_is_a_formula_or_breaks_its_line(world: World, tmp_path: Path) -> None:
    entries = [
        {
            "timestamp": "2026-11-22T11:59:00.000001Z",
            "action": text,
            "message": text,
            "actor": {"user": {"email": text}},
        }
        for text in HOSTILE
    ]
    world.log.extend(entries)
    world.collect()
    dest = tmp_path / "extract.csv"
    assert exported(world, dest)["entries"] == len(HOSTILE)
    text = dest.read_text("utf-8")
    assert text.count("\n") == len(HOSTILE) + 1
    with dest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    for fields, entry in zip(rows, cat(world.store)):
        assert fields["sha256"] == digest(entry)
        assert fields["timestamp"] == entry["timestamp"]
        for cell in fields.values():
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))
            assert not set(cell) & set("\r\n\t")
    assert [fields["message"] for fields in rows][:2] == ["'=HYPERLINK(1)", "'+1"]
    assert rows[-1]["message"] == "fine"


def test_a_failure_leaves_what_was_there(archive: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dest = tmp_path / "extract.jsonl"
    exported(archive, dest)
    before = {path: path.read_bytes() for path in tmp_path.glob("extract*")}
    archive.append(1)
    archive.collect()
    next((archive.path / "entries").glob("*/000000000002-*")).write_bytes(b"")
    with pytest.raises(ArchiveDamaged):
        exported(archive, dest)

    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        exported(archive, dest, start=archive.clock.ago(seconds=60), limit=1, end=archive.clock.ago(seconds=29))
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("name", "said"),
    [("extract.xlsx", "has an unsupported format"), ("nowhere/x.csv", "does not exist; create it first")],
)
def test_a_destination_that_cannot_be(archive: World, tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        exported(archive, tmp_path / name)
