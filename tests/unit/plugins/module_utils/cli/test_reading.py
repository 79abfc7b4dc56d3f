# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cat and history print, on a terminal and into a pipe, for people and for programs."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.schemas import to_ecs, to_ocsf
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

COMMAND = Path(version.__file__).parents[2] / "bin/cloudscale-audit"
FORMATS = ("table", "jsonl", "csv", "markdown", "ecs", "ocsf")
NOW = datetime.now(timezone.utc)
JOHANNA = {"user": {"email": "johanna@example.com"}}
CI = {"api_token": {"uuid": "0a1b", "description": "ci deploy"}}
SHOP = [
    ("server_create", "Server 'test' has been created", JOHANNA),
    ("server_update", "Server 'test' has been renamed to 'web'", CI),
    ("server_reboot", "Server 'web' has been rebooted", CI),
    ("server_delete", "Server 'web' has been deleted", JOHANNA),
]
BLOG = [("server_create", "Server 'web' has been created", CI), ("volume_create", "Volume 'data' has been created", CI)]
HOSTILE = [
    "Server '\x1b[2J\x1b]0;owned\x07' has been created",
    "Server 'c1 \x9b31m' has been created",
    "Server '\u202egnp.exe' has been created",
    "Server 'new\nline\r' has been created",
    "Server '\x7f' has been created",
    "=HYPERLINK(1)",
    "| `a` | <script>",
    "half \ud800 of a pair",
]
UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]")


class Host:
    """A host with the archives of two projects, collected once."""

    def __init__(self, directory: Path, simulator: Simulator) -> None:
        self.directory = directory
        self.simulator = simulator
        self.shop, self.blog = str(directory / "shop"), str(directory / "blog")
        self.environment = {
            "PATH": os.defpath,
            "HOME": str(directory),
            "CLOUDSCALE_API_URL": simulator.url,
            "TERM": "xterm",
        }

    def append(self, project: str, changes: list[Any], ago: float) -> None:
        """Entries ten minutes apart; the first one is from so many minutes ago."""
        log = self.simulator.project(project).log
        for number, (action, message, actor) in enumerate(changes):
            moment = NOW - timedelta(minutes=ago - 10 * number)
            log.append(action=action, message=message, actor=actor, timestamp=moment)

    def token(self, project: str) -> str:
        path = self.directory / f"{project}.token"
        path.write_text(self.simulator.project(project).token)
        return str(path)

    def run(self, *arguments: str, code: int = 0, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, str(COMMAND), *arguments],
            env={**self.environment, **environment},
            cwd=self.directory,
            capture_output=True,
            timeout=120,
            check=False,
        )
        result = done.stderr.decode()
        assert (done.returncode, result if code == 0 else "") == (code, ""), result
        return result if code else done.stdout.decode("utf-8", "surrogateescape")

    def on_terminal(self, *arguments: str, **environment: str) -> str:
        """What a terminal gets."""
        ours, theirs = pty.openpty()
        variables = {**self.environment, "PYTHONUTF8": "1", **environment}
        process = subprocess.Popen([sys.executable, str(COMMAND), *arguments], env=variables, stdout=theirs)
        os.close(theirs)
        got = b""
        try:
            while piece := os.read(ours, 1 << 16):
                got += piece
        except OSError:  # Linux reports the end of a terminal as an error
            pass
        finally:
            os.close(ours)
        assert process.wait(timeout=60) == 0
        return got.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        running.add_project("shop")
        running.add_project("blog")
        running.add_project("strange")
        yield running


@pytest.fixture(scope="module")
def host(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Host:
    made = Host(tmp_path_factory.mktemp("host"), simulator)
    made.append("shop", SHOP, 100)
    made.append("blog", BLOG, 95)
    made.append("strange", [("server_create", message, JOHANNA) for message in HOSTILE], 90)
    for project in ("shop", "blog", "strange"):
        path = str(made.directory / project)
        made.run("collect", path, "--project", project, "--token-file", made.token(project))
    return made


def entries(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


# --- cat


def test_cat_merges_archives_by_time(host: Host) -> None:
    found = entries(host.run("cat", host.blog, host.shop))
    assert [entry["timestamp"] for entry in found] == sorted(entry["timestamp"] for entry in found)
    assert {entry["subject"]["project"]["name"] for entry in found} == {"shop", "blog"}
    assert len(found) == len(SHOP) + len(BLOG)
    newest = entries(host.run("cat", host.blog, host.shop, "--limit", "2"))
    assert newest == found[-2:]
    assert entries(host.run("cat", host.shop)) == host.simulator.project("shop").log.entries


def test_cat_selects_by_resource(host: Host) -> None:
    found = entries(host.run("cat", host.blog, host.shop, "--resource", "test", "--resource", "d?ta"))
    assert [entry["message"] for entry in found] == [SHOP[0][1], SHOP[1][1], BLOG[1][1]]


def test_a_terminal_gets_a_table_and_a_pipe_gets_json_lines(host: Host) -> None:
    in_pipe = host.run("cat", host.shop)
    assert all(line.startswith('{"action":') for line in in_pipe.splitlines())
    lines = host.on_terminal("cat", host.shop, NO_COLOR="1").splitlines()
    assert re.split(r"  +", lines[0]) == ["When", "Who", "From", "Action", "Resource", "What"]
    created = ["server_create", "server test", SHOP[0][1]]
    assert re.split(r"  +", lines[1])[1:] == ["johanna@example.com", "192.0.2.10", *created]
    assert len({line.index(action) for line, (action, _message, _actor) in zip(lines[1:], SHOP)}) == 1
    assert host.on_terminal("cat", host.shop, "--format", "jsonl").splitlines() == in_pipe.splitlines()
    assert host.run("cat", host.shop, "--format", "table").splitlines() == lines


def test_a_narrow_terminal_gets_no_column_for_the_resource(host: Host) -> None:
    wide = host.on_terminal("cat", host.shop, NO_COLOR="1").splitlines()
    needed = max(map(len, wide))
    assert host.on_terminal("cat", host.shop, NO_COLOR="1", COLUMNS=str(needed)).splitlines() == wide
    narrow = host.on_terminal("cat", host.shop, NO_COLOR="1", COLUMNS=str(needed - 1)).splitlines()
    assert re.split(r"  +", narrow[0]) == ["When", "Who", "From", "Action", "What"]
    assert [re.split(r"  +", line)[-2:] for line in narrow[1:]] == [list(change[:2]) for change in SHOP]
    assert host.run("cat", host.shop, "--format", "table", COLUMNS="10").splitlines() == wide


def test_several_archives_have_a_column_for_the_project(host: Host) -> None:
    lines = host.run("cat", host.shop, host.blog, "--format", "table").splitlines()
    assert re.split(r"  +", lines[0])[1] == "Project"
    assert [re.split(r"  +", line)[1] for line in lines[1:3]] == ["shop", "blog"]
    copy = host.directory / "copy"
    subprocess.run(["cp", "-R", host.shop, str(copy)], check=True)
    result = host.run("cat", host.shop, str(copy), "--format", "csv").splitlines()
    assert {row["project"] for row in csv.DictReader(result)} == {host.shop, str(copy)}


@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_can_be_turned_off(host: Host, environment: dict[str, str], is_coloured: bool) -> None:
    text = host.on_terminal("cat", host.shop, **environment)
    assert ("\x1b[" in text) == is_coloured
    if is_coloured:
        lines = text.splitlines()
        assert [line[: line.index("m") + 1] for line in (lines[0], lines[1], lines[4])] == [
            "\x1b[1m",
            "\x1b[32m",
            "\x1b[31m",
        ]
        assert all(line.endswith("\x1b[0m") == line.startswith("\x1b[") for line in lines)
    assert "\x1b" not in host.run("cat", host.shop, "--format", "table", **environment)


def test_times_are_local_with_their_offset(host: Host) -> None:
    line = host.run("cat", host.shop, "--format", "table", "--time-zone", "Asia/Kathmandu").splitlines()[1]
    local = (NOW - timedelta(minutes=100)).astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert line.startswith(f"{local:%Y-%m-%d %H:%M:%S} +05:45  ")
    (row, *_more) = csv.DictReader(
        host.run("cat", host.shop, "--format", "csv", "--time-zone", "Asia/Kathmandu").splitlines()
    )
    assert row["time"] == f"{local:%Y-%m-%d %H:%M:%S}"
    assert "is not a time zone" in host.run("cat", host.shop, "--time-zone", "Nowhere", code=2)


def test_programs_get_csv_and_events(host: Host) -> None:
    rows = list(csv.DictReader(host.run("cat", host.shop, "--format", "csv").splitlines()))
    assert [(row["message"], row["resource_kind"], row["resource"]) for row in rows] == [
        (message, "server", "test" if "test" in message else "web") for _action, message, _actor in SHOP
    ]
    raw = entries(host.run("cat", host.shop))
    assert entries(host.run("cat", host.shop, "--format", "ecs")) == list(map(to_ecs, raw))
    assert entries(host.run("cat", host.shop, "--format", "ocsf")) == list(map(to_ocsf, raw))
    head, line, *more = host.run("cat", host.shop, "--format", "markdown").splitlines()
    assert (head, line) == ("| When | Who | From | Action | Resource | What |", "| --- | --- | --- | --- | --- | --- |")
    assert len(more) == 4
    assert more[0].endswith("| `server_create` | `server test` | `Server 'test' has been created` |")


@pytest.mark.parametrize("chosen", [name for name in FORMATS if name != "jsonl"])
def test_hostile_entries_stay_text(host: Host, chosen: str) -> None:
    path = str(host.directory / "strange")
    text = host.run("cat", path, "--format", chosen)
    assert not UNSEEN.search(text)
    lines = len(HOSTILE) + {"table": 1, "csv": 1, "markdown": 2}.get(chosen, 0)
    assert len(text.splitlines()) == len(text.split("\n")) - 1 == lines
    on_terminal = host.on_terminal("cat", path, "--format", chosen, NO_COLOR="1")
    assert not UNSEEN.search(on_terminal)
    assert len(on_terminal.split("\n")) - 1 == lines


def test_json_lines_are_the_entries_as_they_were_received(host: Host) -> None:
    found = entries(host.run("cat", str(host.directory / "strange"), "--format", "jsonl"))
    assert found == host.simulator.project("strange").log.entries


def test_csv_contains_no_formulas_and_markdown_no_markup(host: Host) -> None:
    path = str(host.directory / "strange")
    messages = [row["message"] for row in csv.DictReader(host.run("cat", path, "--format", "csv").splitlines())]
    assert "'=HYPERLINK(1)" in messages
    assert r"``\| `a` \| <script>``" in host.run("cat", path, "--format", "markdown")


def test_a_path_without_an_archive_is_an_error_before_any_output(host: Host) -> None:
    for command in (["cat"], ["history", "web"]):
        assert "There is no archive in" in host.run(*command, host.shop, "nowhere", code=4)


# --- history


def test_the_history_of_a_resource_over_all_archives(host: Host) -> None:
    lines = host.run("history", "web", host.shop, host.blog, "--time-zone", "Europe/Zurich").splitlines()
    assert re.split(r"  +", lines[0]) == ["When", "Project", "Who", "From", "Action", "Resource", "What"]
    cells = [re.split(r"  +", line)[1:] for line in lines[1:6]]
    assert [cell[0] for cell in cells] == ["shop", "blog", "shop", "shop", "shop"]
    assert [cell[-1] for cell in cells] == [SHOP[0][1], BLOG[0][1], *(change[1] for change in SHOP[1:])]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0[12]:00  ", line) for line in lines[1:6])
    assert lines[7] == "5 entries about web."
    assert re.match(r"shop: the resource was also named test \(until \S+ \S+ \+0[12]:00\)\.$", lines[8])
    assert re.match(r"shop: the archive covers \S+ \S+ \S+ to \S+ \S+ \S+\.$", lines[9])
    assert lines[10].startswith("blog: the archive covers ")


def test_a_projects_file_names_the_archives(host: Host) -> None:
    file = host.directory / "projects.json"
    (host.directory / "new").mkdir(exist_ok=True)
    paths = {"one": host.shop, "two": host.blog, "new": str(host.directory / "new")}
    projects: list[dict[str, Any]] = [{"name": name, "path": path} for name, path in paths.items()]
    file.write_text(json.dumps({"version": 1, "projects": projects}))
    command = [sys.executable, str(COMMAND), "history", "web", "--projects", str(file)]
    done = subprocess.run(command, env=host.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "new: no collection run has succeeded yet.\n")
    lines = done.stdout.splitlines()
    assert [re.split(r"  +", line)[1] for line in lines[1:6]] == ["one", "two", "one", "one", "one"]
    file.write_text(json.dumps({"version": 1, "projects": [*projects[:2], {**projects[2], "enabled": False}]}))
    assert len(entries(host.run("cat", "--projects", str(file)))) == len(SHOP) + len(BLOG)
    assert "not both" in host.run("cat", host.shop, "--projects", str(file), code=2)
    assert "pass ARCHIVE" in host.run("cat", code=2)


def test_programs_get_a_list_of_entries(host: Host) -> None:
    found = json.loads(host.run("history", "test", host.shop, host.blog, "--json"))
    assert found == host.simulator.project("shop").log.entries[:4]
    assert json.loads(host.run("history", "nobody", host.shop, "--json")) == []
    assert len(json.loads(host.run("history", "test", host.shop, "--json", "--limit", "1"))) == 1
    chosen = json.loads(host.run("history", "test", host.shop, "--json", "--actor", "ci *", "--action", "*_reboot"))
    assert [entry["message"] for entry in chosen] == [SHOP[2][1]]


def test_a_history_without_entries_is_reported(host: Host) -> None:
    text = host.run("history", "nobody\x1b", host.shop)
    assert text.startswith("No entry is about nobody\ufffd.\nshop: the archive covers ")
    assert "RESOURCE is empty" in host.run("history", " ", host.shop, code=2)


def test_a_history_on_a_terminal_has_colours(host: Host) -> None:
    assert "\x1b[32m" in host.on_terminal("history", "web", host.shop)
    assert "\x1b" not in host.on_terminal("history", "web", host.shop, NO_COLOR="yes")


def test_history_of_archives_needs_no_token(host: Host) -> None:
    text = host.run("history", "web", host.shop, CLOUDSCALE_API_URL="", PYTHONPATH=str(host.directory / "no"))
    assert "4 entries about web." in text


def test_with_a_token_the_api_continues(host: Host, tmp_path: Path) -> None:
    project = host.simulator.add_project("late")
    host.append("late", SHOP[:2], 60)
    archive, token = str(tmp_path / "late"), host.token("late")
    host.run("collect", archive, "--project", "late", "--token-file", token)
    project.log.append(action="server_delete", message="Server 'web' has been deleted")
    without, with_api = (host.run("history", "test", archive, *more) for more in ((), ("--token-file", token)))
    assert "2 entries about test." in without
    assert "3 entries about test." in with_api
    assert with_api.endswith("; later entries come from the API.\n")
    alone = host.run("history", "web", CLOUDSCALE_API_TOKEN=project.token)
    assert "3 entries about web." in alone
    assert alone.endswith("late: the entries come from the API, which keeps 90 days.\n")
    other = json.loads(host.run("history", "web", host.shop, "--token-file", token, "--json"))
    assert [entry["subject"]["project"]["name"] for entry in other] == ["shop"] * 4 + ["late"] * 3


def test_a_rejected_token_is_reported_before_any_output(host: Host) -> None:
    wrong = host.directory / "wrong.token"
    wrong.write_text("wrong")
    result = host.run("history", "web", host.shop, "--token-file", str(wrong), code=3)
    assert result.startswith("cloudscale-audit: ")
    assert "wrong.token" not in result.split("\n")[1:]
