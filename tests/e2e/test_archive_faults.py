# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collector under the kernel's hand: strace kills it before, or fails, each system call that changes the disk."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain import Hint
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reading import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify
from ansible_collections.auditops.cloudscale.plugins.module_utils.entry import canonical, parse
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

DRIVER = Path(__file__).with_name("collect_once.py")
STRACE = shutil.which("strace") or "strace"
CALLS = ("write", "fsync", "/^rename", "/^link", "/^unlink", "/^mkdir", "/^f?chmod")
CALLS_THAT_MATTER = ("write", "fsync", "/^rename", "/^link")
MOST = 200


class Machine:
    def __init__(self, simulator: Simulator, folder: Path) -> None:
        self.log = simulator.project().log
        self.archive = LocalStore(str(folder / "archive"))
        self.hint = folder / "head"
        self.arguments = [simulator.url, simulator.project().token, str(self.archive), str(self.hint)]

    def collect(self, *inject: str) -> int:
        """The exit status of one run; minus the signal that killed it."""
        strace = [STRACE, "-f", "-qq", "-o", "/dev/null", *inject] if inject else []
        ran = subprocess.run(
            [*strace, sys.executable, "-B", str(DRIVER), *self.arguments],
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        return ran.returncode

    def make_ready(self, fresh: bool) -> None:
        """Give the next run something to do: begin an archive anew, or add to it."""
        if fresh:
            shutil.rmtree(str(self.archive), ignore_errors=True)
            self.hint.unlink(missing_ok=True)
        for _entry in range(7 - len(self.log) if fresh else 3):
            self.log.append()

    def logged(self) -> Counter[bytes]:
        return Counter(canonical(parse(json.dumps(entry).encode())) for entry in self.log.entries)

    def check_unfinished(self) -> None:
        """Nothing is claimed that is not so."""
        if self.archive.commits():
            assert [finding for finding in verify(self.archive) if not finding.is_warning] == []
        assert not Counter(map(canonical, cat(self.archive))) - self.logged()

    def check_finished(self) -> None:
        assert verify(self.archive, expected_head=Hint(str(self.hint)).read()) == []
        assert Counter(map(canonical, cat(self.archive))) == self.logged()
        assert list(self.archive.names("pending")) == []


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Simulator(page_size=4) as simulator:
        yield Machine(simulator, tmp_path)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_a_run_killed_at_any_call_is_made_up_for_by_the_next(machine: Machine, call: str, fresh: bool) -> None:
    killed = 0
    for number in range(1, MOST):
        machine.make_ready(fresh)
        status = machine.collect("-e", f"inject={call}:signal=KILL:when={number}")
        machine.check_unfinished()
        if status == 0:
            break
        assert status == -signal.SIGKILL
        killed += 1
        assert machine.collect() == 0
        machine.check_finished()
    assert 0 < killed < MOST - 1


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EROFS"])
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("call", CALLS_THAT_MATTER)
def test_a_run_failed_at_any_call_advances_nothing_and_says_so(
    machine: Machine, call: str, error: str, fresh: bool
) -> None:
    failed = 0
    for number in range(1, MOST):
        machine.make_ready(fresh)
        status = machine.collect("-e", f"inject={call}:error={error}:when={number}")
        machine.check_unfinished()
        if status == 0:
            break
        assert status == 3
        failed += 1
        assert machine.collect() == 0
        machine.check_finished()
    assert 0 < failed < MOST - 1
