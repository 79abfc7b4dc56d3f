# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands prune and compact."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import COMMAND, Host


def test_compact_and_prune_old_days(host: Host, simulator: Simulator) -> None:
    log, now = simulator.project("main").log, datetime.now(timezone.utc)
    for number in range(2):
        log.append(timestamp=now - timedelta(days=3, seconds=number), message="old")
        host.run("collect", host.archive, "--pin", "pin")
    dry = host.run("compact", host.archive, "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "2 entries of 1 day in 2 files would be merged.\n")
    done = host.json("compact", host.archive, "--pin", "pin")
    assert (done["days"], done["files"], done["entries"], done["head"]["sequence"]) == (1, 2, 2, 3)
    assert json.loads((host.directory / "pin").read_bytes()) == done["head"]
    prune = ["prune", host.archive, "--allow-recent", "--older-than"]
    assert host.run(*prune, "5d").stdout.startswith("0 entries of 0 days")
    gone = host.run(*prune, "-1d", "--pin", "pin")
    assert gone.stdout.startswith("2 entries of 1 day in 1 file removed.\nhead ")
    assert "old" not in host.run("cat", host.archive).stdout
    midnight = f"{now - timedelta(days=1):%Y-%m-%d}T00:00:00Z"
    assert f", covering {midnight} to " in host.run("verify", host.archive).stdout
    assert f"covered from   {midnight}, older days were pruned" in host.run("status", host.archive).stdout
    assert host.json("status", host.archive)["pruned_until"] == midnight
    assert host.json("collect", host.archive, "--metrics", "run.prom")["covered_from"] == midnight
    since = (now - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    (result,) = re.findall(
        r"^\w+covered_from_timestamp_seconds\S* (\S+)$", (host.directory / "run.prom").read_text(), re.M
    )
    assert float(result) == since
    assert host.run("collect", host.archive, "--pin", "pin").returncode == 0


class Person:
    """A user at a terminal who answers a prompt; the output is a pipe."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, *arguments: str, reply: str = "") -> tuple[int, str, str]:
        """The exit status, the output, and the text on the terminal. Without a reply, Ctrl-C is pressed."""
        above, below = pty.openpty()
        command = [sys.executable, str(COMMAND), *arguments]
        with subprocess.Popen(
            command, stdin=below, stdout=subprocess.PIPE, stderr=below, env=self._host.environment, text=True
        ) as process:
            os.close(below)
            result = b""
            prompted = False
            while True:
                try:
                    result += os.read(above, 1024)
                except OSError:  # the other end is closed
                    break
                if result.endswith(b"[y/N] ") and not prompted:
                    prompted = True
                    os.write(above, reply.encode()) if reply else process.send_signal(signal.SIGINT)
            output = process.stdout.read() if process.stdout else ""
        os.close(above)
        return process.returncode, output, result.decode()


def test_prune_asks_for_confirmation_only_on_a_terminal(host: Host, simulator: Simulator) -> None:
    log, now = simulator.project("main").log, datetime.now(timezone.utc)
    log.append(timestamp=now - timedelta(days=3), message="old")
    host.run("collect", host.archive)
    command, person = ["prune", host.archive, "--older-than", "1d", "--allow-recent"], Person(host)
    for reply in ("n\n", "\n", "Yes!\n", "\x04"):
        status, output, result = person.run(*command, reply=reply)
        assert (status, output) == (3, "")
        assert f"This permanently removes 1 entry of 1 day from {host.archive}. Continue? [y/N] " in result
        assert "Nothing was removed." in result
    assert "was stopped" in person.run(*command)[2]
    assert host.json("status", host.archive)["commits"] == 1
    assert "Continue" not in person.run(*command, "--dry-run")[2]
    status, output, _told = person.run(*command, reply="y\n")
    assert (status, output.splitlines()[0]) == (0, "1 entry of 1 day in 1 file removed.")
    assert "Continue" not in person.run(*command)[2]  # nothing is left to ask about
    for name in ("yes", "script"):
        command[1] = str(host.directory / name)
        host.run("collect", command[1])
        status, output, result = person.run(*command, "--yes") if name == "yes" else (0, host.run(*command).stdout, "")
        assert (status, output.splitlines()[0], result) == (0, "1 entry of 1 day in 1 file removed.", "")


@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_prune_of_recent_days_requires_a_flag(host: Host, dry: list[str]) -> None:
    host.run("collect", host.archive)
    for age in ("89d", "-1d", f"{datetime.now(timezone.utc) - timedelta(days=88):%Y-%m-%d}"):
        refused = host.run("prune", host.archive, "--older-than", age, *dry)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert (
            f"--older-than: {age} removes entries that the provider still has; use at least 90 days" in refused.stderr
        )
        assert host.run("prune", host.archive, "--older-than", age, "--allow-recent", *dry).returncode == 0
    assert host.run("prune", host.archive, "--older-than", "90d", *dry).returncode == 0


def test_cat_warns_of_gaps_and_pruned_days(host: Host, simulator: Simulator) -> None:
    host.collect_at(simulator, host.archive, -120)
    simulator.project("main").log.append(timestamp=datetime.now(timezone.utc) - timedelta(days=20))
    host.run("collect", host.archive)
    gap = host.run("cat", host.archive, "--start", "-100d")
    assert gap.returncode == 5
    assert re.search(r"Entries from \S+Z to \S+Z may be missing: the archive has a gap \(retention\)\.", gap.stderr)
    early = host.run("cat", host.archive, "--start", "-400d", "--end", "-300d")
    assert (early.returncode, "the archive begins later" in early.stderr) == (5, True)
    removed = host.run("prune", host.archive, "--older-than", "10d", "--allow-recent")
    assert removed.returncode == 0, removed.stderr
    pruned = host.run("cat", host.archive, "--start", "-50d", "--end", "now")
    assert (pruned.returncode, "they were pruned" in pruned.stderr) == (5, True)
    later = host.run("cat", host.archive, "--start", "-1d", "--end", "now")
    assert (later.returncode, later.stderr) == (0, "")


@pytest.mark.usefixtures("key")
def test_prune_and_compact_sign_their_commits(host: Host, simulator: Simulator) -> None:
    log, now = simulator.project("main").log, datetime.now(timezone.utc)

    def verified() -> str:
        return host.run("verify", host.archive, "--allowed-signers", "allowed").stdout

    for days in (4, 4, 3, 3):
        log.append(timestamp=now - timedelta(days=days), message="old")
        host.run("collect", host.archive, "--sign-key", "key")
    dry = host.run("prune", host.archive, "--older-than", "-1d", "--sign-key", "key", "--dry-run", "--allow-recent")
    assert (dry.returncode, verified().startswith("Intact:")) == (0, True)
    for command in (["compact"], ["prune", "--older-than", "-3d", "--allow-recent"]):
        done = host.run(command[0], host.archive, *command[1:], "--sign-key", "key")
        assert (done.returncode, "not signed" in done.stdout) == (0, False)
        assert verified().startswith("Intact:")
    unsigned = host.run("prune", host.archive, "--older-than", "-2d", "--allow-recent")
    assert (unsigned.returncode, "this run has no key" in unsigned.stderr) == (2, True)
    before = host.json("status", host.archive)["head"]
    refused = host.run("prune", host.archive, "--older-than", "-1d", "--sign-key", "nowhere", "--allow-recent")
    assert (refused.returncode, host.json("status", host.archive)["head"]) == (2, before)
