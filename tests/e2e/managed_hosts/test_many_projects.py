# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two hundred projects on one host, compared with one project on the same host: what the role and services cost.

Run it on an idle machine: python3 dev.py run -- pytest -s -m long -k bookworm tests/e2e/managed_hosts
"""

from __future__ import annotations

import json
import re
import time
from typing import Any, NamedTuple

import pytest
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.conftest import CA, Deployment
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.machines import Machine
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

pytestmark = pytest.mark.long

NAMES = [f"p{number:03}" for number in range(200)]
SERVICE = "cloudscale-audit-collect.service"
TRIES = 3
# Runs a command and prints the peak of its memory, in MiB.
PEAK = "import resource, subprocess as s, sys; s.run(sys.argv[1:], check=True, stdout=s.DEVNULL); " + (
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
)


class Costs(NamedTuple):
    """Of one project: seconds of a play that changes nothing and of a status, seconds of CPU of rounds."""

    play: float
    quiet: float
    commit: float
    status: float


def project(simulator: Simulator, name: str, **options: Any) -> dict[str, Any]:
    return {
        "name": name,
        "token": simulator.project(name).token,
        "api_url": simulator.url,
        "ca_path": CA,
        **options,
    }


def deploy(deployment: Deployment, what: str, projects: list[dict[str, Any]]) -> tuple[float, dict[str, int]]:
    """Play the role for these projects; the seconds it took, and its recap."""
    deployment.variables["archiver_projects"] = projects
    began = time.monotonic()
    recap = deployment.play()
    seconds = time.monotonic() - began
    items = len(re.findall(r"^(?:ok|changed): \[host\]", deployment.output, re.MULTILINE))
    print(f"{what}: {seconds:.1f} s, {recap['ok'] + recap['skipped']} tasks, {items} items, {recap['changed']} changed")
    return seconds, recap


def round_cpu(machine: Machine, what: str) -> float:
    """Seconds of CPU of one run of the service."""
    # Without the reset, systemd refuses the sixth start within ten seconds.
    machine.output_of(f"systemctl reset-failed {SERVICE} && systemctl start {SERVICE}")
    seconds = int(machine.output_of(f"systemctl show --value --property=CPUUsageNSec {SERVICE}")) / 1e9
    print(f"{what}: {seconds:.2f} s of CPU")
    return seconds


def quiet_cpu(machine: Machine, what: str) -> float:
    """The least of several rounds, as another process may disturb one."""
    return min(round_cpu(machine, what) for _try in range(TRIES))


def commit_cpu(machine: Machine, simulator: Simulator, what: str, names: list[str]) -> float:
    """The least of several rounds in which each project has something new, so that each archive signs a commit."""

    def after_a_change() -> float:
        for name in names:
            simulator.project(name).log.append(action="server_update", message="new")
        return round_cpu(machine, what)

    return min(after_a_change() for _try in range(TRIES))


def status_seconds(machine: Machine, what: str, archives: int) -> float:
    """The least of several; each archive must be current."""

    def once() -> float:
        began = time.monotonic()
        shown = json.loads(machine.output_of("cloudscale-audit status --json"))
        seconds = time.monotonic() - began
        assert [archive["state"] for archive in shown["archives"]] == ["current"] * archives
        return seconds

    seconds = min(once() for _try in range(TRIES))
    print(f"{what}: {seconds:.2f} s")
    return seconds


@pytest.fixture(scope="module", autouse=True)
def one(machine: Machine, simulator: Simulator, deployment: Deployment) -> Costs:
    """The host with a single project, before the others come."""
    for name in NAMES:
        log = simulator.add_project(name).log
        for number in range(3):
            log.append(action="server_create", message=f"{name} {number}")
    single = [project(simulator, NAMES[0])]
    deploy(deployment, "one project, first play", single)
    play, _recap = deploy(deployment, "one project, second play", single)
    round_cpu(machine, "one project, first round")
    return Costs(
        play,
        quiet_cpu(machine, "one project, quiet round"),
        commit_cpu(machine, simulator, "one project, round with a signed commit", NAMES[:1]),
        status_seconds(machine, "one project, status", 1),
    )


def test_a_play_with_two_hundred_projects_takes_little_longer_than_with_one(
    simulator: Simulator, deployment: Deployment, one: Costs
) -> None:
    projects = [project(simulator, name) for name in NAMES]
    seconds, _recap = deploy(deployment, "200 projects, first play", projects)
    assert seconds <= 2 * one.play
    seconds, recap = deploy(deployment, "200 projects, second play", projects)
    assert recap["changed"] == 0, deployment.output
    assert seconds <= 2 * one.play


def test_a_quiet_round_costs_little(machine: Machine, one: Costs) -> None:
    round_cpu(machine, "200 projects, first round")
    assert machine.output_of(f"systemctl show --value --property=Result {SERVICE}") == "success\n"
    assert quiet_cpu(machine, "200 projects, quiet round") <= 15 * one.quiet
    credentials = [
        f"--property=LoadCredential={name}:/etc/cloudscale-audit/{name}" for name in ("tokens.json", "sign_key")
    ]
    run = ["systemd-run", "--quiet", "--pipe", "--wait", "--property=User=cloudscale-audit", *credentials]
    collect = "/usr/local/bin/cloudscale-audit collect --projects /etc/cloudscale-audit/projects.json"
    peak = int(machine.output_of(f"{' '.join(run)} python3 -c '{PEAK}' {collect}"))
    print(f"200 projects, quiet round: {peak} MiB")
    assert peak <= 64


def test_a_round_with_a_signed_commit_each_costs_little(machine: Machine, simulator: Simulator, one: Costs) -> None:
    seconds = commit_cpu(machine, simulator, "200 projects, round with a signed commit each", NAMES)
    assert seconds <= 30 * one.commit


def test_the_status_of_all_is_shown_at_once(machine: Machine, one: Costs) -> None:
    assert status_seconds(machine, "200 projects, status", len(NAMES)) <= 4 * one.status


def test_one_more_project_takes_no_longer_than_a_play_that_changes_nothing(
    machine: Machine, simulator: Simulator, deployment: Deployment, one: Costs
) -> None:
    simulator.add_project("more").log.append(action="server_create", message="one more")
    everyone = [project(simulator, name) for name in (*NAMES, "more")]
    seconds, _recap = deploy(deployment, "one more project", everyone)
    assert seconds <= 2 * one.play
    machine.output_of(f"systemctl start {SERVICE}")
    assert "one more" in machine.output_of("cloudscale-audit cat /var/lib/cloudscale-audit/more/archive")
    changed = [project(simulator, "more", every="1h"), *everyone[1:-1]]
    _seconds, recap = deploy(deployment, "one changed and one removed", changed)
    assert recap["changed"] == 2, deployment.output
    assert machine.output_of(f"ls /var/lib/cloudscale-audit/{NAMES[0]}/archive/commits")
