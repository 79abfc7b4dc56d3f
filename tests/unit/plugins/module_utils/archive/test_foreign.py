# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unexpected objects in an archive stop only runs that need their path, and verify reports them with all else."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.bookmark import Bookmark
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import SigningKey
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.status import status
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.export import export
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.finding import Finding
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.forwarder import forward
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import InvalidObject
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import MAX_LISTED
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.selection import Selection
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Range
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.examples import MANY
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.foreign import (
    ERRORS,
    FILES,
    OTHERS,
    PLACES,
    THINGS,
    put,
    remove,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

FORGED = "entries/date=2026-11-20/000000000001-ffffffffffff.jsonl.gz"
ALL_CASES = [
    (place, name, thing)
    for place, names in PLACES.items()
    for name in names
    for thing in THINGS
    # A file with a commit's name is what a cut leaves, and a day's directory can be empty.
    if not (name.startswith("commits/0") and thing not in OTHERS) and (name[-1] != "1" or thing != "a directory")
]
# Each thing in each place, and each name with some thing; with ARCHIVE_EXAMPLES each thing under each name.
CASES = [
    (place, name, thing)
    for place, name, thing in ALL_CASES
    if MANY or list(THINGS).index(thing) % len(PLACES[place]) == PLACES[place].index(name)
]


@pytest.fixture(autouse=True)
def clean(tmp_path: Path) -> Iterator[None]:
    """Delete trees that are too deep for Python and pytest."""
    yield
    remove(tmp_path, "archive")


@pytest.fixture
def archive(world: World) -> World:
    """Three days, two files each; the newest commit is the sixth."""
    world.clock.now -= timedelta(days=3)
    for _day in range(3):
        for _part in range(2):
            world.append(2, ago=30)
            world.collect()
            world.wait(minutes=30)
        world.wait(hours=23)
    assert world.verify() == []
    return world


def use(world: World, directory: Path) -> None:
    """Use an archive in all ways and check the results."""
    world.append(2, ago=30)
    assert world.collect().added == 2
    assert world.collect().added == 0
    assert world.archived() == world.logged()
    assert status(world.store, world.clock.now).state == "current"
    sent: list[bytes] = []
    forward(world.store, Bookmark(str(directory / "bookmark")), lambda _name, line: sent.append(line))
    assert len(sent) == len(world.log)
    compact(world.store, context=world.context())
    prune(world.store, world.clock.ago(days=2), context=world.context())
    kept = sum(world.archived().values())
    assert 0 < kept < len(world.log)
    manifest, _missing = export(world.store, str(directory / "all.jsonl"), Range(), Selection(), world.clock.now)
    assert manifest["entries"] == kept


def about(findings: list[Finding], name: str) -> list[Finding]:
    return [one for one in findings if one.path == name or one.path.startswith(f"{name}/")]


@pytest.mark.parametrize(("place", "name", "thing"), CASES)
def test_an_unexpected_object_stops_no_run_and_is_reported(
    archive: World, tmp_path: Path, place: str, name: str, thing: str
) -> None:
    put(archive.path, name, THINGS[thing])
    put(archive.path, FORGED, lambda path: path.write_bytes(gzip.compress(b'{"message":"forged"}\n')) and None)
    found = archive.verify()
    assert [one.type for one in about(found, FORGED)] == ["extra"]
    assert {one.is_warning for one in about(found, name)} == {place not in ERRORS}
    assert len(found) <= 4
    remove(archive.path, FORGED)
    use(archive, tmp_path)
    remove(archive.path, name)
    assert archive.verify() == []


@pytest.mark.parametrize("thing", OTHERS)
def test_an_object_with_the_next_commits_name_stops_only_runs_that_commit(archive: World, thing: str) -> None:
    archive.collect()
    name = f"commits/{archive.head.commit.sequence + 1:012d}.json"
    put(archive.path, name, THINGS[thing])
    assert archive.collect().commits_added == 0
    assert {(one.type, one.path) for one in archive.verify()} == {("extra", name)}
    archive.append(2, ago=30)
    before = [list(archive.store.list_files(directory)) for directory in ("entries", "pending")]
    for _run in range(2):
        with pytest.raises(InvalidObject, match="no collector creates this: move it away"):
            archive.collect()
    assert [list(archive.store.list_files(directory)) for directory in ("entries", "pending")] == before
    remove(archive.path, name)
    assert archive.collect().added == 2
    assert archive.verify() == []
    assert archive.archived() == archive.logged()


@pytest.mark.parametrize("directory", ["pending", "signatures"])
@pytest.mark.parametrize("thing", ["a pipe", "a link to a directory", "brackets"])
def test_another_object_instead_of_a_directory_stops_only_runs_that_need_it(
    archive: World, tmp_path: Path, directory: str, thing: str
) -> None:
    archive.collect()
    remove(archive.path, directory)
    put(archive.path, directory, THINGS[thing])
    assert [(one.type, one.path, one.is_warning) for one in archive.verify()] == [
        ("signature_extra" if directory == "signatures" else "foreign", directory, True)
    ]
    assert archive.collect().commits_added == 0
    if directory == "signatures":
        use(archive, tmp_path)
        return
    archive.append(1, ago=30)
    with pytest.raises(InvalidObject):
        archive.collect()


@pytest.mark.parametrize("directory", ["commits", "entries"])
def test_another_object_instead_of_a_content_directory_is_an_error(archive: World, directory: str) -> None:
    os.rename(archive.path / directory, archive.path / "elsewhere")
    put(archive.path, directory, THINGS["a link to a directory"])
    found = archive.verify()
    assert {"extra"} == {one.type for one in about(found, directory) if one.path == directory}
    assert about(found, "elsewhere")[0].type == "foreign"


@pytest.fixture
def signed(world: World, tmp_path: Path) -> World:
    key = SigningKey(Signer(tmp_path, "key").key)
    for _run in range(2):
        world.append(2, ago=30)
        world.collect(pin=True, sign_key=key)
        world.wait(minutes=5)
    assert world.verify() == []
    return world


@pytest.mark.parametrize("thing", THINGS)
def test_another_object_instead_of_a_signature_is_reported(signed: World, thing: str) -> None:
    for name in list(signed.store.list_files("signatures")):
        remove(signed.path, name)
        put(signed.path, name, THINGS[thing])
    types = [one.type for one in signed.verify(now=signed.clock.now) if not one.is_warning]
    # The existence of all signatures is checked, but only the newest one is read.
    assert types == ["signature_bad"] if thing in FILES else ["signature_absent"] * 2


def test_many_findings_of_one_type_hide_no_other(archive: World) -> None:
    for number in range(MAX_LISTED + 6):
        put(archive.path, f"odd{number}", THINGS["nothing"])
    put(archive.path, FORGED, THINGS["nothing"])
    found = archive.verify()
    assert [one.type for one in found] == ["extra", *["foreign"] * MAX_LISTED, "foreign"]
    assert found[-1].detail == "and 6 more"
