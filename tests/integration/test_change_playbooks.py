# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks who_changed and verify_change, run as a user runs them."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

if TYPE_CHECKING:
    from .conftest import Controller

NOW = datetime.now(timezone.utc)
CI = {"api_token": {"uuid": "0a1b2c3d", "description": "ci deploy"}}
MALLORY = {"user": {"email": "mallory@example.com"}}
QUICK = {"verify_change_timeout": 0.2, "verify_change_interval": 0.1, "verify_change_settle": 0.1}
MADE = {"action": "server_create", "message": "'web-1'"}
CREATED = {"action": "server_create", "message_pattern": "'web-1'"}


@pytest.fixture
def project(simulator: Simulator) -> Any:
    return simulator.add_project(f"project-{len(simulator.projects)}")


def play(controller: Controller, project: Any, name: str, *more: str, **variables: Any) -> Any:
    arguments = [f"auditops.cloudscale.{name}", "-e", json.dumps(variables), *more]
    return controller.playbook(*arguments, CLOUDSCALE_API_TOKEN=project.token)


def output(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


def change(controller: Controller, simulator: Simulator, project: Any, *entries: Any) -> str:
    """A file of tasks that change something in the cloud; its name."""
    request = {"method": "POST", "body_format": "json", "body": {"project": project.name, "entries": entries}}
    task = {"url": simulator.url.replace("/v1", "/_simulator/entries"), **request}
    (controller.directory / "change.yml").write_text(json.dumps([{"name": "Change", "ansible.builtin.uri": task}]))
    return "change.yml"


def test_changes_of_others_are_shown_and_fail(controller: Controller, project: Any) -> None:
    project.log.append("server_stop", "old", NOW - timedelta(hours=25), MALLORY)
    project.log.append("server_create", "Server 'web-1' has been created", NOW - timedelta(hours=1), CI)
    project.log.append("server_stop", "Server 'db' has been shut down", NOW - timedelta(minutes=9), MALLORY)
    project.log.append("server_pause", "Server 'x' has been paused", NOW - timedelta(minutes=8), {"system": {}})
    done = play(controller, project, "who_changed", who_changed_own_actors=["0a1b2c3d"])
    assert done.returncode == 2
    assert "1 of 3 changes were made by others: mallory@example.com." in output(done)
    assert "mallory@example.com 192.0.2.10 server_stop Server 'db' has been shut down" in output(done)
    assert "web-1" not in output(done)
    with_system = play(controller, project, "who_changed", who_changed_own_actors=["ci deploy"], who_changed_system=1)
    assert "2 of 3 changes were made by others: mallory@example.com, system." in output(with_system)
    shown = play(controller, project, "who_changed", who_changed_start="-48h", who_changed_fail="no")
    assert shown.returncode == 0
    assert "3 of 4 changes were made by others." in output(shown)


def test_several_projects_are_shown_with_their_names(
    controller: Controller, simulator: Simulator, project: Any
) -> None:
    other = simulator.add_project(f"other-of-{project.name}")
    project.log.append("server_stop", "Server '{{ 7*7 }}' has been shut down", NOW - timedelta(minutes=9), MALLORY)
    other.log.append("server_create", "Server 'web-2' has been created", NOW - timedelta(minutes=8), CI)
    projects = [{"name": "shop", "api_token": project.token}, {"name": "web", "api_token": other.token}]
    done = play(controller, project, "who_changed", who_changed_projects=projects, who_changed_own_actors="ci deploy")
    assert done.returncode == 2
    assert re.search(r'\(item=shop\) => \{ (?:"_who_changed_number": 0, )?"msg": \[', output(done))
    assert "Server '{{ 7*7 }}' has been shut down" in output(done)
    assert "1 of 2 changes were made by others: mallory@example.com. Next cursor: shop: http" in output(done)
    assert "skipping: [localhost] => (item=web)" in output(done)
    cursors = dict(re.findall(r"(shop|web): (http\S+cursor=\d+)", output(done)))
    since = [{**one, "cursor": cursors[one["name"]]} for one in projects]
    assert "0 of 0 changes" in output(play(controller, project, "who_changed", who_changed_projects=since))
    bad = [projects[0], {"name": "web", "api_token": "wrong-but-well-formed-0123456789"}]
    refused = play(controller, project, "who_changed", "-vvv", who_changed_projects=bad)
    assert refused.returncode == 2
    assert "does not accept the token" in output(refused)
    assert project.token not in output(refused)


def test_changes_by_own_actors_alone_are_fine(controller: Controller, project: Any) -> None:
    project.log.append("server_create", "m", NOW, CI)
    done = play(controller, project, "who_changed", who_changed_own_actors=["ci deploy"])
    assert done.returncode == 0
    assert "0 of 1 changes were made by others." in output(done)
    cursor = output(done).split("Next cursor: ")[1].split('"')[0]
    project.log.append("server_delete", "m", NOW, MALLORY)
    since = play(controller, project, "who_changed", who_changed_cursor=cursor)
    assert since.returncode == 2
    assert "1 of 1 changes were made by others" in output(since)


def test_a_change_is_made_and_verified(controller: Controller, simulator: Simulator, project: Any) -> None:
    project.log.append("server_delete", "before", actor=MALLORY)
    tasks = change(controller, simulator, project, {**MADE, "actor": CI})
    variables = {"verify_change_tasks": tasks, "verify_change_expect": [CREATED], **QUICK}
    done = play(controller, project, "verify_change", verify_change_own_actors=["ci deploy"], **variables)
    assert done.returncode == 0, output(done)
    assert "Changes as expected: 1. Unexpected: 0. Expectations not met: 0. Next cursor: http" in done.stdout
    assert "ci deploy  192.0.2.10  server_create  'web-1'" in done.stdout
    checked = play(controller, project, "verify_change", "--check", **variables)
    assert checked.returncode == 0, output(checked)
    assert "Changes as expected: 0. Unexpected: 0. Expectations not met: 1." in output(checked)
    assert ", expected at least 1, found 0. Next cursor: http" in output(checked)


def test_somebody_who_interferes_is_named(controller: Controller, simulator: Simulator, project: Any) -> None:
    foreign = {"action": "server_delete", "message": "Server 'db' has been deleted", "actor": MALLORY}
    tasks = change(controller, simulator, project, MADE, foreign)
    done = play(
        controller, project, "verify_change", verify_change_tasks=tasks, verify_change_expect=[CREATED], **QUICK
    )
    assert done.returncode == 2
    assert "1 change is unexpected" in output(done)
    assert "mallory@example.com from 192.0.2.10: Server 'db' has been deleted" in output(done)
    tolerant = {"verify_change_exclusive": False, "verify_change_expect": [CREATED], **QUICK}
    assert play(controller, project, "verify_change", verify_change_tasks=tasks, **tolerant).returncode == 0


def test_a_change_that_fails_is_verified_too(controller: Controller, simulator: Simulator, project: Any) -> None:
    (controller.directory / "broken.yml").write_text('[{"name": "Fail", "ansible.builtin.fail": {"msg": "broken"}}]')
    done = play(
        controller,
        project,
        "verify_change",
        verify_change_tasks="~/broken.yml",
        verify_change_expect=[CREATED],
        **QUICK,
    )
    assert done.returncode == 2
    assert "broken" in output(done)
    assert "1 of 1 expectation is not met" in output(done)


def test_a_window_is_verified(controller: Controller, project: Any) -> None:
    project.log.append("server_create", "'web-1'", NOW - timedelta(hours=2), CI)
    project.log.append("server_delete", "later", NOW - timedelta(minutes=1), MALLORY)
    window = {"verify_change_start": "-3h", "verify_change_end": "-1h"}
    done = play(controller, project, "verify_change", verify_change_expect=[CREATED], **window, **QUICK)
    assert done.returncode == 0, output(done)
    nothing = play(controller, project, "verify_change", **window, **QUICK)
    assert nothing.returncode == 2


def test_without_anything_to_verify_it_says_what_to_set(controller: Controller, project: Any) -> None:
    done = play(controller, project, "verify_change")
    assert done.returncode == 2
    assert "There is nothing to verify. Set verify_change_tasks" in output(done)


# --- Misspelt variables, and what surveys and command lines give


def test_a_misspelt_variable_is_refused_with_the_one_that_is_meant(controller: Controller, project: Any) -> None:
    given = {"verify_change_start": "-1h", "verify_change_forbidd": [CREATED], "verify_change_exclusive": False}
    done = play(controller, project, "verify_change", **given)
    assert done.returncode == 2
    assert (
        "This playbook has no variable verify_change_forbidd (did you mean verify_change_forbid?). Correct or remove "
        "it; the variables are verify_change_tasks, verify_change_start,"
    ) in output(done)


def test_an_unknown_variable_of_the_other_playbook_is_pointed_out(controller: Controller, project: Any) -> None:
    done = play(controller, project, "who_changed", who_changed_own_actor=["backup"])
    assert done.returncode == 0, output(done)
    assert (
        "Ignored, because this playbook has no such variable: who_changed_own_actor "
        "(did you mean who_changed_own_actors?)"
    ) in output(done)
    assert "Ignored" not in output(play(controller, project, "who_changed", who_changed_own_actors=["backup"]))


def test_check_mode_names_what_is_missing(controller: Controller, simulator: Simulator, project: Any) -> None:
    tasks = change(controller, simulator, project, MADE)
    rules = [CREATED, {"actor": "ci deploy", "count": 2}]
    given = {"verify_change_tasks": tasks, "verify_change_expect": rules, **QUICK}
    done = play(controller, project, "verify_change", "--check", **given)
    assert done.returncode == 0, output(done)
    assert (
        "Expectations not met: 2. In check mode the change was not made. Missing: expect[0]: action server_create, "
        "message_pattern 'web-1', expected at least 1, found 0; expect[1]: actor ci deploy, expected exactly 2, "
        "found 0."
    ) in output(done)


def test_empty_fields_of_a_survey_are_not_set(controller: Controller, simulator: Simulator, project: Any) -> None:
    project.log.append("server_stop", "Server 'db' has been shut down", NOW - timedelta(minutes=9), MALLORY)
    names = ["start", "end", "cursor", "own_actors", "system", "time_zone", "actions", "actors", "ip_networks"]
    names += ["message_pattern", "resources", "limit"]
    empty = {f"who_changed_{name}": "" for name in names}
    done = play(controller, project, "who_changed", cloudscale_api_token="", cloudscale_api_url="", **empty)
    assert "1 of 1 changes were made by others: mallory@example.com." in output(done)
    tasks = change(controller, simulator, project, MADE)
    names = ["start", "end", "cursor", "forbid", "ignore", "own_actors", "exclusive"]
    empty = {f"verify_change_{name}": "" for name in names}
    given = {**empty, "verify_change_tasks": tasks, "verify_change_expect": [CREATED], **QUICK}
    verified = play(controller, project, "verify_change", **given)
    assert verified.returncode == 0, output(verified)
    names = ["tasks", "start", "end", "cursor"]
    nothing = play(controller, project, "verify_change", **{f"verify_change_{name}": "" for name in names})
    assert nothing.returncode == 2
    assert "There is nothing to verify. Set verify_change_tasks" in output(nothing)


def test_actors_may_be_a_text_with_commas(controller: Controller, project: Any) -> None:
    project.log.append("server_create", "m", NOW, CI)
    project.log.append("server_stop", "m", NOW, {"user": {"email": "Backup@Example.com"}})
    for own in ("ci deploy, backup@example.com", "ci deploy,, *@EXAMPLE.com,", ["ci *", "backup@example.com"]):
        done = play(controller, project, "who_changed", who_changed_own_actors=own)
        assert done.returncode == 0, output(done)
    verified = play(
        controller,
        project,
        "verify_change",
        verify_change_start="-1h",
        verify_change_own_actors="ci deploy, ",
        verify_change_expect=[{"action": "server_create"}],
        verify_change_ignore=[{"actor": "backup@example.com"}],
        **QUICK,
    )
    assert verified.returncode == 0, output(verified)


def test_the_connection_comes_from_variables(controller: Controller, simulator: Simulator, project: Any) -> None:
    project.log.append("server_stop", "m", NOW, MALLORY)
    given = {"cloudscale_api_token": project.token, "cloudscale_api_url": simulator.url, "cloudscale_api_retries": 0}
    simulator.clear_requests()
    for name, more in (("who_changed", {}), ("verify_change", {"verify_change_start": "-1h", **QUICK})):
        done = controller.playbook(
            f"auditops.cloudscale.{name}",
            *("-e", json.dumps({**given, **more})),
            CLOUDSCALE_API_TOKEN=None,
            CLOUDSCALE_API_URL="https://127.0.0.1:1/v1",
        )
        assert done.returncode == 2
        assert "mallory@example.com" in output(done)
        assert project.token not in output(done)
    assert len(simulator.requests) >= 2


def test_times_are_shown_in_the_time_zone(controller: Controller, project: Any) -> None:
    project.log.append("server_stop", "m", NOW.replace(hour=12, minute=0, second=0) - timedelta(days=1), MALLORY)
    given = {"who_changed_start": "-3d", "who_changed_time_zone": "Asia/Kolkata"}
    assert " 17:30:00 +05:30 mallory@example.com" in output(play(controller, project, "who_changed", **given))


def test_nothing_is_said_about_a_range_in_the_future(controller: Controller, project: Any) -> None:
    done = play(controller, project, "who_changed", who_changed_start="2099-01-01")
    assert done.returncode == 2
    assert (
        "This range gives no result: start (2099-01-01T00:00:00Z) is in the future: the range has no entries yet."
    ) in output(done)


def test_without_an_archiver_in_the_inventory_the_deployment_fails(controller: Controller, project: Any) -> None:
    done = controller.playbook("auditops.cloudscale.deploy_archiver", "--check")
    assert done.returncode == 2
    assert "The inventory has no host in archivers. Pass an inventory that has this group" in output(done)


def test_a_range_that_can_have_no_entries_is_marked_in_the_result(controller: Controller, project: Any) -> None:
    empty = {"start": "2026-11-22", "end": "2026-11-22"}
    tasks = [
        {"auditops.cloudscale.project_logs_info": given, "register": f"found_{number}"}
        for number, given in enumerate(({"start": "-1h"}, {"start": "2099-01-01"}, empty))
    ]
    shown = {"msg": "{{ [found_0.range_empty, found_1.range_empty, found_2.range_empty] }}"}
    python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    head = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": python}
    book = controller.directory / "ranges.yml"
    book.write_text(json.dumps([{**head, "tasks": [*tasks, {"ansible.builtin.debug": shown}]}]))
    done = controller.playbook(str(book), CLOUDSCALE_API_TOKEN=project.token)
    assert '"msg": [ false, true, true ]' in output(done)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("' ci deploy,, backup , '", ["ci deploy", "backup"]),
        ("''", []),
        ("none", []),
        ("['a, b', '']", ["a, b", ""]),
    ],
)
def test_a_text_with_commas_is_a_list(controller: Controller, given: str, made: list[str]) -> None:
    check = {"that": f"{given} | auditops.cloudscale.comma_list == {made!r}"}
    book = controller.directory / "commas.yml"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [{"assert": check}]}]))
    assert controller.playbook(str(book)).returncode == 0
