# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence packages: their content, and that every edit is found."""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import re
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    AllowedSigners,
    SigningKey,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.timestamp import (
    Authorities,
    timestamp_file,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import Head
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.heads import NotedHead
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.package import (
    Package,
    Source,
    make_package,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.package_check import (
    Options,
    PackageCheck,
    check_package,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.package_layout import document
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import LocalStore, Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.zip_file import (
    MIN_RATIO_SIZE,
    ZipReader,
    ZipWriter,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.zip_store import ZipStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    ArchiveDamaged,
    InvalidInput,
    StorageError,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, timestamp
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Range
from ansible_collections.auditops.cloudscale.tests.package_reader import reader
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Clock
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.authority import TimeAuthority
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    NOON,
    MemoryStore,
    World,
)

Members = dict[str, bytes]
Edit = Callable[[Members], None]

README, HEADS, MANIFEST = "README.txt", "heads.jsonl", "MANIFEST.sha256"
START, END = datetime.fromisoformat("2026-11-20T00:00:00+00:00"), datetime.fromisoformat("2026-11-21T18:00:00+00:00")


def made(world: World, dest: Path, start: Optional[datetime] = START, end: Optional[datetime] = END) -> Package:
    return make_package([Source(world.store)], str(dest), Range(start, end), world.clock.now)


def checked(path: Path, **options: Any) -> PackageCheck:
    return check_package(str(path), Options(**options), NOON)


def findings(path: Path, **options: Any) -> set[str]:
    return {finding.type for finding in checked(path, **options).findings}


def read_members(path: Path) -> Members:
    with zipfile.ZipFile(path) as package:
        return {name: package.read(name) for name in package.namelist()}


def sealed(members: Members) -> Members:
    """Return the members with a matching manifest."""
    lines = [f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in sorted(members.items())]
    return {**members, MANIFEST: "".join(lines).encode()}


def write_members(path: Path, members: Members) -> None:
    order = [name for name in (README, HEADS) if name in members]
    order += sorted(members.keys() - {README, HEADS, MANIFEST})
    order += [MANIFEST] if MANIFEST in members else []
    with ZipWriter(str(path)) as writer:
        for name in order:
            writer.add_bytes(name, members[name])


def edited(path: Path, target: Path, edit: Edit) -> Path:
    """Edit a package and give it a matching manifest."""
    members = read_members(path)
    del members[MANIFEST]
    edit(members)
    write_members(target, sealed(members))
    return target


def name_of(members: Members, part: str, number: int = 0) -> str:
    """Return the name of a member that contains some text."""
    return sorted(name for name in members if part in name)[number]


@pytest.fixture
def archive(world: World) -> World:
    """Three days, only the middle one of which is completely in the range, and an entry without a time."""
    for days in (3, 2, 1):
        world.append(3, ago=days * 86400, action="{{ 7*7 }}")
        world.collect()
    world.log.append(timestamp="never", message="<script>")
    world.collect()
    return world


@pytest.fixture
def package(archive: World, tmp_path: Path) -> Path:
    made(archive, tmp_path / "package.zip")
    return tmp_path / "package.zip"


def test_a_package_has_the_extract_and_all_evidence(archive: World, package: Path) -> None:
    members = read_members(package)
    directory = name_of(members, "/extract.json").partition("/")[0]
    assert directory.endswith(archive.head.commit.archive_id)
    lines = members[f"{directory}/extract.jsonl"].splitlines()
    moments = [(timestamp(entry), canonical(entry)) for entry in cat(archive.store)]
    assert lines == [line for moment, line in moments if moment is None or START <= moment < END]
    assert len(lines) == 7
    assert members[f"{directory}/extract.csv"].count(b"\n") == 8
    facts = json.loads(members[f"{directory}/extract.json"])
    assert (facts["complete"], facts["missing"], facts["entries"]) == (True, [], 7)
    assert facts["range"] == {"start": "2026-11-20T00:00:00Z", "end": "2026-11-21T18:00:00Z"}
    assert facts["day_files"] == {"packed": 3, "live": 4}
    assert facts["archive"]["head"] == archive.head.head._asdict()
    commits = [name for name in members if name.startswith(f"{directory}/commits/")]
    assert len(commits) == archive.head.commit.sequence
    assert {name.split("/")[2] for name in members if "/entries/" in name} == {
        *("date=2026-11-20", "date=2026-11-21", "date=0000-00-00")
    }
    head = json.loads(members[HEADS])
    assert (head["sequence"], head["sha256"]) == archive.head.head
    protocol = json.loads(members[f"{directory}/verification.json"])
    assert (protocol["intact"], protocol["findings"]) == (True, [])
    assert protocol["status"]["head"]["sha256"] == archive.head.head.sha256
    with zipfile.ZipFile(package) as opened:
        assert {member.date_time for member in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert opened.namelist()[0] == README
    assert opened.namelist()[-1] == MANIFEST


def test_it_is_verified(archive: World, package: Path) -> None:
    found = checked(package)
    assert found.findings == []
    assert found.sha256 == hashlib.sha256(package.read_bytes()).hexdigest()
    (one,) = found.archives
    assert (one.facts["entries"], one.head) == (7, archive.head)
    assert reader.read(str(package)) == {one.directory: (4, archive.head.head.sha256)}


def test_the_same_archive_and_range_give_the_same_bytes(archive: World, package: Path, tmp_path: Path) -> None:
    archive.wait(days=40)
    done = made(archive, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == package.read_bytes()
    assert done.sha256 == hashlib.sha256(package.read_bytes()).hexdigest()
    assert done.bytes == package.stat().st_size


@pytest.mark.parametrize(
    ("start", "end", "entries", "missing"),
    [
        (None, None, 10, []),
        (END, None, 1, []),
        (None, START, 4, []),
        (START, START, 1, []),
        (NOON, NOON + timedelta(days=1), 1, ["not collected"]),
        (NOON + timedelta(days=1), None, 1, ["not collected"]),
        (NOON - timedelta(days=200), END, 10, ["not covered"]),
    ],
)
def test_an_end_counts_exactly(
    archive: World,
    tmp_path: Path,
    start: Optional[datetime],
    end: Optional[datetime],
    entries: int,
    missing: list[str],
) -> None:
    (one,) = made(archive, tmp_path / "package.zip", start, end).archives
    assert (one.facts["entries"], [part["why"] for part in one.facts["missing"]]) == (entries, missing)
    assert one.facts["complete"] is not missing
    assert findings(tmp_path / "package.zip") == set()
    assert reader.read(str(tmp_path / "package.zip"))


def test_pruned_days_gaps_and_merged_files(world: World, tmp_path: Path) -> None:
    for days in (5, 4, 3):
        world.append(2, ago=days * 86400)
        world.collect()
        world.append(2, ago=days * 86400 - 60)
        world.collect()
    compact(world.store, lambda _now: world.clock.ago(days=1), world.context())
    prune(world.store, lambda _now: world.clock.ago(days=4), world.context())
    world.wait(days=100)
    world.append(1)
    world.collect()
    dest = tmp_path / "package.zip"
    (one,) = made(world, dest, NOON - timedelta(days=6), NOON + timedelta(days=50)).archives
    assert [part["why"] for part in one.facts["missing"]] == ["pruned", "retention"]
    assert one.facts["entries"] == 8
    assert check_package(str(dest), Options(), world.clock.now).findings == []
    assert reader.read(str(dest))
    run_blocks(dest, tmp_path)


def test_several_archives(world: World, server: Simulator, clock: Clock, tmp_path: Path) -> None:
    other = World(server, clock, tmp_path / "other")
    for number, one in enumerate((world, other)):
        one.append(2)
        for _number in range(number * 10):
            one.context().nonce()  # an archive's id is its first one
        one.collect(project="Projekt 1 Zürich/../x" if number else "Projekt 1")
    dest, again = tmp_path / "package.zip", tmp_path / "again.zip"
    sources = [Source(world.store), Source(other.store)]
    done = make_package(sources, str(dest), Range())
    make_package(sources[::-1], str(again), Range())
    assert dest.read_bytes() == again.read_bytes()
    assert len(done.archives) == 2
    assert all(re.fullmatch(r"projekt-1-(z-rich-x-)?[0-9a-z]+", one.directory) for one in done.archives)
    assert checked(dest).findings == []
    assert len(reader.read(str(dest))) == 2
    first = done.archives[0].directory

    def damage(members: Members) -> None:
        del members[name_of(members, f"{first}/entries")]

    assert all(finding.path.startswith(first) for finding in checked(edited(dest, again, damage)).findings)
    with pytest.raises(InvalidInput, match="--expected-head is about one archive, and .* has 2"):
        checked(dest, expected_head=Head(1, "0" * 64))
    with pytest.raises(InvalidInput, match="are the same archive"):
        make_package([sources[0], sources[0]], str(again), Range())


def test_signatures_and_whose_they_are(world: World, tmp_path: Path) -> None:
    signer, stranger = Signer(tmp_path, "log1"), Signer(tmp_path, "stranger")
    world.append(2)
    world.collect(sign_key=SigningKey(signer.key))
    dest = tmp_path / "package.zip"
    source = Source(world.store, signer.allowed)
    assert make_package([source], str(dest), Range()).archives[0].problems == []
    (one,) = checked(dest).archives
    assert (one.has_signers, one.examination.signed_up_to) == (True, 1)
    assert findings(dest, signers=AllowedSigners(signer.allowed), every_signature=True) == set()
    assert findings(dest, signers=AllowedSigners(stranger.allowed)) == {"signature_bad"}
    # The signers in the package prove nothing: its maker adds them.
    forged = edited(dest, tmp_path / "forged.zip", lambda members: replace(members, "allowed-signers", stranger))
    assert findings(forged) == set()
    assert findings(forged, signers=AllowedSigners(signer.allowed)) == set()
    removed = edited(dest, tmp_path / "removed.zip", lambda members: members.pop(name_of(members, ".sig")) and None)
    assert findings(removed) == {"signature_absent"}
    (tmp_path / "allowed-signers").write_text(signer.line())
    run_blocks(dest, tmp_path)
    (tmp_path / "allowed-signers").write_text(stranger.line())
    with pytest.raises(subprocess.CalledProcessError):
        run_blocks(dest, tmp_path)


def replace(members: Members, part: str, signer: Signer) -> None:
    members[name_of(members, part)] = signer.line().encode()


def test_an_unsigned_archive_is_not_signed(package: Path, tmp_path: Path) -> None:
    signer = Signer(tmp_path, "log1")
    assert findings(package, signers=AllowedSigners(signer.allowed)) == {"signature_absent"}
    assert findings(package, signed_from=1) == {"signature_absent"}


def test_noted_heads(archive: World, package: Path) -> None:
    commit = archive.head.commit
    good = NotedHead(commit.archive_id, archive.head.head, 1)
    assert findings(package, noted=[good]) == set()
    assert findings(package, noted=[good._replace(head=Head(4, "0" * 64))]) == {"head"}
    assert findings(package, noted=[good._replace(head=Head(9, "0" * 64))]) == {"head"}
    assert findings(package, noted=[good._replace(archive_id="other")]) == {"head"}
    assert findings(package, expected_head=archive.head.head) == set()
    assert findings(package, expected_head=Head(3, "0" * 64)) == {"head"}


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
    "the end": (cut_the_end, {"head", "extract", "protocol"}),
    "a head": (change_line(HEADS, b'"sequence": 4', b'"sequence": 5'), {"head"}),
    "heads of others": (lambda members: members.update({HEADS: members[HEADS] * 2}), {"head"}),
    "a page": (change_line(README, b"NOT SHOW", b"SHOW"), {"page"}),
    "a directory": (rename_the_directory, {"head"}),
    "a verdict": (change_json("verification.json", intact=False), {"protocol"}),
    "a verdict of others": (change_json("verification.json", status=None), {"protocol"}),
    "a signed verdict": (change_json("verification.json", signed_from=1), {"protocol"}),
    "no verdict": (change_json("verification.json", findings=None), {"protocol"}),
    "a deep verdict": (deep, {"protocol"}),
    "findings": (
        change_json("verification.json", intact=False, findings=[{"severity": "error"}]),
        {"protocol"},
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
    assert findings(tmp_path / "package.zip") == {"protocol"}


# Hostile files are refused with one sentence.


def test_no_byte_can_be_changed(package: Path, tmp_path: Path) -> None:
    """Padding bits in the last byte of a compressed member are ignored, because no program reads them."""
    whole = package.read_bytes()
    target = tmp_path / "changed.zip"
    for position in [*range(0, len(whole), 97), *range(len(whole) - 200, len(whole))]:
        for bit in (1, 128):
            target.write_bytes(whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :])
            why = refusal(target)
            assert why.endswith(".") if why else read_members(target) == read_members(package)


def refusal(path: Path) -> str:
    """Return why a file is refused, or an empty text."""
    try:
        checked(path)
    except ArchiveDamaged as error:
        return error.message
    return ""


def test_nothing_can_be_hidden_after_a_compressed_member(package: Path, tmp_path: Path) -> None:
    with ZipWriter(str(tmp_path / "x.zip")) as writer:
        for name, body in read_members(package).items():
            writer.add_bytes(name, body)
        member = writer._zip.getinfo(MANIFEST)
        writer._zip.fp.seek(writer._zip.start_dir)  # type: ignore[union-attr]
        writer._zip.fp.write(b"hidden")  # type: ignore[union-attr]
        member.compress_size += 6
        writer._zip.fp.seek(member.header_offset)  # type: ignore[union-attr]
        writer._zip.fp.write(member.FileHeader())  # type: ignore[union-attr]
        writer._zip.start_dir += 6  # type: ignore[attr-defined]
    with pytest.raises(ArchiveDamaged, match="the bytes of MANIFEST.sha256 were changed"):
        checked(tmp_path / "x.zip")


@pytest.mark.parametrize("part", [0, 1, 21, 22, 100, 0.5, 0.99, -1, -22, -23])
def test_a_truncated_file(package: Path, tmp_path: Path, part: float) -> None:
    whole = package.read_bytes()
    end = int(len(whole) * part) if isinstance(part, float) else part
    (tmp_path / "cut.zip").write_bytes(whole[:end])
    with pytest.raises(ArchiveDamaged, match="is refused: it is not a complete zip file"):
        checked(tmp_path / "cut.zip")


@pytest.mark.parametrize(("before", "after"), [(b"#!/bin/sh\n", b""), (b"", b"x"), (b"", b"PK\5\6" + b"\0" * 18)])
def test_bytes_around_it(package: Path, tmp_path: Path, before: bytes, after: bytes) -> None:
    (tmp_path / "more.zip").write_bytes(before + package.read_bytes() + after)
    with pytest.raises(ArchiveDamaged, match="is refused"):
        checked(tmp_path / "more.zip")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../../etc/passwd", r"'../../etc/passwd' leads out of the package"),
        ("a/../../x", "leads out"),
        ("/etc/passwd", "is an absolute name"),
        ("C:/x", "is an absolute name"),
        ("..\\x", "is an absolute name, or one of another system"),
        ("x/", "is a directory"),
        ("x\x1b[31m", r"'x\\x1b\[31m' is a name that no package has"),
        ("Zürich", "is a name that no package has"),
        ("x" * 400, "is a name that no package has"),
        ("README.txt", "two members named 'README.txt'"),
        ("shop-1/x.txt", "'shop-1/x.txt' is a name that no package has"),
        ("shop-1/entries/x", "is a name that no package has"),
        ("shop-1/commits/1.json", "is a name that no package has"),
        ("SHOP-1/extract.csv", "is a name that no package has"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_names(package: Path, name: str, said: str) -> None:
    with zipfile.ZipFile(package, "a") as opened:
        member = zipfile.ZipInfo("x", (1980, 1, 1, 0, 0, 0))
        member.create_system, member.external_attr = 3, 0o100644 << 16
        member.filename = name
        opened.writestr(member, b"")
    with pytest.raises(ArchiveDamaged, match=said):
        checked(package)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (stat.S_IFLNK | 0o777, "is a symbolic link"),
        (stat.S_IFIFO | 0o644, "is a named pipe"),
        (stat.S_IFSOCK | 0o644, "is a socket"),
        (stat.S_IFCHR | 0o644, "is a device"),
        (stat.S_IFBLK | 0o644, "is a device"),
        (stat.S_IFDIR | 0o755, "is a directory"),
        (stat.S_IFREG | 0o4755, "its table of contents is not as a package has it"),
        (0, "its table of contents is not as a package has it"),
    ],
)
def test_hostile_modes(package: Path, tmp_path: Path, mode: int, said: str) -> None:
    def change(member: zipfile.ZipInfo) -> None:
        member.external_attr = mode << 16

    with pytest.raises(ArchiveDamaged, match=said):
        checked(repacked(package, tmp_path / "hostile.zip", change))


def repacked(path: Path, target: Path, change: Callable[[zipfile.ZipInfo], None], only: str = HEADS) -> Path:
    """Return the package with another form of one member."""
    with zipfile.ZipFile(path) as package, zipfile.ZipFile(target, "w") as other:
        for member in package.infolist():
            body = package.read(member)
            if member.filename == only:
                change(member)
            other.writestr(member, body)
    return target


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"compress_type": zipfile.ZIP_BZIP2}, "is compressed by a method that no package has"),
        ({"date_time": (2026, 1, 1, 0, 0, 0)}, "the header of 'heads.jsonl' is not as a package has it"),
        ({"extra": b"\xfe\xca\0\0"}, "is not as a package has it"),
        ({"comment": b"x"}, "is not as a package has it"),
        ({"create_system": 0}, "is not as a package has it"),
        ({"internal_attr": 1}, "is not as a package has it"),
    ],
)
def test_other_forms(package: Path, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    def apply(member: zipfile.ZipInfo) -> None:
        for name, value in change.items():
            setattr(member, name, value)

    with pytest.raises(ArchiveDamaged, match=said):
        checked(repacked(package, tmp_path / "other.zip", apply))


def test_an_encrypted_member(package: Path, tmp_path: Path) -> None:
    whole = package.read_bytes()
    position = whole.rindex(b"PK\1\2")
    (tmp_path / "x.zip").write_bytes(whole[: position + 8] + b"\1" + whole[position + 9 :])
    with pytest.raises(ArchiveDamaged, match="'MANIFEST.sha256' is encrypted"):
        checked(tmp_path / "x.zip")


def test_a_comment(package: Path) -> None:
    with zipfile.ZipFile(package, "a") as opened:
        opened.comment = b"x"
    with pytest.raises(ArchiveDamaged, match="is refused"):
        checked(package)


def test_bombs_cost_nothing(package: Path, tmp_path: Path) -> None:
    members = read_members(package)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as opened:
        for name, body in members.items():
            opened.writestr(name, body + b"\0" * (200 * MIN_RATIO_SIZE if name == HEADS else 0))
    with pytest.raises(ArchiveDamaged, match="'heads.jsonl' expands to more than 100 times its size"):
        checked(tmp_path / "bomb.zip")
    # Overlapping members: each byte is used many times.
    whole = package.read_bytes()
    position = whole.rindex(b"PK\1\2")
    second = whole[position:-22]
    size = int.from_bytes(whole[-10:-6], "little") + len(second)
    end = bytearray(whole[-22:])
    end[8:12] = (len(members) + 1).to_bytes(2, "little") * 2
    end[12:16] = size.to_bytes(4, "little")
    (tmp_path / "overlap.zip").write_bytes(whole[:-22] + second.replace(b"MANIFEST", b"MANIFESX") + bytes(end))
    with pytest.raises(ArchiveDamaged, match=r"header of 'MANIFESX.sha256' is not as a package has it"):
        checked(tmp_path / "overlap.zip")


def test_a_huge_table_of_contents(package: Path, tmp_path: Path) -> None:
    end = bytearray(package.read_bytes()[-22:])
    end[12:16] = (1 << 31).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(package.read_bytes()[:-22] + bytes(end))
    with pytest.raises(ArchiveDamaged, match="its table of contents is larger than that of any package"):
        checked(tmp_path / "x.zip")


def without(name: str) -> Callable[[Members], Members]:
    return lambda members: {other: body for other, body in members.items() if not other.endswith(name)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without(README), "README.txt is missing in it"),
        (without(HEADS), "heads.jsonl is missing in it"),
        (without(MANIFEST), "MANIFEST.sha256 is missing in it"),
        (without("/extract.json"), "/extract.json is missing in it"),
        (without("/verification.json"), "/verification.json is missing in it"),
        (without("commits/000000000001.json"), "000000000001.json is missing in it"),
        (without("commits/000000000002.json"), "000000000002.json' is in MANIFEST.sha256, but not in the package"),
        (lambda members: {**members, HEADS: b"x"}, "heads.jsonl has other bytes than MANIFEST.sha256 says"),
        (lambda members: {**members, MANIFEST: b""}, "README.txt is not in MANIFEST.sha256"),
        (lambda members: {**members, MANIFEST: members[MANIFEST] * 2}, "has more lines than there are files"),
        (lambda members: {**members, MANIFEST: b"x" * 99999}, "is not in MANIFEST.sha256|is in MANIFEST.sha256, but"),
        (lambda members: {**members, MANIFEST: members[MANIFEST].replace(b"  ", b" *")}, "MANIFEST.sha256"),
        (lambda members: {name: body for name, body in members.items() if "/" not in name}, "there is no archive"),
    ],
)
def test_the_manifest_is_of_exactly_these_files(
    package: Path, tmp_path: Path, change: Callable[[Members], Members], said: str
) -> None:
    write_members(tmp_path / "x.zip", change(read_members(package)))
    with pytest.raises(ArchiveDamaged, match=said):
        checked(tmp_path / "x.zip")


def test_another_order(package: Path, tmp_path: Path) -> None:
    members = read_members(package)
    with ZipWriter(str(tmp_path / "x.zip")) as writer:
        for name in sorted(members):
            writer.add_bytes(name, members[name])
    with pytest.raises(ArchiveDamaged, match="not in the order of a package"):
        checked(tmp_path / "x.zip")


def test_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.zip", tmp_path, Path("/dev/null")):
        with pytest.raises(StorageError, match="check the path"):
            checked(path)


def test_large_files_have_the_same_form(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use 64-bit sizes for small files, too."""
    members = read_members(package)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1500)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    write_members(tmp_path / "large.zip", members)
    assert (tmp_path / "large.zip").read_bytes() != package.read_bytes()
    assert findings(tmp_path / "large.zip") == set()


def test_entries_that_compress_too_well_are_stored(world: World, tmp_path: Path) -> None:
    world.append(2, ip_address=None)
    world.log.append(timestamp=world.clock.ago(seconds=30), message="a" * (3 * MIN_RATIO_SIZE))
    world.collect()
    made(world, tmp_path / "package.zip", None, None)
    assert findings(tmp_path / "package.zip") == set()
    with zipfile.ZipFile(tmp_path / "package.zip") as opened:
        methods = {member.filename.rpartition("/")[2]: member.compress_type for member in opened.infolist()}
    assert methods["extract.jsonl"] == zipfile.ZIP_STORED
    assert methods["extract.json"] == zipfile.ZIP_DEFLATED


# Making packages


class Busy:
    """A store whose archive is changed when a file with this prefix is read."""

    def __init__(self, world: World, name: str, change: Callable[[], Any]) -> None:
        self._world = world
        self._name = name
        self._changes = [change]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.store, name)

    def __str__(self) -> str:
        return str(self._world.store)

    def chunks(self, name: str) -> Iterator[bytes]:
        if name.startswith(self._name) and self._changes:
            self._changes.pop()()
        return self._world.store.chunks(name)


def test_an_archive_that_is_compacted_meanwhile(world: World, tmp_path: Path) -> None:
    for _number in range(2):
        world.append(2, ago=2 * 86400)
        world.collect()

    def rearrange() -> None:
        compact(world.store, lambda _now: world.clock.ago(hours=1), world.context())

    store: Store = Busy(world, "entries/", rearrange)  # type: ignore[assignment]
    (one,) = make_package([Source(store)], str(tmp_path / "package.zip"), Range(), NOON).archives
    assert (one.facts["entries"], one.facts["archive"]["head"]["sequence"]) == (4, 3)
    assert findings(tmp_path / "package.zip") == set()


def test_an_archive_that_is_collected_and_signed_meanwhile(world: World, tmp_path: Path) -> None:
    world.append(2)
    world.collect(pin=True)
    signer = Signer(tmp_path, "log1")

    def sign() -> None:
        world.append(1)
        world.collect(pin=True, sign_key=SigningKey(signer.key))

    store: Store = Busy(world, "entries/", sign)  # type: ignore[assignment]
    (one,) = make_package([Source(store)], str(tmp_path / "package.zip"), Range(), NOON).archives
    assert (one.facts["entries"], one.facts["archive"]["head"]["sequence"]) == (3, 2)
    assert findings(tmp_path / "package.zip") == set()


def test_a_damaged_archive_gives_no_package(archive: World, tmp_path: Path) -> None:
    victim = next((archive.path / "entries" / "date=2026-11-20").iterdir())
    body = victim.read_bytes()
    for damage in (lambda: victim.write_bytes(body + b"x"), victim.unlink):
        damage()
        with pytest.raises(ArchiveDamaged, match="verify the archive"):
            made(archive, tmp_path / "package.zip")
    victim.write_bytes(body)
    commit = archive.path / "commits/000000000002.json"
    commit.write_bytes(commit.read_bytes().replace(b'"host":"', b'"host":"x'))
    with pytest.raises(ArchiveDamaged):
        made(archive, tmp_path / "package.zip")
    assert not list(tmp_path.glob("*.zip"))
    assert not list(tmp_path.glob(".cloudscale-*"))


def test_a_store_that_reads_several_files_at_once(world: World, tmp_path: Path) -> None:
    signer, store = Signer(tmp_path, "log1"), MemoryStore()
    for _number in range(4):
        world.append(2)
        world.collect(store, sign_key=SigningKey(signer.key), allowed_signers=AllowedSigners(signer.allowed))
    make_package([Source(store)], str(tmp_path / "package.zip"), Range(), NOON)
    assert findings(tmp_path / "package.zip", every_signature=True) == set()
    packed = read_members(tmp_path / "package.zip").values()
    assert all(body in packed for body in store.files.values())


def test_nothing_to_pack(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="There is no archive in"):
        make_package([Source(LocalStore(str(tmp_path / "none")))], str(tmp_path / "package.zip"), Range())


def test_a_package_is_never_written_to(package: Path) -> None:
    directory = checked(package).archives[0].directory
    with ZipReader(str(package)) as opened:
        inside = f"{directory}/"
        names = [name[len(inside) :] for name in opened.names if name.startswith(inside)]
        store = ZipStore(opened, directory, names)
        calls: list[Callable[[], Any]] = [
            lambda: store.put({}),
            lambda: store.put_if_absent("", b""),
            lambda: store.copy_claim("", b""),
            lambda: store.delete([]),
            lambda: store.purge([]),
            lambda: store.check_not_locked([]),
            lambda: store.prepare(None),
            lambda: store.check_put_if_absent(None, ""),
        ]
        for call in calls:
            with pytest.raises(StorageError, match="never changed"):
                call()
        assert store.commits(after=2) == [3, 4]
        assert list(store.names("commits", after="commits/000000000003.json")) == ["commits/000000000004.json"]
        assert list(store.names("pending")) == []


# The page


def blocks(page: str) -> list[str]:
    """Return the commands on a page."""
    found = re.findall(r"(?:^    .*\n)+", page.partition("HOW TO CHECK IT")[2], re.MULTILINE)
    return [dedent(block) for block in found if not block.lstrip().startswith("cloudscale-audit")]


def run_blocks(package: Path, directory: Path) -> list[str]:
    """Unpack a package, run all commands of its page, and return their output."""
    place = directory / "unpacked"
    subprocess.run(["rm", "-rf", str(place)], check=True, timeout=60)
    with zipfile.ZipFile(package) as opened:
        opened.extractall(place)
    page = (place / README).read_text("utf-8")
    return [
        subprocess.run(["sh", "-ec", block], cwd=place, check=True, capture_output=True, text=True, timeout=60).stdout
        for block in blocks(page)
    ]


def test_the_commands_on_the_page_run(archive: World, package: Path, tmp_path: Path) -> None:
    manifest, chain = run_blocks(package, tmp_path)
    assert manifest == ""
    assert chain.splitlines()[-1] == archive.head.head.sha256
    assert " 7 entries, newest commit:" in chain


def test_the_commands_on_the_page_find_edits(package: Path, tmp_path: Path) -> None:
    for name in (
        "an entry",
        "a line more",
        "a line less",
        "a day less",
        "a data file less",
        "a commit",
        "a commit less",
    ):
        target = edited(package, tmp_path / "edited.zip", ATTACKS[name][0])
        with pytest.raises(subprocess.CalledProcessError):
            run_blocks(target, tmp_path)


def test_an_extract_that_lacks_an_entry_is_found_by_the_page(package: Path, tmp_path: Path) -> None:
    def edit(members: Members) -> None:
        name = name_of(members, "extract.jsonl")
        members[name] = b"".join(members[name].splitlines(keepends=True)[:-1])

    with pytest.raises(subprocess.CalledProcessError):
        run_blocks(edited(package, tmp_path / "edited.zip", edit), tmp_path)


@pytest.fixture
def authority(tmp_path: Path) -> TimeAuthority:
    return TimeAuthority(tmp_path)


def stamped(world: World, authority: TimeAuthority, dest: Path) -> Path:
    """A package of an archive whose commits 2 and 4 have time stamps."""
    for sequence in (2, 4):
        head = load_commit(world.store, sequence).head
        body = authority.at(world.clock.now + timedelta(hours=sequence), head.sha256)
        (world.path / timestamp_file(head).name).write_bytes(body)
    (world.path / "timestamps/..x").write_bytes(b"not a name that is packed")
    made(world, dest)
    return dest


def test_time_stamps_are_packed_and_checked(archive: World, authority: TimeAuthority, tmp_path: Path) -> None:
    package = stamped(archive, authority, tmp_path / "package.zip")
    assert findings(package) == set()
    found = checked(package, authorities=Authorities(authority.root))
    assert found.findings == []
    stamps = found.archives[0].examination.timestamps
    assert stamps is not None
    assert [(one.head.sequence, one.time - archive.clock.now) for one in stamps.heads] == [
        (2, timedelta(hours=2)),
        (4, timedelta(hours=4)),
    ]


def test_the_commands_on_the_page_check_time_stamps(archive: World, authority: TimeAuthority, tmp_path: Path) -> None:
    package = stamped(archive, authority, tmp_path / "package.zip")
    (tmp_path / "authority.pem").write_text(Path(authority.root).read_text())
    *_others, shown = run_blocks(package, tmp_path)
    assert shown.count("Verification: OK\n") == 2
    assert "commits/000000000004.json existed by Nov 22 16:00:00 2026 GMT\n" in shown
    (tmp_path / "authority.pem").write_text(Path(TimeAuthority(tmp_path, "other").root).read_text())
    with pytest.raises(subprocess.CalledProcessError):
        run_blocks(package, tmp_path)


def test_edited_time_stamps_are_found(archive: World, authority: TimeAuthority, tmp_path: Path) -> None:
    package = stamped(archive, authority, tmp_path / "package.zip")
    (tmp_path / "authority.pem").write_text(Path(authority.root).read_text())

    def exchange(members: Members) -> None:
        one, other = (name for name in members if "/timestamps/" in name)
        members[one], members[other] = members[other], members[one]

    def delete(members: Members) -> None:
        for name in [name for name in members if "/timestamps/" in name]:
            del members[name]

    known = {"authorities": Authorities(authority.root)}
    target = edited(package, tmp_path / "edited.zip", exchange)
    assert findings(target, **known) == {"timestamp_bad"}
    with pytest.raises(subprocess.CalledProcessError):
        run_blocks(target, tmp_path)
    assert "timestamp_absent" in findings(edited(package, tmp_path / "edited.zip", delete), **known)
