# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CPU and memory of the event source, by itself and with a checkpoint for each event.

python3 dev.py run -- python tests/benchmarks/events.py --entries 10000 100000 --polls 200

Every figure is of a process of its own: CPU is user and system time, memory its peak.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

# Takes events as the engine does, until the watch would wait for its next poll so many times.
CONSUMER = r"""
import re, resource, sys
from ansible_collections.auditops.cloudscale.plugins.module_utils.events.watcher import Watcher
class Enough(Exception): pass
polls, events = int(sys.argv[2]), 0
def wait(_seconds):
    global polls
    polls -= 1
    if polls < 0:
        raise Enough
    return False
watch = Watcher({"start": "2020-01-01T00:00:00Z", "checkpoint": sys.argv[1] or None, "replay": sys.argv[3]}, wait=wait)
begun = resource.getrusage(resource.RUSAGE_SELF)
try:
    while True:
        for delivery in watch.read():
            events += 1
            watch.acknowledge(delivery)
except Enough:
    pass
ended = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss: it begins with the memory of the process that started this one.
peak = re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]
print(events, ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime, peak)
"""


def consume(simulator: Simulator, checkpoint: str, polls: int = 0, replay: int = 0) -> tuple[int, float, float]:
    """Events, seconds of CPU and MiB at the peak."""
    environment = {**os.environ, "CLOUDSCALE_API_URL": simulator.url}
    environment["CLOUDSCALE_API_TOKEN"] = simulator.project("main").token
    command = [sys.executable, "-c", CONSUMER, checkpoint, str(polls), str(replay)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    events, seconds, peak = done.stdout.split()
    return int(events), float(seconds), int(peak) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the event source.")
    parser.add_argument("--entries", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--polls", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        for entries in options.entries:
            with Simulator() as simulator:
                log = simulator.project("main").log
                for _n in range(entries):
                    log.append()
                for name, checkpoint, replay in (
                    ("no checkpoint", "", 0),
                    ("checkpoint", str(Path(directory, f"{entries}")), 0),
                    ("checkpoint, replay", str(Path(directory, f"{entries}-replay")), 3600),
                ):
                    events, seconds, peak = consume(simulator, checkpoint, replay=replay)
                    each = seconds / events * 1e6
                    print(f"{events:>8} events  {name:<20} {seconds:7.2f} s CPU  {each:6.0f} us each  {peak:6.1f} MiB")
        with Simulator() as simulator:
            idle = consume(simulator, str(Path(directory, "idle")), options.polls)[1]
            begun = consume(simulator, str(Path(directory, "begun")))[1]
            print(f"an empty poll: {(idle - begun) / options.polls * 1000:.1f} ms CPU")


if __name__ == "__main__":
    main()
