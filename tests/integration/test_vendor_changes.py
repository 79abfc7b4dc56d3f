# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the provider's own collection changes is verified step by step, and a second actor is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

if TYPE_CHECKING:
    from .conftest import Controller, Results

WEB = {"name": "web", "flavor": "flex-4-1", "image": "debian-12", "use_public_network": True}
OURS = "main automation"
MALLORY = {"user": {"email": "mallory@example.com"}}

# Each step: its name, the vendor's module and options, and the actions that it leaves in the log.
STEPS: list[tuple[str, str, dict[str, Any], list[str]]] = [
    ("create", "server", WEB, ["server_create"]),
    ("scale", "server", {**WEB, "flavor": "flex-8-2", "force": True}, ["server_stop", "server_scale", "server_start"]),
    (
        "attach",
        "volume",
        {"name": "data", "size_gb": 50, "servers": ["{{ case_1.uuid }}"]},
        ["volume_create", "server_volume_attach"],
    ),
    ("grow", "volume", {"name": "data", "size_gb": 100}, ["volume_scale"]),
    ("delete the volume", "volume", {"name": "data", "state": "absent"}, ["volume_delete"]),
    ("delete", "server", {"name": "web", "state": "absent"}, ["server_delete"]),
]


def verified(cursor: str, actions: list[str], **more: Any) -> Any:
    expect = [{"action": action, "message_pattern": "'(web|data)'", "count": 1} for action in actions]
    rules = {"expect": expect, "own_actors": [OURS], "exclusive": True, "timeout": 2, "interval": 0.2, "settle": 0.1}
    return {"auditops.cloudscale.project_logs_assert": {"cursor": cursor, **rules, **more}}


@pytest.fixture(scope="module")
def results(controller: Controller, simulator: Simulator) -> Results:
    simulator.project("main").log.append("server_delete", "before", actor=MALLORY)
    cases: dict[str, Any] = {"before": {"auditops.cloudscale.project_logs_info": {"start": "-1h", "limit": 1}}}
    for name, module, options, actions in STEPS:
        cursor = "{{ case_%d.poll_more }}" % (len(cases) - 1)
        cases[name] = {f"cloudscale_ch.cloud.{module}": options}
        cases[f"{name}: verified"] = verified(cursor, actions)
    cursor = "{{ case_%d.poll_more }}" % (len(cases) - 1)
    cases["another server"] = {"cloudscale_ch.cloud.server": WEB}
    intruder = {"action": "server_stop", "message": "Server 'db' has been shut down", "actor": MALLORY}
    cases["somebody interferes"] = {
        "ansible.builtin.uri": {
            "url": simulator.url.replace("/v1", "/_simulator/entries"),
            "method": "POST",
            "body_format": "json",
            "body": {"entries": [intruder]},
        }
    }
    cases["interfered"] = verified(cursor, ["server_create"])
    cases["not done"] = verified(cursor, ["server_create", "server_scale"], exclusive=False)
    cases["all of it"] = verified(
        "{{ case_0.poll_more }}",
        [],
        expect=[{"message_pattern": "'(web|data)'", "count": 10}],
        ignore=[{"actor": "mallory@example.com"}],
    )
    return controller.run(cases)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[0])
def test_each_step_is_verified(results: Results, step: Any) -> None:
    name, _module, _options, actions = step
    assert (results[name].get("msg", ""), results[name]["changed"]) == ("", True)
    verdict = results[f"{name}: verified"]
    assert verdict.get("msg", "") == ""
    assert [entry["action"] for entry in verdict["matched"]] == actions
    assert (verdict["missing"], verdict["unexpected"]) == ([], [])


def test_a_second_actor_who_interferes_is_named(results: Results) -> None:
    verdict = results["interfered"]
    assert verdict["failure"]["code"] == "unexpected_changes"
    assert [entry["actor"] for entry in verdict["unexpected"]] == [MALLORY]
    assert "mallory@example.com from 192.0.2.10: Server 'db' has been shut down (server_stop)" in verdict["msg"]
    assert len(verdict["matched"]) == 1


def test_changes_that_did_not_happen_are_missing(results: Results) -> None:
    verdict = results["not done"]
    assert verdict["failure"]["code"] == "missing_changes"
    assert [missing["name"] for missing in verdict["missing"]] == ["expect[1]"]


def test_the_complete_change_is_verified_at_once(results: Results) -> None:
    assert results["all of it"].get("msg", "") == ""
