# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alerts are delivered at least once, in order, with constant ids; one file, since all tests share one site."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.catalogue import select_detections
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.config import Config
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.detection import SiteFacts
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged, Cancelled, StorageError
from ansible_collections.auditops.cloudscale.plugins.module_utils.notify import message, notifier
from ansible_collections.auditops.cloudscale.plugins.module_utils.notify.notifier import Notifier, NotifyResult
from ansible_collections.auditops.cloudscale.plugins.module_utils.notify.positions import PositionFile
from ansible_collections.auditops.cloudscale.plugins.module_utils.notify.receivers import parse_receivers
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import Killed, World
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.journald import Journald
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.notify.hook import Hook, NoWait

DOWN = (400, {})
"""What is not retried, so that no test waits."""


class DyingFile(PositionFile):
    """A bookmark of a process that can be killed: then it writes nothing any more."""

    def __init__(self, site: Site) -> None:
        super().__init__(str(site.path), str(site.world.store), lambda: site.now, lambda: site.booted)
        self._site = site

    def write(self, *arguments: Any) -> None:
        if self._site.is_killed:
            raise Killed
        self._site.writes += 1
        super().write(*arguments)


class Site:
    """Runs of notify on one archive; a clock and the time of the boot, in seconds."""

    def __init__(self, world: World, path: Path) -> None:
        self.world = world
        self.path = path
        self.notes: list[str] = []
        self.now = 1_000_000.0
        self.booted = 900_000.0
        self.is_killed = False
        self.writes = 0
        self.options: dict[str, Any] = {}
        self.own: list[dict[str, Any]] = []
        self.socket: Optional[str] = None

    def run(self, *receivers: Any, from_start: bool = False, stop: Optional[threading.Event] = None) -> NotifyResult:
        self.is_killed = False
        given = [{"webhook": {"url": one.url}} if isinstance(one, Hook) else one for one in receivers]
        config = Config(
            select_detections(self.own, disable=self.options.get("disable")), SiteFacts.from_mapping(self.options)
        )
        found = parse_receivers(given, self.socket)
        file = DyingFile(self)
        return Notifier(self.world.store, file, config, found, stop or NoWait(), from_start, self.notes.append).run()

    def kill(self) -> None:
        self.is_killed = True

    def ids(self) -> list[str]:
        """The ids of all alerts there are, in order, as one receiver gets them in a single run."""
        with Hook() as hook:
            Site(self.world, self.path.with_name("reference")).configured(self).run(hook, from_start=True)
            self.path.with_name("reference").unlink()
            return [alert["id"] for alert in hook.alerts]

    def configured(self, other: Site) -> Site:
        self.options, self.own = other.options, other.own
        return self


@pytest.fixture
def site(world: World, tmp_path: Path) -> Site:
    return Site(world, tmp_path / "bookmark")


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Hook]:
    with Hook() as running:
        yield running


def delete(world: World, count: int = 1) -> None:
    """Deletions, each a quarter of an hour after the other so that none is part of a burst, in commits of their own."""
    for _number in range(count):
        world.wait(minutes=15)
        world.append(action="server_delete")
        world.collect()


def ids(hook: Hook) -> list[str]:
    return [alert["id"] for alert in hook.alerts]


def test_a_new_receiver_begins_at_the_current_head_with_a_note(world: World, site: Site, hook: Hook) -> None:
    delete(world, 2)
    assert [one.alerts for one in site.run(hook).deliveries] == [0]
    (note,) = site.notes
    assert note.startswith(f"receiver 1 (webhook 127.0.0.1:{hook.port}) is new: ")
    delete(world, 2)
    assert [one.alerts for one in site.run(hook).deliveries] == [2]
    assert site.run(hook).deliveries[0].alerts == 0
    assert (len(site.notes), len(hook.seen)) == (1, 2)
    assert ids(hook) == site.ids()[2:]


def test_from_the_start_all_alerts_arrive_in_order(world: World, site: Site, hook: Hook) -> None:
    delete(world, 3)
    site.run(hook, from_start=True)
    assert [taken.headers["Idempotency-Key"] for taken in hook.taken] == ids(hook)
    times = [alert["time"] for alert in hook.alerts]
    assert (len(times), times) == (3, sorted(times))
    assert site.notes == []
    site.run(hook, from_start=True)
    assert len(hook.taken) == 3


def test_an_idle_run_writes_nothing(world: World, site: Site, hook: Hook) -> None:
    delete(world)
    site.run(hook)
    before = site.path.read_bytes()
    site.writes = 0
    site.run(hook)
    assert (site.writes, site.path.read_bytes()) == (0, before)


@pytest.mark.parametrize("digest", [False, True])
@pytest.mark.parametrize("accepted", range(6))
def test_a_failing_receiver_gets_all_alerts_later(
    world: World, site: Site, hook: Hook, accepted: int, digest: bool
) -> None:
    """All in one commit and in several; the failed alert and the later ones come in the next run."""
    receiver = {"webhook": {"url": hook.url}, "digest": digest}
    for minutes in (40, 30, 20):
        world.append(action="server_delete", ago=60 * minutes)
    world.collect()
    delete(world, 2)
    hook.answers = [(200, {})] * accepted
    hook.answer = DOWN
    failed = site.run(receiver, from_start=True)
    assert (failed.deliveries[0].failure is None) == (accepted >= (1 if digest else 5))
    hook.answer, hook.answers = (200, {}), []
    assert site.run(receiver).deliveries[0].failure is None
    assert ids(hook) == site.ids()
    assert len(hook.taken) == (1 if digest else 5)


@pytest.mark.parametrize("digest", [False, True])
@pytest.mark.parametrize("arrived", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("at", range(1, 5))
def test_a_crash_repeats_alerts_only_with_the_same_ids(
    world: World, site: Site, hook: Hook, at: int, arrived: bool, digest: bool
) -> None:
    receiver = {"webhook": {"url": hook.url}, "digest": digest}
    delete(world, 4)
    if arrived:
        hook.on_taken = lambda: site.kill() if len(hook.taken) == at else None
    else:
        hook.answers = [*[(200, {})] * (at - 1), DOWN]
        hook.on_seen = lambda: site.kill() if len(hook.seen) == at else None
    with suppress(Killed):
        site.run(receiver, from_start=True)
    hook.on_taken = hook.on_seen = lambda: None
    hook.answers = []
    delete(world)
    site.run(receiver, from_start=True)
    wanted = site.ids()
    got = ids(hook)
    assert list(dict.fromkeys(got)) == wanted
    keys = [taken.headers["Idempotency-Key"] for taken in hook.taken]
    assert len(got) - len(wanted) in ((0, 1) if not digest else (0, 4))
    if digest and arrived and at == 1:
        # A digest whose delivery was not saved is sent again unchanged; new alerts are in another digest.
        assert (len(keys), keys[0] == keys[1], len(hook.taken[2].body["alerts"])) == (3, True, 1)


def test_an_unavailable_receiver_only_delays_alerts(world: World, site: Site, hook: Hook, other: Hook) -> None:
    world.collect()
    site.run(hook, other)
    hook.answer = DOWN
    for _hour in range(24):
        delete(world)
        result = site.run(hook, other)
        assert [one.alerts for one in result.deliveries] == [0, 1]
        assert result.deliveries[0].failure is not None
    assert (len(hook.taken), len(hook.seen)) == (0, 24)
    hook.answer = (200, {})
    assert [one.alerts for one in site.run(hook, other).deliveries] == [24, 0]
    assert ids(hook) == ids(other) == site.ids()


def test_both_receivers_reach_the_same_position_again(world: World, site: Site, hook: Hook, other: Hook) -> None:
    world.collect()
    site.run(hook, other)
    hook.answer = DOWN
    delete(world, 2)
    site.run(hook, other)
    assert len(json.loads(site.path.read_bytes())["archives"][0]["positions"]) == 2
    hook.answer = (200, {})
    site.run(hook, other)
    (archive,) = json.loads(site.path.read_bytes())["archives"]
    assert (len(archive["positions"]), len(archive["memories"]), len(archive["receivers"])) == (1, 1, 2)


def test_the_alerts_do_not_depend_on_the_number_of_runs(world: World, site: Site, hook: Hook) -> None:
    """Bursts, and what is seen for the first time, across runs, and after what they rest on was pruned."""
    eve = {"user": {"email": "eve@example.com"}}
    world.clock.now -= timedelta(days=60)
    world.append()
    world.collect()
    site.run(hook, from_start=True)
    for day in range(40):
        world.wait(days=1)
        world.append(action="volume_delete", **({"actor": eve} if day in (20, 30) else {}))
        for _burst in range(3 if day == 25 else 0):
            world.wait(minutes=1)
            world.append(action="volume_delete")
            world.collect()
            site.run(hook)
        world.wait(minutes=2)
        world.append(action="volume_delete")
        world.collect()
        site.run(hook)
        if day == 28:
            compact(world.store, world.clock.now - timedelta(days=10), world.context())
            reference = site.ids()
            prune(world.store, world.clock.now - timedelta(days=10), world.context())
    found = [alert["detection"] for alert in hook.alerts]
    assert found.count("burst_of_deletions") == 1
    assert found.count("first_seen_actor") == 1
    assert ids(hook)[: len(reference)] == reference


def test_a_slow_receiver_finds_its_alerts_in_a_compacted_archive(
    world: World, site: Site, hook: Hook, other: Hook
) -> None:
    world.clock.now -= timedelta(days=5)
    world.append()
    world.collect()
    site.run(hook, other)
    hook.answer = DOWN
    delete(world, 6)
    site.run(hook, other)
    world.wait(days=3)
    world.collect()
    compact(world.store, world.clock.now - timedelta(days=1), world.context())
    hook.answer = (200, {})
    site.run(hook, other)
    assert ids(hook) == ids(other)
    assert len(ids(hook)) == 6


def test_alerts_below_the_minimum_severity_are_skipped(world: World, site: Site, hook: Hook, other: Hook) -> None:
    site.own = [{"name": "creation", "title": "T", "severity": "critical", "select": {"actions": "server_create"}}]
    strict = {"webhook": {"url": hook.url}, "severity": "high"}
    world.append()
    delete(world, 2)
    site.run(strict, other, from_start=True)
    assert [alert["severity"] for alert in hook.alerts] == ["critical"]
    assert len(other.alerts) == 3
    assert site.run(strict, other).alert_counts == {"critical": 1, "medium": 2}


def test_a_digest_is_one_message_of_limited_size(world: World, site: Site, hook: Hook) -> None:
    receiver = {"webhook": {"url": hook.url}, "digest": True}
    delete(world, 5)
    site.run(receiver, from_start=True)
    assert [len(taken.body["alerts"]) for taken in hook.taken] == [5]
    assert hook.taken[0].headers["Idempotency-Key"] not in ids(hook)
    delete(world)
    site.run(receiver)
    assert [len(taken.body["alerts"]) for taken in hook.taken] == [5, 1]


def test_many_alerts_of_one_run_are_several_digests(world: World, site: Site, hook: Hook) -> None:
    receiver = {"webhook": {"url": hook.url}, "digest": True}
    site.options = {"disable": ["burst_of_deletions"]}
    world.append(count=250, ago=3000, action="server_delete")
    world.collect(max_entries=1000)
    hook.answers = [(200, {}), DOWN]
    site.run(receiver, from_start=True)
    site.run(receiver)
    assert [len(taken.body["alerts"]) for taken in hook.taken] == [message.MAX_ALERTS] * 2 + [50]
    assert ids(hook) == site.ids()


def test_positions_are_stored_within_a_commit_of_many_alerts(
    world: World, site: Site, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "_MESSAGES_PER_SAVE", 4)
    site.options = {"disable": ["burst_of_deletions"]}
    world.append(count=10, ago=3000, action="server_delete")
    world.collect(max_entries=1000)
    hook.on_taken = lambda: site.kill() if len(hook.taken) == 10 else None
    with pytest.raises(Killed):
        site.run(hook, from_start=True)
    hook.on_taken = lambda: None
    site.run(hook)
    assert ids(hook)[:10] + ids(hook)[12:] == site.ids()
    assert ids(hook)[10:] == ids(hook)[8:10]


def test_the_next_run_continues_after_a_stop(world: World, site: Site, hook: Hook) -> None:
    delete(world, 4)
    stop = NoWait()
    hook.on_taken = stop.set
    with pytest.raises(Cancelled):
        site.run(hook, from_start=True, stop=stop)
    assert len(hook.taken) == 1
    site.run(hook)
    assert ids(hook) == site.ids()


def test_a_truncated_archive_is_an_error(world: World, site: Site, hook: Hook) -> None:
    delete(world, 2)
    site.run(hook)
    (world.path / "commits" / "000000000002.json").unlink()
    with pytest.raises(ArchiveDamaged, match=r"no longer has that commit.* pass --from-start"):
        site.run(hook)
    assert hook.seen == []


def test_a_moved_archive_is_found_by_its_id(world: World, site: Site, hook: Hook) -> None:
    delete(world)
    site.run(hook)
    delete(world)
    moved = world.path.with_name("moved")
    world.path.rename(moved)
    world.store = type(world.store)(str(moved))
    assert site.run(hook).deliveries[0].alerts == 1
    assert len(site.notes) == 1


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2, "archives": []}', '{"version": 1, "archives": [1]}'])
def test_an_invalid_bookmark_is_an_error(world: World, site: Site, hook: Hook, content: str) -> None:
    delete(world)
    site.path.write_text(content)
    with pytest.raises(StorageError, match="Cannot read the bookmark"):
        site.run(hook)
    assert (hook.seen, site.path.read_text()) == ([], content)


def test_nothing_is_sent_if_positions_cannot_be_stored(world: World, site: Site, hook: Hook) -> None:
    delete(world)
    site.path = site.path / "missing" / "bookmark"
    with pytest.raises(Exception, match="the directory .* does not exist"):
        site.run(hook, from_start=True)
    assert hook.seen == []


def test_alerts_that_the_journal_had_only_in_memory_are_repeated_after_a_reboot(
    world: World, site: Site, tmp_path: Path, hook: Hook
) -> None:
    site.socket = str(tmp_path / "socket")
    with Journald(tmp_path / "socket") as journald:
        for _run in range(3):
            delete(world)
            site.run({"journal": True}, hook, from_start=True)
            site.now += 400
        site.booted = site.now - 10
        site.run({"journal": True}, hook)
        site.run({"journal": True}, hook)
    sent = [one["CLOUDSCALE_AUDIT_ID"] for one in journald.messages]
    assert ids(hook) == site.ids()
    assert sent == [*ids(hook), *ids(hook)[1:]]
    assert {one["SYSLOG_IDENTIFIER"] for one in journald.messages} == {"cloudscale-audit-alert"}
    assert [one["PRIORITY"] for one in journald.messages] == ["4"] * 5


def test_the_reviewer_is_never_the_actor_and_always_the_same(world: World, site: Site, hook: Hook) -> None:
    site.options = {"reviewers": ["Anna@Example.com", "bea@example.com", "carl@example.com"]}
    for name in ("anna@example.com", "BEA@example.com", "carl@example.com", "dora@example.com") * 5:
        world.wait(minutes=15)
        world.append(action="server_delete", actor={"user": {"email": name}})
    world.collect()
    site.run(hook, from_start=True)
    pairs = [(alert["entry"]["actor"]["user"]["email"].lower(), alert["reviewer"].lower()) for alert in hook.alerts]
    assert len(pairs) == 20
    assert all(actor != reviewer for actor, reviewer in pairs)
    assert len({reviewer for _actor, reviewer in pairs}) == 3
    first = {alert["id"]: alert["reviewer"] for alert in hook.alerts}
    site.path.unlink()
    site.options["reviewers"].reverse()
    site.run(hook, from_start=True)
    assert {alert["id"]: alert["reviewer"] for alert in hook.alerts[20:]} == first
    site.path.unlink()
    site.options["reviewers"] = ["dora@example.com"]
    site.run(hook, from_start=True)
    left = {alert["entry"]["actor"]["user"]["email"]: alert["reviewer"] for alert in hook.alerts[40:]}
    assert left["dora@example.com"] is None
    assert left["anna@example.com"] == "dora@example.com"
