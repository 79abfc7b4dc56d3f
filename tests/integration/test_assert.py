# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module project_logs_assert, through real playbook runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator

from .conftest import BIN

if TYPE_CHECKING:
    from .conftest import Controller, Results

ASSERT = "auditops.cloudscale.project_logs_assert"
NOW = datetime.now(timezone.utc)
CI = {"api_token": {"uuid": "0a1b2c3d", "description": "ci deploy"}}
MALLORY = {"user": {"email": "mallory@example.com"}}
CREATED = {"action": "server_create", "message_pattern": "'web-1'"}
DELETED = {"action": "server_delete"}
QUICK = {"timeout": 0.2, "interval": 0.1, "settle": 0.1}
ALL = {"start": "-24h"}
EXPECTED = {"expect": [CREATED], **QUICK}


@pytest.fixture(scope="module")
def log(simulator: Simulator) -> list[Any]:
    append = simulator.project("main").log.append
    window = NOW - timedelta(hours=2)
    append("server_create", "Server 'web-1' has been created", window, CI, "192.0.2.7")
    append("server_stop", "Server {{ 7*7 }} has been shut down", window + timedelta(minutes=1), MALLORY, "203.0.113.9")
    append("server_pause", "Server 'old' has been paused", NOW - timedelta(minutes=10), {"system": {}})
    append("server_delete", "Server 'web-1' has been deleted", NOW - timedelta(minutes=5), {"admin": {}})
    return list(simulator.project("main").log.entries)


@pytest.fixture(scope="module")
def results(controller: Controller, simulator: Simulator, log: list[Any]) -> Results:
    window = {"start": "-3h", "end": "-1h"}
    cases = {
        "met": {ASSERT: {**EXPECTED, **window}},
        "exclusive": {ASSERT: {**EXPECTED, **window, "exclusive": True}},
        "ignored": {ASSERT: {**EXPECTED, **window, "exclusive": True, "ignore": [{"actor": "mallory@example.com"}]}},
        "missing": {ASSERT: {**QUICK, **window, "expect": [{"action": "server_create", "count": 2}]}},
        "forbidden": {ASSERT: {**QUICK, **ALL, "forbid": [DELETED], "timeout": 600}},
        "not ours": {ASSERT: {**EXPECTED, **ALL, "own_actors": ["mallory@example.com"]}},
        "ours": {ASSERT: {**EXPECTED, **ALL, "own_actors": ["0a1b2c3d"]}},
        "no rule": {ASSERT: {**QUICK, **ALL}},
        "rules of null": {ASSERT: {**QUICK, **ALL, "expect": None, "forbid": []}},
        "no value": {ASSERT: {**EXPECTED, "cursor": "{{ case_0.no_such_key | default(omit) }}"}},
        "only an end": {ASSERT: {**EXPECTED, "end": "-1h"}},
        "in the future": {ASSERT: {**QUICK, "forbid": [DELETED], "start": "2099-01-01"}},
        "quiet": {ASSERT: {**QUICK, "start": "-1m", "forbid": [DELETED]}},
        "counts as text": {ASSERT: {**QUICK, **ALL, "expect": [{"action": "server_*", "count": "{{ 2 + 2 }}"}]}},
        "since": {ASSERT: {**EXPECTED, "poll_more": "{{ case_0.poll_more }}"}},
        "old": {ASSERT: {**EXPECTED, "start": "-100d"}},
        "unknown key": {ASSERT: {"expect": [{"acton": "x"}]}},
        "no condition": {ASSERT: {"expect": [{"count": 2}]}},
        "bad pattern": {ASSERT: {"forbid": [CREATED, {"message_pattern": "("}]}},
        "bad network": {ASSERT: {"ignore": [{"ip_network": "here"}]}},
        "bad count": {ASSERT: {"expect": [{"action": "x", "count": "many"}]}},
        "count in forbid": {ASSERT: {"forbid": [{"action": "x", "count": 2}]}},
        "bad interval": {ASSERT: {"interval": 0}},
        "wrong token": {ASSERT: {**EXPECTED, **ALL, "api_token": "wrong-but-well-formed-0123456789"}},
    }
    return controller.run(cases)


def test_expected_changes_are_found(results: Results, log: list[Any]) -> None:
    result = results["met"]
    assert (result["failed"], result["changed"]) == (False, False)
    assert (result["matched"], result["missing"], result["unexpected"]) == (log[:1], [], [])
    assert 0.1 <= result["waited"] < 30
    assert results["ignored"]["failed"] is False
    assert results["ours"]["failed"] is False
    assert results["counts as text"]["failed"] is False


def test_somebody_else_is_named(results: Results, log: list[Any]) -> None:
    result = results["exclusive"]
    assert result["failed"] is True
    assert result["failure"] == {"code": "unexpected_changes", "http_status": None, "retryable": False}
    assert result["unexpected"] == [log[1]]
    assert "mallory@example.com from 203.0.113.9: Server {{ 7*7 }} has been shut down (server_stop)" in result["msg"]


def test_missing_changes_are_reported_with_the_nearest_entry(results: Results, log: list[Any]) -> None:
    result = results["missing"]
    assert result["failure"] == {"code": "missing_changes", "http_status": None, "retryable": True}
    assert [(item["name"], item["found"], item["count"]) for item in result["missing"]] == [("expect[0]", 1, 2)]
    assert result["missing"][0]["nearest"]["entry"] == log[1]
    assert "expected exactly 2, found 1" in result["msg"]
    assert result["waited"] >= 0.2
    not_ours = results["not ours"]
    assert "but it was made by ci deploy" in not_ours["msg"]


def test_forbidden_changes_fail_at_once(results: Results, log: list[Any]) -> None:
    assert results["forbidden"]["unexpected"] == log[3:]
    assert results["forbidden"]["waited"] < 60


def test_without_an_expectation_it_settles(results: Results) -> None:
    assert results["quiet"]["failed"] is False
    assert results["quiet"]["waited"] >= 0.1


REFUSED = [
    ("no rule", "There is nothing to verify"),
    ("rules of null", "There is nothing to verify"),
    ("no value", "There is no range to verify"),
    ("only an end", "There is no range to verify"),
    ("in the future", "start (2099-01-01T00:00:00Z) is in the future"),
]


@pytest.mark.parametrize(("case", "words"), REFUSED)
def test_a_verdict_without_evidence_is_refused(results: Results, case: str, words: str) -> None:
    result = results[case]
    assert (result["failed"], result["failure"]["code"]) == (True, "invalid_input")
    assert result["msg"].startswith(words)


def test_the_returned_cursor_continues(results: Results) -> None:
    assert results["since"]["failed"] is True
    assert results["since"]["missing"][0]["found"] == 0


def test_a_range_beyond_retention_is_warned_about(results: Results) -> None:
    assert "retention of 90 days" in results["old"]["warnings"][0]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("unknown key", ["expect", "acton"]),
        ("no condition", ["expect[0]", "set at least one of action"]),
        ("bad pattern", ["forbid[1].message_pattern", "not a valid regular expression"]),
        ("bad network", ["ignore[0].ip_network", "'here' is not a valid network"]),
        ("bad count", ["expect", "count"]),
        ("count in forbid", ["forbid", "count"]),
        ("bad interval", ["interval must be at least 0.001"]),
    ],
)
def test_an_unusable_rule_is_reported(results: Results, case: str, words: list[str]) -> None:
    result = results[case]
    assert result["failed"] is True
    assert result["failure"]["code"] == "invalid_input"
    assert [word for word in words if word not in result["msg"]] == []


def test_a_refused_token_is_reported(results: Results) -> None:
    assert results["wrong token"]["failure"] == {"code": "unauthorized", "http_status": 401, "retryable": False}


def test_no_output_holds_a_token_or_a_traceback(results: Results, controller: Controller) -> None:
    assert controller.environment["CLOUDSCALE_API_TOKEN"] not in results.output
    assert "Traceback" not in results.output


def test_check_mode_ignores_missing_changes(controller: Controller, simulator: Simulator, log: list[Any]) -> None:
    simulator.clear_requests()
    slow = {"timeout": 600, "settle": 600}
    dry = controller.run(
        {
            "missing": {ASSERT: {"expect": [{"action": "volume_create"}], **ALL, **slow}},
            "forbidden": {ASSERT: {"forbid": [DELETED], **ALL, **slow}},
            "exclusive": {ASSERT: {"exclusive": True, **ALL, **slow}},
            "no rule": {ASSERT: {**ALL, **slow}},
            "no value": {ASSERT: {"exclusive": True, "cursor": "{{ None }}", **slow}},
            "in the future": {ASSERT: {"exclusive": True, "start": "2099-01-01", **slow}},
        },
        "--check",
    )
    assert dry["missing"]["failed"] is False
    assert dry["missing"]["missing"][0]["action"] == "volume_create"
    assert (dry["forbidden"]["failed"], dry["exclusive"]["failed"]) == (True, True)
    assert [dry[case]["failure"]["code"] for case in ("no rule", "no value", "in the future")] == ["invalid_input"] * 3
    assert len(simulator.requests) == 7


@pytest.fixture
def project(simulator: Simulator) -> Iterator[Any]:
    """A project of its own, and a clean slate of requests and faults."""
    name = f"project-{len(simulator.projects)}"
    simulator.clear_requests()
    yield simulator.add_project(name)
    simulator.clear_script()
    simulator.before_page(None)


def after_requests(simulator: Simulator, plan: dict[int, Any]) -> None:
    """Let things happen just before the API answers the n-th request from now."""
    count = 0

    def happen() -> None:
        nonlocal count
        count += 1
        if count in plan:
            plan[count]()

    simulator.before_page(happen)


def test_entries_that_come_late_overtaken_and_twice_are_waited_for(
    controller: Controller, simulator: Simulator, project: Any
) -> None:
    def late() -> None:
        for _twice in range(2):
            project.log.append("server_create", "Server 'web-1' has been created", NOW, CI)

    after_requests(simulator, {3: lambda: project.log.append("server_stop", "other"), 4: late})
    rules = [{**CREATED, "count": 2}, {"action": "server_stop"}]
    done = controller.run(
        {"one": {ASSERT: {"expect": rules, **ALL, "timeout": 30, "interval": 0.1, "settle": 0.1}}},
        CLOUDSCALE_API_TOKEN=project.token,
    )
    assert len(done["one"]["matched"]) == 3
    assert all("cursor" in request.query for request in simulator.requests[1:])


def test_faults_of_the_api_while_waiting_pass(controller: Controller, simulator: Simulator, project: Any) -> None:
    faults = [Fault("status", retry_after=0), Fault("reset"), Fault("truncated"), Fault("status", 429, retry_after=0)]
    simulator.script(Fault("pass"), *faults)
    after_requests(simulator, {4: lambda: project.log.append(CREATED["action"], CREATED["message_pattern"])})
    done = controller.run(
        {"one": {ASSERT: {"expect": [CREATED], **ALL, "timeout": 30, "interval": 0.1, "settle": 0}}},
        CLOUDSCALE_API_TOKEN=project.token,
    )
    assert done["one"]["failed"] is False
    assert [request.status for request in simulator.requests if request.status != 200]


def test_an_intruder_while_settling_is_named(controller: Controller, simulator: Simulator, project: Any) -> None:
    project.log.append(CREATED["action"], CREATED["message_pattern"], actor=CI)
    after_requests(simulator, {2: lambda: project.log.append("server_delete", "gone", actor=MALLORY)})
    done = controller.run(
        {"one": {ASSERT: {"expect": [CREATED], **ALL, "exclusive": True, "settle": 0.2}}},
        CLOUDSCALE_API_TOKEN=project.token,
    )
    assert "mallory@example.com" in done["one"]["msg"]
    assert done["one"]["missing"] == []


def as_on_a_terminal() -> None:
    """What runs in the background, as checks may, ignores SIGINT, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_waiting_ends_it_cleanly(
    controller: Controller, simulator: Simulator, project: Any, number: int
) -> None:
    task = {"name": "Wait", ASSERT: {"expect": [CREATED], **ALL, "timeout": 600, "interval": 0.1}}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
    play["vars"] = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    book = controller.directory / "wait.yml"
    book.write_text(json.dumps([play]))
    asked = threading.Event()
    simulator.before_page(asked.set)
    with subprocess.Popen(
        [BIN / "ansible-playbook", str(book)],
        cwd=controller.directory,
        env={**controller.environment, "CLOUDSCALE_API_TOKEN": project.token},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=as_on_a_terminal,
    ) as process:
        try:
            for _request in range(4):
                assert asked.wait(60)
                asked.clear()
            os.killpg(process.pid, number)
            output = process.communicate(timeout=60)[0]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    assert "Traceback" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_module_says_so_and_sends_no_more_requests(
    controller: Controller, simulator: Simulator, project: Any, number: int
) -> None:
    asked = threading.Event()
    simulator.before_page(asked.set)
    options = {"api_url": simulator.url, "api_token": project.token, "expect": [CREATED], **ALL, "interval": 0.1}
    with subprocess.Popen(
        [sys.executable, "-m", "ansible_collections.auditops.cloudscale.plugins.modules.project_logs_assert"],
        cwd=controller.directory,
        env=controller.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=as_on_a_terminal,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
        process.stdin.close()
        process.stdin = None
        for _request in range(3):
            assert asked.wait(60)
            asked.clear()
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    result = json.loads(output)
    assert (process.returncode, errors) == (1, "")
    assert (result["msg"], result["failure"]["code"]) == ("Interrupted.", "cancelled")


HALF_MADE = """
import os, signal
from ansible_collections.auditops.cloudscale.plugins.module_utils.ansible_module import CloudscaleModule

class Answer:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGINT)
        self.body = b""
    def __del__(self):
        self.body

with CloudscaleModule(argument_spec={}).report_errors():
    Answer()
"""


def test_half_constructed_objects_are_silent_at_an_interruption(controller: Controller) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HALF_MADE],
        env=controller.environment,
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {}}),
        capture_output=True,
        text=True,
        preexec_fn=as_on_a_terminal,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["failure"]["code"] == "cancelled"
