# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The subcommand detect on a real archive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import Host

NOW = datetime.now(timezone.utc)
EVE = {"user": {"email": "eve@example.com"}}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        log = running.project("main").log
        for days in (40, 30, 20):
            log.append("server_create", "Server 'db' has been created", NOW - timedelta(days=days))
        log.append("server_delete", "Server '\x1b[31mdb' has been deleted", NOW - timedelta(days=2), EVE)
        yield running


@pytest.fixture
def host(simulator: Simulator, tmp_path: Path) -> Host:
    made = Host(tmp_path, simulator)
    assert made.run("collect", made.archive).returncode == 0
    return made


def config(host: Host, **keys: Any) -> str:
    (host.directory / "detections.json").write_text(json.dumps({"version": 1, **keys}))
    return str(host.directory / "detections.json")


def test_alerts_are_printed_as_a_table_with_the_detections_that_are_off(host: Host) -> None:
    found = host.run("detect", host.archive)
    assert (found.returncode, found.stderr) == (0, "")
    header, *rows = found.stdout.splitlines()
    assert header.split() == ["When", "Severity", "Detection", "Who", "What"]
    assert [row.split()[1:4] for row in rows[:2]] == [
        ["medium", "deletion", "eve@example.com"],
        ["low", "first_seen_actor", "eve@example.com"],
    ]
    assert "\x1b" not in found.stdout
    assert "unknown_network is off: set known_networks in --config to turn it on." in rows


def test_the_exit_status_follows_the_severity(host: Host) -> None:
    assert host.run("detect", host.archive, "--fail-on", "medium").returncode == 1
    assert host.run("detect", host.archive, "--fail-on", "high").returncode == 0
    assert host.run("detect", host.archive, "--fail-on", "awful").returncode == 2


def test_the_number_of_entries_and_missing_parts_are_reported(host: Host) -> None:
    whole = host.run("detect", host.archive)
    assert "2 alerts in 4 entries, by 7 detections." in whole.stdout
    early = host.run("detect", host.archive, "--start", "-400d", "--end", "-300d")
    assert (early.returncode, "the archive begins later" in early.stderr) == (5, True)
    assert "0 alerts in 0 entries" in early.stdout
    (part,) = host.json("detect", host.archive, "--start", "-400d", "--end", "-300d")["missing"]
    assert part["why"] == "not covered"


def test_entries_before_the_range_are_the_baseline(host: Host) -> None:
    found = host.json("detect", host.archive, "--start", "-7d")
    assert {alert["detection"] for alert in found["alerts"]} == {"deletion", "first_seen_actor"}
    assert host.json("detect", host.archive, "--start", "-1d")["alerts"] == []
    exact = host.json("detect", host.archive, "--start", (NOW - timedelta(days=2)).isoformat())
    assert exact["alerts"] == found["alerts"]
    assert found["inactive"] == {"outside_working_hours": "working_hours", "unknown_network": "known_networks"}


def test_the_site_configures_its_own_detections(host: Host) -> None:
    own = {"name": "eve", "title": "Eve", "severity": "critical", "select": {"actors": "eve@*"}}
    file = config(host, detections=[own], disable="deletion", known_networks=["203.0.113.0/24"])
    found = host.json("detect", host.archive, "--start", "-7d", "--config", file)
    assert {alert["detection"] for alert in found["alerts"]} == {"eve", "first_seen_actor", "unknown_network"}
    assert host.json("detect", host.archive, "--config", config(host, own_actors=["eve@example.com"]))["alerts"] == []


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2}', '{"version": 1, "rules": []}', "[" * 100_000])
def test_an_invalid_configuration_is_an_error(host: Host, content: str) -> None:
    (host.directory / "bad.json").write_text(content)
    refused = host.run("detect", host.archive, "--config", str(host.directory / "bad.json"))
    assert refused.returncode == 2
    assert refused.stderr.startswith("cloudscale-audit: --config: ")
