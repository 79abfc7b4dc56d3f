# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time and memory of asking for many entries, beside what people would write themselves, in one run.

python3 dev.py run -- python tests/benchmarks/ask.py --entries 100000 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

SIMULATOR = "ansible_collections.auditops.cloudscale.tests.simulator"
BIN = Path(sys.executable).parent

# Runs a command as its own process and writes the peak memory of the largest process below it, in MiB.
MEASURED = """
import json, resource, subprocess, sys
code = subprocess.call([sys.executable, *sys.argv[2:]])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
open(sys.argv[1], "w").write(json.dumps(peak))
sys.exit(code)
"""

BARE_LOOP = """
import json, os, sys, requests
session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ["CLOUDSCALE_API_TOKEN"]
url = os.environ["CLOUDSCALE_API_URL"] + "/project-logs"
with open(sys.argv[1], "w") as file:
    while url:
        page = session.get(url).json()
        for entry in page["results"]:
            file.write(json.dumps(entry) + "\\n")
        url = page["next"]
"""


@contextmanager
def simulated(entries: int, page_size: int, latency: int) -> Iterator[dict[str, str]]:
    """The environment for a simulator in a process of its own."""
    sizes = ["--entries", str(entries), "--page-size", str(page_size), "--latency", str(latency)]
    command = [sys.executable, "-m", SIMULATOR, *sizes]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            ready = json.loads(server.stdout.readline()) if server.stdout else {}
            yield {"CLOUDSCALE_API_URL": ready["url"], "CLOUDSCALE_API_TOKEN": ready["projects"]["main"]["token"]}
        finally:
            server.terminate()


def timed(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(
    folder: Path, environment: dict[str, str], entries: int, concurrency: int
) -> dict[str, tuple[float, float]]:
    """Seconds and MiB of each way, once."""
    (folder / "measured.py").write_text(MEASURED)
    (folder / "loop.py").write_text(BARE_LOOP)
    # The interpreter of the module's task: the same Python, with its peak memory written down.
    interpreter = folder / "python"
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/measured.py" "{folder}/module" "$@"\n')
    interpreter.chmod(0o755)
    module = [
        *(str(BIN / "ansible"), "localhost", "-m", "auditops.cloudscale.project_logs_info"),
        *(
            "-a",
            f"dest={folder}/module.jsonl concurrency={concurrency}",
            "-e",
            f"ansible_python_interpreter={interpreter}",
        ),
    ]
    loop = [sys.executable, "measured.py", "loop", "loop.py", "loop.jsonl"]
    found = {}
    for name, command in {"bare requests loop": loop, "project_logs_info into dest": module}.items():
        seconds = timed(command, folder, environment)
        found[name] = seconds, float((folder / ("loop" if "loop" in name else "module")).read_text())
    for output in ("loop.jsonl", "module.jsonl"):
        lines = sum(1 for _line in (folder / output).open())
        if lines != entries:
            sys.exit(f"{output} has {lines} entries instead of {entries}")
        (folder / output).unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--page-size", type=int, default=100)
    parser.add_argument("--latency", type=int, default=0, metavar="MS")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with (
        simulated(arguments.entries, arguments.page_size, arguments.latency) as variables,
        tempfile.TemporaryDirectory() as name,
    ):
        environment = {**os.environ, **variables, "ANSIBLE_LOCALHOST_WARNING": "false"}
        rounds = [
            measure(Path(name), environment, arguments.entries, arguments.concurrency)
            for _round in range(arguments.rounds)
        ]
    print(
        f"{arguments.entries} entries, {arguments.page_size} a page, {arguments.latency} ms an answer, "
        f"{arguments.concurrency} at once; median of {arguments.rounds} interleaved rounds"
    )
    for way in rounds[0]:
        seconds = median(found[way][0] for found in rounds)
        peak = median(found[way][1] for found in rounds)
        ratio = median(found[way][0] / found["bare requests loop"][0] for found in rounds)
        print(f"{way:<28} {seconds:7.2f} s  {ratio:5.2f} x  {peak:6.1f} MiB")


if __name__ == "__main__":
    main()
