# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module project_logs_detect, through real playbook runs."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

if TYPE_CHECKING:
    from .conftest import Controller

DETECT = "auditops.cloudscale.project_logs_detect"
ARCHIVE = "auditops.cloudscale.project_logs_archive"
NOW = datetime.now(timezone.utc)
CI = {"api_token": {"uuid": "0a1b2c3d", "description": "ci deploy"}}
EVE = {"user": {"email": "eve@example.com"}}
OWN = {"name": "scaled", "title": "A server was scaled", "severity": "high", "select": {"resources": ["web-*"]}}


@pytest.fixture(scope="module")
def project(simulator: Simulator) -> Any:
    """For a month the pipeline worked; two days ago somebody deleted a server."""
    append = simulator.project("main").log.append
    for days in (40, 30, 20, 12, 9, 4):
        append("server_create", "Server 'db' has been created", NOW - timedelta(days=days), CI)
    append("server_delete", "Server '{{ 7*7 }}' has been deleted", NOW - timedelta(days=2), EVE)
    append("server_scale", "Server 'web-1' has been scaled", NOW - timedelta(days=1), CI)
    return simulator.project("main")


def found(result: Any) -> list[tuple[str, str]]:
    return [(alert["detection"], alert["severity"]) for alert in result["alerts"]]


@pytest.mark.usefixtures("project")
def test_alerts_of_the_api_and_of_an_archive(controller: Controller) -> None:
    path = str(controller.directory / "shop")
    done = controller.run(
        {
            "api": {DETECT: {"start": "-3d"}},
            "collected": {ARCHIVE: {"path": path}},
            "archive": {DETECT: {"start": "-3d", "archives": [path], "api_token": ""}},
            "own": {DETECT: {"start": "-3d", "detections": [OWN], "disable": ["deletion", "first_seen_actor"]}},
            "selected": {DETECT: {"start": "-3d", "detections": [OWN], "actors": ["ci deploy"]}},
            "last": {DETECT: {"start": "-3d", "limit": 1}},
            "ours": {DETECT: {"start": "-3d", "own_actors": ["eve@*"]}},
            "nominated": {DETECT: {"start": "-3d", "reviewers": ["Eve@example.com", "kim@example.com"]}},
            "since": {DETECT: {"cursor": "{{ case_0.poll_more }}", "known_networks": ["192.0.2.0/24"]}},
        }
    )
    assert found(done["api"]) == [("deletion", "medium"), ("first_seen_actor", "low")]
    alert = done["api"]["alerts"][0]
    assert (alert["entry"]["message"], alert["reviewer"]) == ("Server '{{ 7*7 }}' has been deleted", None)
    assert [one["id"] for one in done["archive"]["alerts"]] == [one["id"] for one in done["api"]["alerts"]]
    assert done["archive"]["alerts"][0]["project"] == path
    assert (done["api"]["entries"], done["archive"]["entries"]) == (2, 2)
    assert "unknown_network" in done["api"]["inactive"]
    assert "unknown_network" not in done["since"]["inactive"]
    assert found(done["own"]) == [("scaled", "high")]
    assert found(done["selected"]) == [("scaled", "high")]
    assert found(done["last"]) == [("first_seen_actor", "low")]
    assert (done["ours"]["alerts"], done["since"]["alerts"], done["since"]["entries"]) == ([], [], 0)
    assert {alert["reviewer"] for alert in done["nominated"]["alerts"]} == {"kim@example.com"}
    assert not any(result.get("failed") for result in done.values())


@pytest.mark.usefixtures("project")
def test_severe_alerts_fail_and_so_does_an_unsearched_range(controller: Controller) -> None:
    path = str(controller.directory / "partial")
    done = controller.run(
        {
            "severe": {DETECT: {"start": "-3d", "fail_on": "medium"}},
            "accepted": {DETECT: {"start": "-3d", "fail_on": "critical"}},
            "future": {DETECT: {"start": "2099-01-01", "fail_on": "critical"}},
            "deleted": {DETECT: {"start": "-200d", "fail_on": "critical"}},
            "collected": {ARCHIVE: {"path": path, "start": "-10d"}},
            "before": {DETECT: {"start": "-30d", "archives": [path], "fail_on": "critical"}},
            "nothing there": {DETECT: {"archives": [path + "-nowhere"]}},
            "both": {DETECT: {"archives": [path], "cursor": "https://api.cloudscale.ch/v1/project-logs?cursor=1"}},
            "wrong": {DETECT: {"start": "-3d", "detections": [{**OWN, "severty": "low"}]}},
        },
        "--check",
    )
    failures = {name: result["failure"]["code"] for name, result in done.items() if result.get("failed")}
    assert failures == {
        "severe": "alerts_found",
        "future": "range_incomplete",
        "deleted": "range_incomplete",
        "before": "storage",
        "nothing there": "storage",
        "both": "invalid_input",
        "wrong": "invalid_input",
    }
    assert done["severe"]["msg"] == (
        "1 alert of severity medium or higher; the first is deletion by eve@example.com: Server '{{ 7*7 }}' has been "
        "deleted."
    )
    assert found(done["severe"]) == [("deletion", "medium"), ("first_seen_actor", "low")]
    assert "unknown keys: severty (did you mean severity?)" in done["wrong"]["msg"]


@pytest.mark.usefixtures("project")
def test_missing_parts_of_the_range_are_reported(controller: Controller) -> None:
    path = str(controller.directory / "young")
    asked = {"start": "-30d", "archives": [path]}
    done = controller.run(
        {
            "collected": {ARCHIVE: {"path": path, "start": "-10d"}},
            "told": {DETECT: asked},
            "old": {DETECT: {**asked, "start": "-200d"}},
            "refused": {DETECT: {**asked, "fail_on": "critical"}},
        }
    )
    assert [(part["archive"], part["why"]) for part in done["told"]["missing"]] == [(path, "not covered")]
    assert "retention" not in str(done["old"].get("warnings"))
    assert done["refused"]["failure"]["code"] == "range_incomplete"
    assert "does not contain the complete time range (not covered)" in done["refused"]["msg"]
