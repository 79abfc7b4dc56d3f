# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CPU and memory of all built-in detections, compared with json.loads of the same lines in the same run.

python3 dev.py run -- python tests/benchmarks/detections.py --entries 10000 100000 1000000

Each round has a process of its own, and of each size the round with the lowest ratio counts: a busy machine disturbs
some rounds, code that became slow all of them. CPU is user and system time, memory its peak. It fails above --most.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path

from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.catalogue import built_in_detections
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.detection import SiteFacts
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.detector import Detector

# Most entries of a project fire nothing.
USUAL = [f"{kind}_{what}" for kind in ("server", "volume", "network", "server_group") for what in ("create", "update")]
RARE = ["server_delete", "volume_delete", "server_reboot", "api_token_create", "floating_ip_update"]
FACTS = {
    "working_hours": "Mon-Sun 00:30-24:00 Europe/Zurich",
    "known_networks": ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"],
    "own_actors": ["ci-1", "ci-2"],
    "reviewers": ["anna@example.com", "bea@example.com", "carl@example.com"],
}
_BLOCK = 10_000
_ROUNDS = 3


def lines(count: int) -> Iterator[bytes]:
    """Entries of a busy project, one in ten seconds, as an archive stores them."""
    begun = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for number in range(count):
        people, tokens = f"person-{number % 40}@example.com", f"ci-{number % 7}"
        actor = (
            {"user": {"email": people}} if number % 3 else {"api_token": {"uuid": tokens * 4, "description": tokens}}
        )
        moment = (begun + timedelta(seconds=10 * number, microseconds=number % 1_000_000)).isoformat()
        entry = {
            "action": RARE[number % 5] if number % 23 == 0 else USUAL[number * 7 % len(USUAL)],
            "actor": actor,
            "ip_address": f"192.0.2.{number % 250}" if number % 50 else f"203.0.{number % 100}.7",
            "message": f"Server 'web-{number % 5000}' has been changed",
            "subject": {"project": {"name": "shop", "uuid": "d6f9a1c2-0000-4000-8000-000000000001"}},
            "timestamp": moment.replace("+00:00", "Z") if "." in moment else moment.replace("+00:00", ".000000Z"),
        }
        yield json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()


def measure(count: int) -> None:
    """Print the seconds of json.loads and of the detections, the alerts, and the peak of memory in KiB."""
    detector = Detector(built_in_detections(), SiteFacts.from_mapping(FACTS))
    loading = detecting = 0.0
    alerts, source = 0, lines(count)
    for _block in range(0, count, _BLOCK):
        block = list(islice(source, _BLOCK))
        begun = time.process_time()
        entries = [json.loads(line) for line in block]
        loaded = time.process_time()
        alerts += sum(len(detector.alerts(entry)) for entry in entries)
        ended = time.process_time()
        loading, detecting = loading + loaded - begun, detecting + ended - loaded
        # Otherwise the memory of two blocks would be the peak.
        del block, entries
    # Not ru_maxrss: it begins with the memory of the process that started this one.
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(loading, detecting, alerts, found[1] if found else 0)


def measured(count: int) -> list[float]:
    """What ``measure`` prints in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(figure) for figure in done.stdout.split()]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the detections.")
    parser.add_argument("--entries", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--most", type=float, default=4.0, help="largest ratio to json.loads that is fine")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return 0
    worst = 0.0
    for count in options.entries:
        rounds = [measured(count) for _round in range(_ROUNDS)]
        loading, detecting, alerts, peak = min(rounds, key=lambda figures: figures[1] / figures[0])
        ratio = detecting / loading
        worst = max(worst, ratio)
        print(
            f"{count:>9} entries  {alerts:>8.0f} alerts  json.loads {loading / count * 1e6:5.2f} us, "
            f"detections {detecting / count * 1e6:5.2f} us each: {ratio:.2f} times  {peak / 1024:6.1f} MiB"
        )
    return 1 if worst > options.most else 0


if __name__ == "__main__":
    sys.exit(main())
