# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command as a process: arguments, exit statuses, signals and outputs."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.cli import main
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import COMMAND, Host


def test_an_unknown_flag_is_an_error_with_the_usage_of_the_subcommand(host: Host) -> None:
    for flag in ("--nonsense", "--dry", "--token"):
        refused = host.run("collect", host.archive, flag)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("usage: cloudscale-audit collect ")
        assert f"unrecognized arguments: {flag}" in refused.stderr


def test_an_internal_error_exits_with_70(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        ABOUT = "break"

        def add_arguments(self, parser: argparse.ArgumentParser) -> None:
            pass

        def run(self, options: argparse.Namespace, stop: threading.Event) -> int:
            return 1 // 0

    monkeypatch.setattr(main, "_load", lambda _name: Broken())
    assert main.main(["status", "nowhere"]) == 70
    result = capsys.readouterr()
    assert (result.out, "please report it" in result.err, "ZeroDivisionError" in result.err) == ("", True, True)


def test_a_command_imports_no_other_command(host: Host) -> None:
    result = "import atexit, runpy, sys; atexit.register(lambda: print(*sys.modules)); sys.argv[:] = sys.argv[1:]; "
    code = result + f"runpy.run_path({str(COMMAND)!r}, run_name='__main__')"
    imported = host._call([sys.executable, "-c", code, "cloudscale-audit", "collect", host.archive], {}).stdout
    assert set(re.findall(r"\.cli\.commands\.(\w+)", imported)) == {"collect"}


def test_a_closed_pipe_is_not_an_error(host: Host, simulator: Simulator) -> None:
    simulator.project("main").log.append(action="x", message="m" * 1_000_000)
    host.run("collect", host.archive)
    command = f"{sys.executable} {COMMAND} cat {host.archive} | head -c 10; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "result"),
    [
        ([], 2, "usage:"),
        (["verify", "archive", "--expected-head", "42"], 2, "is not a valid head"),
        (["collect", "archive", "--start", "soon"], 2, "--start: 'soon' is not a valid time"),
        (["collect", "archive", "--token-file", "nowhere"], 2, "token file nowhere cannot be read"),
        (["collect", "archive", "--api-url", "http://api.cloudscale.ch/v1"], 2, "unencrypted"),
        (["status", "nowhere"], 4, "There is no archive in"),
        (["verify", "nowhere"], 4, "There is no archive in"),
        (["cat", "nowhere"], 4, "There is no archive in"),
        (["reconcile", "nowhere"], 4, "There is no archive in"),
        (["compact", "nowhere"], 4, "There is no archive in"),
        (["prune", "nowhere", "--older-than", "3y"], 4, "There is no archive in"),
        (["prune", "nowhere"], 2, "--older-than"),
        (
            ["prune", "nowhere", "--older-than", "3 years"],
            2,
            "--older-than: '3 years' is not a valid age; use 3y, 1095d",
        ),
        (["prune", "nowhere", "--older-than", "2999-01-01"], 2, "is in the future; use 3y, 1095d"),
        (["collect", ""], 2, "path: '' is not a valid archive path"),
        (["verify", " "], 2, "path: ' ' is not a valid archive path"),
        (["collect", "S3://audit/shop"], 2, "path: 'S3://audit/shop' is not a valid archive path"),
        (["collect", "/etc/hostname"], 4, "/etc/hostname is a file, but an archive is a directory"),
        (["verify", "/etc/hostname"], 4, "/etc/hostname is a file, but an archive is a directory"),
        (["collect", "archive", "--api-url", "https://127.0.0.1:9/v1"], 3, "No connection to 127.0.0.1:9"),
    ],
)
def test_exit_codes_of_failures(host: Host, arguments: list[str], code: int, result: str) -> None:
    done = host.run(*arguments)
    assert done.returncode == code
    assert result in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "result"),
    [
        (["cat", "--start", "soon"], {}, "--start: 'soon' is not a valid time"),
        (["cat", "--start", "2026-11-22", "--end", "2026-11-21"], {}, "is before --start (2026-11-22T00:00:00Z)"),
        (["cat", "--limit", "0"], {}, "--limit must be a whole number"),
        (["cat", "--actor", "x", "--actor", ""], {}, "--actor: item 2 of 2 is empty"),
        (["cat", "--action", "x", "--action", ""], {}, "--action: item 2 of 2 is empty"),
        (["cat", "--ip-network", "x"], {}, "--ip-network: 'x' is not a valid network"),
        (["cat", "--message-pattern", "["], {}, "--message-pattern: '[' is not a valid regular expression"),
        (["export", "--dest", "x.txt"], {}, "--dest: x.txt has an unsupported format"),
        (["export", "--dest", "nowhere/x.csv"], {}, "--dest: the directory "),
        (["prune", "--older-than", "30"], {}, "--older-than: '30' is not a valid age"),
        (
            ["collect"],
            {"CLOUDSCALE_API_TOKEN": ""},
            "No API token. Pass --token-file FILE or set CLOUDSCALE_API_TOKEN.",
        ),
        (["collect"], {"CLOUDSCALE_API_TOKEN": "a b"}, "CLOUDSCALE_API_TOKEN is malformed"),
        (["collect", "--token-file", "bad"], {}, "--token-file is malformed"),
        (["collect", "--token-file", "unknown"], {}, "check --token-file and its project"),
        (["collect"], {"CLOUDSCALE_API_TOKEN": "x" * 40}, "check CLOUDSCALE_API_TOKEN and its project"),
        (["collect"], {"CLOUDSCALE_API_URL": "here"}, "CLOUDSCALE_API_URL 'here' is not a valid URL"),
        (["collect", "--api-url", "here"], {}, "--api-url 'here' is not a valid URL"),
        (["collect", "--api-url", "http://127.0.0.1:9"], {}, "check --api-url and the network"),
        (["collect", "--api-timeout", "x"], {}, "--api-timeout: 'x' is not a number"),
        (["collect", "--api-retry-budget", "-1"], {}, "--api-retry-budget must be at least 0"),
        (["collect", "--ca-path", "nowhere"], {}, "--ca-path: nowhere does not exist"),
        (["collect", "--time-zone", "Zurich"], {}, "--time-zone: 'Zurich' is not a time zone"),
        (["collect", "--start", "2999-01-01"], {}, "--start: 2999-01-01T00:00:00Z is in the future"),
        (["collect", "--metrics", "nowhere/m.prom"], {}, "--metrics: the directory "),
        (["reconcile", "--start", "soon"], {}, "--start: 'soon' is not a valid time"),
        (["verify", "--max-lag", "soon"], {}, "--max-lag: 'soon' is not a valid duration"),
    ],
)
def test_errors_name_flags_as_they_are_typed(
    host: Host, arguments: list[str], environment: dict[str, str], result: str
) -> None:
    (host.directory / "bad").write_text("a b")
    (host.directory / "unknown").write_text("x" * 40)
    command, *more = arguments
    if command != "collect":
        host.run("collect", host.archive)
    done = host.run(command, host.archive, *more, **environment)
    assert done.returncode in (2, 3)
    assert result in done.stderr
    options = r"\b(api_token|api_url|api_timeout|api_retry_budget|ca_path|ip_networks|message_pattern)\b"
    assert not re.search(options, done.stderr)


def test_the_launcher_alone_reports_the_missing_program(tmp_path: Path) -> None:
    alone = shutil.copy(COMMAND, tmp_path)
    result = subprocess.run([sys.executable, alone, "status", "."], capture_output=True, text=True, check=False)
    lacks = (
        f"cloudscale-audit: {tmp_path} does not contain the program; copy the complete collection, or reinstall it.\n"
    )
    assert (result.returncode, result.stderr) == (2, lacks)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_that_only_reads(host: Host, simulator: Simulator, number: signal.Signals) -> None:
    simulator.project("main").log.append(message="x" * (1 << 20))
    host.run("collect", host.archive)
    command = [sys.executable, str(COMMAND), "cat", host.archive]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reading:
        assert reading.stdout is not None
        reading.stdout.read(1)  # the command runs, and blocks once the pipe is full
        reading.send_signal(number)
        result = reading.communicate(timeout=30)[1]
    assert (reading.returncode, result) == (3, "cloudscale-audit: The command was stopped before it finished.\n")


@pytest.mark.parametrize("command", ["status", "cat"])
def test_an_unwritable_output_is_not_a_finding(host: Host, command: str) -> None:
    host.run("collect", host.archive)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, str(COMMAND), command, host.archive], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (
        4,
        b"cloudscale-audit: Standard output cannot be written: No space left on device.\n",
    )


@pytest.mark.parametrize("output", ["> /dev/full", "| true", ">&-", "2> /dev/full", "2>&-"])
def test_a_failure_keeps_its_exit_status_if_its_output_fails(host: Host, output: str) -> None:
    command = f"{sys.executable} {COMMAND} status nowhere --json {output}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=host.directory, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "Exception" not in done.stderr
    assert "Traceback" not in done.stderr
    if output.startswith("2>"):
        assert json.loads(done.stdout)["failure"]["code"] == "storage"


def test_a_full_disk_under_all_output_is_not_a_finding(host: Host) -> None:
    host.run("collect", host.archive)
    full = f"{sys.executable} {COMMAND} status {host.archive} > /dev/full 2>&1"
    assert subprocess.run(["bash", "-c", full], check=False).returncode == 4


def test_a_closed_output_is_not_a_finding(host: Host) -> None:
    host.run("collect", host.archive)
    for command in ("status", "cat"):
        closed = f"{sys.executable} {COMMAND} {command} {host.archive} >&-"
        done = subprocess.run(["bash", "-c", closed], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_what_the_output_cannot_encode_is_escaped(host: Host) -> None:
    archive = str(host.directory / "\u2192")
    environment = {"PYTHONUTF8": "1", "PYTHONIOENCODING": "latin-1"}
    host.run("collect", archive, **environment)
    result = host.run("status", archive, **environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"archive        {host.directory}/\\u2192\n" in result.stdout
