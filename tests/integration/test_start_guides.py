# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guides for the beginning say: their examples run, and tokens are masked where they say so."""

from __future__ import annotations

import getpass
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest
import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests import simulator as simulator_module
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

if TYPE_CHECKING:
    from .conftest import Controller, Results

ROOT = Path(version.__file__).parents[2]
GUIDES = ROOT / "docs/docsite/rst"
README = (ROOT / "README.md").read_text()
CI = {"api_token": {"uuid": "0a1b2c3d", "description": "ci deploy"}}
WHOLE, PART = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER", "********"
INFO = "auditops.cloudscale.project_logs_info"
ENTRIES = "query('auditops.cloudscale.project_logs', start='-1h')"


def blocks(guide: str, language: str) -> list[str]:
    text = (GUIDES / f"{guide}_guide.rst").read_text()
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    return [dedent(block) for block in found]


@pytest.fixture
def here(controller: Controller, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a project of its own, and a token that is right."""
    project = simulator.add_project(f"project-{len(simulator.projects)}")
    project.log.append("server_create", "Server 'hello' has been created", actor=CI)
    monkeypatch.setitem(controller.environment, "CLOUDSCALE_API_TOKEN", project.token)
    return controller.directory


def replaced(text: str, old: str, new: str) -> str:
    """An example with a part replaced; fails if the page no longer contains that part."""
    assert old in text
    return text.replace(old, new)


def place(controller: Controller, name: str, playbook: str) -> None:
    """Save an example; the archives' place differs, and modules run on the Python that has the libraries."""
    (play,) = yaml.safe_load(playbook.replace("/var/lib/audit", str(controller.directory)))
    play["vars"] = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    (controller.directory / name).write_text(yaml.safe_dump([play], sort_keys=False))


def shell(controller: Controller, script: str, **environment: str | None) -> str:
    variables = {**controller.environment, **environment}
    done = subprocess.run(
        ["sh", "-euc", script],
        cwd=controller.directory,
        env={name: value for name, value in variables.items() if value is not None},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def path(controller: Controller, here: Path) -> str:
    """A PATH on which the command is, by the line of the README that links it there."""
    (line,) = re.findall(r"^ln -s .*/bin/cloudscale-audit venv/bin/$", README, re.MULTILINE)
    (here / "venv/bin").mkdir(parents=True)
    shell(controller, replaced(line, "~/.ansible/collections/ansible_collections/auditops/cloudscale", str(ROOT)))
    return f"{here}/venv/bin{os.pathsep}{controller.environment['PATH']}"


def test_the_commands_of_the_readme(controller: Controller, here: Path, path: str) -> None:
    keep, pack = (block for block in re.findall(r"(?ms)^```shell\n(cloudscale-audit.*?)^```", README))
    (here / "readme").mkdir()
    keep, pack = (f"cd readme\n{script}" for script in (keep, pack))
    printed = shell(controller, replaced(keep, "history web-1", "history hello"), PATH=path)
    assert "Server 'hello' has been created" in printed
    # Days that the archive covers in whatever quarter this runs.
    days = re.sub(r"--start .*", "--start -3d --end today", pack)
    assert "SHA-256" in shell(controller, days, PATH=path)
    assert (here / "readme/evidence.zip").stat().st_size


def test_the_report_of_the_readme(controller: Controller, here: Path) -> None:
    (script,) = re.findall(r"(?ms)^```shell\n(pip install \"ibis.*?)^```", README)
    install, token, report = script.splitlines()
    needs = [re.split(r"[<>=]", line)[0] for line in (ROOT / "meta/ee-reports.txt").read_text().splitlines()]
    assert sorted(shlex.split(install)[2:]) == [name for name in needs if name and not name.startswith("#")]
    assert token == "export CLOUDSCALE_API_TOKEN=..."
    shell(controller, report)
    assert (here / "audit-report/audit-report.html").stat().st_size


def test_the_collection_is_upgraded(controller: Controller, here: Path) -> None:
    (script,) = blocks("upgrade_policy", "shell")
    assert script.strip().replace("--force ", "") in README
    # Git may refuse a repository of another user.
    variables = {"ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false", "GIT_CONFIG_COUNT": "1"}
    safe = {"GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    here_is = replaced(script, "https://github.com/auditops/auditops.cloudscale", ROOT.as_uri())
    home = here / "home"
    assert "was installed successfully" in shell(controller, here_is, HOME=str(home), **variables, **safe)
    installed = home / ".ansible/collections/ansible_collections/auditops/cloudscale/bin/cloudscale-audit"
    assert shell(controller, f"{installed} --version") == f"{version.VERSION}\n"


def test_the_command_is_put_on_path(controller: Controller, here: Path) -> None:
    text = (GUIDES / "archive_guide.rst").read_text()
    (script,) = (block for block in blocks("archive", "shell") if block.startswith("git clone "))
    (here / "auditops.cloudscale").symlink_to(ROOT)
    clone, *lines = script.splitlines()
    assert clone in README
    programs = f"{here}/.local/bin{os.pathsep}{controller.environment['PATH']}"
    assert shell(controller, "\n".join([*lines, "cloudscale-audit --version"]), PATH=programs) == f"{version.VERSION}\n"
    assert "/bin/cloudscale-audit``" in text


def test_the_quick_start(controller: Controller, here: Path) -> None:
    ask, keep = blocks("quick_start", "yaml")
    place(controller, "ask.yml", ask)
    place(controller, "keep.yml", keep)
    install, *scripts, directory = blocks("quick_start", "shell")
    *lines, token = install.strip().splitlines()
    assert "\n".join(lines) in README
    assert token == "export CLOUDSCALE_API_TOKEN=..."
    shell(controller, directory.replace("sudo ", "").replace("/var/lib/audit", str(here)), USER=getpass.getuser())
    asked, others = (shell(controller, script) for script in scripts)
    assert "Server 'hello' has been created" in asked
    assert "0 of 1 changes were made by others." in others
    assert "ok=2" in shell(controller, "ansible-playbook keep.yml")
    assert "changed=0" in shell(controller, "ansible-playbook keep.yml")


def test_a_token_out_of_a_vault(controller: Controller, here: Path) -> None:
    token = controller.environment["CLOUDSCALE_API_TOKEN"]
    (playbook,) = blocks("authentication", "yaml")
    place(controller, "ask.yml", playbook)
    (here / "vault-password").write_text("correct horse battery staple\n")
    (here / "secrets.yml").write_text(f"cloudscale_api_token: {token}\n")
    (script,) = blocks("authentication", "shell")
    printed = shell(controller, script, CLOUDSCALE_API_TOKEN=None)
    assert token not in (here / "secrets.yml").read_text()
    assert token not in printed


def test_a_token_in_the_vault_of_an_inventory(controller: Controller, here: Path) -> None:
    """The editor is a program that writes what the guide shows; the password is in a file, as nobody can type it."""
    inventory, vault, *_others = blocks("archiver_operations", "yaml")
    (script,) = blocks("archiver_operations", "console")
    (here / "inventory.yml").write_text(inventory)
    (here / "token").write_text(vault)
    (here / "password").write_text("correct horse battery staple\n")
    variables = {"EDITOR": f"cp {here}/token", "ANSIBLE_VAULT_PASSWORD_FILE": f"{here}/password"}
    # Ansible opens an editor on a terminal only.
    terminal = "import pty, sys; sys.exit(pty.spawn(['sh', '-euc', sys.argv[1]]) >> 8)"
    command = shlex.join([sys.executable, "-c", terminal, re.sub(r"^\$ ", "", script, flags=re.MULTILINE)])
    shell(controller, command, **variables)
    assert (here / "group_vars/archivers/vault.yml").read_text().startswith("$ANSIBLE_VAULT;")
    shown = shell(controller, "ansible-inventory -i inventory.yml --host archive2.example.org", **variables)
    host = json.loads(shown)
    assert host["vault_audit_token_production"] == "the API token of the project"
    assert host["archiver_projects"] == [{"name": "production", "token": "{{ vault_audit_token_production }}"}]


def test_examples_of_the_faq(controller: Controller, here: Path) -> None:
    tasks = [task for block in blocks("faq", "yaml") for task in yaml.safe_load(block)]
    results = controller.run({task.pop("name"): {**task, "ignore_errors": False} for task in tasks[:1]})
    assert results["Read one day of UTC"]["project_logs"] == []
    place(controller, "faq.yml", yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks[1:]}]))
    assert "ok=5" in shell(controller, "ansible-playbook faq.yml")
    away = {"CLOUDSCALE_API_URL": "https://127.0.0.1:9/v1"}
    tasks[-1]["name"] = "away"
    place(controller, "faq.yml", yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks[-1:]}]))
    assert "ok=1" in shell(controller, "ansible-playbook faq.yml", **away)
    refused = controller.playbook("faq.yml", CLOUDSCALE_API_TOKEN="wrong" * 8)
    assert refused.returncode == 2


def create_volume(url: str, token: str) -> None:
    """Change something by the API."""
    body = json.dumps({"name": "data", "size_gb": 1, "type": "ssd", "zone": "rma1"}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urlopen(Request(f"{url}/volumes", body, headers)) as response:
        assert response.status == 201


def test_the_simulator_responds_as_the_api_does(controller: Controller) -> None:
    serve, ask = blocks("faq", "shell")
    # On the Python of this environment, and at a port that is free.
    python = [sys.executable, "-m", simulator_module.__name__, "--port", "0"]
    options = serve.removeprefix("python3 dev.py simulator --port 8765").split()
    with subprocess.Popen([*python, *options], stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            url = json.loads(serving.stdout.readline())["url"]
            ask = replaced(ask, "http://127.0.0.1:8765/v1", url)
            assert "has been created" in shell(controller, ask)
            create_volume(url, "only-a-test")
            assert "``main automation``" in (GUIDES / "faq_guide.rst").read_text()
            own = replaced(ask, "start='-7d'", "start='-1h', actors=['main automation']")
            assert "Volume 'data' has been created" in shell(controller, own)
        finally:
            serving.terminate()


@pytest.fixture
def masked(controller: Controller, simulator: Simulator, here: Path) -> Results:
    """A log in which the token's text stands, asked for in each way that the guide's table names."""
    token = controller.environment["CLOUDSCALE_API_TOKEN"]
    project = next(found for found in simulator.projects if found.token == token)
    project.log.append("server_create", f"part {token} of a text", actor={token: token})
    cases: dict[str, Any] = {
        "module": {INFO: {"api_token": token}},
        "file": {INFO: {"api_token": token, "dest": str(here / "log.jsonl")}},
        "lookup": {"ansible.builtin.debug": {"msg": "{{ %s }}" % ENTRIES}},
        "variable": {"ansible.builtin.debug": {"var": "cloudscale_api_token"}},
        "environment": {INFO: {}, "environment": {"CLOUDSCALE_API_TOKEN": "{{ cloudscale_api_token }}"}},
    }
    # Newer releases show a module's options only on request.
    return controller.run(cases, "-vvv", "-e", f"cloudscale_api_token={token}", ANSIBLE_INJECT_INVOCATION="true")


def test_masked_values(controller: Controller, here: Path, masked: Results) -> None:
    token = controller.environment["CLOUDSCALE_API_TOKEN"]
    entry = masked["module"]["project_logs"][-1]
    assert entry["message"] == f"part {PART} of a text"
    assert entry["actor"] == {token: WHOLE}
    assert masked["lookup"]["msg"][-1]["message"] == f"part {token} of a text"
    assert token in (here / "log.jsonl").read_text()
    assert masked["variable"]["cloudscale_api_token"] == token
    # The command line of the module, with its environment.
    assert re.search(rf"EXEC .*CLOUDSCALE_API_TOKEN={token}", masked.output)
    assert masked.output.count(f'"api_token": "{WHOLE}"') == 3


@pytest.mark.parametrize("path", sorted(GUIDES.glob("*.rst")), ids=lambda path: path.stem)
def test_a_guide_is_listed_and_has_its_label(path: Path) -> None:
    sections = yaml.safe_load((GUIDES.parent / "extra-docs.yml").read_text())["sections"]
    assert [name for section in sections for name in section["toctree"]].count(path.stem) == 1
    assert f"\n.. _ansible_collections.auditops.cloudscale.docsite.{path.stem}:\n" in path.read_text()
