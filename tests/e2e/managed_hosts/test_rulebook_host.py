# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide to running a rulebook on a host, followed on one: its commands, its files, and what they promise."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import ssl
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import trustme
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.conftest import BIN, CA, SUITES, trust
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.machines import (
    GATEWAY,
    Machine,
    run,
    wait_for,
    wheels,
)
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.state import Project
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.notify.hook import Hook

ROOT = Path(version.__file__).parents[2]
GUIDE = (ROOT / "docs/docsite/rst/rulebook_host_guide.rst").read_text()
SERVICE = "rulebook-eyes.service"
TOKEN_FILE = "/etc/rulebook/api_token"
CHECKPOINT, LEDGER = "/var/lib/rulebook/eyes.checkpoint", "/var/lib/rulebook/reviews"
PATIENCE = 240.0


def section(title: str) -> str:
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^[^\n]+\n-{{4,}}\n|\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def blocks(language: str, text: str = GUIDE) -> list[str]:
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    return [dedent(block).strip() + "\n" for block in found]


def commands(title: str) -> str:
    (script,) = blocks("shell", section(title))
    return f"set -eu\n{script}"


def files() -> dict[str, str]:
    """The guide's files by path, which is in their first line."""
    return {block.split()[1]: block for block in (*blocks("yaml"), *blocks("ini"))}


@pytest.fixture(scope="module")
def packages(suite: str, network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a package index, which has the collection as well."""
    directory = tmp_path_factory.mktemp("packages")
    for wheel in wheels(SUITES[suite]).iterdir():
        (directory / wheel.name).symlink_to(wheel)
    copy = directory / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "tests", "collections", "__pycache__"))
    run(BIN / "ansible-galaxy", "collection", "build", "--output-path", directory, copy)
    with ThreadingHTTPServer((GATEWAY, 0), partial(Quiet, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{GATEWAY}:{server.server_port}/"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def machine(root: Path, key: Path, simulator: Simulator) -> Iterator[Machine]:
    """A host of its own, without an archiver."""
    with Machine(root, key) as booted:
        trust(booted, simulator)
        yield booted


@pytest.fixture(scope="module")
def chat(machine: Machine) -> Iterator[Hook]:
    """Takes messages at the address of the guide."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("chat.example.com").configure_cert(context)
    machine.output_of(f"printf '127.0.0.1 localhost\\n{GATEWAY} chat.example.com\\n' > /etc/hosts")
    machine.output_of(f"cat >> {CA} <<'END'\n{authority.cert_pem.bytes().decode()}\nEND")
    with Hook(GATEWAY, 443, context) as listening:
        yield listening


@pytest.fixture(scope="module")
def project(simulator: Simulator) -> Project:
    return simulator.add_project("watched")


def write(machine: Machine, path: str, text: str) -> None:
    machine.output_of(f"mkdir -p {Path(path).parent}; cat > {path} <<'END'\n{text}END")


def reviews(machine: Machine) -> list[Any]:
    listed = machine.output_of(f"find {LEDGER} -name '*.json' -exec sh -c 'tr -d \"\\n\" < $1; echo' - {{}} ';'")
    return [json.loads(line) for line in listed.splitlines()]


def delete(project: Project, *names: str) -> None:
    for name in names:
        project.log.append(action="server_delete", message=f"Server '{name}' has been deleted")


def reviewed(machine: Machine) -> list[str]:
    """The names of the deleted servers whose review was sent, each as often as there are messages about it."""
    sent = [(review["entry"]["message"].split("'")[1], review["sent"]) for review in reviews(machine)]
    return sorted(name for name, times in sent for _time in range(times))


def pasted(script: str, token: str) -> str:
    """A script that reads the token from the terminal, with what is typed there."""
    return script.replace(f"cat > {TOKEN_FILE}", f"cat > {TOKEN_FILE} <<'END'\n{token}\nEND")


def journal(machine: Machine) -> str:
    return machine.output_of("journalctl --no-pager")


def test_the_guide_installs_it(
    machine: Machine, packages: str, simulator: Simulator, project: Project, chat: Hook
) -> None:
    # What the journal has from before the host is killed counts too.
    machine.output_of("mkdir -p /var/log/journal && systemctl restart systemd-journald")
    index = f"export PIP_NO_INDEX=1 PIP_FIND_LINKS={packages} PIP_TRUSTED_HOST={GATEWAY}"
    name = f"auditops-cloudscale-{version.VERSION}.tar.gz"
    machine.output_of(
        f"python3 -c 'import sys, urllib.request as r; r.urlretrieve(*sys.argv[1:])' {packages}{name} {name}"
    )
    machine.output_of(f"{index}\n{commands('Install ansible-rulebook')}")
    for path, text in files().items():
        write(machine, path, text.replace("review_interval: 60", "review_interval: 1"))
    machine.output_of(pasted(commands("Write the configuration"), project.token))
    surroundings = f"[Service]\nRestartSec=1\nEnvironment=CLOUDSCALE_API_URL={simulator.url} REQUESTS_CA_BUNDLE={CA}\n"
    write(machine, "/etc/systemd/system/rulebook-.service.d/test.conf", surroundings)
    machine.output_of(commands("Start the service"))
    wait_for(lambda: machine.try_(f"test -e {CHECKPOINT}").returncode == 0, "the checkpoint is there", PATIENCE)
    assert machine.output_of("stat -c '%n %a %U' /etc/rulebook/api_token /etc/rulebook/vars.yml /var/lib/rulebook") == (
        "/etc/rulebook/api_token 600 root\n/etc/rulebook/vars.yml 640 root\n/var/lib/rulebook 700 rulebook\n"
    )


def test_an_event_opens_a_review(machine: Machine, project: Project, chat: Hook) -> None:
    delete(project, "a")
    wait_for(lambda: len(chat.taken) == 1, "the reviewer was told", PATIENCE)
    assert "Server 'a' has been deleted" in chat.taken[0].body["text"]
    wait_for(lambda: reviewed(machine) == ["a"], "the message is in the ledger", PATIENCE)


def test_no_restart_and_no_kill_loses_a_review_or_repeats_one(machine: Machine, project: Project, chat: Hook) -> None:
    machine.output_of(f"systemctl stop {SERVICE}")
    delete(project, "b")
    machine.output_of(f"systemctl start {SERVICE}")
    wait_for(lambda: reviewed(machine) == ["a", "b"], "the review of the time between was sent", PATIENCE)
    machine.output_of(f"systemctl kill --signal=KILL {SERVICE}")
    delete(project, "c")
    wait_for(lambda: reviewed(machine) == ["a", "b", "c"], "it continues after the kill", PATIENCE)
    machine.kill()
    delete(project, "d")
    wait_for(lambda: reviewed(machine) == ["a", "b", "c", "d"], "it continues after the boot", PATIENCE)
    alerts = [alert["entry"]["message"] for alert in chat.alerts]
    assert sorted(alerts) == [f"Server '{name}' has been deleted" for name in "abcd"]


def test_the_token_is_the_service_s_alone(machine: Machine, project: Project) -> None:
    pid = machine.output_of(f"systemctl show --value --property=MainPID {SERVICE}").strip()
    credential = f"/run/credentials/{SERVICE}/api_token"
    assert f"CREDENTIALS_DIRECTORY={Path(credential).parent}" in machine.output_of(
        f"tr '\\0' '\\n' < /proc/{pid}/environ"
    )
    assert machine.output_of(f"nsenter --target {pid} --mount cat {credential}").strip() == project.token
    half = len(project.token) // 2
    # In two parts, so that the search does not find itself.
    found = machine.try_(
        f"token='{project.token[:half]}''{project.token[half:]}'\n"
        'grep -lF -- "$token" /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null\n'
        'grep -rlF -- "$token" /etc /opt /var /tmp /usr/share/ansible /root 2>/dev/null'
    )
    assert found.stdout.split() == [TOKEN_FILE]
    assert project.token not in journal(machine)
    assert project.token not in machine.output_of(f"systemctl show {SERVICE}")
    assert "chat.example.com/hooks" not in journal(machine)
    assert machine.exposure(SERVICE) <= 1.5
    assert machine.exposure("rulebook-remind.service") <= 1.5


def test_reviewers_are_reminded_and_acknowledge(machine: Machine, project: Project, chat: Hook) -> None:
    assert machine.output_of("systemctl is-active rulebook-remind.timer") == "active\n"
    chat.taken.clear()
    machine.output_of("systemctl start rulebook-remind.service")
    assert chat.taken == []
    # As if the messages had been sent in another year.
    machine.output_of(f'sed -i \'s/\\("sent_at": *"\\)20../\\12001/\' {LEDGER}/*.json')
    machine.output_of("systemctl start rulebook-remind.service")
    (message,) = chat.taken
    assert len(message.body["alerts"]) == 4
    (console,) = blocks("console", section("Acknowledge a review"))
    program = console.removeprefix("$ ").split(" auditops")[0]
    command = re.search(r"ansible-playbook (auditops[^`]*)", message.body["text"], re.DOTALL)
    assert command, message.body["text"]
    assert [word.split("=")[0] for word in shlex.split(command[1])] == [
        word.split("=")[0] for word in shlex.split(console.split("ansible-playbook ")[1])
    ]
    machine.output_of(f"{program} {command[1]}")
    assert {review["state"] for review in reviews(machine)} == {"acknowledged"}


def test_the_token_is_replaced_by_the_guide(machine: Machine, project: Project, chat: Hook) -> None:
    project.rotate_token()
    machine.output_of(pasted(commands("Replace the token"), project.token))
    delete(project, "e")
    wait_for(lambda: "e" in reviewed(machine), "the new token is used", PATIENCE)
