# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CPU seconds and memory per entry of collecting, verifying and reading an archive: archive_cpu.py [ENTRIES].

The simulator runs in a process of its own, so that the figures are the core's alone.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from multiprocessing.connection import Connection as Pipe

from ansible_collections.auditops.cloudscale.plugins.module_utils.api import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import collect
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reading import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator, bulk


def serve(pipe: Pipe, entries: int) -> None:
    with Simulator(page_size=100) as simulator:
        now = datetime.now(timezone.utc)
        project = simulator.project()
        project.log.extend(bulk(entries, now - timedelta(days=80), now, subject=project.log.subject))
        pipe.send((simulator.url, project.token))
        pipe.recv()


def measure(name: str, entries: int, work: Callable[[], object]) -> None:
    cpu, wall = time.process_time(), time.monotonic()
    work()
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:8} {cpu / entries * 1e6:7.1f} us CPU an entry, {wall:6.1f} s in all, peak {peak:.0f} MiB")


def main() -> None:
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there, entries))
    server.start()
    url, token = here.recv()
    with tempfile.TemporaryDirectory() as folder, Api(Connection(api_token=token, api_url=url)) as api:
        store = LocalStore(f"{folder}/archive")
        measure("collect", entries, lambda: collect(store, api))
        measure("verify", entries, lambda: verify(store))
        measure("cat", entries, lambda: sum(1 for _entry in cat(store)))
    here.send(None)
    server.join()


if __name__ == "__main__":
    main()
