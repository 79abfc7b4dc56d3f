# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of an archiver on one host, from the first check mode to its removal: each test goes on where one ended."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.conftest import CA, Deployment
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.machines import GATEWAY, Machine, wait_for
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

ARCHIVE = "/srv/audit/main"
SERVICE = "cloudscale-audit@main.service"
TIMER = "cloudscale-audit@main.timer"
PROGRAM = "cd /usr/local/lib/cloudscale-audit"
# All that can change on the host, with its times.
FILES = "find /etc /usr/local /srv /var/lib -xdev -newermt 1970-01-01 -printf '%p %m %u %T@\\n' | sort"


def project(simulator: Simulator, **options: Any) -> dict[str, Any]:
    token = simulator.project("main").token
    return {"name": "main", "token": token, "path": ARCHIVE, "api_url": simulator.url, "ca_path": CA, **options}


def status(machine: Machine) -> Any:
    return json.loads(machine.tell(f"cloudscale-audit status --json {ARCHIVE}"))


def kept(machine: Machine) -> list[Any]:
    return [json.loads(line) for line in machine.tell(f"cloudscale-audit cat {ARCHIVE}").splitlines()]


@pytest.fixture(scope="module", autouse=True)
def at_the_start(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    for number in range(7):
        simulator.project("main").log.append(action="server_create", message=f"m{number}")
    deployment.variables["archiver_projects"] = [project(simulator)]


def test_a_host_with_an_old_python_is_told_so_before_anything_changes(machine: Machine, deployment: Deployment) -> None:
    machine.tell("printf '#!/bin/sh\\necho 3.08\\n' > /root/old-python && chmod +x /root/old-python")
    before = machine.tell(FILES)
    refused = deployment.attempt(archiver_python="/root/old-python")
    assert refused.returncode != 0
    assert "needs a host that runs systemd 247 or later and has Python 3.9" in deployment.output
    assert "Python 3.08" in deployment.output
    assert machine.tell(FILES) == before


@pytest.mark.parametrize(
    "wrong",
    [{"name": "Main"}, {"token_file": "/etc/hostname"}, {"path": "srv"}, {"schedule": 'daily"\nExecStart=/bin/true'}],
)
def test_a_wrong_project_is_told_before_anything_changes(
    machine: Machine, simulator: Simulator, deployment: Deployment, wrong: dict[str, str]
) -> None:
    before = machine.tell(FILES)
    refused = deployment.attempt(archiver_projects=[project(simulator, **wrong)])
    assert refused.returncode != 0
    assert "each project needs a name of its own" in deployment.output
    assert machine.tell(FILES) == before


def test_check_mode_on_a_fresh_host_tells_what_would_come_and_changes_nothing(
    machine: Machine, simulator: Simulator, deployment: Deployment
) -> None:
    before = machine.tell(FILES)
    recap = deployment.play("--check", "--diff")
    assert recap["changed"] > 10
    assert "+ProtectSystem=strict" in deployment.output
    assert simulator.project("main").token not in deployment.output
    assert machine.tell(FILES) == before


def test_converge_and_nothing_to_do_the_second_time(
    machine: Machine, simulator: Simulator, deployment: Deployment
) -> None:
    assert deployment.play("--diff", "-vvv")["changed"] > 10
    assert simulator.project("main").token not in deployment.output
    assert machine.tell(f"systemctl is-active {TIMER}") == "active\n"
    assert deployment.play("--diff")["changed"] == 0, deployment.output
    assert deployment.play("--check", "--diff")["changed"] == 0, deployment.output
    timers = f"/etc/systemd/system/{TIMER} /etc/systemd/system/cloudscale-audit-verify@main.timer"
    verified = machine.tell(f"systemd-analyze verify {timers} 2>&1")
    assert "cloudscale" not in verified, verified


def test_a_run_keeps_the_log(machine: Machine, simulator: Simulator) -> None:
    machine.tell(f"systemctl start {SERVICE}")
    assert kept(machine) == simulator.project("main").log.entries
    machine.tell(f"cloudscale-audit verify {ARCHIVE}")
    assert machine.tell(f"stat -c '%a %U' {ARCHIVE}") == "750 cloudscale-audit\n"
    assert machine.tell("stat -c '%a %U' /etc/cloudscale-audit/main.token") == "600 root\n"
    assert "sha256" in machine.tell("cat /var/lib/cloudscale-audit/main/pin")
    print(machine.try_(f"journalctl --no-pager --output cat --unit {SERVICE} --grep Consumed").stdout)


def test_it_is_confined(machine: Machine) -> None:
    assert machine.exposure(SERVICE) <= 1.5


def test_the_timer_fires_and_entries_arrive(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    simulator.project("main").log.append(action="server_stop", message="by the timer")
    assert deployment.play(archiver_schedule="*:*:0/2")["changed"] == 2, deployment.output
    wait_for(lambda: kept(machine)[-1]["message"] == "by the timer", "the timer has fired")
    assert deployment.play(archiver_enabled=False)["changed"] > 0
    assert machine.try_(f"systemctl is-active {TIMER}").stdout == "inactive\n"
    deployment.play()


def test_the_token_is_nowhere_but_in_its_file(machine: Machine, simulator: Simulator) -> None:
    machine.tell(f"systemctl start {SERVICE}")
    token = simulator.project("main").token
    script = f"""
    grep -rlF {token} /etc /usr/local /srv /var/lib /var/log /tmp /var/tmp 2>/dev/null
    journalctl --no-pager | grep -cF {token}
    systemctl show {SERVICE} | grep -cF {token}
    cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -cF {token}
    """
    # The shell of this very command has the token in its arguments, so ps is looked at from a file.
    machine.tell(f"umask 077; cat > /root/look <<'END'\n{script}\nEND")
    assert machine.try_("sh /root/look; rm /root/look").stdout.split() == [
        "/etc/cloudscale-audit/main.token",
        "0",
        "0",
        "0",
    ]


def test_the_token_is_not_seen_in_a_running_process(machine: Machine, simulator: Simulator) -> None:
    token = simulator.project("main").token
    simulator.set(latency=3.0)
    try:
        machine.tell(f"systemctl start --no-block {SERVICE}")
        wait_for(lambda: "collect" in machine.tell("ps -eo args ww"), "the run is to be seen")
        assert token not in machine.tell("ps -eo args ww; ps eww -e")
    finally:
        simulator.set(latency=0.0)
    wait_for(lambda: machine.try_(f"systemctl is-active {SERVICE}").stdout == "inactive\n", "the run has ended")


def test_a_new_token_is_used_by_the_next_run(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    simulator.project("main").rotate_token()
    assert machine.try_(f"systemctl start {SERVICE}").returncode != 0
    simulator.project("main").log.append(action="server_stop", message="with a new token")
    assert deployment.play("--diff", archiver_projects=[project(simulator)])["changed"] == 1, deployment.output
    assert simulator.project("main").token not in deployment.output
    deployment.variables["archiver_projects"] = [project(simulator)]
    machine.tell(f"systemctl start {SERVICE}")
    assert kept(machine) == simulator.project("main").log.entries


def test_the_doctor_stops_the_deployment(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    wrong = project(simulator, token="a-token-that-was-revoked-0123456789")
    assert deployment.attempt(archiver_projects=[wrong]).returncode != 0
    told = re.search(r'"msg": "(.*)"', deployment.output)
    assert told
    api = f"{GATEWAY}:{simulator.port} does not accept the token (HTTP 401); check api_token and its project."
    assert told[1] == f"main cannot be collected: api: {api}"
    assert "a-token-that-was-revoked" not in deployment.output
    deployment.play()


def test_an_outage_is_told_and_made_good(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    deployment.play(archiver_failure_command="/bin/echo the hook was told of %i")
    simulator.stop()
    simulator.project("main").log.append(action="server_stop", message="during the outage")
    assert machine.try_(f"systemctl start {SERVICE}").returncode != 0
    wait_for(
        lambda: "the hook was told of main" in machine.tell("journalctl --no-pager -t cloudscale-audit"),
        "the hook has run",
    )
    simulator.start()
    machine.tell(f"systemctl start {SERVICE}")
    assert kept(machine) == simulator.project("main").log.entries
    deployment.play()


def test_projects_are_independent(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    other = simulator.add_project("other")
    other.log.append(action="server_create", message="of the other project")
    machine.tell(f"umask 077; printf %s {other.token} > /root/other-token")
    second = {"name": "other", "token_file": "/root/other-token", "api_url": simulator.url, "ca_path": CA}
    both = [*deployment.variables["archiver_projects"], second]
    deployment.play(archiver_projects=both)
    simulator.project("main").rotate_token()
    assert machine.try_(f"systemctl start {SERVICE}").returncode != 0
    machine.tell("systemctl start cloudscale-audit@other.service")
    assert "of the other project" in machine.tell("cloudscale-audit cat /var/lib/cloudscale-audit/other/archive")
    deployment.variables["archiver_projects"] = [project(simulator)]
    deployment.play()
    assert "other" not in machine.tell("ls /etc/systemd/system /etc/cloudscale-audit")
    assert machine.tell("ls /var/lib/cloudscale-audit/other/archive/commits")
    assert machine.tell("ls /root/other-token")
    assert deployment.play()["changed"] == 0, deployment.output


def test_a_program_that_somebody_changed_is_brought_anew(machine: Machine, deployment: Deployment) -> None:
    machine.tell(f"{PROGRAM}/current; touch foreign.py; echo '# mine' > reader.py; rm entry.py")
    assert deployment.play("--check")["changed"] > 0
    # It is removed, its folder made, unpacked and compiled.
    assert deployment.play("--diff")["changed"] == 4, deployment.output
    sources, compiled = (machine.tell(f"{PROGRAM}/current/; find -name '*.{kind}' | wc -l") for kind in ("py", "pyc"))
    assert sources == compiled
    assert "foreign" not in machine.tell(f"{PROGRAM}/current/; find")
    machine.tell(f"systemctl start {SERVICE}")
    assert deployment.play()["changed"] == 0, deployment.output


def test_removal_keeps_the_archive(machine: Machine, simulator: Simulator, deployment: Deployment) -> None:
    before = machine.tell(f"cd {ARCHIVE} && find . -type f | sort | xargs sha256sum")
    assert deployment.play("--check", archiver_state="absent")["changed"] > 0
    assert machine.tell(f"systemctl is-active {TIMER}") == "active\n"
    deployment.play(archiver_state="absent")
    assert machine.tell(f"cd {ARCHIVE} && find . -type f | sort | xargs sha256sum") == before
    left = machine.tell(
        "ls -d /etc/cloudscale-audit* /etc/systemd/system/*cloudscale* /usr/local/*/cloudscale* 2>&1; true"
    )
    assert all("No such file" in line for line in left.splitlines()), left
    assert "cloudscale" not in machine.tell("systemctl list-units --all --no-legend 'cloudscale-audit*'")
    assert deployment.play(archiver_state="absent")["changed"] == 0, deployment.output
    simulator.project("main").log.append(action="server_stop", message="after a new installation")
    deployment.play()
    machine.tell(f"systemctl start {SERVICE}")
    assert kept(machine) == simulator.project("main").log.entries
    machine.tell(f"cloudscale-audit verify {ARCHIVE}")
