# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New entries are forwarded at least once, under stable names, no matter what happens in between."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.bookmark import Bookmark
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import find_head
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.forwarder import ForwardResult, forward
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    ArchiveDamaged,
    Cancelled,
    InvalidInput,
    StorageError,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import NOON, World


class Receiver:
    """A receiver that fails after a number of entries; also the bookmark's clock and boot time in seconds."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "bookmark"
        self.taken: List[Tuple[str, bytes]] = []
        self.most: Optional[int] = None
        self.after: Dict[int, Callable[[], object]] = {}
        self.now = 1_000_000.0
        self.booted = 900_000.0

    def send(self, name: str, line: bytes) -> None:
        self.after.pop(len(self.taken), lambda: None)()
        if self.most is not None and len(self.taken) >= self.most:
            raise StorageError("It takes no more.")
        self.taken.append((name, line))

    def follow(self, world: World, stop: Optional[threading.Event] = None) -> ForwardResult:
        bookmark = Bookmark(str(self.path), clock=lambda: self.now, boot=lambda: self.booted)
        return forward(world.store, bookmark, self.send, stop)

    def lines(self) -> Counter[bytes]:
        """Return the received entries as a multiset; entries with the same name are one entry."""
        by_name: Dict[str, bytes] = {}
        for name, line in self.taken:
            assert by_name.setdefault(name, line) == line
        return Counter(by_name.values())


class Counting(LocalStore):
    """Counts reads."""

    reads = 0

    def read(self, name: str) -> Iterator[bytes]:
        self.reads += 1
        return super().read(name)


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return Receiver(tmp_path)


def old_days(world: World) -> None:
    """Two past days with three files each."""
    world.clock.now -= timedelta(days=3)
    for _day in range(2):
        for _run in range(3):
            world.append(4)
            world.collect()
            world.wait(minutes=30)
        world.wait(hours=22, minutes=30)
    world.wait(days=1)
    world.collect()


def test_each_entry_arrives_under_the_name_of_its_place(world: World, receiver: Receiver) -> None:
    world.append(12, ago=3600, step=1)
    world.collect()
    assert receiver.follow(world) == (12, 0)
    assert receiver.lines() == world.archived()
    for name, line in receiver.taken:
        archive_id, sequence, rest = name.split("/", 2)
        path, _slash, number = rest.rpartition("/")
        assert archive_id == world.head.commit.archive_id
        found = world.commits()[int(sequence) - 1]
        assert path in [file["path"] for file in found["files"]]
        assert gzip.decompress((world.path / path).read_bytes()).splitlines()[int(number) - 1] == line


def test_only_what_is_new_is_handed_on(world: World, receiver: Receiver) -> None:
    world.append(3)
    world.collect()
    receiver.follow(world)
    assert receiver.follow(world) == (0, 0)
    world.append(2, ago=10)
    world.collect()
    assert receiver.follow(world) == (2, 0)
    assert len(receiver.taken) == 5


def test_an_archive_without_a_commit_has_nothing_to_forward(world: World, receiver: Receiver) -> None:
    assert receiver.follow(world) == (0, 0)
    assert not receiver.path.exists()


@pytest.mark.parametrize("most", range(12))
def test_a_receiver_that_fails_gets_everything_in_the_end(world: World, receiver: Receiver, most: int) -> None:
    world.append(12, ago=3600)
    world.collect()
    receiver.most = most
    with pytest.raises(StorageError, match="no more"):
        receiver.follow(world)
    receiver.most = None
    receiver.follow(world)
    assert receiver.lines() == world.archived()
    assert len(receiver.taken) < 12 + 6  # at most one commit twice


def test_a_bookmark_that_cannot_be_written_hands_on_again(world: World, receiver: Receiver) -> None:
    world.append(3)
    world.collect()
    receiver.path.mkdir()
    with pytest.raises(StorageError, match="Cannot read the bookmark"):
        receiver.follow(world)
    receiver.path.rmdir()
    missing = Receiver(receiver.path.parent / "missing")
    with pytest.raises(InvalidInput, match="bookmark: the directory .* does not exist"):
        missing.follow(world)
    assert len(missing.taken) == 3


def test_a_stopped_run_is_continued_after_its_last_commit(world: World, receiver: Receiver) -> None:
    world.append(12, ago=3600)
    world.collect()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        receiver.follow(world, stop)
    assert receiver.taken == []
    receiver.follow(world)
    assert receiver.lines() == world.archived()


def test_what_was_compacted_meanwhile_keeps_its_names(world: World, receiver: Receiver) -> None:
    old_days(world)
    receiver.follow(world)
    before = dict(receiver.taken)
    for _time in range(2):
        assert compact(world.store, context=world.context()).files > 1
        assert world.verify() == []
        assert receiver.follow(world)[0] in (0, 2)
        receiver.path.unlink()
        receiver.taken.clear()
        receiver.follow(world)
        assert before.items() <= dict(receiver.taken).items()
        assert receiver.lines() == world.archived()
        # Two late entries, so that a compacted file is compacted again.
        world.log.append(timestamp=NOON - timedelta(days=3), message="late")
        world.log.append(timestamp=NOON - timedelta(days=2), message="late")
        world.collect()
        receiver.follow(world)
        before = dict(receiver.taken)


def test_what_is_compacted_while_it_is_read_keeps_its_names(world: World, receiver: Receiver) -> None:
    old_days(world)
    receiver.follow(world)
    names = receiver.taken[:]
    receiver.path.unlink()
    receiver.taken.clear()
    receiver.after = {2: lambda: compact(world.store, context=world.context())}
    receiver.follow(world)
    assert receiver.taken == names


def test_what_was_pruned_meanwhile_is_counted(world: World, receiver: Receiver) -> None:
    old_days(world)
    compact(world.store, context=world.context())
    prune(world.store, NOON - timedelta(days=2, hours=12), context=world.context())
    assert receiver.follow(world) == (12, 12)
    assert receiver.lines() == world.archived()
    assert receiver.follow(world) == (0, 0)


def test_looking_for_what_was_pruned_takes_one_look(world: World, receiver: Receiver) -> None:
    old_days(world)
    prune(world.store, NOON - timedelta(days=1), context=world.context())
    world.store = Counting(str(world.path))
    assert receiver.follow(world) == (0, 24)
    commits = world.head.commit.sequence
    assert world.store.reads < 6 * commits  # not a walk along all commits for each file


def test_a_lost_file_is_not_taken_for_a_pruned_one(world: World, receiver: Receiver) -> None:
    world.append(4)
    world.collect()
    next(world.path.rglob("*.gz")).unlink()
    with pytest.raises(ArchiveDamaged, match="is missing"):
        receiver.follow(world)


def test_a_bookmark_without_its_commit_is_refused(world: World, receiver: Receiver) -> None:
    world.append(4, ago=60)
    world.collect()
    world.append(4, ago=50)
    world.collect()
    receiver.follow(world)
    newest = world.head
    world.store.delete([newest.commit.name, *(file.path for file in newest.commit.files)])
    for _state in ("restored from an older copy", "grown again"):
        with pytest.raises(
            ArchiveDamaged, match="up to commit 2, .* then delete the bookmark .*/bookmark to forward all"
        ):
            receiver.follow(world)
        world.append(1, ago=5)
        world.collect()
    assert world.head.commit.sequence > newest.commit.sequence
    receiver.path.unlink()
    receiver.follow(world)
    assert world.archived() - receiver.lines() == Counter()


def test_a_bookmark_of_another_archive_is_refused(world: World, receiver: Receiver) -> None:
    world.append(3)
    world.collect()
    receiver.follow(world)
    world.store.delete(world.files())
    with pytest.raises(ArchiveDamaged, match="was truncated, replaced, or restored"):
        receiver.follow(world)
    world.collect()
    with pytest.raises(ArchiveDamaged, match="was truncated, replaced, or restored"):
        receiver.follow(world)
    assert len(receiver.taken) == 3


def test_what_had_not_settled_before_a_boot_is_handed_on_again(world: World, receiver: Receiver) -> None:
    for minutes in (0, 15, 20):
        world.append(2)
        world.collect()
        receiver.now = 1_000_000.0 + 60 * minutes
        receiver.follow(world)
    names = [name for name, _line in receiver.taken]
    receiver.booted += 100_000
    receiver.now += 3600
    assert receiver.follow(world) == (4, 0)
    assert [name for name, _line in receiver.taken[6:]] == names[2:]
    assert receiver.follow(world) == (0, 0)


def test_the_bookmark_stays_small_however_often_it_moves(world: World, receiver: Receiver) -> None:
    for _minute in range(25):
        world.append(1)
        world.collect()
        receiver.now += 60
        receiver.follow(world)
    assert len(json.loads(receiver.path.read_text())["marks"]) == 11


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"[]", b"[" * 200_000, b"{}", b'{"boot": 1, "marks": [[1]]}', b'{"boot": 1, "marks": 1}']
)
def test_a_damaged_bookmark_is_reported(world: World, receiver: Receiver, text: bytes) -> None:
    receiver.path.write_bytes(text)
    with pytest.raises(StorageError, match="delete it to forward all entries again"):
        receiver.follow(world)


def test_a_bookmark_of_this_boot_is_known_again(world: World, tmp_path: Path) -> None:
    world.append(1)
    world.collect()
    head = find_head(world.store)
    assert head
    Bookmark(str(tmp_path / "bookmark")).write(head.head)
    assert Bookmark(str(tmp_path / "bookmark")).read() == [head.head]
