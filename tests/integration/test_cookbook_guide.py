# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recipes of the cookbook run as printed; paths, the webhook and the quarter are those of the test."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator, history
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.notify.hook import Hook

if TYPE_CHECKING:
    from .conftest import Controller

ROOT = Path(version.__file__).parents[2]
GUIDE = ROOT / "docs/docsite/rst/cookbook_guide.rst"
CI = {"api_token": {"uuid": "0a1b2c3d", "description": "ci deploy"}}


def blocks(heading: str) -> list[str]:
    """The code blocks of the recipe with this heading."""
    text = GUIDE.read_text().partition(f"\n{heading}\n---")[2]
    section = re.split(r"\n[^\n]+\n-{5,}\n", text)[0]
    found = re.findall(r"^\.\. code-block:: \w+\n\n((?:    .*\n|\n)+)", section, re.MULTILINE)
    return [dedent(block) for block in found]


class Host:
    """A host with the command on PATH, and a project of its own whose token is in a file."""

    def __init__(self, controller: Controller, simulator: Simulator, directory: Path) -> None:
        project = simulator.add_project(directory.name)
        self.log = project.log
        self.directory = directory
        self.environment = {
            **controller.environment,
            "CLOUDSCALE_API_TOKEN": project.token,
            "HOME": str(directory),
            "PATH": f"{directory}:{controller.environment['PATH']}",
        }
        command = directory / "cloudscale-audit"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/bin/cloudscale-audit" "$@"\n')
        command.chmod(0o755)
        (directory / "shop.token").write_text(project.token)

    def here(self, text: str) -> str:
        paths = text.replace("/opt/audit/bin/", "")
        paths = paths.replace("/etc/ansible", str(self.directory)).replace("/var/lib/audit", str(self.directory))
        # Days that the archive covers in whatever quarter this runs.
        return paths.replace("2026-07-01", "-3d").replace("2026-10-01", "today")

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(self.here(text))

    def shell(self, script: str, status: int = 0) -> str:
        done = subprocess.run(
            ["sh", "-euc", self.here(script)],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def host(controller: Controller, simulator: Simulator, tmp_path: Path) -> Host:
    return Host(controller, simulator, tmp_path)


def test_a_report_every_night(host: Host) -> None:
    host.log.extend(list(history(weeks=1, seed=5))[::10])
    variables, crontab = blocks("Write a report every night")
    host.write("nightly.yml", variables)
    host.write("token.yml", f"cloudscale_api_token: {host.environment.pop('CLOUDSCALE_API_TOKEN')}\n")
    host.write("vault-password", "correct horse battery staple\n")
    host.shell("ansible-vault encrypt --vault-password-file vault-password token.yml")
    times, command = crontab.split(" /opt", 1)
    assert len(times.split()) == 5
    host.shell(f"/opt{command}")
    (night,) = (host.directory / "reports").iterdir()
    assert night.name in {str(datetime.now(zone).date()) for zone in (None, ZoneInfo("UTC"))}
    assert {path.name for path in night.iterdir()} == {"audit-report.html", "audit-report.md"}


def test_a_gate_in_a_pipeline(host: Host) -> None:
    playbook, command = blocks("Stop a pipeline if the log has alerts")
    host.write("audit-gate.yml", playbook)
    host.log.append("server_delete", "Server 'web-1' has been deleted", actor=CI)
    host.shell(command)
    host.log.append("server_delete", "Server 'web-2' has been deleted", ip_address="203.0.113.9")
    assert "the first is unknown_network by" in host.shell(command, status=2)


def test_evidence_and_review_of_a_quarter(host: Host) -> None:
    host.log.extend(list(history(weeks=2, seed=5))[::10])
    (evidence,) = blocks("Hand over the evidence of a quarter")
    assert "SHA-256: " in host.shell(evidence)
    (review,) = blocks("Review the access of a quarter")
    assert "new: no data" not in host.shell(review)
    assert (host.directory / "review-2026-q3/access-review.html").stat().st_size


def test_watching_a_resource(host: Host) -> None:
    host.log.append("server_create", "Server 'db-1' has been created", actor=CI)
    history_of, config, run = blocks("Watch one resource by name")
    with Hook() as hook:
        host.write("watch.json", config.replace("https://chat.example.com/hooks/4fxw", hook.url))
        host.shell(run)
        assert "1 entry about db-1" in host.shell(history_of)
        host.log.append("server_update", "Server 'db-2' has been scaled")
        host.log.append("server_update", "Server 'db-1' has been scaled")
        host.shell(run)
    (taken,) = hook.taken
    assert "Server 'db-1' has been scaled" in taken.body["text"]
