# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One command on many archives: each project by itself, the worst of all as the exit status."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.cli.exit_status import worst
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.preloaded import run_command
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.journald import Journald

COMMAND = Path(version.__file__).parents[2] / "bin/cloudscale-audit"
NAMES = ["blue", "green", "red"]


class Fleet:
    """A host with a projects file, whose tokens come from a credential of systemd."""

    def __init__(self, directory: Path, simulator: Simulator) -> None:
        self.directory = directory
        self.simulator = simulator
        self.file = directory / "projects.json"
        self.credentials = directory / "credentials"
        self.credentials.mkdir()
        self.projects: list[dict[str, Any]] = []
        for name in NAMES:
            self.path(name).mkdir(parents=True)
            self.projects.append({"name": name, "path": str(self.path(name)), "api_url": simulator.url})
        self.tokens = {name: simulator.project(name).token for name in NAMES}
        self.write()

    def path(self, name: str) -> Path:
        return self.directory / "archives" / name

    def project(self, name: str) -> dict[str, Any]:
        return next(project for project in self.projects if project["name"] == name)

    def write(self) -> None:
        self.file.write_text(json.dumps({"version": 1, "projects": self.projects}))
        (self.credentials / "tokens.json").write_text(json.dumps(self.tokens))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(COMMAND), *arguments, "--projects", str(self.file)]

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "HOME": str(self.directory), "CREDENTIALS_DIRECTORY": str(self.credentials)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.write()
        return self.call(self.command(*arguments))

    def call(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return run_command(command[2:], self.environment, self.directory)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(page_size=3) as running:
        for count, name in enumerate(NAMES, 1):
            added = running.add_project(name)
            for number in range(count):
                added.log.append(action="server_create", message=f"m{number}")
        yield running


@pytest.fixture
def fleet(simulator: Simulator, tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, simulator)


def test_each_project_gets_an_archive_and_a_line_that_begins_with_its_name(fleet: Fleet) -> None:
    collected = fleet.run("collect")
    assert (collected.returncode, collected.stderr) == (0, "")
    result = sorted(line for line in collected.stdout.splitlines() if "added" in line)
    assert [line.partition(" added")[0] for line in result] == ["blue: 1 entry", "green: 2 entries", "red: 3 entries"]
    assert {line.partition(":")[0] for line in collected.stdout.splitlines()} == set(NAMES)
    for name in NAMES:
        lines = fleet.call([sys.executable, str(COMMAND), "cat", str(fleet.path(name))]).stdout.splitlines()
        assert [json.loads(line) for line in lines] == fleet.simulator.project(name).log.entries


@pytest.mark.parametrize("command", ["verify", "reconcile", "status"])
def test_reading_commands_accept_a_projects_file(fleet: Fleet, command: str) -> None:
    fleet.run("collect")
    found = fleet.json(command)
    assert [archive["name"] for archive in found["archives"]] == NAMES
    assert found["exit_status"] == 0
    assert [archive["exit_status"] for archive in found["archives"]] == [0, 0, 0]


def test_status_of_several_is_a_table(fleet: Fleet) -> None:
    fleet.run("collect")
    fleet.run("verify")
    shutil.rmtree(fleet.path("green"))
    result = fleet.run("status")
    assert result.returncode == 4
    header, *rows, reason = result.stdout.splitlines()
    assert header.split() == ["Project", "State", "Lag", "Deadline", "Gaps", "Verified", "Entries"]
    assert [row.split()[:2] for row in rows] == [["blue", "current"], ["green", "error"], ["red", "current"]]
    assert [row.split()[-1] for row in rows] == ["1", "-", "3"]
    assert reason.startswith("green: ")


def test_a_bad_token_does_not_affect_other_projects(fleet: Fleet) -> None:
    fleet.tokens["blue"] = "wrong"
    del fleet.tokens["green"]
    collected = fleet.json("collect")
    assert collected["exit_status"] == 3
    by_name = {archive["name"]: archive for archive in collected["archives"]}
    assert by_name["blue"]["failure"]["code"] == "unauthorized"
    assert by_name["green"]["exit_status"] == 2
    assert "No API token for green" in by_name["green"]["msg"]
    assert by_name["red"]["added"] == 3


def test_tokens_are_never_printed(fleet: Fleet) -> None:
    fleet.tokens["blue"] = "wrong-token-of-blue"
    (fleet.directory / "token").write_text(fleet.simulator.project("red").token)
    fleet.project("red")["token_file"] = str(fleet.directory / "token")
    collected = fleet.run("collect")
    for token in (*fleet.tokens.values(), fleet.simulator.project("red").token):
        assert token not in collected.stdout + collected.stderr


def test_a_project_without_a_first_run_is_new_and_a_mistyped_path_is_an_error(fleet: Fleet) -> None:
    verified = fleet.run("verify")
    assert (verified.returncode, verified.stderr) == (0, "")
    assert sorted(verified.stdout.splitlines()) == [
        f"{name}: new: no collection run has succeeded yet." for name in NAMES
    ]
    assert fleet.run("status").returncode == 6
    fleet.run("collect")
    fleet.project("blue")["path"] = str(fleet.directory / "archives/bleu")
    assert fleet.run("verify").returncode == 4


def test_an_archive_that_was_deleted_is_not_new(fleet: Fleet) -> None:
    fleet.run("collect")
    shutil.rmtree(fleet.path("blue"))
    fleet.path("blue").mkdir()
    verified = fleet.json("verify")
    assert verified["exit_status"] == 4
    assert [archive["exit_status"] for archive in verified["archives"]] == [4, 0, 0]


def test_the_status_counts_runs_without_entries_and_begins_with_a_failure(fleet: Fleet) -> None:
    fleet.simulator.set(clock_offset=timedelta(minutes=-5))
    fleet.run("collect")
    before = fleet.json("status")["archives"][0]
    fleet.simulator.set(clock_offset=timedelta(0))
    fleet.run("collect")
    after = fleet.json("status")["archives"][0]
    assert after["head"] == before["head"]
    assert after["covered_until"] > before["covered_until"]
    assert (before["failure"], before["last_verified"]) == (None, None)
    fleet.run("verify")
    fleet.tokens["blue"] = "wrong"
    fleet.run("collect")
    failed = fleet.json("status")["archives"][0]
    assert failed["failure"]["code"] == "unauthorized"
    assert failed["last_verified"] is not None
    assert "\nblue: The last run of collect failed" in fleet.run("status").stdout


def test_the_status_reports_a_verification_with_findings(fleet: Fleet) -> None:
    fleet.run("collect")
    fleet.run("verify")
    (data,) = (fleet.path("red") / "entries").glob("*/*")
    body = data.read_bytes()
    data.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    assert fleet.run("verify").returncode == 1
    failure = fleet.json("status")["archives"][2]["failure"]
    assert (failure["command"], failure["code"]) == ("verify", "archive_damaged")
    data.write_bytes(body)
    fleet.run("verify")
    assert fleet.json("status")["archives"][2]["failure"] is None


def test_a_project_with_a_longer_interval_waits_for_its_turn(fleet: Fleet) -> None:
    fleet.project("blue")["every"] = "1h"
    fleet.project("green")["every"] = "20s"
    assert len(fleet.json("collect")["archives"]) == 3
    assert [archive["name"] for archive in fleet.json("collect")["archives"]] == ["green", "red"]


def test_disabled_projects_are_skipped(fleet: Fleet) -> None:
    fleet.project("blue")["enabled"] = False
    assert [archive["name"] for archive in fleet.json("collect")["archives"]] == ["green", "red"]


def test_checking_without_an_enabled_project_is_an_error(fleet: Fleet) -> None:
    for project in fleet.projects:
        project["enabled"] = False
    for command in ("status", "verify", "reconcile"):
        result = fleet.run(command)
        assert (result.returncode, f"{command} has nothing to check" in result.stderr) == (2, True)
    assert fleet.run("collect").returncode == 0


def test_errors_name_the_keys_of_the_projects_file(fleet: Fleet) -> None:
    fleet.tokens["blue"] = "wrong"
    fleet.project("green")["api_url"] = "here"
    result = fleet.run("collect").stdout
    assert "check the entry blue of tokens.json and its project." in result
    assert "green: api_url 'here' is not a valid URL" in result


def test_the_metrics_of_each_project_are_a_file(fleet: Fleet) -> None:
    (fleet.directory / "metrics").mkdir()
    fleet.run("collect", "--metrics", str(fleet.directory / "metrics"))
    names = sorted(path.name for path in (fleet.directory / "metrics").iterdir())
    assert names == [f"cloudscale-audit-collect-{name}.prom" for name in NAMES]
    assert 'project="blue"' in (fleet.directory / "metrics" / names[0]).read_text()


def test_the_pin_of_each_project_is_saved_and_checked(fleet: Fleet) -> None:
    fleet.run("collect")
    for commit in (fleet.path("red") / "commits").iterdir():
        commit.unlink()
    collected = fleet.json("collect")
    assert [archive["exit_status"] for archive in collected["archives"]] == [0, 0, 1]


def test_heads_noted_elsewhere_are_checked(fleet: Fleet) -> None:
    result = fleet.run("collect").stdout
    heads = [line.partition(": head ")[2].split() for line in result.splitlines() if ": head " in line]
    assert len(heads) == 3
    records = [{"archive_id": head[0], "sequence": int(head[1]), "sha256": head[2]} for head in heads]
    (fleet.directory / "heads.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    fitting = fleet.json("verify", "--heads", str(fleet.directory / "heads.jsonl"))
    assert fitting["exit_status"] == 0
    assert [archive["heads"]["checked"] for archive in fitting["archives"]] == [1, 1, 1]
    (fleet.directory / "heads.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records[:2]))
    lacking = fleet.run("verify", "--heads", str(fleet.directory / "heads.jsonl"))
    assert lacking.returncode == 1
    assert "no noted head is of this archive" in lacking.stdout


def test_the_journal_of_each_project_has_a_bookmark_of_its_own(fleet: Fleet) -> None:
    fleet.run("collect")
    with Journald(fleet.directory / "journal") as journald:
        first = fleet.json("journal", "--socket", str(fleet.directory / "journal"))
        again = fleet.json("journal", "--socket", str(fleet.directory / "journal"))
        assert len(journald.messages) == 6
    assert [archive["entries"] for archive in first["archives"]] == [1, 2, 3]
    assert [archive["entries"] for archive in again["archives"]] == [0, 0, 0]


def test_prune_and_compact_follow_the_policy_of_each_project(fleet: Fleet) -> None:
    fleet.run("collect")
    fleet.project("blue")["retention"] = "3y"
    fleet.project("red")["compact_older_than"] = "7d"
    pruned = fleet.run("prune")
    assert pruned.returncode == 0
    assert "red: The project has no retention policy, so nothing is removed." in pruned.stdout
    assert "blue: 0 entries of 0 days in 0 files removed." in pruned.stdout
    compacted = fleet.run("compact")
    assert "blue: The project has no compaction policy, so nothing is merged." in compacted.stdout
    assert "red: 0 entries of 0 days in 0 files merged." in compacted.stdout


def test_a_slow_project_ends_at_its_limit_and_keeps_what_it_has(fleet: Fleet) -> None:
    fleet.simulator.script(Fault("status", status=503, times=1000, project="red"))
    collected = fleet.json("collect", "--time-limit", "5s")
    by_name = {archive["name"]: archive for archive in collected["archives"]}
    assert by_name["red"]["exit_status"] == 3
    assert "within the time limit" in by_name["red"]["msg"]
    assert by_name["blue"]["exit_status"] == by_name["green"]["exit_status"] == 0


def test_a_signal_ends_it_between_pages(fleet: Fleet) -> None:
    fleet.simulator.script(Fault("status", status=503, times=1000, project="red"))
    fleet.write()
    process = subprocess.Popen(
        fleet.command("collect"), env=fleet.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    lines = [process.stdout.readline() for _line in range(4)]
    assert all(line.startswith(("blue: ", "green: ")) for line in lines)
    process.send_signal(signal.SIGTERM)
    _printed, errors = process.communicate(timeout=20)
    assert process.returncode == 3
    assert "stopped" in errors


def test_several_paths_without_a_file(fleet: Fleet) -> None:
    fleet.run("collect")
    paths = [str(fleet.path(name)) for name in NAMES]
    command = [sys.executable, str(COMMAND)]
    found = fleet.call([*command, "verify", *paths])
    assert found.returncode == 0
    assert sorted(line.partition(": Intact")[0] for line in found.stdout.splitlines() if "Intact" in line) == paths
    assert fleet.call([*command, "collect", *paths]).returncode == 2
    assert fleet.call([*command, "verify", *paths, "--projects", str(fleet.file)]).returncode == 2
    missing = fleet.call([*command, "status", *paths, str(fleet.directory / "none"), "--json"])
    assert missing.returncode == 4
    assert [one["exit_status"] for one in json.loads(missing.stdout)["archives"]] == [0, 0, 0, 4]


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({"nmae": "x"}, "nmae (did you mean name?)"),
        ({"name": "Main"}, "not a valid name"),
        ({"path": "relative"}, "absolute path"),
        ({"every": "often"}, "not a valid duration"),
        ({"retention": "soon"}, "retention of project red"),
        ({"pin": 3}, "pin of project red"),
        ({"enabled": "yes"}, "enabled of project red"),
        ({"api_url": 7}, "api_url of project red"),
        ({"name": "blue"}, "two projects have the name 'blue'"),
    ],
)
def test_an_invalid_project_is_an_error_for_the_complete_file(
    fleet: Fleet, change: dict[str, Any], result: str
) -> None:
    fleet.project("red").update(change)
    refused = fleet.run("collect")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert result in refused.stderr
    assert not any(fleet.path("blue").iterdir())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 2, "projects": []}', "[" * 100_000])
def test_an_invalid_projects_file_is_an_error(fleet: Fleet, content: str) -> None:
    fleet.file.write_text(content)
    refused = fleet.call(fleet.command("status"))
    assert refused.returncode == 2
    assert "projects file" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_exit_status_is_the_worst_of_all() -> None:
    assert worst([]) == 0
    assert [worst([0, 6, 2, 3, 5, 4, 1, 70][:count]) for count in range(1, 9)] == [0, 6, 2, 3, 5, 4, 1, 70]


def test_the_state_of_runs_depends_on_the_path_of_the_archive(fleet: Fleet) -> None:
    fleet.write()
    environment = {
        **fleet.environment,
        "CLOUDSCALE_API_TOKEN": fleet.tokens["red"],
        "CLOUDSCALE_API_URL": fleet.simulator.url,
    }
    archive = str(fleet.directory / "alone")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(COMMAND), *arguments]
        return subprocess.run(
            command, env=environment, cwd=fleet.directory, capture_output=True, text=True, check=False
        )

    fleet.simulator.set(clock_offset=timedelta(minutes=-5))
    call("collect", archive)
    fleet.simulator.set(clock_offset=timedelta(0))
    call("collect", "alone")
    call("verify", "alone")
    found = json.loads(call("status", archive, "--json").stdout)
    assert found["last_verified"] is not None
    head = json.loads(next((fleet.directory / "alone/commits").iterdir()).read_text())
    assert found["covered_until"] > head["covered_until"]
    shutil.move(fleet.directory / "alone", fleet.directory / "moved")
    assert json.loads(call("status", "moved", "--json").stdout)["last_verified"] is None
