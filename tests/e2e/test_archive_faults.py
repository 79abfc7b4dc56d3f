# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""strace kills or fails the collector at each system call that changes the disk."""

from __future__ import annotations

from typing import Iterator

import pytest
from ansible_collections.auditops.cloudscale.tests.e2e.collectors import Archive, Collectors, Tally
from ansible_collections.auditops.cloudscale.tests.e2e.fork_server import Ending

CALLS = ("openat", "write", "fsync", "/^rename", "/^link", "/^unlink", "/^mkdir", "/^f?chmod")
REQUIRED_CALLS = ("write", "fsync", "/^rename", "/^link", "/^mkdir")
MAX_CALLS = 400


class Injector:
    """Injects a fault at each call of a run in turn, and runs it again without faults."""

    def __init__(self, archive: Archive, collectors: Collectors, tally: Tally) -> None:
        self._archive = archive
        self._collectors = collectors
        self._tally = tally

    def endings(self, call: str, fault: str, fresh: bool) -> Iterator[Ending]:
        """How each run ended, until one has no call left that the fault could hit."""
        for number in range(1, MAX_CALLS):
            self._make_ready(fresh)
            ending = self._run(f"{call}:{fault}:when={number}")
            acknowledged = self._archive.check_unfinished()
            if ending.status == 0:
                return
            yield ending
            assert self._run() == Ending(0)
            if fresh:
                # The first run after a crash of the first one has no pin yet, so it erases nothing of others.
                assert self._run() == Ending(0)
            self._archive.check_finished()
            assert sum(self._archive.archived().values()) >= acknowledged
        raise AssertionError(f"more than {MAX_CALLS} calls of {call}")

    def _run(self, inject: str = "") -> Ending:
        return self._tally.note(self._collectors.start(self._archive.order(), inject).end())

    def _make_ready(self, fresh: bool) -> None:
        """Give the next run something to do: start a new archive, or add to the existing one."""
        if fresh:
            self._archive.clear()
        self._archive.append(7 - len(self._archive.log) if fresh else 3)


@pytest.fixture
def injector(archive: Archive, collectors: Collectors, tally: Tally) -> Injector:
    return Injector(archive, collectors, tally)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_the_next_run_completes_one_killed_at_any_call(injector: Injector, call: str, fresh: bool) -> None:
    endings = list(injector.endings(call, "signal=KILL", fresh))
    assert endings or (call == "/^mkdir" and not fresh)
    assert all(ending.killed for ending in endings)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS"])
@pytest.mark.parametrize("call", REQUIRED_CALLS)
def test_a_run_failed_at_any_call_advances_nothing_and_reports_it(
    injector: Injector, call: str, error: str, fresh: bool
) -> None:
    endings = list(injector.endings(call, f"error={error}", fresh))
    assert endings or (call == "/^mkdir" and not fresh)
    assert {ending.code for ending in endings} <= {"storage"}
