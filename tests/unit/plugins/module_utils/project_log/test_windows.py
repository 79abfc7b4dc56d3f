# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import errors
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import digest
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.reader import Reader
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.windows import read_windows
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Range
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..conftest import Waits, connect

NOW = datetime.now(timezone.utc)
NUMBERS = count()
MODES = ["dropped", "end", "kept", "cursor"]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(page_size=5) as running:
        yield running


def fill(project: Any, entries: int, hours: float) -> None:
    """Entries at even distances over the last hours, up to now."""
    for number in range(entries):
        moment = NOW - timedelta(hours=hours) * (1 - number / entries)
        project.log.append(action="a", message=str(number), timestamp=moment)


def read(simulator: Simulator, span: Range, concurrency: int, project: str = "main") -> tuple[list[Any], Reader]:
    with Api(connect(simulator, api_token=simulator.project(project).token)) as api:
        reader = Reader(api, concurrency)
        return [entry for page in reader.pages(span) for entry in page.entries], reader


def overlapping(simulator: Simulator) -> int:
    """The most requests that were under way at once."""
    edges = [(request.began, 1) for request in simulator.requests] + [
        (request.ended, -1) for request in simulator.requests
    ]
    running, most = 0, 0
    for _moment, step in sorted(edges):
        running += step
        most = max(most, running)
    return most


@pytest.mark.parametrize("mode", MODES)
def test_a_large_range_comes_whole_and_in_order(simulator: Simulator, mode: str) -> None:
    fill(simulator.project("main"), 500, hours=48)
    simulator.set(range_in_urls=mode, latency=0.002)
    span = Range.from_mapping({"start": "-40h", "end": "-2h"}, NOW)
    wanted, _reader = read(simulator, span, 1)
    simulator.clear_requests()
    found, reader = read(simulator, span, 4)
    assert found == wanted
    assert reader.entries_read == len(wanted)
    # A range inside the cursor is read by one chain.
    assert overlapping(simulator) == 1 if mode == "cursor" else 1 < overlapping(simulator) <= 4


def test_it_costs_few_requests_more(simulator: Simulator) -> None:
    fill(simulator.project("main"), 1500, hours=48)
    wanted, sequential = read(simulator, Range(), 1)
    simulator.clear_requests()
    found, _reader = read(simulator, Range(), 8)
    assert found == wanted
    assert len(simulator.requests) <= 1.15 * sequential.pages_read


def test_a_range_of_a_few_pages_costs_nothing_more(simulator: Simulator) -> None:
    fill(simulator.project("main"), 30, hours=48)
    assert len(read(simulator, Range(), 4)[0]) == 30
    assert len(simulator.requests) == 6


def test_what_becomes_visible_meanwhile_is_read_or_polled(simulator: Simulator) -> None:
    project = simulator.project("main")
    fill(project, 300, hours=48)

    def appear() -> None:
        if len(project.log.entries) < 330:
            late = timedelta(milliseconds=next(NUMBERS) % 7)
            project.log.append(action="b", message="new", timestamp=datetime.now(timezone.utc) - late)

    simulator.before_page(appear)
    found, reader = read(simulator, Range(), 4)
    simulator.before_page(None)
    found += read(simulator, Range(cursor=reader.poll_more), 4)[0]
    assert Counter(map(digest, found)) == Counter(map(digest, project.log.entries))


def test_what_becomes_visible_minutes_late_is_read_or_polled(simulator: Simulator) -> None:
    project = simulator.project("main")
    fill(project, 1500, hours=0.5)

    pages = count()

    def appear() -> None:
        # When most windows were read already.
        if 250 < next(pages) < 300:
            late = datetime.now(timezone.utc) - timedelta(minutes=next(NUMBERS) % 9)
            project.log.append(action="b", message="late", timestamp=late)

    simulator.before_page(appear)
    found, reader = read(simulator, Range(), 4)
    simulator.before_page(None)
    found += read(simulator, Range(cursor=reader.poll_more), 4)[0]
    assert Counter(map(digest, found)) == Counter(map(digest, project.log.entries))


@pytest.mark.parametrize("mode", MODES)
def test_what_stands_minutes_late_at_the_edges_of_windows_is_found(simulator: Simulator, mode: str) -> None:
    simulator.set(range_in_urls=mode, page_size=2)
    log = simulator.project("main").log
    for number in range(0, 400, 3):
        first, second, third = (NOW - timedelta(hours=9) + timedelta(seconds=30 * (number + n)) for n in range(3))
        # A page of two may lie wholly behind an edge, and the next one not.
        for moment in (first, second, first - timedelta(minutes=5), third):
            log.append(action="a", message=str(number), timestamp=moment)
    found, _reader = read(simulator, Range(), 4)
    assert Counter(map(digest, found)) == Counter(map(digest, log.entries))


@pytest.mark.parametrize("fault", [Fault("status", status=429, retry_after=1), Fault("reset"), Fault("html")])
def test_passing_faults_cost_no_entry(simulator: Simulator, waits: Waits, fault: Fault) -> None:
    fill(simulator.project("main"), 300, hours=48)
    simulator.script(*[Fault("pass"), Fault("pass"), fault] * 6)
    with Api(connect(simulator), clock=waits.clock, wait=waits.wait) as api:
        found = [entry for page in Reader(api, 4).pages(Range()) for entry in page.entries]
    assert found == simulator.project("main").log.entries
    assert len(waits.seconds) >= 6


def test_fewer_requests_at_once_when_the_api_asks_for_it(simulator: Simulator, waits: Waits) -> None:
    fill(simulator.project("main"), 600, hours=48)
    simulator.set(latency=0.002)
    simulator.script(Fault("pass"), Fault("status", status=429, times=3))
    with Api(connect(simulator), clock=waits.clock, wait=waits.wait) as api:
        pages = Reader(api, 4).pages(Range())
        found = [entry for page in pages for entry in page.entries]
    late = simulator.requests[len(simulator.requests) // 2 :]
    simulator.clear_requests()
    simulator.requests.extend(late)
    assert found == simulator.project("main").log.entries
    assert overlapping(simulator) == 1


def test_an_error_in_any_window_is_raised(simulator: Simulator) -> None:
    fill(simulator.project("main"), 300, hours=48)
    simulator.script(Fault("pass", times=9), Fault("status", status=403))
    with pytest.raises(errors.Forbidden):
        read(simulator, Range(), 4)


def test_a_reader_that_goes_away_leaves_no_thread_behind(simulator: Simulator) -> None:
    fill(simulator.project("main"), 600, hours=48)
    before = set(threading.enumerate())
    with Api(connect(simulator)) as api:
        pages = Reader(api, 4).pages(Range())
        next(pages)
        mine = set(threading.enumerate()) - before
        pages.close()  # type: ignore[attr-defined]
    for thread in mine:
        thread.join(timeout=10)
    assert not [thread for thread in mine if thread.is_alive()]


class Waiters:
    """How many threads wait until another one changes something, in any condition that it made."""

    def __init__(self) -> None:
        self._number = 0
        self._changed = threading.Condition()

    def condition(self) -> threading.Condition:
        waiters = self

        class Watched(threading.Condition):
            def wait(self, timeout: float | None = None) -> bool:
                waiters._count(1)
                try:
                    return super().wait(timeout)
                finally:
                    waiters._count(-1)

        return Watched()

    def are(self, number: int) -> bool:
        """Returns as soon as there are so many; False when that does not happen."""
        with self._changed:
            return self._changed.wait_for(lambda: self._number == number, timeout=30)

    def _count(self, step: int) -> None:
        with self._changed:
            self._number += step
            self._changed.notify_all()


@pytest.mark.parametrize("burst", [0, 500])
def test_little_is_held(simulator: Simulator, monkeypatch: pytest.MonkeyPatch, burst: int) -> None:
    oldest = NOW - timedelta(hours=48)
    even = [oldest + timedelta(minutes=2 * number) for number in range(1400)]
    # In the first window, which then has many pages.
    dense = [oldest + timedelta(minutes=20, milliseconds=number) for number in range(burst)]
    for moment in sorted(even + dense):
        simulator.project("main").log.append(action="a", timestamp=moment)
    waiters = Waiters()
    watched = SimpleNamespace(**{**vars(threading), "Condition": waiters.condition})
    monkeypatch.setattr(sys.modules[read_windows.__module__], "threading", watched)
    with Api(connect(simulator)) as api:
        pages = Reader(api, 2).pages(Range())
        next(pages)
        assert waiters.are(2)
        assert 1 < len(simulator.requests) <= 2 * 16 + 10
        pages.close()  # type: ignore[attr-defined]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_density_and_any_overtaking_give_the_same_as_one_page_after_the_other(
    simulator: Simulator, data: st.DataObject
) -> None:
    """Bursts and silences; entries stand up to a minute out of order, at the windows' edges too."""
    project = simulator.add_project(f"p{next(NUMBERS)}")
    simulator.set(range_in_urls=data.draw(st.sampled_from(MODES)), page_size=data.draw(st.integers(1, 7)))
    moment = NOW - timedelta(days=3)
    for _burst in range(data.draw(st.integers(1, 8))):
        moment += timedelta(minutes=data.draw(st.integers(0, 600)))
        step = data.draw(st.sampled_from([0.01, 1, 60, 900]))
        for number in range(data.draw(st.integers(1, 60))):
            moment = min(moment + timedelta(seconds=step), NOW - timedelta(minutes=1))
            shuffled = moment - timedelta(seconds=data.draw(st.sampled_from([0, 0, 0, 0.004, 1, 60])))
            project.log.append(action="a", message=str(number), timestamp=shuffled)
    start, end = data.draw(st.sampled_from([(None, None), ("-60h", None), ("-60h", "-1h"), (None, "-30h")]))
    span = Range.from_mapping({"start": start, "end": end}, NOW)
    found, reader = read(simulator, span, data.draw(st.integers(2, 6)), project.name)
    wanted, _sequential = read(simulator, span, 1, project.name)
    assert Counter(map(digest, found)) == Counter(map(digest, wanted))
    if end is None:
        new = project.log.append(action="b", message="new")
        assert read(simulator, Range(cursor=reader.poll_more), 4, project.name)[0] == [new]
