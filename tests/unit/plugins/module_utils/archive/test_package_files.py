# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that are not packages: each one is refused with one sentence."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.zip_file import (
    MIN_RATIO_SIZE,
    ZipWriter,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    ArchiveDamaged,
    StorageError,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive import packages
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.packages import (
    HEADS,
    MANIFEST,
    README,
    Members,
    checked,
    findings,
    made,
    read_members,
    write_members,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    World,
)

archive, package = packages.archive, packages.package


# Hostile files are refused with one sentence.


def test_no_byte_can_be_changed(package: Path, tmp_path: Path) -> None:
    """Padding bits in the last byte of a compressed member are ignored, because no program reads them."""
    package_bytes = package.read_bytes()
    target = tmp_path / "changed.zip"
    for position in [*range(0, len(package_bytes), 97), *range(len(package_bytes) - 200, len(package_bytes))]:
        for bit in (1, 128):
            target.write_bytes(
                package_bytes[:position] + bytes([package_bytes[position] ^ bit]) + package_bytes[position + 1 :]
            )
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
    package_bytes = package.read_bytes()
    end = int(len(package_bytes) * part) if isinstance(part, float) else part
    (tmp_path / "cut.zip").write_bytes(package_bytes[:end])
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
        (stat.S_IFREG | 0o4755, "its table of contents has an unexpected form"),
        (0, "its table of contents has an unexpected form"),
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
        ({"date_time": (2026, 1, 1, 0, 0, 0)}, "the header of 'heads.jsonl' has an unexpected form"),
        ({"extra": b"\xfe\xca\0\0"}, "has an unexpected form"),
        ({"comment": b"x"}, "has an unexpected form"),
        ({"create_system": 0}, "has an unexpected form"),
        ({"internal_attr": 1}, "has an unexpected form"),
    ],
)
def test_other_forms(package: Path, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    def apply(member: zipfile.ZipInfo) -> None:
        for name, value in change.items():
            setattr(member, name, value)

    with pytest.raises(ArchiveDamaged, match=said):
        checked(repacked(package, tmp_path / "other.zip", apply))


def test_an_encrypted_member(package: Path, tmp_path: Path) -> None:
    package_bytes = package.read_bytes()
    position = package_bytes.rindex(b"PK\1\2")
    (tmp_path / "x.zip").write_bytes(package_bytes[: position + 8] + b"\1" + package_bytes[position + 9 :])
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
    package_bytes = package.read_bytes()
    position = package_bytes.rindex(b"PK\1\2")
    second = package_bytes[position:-22]
    size = int.from_bytes(package_bytes[-10:-6], "little") + len(second)
    end = bytearray(package_bytes[-22:])
    end[8:12] = (len(members) + 1).to_bytes(2, "little") * 2
    end[12:16] = size.to_bytes(4, "little")
    (tmp_path / "overlap.zip").write_bytes(package_bytes[:-22] + second.replace(b"MANIFEST", b"MANIFESX") + bytes(end))
    with pytest.raises(ArchiveDamaged, match=r"header of 'MANIFESX.sha256' has an unexpected form"):
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


def test_members_that_are_not_files(tmp_path: Path) -> None:
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
