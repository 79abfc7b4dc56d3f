# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archiver and a log server with syslog-ng instead of rsyslog, configured as in the guide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trustme
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.conftest import CA, Deployment, trust
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.machines import Machine, wait_for
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.test_log_server import (
    BOOKMARK,
    EXACT,
    FORGED,
    HOSTILE,
    RECEIVED,
    Pair,
    blocks,
    place_certificate,
    write,
)
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator, bulk

FEW = 1_000


def set_up_syslog_ng(machine: Machine, name: str, authority: trustme.CA, configuration: str) -> None:
    place_certificate(machine, name, authority)
    machine.output_of("apt-get install --yes --no-install-recommends syslog-ng-core")
    write(machine, "/etc/syslog-ng/syslog-ng.conf", configuration)
    machine.output_of("syslog-ng --syntax-only")
    machine.output_of("systemctl restart syslog-ng")


@pytest.fixture(scope="module")
def pair(root: Path, key: Path, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    authority = trustme.CA()
    _rsyslog, _server, sender, receiver = blocks("text")
    with Machine(root, key) as archiver, Machine(root, key) as server:
        trust(archiver, simulator)
        archiver.output_of(f"echo {server.address} logs.example.org >> /etc/hosts")
        set_up_syslog_ng(server, "logs.example.org", authority, receiver)
        set_up_syslog_ng(archiver, "archive1.example.org", authority, sender)
        deployment = Deployment(tmp_path_factory.mktemp("controller"), archiver=archiver)
        log = simulator.add_project("logged")
        deployment.variables = {
            "archiver_schedule": "*-12-24 00:00:00",
            "archiver_random_delay": "0",
            "archiver_projects": [{"name": "logged", "token": log.token, "api_url": simulator.url, "ca_path": CA}],
            "archiver_journal": True,
        }
        deployment.play()
        yield Pair(archiver, server, deployment, log)


def test_received_entries_equal_the_archive(pair: Pair, simulator: Simulator) -> None:
    now = datetime.now(timezone.utc)
    month = now - timedelta(days=30), now - timedelta(days=1)
    pair.log.log.extend(bulk(FEW, *month, subject=pair.log.log.subject))
    for message in HOSTILE:
        pair.log.log.append(message=message)
    pair.log.log.extend([EXACT % now.isoformat()])
    simulator.set(page_size=1000)
    try:
        pair.collect()
    finally:
        simulator.set(page_size=3)
    assert pair.wait_for_all() == FEW + len(HOSTILE) + 1
    assert Counter(pair.received().values()) == pair.archived()


def test_clients_without_a_certificate_are_refused(pair: Pair) -> None:
    write(pair.archiver, "/root/forge.py", FORGED)
    pair.archiver.try_("python3 /root/forge.py")
    pair.log.log.append(message="behind it")
    pair.collect()
    wait_for(lambda: "behind it" in pair.server.output_of(f"tail -n 1 {RECEIVED}"), "the next one has arrived")
    assert "forged" not in pair.server.output_of(f"cat {RECEIVED}")


def test_entries_lost_in_an_outage_are_sent_again_without_the_bookmark(pair: Pair) -> None:
    pair.server.output_of("systemctl stop syslog-ng")
    pair.log.log.append(message="meanwhile")
    pair.collect()
    pair.server.output_of("systemctl start syslog-ng")
    pair.archiver.output_of(f"rm {BOOKMARK}")
    pair.collect()
    pair.wait_for_all()
    assert Counter(pair.received().values()) == pair.archived()
