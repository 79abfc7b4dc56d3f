# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs as AWX runs them: by ansible-runner, with the credential type, surveys, and the variables of a workflow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import ansible_runner
import pytest
import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from jinja2.sandbox import ImmutableSandboxedEnvironment

ROOT = Path(version.__file__).parents[2]
GUIDE = (ROOT / "docs/docsite/rst/awx_guide.rst").read_text(encoding="utf-8")
INPUTS, INJECTORS, SURVEYED, BEFORE, AFTER = (
    yaml.safe_load(dedent(block))
    for block in re.findall(r"^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", GUIDE, re.MULTILINE)
)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


def environment_of(credential: dict[str, str]) -> dict[str, str]:
    """What the injectors make of a credential."""
    templates = ImmutableSandboxedEnvironment()
    return {name: templates.from_string(text).render(credential) for name, text in INJECTORS["env"].items()}


class Job:
    """A job with a credential of the documented type."""

    def __init__(self, directory: Path, playbook: Any, credential: dict[str, str], **extra_vars: Any) -> None:
        (directory / "project").mkdir(parents=True)
        (directory / "project/job.yml").write_text(yaml.safe_dump(playbook))
        self.run = ansible_runner.run(
            private_data_dir=str(directory),
            playbook="job.yml",
            inventory="localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'",
            envvars=environment_of(credential),
            extravars=extra_vars,
            quiet=True,
        )
        with self.run.stdout as output:
            self.output = output.read()

    @property
    def artifacts(self) -> Any:
        """What the next jobs of a workflow get as variables."""
        (end,) = (event for event in self.run.events if event["event"] == "playbook_on_stats")
        return end["event_data"]["artifact_data"]


def test_the_guide_shows_the_files_of_the_credential_type() -> None:
    files = [yaml.safe_load((ROOT / f"extensions/awx/{name}.yml").read_text()) for name in ("inputs", "injectors")]
    assert files == [INPUTS, INJECTORS]


def test_the_token_is_a_secret_and_all_inputs_reach_the_job() -> None:
    fields = {field["id"]: field for field in INPUTS["fields"]}
    assert [name for name, field in fields.items() if field.get("secret")] == INPUTS["required"] == ["api_token"]
    assert list(INJECTORS["env"].values()) == [f"{{{{ {name} }}}}" for name in fields]


def test_a_survey_with_empty_answers_runs_with_the_defaults(tmp_path: Path, simulator: Simulator) -> None:
    project = simulator.project("main")
    project.log.append("server_create", "Server 'web1' has been created")
    playbook = (ROOT / "playbooks/who_changed.yml").read_text()
    questions = dict.fromkeys(re.findall(r"^ +- (who_changed_\w+)$", playbook, re.MULTILINE), "")
    assert len(questions) > 10
    job = Job(tmp_path, SURVEYED, {"api_token": project.token, "api_url": simulator.url}, **questions)
    assert (job.run.rc, "1 of 1 changes were made by others" in job.output) == (2, True), job.output
    assert project.token not in job.output


def test_a_credential_without_a_url_is_for_the_providers_api() -> None:
    environment = environment_of({"api_token": "x" * 40})
    options = {name.removeprefix("CLOUDSCALE_").lower(): value for name, value in environment.items()}
    assert Connection.from_mapping(options) == Connection(api_token="x" * 40)


def test_a_workflow_hands_a_cursor_over_and_verifies_the_change(tmp_path: Path, simulator: Simulator) -> None:
    project = simulator.project("main")
    project.log.append("server_delete", "Server 'old' has been deleted")
    credential = {"api_token": project.token, "api_url": simulator.url}
    before = Job(tmp_path / "before", BEFORE, credential)
    assert before.run.rc == 0, before.output
    (cursor,) = before.artifacts.values()
    project.log.append("server_create", "Server 'web1' has been created")
    after = Job(tmp_path / "after", AFTER, credential, **before.artifacts)
    assert after.run.rc == 0, after.output
    assert "Changes as expected: 1" in after.output
    assert project.token not in cursor
