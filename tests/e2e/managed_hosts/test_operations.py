# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What befalls archivers: secrets to hide, verification, killed hosts, full disks, other versions, lost hosts."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.conftest import CA, Deployment
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.machines import GATEWAY, Machine, wait_for
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.state import Project

ROOT = Path(version.__file__).parents[2]
GUIDE = ROOT / "docs/docsite/rst/archiver_operations_guide.rst"
ARCHIVE = "/var/lib/cloudscale-audit/production/archive"
SERVICE = "cloudscale-audit-collect.service"
VERIFY = "cloudscale-audit-verify.service"
TIMER = "cloudscale-audit-collect.timer"
SIGNERS = "/etc/cloudscale-audit/allowed_signers"
HOOK = """#!/bin/sh
echo "the hook was told that $CLOUDSCALE_AUDIT_PROJECT $CLOUDSCALE_AUDIT_STATE: $CLOUDSCALE_AUDIT_MESSAGE"
"""


@pytest.fixture(scope="module")
def log(simulator: Simulator, deployment: Deployment) -> Project:
    """A project with some entries, and a host that shall keep them."""
    made = simulator.add_project("production")
    add(made, 7)
    deployment.variables["archiver_projects"] = [wanted(simulator)]
    return made


def wanted(simulator: Simulator, **options: Any) -> dict[str, Any]:
    token = simulator.project("production").token
    return {"name": "production", "token": token, "api_url": simulator.url, "ca_path": CA, **options}


def add(log: Project, count: int) -> None:
    for _number in range(count):
        log.log.append(action="server_create", message=secrets.token_hex(8))


def kept(machine: Machine, archive: str = ARCHIVE) -> list[Any]:
    return [json.loads(line) for line in machine.output_of(f"cloudscale-audit cat {archive}").splitlines()]


def key_of(machine: Machine) -> str:
    """The public key that the host signs with, as files of signers have it."""
    return " ".join(machine.output_of("ssh-keygen -y -f /etc/cloudscale-audit/sign_key").split()[:2])


def journal(machine: Machine) -> str:
    return machine.output_of("journalctl --no-pager -t cloudscale-audit")


def blocks(title: str) -> list[str]:
    """The shell blocks of a section of the guide, each as one script."""
    section = re.search(rf"^{title}\n-+\n(.*?)(?=^[^\n]+\n-{{4,}}\n|\Z)", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert section, title
    found = re.findall(r"^\.\. code-block:: shell\n\n((?:    .*\n|\n)+)", section[1], re.MULTILINE)
    return [dedent(block).strip() for block in found]


class Fleet(Deployment):
    """The hosts of the guide, driven by its own command lines."""

    def follow(self, script: str) -> dict[str, dict[str, int]]:
        """Run each of the script's playbooks; the recaps of the last one."""
        for line in script.splitlines():
            # The token of these tests is not in a vault.
            command, *arguments = shlex.split(line.replace(" --ask-vault-pass", ""))
            assert (command, arguments[:3]) == (
                "ansible-playbook",
                ["-i", "inventory.yml", "auditops.cloudscale.deploy_archiver"],
            )
            done = self.attempt(*arguments[3:])
            assert done.returncode == 0, self.output
        return self.recaps


@pytest.fixture(scope="module")
def fleet(machine: Machine, deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    made = Fleet(tmp_path_factory.mktemp("fleet"), **{"archive1.example.org": machine})
    made.variables = deployment.variables
    return made


@pytest.fixture(scope="module")
def grown(fleet: Fleet, other_machine: Machine) -> Fleet:
    """The fleet with a second host."""
    fleet.machines["archive2.example.org"] = other_machine
    return fleet


class Listener:
    """Hears of good runs, as a service does that warns when it has not heard of one for long."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.asked.append(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer((GATEWAY, 0), Handler)
        self.path = f"/ping/{secrets.token_urlsafe(20)}"
        self.url = f"http://{GATEWAY}:{self.server.server_port}{self.path}"


@pytest.fixture
def listener(network: None) -> Iterator[Listener]:
    made = Listener()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_installing_by_the_guide(machine: Machine, fleet: Fleet, log: Project) -> None:
    install, start = blocks("Install archivers")
    (short,) = re.findall(r"^ansible-playbook .*deploy_archiver$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert short == install.replace(" --ask-vault-pass", "").splitlines()[-1]
    assert fleet.follow(install)["archive1.example.org"]["changed"] > 0
    machine.output_of(start)
    assert kept(machine) == log.log.entries


def test_a_successful_run_calls_the_ping_url(
    machine: Machine, deployment: Deployment, simulator: Simulator, log: Project, listener: Listener
) -> None:
    deployment.play("--diff", "-vvv", archiver_projects=[wanted(simulator, ping_url=listener.url)])
    add(log, 1)
    machine.output_of(f"systemctl start {SERVICE}")
    assert listener.asked == [listener.path]
    assert kept(machine) == log.log.entries
    simulator.stop()
    assert machine.try_(f"systemctl start {SERVICE}").returncode != 0
    simulator.start()
    assert listener.asked == [listener.path]
    assert listener.path not in deployment.output
    assert listener.path not in machine.output_of(f"journalctl --no-pager; systemctl show {SERVICE}")


def test_secrets_can_be_stored_encrypted(
    machine: Machine, deployment: Deployment, simulator: Simulator, log: Project, listener: Listener
) -> None:
    hidden = {
        "archiver_encrypted_credentials": True,
        "archiver_projects": [wanted(simulator, ping_url=listener.url)],
    }
    before = machine.output_of("ls -lR /etc/cloudscale-audit /var/lib/systemd")
    assert deployment.play("--check", "--diff", **hidden)["changed"] > 0
    assert machine.output_of("ls -lR /etc/cloudscale-audit /var/lib/systemd") == before
    deployment.play("--diff", "-vvv", **hidden)
    assert log.token not in deployment.output
    assert listener.path not in deployment.output
    assert machine.output_of("stat -c '%n %a %U' /etc/cloudscale-audit/*").splitlines() == [
        "/etc/cloudscale-audit/allowed_signers 644 root",
        "/etc/cloudscale-audit/pings.json.encrypted 600 root",
        "/etc/cloudscale-audit/projects.json 644 root",
        "/etc/cloudscale-audit/sign_key 600 root",
        "/etc/cloudscale-audit/tokens.json.encrypted 600 root",
    ]
    assert machine.try_(f"grep -rF -e {log.token} -e {listener.path} /etc").stdout == ""
    assert deployment.play("--diff", **hidden)["changed"] == 0, deployment.output
    add(log, 1)
    machine.output_of(f"systemctl start {SERVICE}")
    assert kept(machine) == log.log.entries
    assert listener.asked == [listener.path]
    log.rotate_token()
    hidden["archiver_projects"] = [wanted(simulator, ping_url=listener.url)]
    assert deployment.play("--diff", **hidden)["changed"] == 1, deployment.output
    assert log.token not in deployment.output
    machine.output_of(f"systemctl start {SERVICE}")


def test_secrets_are_stored_unencrypted_again(
    machine: Machine, deployment: Deployment, simulator: Simulator, log: Project
) -> None:
    deployment.variables["archiver_projects"] = [wanted(simulator)]
    deployment.play()
    names = ["allowed_signers", "projects.json", "sign_key", "tokens.json"]
    assert machine.output_of("ls /etc/cloudscale-audit").split() == names
    machine.output_of(f"systemctl start {SERVICE}")
    assert kept(machine) == log.log.entries


def test_the_archive_is_verified_by_a_timer(
    machine: Machine, deployment: Deployment, simulator: Simulator, log: Project
) -> None:
    machine.output_of(f"cat > /usr/local/bin/hook <<'END'\n{HOOK}END\nchmod +x /usr/local/bin/hook")
    # Not oftener: systemd refuses the sixth start within ten seconds.
    scheduled = {"archiver_verify_schedule": "*:*:0/4", "archiver_failure_command": "/usr/local/bin/hook"}
    assert deployment.play(**scheduled)["changed"] > 0
    wait_for(lambda: f"Intact: {len(log.log.entries)} entries" in journal(machine), "the archive was verified")
    file = machine.output_of(f"ls {ARCHIVE}/entries/*/* | head -1").strip()
    machine.output_of(f"cp -p {file} /root/saved && sed -i '$ s/.$//' {file}")
    wait_for(
        lambda: bool(re.search(r"production: FINDING \w+: entries/", journal(machine))), "the finding is in the journal"
    )
    wait_for(lambda: "the hook was told that production failed" in journal(machine), "the hook has run")
    machine.output_of(f"cp -p /root/saved {file}")
    wait_for(lambda: "the hook was told that production recovered" in journal(machine), "the hook has run again")
    assert len(re.findall("the hook was told", journal(machine))) == 2
    assert deployment.play(archiver_verify_schedule="")["changed"] > 0
    assert "audit-verify" not in machine.output_of("ls /etc/systemd/system; systemctl list-units --all")


@pytest.mark.parametrize("pages", [2, 15, 30])
def test_a_host_killed_during_a_run_continues_after_the_next_boot(
    machine: Machine, simulator: Simulator, log: Project, pages: int
) -> None:
    add(log, 99)
    simulator.clear_requests()
    simulator.set(latency=0.05)
    machine.output_of(f"systemctl start --no-block {SERVICE}")
    wait_for(lambda: len(simulator.requests) >= pages, f"{pages} pages were read")
    machine.kill()
    simulator.set(latency=0.0)
    assert machine.output_of(f"systemctl is-active {TIMER}") == "active\n"
    machine.output_of(f"cloudscale-audit verify {ARCHIVE}")
    assert len(kept(machine)) < len(log.log.entries)
    machine.output_of(f"systemctl start {SERVICE}")
    assert kept(machine) == log.log.entries
    machine.output_of(f"cloudscale-audit verify {ARCHIVE}")


def test_a_run_missed_while_the_host_was_off_is_made_up_for(machine: Machine, log: Project) -> None:
    machine.output_of(f"touch -d '3 years ago' /var/lib/systemd/timers/stamp-{TIMER}")
    add(log, 1)
    machine.kill()
    wait_for(lambda: kept(machine) == log.log.entries, "the timer has fired after the boot")


def test_a_full_disk_fails_one_project_until_there_is_room_again(
    machine: Machine, deployment: Deployment, simulator: Simulator, log: Project
) -> None:
    machine.output_of("mkdir -p /srv/small && mount -t tmpfs -o size=256k tmpfs /srv/small")
    archive = "/srv/small/archive"
    small = [wanted(simulator), wanted(simulator, path=archive, name="small")]
    assert deployment.attempt(archiver_projects=small).returncode != 0
    assert f"small cannot be collected: space: Only 0.0 GiB free for {archive}; free some space." in deployment.output
    assert "production cannot be collected" not in deployment.output
    machine.output_of(f"systemctl start {SERVICE}")
    add(log, 5)
    before = kept(machine, archive)
    machine.try_("cat /dev/zero > /srv/small/fill")
    assert machine.try_(f"systemctl start {SERVICE}").returncode != 0
    assert re.search(rf"small: Cannot write {archive}/\S+: No space left on device", journal(machine))
    machine.output_of(f"cloudscale-audit verify {archive}")
    assert kept(machine, archive) == before
    assert kept(machine) == log.log.entries
    machine.output_of(f"rm /srv/small/fill; systemctl start {SERVICE}")
    assert kept(machine, archive) == log.log.entries
    machine.output_of(f"cloudscale-audit verify {archive}")
    deployment.play()


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The collection as it is, with another version."""
    place = tmp_path / "ansible_collections/auditops/cloudscale"
    shutil.copytree(ROOT, place, ignore=shutil.ignore_patterns(".*", "tests", "docs", "__pycache__"))
    file = place / "plugins/module_utils/version.py"
    file.write_text(file.read_text().replace(version.VERSION, "99.0.0"))
    return tmp_path


def test_a_run_continues_with_the_version_it_started_with(
    machine: Machine, deployment: Deployment, simulator: Simulator, log: Project, newer: Path
) -> None:
    versions = "ls /usr/local/lib/cloudscale-audit/*.pyz"
    before = machine.output_of("readlink -f /usr/local/bin/cloudscale-audit").strip()
    add(log, 99)
    simulator.clear_requests()
    simulator.set(latency=10.0)
    machine.output_of(f"systemctl start --no-block {SERVICE}")
    wait_for(lambda: len(simulator.requests) > 0, "the run reads")
    deployment.collections = newer
    deployment.play(archiver_doctor=False)
    assert machine.output_of("cloudscale-audit --version") == "99.0.0\n"
    assert machine.try_(f"systemctl is-active {SERVICE}").stdout == "activating\n"
    assert before in machine.output_of(versions).split()
    simulator.set(latency=0.0)
    wait_for(lambda: kept(machine) == log.log.entries, "the run has read everything")
    assert {request.headers["User-Agent"].split()[0].rpartition("/")[2] for request in simulator.requests} == {
        version.VERSION
    }
    for collections in (None, newer, None):
        deployment.collections = collections
        deployment.play()
    assert len(machine.output_of(versions).split()) == 2


def test_a_failure_on_the_first_host_stops_the_rollout(
    machine: Machine, grown: Fleet, simulator: Simulator, other_machine: Machine, log: Project
) -> None:
    simulator.stop()
    assert grown.attempt().returncode != 0
    simulator.start()
    assert "production cannot be collected: api: No connection to" in grown.output
    assert grown.recaps["archive2.example.org"]["failed"] == 0
    # The keys alone come to all hosts first.
    assert other_machine.output_of("ls /etc/cloudscale-audit").split() == ["allowed_signers", "sign_key"]
    for host in (machine, other_machine):
        assert key_of(machine) in host.output_of(f"cat {SIGNERS}")
        assert key_of(other_machine) in host.output_of(f"cat {SIGNERS}")


def test_commands_for_watching_run(machine: Machine, grown: Fleet, log: Project) -> None:
    watch, copy = blocks("Watch the services")
    shown = machine.output_of(f"set -eu\n{watch}")
    assert TIMER in shown
    assert re.search(r"^production +current", shown, re.MULTILINE)
    machine.output_of(f"set -eu\n{copy}")


def test_a_lost_host_is_restored_without_loss(
    machine: Machine, other_machine: Machine, grown: Fleet, tmp_path: Path, log: Project
) -> None:
    install, restore, start = blocks("Replace a lost host")
    copied = kept(machine)
    for name in ("production.tar.gz", "production.json"):
        machine.send(f"/root/{name}", tmp_path / name)
        other_machine.receive(tmp_path / name, f"/root/{name}")
    add(log, 4)
    grown.follow(install)
    assert other_machine.try_(f"systemctl is-active {TIMER}").stdout == "inactive\n"
    other_machine.output_of(f"set -eu\n{restore}")
    assert kept(other_machine)[: len(copied)] == copied
    assert kept(other_machine) == log.log.entries
    noted = json.loads((tmp_path / "production.json").read_text())["head"]
    status = json.loads(other_machine.output_of(f"cloudscale-audit status --json {ARCHIVE}"))
    assert "archive1.example.org" in other_machine.output_of(f"cat {SIGNERS}")
    assert status["head"]["sequence"] > noted["sequence"]
    assert status["gaps"] == []
    grown.follow(start)
    assert other_machine.output_of(f"systemctl is-active {TIMER}") == "active\n"


def test_a_fleet_takes_a_version_host_after_host(grown: Fleet, simulator: Simulator, log: Project) -> None:
    grown.variables["archiver_projects"] = [wanted(simulator)]
    (upgrade,) = blocks("Upgrade")
    recaps = grown.follow(upgrade)
    assert list(recaps) == ["archive1.example.org", "archive2.example.org"]
    assert recaps["archive2.example.org"]["changed"] == 0, grown.output
    policy = (ROOT / "docs/docsite/rst/upgrade_policy_guide.rst").read_text()
    one, verify, others = re.findall(r"^    ((?:ansible-playbook|ssh) .*)$", policy, re.MULTILINE)
    assert list(grown.follow(one)) == ["archive1.example.org"]
    grown.machines["archive1.example.org"].output_of(verify.removeprefix("ssh root@archive1.example.org "))
    assert list(grown.follow(others)) == ["archive1.example.org", "archive2.example.org"]
    log.rotate_token()
    grown.variables["archiver_projects"] = [wanted(simulator)]
    (rotate,) = blocks("Renew tokens")
    assert [recap["changed"] for recap in grown.follow(rotate).values()] == [1, 1]
    for host in grown.machines.values():
        add(log, 1)
        host.output_of(f"systemctl start {SERVICE}")
        assert kept(host) == log.log.entries


def test_keys_are_rotated_by_the_guide(
    machine: Machine, other_machine: Machine, grown: Fleet, simulator: Simulator, log: Project
) -> None:
    (rotate,) = blocks("Sign commits")
    before = {host: key_of(host) for host in (machine, other_machine)}
    grown.follow(rotate)
    for host, old in before.items():
        new = key_of(host)
        assert new != old
        for signers in (machine.output_of(f"cat {SIGNERS}"), other_machine.output_of(f"cat {SIGNERS}")):
            lines = [next(line for line in signers.splitlines() if key in line) for key in (old, new)]
            assert ["valid-before=" in line for line in lines] == [True, False]
        add(log, 1)
        host.output_of(f"systemctl start {SERVICE}")
        assert kept(host) == log.log.entries
        host.output_of(f"cloudscale-audit verify {ARCHIVE} --allowed-signers {SIGNERS} --every-signature")
    assert [recap["changed"] for recap in grown.follow(rotate.split(" -e ")[0]).values()] == [0, 0]


def test_removal_by_the_guide(machine: Machine, grown: Fleet) -> None:
    (remove,) = blocks("Remove an archiver")
    assert list(grown.follow(remove)) == ["archive1.example.org"]
    assert machine.try_("cloudscale-audit --version").returncode == 127
    assert machine.output_of("ls /etc/cloudscale-audit") == "allowed_signers\n"
    assert machine.output_of(f"ls {ARCHIVE}").split() == ["commits", "entries", "pending", "signatures", "timestamps"]
