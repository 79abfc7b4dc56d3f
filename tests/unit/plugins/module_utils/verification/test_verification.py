# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, Callable, Dict, List

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    Cancelled,
    CursorRejected,
    InvalidInput,
    MissingChanges,
    ServiceUnavailable,
    UnexpectedChanges,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.verification.verification import Result, Verification
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator

from ..conftest import Waits

CREATED: Any = [{"action": "server_create"}]
MALLORY = {"user": {"email": "mallory@example.com"}}


class Timeline(Waits):
    """Time that passes only in waits; each event happens at its planned time."""

    def __init__(self) -> None:
        super().__init__()
        self.plan: Dict[float, Callable[[], object]] = {}

    def clock_forward(self, seconds: float) -> None:
        """Let time pass without a wait."""
        self.now += seconds

    def wait(self, seconds: float) -> bool:
        super().wait(seconds)
        for moment in [moment for moment in self.plan if moment <= self.now]:
            self.plan.pop(moment)()
        return False


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


def cursor_of(simulator: Simulator) -> str:
    """The current end of the log."""
    verdict = check(simulator, Timeline(), once=True, forbid=[{"action": "no_such_action"}])
    return verdict.poll_more


def check(simulator: Simulator, timeline: Waits, once: bool = False, **options: Any) -> Result:
    token = simulator.project("main").token
    # The complete log, unless a test sets a range.
    start = {} if {"start", "end", "cursor"} & set(options) else {"start": "2020-01-01"}
    given = {
        "api_token": token,
        "api_url": simulator.url,
        "timeout": 60,
        "interval": 5,
        "settle": 5,
        **start,
        **options,
    }
    return Verification(given).run(once, timeline.clock, timeline.wait)


def appended(simulator: Simulator, **entry: Any) -> Callable[[], object]:
    return partial(simulator.project("main").log.append, **entry)


def asked(simulator: Simulator) -> List[Dict[str, str]]:
    return [request.query for request in simulator.requests]


def test_what_is_there_is_confirmed_by_one_more_poll_after_settling(simulator: Simulator, timeline: Timeline) -> None:
    cursor = cursor_of(simulator)
    entry = simulator.project("main").log.append(action="server_create")
    verdict = check(simulator, timeline, cursor=cursor, expect=CREATED)
    assert verdict.error is None
    assert (verdict.comparison.matched, verdict.missing, verdict.waited) == ([entry], [], 5)
    assert timeline.seconds == [5]


def test_it_polls_on_and_never_reads_again(simulator: Simulator, timeline: Timeline) -> None:
    for _entry in range(7):
        simulator.project("main").log.append(action="volume_create")
    cursor = cursor_of(simulator)
    simulator.clear_requests()
    timeline.plan[12] = appended(simulator, action="server_create")
    verdict = check(simulator, timeline, cursor=cursor, expect=CREATED)
    assert verdict.error is None
    assert timeline.seconds == [5, 5, 5, 5]
    assert verdict.waited == 20
    assert verdict.comparison.read == 1
    assert len(simulator.requests) == 5
    assert all("cursor" in query for query in asked(simulator))


def test_poll_more_continues_where_it_ended(simulator: Simulator, timeline: Timeline) -> None:
    for _entry in range(7):
        simulator.project("main").log.append(action="server_create")
    verdict = check(simulator, timeline, expect=CREATED)
    later = simulator.project("main").log.append(action="server_create", message="later")
    assert check(simulator, timeline, cursor=verdict.poll_more, expect=CREATED).comparison.matched == [later]


@pytest.mark.parametrize("mode", ["dropped", "end", "kept"])
@pytest.mark.parametrize("ago", [timedelta(hours=1), timedelta(minutes=1)])
def test_poll_more_of_a_past_range_continues_at_its_end(
    simulator: Simulator, timeline: Timeline, mode: Any, ago: timedelta
) -> None:
    simulator.set(range_in_urls=mode)
    log = simulator.project("main").log
    end = datetime.now(timezone.utc) - ago
    inside = [log.append(action="server_create", timestamp=end - timedelta(seconds=9 - number)) for number in range(9)]
    after = [log.append(action="server_create", timestamp=end + timedelta(seconds=number)) for number in range(9)]
    # The last poll of a range that has just ended returns no entry, but the first read did.
    verdict = check(simulator, timeline, start="-2d", end=end.isoformat(), expect=CREATED)
    assert verdict.comparison.matched == inside
    assert timeline.seconds == [5]
    after.append(log.append(action="server_create", message="then"))
    assert check(simulator, timeline, cursor=verdict.poll_more, expect=CREATED).comparison.matched == after


def test_a_warning_is_given_once(simulator: Simulator, timeline: Timeline) -> None:
    simulator.project("main").log.append(action="server_create")
    assert len(check(simulator, timeline, start="-100d", expect=CREATED).warnings) == 1
    assert timeline.seconds == [5]


def test_what_is_missing_is_missing_at_the_timeout(simulator: Simulator, timeline: Timeline) -> None:
    timeline.plan[60.5] = appended(simulator, action="server_create")
    verdict = check(simulator, timeline, timeout=12, expect=CREATED)
    assert isinstance(verdict.error, MissingChanges)
    assert verdict.error.failure == {"code": "missing_changes", "http_status": None, "retryable": True}
    assert timeline.seconds == [5, 5, 2]
    assert verdict.waited == 12


def test_the_last_poll_is_at_the_timeout(simulator: Simulator, timeline: Timeline) -> None:
    timeline.plan[12] = appended(simulator, action="server_create")
    assert check(simulator, timeline, timeout=12, expect=CREATED).error is None


def test_settling_may_take_longer_than_the_timeout(simulator: Simulator, timeline: Timeline) -> None:
    simulator.project("main").log.append(action="server_create")
    verdict = check(simulator, timeline, timeout=0, settle=30, expect=CREATED)
    assert (verdict.error, verdict.waited) == (None, 30)


def test_without_settling_the_first_good_read_suffices(simulator: Simulator, timeline: Timeline) -> None:
    simulator.project("main").log.append(action="server_create")
    verdict = check(simulator, timeline, settle=0, expect=CREATED)
    assert (verdict.error, timeline.seconds, len(simulator.requests)) == (None, [], 1)
    simulator.clear_requests()
    simulator.before_page(lambda: timeline.clock_forward(3))
    assert check(simulator, timeline, settle=0, expect=CREATED).error is None
    assert len(simulator.requests) == 1


def test_without_expectations_it_settles_only(simulator: Simulator, timeline: Timeline) -> None:
    verdict = check(simulator, timeline, forbid=[{"action": "*_delete"}], timeout=1000)
    assert (verdict.error, verdict.waited, len(simulator.requests)) == (None, 5, 2)


def test_an_intruder_seen_while_settling_is_seen(simulator: Simulator, timeline: Timeline) -> None:
    simulator.project("main").log.append(action="server_create")
    timeline.plan[4] = appended(simulator, action="server_delete", actor=MALLORY)
    verdict = check(simulator, timeline, expect=CREATED, exclusive=True)
    assert isinstance(verdict.error, UnexpectedChanges)
    assert verdict.error.failure == {"code": "unexpected_changes", "http_status": None, "retryable": False}
    assert "mallory@example.com" in verdict.error.message


def test_forbidden_changes_fail_at_once(simulator: Simulator, timeline: Timeline) -> None:
    timeline.plan[10] = appended(simulator, action="server_delete")
    verdict = check(simulator, timeline, expect=CREATED, forbid=[{"action": "server_delete"}], timeout=600)
    assert isinstance(verdict.error, UnexpectedChanges)
    assert verdict.waited == 10
    assert len(verdict.missing) == 1


def test_all_visible_intruders_are_reported(simulator: Simulator, timeline: Timeline) -> None:
    for number in range(7):
        simulator.project("main").log.append(action="server_delete", message=str(number))
    verdict = check(simulator, timeline, exclusive=True)
    assert len(verdict.comparison.unexpected) == 7


def test_the_last_poll_is_sent_no_earlier_than_settling_ends(simulator: Simulator, timeline: Timeline) -> None:
    """The response to a poll that was sent before the end of settling might lack entries."""
    simulator.project("main").log.append(action="server_create")
    token = simulator.project("main").token
    options = {
        "api_token": token,
        "api_url": simulator.url,
        "interval": 4,
        "settle": 5,
        "expect": CREATED,
        "start": "-1d",
    }

    def slow_answer() -> None:
        if len(simulator.requests) == 1:
            timeline.now += 3

    simulator.before_page(slow_answer)
    verdict = Verification(options).run(False, timeline.clock, timeline.wait)
    assert verdict.error is None
    assert len(simulator.requests) == 3


def test_late_and_overtaken_entries_count(simulator: Simulator, timeline: Timeline) -> None:
    now = datetime.now(timezone.utc)
    simulator.project("main").log.append(action="server_create", timestamp=now)
    cursor = cursor_of(simulator)
    timeline.plan[5] = appended(simulator, action="server_create", timestamp=now - timedelta(milliseconds=5))
    assert check(simulator, timeline, cursor=cursor, expect=CREATED).error is None


@pytest.mark.parametrize("mode", ["cursor", "kept", "dropped"])
def test_a_window_holds_while_it_polls(simulator: Simulator, timeline: Timeline, mode: str) -> None:
    simulator.set(range_in_urls=mode)
    end = datetime.now(timezone.utc) - timedelta(minutes=1)
    log = simulator.project("main").log
    for number in range(5):
        log.append(action="server_create", timestamp=end - timedelta(seconds=5 - number))
    log.append(action="server_delete", timestamp=end)
    timeline.plan[5] = appended(simulator, action="server_delete", timestamp=end + timedelta(seconds=1))
    window = {"start": (end - timedelta(hours=4)).isoformat(), "end": end.isoformat()}
    verdict = check(simulator, timeline, **window, expect=[{"action": "server_create", "count": 5}], exclusive=True)
    assert verdict.error is None


def test_faults_while_waiting_pass(simulator: Simulator, timeline: Timeline) -> None:
    passed = Fault("pass")
    simulator.script(passed, *map(Fault, ("status", "reset", "truncated", "html", "no_results")), passed)
    timeline.plan[30] = appended(simulator, action="server_create")
    verdict = check(simulator, timeline, expect=CREATED)
    assert verdict.error is None
    assert verdict.comparison.read == 1


def test_a_permanent_error_is_reported_as_such(simulator: Simulator, timeline: Timeline) -> None:
    simulator.script(Fault("pass"), Fault("status", status=503, times=99))
    with pytest.raises(ServiceUnavailable):
        check(simulator, timeline, expect=CREATED)


def test_an_expired_cursor_is_reported(simulator: Simulator, timeline: Timeline) -> None:
    old = datetime.now(timezone.utc) - timedelta(days=91)
    simulator.set(retention=None)
    cursor = cursor_of(simulator)
    simulator.project("main").log.append(action="server_create", timestamp=old)
    simulator.set(retention=timedelta(days=90), expired_cursor="refuse")
    with pytest.raises(CursorRejected, match="set start instead"):
        check(simulator, timeline, cursor=cursor, expect=CREATED)


def test_an_old_start_is_warned_about_once(simulator: Simulator, timeline: Timeline) -> None:
    verdict = check(simulator, timeline, start="-100d", exclusive=True)
    assert ["retention" in warning for warning in verdict.warnings] == [True]


def test_read_once_it_waits_for_nothing(simulator: Simulator, timeline: Timeline) -> None:
    verdict = check(simulator, timeline, once=True, expect=CREATED)
    assert (verdict.error, len(verdict.missing), verdict.waited, len(simulator.requests)) == (None, 1, 0, 1)
    simulator.project("main").log.append(action="server_delete")
    forbidden = check(simulator, timeline, once=True, expect=CREATED, forbid=[{"action": "server_delete"}])
    assert isinstance(forbidden.error, UnexpectedChanges)
    assert "is missing" not in forbidden.error.message
    assert isinstance(check(simulator, timeline, once=True, exclusive=True).error, UnexpectedChanges)


def test_it_can_be_stopped_while_it_waits(simulator: Simulator, timeline: Timeline) -> None:
    options = {
        "api_token": simulator.project("main").token,
        "api_url": simulator.url,
        "expect": CREATED,
        "start": "-1d",
    }
    with pytest.raises(Cancelled):
        Verification(options).run(False, timeline.clock, lambda _seconds: True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": -1}, "timeout must be at least 0"),
        ({"interval": 0}, "interval must be at least 0.001"),
        ({"settle": "soon"}, "settle: 'soon' is not a number"),
        ({"timeout": float("inf")}, "timeout must be"),
        ({"expect": [{}]}, r"expect\[0\]"),
        ({"cursor": "10025", "expect": CREATED}, "complete poll_more"),
    ],
)
def test_options_are_checked_before_anything_is_asked(simulator: Simulator, options: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check(simulator, Timeline(), **options)
    assert simulator.requests == []


NOTHING_ASKED = "There is nothing to verify: add a rule to expect or forbid, or set exclusive to true."
NO_BEGINNING = (
    "There is no range to verify: set cursor to the poll_more of a read before the change, or set start. "
    "An empty cursor counts as not set."
)
ANYTHING_GOES = (
    "There is nothing to verify: every rule of expect has min 0 and no max, so any log meets them. "
    "Raise min, set max, or set exclusive to true."
)


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, NOTHING_ASKED),
        ({"expect": None, "forbid": None}, NOTHING_ASKED),
        ({"expect": [], "forbid": []}, NOTHING_ASKED),
        ({"exclusive": False, "ignore": [{"actor": "system"}], "own_actors": ["ci"]}, NOTHING_ASKED),
        ({"expect": [{"action": "*", "min": 0}, {"action": "x", "min": "0"}]}, ANYTHING_GOES),
        ({"expect": CREATED, "start": None}, NO_BEGINNING),
        ({"expect": CREATED, "start": "", "cursor": ""}, NO_BEGINNING),
        ({"forbid": CREATED, "end": "-1h"}, NO_BEGINNING),
        ({"exclusive": True, "cursor": None}, NO_BEGINNING),
        (
            {"exclusive": True, "start": "-1h", "end": "-1h"},
            "The range is empty: start equals end, and end is exclusive.",
        ),
    ],
)
def test_a_verdict_without_evidence_is_refused(simulator: Simulator, once: bool, options: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(simulator, Timeline(), once, **options)
    assert refused.value.message == message
    assert simulator.requests == []


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "2099-01-01"}, r"start \(2099-01-01T00:00:00Z\) is in the future; the API's clock shows 20"),
        (
            {"start": "-200d", "end": "-100d"},
            r"end \(20.*\) is before the provider's retention of 90 days: the log no longer",
        ),
    ],
)
def test_a_range_in_which_nothing_can_be_is_refused(
    simulator: Simulator, once: bool, options: Any, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        check(simulator, Timeline(), once, forbid=CREATED, **options)
    assert len(simulator.requests) == 1


def test_the_clock_of_the_api_decides_what_is_in_the_future(simulator: Simulator, timeline: Timeline) -> None:
    now = datetime.now(timezone.utc)
    assert check(simulator, timeline, exclusive=True, start=now + timedelta(minutes=9)).error is None
    simulator.set(clock_offset=timedelta(minutes=-20))
    with pytest.raises(InvalidInput, match="in the future"):
        check(simulator, timeline, exclusive=True, start=now + timedelta(minutes=9))


def test_changes_that_are_allowed_only_can_be_verified_with_exclusive(simulator: Simulator, timeline: Timeline) -> None:
    verdict = check(simulator, timeline, expect=[{"action": "server_create", "min": 0}], exclusive=True)
    assert verdict.error is None


def test_the_result_is_made_of_plain_values(simulator: Simulator, timeline: Timeline) -> None:
    log = simulator.project("main").log
    log.extend(['{"timestamp":"2026-11-22T12:00:00Z","action":"server_create","message":"a","size":1.50}'])
    expect = [{"action": "server_create"}, {"action": "server_create", "message_pattern": "b", "count": 2}]
    result = check(simulator, timeline, timeout=0, expect=expect).as_dict()
    entry = {"timestamp": "2026-11-22T12:00:00Z", "action": "server_create", "message": "a", "size": 1.5}
    assert result == {
        "matched": [entry],
        "missing": [
            {
                "action": "server_create",
                "message_pattern": "b",
                "count": 2,
                "name": "expect[1]",
                "wanted": "exactly 2",
                "found": 0,
                "nearest": {"entry": entry, "differs": ["message_pattern"], "counted_for": "expect[0]"},
            }
        ],
        "unexpected": [],
        "waited": 0,
        "poll_more": result["poll_more"],
    }
    assert json.dumps(result["matched"][0]["size"]) == "1.5"


def test_the_failure_reads_like_a_test_report(simulator: Simulator, timeline: Timeline) -> None:
    log = simulator.project("main").log
    at = "2026-11-22T12:23:0%d.460366Z"
    ci = {"api_token": {"uuid": "0a1b", "description": "ci deploy"}}
    log.append("server_create", "Server 'web-1' has been created", at % 1, ci)
    log.append("server_create", "Server 'web-3' has been created", at % 2, ci)
    log.append("server_stop", "Server 'db' has been\nshut down", at % 3, MALLORY, "203.0.113.9")
    log.append("volume_delete", "Volume 'data' has been deleted", at % 4, {"admin": {}})
    rules = {
        "expect": [
            {"action": "server_create", "message_pattern": "'web-1'"},
            {"action": "server_create", "message_pattern": "'web-2'"},
            {"action": "server_stop", "message_pattern": "'db'", "actor": "ci deploy", "count": 2},
            {"action": "floating_ip_assign"},
        ],
        "forbid": [{"action": "volume_delete"}],
        "ignore": [{"actor": "ci deploy"}],
        "exclusive": True,
    }
    verdict = check(simulator, timeline, **rules)
    assert verdict.error is not None
    assert verdict.error.message.splitlines() == [
        "The project log is not as expected after 0 s: 2 changes are unexpected, 3 of 4 expectations are not met.",
        "Unexpected: 2026-11-22 12:23:03 mallory@example.com from 203.0.113.9: "
        "Server 'db' has been\ufffdshut down (server_stop)",
        "  no rule expects it",
        "Unexpected: 2026-11-22 12:23:04 admin: Volume 'data' has been deleted (volume_delete)",
        "  forbidden by forbid[0]",
        "Missing: expect[1]: action server_create, message /'web-2'/",
        "  expected at least 1, found 0",
        "  nearest: 2026-11-22 12:23:02 ci deploy from 192.0.2.10: Server 'web-3' has been created (server_create),",
        "  but its message differs",
        "Missing: expect[2]: action server_stop, message /'db'/, actor ci deploy",
        "  expected exactly 2, found 0",
        "  nearest: 2026-11-22 12:23:03 mallory@example.com from 203.0.113.9: "
        "Server 'db' has been\ufffdshut down (server_stop),",
        "  but it was made by mallory@example.com",
        "Missing: expect[3]: action floating_ip_assign",
        "  expected at least 1, found 0",
    ]


def test_a_long_list_of_findings_is_cut(simulator: Simulator, timeline: Timeline) -> None:
    for number in range(25):
        simulator.project("main").log.append(action="server_delete", message=f"{number}" + "x" * 10_000)
    verdict = check(simulator, timeline, exclusive=True)
    assert verdict.error is not None
    assert "... and 15 more unexpected changes." in verdict.error.message
    assert len(verdict.error.message) < 5000
