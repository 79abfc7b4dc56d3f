# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example of the guides, as it stands there, run against the simulator with the provider's own collection."""

from __future__ import annotations

import re
import shlex
import subprocess
import textwrap
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils.verification.trail import Changes
from ansible_collections.auditops.cloudscale.plugins.module_utils.verification.verification import Verification
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

if TYPE_CHECKING:
    from .conftest import Controller

GUIDES = Path(__file__).parents[2] / "docs/docsite/rst"
BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n\n((?:    .*\n|\n)+)", re.MULTILINE)
NOW = datetime.now(timezone.utc)
CI = {"api_token": {"uuid": "0a1b2c3d", "description": "ci deploy"}}
MALLORY = {"user": {"email": "mallory@example.com"}}


def blocks(guide: str, language: str) -> list[str]:
    text = (GUIDES / f"{guide}_guide.rst").read_text()
    return [textwrap.dedent(body) for kind, body in BLOCK.findall(text) if kind == language]


EXAMPLES = {
    plays[0]["name"]: text
    for guide in ("change_verification", "lookup_or_module")
    for text in blocks(guide, "yaml")
    for plays in [yaml.safe_load(text)]
    if isinstance(plays, list) and "hosts" in plays[0]
}


class Stage:
    """A project of its own, and examples that run in it."""

    def __init__(self, controller: Controller, simulator: Simulator) -> None:
        self.controller = controller
        self.simulator = simulator
        self.project = simulator.add_project(f"project-{len(simulator.projects)}")
        self.log = self.project.log

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        book = self.controller.directory / "example.yml"
        book.write_text(EXAMPLES[name])
        return self.playbook(str(book), "-e", f"automation='{self.automation}'", *arguments)

    def playbook(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.simulator.clear_requests()
        python = ("-e", "ansible_python_interpreter='{{ ansible_playbook_python }}'")
        return self.controller.playbook(*arguments, *python, CLOUDSCALE_API_TOKEN=self.project.token)

    @property
    def automation(self) -> str:
        """How the log names the project's token."""
        return f"{self.project.name} automation"

    @property
    def reads(self) -> int:
        """How often a read of the log began."""
        return sum(1 for request in self.simulator.requests if "cursor" not in request.query and "logs" in request.path)


@pytest.fixture
def stage(controller: Controller, simulator: Simulator) -> Stage:
    return Stage(controller, simulator)


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stderr
    return done.stdout


def failed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def test_no_example_is_left_out() -> None:
    text = Path(__file__).read_text()
    assert [name for name in EXAMPLES if f'"{name}"' not in text] == []
    assert len(EXAMPLES) == 10


def test_around_the_provider_s_modules(stage: Stage) -> None:
    stage.log.append("server_delete", "before", actor=MALLORY)
    for run in ("the first", "a second"):
        succeeded(stage.run("Put a web server into operation"))
        assert [entry["action"] for entry in stage.log.entries[1:]] == [
            "server_create",
            "volume_create",
            "server_volume_attach",
        ], run


def test_the_first_example_in_check_mode(stage: Stage) -> None:
    succeeded(stage.run("Put a web server into operation", "--check"))
    assert stage.log.entries == []


def test_verification_even_if_the_change_fails(stage: Stage) -> None:
    succeeded(stage.run("Scale a server and leave nothing else behind"))


def test_an_interrupted_change_is_verified_too(stage: Stage) -> None:
    control = stage.simulator.url.replace("/v1", "/_simulator/entries")
    foreign = {"project": stage.project.name, "entries": [{"action": "server_stop", "actor": MALLORY}]}
    example = yaml.safe_load(EXAMPLES["Scale a server and leave nothing else behind"])
    request = {"url": control, "method": "POST", "body_format": "json", "body": foreign}
    scale = next(task for task in example[0]["tasks"] if "block" in task)
    scale["block"] = [{"ansible.builtin.uri": request}, {"ansible.builtin.fail": {"msg": "broken"}}]
    (stage.controller.directory / "broken.yml").write_text(yaml.safe_dump(example))
    printed = failed(
        stage.controller.playbook(
            str(stage.controller.directory / "broken.yml"), CLOUDSCALE_API_TOKEN=stage.project.token
        )
    )
    assert "broken" in printed
    assert "Unexpected: " in printed
    assert "mallory@example.com" in printed


def test_in_conditions(stage: Stage) -> None:
    succeeded(stage.run("Delete a server and wait until that is on record"))
    stage.log.append("volume_delete", "Volume 'data' has been deleted", actor=MALLORY)
    assert "Volume 'data' has been deleted" in failed(stage.run("Delete a server and wait until that is on record"))


def test_whether_the_project_is_quiet(stage: Stage) -> None:
    stage.log.append("server_stop", "old", NOW - timedelta(minutes=9), MALLORY)
    stage.log.append("server_pause", "automatic", actor={"system": {}})
    succeeded(stage.run("See whether the project is quiet"))
    stage.log.append("server_stop", "new", actor=MALLORY)
    assert "mallory@example.com" in failed(stage.run("See whether the project is quiet"))


def test_for_a_window(stage: Stage) -> None:
    start, end = NOW - timedelta(hours=6), NOW - timedelta(hours=2)
    window = ("-e", f"window_start={start.isoformat()}", "-e", f"window_end={end.isoformat()}")
    stage.log.append("server_delete", "before", start - timedelta(microseconds=1), MALLORY)
    for number, server in enumerate(("db-1", "db-2")):
        at = start + timedelta(hours=number)
        for action in ("server_stop", "server_scale", "server_start"):
            stage.log.append(action, f"Server '{server}' has been changed", at, CI)
    stage.log.append("server_delete", "after", end, MALLORY)
    succeeded(stage.run("Verify the maintenance window", *window))
    stage.log.append("server_stop", "Server 'web' has been shut down", end - timedelta(seconds=1), MALLORY)
    assert "Server 'web' has been shut down" in failed(stage.run("Verify the maintenance window", *window))


def test_who_set_up_a_server(stage: Stage) -> None:
    stage.log.append("server_create", "Server 'test' has been created", actor=MALLORY)
    stage.log.append("server_create", "Server 'test2' has been created", actor=CI)
    printed = succeeded(stage.run("Find out who set up test"))
    assert "mallory@example.com" in printed
    assert "test2" not in printed


def test_a_lookup_is_lazy(stage: Stage) -> None:
    stage.log.append("server_delete", "m", actor=MALLORY)
    succeeded(stage.run("Use the result of a lookup"))
    assert stage.reads == 3


def test_a_module_runs_once_for_all_hosts(stage: Stage) -> None:
    stage.log.append("server_stop", "Server 'web-2' has been shut down")
    printed = succeeded(stage.run("Compare the log with each host", "-i", "web-1,web-2,web-3,"))
    assert stage.reads == 1
    assert printed.count("Server 'web-2' has been shut down") == 1


def test_a_change_to_several_hosts_is_verified_once(stage: Stage) -> None:
    hosts = ("-i", "web-1,web-2,web-3,")
    succeeded(stage.run("Verify a change to several hosts", *hosts))
    assert [entry["action"] for entry in stage.log.entries] == ["server_create"] * 3
    again = failed(stage.run("Verify a change to several hosts", *hosts))
    assert "1 of 1 expectation is not met" in again


def test_one_token_for_lookup_and_modules(stage: Stage) -> None:
    token, stage.project = stage.project.token, stage.simulator.project("main")
    stage.project.rotate_token()
    succeeded(stage.run("Use one token for lookup and modules", "-e", f"cloudscale_api_token={token}"))


def test_the_failure_that_is_shown_is_a_real_one(stage: Stage) -> None:
    at = "2026-11-22T12:23:0%d.5Z"
    stage.log.append("server_create", "Server 'web-1' has been created", at % 1, CI, "192.0.2.7")
    stage.log.append("volume_create", "Volume 'web-1-data' has been created", at % 2, CI, "192.0.2.7")
    stage.log.append("server_stop", "Server 'db' has been shut down", at % 3, MALLORY, "203.0.113.9")
    (task,) = (
        task
        for task in yaml.safe_load(EXAMPLES["Put a web server into operation"])[0]["tasks"]
        if "auditops.cloudscale.project_logs_assert" in task
    )
    options: dict[str, Any] = task["auditops.cloudscale.project_logs_assert"]
    for rule, result in zip(options["expect"], ("server", "volume", "volume")):
        assert rule["count"] == "{{ (%s is changed) | int }}" % result
        rule["count"] = 1
    api = {"api_url": stage.simulator.url, "api_token": stage.project.token}
    verdict = Verification({**options, **api, "own_actors": ["ci deploy"], "cursor": None, "start": "2020-01-01"}).run()
    assert verdict.error is not None
    assert verdict.error.message == blocks("change_verification", "text")[0].strip()


def test_the_playbook_with_files(stage: Stage) -> None:
    (change,) = (text for text in blocks("change_verification", "yaml") if text.startswith("- name: Create a server\n"))
    (expected,) = (text for text in blocks("change_verification", "yaml") if text.startswith("verify_change_"))
    for name, text in (("change.yml", change), ("expected.yml", expected.replace("ci deploy", stage.automation))):
        (stage.controller.directory / name).write_text(text)
    verify, others = blocks("change_verification", "shell")[1].strip().splitlines()
    printed = succeeded(stage.playbook(*shlex.split(verify)[1:]))
    assert "Changes as expected: 1." in printed
    printed = succeeded(stage.playbook(*shlex.split(others.replace("ci deploy", stage.automation))[1:]))
    assert "0 of 1 changes were made by others." in printed


def test_the_table_that_is_shown_is_a_real_one() -> None:
    def entry(second: int, actor: Any, address: str, action: str, message: str) -> Any:
        facts = {"action": action, "message": message, "ip_address": address, "actor": actor}
        return {"timestamp": f"2026-11-22T12:23:0{second}.5Z", **facts}

    scaled = "Server 'web-1' has been scaled from flex-4-2 to flex-8-2"
    entries = [
        entry(1, CI, "192.0.2.7", "server_scale", scaled),
        entry(3, MALLORY, "203.0.113.9", "server_stop", "Server 'db' has been shut down"),
    ]
    shown = blocks("change_verification", "text")[1].strip().splitlines()
    assert shown[1:] == Changes.group(entries, ["ci deploy"]).lines()
