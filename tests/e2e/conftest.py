# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.tests.e2e.collectors import Archive, Collectors, Tally
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

TALLY = pytest.StashKey[Tally]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY] = Tally()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[TALLY].endings:
        terminalreporter.line(str(config.stash[TALLY]))


@pytest.fixture(scope="session")
def collectors() -> Iterator[Collectors]:
    with Collectors() as server:
        yield server


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    return pytestconfig.stash[TALLY]


@pytest.fixture
def directory() -> Iterator[Path]:
    """In memory: it outlives a killed process as a disk does, and making durable takes no time there."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield Path(path)


@pytest.fixture
def archive(directory: Path) -> Iterator[Archive]:
    with Simulator(page_size=4) as simulator:
        yield Archive(simulator, directory / "archive", directory / "head")
