# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two hundred projects on one host: how long the role and the services take. Run it on an idle machine.

python3 dev.py run -- pytest -m long -k bookworm tests/e2e/managed_hosts
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.conftest import CA, Deployment
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.machines import Machine
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

pytestmark = pytest.mark.long

NAMES = [f"p{number:03}" for number in range(200)]
SERVICE = "cloudscale-audit-collect.service"
# Runs a command and prints the peak of its memory, in MiB.
PEAK = "import resource, subprocess as s, sys; s.run(sys.argv[1:], check=True, stdout=s.DEVNULL); " + (
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
)


def project(simulator: Simulator, name: str, **options: Any) -> dict[str, Any]:
    return {
        "name": name,
        "token": simulator.project(name).token,
        "api_url": simulator.url,
        "ca_path": CA,
        **options,
    }


@pytest.fixture(scope="module", autouse=True)
def many(simulator: Simulator, deployment: Deployment) -> None:
    for name in NAMES:
        log = simulator.add_project(name).log
        for number in range(3):
            log.append(action="server_create", message=f"{name} {number}")
    deployment.variables["archiver_projects"] = [project(simulator, name) for name in NAMES]


def timed(deployment: Deployment, what: str, **variables: Any) -> tuple[float, dict[str, int]]:
    """Play the role; the seconds it took, and its recap."""
    began = time.monotonic()
    recap = deployment.play(**variables)
    seconds = time.monotonic() - began
    items = len(re.findall(r"^(?:ok|changed): \[host\]", deployment.output, re.MULTILINE))
    print(f"{what}: {seconds:.1f} s, {recap['ok'] + recap['skipped']} tasks, {items} items, {recap['changed']} changed")
    return seconds, recap


def round_cpu(machine: Machine, what: str) -> float:
    """Seconds of CPU of one run of the service."""
    machine.output_of(f"systemctl start {SERVICE}")
    seconds = int(machine.output_of(f"systemctl show --value --property=CPUUsageNSec {SERVICE}")) / 1e9
    print(f"{what}: {seconds:.2f} s of CPU")
    return seconds


def test_two_hundred_projects_are_deployed_within_90_seconds(deployment: Deployment) -> None:
    seconds, _recap = timed(deployment, "deployment")
    assert seconds <= 90


def test_the_second_run_changes_nothing_within_30_seconds(deployment: Deployment) -> None:
    seconds, recap = timed(deployment, "second run")
    assert recap["changed"] == 0, deployment.output
    assert seconds <= 30


def test_a_quiet_round_costs_little(machine: Machine) -> None:
    round_cpu(machine, "first round")
    assert machine.output_of(f"systemctl show --value --property=Result {SERVICE}") == "success\n"
    assert min(round_cpu(machine, "quiet round") for _again in range(3)) <= 4
    credentials = [
        f"--property=LoadCredential={name}:/etc/cloudscale-audit/{name}" for name in ("tokens.json", "sign_key")
    ]
    run = ["systemd-run", "--quiet", "--pipe", "--wait", "--property=User=cloudscale-audit", *credentials]
    collect = "/usr/local/bin/cloudscale-audit collect --projects /etc/cloudscale-audit/projects.json"
    peak = int(machine.output_of(f"{' '.join(run)} python3 -c '{PEAK}' {collect}"))
    print(f"quiet round: {peak} MiB")
    assert peak <= 64


def test_a_round_of_signed_heartbeats_costs_little(machine: Machine, simulator: Simulator) -> None:
    for name in NAMES:
        simulator.project(name).log.append(action="server_update", message="new")
    assert round_cpu(machine, "round with a signed commit each") <= 8


def test_the_status_of_all_takes_less_than_two_seconds(machine: Machine) -> None:
    began = time.monotonic()
    shown = json.loads(machine.output_of("cloudscale-audit status --json"))
    seconds = time.monotonic() - began
    print(f"status: {seconds:.1f} s")
    assert [archive["state"] for archive in shown["archives"]] == ["current"] * len(NAMES)
    assert seconds <= 2


def test_one_more_project_takes_20_seconds(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    simulator.add_project("more").log.append(action="server_create", message="one more")
    deployment.variables["archiver_projects"] = [project(simulator, name) for name in (*NAMES, "more")]
    seconds, _recap = timed(deployment, "one more project")
    machine.output_of(f"systemctl start {SERVICE}")
    assert "one more" in machine.output_of("cloudscale-audit cat /var/lib/cloudscale-audit/more/archive")
    changed = [project(simulator, "more", every="1h"), *(project(simulator, name) for name in NAMES[1:])]
    _seconds, recap = timed(deployment, "one changed and one removed", archiver_projects=changed)
    assert recap["changed"] == 2, deployment.output
    assert machine.output_of(f"ls /var/lib/cloudscale-audit/{NAMES[0]}/archive/commits")
    assert seconds <= 20
