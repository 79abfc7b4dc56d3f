# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command doctor."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Client
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import COMMAND, Host


def test_doctor_checks_the_requirements_of_collect(host: Host, simulator: Simulator) -> None:
    healthy = host.run("doctor", host.archive)
    assert healthy.returncode == 0
    host_and_project = ["directory", "space", "archive", "api", "project", "clock"]
    behavior = ["pages", "urls", "polling", "date", "order", "range", "windows", "cursors"]
    checks = [line.split()[:2] for line in healthy.stdout.splitlines()]
    assert checks == [["ok", name] for name in [*host_and_project, *behavior]]
    assert "3 entries per page, 200 are published" in healthy.stdout
    assert {request.method for request in simulator.requests} == {"GET"}
    assert list(host.directory.iterdir()) == []
    wrong = host.json("doctor", host.archive, "--token-file", str(COMMAND))
    assert [check["name"] for check in wrong["checks"] if check["failed"]] == ["api"]
    simulator.set(clock_offset=timedelta(minutes=2))
    skewed = host.run("doctor", host.archive)
    assert skewed.returncode == 3
    assert re.search(r"FAILED +clock +This host's clock differs from the API's by -1[12]\d s", skewed.stdout)


def test_doctor_fails_if_the_api_breaks_a_promise(host: Host, simulator: Simulator) -> None:
    with Client(simulator) as client:
        page = client.page()
    for number, entry in enumerate(page["results"]):
        entry["timestamp"] = f"2026-11-2{9 - number}T12:00:00Z"
    simulator.script(Fault("raw", body={**page, "next": None}))
    result = host.run("doctor", host.archive)
    assert result.returncode == 3
    assert "FAILED  order     The log begins with its newest entry" in result.stdout


def test_doctor_detects_the_token_of_another_project(host: Host, simulator: Simulator) -> None:
    host.run("collect", host.archive)
    other = simulator.add_project("other")
    other.log.append(action="server_create", message="m")
    result = host.run("doctor", host.archive, CLOUDSCALE_API_TOKEN=other.token)
    assert result.returncode != 0
    assert "FAILED  project   The token belongs to another project" in result.stdout


def test_doctor_refuses_the_parent_of_archives(host: Host) -> None:
    inner = Path(host.archive) / "shop"
    for below in (inner / "archive", inner):
        assert host.run("collect", str(below)).returncode == 0
        wrong = host.run("doctor", host.archive)
        assert wrong.returncode == 4
        assert (
            f"FAILED  archive   There is no archive in {host.archive}, but one in {below}; check the path."
            in wrong.stdout
        )
        assert host.run("doctor", str(below)).returncode == 0
