# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import Host


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(page_size=3) as running:
        for number in range(7):
            running.project("main").log.append(action="server_create", message=f"m{number}")
        yield running


@pytest.fixture
def host(simulator: Simulator, tmp_path: Path) -> Host:
    return Host(tmp_path, simulator)


@pytest.fixture
def key(host: Host) -> None:
    """The files key and, for verify, allowed."""
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host.directory / "key")]
    subprocess.run(make, check=True, timeout=60)
    (host.directory / "allowed").write_text("log1 " + (host.directory / "key.pub").read_text())
