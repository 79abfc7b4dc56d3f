# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The callback project_logs_trail, through real playbook runs."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator

if TYPE_CHECKING:
    from .conftest import Controller

ENABLED = {"ANSIBLE_CALLBACKS_ENABLED": "auditops.cloudscale.project_logs_trail", "CLOUDSCALE_TRAIL_SETTLE": "0.1"}
CI = {"api_token": {"uuid": "0a1b2c3d", "description": "ci deploy"}}
MALLORY = {"user": {"email": "mallory@example.com"}}
STOPPED = {"action": "server_stop", "message": "Server '{{ 7*7 }}' has been\nshut down", "actor": MALLORY}


def happen(simulator: Simulator, *entries: Any) -> Any:
    """A task while which others change something in the cloud."""
    control = simulator.url.replace("/v1", "/_simulator/entries")
    request = {"url": control, "method": "POST", "body_format": "json", "body": json.dumps({"entries": entries})}
    return {"name": "Work", "ansible.builtin.uri": {**request, "headers": {"Content-Type": "application/json"}}}


def run(
    controller: Controller, *plays: tuple[str, list[Any]], **environment: str | None
) -> subprocess.CompletedProcess[str]:
    book = controller.directory / "trail.yml"
    head = {"hosts": "localhost", "connection": "local", "gather_facts": False}
    variables = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    # Bodies are data of the test: not to be templated on their way to the simulator.
    written = json.dumps([{**head, "name": name, "vars": variables, "tasks": tasks} for name, tasks in plays])
    book.write_text(written.replace("{{ 7*7 }}", "{{ '{{' }} 7*7 {{ '}}' }}"))
    return controller.playbook(str(book), **{**ENABLED, **environment})


@pytest.fixture
def trail(controller: Controller) -> Any:
    path = controller.directory / "trail.json"
    path.unlink(missing_ok=True)
    return path


def test_a_play_ends_with_the_changes_made_during_it(controller: Controller, simulator: Simulator, trail: Any) -> None:
    simulator.project("main").log.append(message="before")
    scaled = {"action": "server_scale", "message": "scaled", "actor": CI}
    done = run(
        controller,
        ("First", [happen(simulator, scaled, STOPPED)]),
        ("Second", [{"name": "Rest", "ansible.builtin.meta": "noop"}]),
        ("Third", [happen(simulator, {"action": "server_pause", "message": "p", "actor": {"system": {}}})]),
        CLOUDSCALE_TRAIL_OWN_ACTORS="ci deploy,anna@example.com",
        CLOUDSCALE_TRAIL_DEST="trail.json",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 changes: 1 by others, 1 by own actors." in done.stdout
    assert "1 change: 1 by the system." in done.stdout
    assert "CLOUD CHANGES [Second]" not in done.stdout
    lines = done.stdout.splitlines()
    others = lines[lines.index("By others:") + 1]
    assert "mallory@example.com  192.0.2.10  server_stop   Server '{{ 7*7 }}' has been\ufffdshut down" in others
    plays = json.loads(trail.read_text())["plays"]
    assert [(play["play"], play["complete"]) for play in plays] == [("First", True), ("Second", True), ("Third", True)]
    assert [len(play["own"]) + len(play["others"]) + len(play["system"]) for play in plays] == [2, 0, 1]
    assert plays[0]["others"][0]["actor"] == MALLORY
    assert trail.stat().st_mode & 0o777 == 0o600
    assert controller.environment["CLOUDSCALE_API_TOKEN"] not in done.stdout + done.stderr + trail.read_text()


def test_it_is_silent_when_nothing_happened(controller: Controller, simulator: Simulator, trail: Any) -> None:
    simulator.project("main").log.append(message="before")
    done = run(controller, ("Only", [{"name": "Rest", "ansible.builtin.meta": "noop"}]))
    assert done.returncode == 0
    assert "CLOUD CHANGES" not in done.stdout
    assert done.stderr == ""
    assert not trail.exists()


def test_it_is_absent_unless_enabled(controller: Controller, simulator: Simulator) -> None:
    simulator.clear_requests()
    done = run(controller, ("Only", [happen(simulator, STOPPED)]), ANSIBLE_CALLBACKS_ENABLED=None)
    assert "CLOUD CHANGES" not in done.stdout
    assert simulator.requests == []


def test_a_failed_play_ends_with_its_changes_too(controller: Controller, simulator: Simulator) -> None:
    fail = {"name": "Fail", "ansible.builtin.fail": {"msg": "no"}}
    done = run(controller, ("Broken", [happen(simulator, STOPPED), fail]))
    assert done.returncode == 2
    assert "CLOUD CHANGES [Broken]" in done.stdout
    assert "Set own_actors to distinguish your own changes from those of others." in done.stdout


def test_options_come_from_the_configuration_too(controller: Controller, simulator: Simulator, trail: Any) -> None:
    config = controller.directory / "trail.cfg"
    config.write_text(
        "[defaults]\ncallbacks_enabled = auditops.cloudscale.project_logs_trail\n"
        f"[auditops.cloudscale]\napi_token = {simulator.project('main').token}\ntrail_settle = 0.1\n"
        "trail_own_actors = anna@example.com, mallory@example.com\ntrail_dest = trail.json\n"
    )
    nothing = dict.fromkeys([*ENABLED, "CLOUDSCALE_API_TOKEN"])
    done = run(controller, ("Only", [happen(simulator, STOPPED)]), ANSIBLE_CONFIG=str(config), **nothing)
    assert "1 change: 1 by own actors." in done.stdout
    assert len(json.loads(trail.read_text())["plays"][0]["own"]) == 1


def test_the_configuration_of_the_guide(controller: Controller, simulator: Simulator, trail: Any) -> None:
    guide = Path(version.__file__).parents[2] / "docs/docsite/rst/change_verification_guide.rst"
    (config,) = re.findall(r"^\.\. code-block:: ini\n\n((?:    .*\n|\n)+)", guide.read_text(), re.MULTILINE)
    (controller.directory / "trail.cfg").write_text(dedent(config))
    settings = {**dict.fromkeys(ENABLED), "ANSIBLE_CONFIG": str(controller.directory / "trail.cfg")}
    done = run(controller, ("Only", [happen(simulator, STOPPED)]), **settings)
    assert "1 change: 1 by others." in done.stdout
    assert len(json.loads(trail.read_text())["plays"][0]["others"]) == 1


@pytest.mark.parametrize(
    ("environment", "printed"),
    [
        ({"CLOUDSCALE_API_TOKEN": None}, "api_token is missing"),
        ({"CLOUDSCALE_API_TOKEN": "wrong-but-well-formed-0123456789"}, "does not accept the token"),
        ({"CLOUDSCALE_API_URL": "https://127.0.0.1:9/v1", "CLOUDSCALE_TRAIL_PATIENCE": "1"}, "127.0.0.1:9"),
        ({"CLOUDSCALE_TRAIL_DEST": "nowhere/trail.json"}, "does not exist; create it first"),
        ({"CLOUDSCALE_TRAIL_TOKEN_FILES": "shop.token"}, "'shop.token' is not of the form NAME=FILE"),
        ({"CLOUDSCALE_TRAIL_TOKEN_FILES": "shop=nowhere.token"}, "The token file nowhere.token cannot be read"),
    ],
)
def test_any_problem_is_one_warning_and_not_a_failure(
    controller: Controller, simulator: Simulator, environment: dict[str, str | None], printed: str
) -> None:
    rest = [{"name": "Rest", "ansible.builtin.meta": "noop"}]
    done = run(controller, ("First", rest), ("Second", rest), **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    warnings = " ".join(done.stderr.split())
    assert warnings.count("[WARNING]") == 1
    assert printed in warnings
    assert "Traceback" not in done.stdout + done.stderr


def test_an_incomplete_trail_says_so(controller: Controller, simulator: Simulator, trail: Any) -> None:
    simulator.script(Fault("pass"), Fault("status", 500, times=99))
    done = run(
        controller,
        ("Only", [happen(simulator, STOPPED)]),
        CLOUDSCALE_TRAIL_DEST="trail.json",
        CLOUDSCALE_TRAIL_PATIENCE="1",
    )
    simulator.clear_script()
    assert done.returncode == 0
    assert "HTTP 500" in " ".join(done.stderr.split())
    printed = json.loads(trail.read_text())
    assert "HTTP 500" in printed["failure"]
    assert printed["plays"][0]["complete"] is False


def test_several_projects_are_followed_at_once(controller: Controller, simulator: Simulator, trail: Any) -> None:
    other = simulator.add_project("other")
    for name, project in (("shop", simulator.project("main")), ("web", other)):
        (controller.directory / f"{name}.token").write_text(project.token)
    control = simulator.url.replace("/v1", "/_simulator/entries")
    request = {"url": control, "method": "POST", "body_format": "json"}
    body = {"project": "other", "entries": [{"action": "server_stop", "message": "elsewhere", "actor": MALLORY}]}
    elsewhere = {"name": "Work elsewhere", "ansible.builtin.uri": {**request, "body": body}}
    files = {"CLOUDSCALE_API_TOKEN": None, "CLOUDSCALE_TRAIL_DEST": "trail.json"}
    done = run(
        controller,
        ("Both", [happen(simulator, STOPPED), elsewhere]),
        CLOUDSCALE_TRAIL_TOKEN_FILES="shop=shop.token, web=web.token",
        **files,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[lines.index("Project shop:") + 1].startswith("1 change: 1 by users and tokens.")
    assert "elsewhere" in "".join(lines[lines.index("Project web:") :])
    (play,) = json.loads(trail.read_text())["plays"]
    assert (len(play["others"]), play["complete"]) == (2, True)
    (controller.directory / "web.token").write_text("wrong-but-well-formed-0123456789")
    done = run(
        controller,
        ("Both", [happen(simulator, STOPPED)]),
        CLOUDSCALE_TRAIL_TOKEN_FILES="shop=shop.token, web=web.token",
        **files,
    )
    assert "Project shop:" in done.stdout
    assert "cannot show the changes of web: " in " ".join(done.stderr.split())
    (play,) = json.loads(trail.read_text())["plays"]
    assert (len(play["others"]), play["complete"]) == (1, False)
