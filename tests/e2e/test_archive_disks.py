# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real file systems that run full or become read-only under the collector, and a limit on the size of files.

Each test mounts a file system of its own, in a mount namespace that ends with the collectors in it.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Set

import pytest
from ansible_collections.auditops.cloudscale.tests.e2e.collectors import Archive, Collectors, Tally
from ansible_collections.auditops.cloudscale.tests.e2e.fork_server import Ending
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

MOUNTS = {
    "tmpfs": "mount -t tmpfs -o size=2m,nr_inodes=400 tmpfs {point}",
    "ext4": "truncate -s 8M {point}.img && mkfs.ext4 -q -b 1024 -N 400 {point}.img"
    " && mount -o loop {point}.img {point}",
}
MOST_ROOM = 100


class Disk:
    """A small file system, and collectors that see it."""

    def __init__(self, kind: str, directory: Path) -> None:
        self._point = directory / "disk"
        self._point.mkdir()
        script = MOUNTS[kind].format(point=self._point) + ' && exec "$@"'
        self.collectors = Collectors("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")
        # Where those see it who are not in that namespace.
        self.root = Path(f"/proc/{self.collectors.process}/root")
        self.path = self.root / self._point.relative_to("/")

    def __enter__(self) -> Disk:
        self.collectors.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.collectors.__exit__(None, None, None)

    def remount(self, mode: str) -> None:
        """``ro`` or ``rw``."""
        namespace = f"--mount=/proc/{self.collectors.process}/ns/mnt"
        subprocess.run(["nsenter", namespace, "mount", "-o", f"remount,{mode}", str(self._point)], check=True)

    @contextmanager
    def full_but_for_blocks(self, count: int) -> Iterator[None]:
        ballast = self.path / "ballast"
        block = os.statvfs(self.path).f_bsize
        with open(ballast, "wb", buffering=0) as file:
            for size in (1 << 16, 1 << 10):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass
            file.truncate(max(0, file.tell() - count * block))
            os.fsync(file.fileno())
        yield
        ballast.unlink()

    @contextmanager
    def full_but_for_files(self, count: int) -> Iterator[None]:
        """Room enough, but no more than so many new files and directories."""
        directory = self.path / "ballast"
        directory.mkdir()
        names = [directory / str(number) for number in range(400)]
        with suppress(OSError):
            for name in names:
                name.touch()
        made = [name for name in names if name.exists()]
        for name in made[:count]:
            name.unlink()
        yield
        for name in made[count:]:
            name.unlink()
        directory.rmdir()


@pytest.fixture(params=sorted(MOUNTS))
def disk(request: pytest.FixtureRequest, directory: Path) -> Iterator[Disk]:
    with Disk(request.param, directory) as mounted:
        yield mounted


@pytest.fixture
def archive(disk: Disk) -> Iterator[Archive]:
    with Simulator(page_size=4) as simulator:
        yield Archive(simulator, disk.path / "archive", disk.path / "head", disk.root)


def log_bulk(archive: Archive, count: int) -> None:
    """Entries that compression does not make small."""
    for _entry in range(count):
        archive.log.append(message=secrets.token_urlsafe(1500))


def struck_by(ending: Ending) -> str:
    """What could not be done to which of the archive's directories, by the error's sentence."""
    match = re.match(r"Cannot (\S+) \S+/(archive(?=:)|entries|commits|pending)", ending.message)
    return f"{match[1]} {match[2]}" if match else ending.message


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("scarce", ["bytes", "files"])
def test_a_run_on_a_full_disk_stops_and_continues_when_there_is_room(
    disk: Disk, archive: Archive, tally: Tally, scarce: str, fresh: bool
) -> None:
    full = disk.full_but_for_files if scarce == "files" else disk.full_but_for_blocks
    struck: Set[str] = set()
    log_bulk(archive, 7)
    assert disk.collectors.start(archive.order()).end() == Ending(0)
    for room in range(0, MOST_ROOM, 1 if scarce == "files" else 2):
        if fresh:
            archive.clear()
        else:
            log_bulk(archive, 5)
        with full(room):
            ending = tally.note(disk.collectors.start(archive.order()).end())
            archive.check_unfinished()
        # The first run after a crash of the first one has no pin yet, so it erases nothing of others.
        for _run in range(2 if fresh else 1):
            assert tally.note(disk.collectors.start(archive.order()).end()) == Ending(0)
        archive.check_finished()
        if ending.status == 0:
            break
        assert ending.code == "storage"
        assert "No space left on device" in ending.message
        struck.add(struck_by(ending))
    assert ending.status == 0
    assert struck >= {"write entries"} | ({"create archive"} if fresh and scarce == "files" else set())
    assert struck & {"create commits", "write pending"}


@pytest.mark.parametrize("good", range(4))
def test_a_disk_becomes_read_only_between_two_pages(disk: Disk, archive: Archive, tally: Tally, good: int) -> None:
    archive.append(7)
    assert disk.collectors.start(archive.order()).end() == Ending(0)
    archive.append(19)
    pages = iter(range(100))
    archive.simulator.before_page(lambda: disk.remount("ro") if next(pages) == good else None)
    ending = tally.note(disk.collectors.start(archive.order()).end())
    assert ending.code == "storage"
    assert "Read-only file system" in ending.message
    assert archive.check_unfinished() == 7 + 4 * good
    disk.remount("rw")
    assert tally.note(disk.collectors.start(archive.order()).end()) == Ending(0)
    archive.check_finished()


def test_a_limit_on_the_size_of_files_stops_a_run_until_it_is_lifted(
    collectors: Collectors, directory: Path, tally: Tally
) -> None:
    """As ``ulimit -f`` sets it."""
    struck: Set[str] = set()
    with Simulator(page_size=4) as simulator:
        archive = Archive(simulator, directory / "archive", directory / "head")
        for limit in range(0, 4000, 50):
            # The data outgrow the commit only later.
            archive.append(1) if limit < 1200 else log_bulk(archive, 1)
            ending = tally.note(collectors.start(archive.order(max_bytes=limit)).end())
            archive.check_unfinished()
            assert tally.note(collectors.start(archive.order()).end()) == Ending(0)
            archive.check_finished()
            if limit >= 1200 and ending.status == 0:
                break
            assert ending.status == 0 or (ending.code, ending.message[-15:]) == ("storage", "File too large.")
            struck.add(struck_by(ending))
    assert ending.status == 0
    assert struck >= {"write entries", "create commits"}
