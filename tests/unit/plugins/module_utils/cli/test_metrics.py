# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics of the command."""

from __future__ import annotations

import os
import re
import stat
import time
from datetime import datetime, timedelta
from pathlib import Path

from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import Host


def metrics(path: Path) -> dict[str, float]:
    """The values in a file for Prometheus by name, with the label of the state."""
    sample = re.compile(r'^cloudscale_audit_(\w+)\{.*?(?:state="(\w+)")?\} (\S+)$', re.MULTILINE)
    return {f"{name} {state}".strip(): float(value) for name, state, value in sample.findall(path.read_text())}


def test_metrics_describe_the_run_and_the_archive(host: Host) -> None:
    began = time.time()
    host.run("collect", host.archive, "--metrics", "collect.prom")
    result, status = metrics(host.directory / "collect.prom"), host.json("status", host.archive)
    assert began <= result["last_run_timestamp_seconds"] == result["last_success_timestamp_seconds"] <= time.time()
    assert 0 < result["last_run_duration_seconds"] < 60
    assert result["last_run_exit_status"] == 0
    assert (result["entries"], result["commits_total"], result["gaps_total"]) == (7, 1, 0)
    for moment in ("covered_from", "covered_until", "retention_deadline"):
        assert (
            result[f"{moment}_timestamp_seconds"] == datetime.fromisoformat(status[moment][:-1] + "+00:00").timestamp()
        )
    states = {name: value for name, value in result.items() if name.startswith("state ")}
    assert states == {"state new": 0, "state current": 1, "state backlog": 0, "state stale": 0, "state expired": 0}
    assert stat.S_IMODE((host.directory / "collect.prom").stat().st_mode) == 0o644


def test_metrics_of_a_failed_run_keep_the_last_success(host: Host, simulator: Simulator) -> None:
    failed = host.run("collect", host.archive, "--metrics", "m.prom", CLOUDSCALE_API_TOKEN="x" * 40)
    never = metrics(host.directory / "m.prom")
    assert failed.returncode == never["last_run_exit_status"] == 3
    assert never["last_success_timestamp_seconds"] == 0
    assert "entries" not in never
    host.run("collect", host.archive, "--metrics", "m.prom")
    good = metrics(host.directory / "m.prom")
    simulator.project("main").log.append(action="server_stop", message="not read")
    host.run("collect", host.archive, "--metrics", "m.prom", CLOUDSCALE_API_TOKEN="x" * 40)
    bad = metrics(host.directory / "m.prom")
    assert bad["last_run_timestamp_seconds"] > good["last_run_timestamp_seconds"]
    assert bad["last_run_exit_status"] == 3
    assert bad["last_success_timestamp_seconds"] == good["last_success_timestamp_seconds"]
    assert (bad["entries"], bad["covered_until_timestamp_seconds"]) == (7, good["covered_until_timestamp_seconds"])


def test_metrics_of_a_run_without_new_entries(host: Host, simulator: Simulator) -> None:
    simulator.set(clock_offset=-timedelta(minutes=20))
    host.run("collect", host.archive, "--metrics", "m.prom")
    before = metrics(host.directory / "m.prom")
    simulator.set(clock_offset=timedelta(0))
    assert host.run("collect", host.archive, "--metrics", "m.prom").stdout.startswith("0 entries added in 0 commits.")
    after = metrics(host.directory / "m.prom")
    assert after["covered_until_timestamp_seconds"] - before["covered_until_timestamp_seconds"] >= 1200
    assert after["commits_total"] == before["commits_total"]


def test_metrics_of_a_gap_are_those_of_a_success(host: Host, simulator: Simulator) -> None:
    host.collect_at(simulator, host.archive, -120)
    simulator.script(Fault("status", status=410, cursor=True))
    host.run("collect", host.archive, "--metrics", "m.prom")
    result = metrics(host.directory / "m.prom")
    assert (result["last_run_exit_status"], result["gaps_total"]) == (5, 1)
    assert result["last_success_timestamp_seconds"] == result["last_run_timestamp_seconds"]


def test_metrics_of_a_verification(host: Host) -> None:
    host.run("collect", host.archive)
    host.run("verify", host.archive, "--metrics", "verify.prom")
    sound = metrics(host.directory / "verify.prom")
    assert (sound["last_run_exit_status"], sound["verify_findings"]) == (0, 0)
    next(Path(host.archive).rglob("*.gz")).unlink()
    host.run("verify", host.archive, "--metrics", "verify.prom")
    broken = metrics(host.directory / "verify.prom")
    assert (broken["last_run_exit_status"], broken["verify_findings"]) == (1, 1)
    assert broken["last_success_timestamp_seconds"] == sound["last_success_timestamp_seconds"]
    host.run("verify", "nowhere", "--metrics", "verify.prom")
    failed = metrics(host.directory / "verify.prom")
    assert (failed["last_run_exit_status"], "verify_findings" in failed) == (4, False)


def test_metrics_of_a_comparison(host: Host, simulator: Simulator) -> None:
    host.run("collect", host.archive)
    host.run("reconcile", host.archive, "--metrics", "reconcile.prom")
    same = metrics(host.directory / "reconcile.prom")
    assert (same["last_run_exit_status"], same["reconcile_findings"]) == (0, 0)
    simulator.stop()
    host.run("reconcile", host.archive, "--metrics", "reconcile.prom", "--api-retry-budget", "0")
    failed = metrics(host.directory / "reconcile.prom")
    assert (failed["last_run_exit_status"], "reconcile_findings" in failed) == (3, False)
    assert failed["last_success_timestamp_seconds"] == same["last_success_timestamp_seconds"]


def test_unwritable_metrics_are_reported_after_the_collection(host: Host) -> None:
    done = host.run("collect", host.archive, "--metrics", "nowhere/m.prom")
    assert (done.returncode, done.stderr) == (
        2,
        f"cloudscale-audit: --metrics: the directory {host.directory}/nowhere does not exist; create it first.\n",
    )
    assert host.json("status", host.archive)["entries"] == 7
    twice = host.run("verify", "nothing", "--metrics", "nowhere/m.prom")
    assert (twice.returncode, len(twice.stderr.splitlines())) == (4, 2)


def test_metrics_never_replace_anything_but_a_file(host: Host) -> None:
    host.run("collect", host.archive)
    pipe = host.directory / "pipe.jsonl"
    os.mkfifo(pipe)
    done = host.run("export", host.archive, "--dest", str(pipe))
    assert (done.returncode, "pipe.jsonl is not a regular file" in done.stderr) == (2, True)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_dry_run_writes_no_metrics(host: Host) -> None:
    host.run("collect", host.archive, "--dry-run", "--metrics", "m.prom")
    assert list(host.directory.iterdir()) == []


def test_names_in_metrics_are_escaped(host: Host) -> None:
    name = '"} 1\n\\ #\r\u2028 Z\u00fcrich'
    host.run("collect", host.archive, "--project", name, "--metrics", "m.prom")
    lines = (host.directory / "m.prom").read_text().splitlines()
    assert all(line.startswith(("# HELP cloud", "# TYPE cloud", "cloudscale_audit_")) for line in lines)
    replaced = '\\"} 1\ufffd\\\\ #\ufffd\ufffd Z\u00fcrich'
    assert f'project="{replaced}"}} 7' in "\n".join(lines)
