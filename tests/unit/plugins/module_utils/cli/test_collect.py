# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Collection runs of the command: state, tokens, pins and signatures."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import COMMAND, Host


def test_collect_status_verify_and_cat(host: Host, simulator: Simulator) -> None:
    collected = host.run("collect", host.archive, "--project", "shop")
    assert (collected.returncode, collected.stderr) == (0, "")
    assert collected.stdout.startswith("7 entries added in 1 commit.\nState: current.")
    again = host.run("collect", host.archive)
    assert again.stdout.startswith("0 entries added in 0 commits.")
    result = host.run("status", host.archive)
    assert result.returncode == 0
    assert re.search(r"^project +shop$", result.stdout, re.MULTILINE)
    assert re.search(r"^state +current$", result.stdout, re.MULTILINE)
    verified = host.run("verify", host.archive)
    assert verified.returncode == 0
    assert verified.stdout.startswith("Intact: 7 entries in 1 commit, covering ")
    lines = host.run("cat", host.archive).stdout.splitlines()
    assert [json.loads(line) for line in lines] == simulator.project("main").log.entries


def test_status_begins_with_whether_the_archive_is_caught_up(host: Host, simulator: Simulator) -> None:
    for days, verdict, deadline in [
        (0, r"Caught up: the archive has all entries until \S+Z, just now\.", r"in 89 days 23 h"),
        (-2, r"NOT caught up: nothing was read since \S+Z, 2 days ago\. No entry is lost if", r"in 87 days 23 h"),
        (-91, r"NOT caught up: nothing was read since \S+Z, 91 days ago\. Since \S+Z the provider", r"1 day ago"),
    ]:
        archive = str(host.directory / f"of {days}")
        host.collect_at(simulator, archive, days)
        first, *rows = host.run("status", archive).stdout.splitlines()
        assert re.match(verdict, first)
        assert re.search(rf"^deadline +\S+Z \({deadline}\)$", "\n".join(rows), re.MULTILINE)


def test_status_exits_by_the_state(host: Host, simulator: Simulator) -> None:
    for days, status in ((0, 0), (-2, 6), (-91, 6)):
        archive = str(host.directory / f"of {days}")
        host.collect_at(simulator, archive, days)
        assert host.run("status", archive).returncode == status


def test_status_of_a_backlog(host: Host, simulator: Simulator) -> None:
    old = simulator.add_project("old")
    for minutes in range(9):
        old.log.append(timestamp=datetime.now(timezone.utc) - timedelta(minutes=60 - minutes))
    simulator.script(Fault("pass"), Fault("status", status=403, times=9))
    host.run("collect", host.archive, CLOUDSCALE_API_TOKEN=old.token)
    result = host.run("status", host.archive)
    failed, verdict, *_rows = result.stdout.splitlines()
    assert failed.startswith("The last run of collect failed: ")
    assert re.match(r"NOT caught up: at \S+Z, 1 h ago, there was more to read\.", verdict)


def test_offline_commands_need_neither_token_nor_network_nor_requests(host: Host) -> None:
    host.run("collect", host.archive)
    for command in ("status", "verify", "cat"):
        assert host.run_without_requests(command, host.archive).returncode == 0
    missing = host.run_without_requests("collect", host.archive)
    assert (missing.returncode, "requests is missing" in missing.stderr) == (2, True)


@pytest.mark.parametrize("hours", [1, 60 * 24])
def test_an_archive_that_ends_in_the_future_is_not_reported_as_caught_up(
    host: Host, simulator: Simulator, hours: int
) -> None:
    host.collect_at(simulator, host.archive, hours / 24)
    result = host.run("status", host.archive)
    assert result.returncode == 6
    distance = "59 min" if hours == 1 else "59 days 23 h"
    assert re.match(
        rf"NOT known to be caught up: the archive ends at \S+Z, in {distance} by this host's", result.stdout
    )
    assert host.json("status", host.archive)["state"] == "stale"
    assert "just now" not in result.stdout


@pytest.mark.usefixtures("key")
def test_collect_signs_commits(host: Host, simulator: Simulator) -> None:
    assert host.run("collect", host.archive, "--sign-key", "key", "--dry-run").returncode == 0
    assert host.run("collect", host.archive, "--sign-key", "key").returncode == 0
    signed = host.run("verify", host.archive, "--allowed-signers", "allowed")
    assert (signed.returncode, signed.stdout.startswith("Intact:")) == (0, True)
    *_more, since, newest = signed.stdout.splitlines()
    assert since == "Signed from commit 1 on."
    assert newest == "Commit 1 is signed by an allowed signer; only its signature was checked."
    assert host.run("collect", host.archive, "--sign-key", "key").returncode == 0
    assert len(list(Path(host.archive, "signatures").iterdir())) == 1
    simulator.project("main").log.append()
    refused = host.run("collect", host.archive)
    assert (refused.returncode, "this run has no key" in refused.stderr) == (2, True)
    host.run("collect", host.archive, "--sign-key", "key")
    result = host.json("verify", host.archive, "--allowed-signers", "allowed", "--every-signature")
    assert (result["signed_from"], result["signed_up_to"]) == (1, 2)
    assert (result["signer_allowed"], result["every_signature"]) == (True, True)
    result = host.json("verify", host.archive)
    assert (result["signer_allowed"], result["every_signature"]) == (False, False)
    assert host.run("verify", host.archive, "--signed-from", "1").returncode == 0
    state = host.directory / ".local/state/cloudscale-audit"
    assert len(list(state.iterdir())) == 1
    (host.directory / "allowed").write_text("nobody\n")
    assert host.run("verify", host.archive, "--allowed-signers", "allowed").returncode == 1
    assert host.run("verify", host.archive, "--allowed-signers", "nowhere").returncode == 2
    assert host.run("collect", host.archive, "--sign-key", "nowhere").returncode == 2


def test_json_output(host: Host) -> None:
    dry = host.json("collect", host.archive, "--dry-run")
    assert (dry["added"], dry["commits_added"]) == (7, 1)
    assert not Path(host.archive).exists()
    done = host.json("collect", host.archive)
    assert host.json("status", host.archive)["head"] == done["head"]
    status = host.json("status", host.archive)
    verified = host.json("verify", host.archive)
    signed = {"signed_from": None, "signed_up_to": None, "signer_allowed": None, "every_signature": None}
    outside = {"heads": None, "timestamps": None}
    assert verified == {"intact": True, "findings": [], "status": status, "current": None, **outside, **signed}
    failed = json.loads(host.run("status", "nowhere", "--json").stdout)
    assert failed["failure"] == {"code": "storage", "http_status": None, "retryable": False}


@pytest.mark.usefixtures("key")
def test_errors_about_a_signed_archive_name_flags(host: Host) -> None:
    host.run("collect", host.archive, "--sign-key", "key")
    unsigned = host.run("compact", host.archive)
    assert "this run has no key; set --sign-key." in unsigned.stderr


def test_a_start_of_an_existing_archive_is_ignored_with_a_warning(host: Host) -> None:
    assert host.run("collect", host.archive, "--start", "2026-11-22").stderr == ""
    again = host.run("collect", host.archive, "--start", "2026-11-22")
    assert (again.returncode, again.stderr) == (0, "")
    other = host.run("collect", host.archive, "--start", "-1d")
    assert (other.returncode, other.stderr) == (
        0,
        "cloudscale-audit: warning: --start is ignored, because the archive exists already and covers the log from "
        "2026-11-22T00:00:00Z.\n",
    )


def test_texts_show_times_in_a_time_zone(host: Host, simulator: Simulator) -> None:
    zone = ("--time-zone", "Asia/Kolkata")
    collected = host.run("collect", host.archive, *zone)
    assert re.search(r"Covered until \S+\+05:30\.$", collected.stdout, re.MULTILINE)
    for command in ("status", "verify", "reconcile"):
        result = host.run(command, host.archive, *zone)
        assert result.returncode == 0
        times = re.findall(r"\d{4}-\d\d-\d\dT[\d:]+(\S*?)[,.:]?(?=\s)", result.stdout)
        assert times
        assert set(times) == {"+05:30"}
    log, now = simulator.project("main").log, datetime.now(timezone.utc)
    midnight = (now - timedelta(days=2)).replace(hour=18, minute=30, second=0, microsecond=0)
    log.append(timestamp=midnight - timedelta(seconds=1))
    log.append(timestamp=midnight)
    host.run("collect", host.archive)
    day = f"{midnight + timedelta(hours=6):%Y-%m-%d}"
    compared = host.run("reconcile", host.archive, "--start", day, *zone).stdout
    assert f"from {day}T00:00:00+05:30 to " in compared


class Terminal:
    """A terminal on which a command writes its errors."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, *arguments: str) -> str:
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "rb", buffering=0) as shown:
            subprocess.run(
                [sys.executable, str(COMMAND), *arguments],
                env=self._host.environment,
                stdout=subprocess.DEVNULL,
                stderr=theirs,
                timeout=60,
                check=True,
            )
            os.close(theirs)
            return shown.read(1 << 16).decode()


def test_progress_is_one_line(host: Host, simulator: Simulator) -> None:
    log, now = simulator.project("main").log, datetime.now(timezone.utc)
    for days in (5, 4, 3):
        log.append(timestamp=now - timedelta(days=days))
    for command in ("collect", "reconcile"):
        shown = Terminal(host).run(command, host.archive)
        assert shown.count("\n") == 1
        *_before, last = shown.strip().split("\r")
        assert re.match(r"\d+ entries read, up to \d{4}-\d\d-\d\dT[\d:]+Z *$", last)


def test_a_gap_exits_with_5(host: Host, simulator: Simulator) -> None:
    host.collect_at(simulator, host.archive, -120)
    simulator.script(Fault("status", status=410, cursor=True))
    late = host.run("collect", host.archive)
    assert late.returncode == 5
    assert "GAP from" in late.stdout
    assert host.run("verify", host.archive).returncode == 0


def test_a_token_rotated_during_a_run_is_read_again(host: Host, simulator: Simulator) -> None:
    project, file = simulator.project("main"), host.directory / "token"
    file.write_text(f"{project.token}\n")

    def rotate() -> None:
        simulator.before_page(None)
        file.write_text(project.rotate_token())

    simulator.before_page(rotate)
    assert host.run("collect", host.archive, "--token-file", str(file)).returncode == 0
    kept = [json.loads(line) for line in host.run("cat", host.archive).stdout.splitlines()]
    assert kept == project.log.entries
    assert host.run("verify", host.archive).returncode == 0


def test_a_rejected_token_is_sent_once(host: Host, simulator: Simulator) -> None:
    (host.directory / "token").write_text("a-token-that-was-revoked-0123456789")
    refused = host.run("collect", host.archive, "--token-file", "token")
    assert (refused.returncode, len(simulator.requests)) == (3, 1)
    assert "revoked" not in refused.stderr


def test_a_rejected_token_from_a_pipe_is_reported_as_rejected(host: Host) -> None:
    command = f"{sys.executable} {COMMAND} collect archive --token-file <(echo a-token-that-was-revoked-0123456789)"
    refused = subprocess.run(
        ["bash", "-c", command], env=host.environment, cwd=host.directory, capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "does not accept the token" in refused.stderr) == (3, True)


def test_a_token_file_can_be_in_the_home_directory(host: Host, simulator: Simulator) -> None:
    (host.directory / "token").write_text(simulator.project("main").token)
    done = host.run("collect", host.archive, "--token-file=~/token", HOME=str(host.directory), CLOUDSCALE_API_TOKEN="")
    assert done.returncode == 0


def test_a_credential_of_systemd_is_found(host: Host, simulator: Simulator) -> None:
    (host.directory / "api_token").write_text(simulator.project("main").token)
    done = host.run("collect", host.archive, CLOUDSCALE_API_TOKEN="", CREDENTIALS_DIRECTORY=str(host.directory))
    assert done.returncode == 0


def test_a_pin_detects_a_truncated_archive(host: Host, simulator: Simulator) -> None:
    pin = str(host.directory / "pin")
    host.run("collect", host.archive, "--pin", pin)
    simulator.project("main").log.append(action="server_stop", message="second")
    host.run("collect", host.archive, "--pin", pin)
    (Path(host.archive) / "commits/000000000002.json").unlink()
    cut = host.run("collect", host.archive, "--pin", pin)
    assert cut.returncode == 1
    assert "was truncated or replaced" in cut.stderr


def test_a_project_without_a_name_is_shown_by_its_uuid(host: Host) -> None:
    assert host.run("collect", host.archive).returncode == 0
    uuid = host.json("status", host.archive)["project"]["uuid"]
    assert re.search(rf"^project +{uuid}$", host.run("status", host.archive).stdout, re.MULTILINE)
