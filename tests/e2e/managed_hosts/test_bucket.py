# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two archivers that keep one archive in a bucket, signed by the keys of both, and compared with the provider."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.conftest import CA, Deployment
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.machines import GATEWAY, Machine, wait_for
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.state import Project
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets
from ansible_collections.auditops.cloudscale.tests.storage.seaweed import SeaweedFS

PLACE = "s3://plain/shop"
METRICS = "/srv/seen/metrics"
SECRETS = "/etc/cloudscale-audit"
SIGNERS = f"{SECRETS}/allowed_signers"
SERVICE = "cloudscale-audit-collect.service"
VERIFY = "cloudscale-audit-verify.service"
RECONCILE = "cloudscale-audit-reconcile.service"


@pytest.fixture(scope="module")
def buckets(network: None) -> Iterator[Buckets]:
    with SeaweedFS(GATEWAY) as running:
        yield running.buckets


@pytest.fixture(scope="module")
def log(simulator: Simulator) -> Project:
    made = simulator.add_project("shop")
    made.log.append(timestamp=datetime.now(timezone.utc) - timedelta(days=3), message="old")
    for number in range(7):
        made.log.append(message=f"m{number}")
    return made


@pytest.fixture(scope="module")
def wanted(simulator: Simulator, log: Project, buckets: Buckets) -> dict[str, Any]:
    return {
        "name": "shop",
        "token": log.token,
        "api_url": simulator.url,
        "ca_path": CA,
        "path": PLACE,
        "s3_endpoint": buckets.url,
        "s3_access_key": buckets.keys.access,
        "s3_secret_key": buckets.keys.secret,
    }


def on_place(machine: Machine, command: str, options: str = "") -> str:
    """Run a command on the archive as root does."""
    return machine.output_of(
        f"CREDENTIALS_DIRECTORY={SECRETS} cloudscale-audit {command} --projects {SECRETS}/projects.json {options}"
    )


def kept(machine: Machine) -> list[Any]:
    return [json.loads(line.removeprefix("shop: ")) for line in on_place(machine, "cat").splitlines()]


def canonical(entry: Any) -> str:
    return json.dumps(entry, sort_keys=True)


def journal(machine: Machine, unit: str) -> str:
    return machine.output_of(f"journalctl --no-pager --unit {unit}")


@pytest.fixture(scope="module")
def pair(
    machine: Machine, other_machine: Machine, deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Deployment:
    """Both hosts, with the variables of the first one."""
    made = Deployment(tmp_path_factory.mktemp("pair"), one=machine, two=other_machine)
    made.variables = deployment.variables
    return made


def test_keys_that_the_bucket_does_not_take_stop_the_deployment(deployment: Deployment, wanted: dict[str, Any]) -> None:
    assert deployment.attempt(archiver_projects=[{**wanted, "s3_secret_key": "another"}]).returncode != 0
    assert re.search(r"shop cannot be collected: bucket: \S+ does not accept the credentials", deployment.output)


def test_a_bucket_without_keys_is_refused_before_anything_changes(
    deployment: Deployment, wanted: dict[str, Any]
) -> None:
    without = {name: value for name, value in wanted.items() if name != "s3_secret_key"}
    assert deployment.attempt(archiver_projects=[without]).returncode != 0
    assert (
        "shop: a project with its path in a bucket requires s3_access_key and s3_secret_key, or s3_credentials_file"
        in deployment.output
    )
    assert deployment.recaps["host"]["changed"] == 0


def test_a_run_keeps_the_log_in_the_bucket(
    machine: Machine, deployment: Deployment, log: Project, buckets: Buckets, wanted: dict[str, Any]
) -> None:
    more = {"archiver_projects": [wanted], "archiver_metrics_dir": METRICS, "archiver_journal": True}
    deployment.variables = {**deployment.variables, **more}
    assert deployment.play("--diff", "-vvv")["changed"] > 0
    assert machine.output_of(f"stat -c %U {METRICS} {METRICS}/..").split() == ["root", "root"]
    assert not [secret for secret in (log.token, buckets.keys.secret) if secret in deployment.output]
    assert machine.output_of(f"sed -n 2p {SECRETS}/sign_key").strip() not in deployment.output
    assert deployment.play("--diff")["changed"] == 0, deployment.output
    machine.output_of(f"systemctl start {SERVICE}")
    assert kept(machine) == log.log.entries
    printed = machine.output_of(
        "journalctl --no-pager --output=cat SYSLOG_IDENTIFIER=cloudscale-audit SYSLOG_FACILITY=10"
    )
    for entry in log.log.entries:
        assert entry["message"] in printed
    assert machine.output_of(f"stat -c '%n %a %U' {SECRETS}/*").splitlines() == [
        f"{SIGNERS} 644 root",
        f"{SECRETS}/projects.json 644 root",
        f"{SECRETS}/s3 600 root",
        f"{SECRETS}/sign_key 600 root",
        f"{SECRETS}/tokens.json 600 root",
    ]
    shown = machine.output_of(f"journalctl --no-pager; systemctl show {SERVICE} {VERIFY} {RECONCILE}")
    assert buckets.keys.secret not in shown
    assert machine.output_of("ls /var/lib/cloudscale-audit/shop").split() == ["journal.json", "pin.json", "state.json"]


def test_it_is_verified_and_compared_with_the_provider(machine: Machine) -> None:
    machine.output_of(f"systemctl start {VERIFY} {RECONCILE}")
    assert "Intact: 8 entries" in journal(machine, VERIFY)
    assert "Compared " in journal(machine, RECONCILE)
    names = [f"cloudscale-audit-{command}-shop.prom" for command in ("collect", "journal", "reconcile", "verify")]
    assert machine.output_of(f"ls {METRICS}").split() == names


@pytest.mark.parametrize("unit", [SERVICE, VERIFY, RECONCILE])
def test_each_unit_is_confined(machine: Machine, unit: str) -> None:
    assert machine.exposure(unit) <= 1.5


def test_a_timer_finds_entries_missing_from_the_archive(machine: Machine, deployment: Deployment, log: Project) -> None:
    machine.output_of(f"touch {METRICS}/of-others.prom")
    # Later than a collection run looks back, and within what is compared every day.
    log.log.append(timestamp=datetime.now(timezone.utc) - timedelta(hours=30), message="withheld so far")
    assert deployment.play(archiver_reconcile_schedule="*:*:0/2", archiver_metrics_dir="")["changed"] > 0
    wait_for(lambda: "FINDING missing_in_archive" in journal(machine, RECONCILE), "the comparison was made")
    assert machine.try_(f"systemctl is-failed {RECONCILE}").stdout.strip() in ("failed", "activating")
    assert machine.output_of(f"ls {METRICS}").split() == ["of-others.prom"]
    assert deployment.play(archiver_reconcile_schedule="")["changed"] > 0
    assert "audit-reconcile.timer" not in machine.output_of("ls /etc/systemd/system; systemctl list-units --all")


def test_a_key_that_the_other_host_would_not_know_is_refused(other_machine: Machine, pair: Deployment) -> None:
    assert pair.attempt("--limit", "two").returncode != 0
    assert "two has a new key and shares an archive with one, which this run does not include" in pair.output
    assert other_machine.try_(f"ls {SIGNERS}").returncode != 0


def test_two_hosts_accept_each_others_commits(
    machine: Machine, other_machine: Machine, pair: Deployment, log: Project
) -> None:
    pair.play()
    for number, host in enumerate((other_machine, machine, other_machine, machine)):
        log.log.append(message=f"by turns {number}")
        host.output_of(f"systemctl start {SERVICE}")
        # The archive has them by day.
        assert sorted(map(canonical, kept(host))) == sorted(map(canonical, log.log.entries))
    printed = on_place(machine, "verify", f"--allowed-signers {SIGNERS} --every-signature")
    assert "shop: Intact: " in printed
