# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archiver that feeds a log server, and whose metrics node_exporter serves: configured as the guide says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from textwrap import dedent

import pytest
import trustme
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, parse
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.conftest import CA, Deployment, trust
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.machines import Machine, wait_for
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator, bulk
from ansible_collections.auditops.cloudscale.tests.simulator.state import Project

GUIDE = Path(version.__file__).parents[2] / "docs/docsite/rst/archiver_watching_guide.rst"
ARCHIVE = "/var/lib/cloudscale-audit/logged/archive"
BOOKMARK = "/var/lib/cloudscale-audit/logged/journal.json"
SERVICE = "cloudscale-audit-collect.service"
METRICS = "/var/lib/prometheus/node-exporter"
RECEIVED = "/var/log/cloudscale-audit.jsonl"
# More than journald takes of a service at its default rate, whatever the size of the disk.
MANY = 40_000
HOSTILE = [
    'line\nbreak\ttab \x00 \x1b[31m \x7f \x85 \u2028 \u202e Z\u00fcrich \U0001f3d4 #011 \\ " %msg% <13>',
    "64 KiB: " + "x" * 70_000,
    "a megabyte: " + "y" * 1_000_000,
    "of other letters: " + "\u00fc" * 1_000_000,
]
EXACT = r'{"timestamp":"%s","action":"a","message":"\ud800","number":1.10,"big":1e400}'
FORGED = """
import socket, ssl
context = ssl.create_default_context(cafile="/etc/rsyslog.tls/ca.pem")
connection = socket.create_connection(("logs.example.org", 6514), timeout=10)
with context.wrap_socket(connection, server_hostname="logs.example.org") as tls:
    tls.sendall(b"<86>1 - - cloudscale-audit - - - forged\\n")
    tls.recv(1)
"""


@dataclass
class Pair:
    """An archiver and the log server that it feeds."""

    archiver: Machine
    server: Machine
    deployment: Deployment
    log: Project

    def collect(self) -> None:
        self.archiver.output_of(f"systemctl start {SERVICE}")
        wait_for(lambda: not self._is_at_work(), "the run and the journal's part of it have ended")

    def _is_at_work(self) -> bool:
        return self.archiver.try_(f"systemctl is-active {SERVICE}").stdout.strip() in ("activating", "deactivating")

    def received(self) -> dict[str, bytes]:
        """What arrived, by id; what has the same id is the same."""
        found: dict[str, bytes] = {}
        for line in self.server.output_of(f"cat {RECEIVED}").splitlines():
            message = parse(line.encode())
            assert found.setdefault(message["id"], canonical(message["entry"])) == canonical(message["entry"])
        return found

    def archived(self) -> Counter[bytes]:
        return Counter(
            line.encode() for line in self.archiver.output_of(f"cloudscale-audit cat {ARCHIVE}").split("\n")[:-1]
        )

    def wait_for_all(self) -> int:
        """Wait until as many entries have arrived as there are in the archive, counted as the guide says."""
        expected, count = self.archived().total(), blocks("shell")[-1]
        whole = f"tail --bytes=1 {RECEIVED}"
        wait_for(
            lambda: int(self.server.output_of(count)) >= expected and self.server.output_of(whole) == "\n",
            "all have arrived",
            seconds=180,
        )
        return expected

    def metric(self, name: str) -> float:
        """What node_exporter serves."""
        ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9100/metrics').read().decode())"
        served = self.archiver.output_of(f'python3 -c "{ask}"')
        found = re.search(rf"^{re.escape(name)} (\S+)$", served, re.MULTILINE)
        assert found, served
        return float(found[1])


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", GUIDE.read_text(), re.MULTILINE)
    return [dedent(block) for block in found]


def write(machine: Machine, path: str, text: str) -> None:
    machine.output_of(f"mkdir -p $(dirname {path}); cat > {path} <<'THE END'\n{text}\nTHE END")


def place_certificate(machine: Machine, name: str, authority: trustme.CA) -> None:
    certificate = authority.issue_cert(name, common_name=name)
    write(machine, "/etc/rsyslog.tls/ca.pem", authority.cert_pem.bytes().decode())
    write(machine, f"/etc/rsyslog.tls/{name}.key", certificate.private_key_pem.bytes().decode())
    chain = "".join(part.bytes().decode() for part in certificate.cert_chain_pems)
    write(machine, f"/etc/rsyslog.tls/{name}.pem", chain)


def set_up_rsyslog(machine: Machine, name: str, authority: trustme.CA, configuration: str) -> None:
    place_certificate(machine, name, authority)
    write(machine, "/etc/rsyslog.d/00-cloudscale-audit.conf", configuration)
    machine.output_of("apt-get install --yes --no-install-recommends rsyslog rsyslog-gnutls")
    assert "error" not in machine.output_of("rsyslogd -N1 2>&1")
    machine.output_of("systemctl restart rsyslog")


@pytest.fixture(scope="module")
def pair(root: Path, key: Path, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    authority = trustme.CA()
    sender, receiver, *_syslog_ng = blocks("text")
    with Machine(root, key) as archiver, Machine(root, key) as server:
        trust(archiver, simulator)
        archiver.output_of(f"echo {server.address} logs.example.org >> /etc/hosts")
        set_up_rsyslog(server, "logs.example.org", authority, receiver)
        set_up_rsyslog(archiver, "archive1.example.org", authority, sender)
        archiver.output_of("apt-get install --yes --no-install-recommends prometheus-node-exporter")
        deployment = Deployment(tmp_path_factory.mktemp("controller"), archiver=archiver)
        log = simulator.add_project("logged")
        deployment.variables = {
            "archiver_schedule": "*-12-24 00:00:00",
            "archiver_random_delay": "0",
            "archiver_projects": [{"name": "logged", "token": log.token, "api_url": simulator.url, "ca_path": CA}],
            "archiver_journal": True,
            "archiver_metrics_dir": METRICS,
        }
        yield Pair(archiver, server, deployment, log)


def test_converge(pair: Pair) -> None:
    pair.deployment.play()
    assert pair.archiver.exposure(SERVICE) <= 1.5


def test_received_entries_equal_the_archive(pair: Pair, simulator: Simulator) -> None:
    now = datetime.now(timezone.utc)
    month = now - timedelta(days=30), now - timedelta(days=1)
    pair.log.log.extend(bulk(MANY, *month, subject=pair.log.log.subject))
    for message in HOSTILE:
        pair.log.log.append(message=message)
    pair.log.log.extend([EXACT % now.isoformat()])
    simulator.set(page_size=1000)
    try:
        pair.collect()
    finally:
        simulator.set(page_size=3)
    assert pair.wait_for_all() == MANY + len(HOSTILE) + 1
    assert Counter(pair.received().values()) == pair.archived()


def test_nothing_of_it_is_in_the_hosts_own_files(pair: Pair) -> None:
    assert '"entry":' not in pair.archiver.output_of("cat /var/log/*.log /var/log/syslog")


def test_only_what_is_new_is_sent(pair: Pair) -> None:
    before = int(pair.server.output_of(f"wc -l < {RECEIVED}"))
    pair.log.log.append(message="new")
    pair.collect()
    wait_for(lambda: int(pair.server.output_of(f"wc -l < {RECEIVED}")) > before, "the new one has arrived")
    assert Counter(pair.received().values()) == pair.archived()
    assert int(pair.server.output_of(f"wc -l < {RECEIVED}")) == before + 1


def test_clients_without_a_certificate_are_refused(pair: Pair) -> None:
    write(pair.archiver, "/root/forge.py", FORGED)
    pair.archiver.try_("python3 /root/forge.py")
    pair.log.log.append(message="behind it")
    pair.collect()
    wait_for(lambda: "behind it" in pair.server.output_of(f"tail -n 1 {RECEIVED}"), "the next one has arrived")
    assert "forged" not in pair.server.output_of(f"cat {RECEIVED}")


def test_without_a_bookmark_an_empty_log_server_is_filled_again(pair: Pair) -> None:
    pair.server.output_of(f"truncate --size=0 {RECEIVED}")
    pair.archiver.output_of(f"rm {BOOKMARK}")
    pair.collect()
    pair.wait_for_all()
    assert Counter(pair.received().values()) == pair.archived()


def test_node_exporter_serves_the_metrics(pair: Pair, simulator: Simulator) -> None:
    labels = f'archive="{ARCHIVE}"%s,project="logged"'
    of = {command: "{%s}" % (labels % f',command="{command}"') for command in ("collect", "journal", "verify")}
    pair.archiver.output_of("systemctl start cloudscale-audit-verify.service")
    assert pair.metric("node_textfile_scrape_error") == 0
    assert pair.metric("cloudscale_audit_entries{%s}" % (labels % "")) == pair.archived().total()
    for labelled in of.values():
        assert pair.metric(f"cloudscale_audit_last_run_exit_status{labelled}") == 0
    success = pair.metric(f"cloudscale_audit_last_success_timestamp_seconds{of['collect']}")
    simulator.stop()
    try:
        assert pair.archiver.try_(f"systemctl start {SERVICE}").returncode != 0
    finally:
        simulator.start()
    assert pair.metric(f"cloudscale_audit_last_run_exit_status{of['collect']}") == 3
    assert pair.metric(f"cloudscale_audit_last_success_timestamp_seconds{of['collect']}") == success


def test_the_second_send_has_nothing_to_do(pair: Pair) -> None:
    assert pair.deployment.play("--diff")["changed"] == 0, pair.deployment.output


def test_metrics_of_removed_projects_disappear_and_the_bookmark_stays(pair: Pair) -> None:
    pair.archiver.output_of(f"touch {METRICS}/of-others.prom")
    pair.deployment.play(archiver_state="absent", archiver_metrics_dir="")
    assert pair.archiver.output_of(f"ls {METRICS}").split() == ["of-others.prom"]
    assert pair.archiver.output_of(f"ls {BOOKMARK}").split() == [BOOKMARK]
