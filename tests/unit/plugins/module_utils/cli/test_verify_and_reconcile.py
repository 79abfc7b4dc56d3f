# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands verify and reconcile."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import Host


def test_a_killed_first_run_is_not_an_error(host: Host) -> None:
    host.run("collect", host.archive)
    next(Path(host.archive, "commits").iterdir()).unlink()
    result = host.run("verify", host.archive)
    assert (result.returncode, "warning unfinished: commits/000000000001.json" in result.stdout) == (0, True)
    assert "Intact" not in result.stdout
    assert result.stdout.splitlines()[-1] == "The archive has no commit yet; run collect again."


def test_reconcile_compares_with_the_provider(host: Host, simulator: Simulator) -> None:
    log, now = simulator.project("main").log, datetime.now(timezone.utc)
    log.append(timestamp=now - timedelta(days=2), message="old")
    host.run("collect", host.archive)
    sound = host.run("reconcile", host.archive)
    assert (sound.returncode, sound.stderr) == (0, "")
    assert sound.stdout.startswith("Compared 1 entry from ")
    log.append(timestamp=now - timedelta(days=2), message="hidden")
    found = host.run("reconcile", host.archive, "--start", "-3d", "--end", "-1d")
    assert found.returncode == 1
    assert found.stdout.startswith("FINDING missing_in_archive: entries/date=")
    result = host.json("reconcile", host.archive)
    assert (result["same"], result["compared"]["entries"], len(result["findings"])) == (False, 1, 1)


def test_an_empty_comparison_exits_with_5(host: Host) -> None:
    host.run("collect", host.archive)
    outside = ("--start", "-300d", "--end", "-200d")
    nothing = host.run("reconcile", host.archive, *outside, "--metrics", "r.prom")
    assert (nothing.returncode, "warning not_compared" in nothing.stdout) == (5, True)
    assert metrics(host.directory / "r.prom")["last_success_timestamp_seconds"] == 0
    result = host.json("reconcile", host.archive, *outside)
    assert (result["same"], result["compared"]["start"]) == (None, None)


def test_verify_checks_the_age_only_with_max_lag(host: Host, simulator: Simulator) -> None:
    host.collect_at(simulator, host.archive, -100)
    assert host.run("verify", host.archive).returncode == 0
    old = host.run("verify", host.archive, "--max-lag", "1d")
    assert old.returncode == 6
    verdict = r"^Not current: the archive covers the log until \S+Z, 100 days ago; --max-lag allows 1d\.$"
    assert re.search(verdict, old.stdout, re.MULTILINE)
    result = host.json("verify", host.archive, "--max-lag", "1d")
    assert (result["intact"], result["current"]) == (True, False)
    assert host.run("verify", host.archive, "--max-lag", "101d").returncode == 0
    next(Path(host.archive).rglob("*.gz")).unlink()
    assert host.run("verify", host.archive, "--max-lag", "1d").returncode == 1
    wrong = host.run("verify", host.archive, "--max-lag", "soon")
    assert (wrong.returncode, "--max-lag: 'soon' is not a valid duration" in wrong.stderr) == (2, True)


def test_findings_exit_with_1(host: Host) -> None:
    head = host.json("collect", host.archive)["head"]
    assert host.run("verify", host.archive, "--expected-head", f"1:{head['sha256']}").returncode == 0
    assert host.run("verify", host.archive, "--expected-head", f"1:{'0' * 64}").returncode == 1
    next(Path(host.archive).rglob("*.gz")).unlink()
    broken = host.run("verify", host.archive)
    assert broken.returncode == 1
    assert broken.stdout.startswith("FINDING missing: entries/date=")
    assert broken.stdout.endswith(
        f"\nNot intact: 1 finding. Keep {host.archive} unchanged, and compare it with a copy.\n"
    )
    assert host.run("cat", host.archive).returncode == 1


def test_an_archive_without_a_commit_is_not_reported_as_empty(host: Host) -> None:
    host.run("collect", host.archive)
    for commit in Path(host.archive, "commits").iterdir():
        commit.unlink()
    for arguments in (["status"], ["cat"], ["export", "--dest", "extract.csv"]):
        done = host.run(arguments[0], host.archive, *arguments[1:])
        assert (done.returncode, done.stdout) == (4, "")
        assert "There is no archive in" in done.stderr
    assert not (host.directory / "extract.csv").exists()
    verified = host.run("verify", host.archive)
    assert (verified.returncode, "The archive has no commit yet" in verified.stdout) == (0, True)


def metrics(path: Path) -> dict[str, float]:
    """The values in a file for Prometheus by name, with the label of the state."""
    sample = re.compile(r'^cloudscale_audit_(\w+)\{.*?(?:state="(\w+)")?\} (\S+)$', re.MULTILINE)
    return {f"{name} {state}".strip(): float(value) for name, state, value in sample.findall(path.read_text())}
