# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prometheus itself, by its promtool, accepts the metrics and fires the alerts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

ROOT = Path(version.__file__).parents[2]
RULES = ROOT / "roles/archiver/files/cloudscale-audit.rules.yml"
NAMES = ["shop", 'a"b\\c\nd\u2028 Z\u00fcrich {x="y"} 1']


def promtool(*arguments: str | Path, text: str = "") -> None:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], input=text, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", ["collect", "verify", "reconcile", "journal"])
def test_metrics_of_good_and_failed_runs_are_accepted(tmp_path: Path, command: str, name: str) -> None:
    with Simulator() as simulator:
        project = simulator.project("main")
        project.log.append(action="server_create", message="m")

        def run(*arguments: str, token: str) -> int:
            line = [sys.executable, str(ROOT / "bin/cloudscale-audit"), *arguments]
            environment = {"PATH": os.defpath, "CLOUDSCALE_API_URL": simulator.url, "CLOUDSCALE_API_TOKEN": token}
            return subprocess.run(
                line, env=environment, cwd=tmp_path, capture_output=True, timeout=60, check=False
            ).returncode

        options = {
            "collect": ["--project", name],
            "verify": [],
            "reconcile": [],
            "journal": ["--bookmark", "b", "--socket", "none"],
        }
        for token in ("x" * 40, project.token):
            run(command, "archive", *options[command], "--metrics", "m.prom", token=token)
            metrics = (tmp_path / "m.prom").read_text()
            promtool("check", "metrics", text=metrics)
            read = token == project.token and command == "collect"
            assert ("\ncloudscale_audit_clock_skew_seconds{" in metrics) is read
            assert run("collect", "archive", "--project", name, token=project.token) == 0


def test_the_alerts_are_rules_that_fire_when_they_should() -> None:
    promtool("check", "rules", RULES)
    promtool("test", "rules", ROOT / "tests/e2e/watching/alerts.yml")


def test_every_alert_is_tested_and_explained() -> None:
    names = [line.split()[-1] for line in RULES.read_text().splitlines() if "- alert:" in line]
    tested = (ROOT / "tests/e2e/watching/alerts.yml").read_text()
    guide = (ROOT / "docs/docsite/rst/archiver_watching_guide.rst").read_text()
    assert len(names) == 12
    for name in names:
        assert f"alertname: {name}" in tested
        assert f"``{name}``" in guide
