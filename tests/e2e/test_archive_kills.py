# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collectors are killed all their lives, alone and in pairs, while the log grows and the API fails now and then.

All archives but one are signed, by a key on each of the two hosts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, List

import pytest
from ansible_collections.auditops.cloudscale.tests.e2e.collectors import Archive, Collectors, Run, Tally
from ansible_collections.auditops.cloudscale.tests.e2e.fork_server import Ending
from ansible_collections.auditops.cloudscale.tests.simulator import Fault
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer, allowing

KILLS = 100
SHORT, ALL = 2, 100
CALLS = ("openat", "write", "fsync", "close", "sendto", "recvfrom", "/^rename", "/^link", "/^unlink")
FAULTS = (
    Fault("status"),
    Fault("html"),
    Fault("reset"),
    Fault("reset_body"),
    Fault("truncated"),
    Fault("loop"),
    Fault("status", status=410, cursor=True),
)


class Life:
    """One archive and a pair of collectors, on hosts that remember the head each for itself."""

    def __init__(
        self, archive: Archive, pair: List[Collectors], keys: List[str], tally: Tally, chance: random.Random
    ) -> None:
        self._archive = archive
        pins = (archive.pin, archive.pin.with_name("other-head"))
        self._hosts = [
            (server, {"pin": str(pin), "sign_key": key, "signers": archive.signers})
            for server, pin, key in zip(pair, pins, keys or (None, None))
        ]
        self._tally = tally
        self._chance = chance
        self._usual = 0.03
        self._acknowledged = 0
        self.kills = 0
        archive.simulator.before_page(self._grow)

    def go_on(self) -> None:
        """Let one or both collectors run into whatever comes, and look."""
        self._log()
        if self._chance.random() < 0.2:
            before = [Fault("pass")] * self._chance.randrange(3)
            self._archive.simulator.script(*before, self._chance.choice(FAULTS))
        hosts = self._chance.sample(self._hosts, self._chance.choice((1, 1, 2)))
        for run in [self._start(*host) for host in hosts]:
            self._note(run.end())
        self._archive.simulator.clear_script()
        archived = self._archive.check_unfinished()
        assert archived >= self._acknowledged
        self._acknowledged = archived

    def finish(self) -> None:
        """Nobody is in the way of a last run."""
        self._archive.simulator.before_page(None)
        self._archive.append(1)
        server, options = self._hosts[0]
        assert self._tally.note(server.start(self._archive.order(**options)).end()) == Ending(0)
        self._archive.check_finished()
        self._archive.simulator.before_page(self._grow)

    def _start(self, server: Collectors, options: dict[str, Any]) -> Run:
        order: dict[str, Any] = self._archive.order(**options, max_entries=self._chance.choice((1, 4, 100)))
        if self._chance.random() < 0.1:
            call = self._chance.choice(CALLS)
            return server.start(order, f"{call}:signal=KILL:when={self._chance.randint(1, 30)}")
        return server.start({**order, "kill_after": self._chance.uniform(0, 1.5 * self._usual)})

    def _note(self, ending: Ending) -> None:
        self._tally.note(ending)
        self.kills += ending.killed
        # So that kills keep hitting a run from its begin to its end, on machines of any speed and load.
        self._usual = max(0.005, self._usual * (0.97 if ending.status == 0 else 1.01))
        # A kill at a system call may hit ssh-keygen instead of the collector.
        is_expected = ending.code in ("", *API_ERRORS) or "ssh-keygen" in ending.message
        assert ending.killed or is_expected, ending

    def _log(self) -> None:
        for _time in range(self._chance.randrange(4)):
            twins = self._chance.choice((1, 1, 2))
            self._archive.log.extend([{"timestamp": self._archive.now(), "message": "twin"}] * twins)

    def _grow(self) -> None:
        if self._chance.random() < 0.3:
            self._archive.append(1)


API_ERRORS = ("service_unavailable", "unreachable", "invalid_response", "pagination_loop", "cursor_rejected")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[List[Collectors]]:
    # What they were about to check when they were killed is left there.
    scratch = str(tmp_path_factory.mktemp("scratch"))
    with Collectors(TMPDIR=scratch) as one, Collectors(TMPDIR=scratch) as other:
        yield [one, other]


@pytest.fixture(scope="session")
def signers(tmp_path_factory: pytest.TempPathFactory) -> List[Signer]:
    directory = tmp_path_factory.mktemp("keys")
    return [Signer(directory, name) for name in ("log1", "log2")]


@pytest.mark.parametrize(
    "seed", [*range(SHORT), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(SHORT, ALL))]
)
def test_an_archive_survives_a_hundred_kills(
    archive: Archive, pair: List[Collectors], signers: List[Signer], tally: Tally, seed: int
) -> None:
    keys = [signer.key for signer in signers if seed]
    if keys:
        archive.signers = allowing(archive.path.with_name("signers"), *signers)
    life = Life(archive, pair, keys, tally, random.Random(seed))
    while life.kills < KILLS:
        before = life.kills
        while life.kills < before + 10:
            life.go_on()
        life.finish()
