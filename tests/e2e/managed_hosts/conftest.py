# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.tests.e2e.managed_hosts.machines import (
    GATEWAY,
    Machine,
    own_network,
    prepared_root,
    run,
    tree,
    wheels,
)
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

BIN = Path(sys.executable).parent
CA = "/etc/ssl/certs/simulator.pem"
# Debian 12 and 13, with their Pythons: pytest -k bookworm, for one of them.
SUITES = {"bookworm": "3.11", "trixie": "3.13"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs an idle machine, unless it is asked for by its marker."""
    if config.getoption("markexpr"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


class Deployment:
    """Runs the playbook deploy_archiver against hosts of these names."""

    def __init__(self, directory: Path, **machines: Machine) -> None:
        self.directory, self.machines = directory, machines
        self.output = ""
        self.variables: dict[str, Any] = {}
        # Where another version of the collection lies, with ansible_collections in it.
        self.collections: Path | None = None

    def play(self, *arguments: str, **variables: Any) -> dict[str, int]:
        """Run the playbook with these variables in addition to the fixed ones; return the recap of the last host."""
        done = self.attempt(*arguments, **variables)
        assert done.returncode == 0, self.output
        return self.recaps[list(self.machines)[-1]]

    @property
    def recaps(self) -> dict[str, dict[str, int]]:
        """What the last run did, by host; the controller is none of them."""
        found = dict(re.findall(r"^(\S+) +: (ok=.*)$", self.output, re.MULTILINE))
        found.pop("localhost", None)
        return {host: {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", recap)} for host, recap in found.items()}

    def attempt(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        inventory = self.directory / "inventory.yml"
        hosts = {name: {**_login(machine), **self.variables, **variables} for name, machine in self.machines.items()}
        inventory.write_text(json.dumps({"archivers": {"hosts": hosts}}))
        elsewhere = {"ANSIBLE_COLLECTIONS_PATH": str(self.collections)} if self.collections else {}
        done = subprocess.run(
            [BIN / "ansible-playbook", "-i", inventory, "auditops.cloudscale.deploy_archiver", *arguments],
            env={"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(self.directory), "LC_ALL": "C.UTF-8", **elsewhere},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        self.output = done.stdout + done.stderr
        return done


def _login(machine: Machine) -> dict[str, Any]:
    return {
        "ansible_host": machine.address,
        "ansible_user": "root",
        "ansible_ssh_common_args": machine.ssh_options,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_pipelining": True,
    }


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def network(request: pytest.FixtureRequest) -> Iterator[None]:
    # Trees and wheels come from outside, so they are fetched before.
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    for wanted in sorted({str(item.callspec.params["suite"]) for item in items if "suite" in item.fixturenames}):
        tree(wanted)
        if any("packages" in item.fixturenames for item in items):
            wheels(SUITES[wanted])
    with own_network():
        yield


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
    return path


@pytest.fixture(scope="session")
def root(suite: str, network: None, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked tree that the hosts of one Debian lie over."""
    return prepared_root(suite, tmp_path_factory.mktemp(suite), key)


# Each module has new hosts and a new simulator, so that no test depends on what another module leaves.


@pytest.fixture(scope="module")
def simulator(suite: str, network: None) -> Iterator[Simulator]:
    with Simulator(page_size=3, tls=True, host=GATEWAY) as running:
        yield running


@pytest.fixture(scope="module")
def machine(root: Path, key: Path, simulator: Simulator) -> Iterator[Machine]:
    with Machine(root, key) as booted:
        trust(booted, simulator)
        yield booted


@pytest.fixture(scope="module")
def other_machine(root: Path, key: Path, simulator: Simulator) -> Iterator[Machine]:
    with Machine(root, key) as booted:
        trust(booted, simulator)
        yield booted


def trust(machine: Machine, simulator: Simulator) -> None:
    assert simulator.ca_path
    machine.output_of(f"cat > {CA} <<'END'\n{Path(simulator.ca_path).read_text()}\nEND")


@pytest.fixture(scope="module")
def deployment(machine: Machine, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    made = Deployment(tmp_path_factory.mktemp("controller"), host=machine)
    # Fires only when a test says so.
    made.variables = {"archiver_schedule": "*-12-24 00:00:00", "archiver_random_delay": "0"}
    return made
