# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook check_archivers on two archivers, which are directories of this machine: only status runs there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

if TYPE_CHECKING:
    from .conftest import Controller

COMMAND = Path(version.__file__).parents[2] / "bin/cloudscale-audit"


class Fleet:
    """Archivers by name, each with a projects file of its own."""

    def __init__(self, controller: Controller, simulator: Simulator, directory: Path) -> None:
        self.controller, self.simulator, self.directory = controller, simulator, directory
        self.hosts: dict[str, Any] = {}
        self.launcher = directory / "cloudscale-audit"
        self.launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{COMMAND}" "$@"\n')
        self.launcher.chmod(0o755)

    def add(self, host: str, *names: str) -> None:
        (self.directory / f"{host}.token").write_text(self.simulator.project("main").token)
        for name in names:
            (self.directory / host / name).mkdir(parents=True)
        settings = {"api_url": self.simulator.url, "token_file": str(self.directory / f"{host}.token")}
        projects = [{"name": name, "path": str(self.directory / host / name), **settings} for name in names]
        (self.directory / f"{host}.json").write_text(json.dumps({"version": 1, "projects": projects}))
        self.hosts[host] = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "check_archivers_projects": str(self.directory / f"{host}.json"),
        }

    def command(self, *arguments: str) -> None:
        environment = {"PATH": os.defpath, "HOME": str(self.directory)}
        subprocess.run([self.launcher, *arguments], env=environment, check=False, capture_output=True, timeout=60)

    def collect(self, host: str) -> None:
        self.command("collect", "--projects", str(self.directory / f"{host}.json"))

    def check(self, **variables: Any) -> subprocess.CompletedProcess[str]:
        (self.directory / "inventory.json").write_text(json.dumps({"archivers": {"hosts": self.hosts}}))
        given = {
            "check_archivers_command": str(self.launcher),
            "check_archivers_become": False,
            "check_archivers_dest": str(self.directory / "table.md"),
            **variables,
        }
        return self.controller.playbook(
            "auditops.cloudscale.check_archivers",
            *("-i", str(self.directory / "inventory.json"), "-e", json.dumps(given)),
            HOME=str(self.directory),
        )


@pytest.fixture
def fleet(controller: Controller, simulator: Simulator, tmp_path: Path) -> Fleet:
    made = Fleet(controller, simulator, tmp_path)
    simulator.project("main").log.append(action="server_create", message="m")
    made.add("one", "blue", "green")
    made.add("two", "red")
    for host in ("one", "two"):
        made.collect(host)
    return made


def test_the_command_of_the_guide_writes_a_table(fleet: Fleet) -> None:
    guide = (COMMAND.parents[1] / "docs/docsite/rst/archiver_watching_guide.rst").read_text()
    (line,) = re.findall(r"^    \$ ansible-playbook (.*check_archivers_dest=.*)$", guide, re.MULTILINE)
    (fleet.controller.directory / "inventory.yml").write_text(json.dumps({"archivers": {"hosts": fleet.hosts}}))
    given = {"check_archivers_command": str(fleet.launcher), "check_archivers_become": False}
    done = fleet.controller.playbook(*shlex.split(line), "-e", json.dumps(given), HOME=str(fleet.directory))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| blue " in (fleet.controller.directory / "archivers.md").read_text()


def cells(fleet: Fleet) -> list[list[str]]:
    lines = (fleet.directory / "table.md").read_text().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_all_archives_of_all_archivers_are_in_one_table(fleet: Fleet) -> None:
    done = fleet.check()
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row[:3] for row in cells(fleet)] == [
        ["one", "blue", "current"],
        ["one", "green", "current"],
        ["two", "red", "current"],
    ]
    assert "All 3 archives are current. Never verified: blue, green, red." in done.stdout
    for host in ("one", "two"):
        fleet.command("verify", "--projects", str(fleet.directory / f"{host}.json"))
    assert "All 3 archives are current and intact." in fleet.check().stdout


def test_one_archive_is_not_reported_as_several(fleet: Fleet) -> None:
    del fleet.hosts["one"]
    assert "The archive is current. Never verified: red." in fleet.check().stdout


def test_archives_that_need_attention_fail_with_the_reason(fleet: Fleet) -> None:
    (data,) = (fleet.directory / "one/blue/entries").glob("date=*/*")
    data.write_bytes(data.read_bytes()[:-1])
    fleet.command("verify", "--projects", str(fleet.directory / "one.json"))
    shutil.rmtree(fleet.directory / "two/red")
    # With pipelining, Ansible may write to an ssh that is already gone, and then names the broken pipe.
    refused = {"ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_pipelining": False}
    fleet.hosts["three"] = {"ansible_connection": "ssh", **refused}
    done = fleet.check()
    assert done.returncode == 2
    printed = " ".join(done.stdout.split())
    assert "3 of 4 archives need attention: " in printed
    assert "one blue is current (The archive is not intact; run verify to see its findings.)" in printed
    assert [row[2] for row in cells(fleet)] == ["current", "current", "error", "error"]
    assert "Connection refused" in cells(fleet)[3][-1]


def test_the_output_of_a_host_is_never_a_template(fleet: Fleet) -> None:
    hostile = {"name": "red", "state": "stale", "msg": "{{ 7*7 }} | <b>", "path": "x"}
    fleet.launcher.write_text("#!/bin/sh\ncat <<'END'\n" + json.dumps({"archives": [hostile]}) + "\nEND\n")
    done = fleet.check()
    assert done.returncode == 2
    assert "{{ 7*7 }} / <b>" in (fleet.directory / "table.md").read_text()
    assert "49" not in (fleet.directory / "table.md").read_text()


def guide_commands() -> list[list[str]]:
    """The commands of the guide that keep a ledger."""
    guide = (COMMAND.parents[1] / "docs/docsite/rst/archive_guide.rst").read_text().replace("\\\n", "")
    lines = re.findall(r"^    \$ ansible-playbook (.*check_archivers_ledger=.*)$", guide, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_heads_that_do_not_continue_the_ledger_are_refused(fleet: Fleet) -> None:
    plain, superseding = guide_commands()
    ledger = fleet.controller.directory / "heads.jsonl"
    ledger.unlink(missing_ok=True)
    log = fleet.simulator.project("main").log

    def check(command: list[str] = plain) -> tuple[int, str, list[Any]]:
        (fleet.controller.directory / "inventory.yml").write_text(json.dumps({"archivers": {"hosts": fleet.hosts}}))
        given = {"check_archivers_command": str(fleet.launcher), "check_archivers_become": False}
        done = fleet.controller.playbook(*command, "-e", json.dumps(given), HOME=str(fleet.directory))
        lines = [json.loads(line) for line in ledger.read_text().splitlines()]
        return done.returncode, " ".join(done.stdout.split()), lines

    status, printed, lines = check()
    assert (status, [line["sequence"] for line in lines]) == (0, [1, 1, 1]), printed
    log.append(action="server_create", message="m")
    for host in ("one", "two"):
        fleet.collect(host)
    status, printed, lines = check()
    assert (status, [line["sequence"] for line in lines]) == (0, [1, 1, 1, 2, 2, 2]), printed
    blue = fleet.directory / "one/blue"
    verify = [fleet.launcher, "verify", str(blue), "--heads", str(ledger)]
    assert subprocess.run(verify, env={"PATH": os.defpath, "HOME": "/"}, check=False, timeout=60).returncode == 0
    # Root on a host truncates one archive, and starts another one again.
    (blue / "commits/000000000002.json").unlink()
    shutil.rmtree(fleet.directory / "two/red")
    shutil.rmtree(fleet.directory / ".local")
    (fleet.directory / "two/red").mkdir()
    fleet.command("collect", "--projects", str(fleet.directory / "two.json"))
    status, printed, after = check()
    assert (status, after[:6], len(after)) == (2, lines, 7)
    ids = {(line["project"], line["sequence"]): line["archive_id"] for line in lines}
    assert "These archives do not continue the heads in the ledger: " in printed
    assert f"archive {ids['blue', 2]} (blue): it does not continue commit 2, which was noted" in printed
    assert f"archive {ids['red', 2]} (red): no host has it, but commit 2 of it was noted" in printed
    reason = json.loads(superseding[-1])["check_archivers_superseded"].popitem()[1]
    reasons = {ids["blue", 2]: reason, ids["red", 2]: "begun again"}
    status, printed, after = check([*superseding[:-1], json.dumps({"check_archivers_superseded": reasons})])
    assert status == 0, printed
    assert sorted(line["superseded"] for line in after[7:]) == ["begun again", "begun again", reason]
    assert check()[2] == after


def test_a_ledger_never_templates_the_output_of_a_host(fleet: Fleet) -> None:
    path = fleet.directory / "hostile"
    fleet.command(
        *("collect", str(path), "--project", "{{ 7*7 }}", "--api-url", fleet.simulator.url),
        *("--token-file", str(fleet.directory / "one.token")),
    )
    script = f'#!/bin/sh\nexec "{sys.executable}" "{COMMAND}" status --json "$4" "{path}" "{path}"\n'
    fleet.launcher.write_text(script)
    done = fleet.check(check_archivers_ledger=str(fleet.directory / "heads.jsonl"))
    (line,) = (fleet.directory / "heads.jsonl").read_text().splitlines()
    assert json.loads(line)["project"] == "{{ 7*7 }}", done.stdout


def test_an_inventory_without_archivers_is_refused(fleet: Fleet) -> None:
    fleet.hosts.clear()
    done = fleet.check()
    assert done.returncode == 2
    assert "has no host in archivers" in " ".join(done.stdout.split())
