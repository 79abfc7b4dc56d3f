# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""strace kills or fails compactions and prunes at each system call that changes the disk."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Iterator

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify
from ansible_collections.auditops.cloudscale.tests.e2e.collectors import Archive, Collectors, Tally
from ansible_collections.auditops.cloudscale.tests.e2e.fork_server import Ending

CALLS = ("write", "fsync", "/^rename", "/^link", "/^unlink")
# If a removal fails, a later run repeats it.
REQUIRED_CALLS = CALLS[:-1]
MAX_CALLS = 100


class Injector:
    """Injects a fault at each call of a compaction or a prune in turn, and runs it again without faults."""

    def __init__(self, archive: Archive, collectors: Collectors, tally: Tally) -> None:
        self._archive = archive
        self._collectors = collectors
        self._tally = tally

    def endings(self, work: str, call: str, fault: str) -> Iterator[Ending]:
        """How each run ended, until one has no call left that the fault could hit."""
        for number in range(1, MAX_CALLS):
            self._make_ready()
            before = self._archive.archived()
            ending = self._run(work, f"{call}:{fault}:when={number}")
            assert all(finding.is_warning for finding in verify(self._archive.store))
            assert self._archive.archived() in ((before,) if work == "compact" else (before, Counter()))
            if ending.status == 0:
                return
            yield ending
            if number % 2:
                assert self._run("collect") == Ending(0)
            assert self._run(work) == Ending(0)
            assert verify(self._archive.store) == []
            assert self._archive.archived() == (before if work == "compact" else Counter())
            assert not list(self._archive.store.list_files("pending"))
        raise AssertionError(f"more than {MAX_CALLS} calls of {call}")

    def _make_ready(self) -> None:
        """Two files of one day, three days ago."""
        for _run in range(2):
            self._archive.log.append(timestamp=self._archive.simulator.state.now() - timedelta(days=3))
            assert self._run("collect") == Ending(0)

    def _run(self, work: str, inject: str = "") -> Ending:
        return self._tally.note(self._collectors.start(self._archive.order(work=work), inject).end())


@pytest.fixture
def injector(archive: Archive, collectors: Collectors, tally: Tally) -> Injector:
    return Injector(archive, collectors, tally)


@pytest.mark.parametrize("work", ["compact", "prune"])
@pytest.mark.parametrize("call", CALLS)
def test_the_next_run_completes_one_killed_at_any_call(injector: Injector, work: str, call: str) -> None:
    endings = list(injector.endings(work, call, "signal=KILL"))
    assert endings
    assert all(ending.killed for ending in endings)


@pytest.mark.parametrize("work", ["compact", "prune"])
@pytest.mark.parametrize("call", REQUIRED_CALLS)
def test_a_run_failed_at_any_call_reports_it(injector: Injector, work: str, call: str) -> None:
    endings = list(injector.endings(work, call, "error=EIO"))
    assert endings
    assert {ending.code for ending in endings} <= {"storage"}
