# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of an evidence package: its commands check the package without the collection."""

from __future__ import annotations

import re
import subprocess
import zipfile
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.timestamp import (
    Authorities,
    timestamp_file,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive import packages
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.authority import TimeAuthority
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.packages import (
    README,
    Members,
    checked,
    edited,
    findings,
    made,
    name_of,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_package_attacks import ATTACKS
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    World,
)

archive, package = packages.archive, packages.package


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
    for name, difference in {
        "an entry": "a data file is not as a commit names it",
        "a line more": "the extract has an entry that is in no data file",
        "a line less": "the extract has an entry that is in no data file",
        "a day less": "a data file of the range is missing",
        "a data file less": "a data file of the range is missing",
        "a commit": "a commit is changed or missing",
        "a commit less": "a commit is changed or missing",
    }.items():
        target = edited(package, tmp_path / "edited.zip", ATTACKS[name][0])
        with pytest.raises(subprocess.CalledProcessError) as failed:
            run_blocks(target, tmp_path)
        (line,) = failed.value.stderr.splitlines()
        assert re.fullmatch(rf"DIFFERENCE in \w+/: {difference}", line), name


def test_an_extract_that_lacks_an_entry_is_found_by_the_page(package: Path, tmp_path: Path) -> None:
    def edit(members: Members) -> None:
        name = name_of(members, "extract.jsonl")
        members[name] = b"".join(members[name].splitlines(keepends=True)[:-1])

    with pytest.raises(subprocess.CalledProcessError) as failed:
        run_blocks(edited(package, tmp_path / "edited.zip", edit), tmp_path)
    assert "the extract lacks an entry of the range" in failed.value.stderr


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
