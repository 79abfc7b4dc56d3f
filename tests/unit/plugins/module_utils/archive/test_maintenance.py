# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compacting and pruning: the files that are removed, and that no other entry is lost or returns."""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
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
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    ArchiveDamaged,
    AuditError,
    Cancelled,
    StorageError,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import parse, timestamp
from ansible_collections.auditops.cloudscale.tests.simulator import Fault
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.forgery import forge
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    MemoryStore,
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
    return Counter(name.split("/")[1][5:] for name in world.store.list_files("entries"))


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


@pytest.mark.parametrize("job", [compact, prune])
def test_a_host_whose_clock_is_behind_makes_no_commit_that_breaks_a_rule(archive: World, job: Work) -> None:
    before = [midnight(21)] if job is prune else []
    assert work(job, archive, *before, now=lambda: archive.clock.ago(minutes=20)).commits
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
    assert len(list(store.list_files("entries"))) == 3


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
    with pytest.raises(ArchiveDamaged, match="No such file or directory; verify the archive"):
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
    for sequence in archive.store.list_commits(after=2):
        (archive.path / f"commits/{sequence:012d}.json").unlink()
    with pytest.raises(ArchiveDamaged, match="truncated or replaced"):
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
