# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import errors
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log import parallel_reader
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api, Page
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import digest
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.parallel_reader import read_windows
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.reader import Reader
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.windows import (
    LATENESS,
    BoundaryMismatch,
    Window,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Range
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Client
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
    """Entries at equal intervals over the last hours, up to now."""
    for number in range(entries):
        moment = NOW - timedelta(hours=hours) * (1 - number / entries)
        project.log.append(action="a", message=str(number), timestamp=moment)


def read(
    simulator: Simulator,
    time_range: Range,
    concurrency: int,
    project: str = "main",
    lateness: timedelta | None = None,
) -> tuple[list[Any], Reader]:
    connection = connect(simulator, api_token=simulator.project(project).token)
    with Api(connection, wait=lambda _seconds: False) as api:
        reader = Reader(api, concurrency, lateness)
        return [entry for page in reader.pages(time_range) for entry in page.entries], reader


def overlapping(simulator: Simulator) -> int:
    """The maximum number of simultaneous requests."""
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
    time_range = Range.from_mapping({"start": "-40h", "end": "-2h"}, NOW)
    expected, _reader = read(simulator, time_range, 1)
    simulator.clear_requests()
    found, reader = read(simulator, time_range, 4)
    assert found == expected
    assert reader.entries_read == len(expected)
    # If the cursor contains the range, it is read sequentially.
    assert overlapping(simulator) == 1 if mode == "cursor" else 1 < overlapping(simulator) <= 4


def test_it_costs_few_requests_more(simulator: Simulator) -> None:
    fill(simulator.project("main"), 1500, hours=48)
    expected, sequential = read(simulator, Range(), 1)
    simulator.clear_requests()
    found, _reader = read(simulator, Range(), 8)
    assert found == expected
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
        # After most windows were read.
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
        # A page of two entries can be completely past the end, and the next page not.
        for moment in (first, second, first - timedelta(minutes=5), third):
            log.append(action="a", message=str(number), timestamp=moment)
    found, _reader = read(simulator, Range(), 4)
    assert Counter(map(digest, found)) == Counter(map(digest, log.entries))


@pytest.mark.parametrize("fault", [Fault("status", status=429, retry_after=1), Fault("reset"), Fault("html")])
def test_transient_errors_lose_no_entry(simulator: Simulator, waits: Waits, fault: Fault) -> None:
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
    """Counts the threads that wait for a change, in all conditions that it created."""

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
        """Wait for this number of threads; False if it is not reached."""
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


@pytest.mark.parametrize("mode", MODES)
def test_an_entry_three_hours_late_is_handed_out_once(simulator: Simulator, mode: str) -> None:
    simulator.set(range_in_urls=mode)
    project = simulator.project("main")
    oldest = NOW - timedelta(hours=48)
    for number in range(600):
        late = timedelta(hours=3) if number == 311 else timedelta(0)
        project.log.append(action="a", message=str(number), timestamp=oldest + timedelta(minutes=4.7) * number - late)
    for time_range in (Range(), Range.from_mapping({"start": "-45h"}, NOW), Range.from_mapping({"end": "-2h"}, NOW)):
        found, reader = read(simulator, time_range, 4, lateness=LATENESS)
        assert found == read(simulator, time_range, 1, lateness=LATENESS)[0]
        assert [entry["message"] for entry in found].count("311") == 1
        if time_range.end is None:
            new = project.log.append(action="b", message=f"new {next(NUMBERS)}")
            assert read(simulator, Range(cursor=reader.poll_more), 4)[0] == [new]


def opened(begin: int, numbers: list[int], cursor: int) -> Window:
    """A window that begins this many minutes after an hour, opened with these entries, one per minute."""
    window = Window(datetime(2026, 11, 22, 12, begin, tzinfo=timezone.utc))
    window.opening = page_of(numbers, cursor)
    return window


def page_of(numbers: list[int], cursor: int) -> Page:
    entries = [{"timestamp": f"2026-11-22T12:{number:02}:00Z"} for number in numbers]
    url = f"http://localhost/v1/project-logs?cursor={cursor}"
    return Page(entries, url, url, None, url)


def test_a_window_counts_what_the_next_one_opened_with() -> None:
    window = opened(0, [0, 1, 12], 20)
    window.next_window = opened(10, [12, 10, 11], 40)
    assert window.match(window.opening or page_of([], 0), None) is None
    assert window.match(page_of([2, 10, 3], 30), None) is None
    late, own, others = 4, 11, 13
    assert window.match(page_of([late, own, others], 50), None) == 2


def test_a_window_does_not_count_what_the_range_leaves_out() -> None:
    window = opened(0, [0], 20)
    window.next_window = opened(10, [10, 11], 40)
    end = datetime(2026, 11, 22, 12, 30, tzinfo=timezone.utc)
    assert window.match(page_of([10, 30, 45, 11], 50), end) == 4


@pytest.mark.parametrize("numbers", [[11, 10], [10, 12], [12]])
def test_a_window_that_meets_something_else_gives_up(numbers: list[int]) -> None:
    window = opened(0, [0], 20)
    window.next_window = opened(10, [10, 11], 40)
    with pytest.raises(BoundaryMismatch):
        window.match(page_of(numbers, 50), None)


@pytest.mark.parametrize(
    ("before", "behind", "fits"), [(30, 50, True), (30, 40, True), (40, 50, False), (30, 39, False)]
)
def test_the_next_window_must_have_opened_on_the_page_that_was_met(before: int, behind: int, fits: bool) -> None:
    window = opened(0, [0], 20)
    window.next_window = opened(10, [10, 11], 40)
    with nullcontext() if fits else pytest.raises(BoundaryMismatch):
        window.check_cursors(before, page_of([10, 11], behind))


def test_openings_with_entries_of_later_windows_do_not_stop_windows(simulator: Simulator) -> None:
    project = simulator.project("main")
    for number in range(900):
        late = timedelta(hours=4) if number % 3 else timedelta(0)
        moment = NOW - timedelta(hours=48) + timedelta(minutes=3) * number
        project.log.append(action="a", message=str(number), timestamp=moment - late)
    found, _reader = read(simulator, Range(), 4)
    assert found == project.log.entries
    # A read that falls back at its first boundary opens at most five windows; otherwise at least eight.
    assert len([request for request in simulator.requests if "cursor" not in request.query]) > 6


def swapped(page: dict[str, Any]) -> dict[str, Any]:
    first, second, *others = page["results"]
    return {**page, "results": [second, first, *others]}


def moved_back(page: dict[str, Any]) -> dict[str, Any]:
    return {**page, "next": re.sub(r"cursor=\d+", "cursor=10026", page["next"])}


def moved_on(page: dict[str, Any]) -> dict[str, Any]:
    cursor = int(page["next"].rpartition("=")[2])
    return {**page, "next": page["next"].replace(str(cursor), str(cursor + 1000))}


def emptied(page: dict[str, Any]) -> dict[str, Any]:
    return {**page, "results": []}


@pytest.mark.parametrize("twist", [swapped, moved_back, moved_on, emptied])
def test_a_hand_over_that_cannot_be_verified_ends_in_one_chain(simulator: Simulator, twist: Any) -> None:
    project = simulator.project("main")
    fill(project, 1500, hours=48)
    with Client(simulator) as client:
        page = client.page(start=(NOW - timedelta(hours=30)).isoformat())
    # The first request, and those for the first windows: one of them gets a wrong response.
    simulator.script(*[Fault("pass", cursor=False)] * 3, Fault("raw", cursor=False, body=twist(page)))
    found, reader = read(simulator, Range(), 4)
    assert found == project.log.entries
    new = project.log.append(action="b", message="new")
    assert read(simulator, Range(cursor=reader.poll_more), 4)[0] == [new]


def test_equal_entries_are_counted_and_not_confused(simulator: Simulator) -> None:
    project = simulator.project("main")
    moment = NOW - timedelta(hours=48)
    for number in range(900):
        # Several pages of equal entries.
        moment += timedelta(minutes=1) if number % 70 == 0 else timedelta(0)
        project.log.append(action="a", message="same", timestamp=moment + timedelta(hours=number // 70))
    found, _reader = read(simulator, Range(), 4)
    assert found == project.log.entries


def test_entries_without_a_readable_time_are_kept(simulator: Simulator) -> None:
    project = simulator.project("main")
    for number in range(600):
        moment = NOW - timedelta(hours=48) * (1 - number / 600)
        text = "some day" if number % 11 == 0 else moment.isoformat()
        project.log.append(action="a", message=str(number), timestamp=text)
    found, _reader = read(simulator, Range(), 4)
    assert found == project.log.entries


def test_a_burst_is_divided(simulator: Simulator) -> None:
    project = simulator.project("main")
    even = [NOW - timedelta(hours=48) + timedelta(minutes=5 * number) for number in range(500)]
    burst = [NOW - timedelta(hours=24) + timedelta(milliseconds=number) for number in range(2000)]
    for moment in sorted(even + burst):
        project.log.append(action="a", timestamp=moment)
    simulator.set(latency=0.002)
    found, reader = read(simulator, Range(), 4)
    assert found == project.log.entries
    requests = sorted(simulator.requests, key=lambda request: request.began)
    middle = requests[len(requests) // 3 : 2 * len(requests) // 3]
    simulator.clear_requests()
    simulator.requests.extend(middle)
    assert overlapping(simulator) == 4
    assert len(requests) <= 1.25 * reader.pages_read


@pytest.mark.parametrize("mode", ["dropped", "end", "kept"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_past_range_is_not_read_up_to_now(simulator: Simulator, mode: str, concurrency: int) -> None:
    simulator.set(range_in_urls=mode)
    project = simulator.project("main")
    fill(project, 2400, hours=48)
    time_range = Range.from_mapping({"start": "-40h", "end": "-30h"}, NOW)
    with Api(connect(simulator)) as api:
        reader = Reader(api, concurrency, LATENESS)
        found = [entry for page in reader.pages(time_range) for entry in page.entries]
    assert found == project.log.entries[400:900]
    assert len(simulator.requests) <= 1.15 * 500 / 5 + 8


@pytest.mark.parametrize("mode", ["dropped", "end", "kept"])
def test_a_log_that_grows_is_divided_where_it_is_large(simulator: Simulator, mode: str) -> None:
    """The first page covers a long time and says nothing about the rest; one entry is ahead of the others."""
    project = simulator.project("main")
    sparse = [NOW - timedelta(days=80 - 6 * number) for number in range(7)]
    ahead = [NOW - timedelta(days=39)]
    dense = [NOW - timedelta(days=40) + timedelta(minutes=20 * number) for number in range(1000)]
    for number, moment in enumerate(sparse + ahead + dense):
        project.log.append(action="a", message=str(number), timestamp=moment)
    simulator.set(range_in_urls=mode, latency=0.002)
    found, reader = read(simulator, Range.from_mapping({"start": "-85d"}, NOW), 4)
    assert found == project.log.entries
    assert overlapping(simulator) == 4
    assert len(simulator.requests) <= 1.15 * reader.pages_read
    # If a boundary could not be verified, the read would have become sequential.
    assert len([request for request in simulator.requests if "cursor" not in request.query]) > 10


def test_a_burst_on_the_first_page_does_not_open_many_windows(simulator: Simulator) -> None:
    burst = [NOW - timedelta(days=40) + timedelta(seconds=number) for number in range(5)]
    rest = [NOW - timedelta(days=10 - number) for number in range(4)]
    for moment in burst + rest:
        simulator.project("main").log.append(timestamp=moment)
    simulator.set(latency=0.01)
    before = set(threading.enumerate())
    found, _reader = read(simulator, Range(), 16)
    assert found == simulator.project("main").log.entries
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
    assert len(simulator.requests) <= 6


def test_a_window_that_read_to_the_end_is_not_divided(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other threads look for work before the window is finished; a split at its end would never be read."""
    splits: list[Window] = []
    finish = parallel_reader.ParallelReader._finish

    def finish_late(reader: Any, window: Window) -> None:
        with reader._changed:
            split = None if window.next_window or window.is_dropped else reader._split()
            if split is not None:
                splits.append(split)
                reader._drop_after(window)
        finish(reader, window)

    monkeypatch.setattr(parallel_reader.ParallelReader, "_finish", finish_late)
    for number in range(8):
        moment = NOW - timedelta(hours=48, microseconds=-number)
        simulator.project("main").log.append(action="a", message=str(number), timestamp=moment)
    assert len(read(simulator, Range(), 4)[0]) == 8
    assert splits == []


def longest_sequence(simulator: Simulator) -> int:
    """The most requests of which each began after the end of the one before: they determine the time at any latency."""
    count, end = 0, 0.0
    for request in sorted(simulator.requests, key=lambda request: request.ended):
        if request.began >= end:
            count, end = count + 1, request.ended
    return count


def test_windows_are_not_slower_than_one_chain(simulator: Simulator) -> None:
    for entries, hours in ((45, 48), (60, 0.5), (100, 700), (300, 48)):
        project = simulator.add_project(f"p{next(NUMBERS)}")
        fill(project, entries, hours)
        simulator.set(latency=0.01)
        _wanted, sequential = read(simulator, Range(), 1, project.name)
        simulator.clear_requests()
        read(simulator, Range(), 4, project.name)
        assert longest_sequence(simulator) <= sequential.pages_read


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_log_gives_the_same_as_one_page_after_the_other(simulator: Simulator, data: st.DataObject) -> None:
    """Bursts and pauses; late entries; ids of other projects; faults; all forms of URLs; pages of any size."""
    project, others = (simulator.add_project(f"p{next(NUMBERS)}") for _project in range(2))
    simulator.clear_script()
    simulator.set(range_in_urls=data.draw(st.sampled_from(MODES)), page_size=data.draw(st.integers(1, 7)))
    start, end = data.draw(st.sampled_from([(None, None), ("-60h", None), ("-60h", "-1h"), (None, "-30h")]))
    lateness = data.draw(st.sampled_from([None, LATENESS]))
    # Entries that appear later than the tolerance after the end are not read.
    longest = 10_800 if lateness is None or end is None else 599
    moment = NOW - timedelta(days=3)
    for _burst in range(data.draw(st.integers(1, 8))):
        moment += timedelta(minutes=data.draw(st.integers(0, 600)))
        step = data.draw(st.sampled_from([0, 0.01, 1, 60, 900]))
        for number in range(data.draw(st.integers(1, 60))):
            moment = min(moment + timedelta(seconds=step), NOW - timedelta(minutes=1))
            late = timedelta(seconds=data.draw(st.sampled_from([0, 0, 0, 0.004, 1, 60, longest])))
            project.log.append(action="a", message=str(number % 3), timestamp=moment - late)
            if number % 4 == 0:
                others.log.append(action="a", message="of others", timestamp=moment)
    time_range = Range.from_mapping({"start": start, "end": end}, NOW)
    expected, sequential = read(simulator, time_range, 1, project.name, lateness)
    kinds = data.draw(st.lists(st.sampled_from(["pass", "pass", "html", "reset", "truncated", "slow"]), max_size=20))
    simulator.script(*[Fault(kind, seconds=0.01, project=project.name) for kind in kinds])
    found, reader = read(simulator, time_range, data.draw(st.integers(2, 6)), project.name, lateness)
    simulator.clear_script()
    assert found == expected
    if end is None:
        late = project.log.append(action="b", message="late", timestamp=NOW - timedelta(hours=3))
        new = project.log.append(action="b", message="new")
        since = read(simulator, Range(cursor=reader.poll_more), 4, project.name)[0]
        assert since == read(simulator, Range(cursor=sequential.poll_more), 1, project.name)[0]
        assert since[-2:] == [late, new]
