# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The info module and the lookup, through real playbook runs."""

from __future__ import annotations

import json
import venv
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator

if TYPE_CHECKING:
    from .conftest import Controller, Results

INFO = "auditops.cloudscale.project_logs_info"
NOW = datetime.now(timezone.utc)
MEMBER = {"user": {"email": "johanna@example.com"}}
CI = {"api_token": {"uuid": "0a1b2c3d", "description": "ci deploy"}}
HOSTILE = [
    "{{ 7*7 }}",
    "{% raw %}{{ lookup('pipe', 'id') }}{% endraw %}",
    "<script>alert(1)</script>",
    "!unsafe &a *a",
    "control \x00\x07\x1b[31m characters",
    "\u202egnp.exe right-to-left",
    "lone \ud800 surrogate, whole \U0001f600 pair",
    "line\nbreak\r\n",
    "x" * 1_000_000,
]


def lookup(options: str) -> Any:
    return {"ansible.builtin.debug": {"msg": "{{ query('auditops.cloudscale.project_logs'%s) }}" % options}}


@pytest.fixture(scope="module")
def log(simulator: Simulator) -> list[Any]:
    """Eight entries, six of them ten minutes apart, the last one overtaken by the one before."""
    append = simulator.project("main").log.append
    for n in range(6):
        action, actor = ("server_create", MEMBER) if n % 2 else ("volume_create", CI)
        when = NOW - timedelta(minutes=80 - 10 * n)
        append(action=action, message=f"'{n}' was created", timestamp=when, actor=actor, ip_address=f"192.0.2.{n}")
    append(action="server_delete", message="last", timestamp=NOW - timedelta(seconds=1), actor={"admin": {}})
    append(action="server_stop", message="late", timestamp=NOW - timedelta(seconds=2), actor={"system": {}})
    return list(simulator.project("main").log.entries)


@pytest.fixture(scope="module")
def results(controller: Controller, simulator: Simulator, log: list[Any]) -> Results:
    second = {"start": (NOW - timedelta(minutes=70)).isoformat(), "end": (NOW - timedelta(minutes=50)).isoformat()}
    selection = {"actions": ["*_create"], "actors": ["ci deploy"], "ip_networks": ["192.0.2.2/31"]}
    cases = {
        "everything": {INFO: {}},
        "range": {INFO: second},
        "selected": {INFO: {"start": "-2h", **selection}},
        "message": {INFO: {"message_pattern": "[13]"}},
        "resource": {INFO: {"resources": ["1", "[3]", "5*"]}},
        "lookup resource": lookup(", resources=['1', '[3]', '5*']"),
        "message pattern": {INFO: {"message_pattern": "[13]"}},
        "newest": {INFO: {"limit": 2}},
        "old": {INFO: {"start": "-100d", "limit": 1}},
        "exactly retained": {INFO: {"start": "-90d", "limit": 1}},
        "dest": {INFO: {"dest": "log.jsonl", "mode": "0640"}},
        "lookup": lookup(""),
        "lookup selected": lookup(", start='-2h', actions=['server_*'], message_pattern='[13]'"),
        "lookup of none": lookup(", message_pattern='no such message'"),
        "lookup of one": lookup(", limit=1"),
        "lookup of two": lookup(", limit=2"),
        "lookup with a term": lookup(", 'server_create'"),
        "lookup of a bad time": lookup(", start='2026-11-22T08:00:00'"),
        "no offset": {INFO: {"start": "2026-11-22T08:00:00"}},
        "no time": {INFO: {"end": "tomorrow"}},
        "end first": {INFO: {"start": "2026-11-22", "end": "2026-11-21"}},
        "cursor and start": {INFO: {"cursor": f"{simulator.url}/project-logs?cursor=1", "start": "-1h"}},
        "bare cursor": {INFO: {"cursor": 10025}},
        "foreign cursor": {INFO: {"cursor": "https://api.example.com/v1/project-logs?cursor=10025"}},
        "unknown option": {INFO: {"begin": "-1h"}},
        "unknown value": {INFO: {"concurrency": "many"}},
        "unknown number": {INFO: {"concurrency": 99}},
        "bad network": {INFO: {"ip_networks": ["192.0.2.300"]}},
        "empty token": {INFO: {"api_token": ""}},
        "malformed token": {INFO: {"api_token": "a secret with spaces"}},
        "wrong token": {INFO: {"api_token": "wrong-but-well-formed-0123456789"}},
        "http": {INFO: {"api_url": "http://api.cloudscale.ch/v1"}},
        "no host": {INFO: {"api_url": "https://127.0.0.1:9/v1"}},
        "no ca": {INFO: {"ca_path": "nowhere.pem"}},
        "dest is a directory": {INFO: {"dest": "."}},
        "dest in a missing directory": {INFO: {"dest": "nowhere/log.jsonl"}},
    }
    return controller.run(cases)


def test_the_complete_log_is_returned_unchanged(results: Results, log: list[Any]) -> None:
    assert results["everything"]["project_logs"] == log
    assert results["everything"]["changed"] is False
    assert results["lookup"]["msg"] == log


def test_the_summary_counts_what_came_back(results: Results) -> None:
    summary = results["everything"]["summary"]
    assert summary["actions"] == {"server_create": 3, "volume_create": 3, "server_delete": 1, "server_stop": 1}
    assert summary["actors"] == {"ci deploy": 3, "johanna@example.com": 3, "admin": 1, "system": 1}
    assert summary["ip_addresses"]["192.0.2.3"] == 1
    assert (summary["entries"], summary["matched"], summary["read"], summary["pages"]) == (8, 8, 8, 3)
    assert summary["truncated"] is False
    assert summary["last"] > summary["first"]


def test_start_is_inclusive_and_end_exclusive(results: Results, log: list[Any]) -> None:
    assert results["range"]["project_logs"] == log[1:3]


def test_all_conditions_must_hold(results: Results, log: list[Any]) -> None:
    assert results["selected"]["project_logs"] == [log[2]]
    assert results["selected"]["summary"]["read"] == 8
    assert results["lookup selected"]["msg"] == [log[1], log[3]]


def test_a_message_is_searched_under_both_names(results: Results, log: list[Any]) -> None:
    found = [log[1], log[3]]
    assert results["message"]["project_logs"] == results["message pattern"]["project_logs"] == found


def test_resources_are_names_that_messages_quote(results: Results, log: list[Any]) -> None:
    assert results["resource"]["project_logs"] == results["lookup resource"]["msg"] == [log[1], log[5]]


def test_a_limit_keeps_the_newest_and_says_that_it_left_some_out(results: Results, log: list[Any]) -> None:
    newest = results["newest"]
    assert newest["project_logs"] == log[-2:]
    assert (newest["summary"]["entries"], newest["summary"]["matched"]) == (2, 8)
    assert newest["summary"]["truncated"] is True
    assert newest["poll_more"] == results["everything"]["poll_more"]


def test_lookups_return_lists_of_any_length(results: Results, log: list[Any]) -> None:
    assert results["lookup of none"]["msg"] == []
    assert results["lookup of one"]["msg"] == log[-1:]
    assert results["lookup of two"]["msg"] == log[-2:]


def test_a_range_beyond_retention_is_warned_about(results: Results) -> None:
    assert "retention of 90 days" in results["old"]["warnings"][0]
    assert "warnings" not in results["exactly retained"]


def test_entries_go_to_a_file_as_lines(results: Results, controller: Controller, log: list[Any]) -> None:
    result = results["dest"]
    written = controller.directory / "log.jsonl"
    assert [json.loads(line) for line in written.read_text().splitlines()] == log
    assert written.stat().st_mode & 0o777 == 0o640
    assert (result["changed"], result["dest"]) == (True, str(written))
    assert "project_logs" not in result
    assert result["summary"]["entries"] == 8


@pytest.mark.parametrize(
    ("case", "code", "status", "words"),
    [
        ("no offset", "invalid_input", None, ["start", "no offset from UTC", "Z"]),
        ("no time", "invalid_input", None, ["end", "tomorrow", "Use a date"]),
        ("end first", "invalid_input", None, ["is before start"]),
        ("cursor and start", "invalid_input", None, ["cursor excludes start and end"]),
        ("bare cursor", "invalid_input", None, ["10025", "complete poll_more"]),
        ("foreign cursor", "untrusted_url", None, ["api.example.com", "nothing was sent there"]),
        ("unknown option", "invalid_input", None, ["begin"]),
        ("unknown value", "invalid_input", None, ["concurrency"]),
        ("unknown number", "invalid_input", None, ["from 1 to 16", "99"]),
        ("bad network", "invalid_input", None, ["192.0.2.300", "is not a valid network"]),
        ("empty token", "invalid_input", None, ["CLOUDSCALE_API_TOKEN"]),
        ("malformed token", "invalid_input", None, ["letters, digits"]),
        ("wrong token", "unauthorized", 401, ["does not accept the token", "check api_token"]),
        ("http", "invalid_input", None, ["unencrypted", "https://"]),
        ("no host", "unreachable", None, ["127.0.0.1:9", "check api_url"]),
        ("no ca", "invalid_input", None, ["ca_path", "nowhere.pem"]),
        ("dest is a directory", "invalid_input", None, ["is a directory"]),
        ("dest in a missing directory", "invalid_input", None, ["does not exist", "create it first"]),
    ],
)
def test_bad_input_gets_one_clear_sentence(
    results: Results, case: str, code: str, status: int | None, words: list[str]
) -> None:
    result = results[case]
    assert result["failed"] is True
    assert [word for word in words if word not in result["msg"]] == []
    assert result["failure"]["code"] == code
    assert result["failure"]["http_status"] == status
    assert "project_logs" not in result
    assert "Traceback" not in json.dumps(result)


def test_lookups_fail_with_the_same_sentences(results: Results) -> None:
    assert "takes no positional terms" in results["lookup with a term"]["msg"]
    assert "no offset from UTC" in results["lookup of a bad time"]["msg"]


def test_no_output_holds_a_token_or_a_traceback(results: Results, controller: Controller) -> None:
    assert controller.environment["CLOUDSCALE_API_TOKEN"] not in results.output
    assert "a secret with spaces" not in results.output
    assert "Traceback" not in results.output


def test_a_file_is_replaced_only_when_its_content_changes(controller: Controller, log: list[Any]) -> None:
    path = controller.directory / "same.jsonl"
    case = {INFO: {"dest": str(path)}}
    dry = controller.run({"first": case, "after": {"ansible.builtin.stat": {"path": str(path)}}}, "--check")
    assert dry["first"]["changed"] is True
    assert dry["after"]["stat"]["exists"] is False
    wet = controller.run({"first": case, "second": case})
    assert (wet["first"]["changed"], wet["second"]["changed"]) == (True, False)
    assert controller.run({"again": case}, "--check")["again"]["changed"] is False


def test_a_failed_read_leaves_the_file_as_it_was(simulator: Simulator, controller: Controller, log: list[Any]) -> None:
    path = controller.directory / "kept.jsonl"
    path.write_text("as it was\n")
    simulator.script(Fault("pass"), Fault("status", status=500, times=2))
    failed = controller.run({"failed": {INFO: {"dest": str(path), "api_retries": 1, "api_retry_budget": 1}}})["failed"]
    assert failed["failure"] == {"code": "service_unavailable", "http_status": 500, "retryable": True}
    assert path.read_text() == "as it was\n"
    assert [file.name for file in controller.directory.iterdir() if file.name.startswith(".cloudscale")] == []


def test_a_cursor_continues_exactly_where_a_read_ended(simulator: Simulator, controller: Controller) -> None:
    project = simulator.add_project("cursor")
    project.log.append(action="server_create", message="before")
    before = {
        "read": {INFO: {"limit": 1, "actions": ["none of them"]}},
        "since": {INFO: {"poll_more": "{{ case_0.poll_more }}"}},
        "lookup": lookup(", cursor=case_0.poll_more"),
    }
    first = controller.run(before, CLOUDSCALE_API_TOKEN=project.token)
    assert first["since"]["project_logs"] == first["lookup"]["msg"] == []
    entries = [project.log.append(action="server_stop", message=str(n)) for n in range(5)]
    cursor = first["since"]["poll_more"]
    after = {"since": {INFO: {"cursor": cursor}}, "lookup": lookup(f", cursor='{cursor}'")}
    second = controller.run(after, CLOUDSCALE_API_TOKEN=project.token)
    assert second["since"]["project_logs"] == second["lookup"]["msg"] == entries


def test_hostile_messages_stay_data(simulator: Simulator, controller: Controller) -> None:
    project = simulator.add_project("hostile")
    for message in HOSTILE:
        project.log.append(action="server_create", message=message)
    path = controller.directory / "hostile.jsonl"
    results = controller.run(
        {"info": {INFO: {}}, "lookup": lookup(""), "dest": {INFO: {"dest": str(path)}}},
        CLOUDSCALE_API_TOKEN=project.token,
    )
    shown = [message.replace("\ud800", r"\ud800") for message in HOSTILE]
    assert [entry["message"] for entry in results["info"]["project_logs"]] == shown
    assert [entry["message"] for entry in results["lookup"]["msg"]] == shown
    assert [json.loads(line)["message"] for line in path.read_text().split("\n")[:-1]] == HOSTILE


def test_options_of_the_lookup_come_from_ini_and_variables(
    simulator: Simulator, controller: Controller, log: list[Any], tmp_path: Path
) -> None:
    config = tmp_path / "ansible.cfg"
    config.write_text(f"[auditops.cloudscale]\napi_url = {simulator.url}\n")
    variables = {"cloudscale_api_token": "{{ of_the_vault }}", "of_the_vault": simulator.project("main").token}
    one = {**lookup(", limit=1"), "vars": variables}
    found = controller.run({"one": one}, ANSIBLE_CONFIG=str(config), CLOUDSCALE_API_URL=None, CLOUDSCALE_API_TOKEN=None)
    assert found["one"]["msg"] == log[-1:]


def test_module_defaults_of_the_group_reach_the_module(
    simulator: Simulator, controller: Controller, log: list[Any]
) -> None:
    defaults = {"group/auditops.cloudscale.cloudscale": {"api_token": simulator.project("main").token}}
    case = {INFO: {"limit": 1}, "module_defaults": defaults}
    assert controller.run({"one": case}, CLOUDSCALE_API_TOKEN=None)["one"]["project_logs"] == log[-1:]


def test_a_missing_library_is_named_with_the_python_that_misses_it(controller: Controller, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare")
    interpreter = str(tmp_path / "bare/bin/python")
    case = {INFO: {}, "vars": {"ansible_python_interpreter": interpreter}}
    result = controller.run({"bare": case})["bare"]
    assert "requests" in result["msg"]
    assert result["failure"] == {"code": "missing_dependency", "http_status": None, "retryable": False}
