# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every edit of an evidence package is found, even if its manifest matches."""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.package_layout import document
from ansible_collections.auditops.cloudscale.tests.package_reader import reader
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive import packages
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.packages import (
    HEADS,
    README,
    Edit,
    Members,
    checked,
    edited,
    findings,
    made,
    name_of,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    World,
)

archive, package = packages.archive, packages.package


# Attacks: the manifest matches, and something else was changed.


def change_json(part: str, **changes: Any) -> Edit:
    def edit(members: Members) -> None:
        name = name_of(members, part)
        members[name] = document({**json.loads(members[name]), **changes})

    return edit


def change_line(part: str, old: bytes, new: bytes) -> Edit:
    def edit(members: Members) -> None:
        name = name_of(members, part)
        assert old in members[name]
        members[name] = members[name].replace(old, new, 1)

    return edit


def drop(part: str, number: int = 0) -> Edit:
    return lambda members: members.pop(name_of(members, part, number)) and None


def change_entry(members: Members) -> None:
    """Change an entry in the data file and in the extract; only the commit shows it."""
    name = name_of(members, "/entries/", 1)
    text = gzip.decompress(members[name]).replace(b"7*7", b"8*8")
    members[name] = gzip.compress(text, mtime=0)
    change_line("extract.jsonl", b"7*7", b"8*8")(members)


def drop_a_day(members: Members) -> None:
    """Remove a data file and its lines, as if it had no entries."""
    name = name_of(members, "/entries/", 1)
    lines = gzip.decompress(members.pop(name))
    extract = name_of(members, "extract.jsonl")
    members[extract] = members[extract].replace(lines, b"")
    table = name_of(members, "extract.csv")
    digests = [hashlib.sha256(line).hexdigest().encode() for line in lines.splitlines()]
    rows = [row for row in members[table].splitlines(keepends=True) if row.strip().rpartition(b",")[2] not in digests]
    members[table] = b"".join(rows)
    facts = name_of(members, "extract.json")
    members[facts] = members[facts].replace(b'"entries": 7', b'"entries": 4')


def narrow_the_range(members: Members) -> None:
    name = name_of(members, "extract.json")
    facts = json.loads(members[name])
    facts["range"]["start"] = "2026-11-21T00:00:00Z"
    members[name] = document(facts)


def rename_the_directory(members: Members) -> None:
    for name in [name for name in members if "/" in name]:
        members["other-" + name] = members.pop(name)


def cut_the_end(members: Members) -> None:
    drop("/commits/", -1)(members)


def deep(members: Members) -> None:
    members[name_of(members, "verification.json")] = b'{"findings":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


ATTACKS: dict[str, tuple[Edit, set[str]]] = {
    "an entry": (change_entry, {"altered"}),
    "a line less": (change_line("extract.jsonl", b"{", b""), {"extract"}),
    "a line more": (change_line("extract.jsonl", b"\n", b"\n{}\n"), {"extract"}),
    "another order": (lambda members: members.update(reversed_lines(members)), {"extract"}),
    "the table": (change_line("extract.csv", b"7*7", b"8*8"), {"extract"}),
    "a day less": (drop_a_day, {"missing"}),
    "a data file less": (drop("/entries/"), {"missing"}),
    "a range": (narrow_the_range, {"extract"}),
    "the number": (change_json("extract.json", entries=6), {"extract"}),
    "completeness": (change_json("extract.json", complete=False), {"extract"}),
    "a format": (change_json("extract.json", format=2), {"extract"}),
    "a range of numbers": (change_json("extract.json", range={"start": 1, "end": 2}), {"extract"}),
    "no range": (change_json("extract.json", range=None), {"extract"}),
    "no maker": (change_json("extract.json", exported_by=None), {"extract"}),
    "facts that are a list": (change_line("extract.json", b"{", b"["), {"extract"}),
    "a commit": (change_line("/commits/", b'"host":"', b'"host":"x'), {"commit_edited"}),
    "a commit less": (drop("/commits/", 1), {"commit_missing"}),
    "the end": (cut_the_end, {"head", "extract", "verification"}),
    "a head": (change_line(HEADS, b'"sequence": 4', b'"sequence": 5'), {"head"}),
    "heads of others": (lambda members: members.update({HEADS: members[HEADS] * 2}), {"head"}),
    "a page": (change_line(README, b"NOT SHOW", b"SHOW"), {"page"}),
    "a directory": (rename_the_directory, {"head"}),
    "a verdict": (change_json("verification.json", intact=False), {"verification"}),
    "a verdict of others": (change_json("verification.json", status=None), {"verification"}),
    "a signed verdict": (change_json("verification.json", signed_from=1), {"verification"}),
    "no verdict": (change_json("verification.json", findings=None), {"verification"}),
    "a deep verdict": (deep, {"verification"}),
    "findings": (
        change_json("verification.json", intact=False, findings=[{"severity": "error"}]),
        {"verification"},
    ),
}


def reversed_lines(members: Members) -> Members:
    name = name_of(members, "extract.jsonl")
    return {name: b"".join(members[name].splitlines(keepends=True)[::-1])}


@pytest.mark.parametrize("name", ATTACKS)
def test_every_edit_is_found(package: Path, tmp_path: Path, name: str) -> None:
    edit, types = ATTACKS[name]
    assert findings(edited(package, tmp_path / "edited.zip", edit)) >= types


def test_what_the_range_does_not_need_is_not_in_a_package(archive: World, package: Path, tmp_path: Path) -> None:
    """A data file of another day would not be compared; a signature of another commit would be misleading."""
    directory = checked(package).archives[0].directory
    other = next((archive.path / "entries/date=2026-11-19").iterdir()).relative_to(archive.path)
    for name in (str(other), f"signatures/000000000004-{'0' * 64}-01234567.sig"):
        path = edited(package, tmp_path / "edited.zip", lambda members: members.update({f"{directory}/{name}": b"x"}))  # noqa: B023
        assert "extra" in findings(path)


def test_the_second_reader_finds_what_its_page_says(package: Path, tmp_path: Path) -> None:
    unseen = {"a page", "a verdict of others", "a signed verdict", "completeness", "a directory", "a format"}
    unseen |= {"no maker", "no verdict", "the table"}
    for name, (edit, _types) in ATTACKS.items():
        path = edited(package, tmp_path / "edited.zip", edit)
        command = [sys.executable, "-I", "-S", reader.__file__, str(path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (int(name not in unseen), ""), (name, done.stdout)


def test_the_second_reader_shares_nothing_with_the_collection() -> None:
    nodes = list(ast.walk(ast.parse(Path(reader.__file__).read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {"." * node.level + str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not [name for name in names if name.startswith((".", "ansible"))]


def test_an_added_file_that_the_maker_reported(archive: World, tmp_path: Path) -> None:
    (archive.path / "entries" / "date=2026-11-20" / "x").write_text("x")
    (one,) = made(archive, tmp_path / "package.zip").archives
    assert [finding.type for finding in one.problems] == ["extra"]
    assert findings(tmp_path / "package.zip") == {"verification"}
