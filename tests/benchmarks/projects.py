# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one host with many projects costs: a first round, quiet rounds and status, as processes, over TLS.

    python3 dev.py run -- python tests/benchmarks/projects.py [--projects 200] [--jobs 8] [--latency 20]

CPU is that of the command alone; the simulated API is another process. --separate also shows the same quiet round as
one process for each project.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

COMMAND = Path(version.__file__).parents[2] / "bin/cloudscale-audit"


class Cost(NamedTuple):
    """Of one process: seconds, seconds of CPU, and MiB at most."""

    seconds: float
    cpu: float
    peak: float


def serve(pipe: Connection, projects: int, entries: int, latency: float) -> None:
    """Serve the simulated API in a process of its own until the pipe is closed."""
    with Simulator(tls=True, latency=latency / 1000) as simulator:
        tokens = {}
        for number in range(projects):
            project = simulator.add_project(f"p{number}")
            tokens[f"p{number}"] = project.token
            for entry in range(entries):
                project.log.append(action="server_update", message=f"m{entry}")
        pipe.send((simulator.url, simulator.ca_path, tokens))
        with suppress(EOFError):
            pipe.recv()


def cost_of(command: list[str], environment: dict[str, str]) -> Cost:
    """Run a command that must succeed."""
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _pid, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: status {os.waitstatus_to_exitcode(status)}")
    return Cost(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=200)
    parser.add_argument("--entries", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds of an answer")
    parser.add_argument("--sign", action="store_true", help="sign every commit")
    parser.add_argument("--separate", action="store_true")
    options = parser.parse_args()
    here, there = get_context("spawn").Pipe()
    server = get_context("spawn").Process(
        target=serve, args=(there, options.projects, options.entries, options.latency), daemon=True
    )
    server.start()
    url, ca_path, tokens = here.recv()
    with tempfile.TemporaryDirectory() as directory:
        measure(Path(directory), options, url, ca_path, tokens)
    here.close()
    server.terminate()


def measure(directory: Path, options: argparse.Namespace, url: str, ca_path: str, tokens: dict[str, str]) -> None:
    file, credentials = directory / "projects.json", directory / "credentials"
    credentials.mkdir()
    (credentials / "tokens.json").write_text(json.dumps(tokens))
    settings: dict[str, object] = {"api_url": url, "ca_path": ca_path}
    if options.sign:
        key = directory / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        settings["sign_key_file"] = str(key)
    projects = [{"name": name, "path": str(directory / "archives" / name), **settings} for name in tokens]
    file.write_text(json.dumps({"version": 1, "projects": projects}))
    environment = {"PATH": os.defpath, "HOME": str(directory), "CREDENTIALS_DIRECTORY": str(credentials)}
    command = [sys.executable, str(COMMAND)]
    several = ["--projects", str(file), "--jobs", str(options.jobs)]
    print(f"{'projects':>8}  {'run':<16}  {'seconds':>8}  {'CPU s':>6}  {'MiB':>5}")

    def show(name: str, cost: Cost) -> None:
        print(f"{options.projects:>8}  {name:<16}  {cost.seconds:>8.2f}  {cost.cpu:>6.2f}  {cost.peak:>5.0f}")

    show("first round", cost_of([*command, "collect", *several], environment))
    for _round in range(options.rounds):
        show("quiet round", cost_of([*command, "collect", *several], environment))
    show("status", cost_of([*command, "status", *several], environment))
    show("verify", cost_of([*command, "verify", *several], environment))
    if options.separate:
        began, cpu, peak = time.monotonic(), 0.0, 0.0
        for name, token in tokens.items():
            one = {**environment, "CLOUDSCALE_API_TOKEN": token, "CLOUDSCALE_API_URL": url}
            path = str(directory / "archives" / name)
            cost = cost_of([*command, "collect", "--ca-path", ca_path, path], one)
            cpu, peak = cpu + cost.cpu, max(peak, cost.peak)
        show("one process each", Cost(time.monotonic() - began, cpu, peak))


if __name__ == "__main__":
    main()
