# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compacting and pruning: the files that are removed, and that no other entry is lost or returns."""

from __future__ import annotations

import errno
import json
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Event
from typing import Any, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.pin import HeadPin
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import (
    MaintenanceResult,
    compact,
    prune,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import LocalStore, Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    ArchiveDamaged,
    AuditError,
    Cancelled,
    StorageError,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, parse, timestamp
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Clock
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_verifier import forge
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    Disk,
    DurableDisk,
    Killed,
    MemoryStore,
    RacingStore,
    World,
)

Work = Callable[..., MaintenanceResult]
DAY = 86400
FAILURES = (None, errno.EIO, errno.EROFS)


def midnight(day: int) -> datetime:
    return datetime(2026, 11, day, tzinfo=timezone.utc)


def fill(world: World, store: Optional[Store] = None) -> None:
    """Three days, two files each, then one of today: 2026-11-19 to 22, at noon."""
    world.clock.now -= timedelta(days=3)
    for _day in range(3):
        for _run in range(2):
            world.append(3)
            world.collect(store)
            world.wait(minutes=30)
        world.wait(hours=23)
    world.append(2)
    world.collect(store)


@pytest.fixture
def archive(world: World) -> World:
    fill(world)
    return world


def work(
    job: Work, world: World, *before: datetime, store: Optional[Store] = None, **options: Any
) -> MaintenanceResult:
    return job(store or world.store, *before, context=world.context(**options))


def days(world: World) -> Counter[str]:
    return Counter(name.split("/")[1][5:] for name in world.store.names("entries"))


def since(world: World, edge: datetime) -> Counter[bytes]:
    return Counter({line: count for line, count in world.logged().items() if _moment(line) >= edge})


def _moment(line: bytes) -> datetime:
    moment = timestamp(parse(line))
    if moment is None:
        raise ValueError(line)
    return moment


# Results


def test_closed_days_become_one_file_each(archive: World) -> None:
    assert set(days(archive).values()) == {1, 2}
    order = list(cat(archive.store))
    done = work(compact, archive)
    assert (done.days, done.files, done.entries, done.commits, done.head) == (3, 6, 18, 3, archive.head.head)
    assert set(days(archive).values()) == {1}
    assert archive.verify() == []
    assert list(cat(archive.store)) == order
    assert archive.archived() == archive.logged()
    merged = archive.head.commit.files[0]
    assert [part.entries for part in merged.parts] == [3, 3]
    again = work(compact, archive)
    assert (again.files, again.commits, again.head) == (0, 0, done.head)


def test_a_day_is_closed_an_hour_after_it_ended(world: World) -> None:
    world.wait(hours=11)
    for _run in range(2):
        world.append(2)
        world.collect()
        world.wait(minutes=10)
    world.wait(hours=1, minutes=20)
    world.append(2)
    world.collect()
    assert work(compact, world).days == 0
    world.wait(minutes=80)
    world.collect()
    assert world.head.commit.covered_until > midnight(23) + timedelta(hours=1)
    world.append(1)
    assert work(compact, world).days == 1
    assert work(prune, world, world.clock.now).pruned_until == midnight(23)


def test_today_is_left_alone(archive: World) -> None:
    archive.append(2)
    archive.collect()
    archive.wait(hours=12, minutes=30)
    archive.collect()  # past midnight, but by less than an hour
    work(compact, archive)
    assert days(archive)["2026-11-22"] == 2
    work(prune, archive, archive.clock.now)
    assert days(archive) == {"2026-11-22": 2}


def test_a_compacted_day_takes_late_entries_and_is_compacted_again(archive: World) -> None:
    work(compact, archive)
    archive.append(3, ago=DAY)
    archive.collect()
    assert days(archive)["2026-11-21"] == 2
    assert work(compact, archive).files == 2
    assert days(archive)["2026-11-21"] == 1
    assert archive.verify() == []
    assert archive.archived() == archive.logged()


def test_only_days_before_a_time_are_compacted(archive: World) -> None:
    assert work(compact, archive, midnight(20) + timedelta(hours=23)).days == 1
    assert (days(archive)["2026-11-19"], days(archive)["2026-11-20"]) == (1, 2)


def test_prune_removes_complete_days(archive: World) -> None:
    done = work(prune, archive, midnight(21) + timedelta(hours=13))
    assert (done.days, done.files, done.entries, done.commits) == (2, 4, 12, 1)
    assert done.pruned_until == midnight(21)
    assert set(days(archive)) == {"2026-11-21", "2026-11-22"}
    assert archive.verify() == []
    assert archive.archived() == since(archive, midnight(21))
    assert archive.head.commit.total_entries == 8
    again = work(prune, archive, midnight(21))
    assert (again.files, again.commits, again.head) == (0, 0, done.head)
    archive.append(2)
    archive.collect()
    assert archive.head.commit.pruned_until == midnight(21)
    assert archive.verify() == []


def test_an_older_prune_takes_no_edge_back(archive: World) -> None:
    work(prune, archive, midnight(21))
    archive.append(1, ago=60)
    archive.append(1, ago=3 * DAY)
    archive.collect()
    assert work(prune, archive, midnight(20)).files == 1
    assert archive.head.commit.pruned_until == midnight(21)
    assert archive.verify() == []


def test_what_was_not_read_yet_is_not_pruned(world: World) -> None:
    """An archive in backlog: its next entries are older than the days to prune."""
    world.clock.now -= timedelta(days=10)
    world.append(20, step=DAY / 8)
    world.wait(days=10)
    world.simulator.script(Fault("pass"), Fault("pass"), Fault("status", status=503))
    with suppress(AuditError):
        world.collect()
    covered = world.head.commit.covered_until
    assert covered < world.clock.now - timedelta(days=8)
    assert work(prune, world, world.clock.now).pruned_until in (None, midnight(covered.day))
    world.collect()
    assert world.archived() == since(world, midnight(covered.day))
    assert world.verify() == []


def test_an_entry_without_a_day_is_kept(archive: World) -> None:
    archive.log.extend([{"timestamp": "yesterday", "message": "odd"}] * 2)
    archive.collect()
    archive.log.extend([{"timestamp": "yesterday", "message": "odd"}])
    archive.collect()
    work(compact, archive)
    work(prune, archive, archive.clock.now)
    assert days(archive)["0000-00-00"] == 2
    assert archive.verify() == []


def test_collection_continues_after_all_days_were_pruned(archive: World) -> None:
    archive.wait(days=2)
    archive.collect()
    work(prune, archive, archive.clock.now)
    assert archive.archived() == Counter()
    assert archive.verify() == []
    archive.append(2)
    archive.collect()
    assert archive.archived() == since(archive, midnight(24))
    assert archive.verify() == []


@pytest.mark.parametrize("why", ["cursor", "token"])
def test_a_re_read_brings_nothing_back_that_was_pruned(world: World, why: str) -> None:
    for ago in (13 * 3600, 11.9 * 3600):  # half an hour before and some minutes after midnight
        world.append(2, ago=ago)
    world.collect()
    assert work(prune, world, midnight(22)).entries == 2
    kept = world.archived()
    assert kept == since(world, midnight(22))
    if why == "cursor":
        world.simulator.script(Fault("status", status=410, cursor=True))
    else:
        world.project.rotate_token()
    world.collect()
    assert world.head.commit.kind == "resync"
    assert world.archived() == kept
    assert world.verify() == []


def test_a_re_read_of_many_pages_brings_nothing_back_when_all_was_pruned(world: World) -> None:
    world.append(9, ago=13 * 3600)
    world.collect(max_entries=99)
    assert work(prune, world, midnight(22)).entries == 9
    world.append(2)
    world.simulator.script(Fault("status", status=410, cursor=True))
    assert world.collect(max_entries=99).added == 2
    assert world.archived() == since(world, midnight(22))
    assert world.verify() == []


@pytest.mark.parametrize("days", [0.01, 10])
def test_a_restart_of_the_api_with_pruned_entries_duplicates_none(world: World, days: float) -> None:
    """The kept entries can be young or old."""
    world.append(4, ago=20 * DAY, step=DAY)
    world.append(5, ago=days * DAY, step=60)
    world.collect(max_entries=99)
    assert work(prune, world, world.clock.ago(days=16)).entries == 4
    kept = world.archived()
    url = f"{world.simulator.url}/project-logs?cursor=1"
    begin = {"next": None, "poll_more": url, "results": world.log.entries[:9]}
    world.simulator.script(Fault("raw", body=json.dumps(begin).encode(), cursor=True))
    world.collect(max_entries=99)
    assert world.head.commit.kind == "resync"
    assert world.archived() == kept
    assert world.verify() == []


def test_a_dry_run_reports_the_changes(archive: World) -> None:
    before = archive.files()
    result = work(compact, archive, dry_run=True)
    assert (result.files, result.commits, archive.files()) == (6, 0, before)
    result = work(prune, archive, midnight(21), dry_run=True)
    assert (result.files, result.entries, result.commits, archive.files()) == (4, 12, 0, before)


def test_any_store_will_do(world: World) -> None:
    store = MemoryStore()
    fill(world, store)
    work(compact, world, store=store)
    work(prune, world, midnight(20), store=store)
    assert world.verify(store) == []
    assert world.archived(store) == since(world, midnight(20))
    assert len(list(store.names("entries"))) == 3


def test_an_archive_without_entries_is_not_compacted_or_pruned(world: World) -> None:
    for job, before in ((compact, []), (prune, [midnight(22)])):
        with pytest.raises(StorageError, match="no archive"):
            work(job, world, *before)


def test_a_damaged_file_is_not_laundered(archive: World) -> None:
    path = next((archive.path / "entries").glob("*/000000000001-*"))
    other = next((archive.path / "entries").glob("*/000000000003-*"))
    path.write_bytes(other.read_bytes())
    before = archive.head
    with pytest.raises(ArchiveDamaged, match="000000000001-"):
        work(compact, archive)
    assert archive.head == before
    path.unlink()
    with pytest.raises(ArchiveDamaged, match="is missing"):
        work(compact, archive)


def test_files_without_their_times_by_a_forger_are_not_compacted(archive: World) -> None:
    for sequence in (1, 2):
        (file,) = load_commit(archive.store, sequence).commit.files
        forge(archive, sequence, files=(replace(file, first=None, last=None),))
    before = archive.files()
    with pytest.raises(ArchiveDamaged, match="breaks the rules of an archive"):
        work(compact, archive)
    assert archive.files() == before


def test_the_head_that_is_remembered_must_still_be_there(archive: World) -> None:
    pin = HeadPin(str(archive.pin_path))
    done = work(compact, archive, pin=pin)
    assert pin.read() == done.head
    archive.collect(pin=True)
    for sequence in archive.store.commits(after=2):
        (archive.path / f"commits/{sequence:012d}.json").unlink()
    with pytest.raises(ArchiveDamaged, match="cut or replaced"):
        work(prune, archive, midnight(21), pin=pin)


def test_a_compaction_ends_between_two_days(archive: World) -> None:
    stop = Event()

    class Stopping(LocalStore):
        def put_if_absent(self, name: str, body: bytes) -> bool:
            stop.set()
            return super().put_if_absent(name, body)

    with pytest.raises(Cancelled):
        work(compact, archive, store=Stopping(str(archive.path)), stop=stop)
    assert sorted(days(archive).values()) == [1, 1, 2, 2]
    assert archive.verify() == []


def test_a_prune_stops_before_its_commit_and_between_two_files(archive: World) -> None:
    stop = Event()
    stop.set()
    before = archive.files()
    with pytest.raises(Cancelled, match="nothing was changed"):
        work(prune, archive, midnight(21), stop=stop)
    assert archive.files() == before
    stop.clear()

    class Stopping(LocalStore):
        def delete(self, names: Any) -> None:
            stop.set()
            super().delete(names)

    with pytest.raises(Cancelled, match="run it again to delete the other files"):
        work(prune, archive, midnight(21), store=Stopping(str(archive.path)), stop=stop)
    assert archive.head.commit.kind == "prune"
    left = set(archive.head.commit.removed) & set(archive.files())
    assert len(left) == len(archive.head.commit.removed) - 1
    (pending,) = archive.verify()
    assert (pending.type, pending.detail.endswith(f"; {len(left)} such files in all")) == ("deletion_pending", True)
    work(prune, archive, midnight(21))
    assert archive.verify() == []


def test_a_prune_removes_the_directories_that_it_emptied(archive: World) -> None:
    kept = archive.path / "entries/date=2026-11-21"
    left = archive.path / "entries/date=2020-01-01"  # by one that was killed
    left.mkdir()
    work(prune, archive, midnight(21))
    days_left = sorted(path.name for path in (archive.path / "entries").iterdir())
    assert days_left
    assert min(days_left) >= kept.name
    archive.append(1, ago=5)
    archive.collect()
    assert archive.verify() == []


# Concurrent runs


RIVALS: dict[str, Callable[[World], Any]] = {
    "collect": lambda world: (world.append(2, ago=2 * DAY), world.collect()),
    "compact": lambda world: work(compact, world),
    "prune": lambda world: work(prune, world, midnight(21)),
}


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("job", ["collect", "compact", "prune"])
def test_the_loser_of_a_race_reads_the_archive_again(archive: World, job: str, rival: str) -> None:
    racing = RacingStore(archive.path, lambda: RIVALS[rival](archive))
    if job == "collect":
        archive.append(3)
        archive.collect(racing)
    else:
        work(*{"compact": (compact,), "prune": (prune,)}[job], archive, *[midnight(21)], store=racing)
    assert archive.verify() == []
    pruned = "prune" in (job, rival)
    assert archive.archived() == (since(archive, midnight(21)) if pruned else archive.logged())
    assert not any(name.startswith("pending/") for name in archive.files())


def test_a_reader_gets_each_entry_once_although_its_day_is_compacted_twice(archive: World) -> None:
    reader = cat(archive.store)
    got = [next(reader) for _entry in range(13)]  # it has given the first file of 2026-11-21 and holds its second
    got.append(next(reader))
    work(compact, archive)
    archive.append(1, ago=DAY)
    archive.collect()
    work(compact, archive)
    got.extend(reader)
    late = archive.log.entries[-1]
    assert Counter(map(canonical, got)) - Counter([canonical(late)]) == archive.logged() - Counter([canonical(late)])


def test_a_reader_continues_after_pruned_files(archive: World) -> None:
    reader = cat(archive.store)
    got = [next(reader)]
    work(prune, archive, midnight(21))
    got.extend(reader)
    assert Counter(map(canonical, got[3:])) == since(archive, midnight(21))


# Failures


def test_what_a_killed_run_did_not_remove_is_removed_by_any_later_one(archive: World) -> None:
    class Dying(LocalStore):
        def delete(self, names: Any) -> None:
            if any(name.startswith("entries/") for name in names):
                raise Killed

    for later in (
        lambda: archive.collect(pin=True),
        lambda: work(compact, archive),
        lambda: work(prune, archive, midnight(20)),
    ):
        archive.append(1, ago=2 * DAY)
        archive.collect(pin=True)
        with pytest.raises(Killed):
            work(compact, archive, store=Dying(str(archive.path)))
        found = archive.verify()
        assert {finding.type for finding in found} == {"deletion_pending"}
        assert all(finding.is_warning for finding in found)
        later()
        assert archive.verify() == []


def test_what_came_back_from_a_copy_is_removed_again(archive: World) -> None:
    copy = {name: (archive.path / name).read_bytes() for name in archive.store.names("entries")}
    work(prune, archive, midnight(21))
    for name, body in copy.items():
        (archive.path / name).parent.mkdir(exist_ok=True)
        (archive.path / name).write_bytes(body)
    assert {finding.type for finding in archive.verify()} == {"deletion_pending"}
    work(prune, archive, midnight(21))
    assert archive.verify() == []


def test_what_must_not_be_deleted_yet_keeps_no_collection_from_going_on(archive: World) -> None:
    class Locked(LocalStore):
        def delete(self, names: Any) -> None:
            for name in names:
                if name.startswith("entries/"):
                    raise StorageError(f"{name} is under a retention lock until 2030-01-01.")
                super().delete([name])

    locked = Locked(str(archive.path))
    with pytest.raises(StorageError, match="retention lock"):
        work(prune, archive, midnight(21), store=locked, pin=archive.pin)
    archive.append(1)
    archive.collect(locked, pin=True)
    assert archive.archived() == since(archive, midnight(21))
    assert {finding.type for finding in archive.verify()} == {"deletion_pending"}
    archive.collect(pin=True)
    assert archive.verify() == []


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("job", [compact, prune])
def test_a_run_may_fail_at_any_change_of_the_disk(
    server: Simulator, clock: Clock, tmp_path: Path, job: Work, failure: Optional[int]
) -> None:
    world = World(server, clock, tmp_path)
    fill(world)
    filled = world.path
    number = 0
    while True:
        number += 1
        world.path = tmp_path / str(number)
        world.store = LocalStore(str(world.path))
        shutil.copytree(filled, world.path)
        world.pin_path = tmp_path / f"pin-{number}"
        world.pin.write(world.head)
        with Disk(fail_at=number, failure=failure).in_place() as disk:
            with suppress(Killed, StorageError):
                work(job, world, midnight(21))
        if len(disk.calls) < number:
            break
        assert all(finding.is_warning for finding in world.verify()), number
        archived = world.archived()
        assert archived in ((world.logged(),) if job is compact else (world.logged(), since(world, midnight(21))))
        if number % 2:
            work(job, world, midnight(21))
        world.wait(hours=2)
        world.collect(pin=True)
        assert world.verify() == [], number
        work(job, world, midnight(21))
        assert world.verify() == [], number
        assert world.archived() == (world.logged() if job is compact else since(world, midnight(21)))
        assert not any(name.startswith("pending/") for name in world.files()), number
    assert number > (30 if job is compact else 10)


def test_a_finished_run_survives_a_power_failure(world: World, tmp_path: Path) -> None:
    """The power fails after each change of the disk, so that only synced data survives."""
    directory = tmp_path / "disk"
    directory.mkdir()
    world.path = directory / "archive"
    world.store = LocalStore(str(world.path))
    durable = DurableDisk(directory)
    numbers = iter(range(10_000))

    def note(name: str, subject: Any) -> None:
        durable.note(name, subject)

    def fail_and_look(name: str, subject: Any) -> None:
        durable.note(name, subject)
        target = tmp_path / f"restored-{next(numbers)}"
        durable.restore(target)
        survivor = LocalStore(str(target / "archive"))
        assert [finding for finding in world.verify(survivor) if not finding.is_warning] == []
        assert world.archived(survivor) in (world.logged(), since(world, midnight(20)))

    with Disk(after_each=note).in_place():
        fill(world)
    for job in (compact, prune):
        with Disk(after_each=fail_and_look).in_place():
            work(job, world, midnight(20))
    assert next(numbers) > 30
