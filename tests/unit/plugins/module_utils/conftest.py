# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator


class Waits:
    """A simulated clock: records each wait instead of sleeping, and advances by it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        self.now += seconds
        return False


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(page_size=3) as running:
        yield running


@pytest.fixture
def waits() -> Waits:
    return Waits()


def connect(simulator: Simulator, **options: Any) -> Connection:
    token = simulator.project("main").token
    return Connection.from_mapping({"api_token": token, "api_url": simulator.url, **options})


@pytest.fixture
def api(simulator: Simulator, waits: Waits) -> Iterator[Api]:
    with Api(connect(simulator), clock=waits.clock, wait=waits.wait, jitter=lambda: 0.5) as client:
        yield client
