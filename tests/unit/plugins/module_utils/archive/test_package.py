# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence packages: how they are made, and what is in them."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    AllowedSigners,
    SigningKey,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import Head
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.heads import NotedHead
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.package import (
    Source,
    make_package,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.package_check import (
    Options,
    check_package,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.zip_file import (
    ZipReader,
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
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive import packages
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.packages import (
    END,
    HEADS,
    MANIFEST,
    README,
    START,
    Members,
    checked,
    edited,
    findings,
    made,
    name_of,
    read_members,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_package_page import run_blocks
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    NOON,
    MemoryStore,
    World,
)

archive, package = packages.archive, packages.package


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
    verification = json.loads(members[f"{directory}/verification.json"])
    assert (verification["intact"], verification["findings"]) == (True, [])
    assert verification["status"]["head"]["sha256"] == archive.head.head.sha256
    with zipfile.ZipFile(package) as opened:
        assert {member.date_time for member in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert opened.namelist()[0] == README
    assert opened.namelist()[-1] == MANIFEST
    project = facts["archive"]["project"]
    assert project["uuid"]
    assert f"  Project        {project['name'] or project['uuid']}\n" in members[README].decode()


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

    def read(self, name: str) -> Iterator[bytes]:
        if name.startswith(self._name) and self._changes:
            self._changes.pop()()
        return self._world.store.read(name)


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
            with pytest.raises(StorageError, match="read-only"):
                call()
        assert store.list_commits(after=2) == [3, 4]
        assert list(store.list_files("commits", after="commits/000000000003.json")) == ["commits/000000000004.json"]
        assert list(store.list_files("pending")) == []
