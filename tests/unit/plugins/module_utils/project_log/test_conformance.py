# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import errors
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.conformance import Conformance
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator, bulk
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Client

from ..conftest import connect

NOW = datetime.now(timezone.utc)

AS_PUBLISHED = {
    "pages": "200 entries per page, as published",
    "urls": "next contains only the cursor, a number",
    "polling": "poll_more of an empty page returns new entries (0)",
    "order": "400 entries, oldest first; late by at most 0.000 s",
    "range": "start is inclusive, end is exclusive",
    "windows": "a read from the middle returns the same 200 entries in the same order",
    "cursors": "an old cursor continues at the oldest entry, as published",
}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def full(simulator: Simulator) -> Simulator:
    """A simulator with a log of several pages."""
    simulator.project("main").log.extend(bulk(450, NOW - timedelta(days=9), NOW - timedelta(days=1)))
    return simulator


def look(simulator: Simulator, names: Any = None) -> dict[str, str]:
    """The descriptions by the named checks; the message of the error if one fails."""
    found = {}
    with Api(connect(simulator, api_retries=0)) as api:
        for name, check in Conformance(api, api.page(api.first_url())).checks():
            if name in (names or AS_PUBLISHED):
                found[name] = description(check)
    return found


def description(check: Callable[[], str]) -> str:
    try:
        return check()
    except errors.InvalidResponse as error:
        return f"FAILED {error.message}"


def get_page(simulator: Simulator, **query: str) -> Any:
    with Client(simulator) as client:
        return client.page(**query)


def test_an_api_as_published(full: Simulator) -> None:
    assert look(full) == AS_PUBLISHED
    assert {request.method for request in full.requests} == {"GET"}
    assert len(full.requests) <= 10
    with Api(connect(full)) as api:
        first = api.page(api.first_url())
        date = dict(Conformance(api, first).checks())["date"]()
    assert first.server_date is not None
    assert f"{first.server_date:%Y-%m-%dT%H:%M}" in date


def test_an_empty_log(simulator: Simulator) -> None:
    assert look(simulator) == {
        "pages": "unknown: the log has one page, of 0 entries",
        "urls": "poll_more contains only the cursor, a number",
        "polling": AS_PUBLISHED["polling"],
        "order": "unknown: the log has fewer than two entries",
        "range": "unknown: the log has no entries",
        "windows": "unknown: the log has no entries",
        "cursors": AS_PUBLISHED["cursors"],
    }


def test_another_page_size(full: Simulator) -> None:
    full.set(page_size=100)
    assert look(full, ["pages"]) == {"pages": "100 entries per page, 200 are published"}


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        ("end", "next keeps end, but only the cursor is published; the cursor is a number"),
        ("kept", "next keeps end, start, but only the cursor is published; the cursor is a number"),
    ],
)
def test_a_range_that_is_kept(full: Simulator, mode: str, found: str) -> None:
    full.set(range_in_urls=mode)
    assert look(full) == {**AS_PUBLISHED, "urls": found}


def test_a_cursor_that_is_not_a_number(full: Simulator) -> None:
    full.set(range_in_urls="cursor")
    assert "not a number" in look(full)["urls"]


def test_an_empty_page_whose_poll_returns_old_entries(full: Simulator) -> None:
    page = get_page(full)
    full.script(
        Fault("pass"),
        Fault("raw", body={**page, "results": [], "next": None, "poll_more": f"{full.url}/project-logs?cursor=10025"}),
    )
    assert "poll_more of an empty page returned an entry of 20" in look(full, ["polling"])["polling"]


def test_a_future_start_that_is_ignored(full: Simulator) -> None:
    full.script(Fault("pass"), Fault("raw", body=get_page(full)))
    assert "begins in the future returned 200 entries" in look(full, ["polling"])["polling"]


def test_newest_first(simulator: Simulator) -> None:
    for number in range(5):
        simulator.project("main").log.append(timestamp=NOW - timedelta(hours=number))
    assert "begins with its newest entry" in look(simulator)["order"]


def test_late_entries(simulator: Simulator) -> None:
    for minutes in (30, 20, 20.5, 10):
        simulator.project("main").log.append(timestamp=NOW - timedelta(minutes=minutes))
    assert look(simulator)["order"] == "4 entries, oldest first; late by at most 30.000 s"
    simulator.project("main").log.append(timestamp=NOW - timedelta(minutes=30))
    assert "an entry is 1200 s late; at most 600 s are supported" in look(simulator)["order"]


@pytest.mark.parametrize(
    ("skip", "query", "found"),
    [
        (0, {"start": "later"}, "omits an entry of exactly that time"),
        (0, {}, "returns earlier entries"),
        (1, {}, "returns entries of that time or later"),
    ],
)
def test_bounds_that_do_not_hold(full: Simulator, skip: int, query: dict[str, str], found: str) -> None:
    times = [entry["timestamp"] for entry in get_page(full)["results"]]
    page = get_page(full, **dict.fromkeys(query, times[150]))
    full.script(*[Fault("pass")] * (1 + skip), Fault("raw", body=page))
    assert found in look(full, ["range"])["range"]


def test_positions_that_depend_on_the_start(full: Simulator) -> None:
    page = get_page(full, start=get_page(full)["results"][100]["timestamp"])
    full.script(Fault("pass"), Fault("raw", body={**page, "results": page["results"][::-1]}))
    assert "returns other entries or another order" in look(full, ["windows"])["windows"]


@pytest.mark.parametrize(("mode", "status"), [("refuse", 404), (410, 410)])
def test_an_old_cursor_that_is_refused(full: Simulator, mode: Any, status: int) -> None:
    full.set(expired_cursor=mode, retention=timedelta(days=5))
    assert look(full, ["cursors"])["cursors"] == (
        f"an old cursor is rejected (HTTP {status}), although published to continue"
    )


def test_a_cursor_that_returns_something_else_the_second_time(full: Simulator) -> None:
    first = get_page(full)
    second = json.loads(json.dumps(first))
    full.script(Fault("pass"), Fault("pass", cursor=True), Fault("raw", body=second, cursor=True))
    assert "The same cursor returned other entries" in look(full, ["cursors"])["cursors"]


def test_an_old_cursor_that_continues_elsewhere_or_fails(full: Simulator) -> None:
    passed = (Fault("pass"), Fault("pass", times=2, cursor=True))
    second = get_page(full, cursor=get_page(full)["next"].rpartition("=")[2])
    full.script(*passed, Fault("raw", body=second, cursor=True))
    assert look(full, ["cursors"])["cursors"] == "an old cursor does not continue at the oldest entry"
    full.script(*passed, Fault("status", status=500, cursor=True))
    assert "an old cursor fails: " in look(full, ["cursors"])["cursors"]


def test_an_api_that_does_not_tell_its_time(full: Simulator) -> None:
    with Api(connect(full)) as api:
        page = replace(api.page(api.first_url()), server_date=None)
        date = dict(Conformance(api, page).checks())["date"]
    assert description(date).startswith("FAILED The API's response has no Date")
