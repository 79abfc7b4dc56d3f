# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scripts that the role archiver runs on hosts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version

ROLE = Path(version.__file__).parents[2] / "roles/archiver"
CONFIG = "/etc/cloudscale-audit"


def script(name: str, tmp_path: Path, **constants: str) -> list[str]:
    """A copy of a script of the role, with other values for constants."""
    text = (ROLE / "files" / name).read_text()
    for constant, value in constants.items():
        text = re.sub(rf'^{constant} = "[^"]*"', f"{constant} = {value!r}", text, flags=re.MULTILINE)
    (tmp_path / name).write_text(text)
    return [sys.executable, str(tmp_path / name)]


def write_state(state: Path, name: str, **runs: Any) -> None:
    (state / name).mkdir(parents=True, exist_ok=True)
    (state / name / "state.json").write_text(json.dumps({"path": "/", "runs": runs}))


@pytest.mark.parametrize(("statuses", "worst"), [((0, 0), 0), ((5, 3), 5), ((0, 6), 6), ((3, 4), 4), ((2, 70), 70)])
def test_all_commands_run_and_the_worst_status_is_returned(
    tmp_path: Path, statuses: tuple[int, int], worst: int
) -> None:
    command = tmp_path / "command"
    command.write_text('#!/bin/sh\necho "$@"\nexit $2\n')
    command.chmod(0o755)
    run = script("run-each", tmp_path, COMMAND=str(command))
    first, second = statuses
    done = subprocess.run(
        [*run, "--", "collect", str(first), "--", "journal", str(second)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (worst, f"collect {first}\njournal {second}\n")


def test_only_projects_with_a_successful_run_are_pinged_and_no_url_is_printed(tmp_path: Path) -> None:
    requested = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        urls = {name: f"http://127.0.0.1:{server.server_port}/{name}" for name in ("good", "failed", "idle")}
        wrong = {
            f"wrong{number}": url for number, url in enumerate(("http://127.0.0.1:secret/", "http://a secret", "x"))
        }
        (tmp_path / "pings.json").write_text(json.dumps({**urls, **wrong}))
        command = tmp_path / "command"
        good = json.dumps({"runs": {"collect": {"succeeded": "2999-01-01T00:00:00.500000Z"}}})
        writes = "\n".join(f"echo '{good}' > {tmp_path}/{name}/state.json" for name in ("good", *wrong))
        command.write_text(f"#!/bin/sh\n{writes}\nexit 3\n")
        command.chmod(0o755)
        for name in ("good", "failed", *wrong):
            (tmp_path / name).mkdir()
        write_state(tmp_path, "idle", collect={"succeeded": "2026-01-01T00:00:00Z"})
        run = script("run-each", tmp_path, COMMAND=str(command), STATE=str(tmp_path))
        environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)}
        done = subprocess.run(
            [*run, "--ping", "--", "collect"], env=environment, capture_output=True, text=True, check=False
        )
        server.shutdown()
    assert (done.returncode, requested) == (3, ["/good"])
    assert sorted(done.stderr.splitlines()) == [f"{name}: the ping failed" for name in wrong]


def test_the_hook_runs_once_for_each_change(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (tmp_path / "projects.json").write_text(json.dumps({"projects": [{"name": "main"}, {"name": "other"}]}))
    hook = tmp_path / "hook"
    hook.write_text(
        '#!/bin/sh\necho "$1|$CLOUDSCALE_AUDIT_UNIT|$CLOUDSCALE_AUDIT_PROJECT|$CLOUDSCALE_AUDIT_STATE|'
        '$CLOUDSCALE_AUDIT_MESSAGE"\n[ ! -e broken ]\n'
    )
    hook.chmod(0o755)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text('#!/bin/sh\necho "Result=$(cat result 2>/dev/null || echo success)"\n')
    systemctl.chmod(0o755)
    run = script("report-failures", tmp_path, STATE=str(state), PROJECTS=str(tmp_path / "projects.json"))
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run_hook(kind: str = "collect") -> list[str]:
        done = subprocess.run(
            [*run, kind, str(hook), "x"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=False
        )
        return done.stdout.splitlines()

    unit = "cloudscale-audit-collect.service"
    good, bad = {"exit_status": 0}, {"exit_status": 3, "failure": {"msg": "No connection."}}
    write_state(state, "main", collect=good)
    assert run_hook() == []
    write_state(state, "main", collect=bad)
    (tmp_path / "broken").touch()
    assert run_hook() == [f"x|{unit}|main|failed|No connection."]
    (tmp_path / "broken").unlink()
    assert run_hook() == [f"x|{unit}|main|failed|No connection."]
    assert run_hook() == []
    write_state(state, "other", collect={"exit_status": 5})
    assert run_hook() == [f"x|{unit}|other|failed|collect ended with status 5; see journalctl --unit={unit}"]
    write_state(state, "main", collect=good)
    write_state(state, "other", collect=good)
    assert [line.split("|")[2:4] for line in run_hook()] == [["main", "recovered"], ["other", "recovered"]]
    (tmp_path / "result").write_text("exit-code")
    assert run_hook() == [f"x|{unit}||failed|The unit failed; see journalctl --unit={unit}"]
    (tmp_path / "result").write_text("success")
    assert [line.split("|")[2:4] for line in run_hook()] == [["", "recovered"]]


def test_a_key_is_created_once_and_replaced_by_the_next_key(tmp_path: Path) -> None:
    text = (ROLE / "files/keys.sh").read_text().replace(CONFIG, str(tmp_path))

    def keys(verb: str) -> list[str]:
        done = subprocess.run(["sh", "-s", verb, "one"], input=text, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert keys("show") == []
    created = keys("create")
    assert [line.split()[0] for line in created] == ["changed", "public"]
    assert keys("create") == keys("show") == created[1:]
    prepared = keys("prepare")
    assert [line.split()[0] for line in prepared] == ["changed", "public", "next"]
    assert keys("switch") == ["changed", prepared[2].replace("next ", "public ")]
    assert keys("switch") == keys("show")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sign_key"]
    assert (tmp_path / "sign_key").stat().st_mode & 0o777 == 0o600
