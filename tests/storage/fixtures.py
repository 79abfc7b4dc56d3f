# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for tests that need a bucket; a conftest imports them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets, set_credentials
from ansible_collections.auditops.cloudscale.tests.storage.proxy import FaultyProxy
from ansible_collections.auditops.cloudscale.tests.storage.seaweed import SeaweedFS

pytest.register_assert_rewrite("ansible_collections.auditops.cloudscale.tests.storage.contract")


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Buckets]:
    with SeaweedFS() as running:
        yield running.buckets


@pytest.fixture
def buckets(seaweed: Buckets, monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """A server with buckets; the environment variables point to it."""
    set_credentials(monkeypatch, seaweed)
    return seaweed


@pytest.fixture
def proxy(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy between new stores and the server; stores do not retry requests."""
    with FaultyProxy(buckets) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield running
