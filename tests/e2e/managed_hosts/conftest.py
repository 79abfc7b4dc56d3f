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
)
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

BIN = Path(sys.executable).parent


class Deployment:
    """Runs the playbook deploy_archiver against one host."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self.folder, self.machine = folder, machine
        self.output = ""
        self.variables: dict[str, Any] = {}

    def play(self, *arguments: str, **variables: Any) -> dict[str, int]:
        """Run the playbook with these variables beside those that stand; the host's recap."""
        done = self.attempt(*arguments, **variables)
        assert done.returncode == 0, self.output
        recap = re.search(r"^host +: (.*)$", self.output, re.MULTILINE)
        assert recap, self.output
        return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap[1])}

    def attempt(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        inventory = self.folder / "inventory.json"
        host = {
            "ansible_host": self.machine.address,
            "ansible_user": "root",
            "ansible_ssh_common_args": self.machine.ssh_options,
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_pipelining": True,
            **self.variables,
            **variables,
        }
        inventory.write_text(json.dumps({"archivers": {"hosts": {"host": host}}}))
        done = subprocess.run(
            [BIN / "ansible-playbook", "-i", inventory, "auditops.cloudscale.deploy_archiver", *arguments],
            env={"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(self.folder), "LC_ALL": "C.UTF-8"},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        self.output = done.stdout + done.stderr
        return done


@pytest.fixture(scope="session")
def network() -> Iterator[None]:
    with own_network():
        yield


@pytest.fixture(scope="session")
def machine(network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machines")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
    root = prepared_root(os.environ.get("ARCHIVER_SUITE", "bookworm"), folder, folder / "key")
    with Machine(folder, root, folder / "key", 1) as booted:
        yield booted


@pytest.fixture(scope="session")
def simulator(network: None) -> Iterator[Simulator]:
    with Simulator(page_size=3, tls=True, host=GATEWAY) as running:
        yield running


@pytest.fixture(scope="session")
def deployment(machine: Machine, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment(tmp_path_factory.mktemp("controller"), machine)
