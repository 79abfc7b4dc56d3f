# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random lives of an honest archive: after each event all its claims are true, and no verifier finds an error.

Entries arrive, late ones too; runs of two hosts succeed, race, are killed and fail; the API faults, refuses cursors
and starts its log again; clocks are wrong; tokens and keys are replaced; days are pruned and compacted; time passes.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    AllowedSigners,
    SigningKey,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import compact, prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import AuditError, ClockSkew, StorageError
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Clock
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.both import (
    cache_signature_checks,
    verdicts,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.examples import examples
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.model import Clocks, Model
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import (
    Disk,
    Killed,
    RacingStore,
    World,
)
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

DAY = timedelta(days=1)
WAITS = st.sampled_from([timedelta(hours=hours) for hours in (0, 0, 1, 9, 30, 30, 240, 91 * 24)])
EXACT = timedelta(0)
CLOSE = [EXACT, EXACT, timedelta(minutes=20), timedelta(minutes=-20)]
FAR = [timedelta(minutes=40), timedelta(minutes=-40), timedelta(days=60), timedelta(days=-10)]
FAULTS = [
    Fault("status"),
    Fault("html"),
    Fault("loop"),
    Fault("truncated"),
    Fault("status", status=410, cursor=True),
]
FAILURES = [None, errno.EIO, errno.ENOSPC, errno.EROFS]
JOBS = ["collect", "collect", "prune", "compact"]


class Life(RuleBasedStateMachine):
    """One archive. ``is_complete`` is True if the last run of the step read the log to its end.

    ``has_late_twins`` is True if entries became visible more than a day late that are equal in every field, which can
    look as if the log began again.
    """

    def __init__(self, world: World, signers: list[Signer]) -> None:
        super().__init__()
        self.world = world
        self.model = Model()
        self.signers = signers
        self.signed = False
        self.allowed = world.path.parent / "allowed"
        self.rotated = self.twins = 0
        self.whys: set[str] = set()
        self.token_changed = False
        self.has_late_twins = False
        self.is_complete = False
        self.host = self.server = EXACT
        world.simulator.set(clock_offset=EXACT)

    # Runs

    def options(self, who: int = 0) -> dict[str, Any]:
        """Return the options of a run on one of the two hosts."""
        options: dict[str, Any] = {"now": lambda: self.world.clock() + self.host}
        if self.signed:
            signer = self.signers[self.rotated + who]
            options |= {"sign_key": SigningKey(signer.key), "allowed_signers": AllowedSigners(str(self.allowed))}
        return options

    def collect(self, who: int = 0, store: Optional[Store] = None, **settings: Any) -> None:
        self.world.collect(store, **{"accept_identity": True, **self.options(who), **settings})
        self.is_complete = True
        self.token_changed = False

    def maintain(self, job: str, days: int = 2, who: int = 0, store: Optional[Store] = None) -> None:
        context = self.world.context(**self.options(who))
        if job == "prune":
            prune(store or self.world.store, self.world.clock.ago(days=days), context)
        else:
            compact(store or self.world.store, context=context)

    @property
    def has_commits(self) -> bool:
        return bool(self.world.store.list_commits())

    # Steps

    @initialize(signed=st.sampled_from([False, False, True]))
    def begin(self, signed: bool) -> None:
        self.signed = signed
        self.allowed.write_text("".join(signer.line() for signer in self.signers[:2]))

    @rule(
        count=st.integers(1, 9),
        ago=st.sampled_from([20, 1800, 20 * 3600, 3 * 86400]),
        step=st.sampled_from([0, 1, -7]),
        twins=st.booleans(),
        wait=WAITS,
    )
    def log(self, count: int, ago: int, step: int, twins: bool, wait: timedelta = EXACT) -> None:
        self.world.clock.now += wait
        self.twins += 1
        self.has_late_twins |= twins and count > 1 and ago > DAY.total_seconds()
        for number in range(count):
            if twins:
                moment = self.world.clock.ago(seconds=ago).isoformat()
                self.world.log.extend([{"timestamp": moment, "message": f"Twins {self.twins}"}])
            else:
                self.world.append(ago=ago - number * step)
            self.model.show(self.world.log.entries[-1], self.world.clock.now)

    @rule(
        size=st.integers(1, 5),
        most=st.integers(1, 9),
        who=st.integers(0, 1),
        pin=st.booleans(),
        offset=st.sampled_from(CLOSE),
        on_host=st.booleans(),
        wait=WAITS,
    )
    def collect_all(
        self, size: int, most: int, who: int, pin: bool, offset: timedelta, on_host: bool, wait: timedelta
    ) -> None:
        self.world.clock.now += wait
        self.set_clocks(offset, on_host)
        self.world.simulator.set(page_size=size)
        self.collect(who, max_entries=most, pin=pin)

    @rule(offset=st.sampled_from(FAR), on_host=st.booleans())
    def refuse_a_clock(self, offset: timedelta, on_host: bool) -> None:
        self.set_clocks(offset, on_host)
        before = self.world.files()
        with pytest.raises(ClockSkew):
            self.collect()
        # The run may remove files that a killed run left, but no commit and no file that a commit names.
        after = self.world.files()
        assert set(after) <= set(before)
        assert all(not name.startswith("commits/") for name in set(before) - set(after))
        # Nothing was read by these clocks, so they excuse and refute no claim.
        self.set_clocks(EXACT, True)

    @rule(
        job=st.sampled_from(["prune", "compact"]),
        days=st.sampled_from([0, 1, 3, 30]),
        who=st.integers(0, 1),
        wait=WAITS,
    )
    def rearrange(self, job: str, days: int, who: int, wait: timedelta) -> None:
        self.world.clock.now += wait
        self.collect(who)
        self.maintain(job, days, who)

    @rule(job=st.sampled_from(JOBS), number=st.integers(1, 60), failure=st.sampled_from(FAILURES))
    def die(self, job: str, number: int, failure: Optional[int]) -> None:
        """A run dies or fails at any change of the disk."""
        if job != "collect" and not self.has_commits:
            return
        with Disk(fail_at=number, failure=failure).in_place(), suppress(Killed, StorageError):
            self.collect() if job == "collect" else self.maintain(job)

    @rule(good=st.integers(0, 3), fault=st.sampled_from(FAULTS))
    def be_served_badly(self, good: int, fault: Fault) -> None:
        self.whys = {"cursor"}
        self.world.simulator.script(*[Fault("pass")] * good, fault)
        try:
            self.collect()
        except AuditError:
            pass
        finally:
            self.world.simulator.clear_script()

    @rule()
    def lose_the_cursor(self) -> None:
        if not self.has_commits or self.token_changed:
            return
        self.whys = {"cursor"}
        self.world.simulator.script(Fault("status", status=410, cursor=True))
        self.collect()
        self.world.simulator.clear_script()

    @rule(size=st.integers(1, 9))
    def restart(self, size: int) -> None:
        """The API ignores the cursor and starts its log from the beginning, which is older than a day."""
        oldest = self.world.clock.now - timedelta(days=90)
        left = [entry for entry in self.world.log.entries if entry["timestamp"] > oldest.isoformat()]
        covered = self.model.claims.time("covered_until")
        if not left or covered is None or self.token_changed or not self.model.was_archived(left[0]):
            return
        if left[0]["timestamp"] >= (covered - DAY).isoformat():
            return
        self.whys = {"restart"}
        url = f"{self.world.simulator.url}/project-logs?cursor=1"
        page = {"next": None, "poll_more": url, "results": left[:size]}
        self.world.simulator.script(Fault("raw", body=json.dumps(page).encode(), cursor=True))
        self.collect()
        self.world.simulator.clear_script()

    @rule(size=st.integers(1, 5), before=st.integers(1, 3))
    def race_of_collectors(self, size: int, before: int) -> None:
        """The other host collects directly before this host creates its n-th commit."""
        self.world.simulator.set(page_size=size)
        self.log(5, 20, 1, False)
        self.collect(0, RacingStore(self.world.path, lambda: self.collect(1), before))

    @rule(job=st.sampled_from(["prune", "compact"]), rival=st.sampled_from(JOBS))
    def race(self, job: str, rival: str) -> None:
        if not self.has_commits:
            return
        self.log(2, 20, 1, False)
        meanwhile = (lambda: self.collect(1)) if rival == "collect" else (lambda: self.maintain(rival, 1, 1))
        self.maintain(job, store=RacingStore(self.world.path, meanwhile))

    @rule()
    def rotate_token(self) -> None:
        if sum(self.model.claims.lines.values()):
            self.world.project.rotate_token()
            self.token_changed = True

    @rule()
    def rotate_key(self) -> None:
        """The first host gets another key, and the old key expires."""
        if self.signed and not self.rotated:
            closed = f'valid-before="{self.world.clock.now + timedelta(seconds=1):%Y%m%d%H%M%S}"'
            old, kept, new = self.signers
            self.allowed.write_text(old.line(closed) + kept.line() + new.line())
            self.rotated = 1
            self.world.wait(minutes=1)

    def set_clocks(self, offset: timedelta, on_host: bool) -> None:
        self.host, self.server = (offset, EXACT) if on_host else (EXACT, offset)
        self.world.simulator.set(clock_offset=self.server)

    # After each step

    @invariant()
    def no_claim_is_false(self) -> None:
        now = self.world.clock.now
        claims = self.model.claims
        looks_restarted = claims.time("pruned_until") or claims.is_read_again or self.has_late_twins
        whys = self.whys | {"token"} | ({"restart"} if looks_restarted else set())
        clocks = Clocks(now, now + self.server, now + self.host)
        false = self.model.false_claims(self.world.path, clocks, whys, self.is_complete)
        self.set_clocks(EXACT, True)
        self.whys, self.is_complete = set(), False
        assert not false, false

    @invariant()
    def neither_verifier_finds_an_error(self) -> None:
        if self.has_commits:
            allowed = str(self.allowed) if self.signed else None
            assert verdicts(self.world.path, self.world.clock.now, self.world.head.head, allowed) == (set(), set())


@pytest.fixture
def lives(server: Simulator, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    cache_signature_checks(monkeypatch)
    signers = [Signer(tmp_path, name) for name in ("log1", "log2", "log3")]
    numbers = iter(range(1_000_000))

    def make() -> Life:
        directory = tmp_path / str(next(numbers))
        os.mkdir(directory)
        return Life(World(server, clock, directory), signers)

    yield make
    server.set(clock_offset=EXACT)


def test_an_archive_survives_any_sequence_of_events(lives: Any) -> None:
    run_state_machine_as_test(lives, settings=examples(8, stateful_step_count=30))
