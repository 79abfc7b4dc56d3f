# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import errors
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import digest
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.reader import Reader
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Range
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..conftest import connect

NOW = datetime.now(timezone.utc)
EVERYTHING = Range()
NUMBERS = count()


def read(api: Api, range_of: Range = EVERYTHING) -> tuple[list[Any], Reader]:
    reader = Reader(api)
    return [entry for page in reader.pages(range_of) for entry in page.entries], reader


def at(minutes: float) -> str:
    return (NOW - timedelta(minutes=minutes)).isoformat()


def range_of(**options: str) -> Range:
    return Range.from_mapping(options, NOW)


def test_an_empty_log_has_a_place_to_poll_from(simulator: Simulator, api: Api) -> None:
    entries, reader = read(api, range_of(start="now"))
    assert entries == []
    expected = simulator.project("main").log.append(action="server_create", message="m")
    assert read(api, Range(cursor=reader.poll_more))[0] == [expected]


def test_poll_more_of_an_empty_page_is_kept(simulator: Simulator, api: Api) -> None:
    log = simulator.project("main").log
    log.append(action="server_create", message="before the range", timestamp=NOW - timedelta(hours=1))
    nothing, reader = read(api, range_of(start="now"))
    more, later = read(api, Range(cursor=reader.poll_more))
    assert nothing == more == []
    expected = log.append(action="server_stop", message="since")
    assert read(api, Range(cursor=later.poll_more))[0] == [expected]


def test_equal_and_unknown_things_are_kept(simulator: Simulator, api: Api) -> None:
    odd = {"timestamp": at(1), "action": "x", "actor": {"robot": {}}, "new": [1, {"a": None}], "message": "{{ 7*7 }}"}
    untimed = {"timestamp": "some day", "action": "x"}
    log = simulator.project("main").log
    log.extend([odd, odd, untimed, odd])
    found, reader = read(api)
    assert Counter(map(digest, found)) == Counter(map(digest, log.entries))
    assert [entry.get("new") for entry in found] == [odd["new"], odd["new"], None, odd["new"]]
    assert (reader.entries_read, reader.pages_read) == (4, 2)


@pytest.mark.parametrize("urls", ["kept", "end", "dropped", "cursor"])
def test_the_range_holds_whether_later_urls_carry_it_or_not(simulator: Simulator, api: Api, urls: str) -> None:
    simulator.set(range_in_urls=urls)
    log = simulator.project("main").log
    inside = [log.append(action="a", message=str(n), timestamp=NOW - timedelta(minutes=n)) for n in range(29, 10, -1)]
    log.append(action="late", message="overtaken", timestamp=NOW - timedelta(minutes=45))
    log.append(action="after", message="too late", timestamp=NOW - timedelta(minutes=5))
    assert read(api, range_of(start="-30m", end="-10m"))[0] == inside


@pytest.mark.parametrize("urls", ["dropped", "end", "kept"])
@pytest.mark.parametrize("count", [2, 20])
def test_a_past_range_continues_at_its_end(simulator: Simulator, api: Api, urls: str, count: int) -> None:
    simulator.set(range_in_urls=urls)
    log = simulator.project("main").log
    inside = [log.append(action="in", message=str(n), timestamp=at(50 + count - n)) for n in range(count)]
    after = [log.append(action="after", message=str(n), timestamp=at(30 - n)) for n in range(8)]
    found, reader = read(api, range_of(start="-100m", end="-40m"))
    assert found == inside
    assert "cursor" not in str(reader.poll_more)
    after.append(log.append(action="after", message="then"))
    log.append(action="late", message="neither in this read nor in the next one", timestamp=at(70))
    found, reader = read(api, Range(cursor=reader.poll_more))
    assert found == after
    late = log.append(action="late", message="late", timestamp=at(60))
    assert read(api, Range(cursor=reader.poll_more))[0] == ([] if urls == "kept" else [late])


@pytest.mark.parametrize("end", ["now", "-1m"])
def test_a_range_that_ends_just_now_continues_behind_its_entries(simulator: Simulator, api: Api, end: str) -> None:
    log = simulator.project("main").log
    for n in range(8):
        log.append(action="in", message=str(n), timestamp=at(30 - n))
    found, reader = read(api, range_of(end=end))
    assert len(found) == 8
    # An entry that became visible while the range was read.
    late = log.append(action="late", message="late", timestamp=at(2))
    assert read(api, Range(cursor=reader.poll_more))[0] == [late]


def test_a_range_that_ends_just_now_leaves_nothing_out_after_it(simulator: Simulator, api: Api) -> None:
    log = simulator.project("main").log
    inside = log.append(action="in", message="in", timestamp=at(3))
    after = log.append(action="after", message="after", timestamp=at(1))
    found, reader = read(api, range_of(end="-2m"))
    assert found == [inside]
    assert read(api, Range(cursor=reader.poll_more))[0] == [after]


def test_a_range_that_ends_in_the_future_continues_by_the_cursor(simulator: Simulator, api: Api) -> None:
    simulator.project("main").log.append(action="in", message="in", timestamp=at(3))
    later = (NOW + timedelta(days=1)).isoformat()
    assert "cursor" in str(read(api, range_of(end=later))[1].poll_more)


def test_a_past_range_ends_with_the_first_page_that_is_later(simulator: Simulator, api: Api) -> None:
    log = simulator.project("main").log
    for n in range(60):
        log.append(action="a", message=str(n), timestamp=at(120 - n))
    time_range = range_of(start="-110m", end="-90m")
    found, _exhaustive = read(api, time_range)
    assert len(simulator.requests) == 50 / 3 // 1 + 1
    simulator.clear_requests()
    reader = Reader(api, lateness=timedelta(minutes=10))
    assert [entry for page in reader.pages(time_range) for entry in page.entries] == found
    assert len(simulator.requests) <= (20 + 10) / 3 + 2


def test_a_next_that_repeats_is_an_error(simulator: Simulator, api: Api) -> None:
    for n in range(7):
        simulator.project("main").log.append(action="a", message=str(n))
    simulator.script(Fault("pass"), Fault("loop"))
    with pytest.raises(errors.PaginationLoop, match="already read"):
        read(api)


def test_no_page_is_read_if_the_first_one_leads_to_itself(simulator: Simulator, api: Api) -> None:
    simulator.project("main").log.append(action="a", message="m")
    simulator.script(Fault("loop"))
    reader = Reader(api)
    with pytest.raises(errors.PaginationLoop, match="already read"):
        list(reader.pages(range_of()))
    assert reader.pages_read == 0


def test_an_error_in_the_middle_is_raised_and_not_swallowed(simulator: Simulator) -> None:
    for n in range(7):
        simulator.project("main").log.append(action="a", message=str(n))
    simulator.script(Fault("pass"), Fault("status", status=500, times=9))
    with Api(connect(simulator, api_retries=0)) as api, pytest.raises(errors.ServiceUnavailable):
        read(api)


def test_pages_are_not_held(simulator: Simulator, api: Api) -> None:
    for n in range(7):
        simulator.project("main").log.append(action="a", message=str(n))
    pages = Reader(api).pages(EVERYTHING)
    next(pages)
    assert len(simulator.requests) == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_split_into_pages_and_any_overtaking_gives_the_log(simulator: Simulator, data: st.DataObject) -> None:
    """Entries appear in any order, some while the range is read; pages have any size, including 0."""
    project = simulator.add_project(f"p{next(NUMBERS)}")
    minutes = data.draw(st.lists(st.integers(1, 100), max_size=25))
    before = data.draw(st.integers(0, len(minutes)))
    simulator.set(range_in_urls=data.draw(st.sampled_from(["kept", "end", "dropped", "cursor"])))
    simulator.page_sizes(data.draw(st.lists(st.integers(0, 4), max_size=10)))
    late = list(minutes[before:])

    def appear() -> None:
        if late:
            minute = late.pop(0)
            project.log.append(action="a", message=f"m{minute}", timestamp=NOW - timedelta(minutes=minute))

    for minute in minutes[:before]:
        project.log.append(action="a", message=f"m{minute}", timestamp=NOW - timedelta(minutes=minute))
    simulator.before_page(appear)
    with Api(connect(simulator, api_token=project.token)) as api:
        found, reader = read(api, EVERYTHING)
        while late or reader.poll_more is None:
            more, reader = read(api, Range(cursor=reader.poll_more))
            found += more
        found += read(api, Range(cursor=reader.poll_more))[0]
        simulator.before_page(None)
        ranged = read(api, range_of(start="-50m", end="-20m"))[0]
    assert list(map(digest, found)) == list(map(digest, project.log.entries))
    expected = [entry for entry in project.log.entries if range_of(start="-50m", end="-20m").contains(_moment(entry))]
    assert list(map(digest, ranged)) == list(map(digest, expected))


def _moment(entry: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["timestamp"].replace("Z", "+00:00"))
