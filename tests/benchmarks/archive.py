# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CPU and memory of archiving the log, compared with scripts that people would write themselves, in one run.

python3 dev.py run -- python tests/benchmarks/archive.py --entries 200000 --rounds 5 --memory 10000 100000 1000000

Every figure is of a whole process: CPU is user and system time, so that others on the machine do not count. Python's
own start is in it, so the fewer the entries, the more of a ratio is that. Bytecode is kept, as Python does by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
AUDIT = [sys.executable, str(ROOT / "bin" / "cloudscale-audit")]
SIMULATOR = "ansible_collections.auditops.cloudscale.tests.simulator"

BARE_LOOP = """
import gzip, json, os, sys, requests
session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ["CLOUDSCALE_API_TOKEN"]
url = os.environ["CLOUDSCALE_API_URL"] + "/project-logs"
with gzip.open(sys.argv[1], "wt", compresslevel=6) as file:
    while url:
        page = session.get(url).json()
        for entry in page["results"]:
            file.write(json.dumps(entry) + "\\n")
        url = page["next"]
"""

# The minimum work of a verifier in Python: decompress everything, and hash it compressed and decompressed.
HASHES = """
import hashlib, sys, zlib
from pathlib import Path
for path in sorted(Path(sys.argv[1]).glob("entries/*/*.gz")):
    body = path.read_bytes()
    hashlib.sha256(body).hexdigest()
    hashlib.sha256(zlib.decompressobj(31).decompress(body)).hexdigest()
"""

# A commit for every page, as an archive gets them that is collected often.
MANY_COMMITS = """
import os, sys
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import SigningKey
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import CollectSettings, collect
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.run_context import RunContext
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection
connection = Connection(api_token=os.environ["CLOUDSCALE_API_TOKEN"], api_url=os.environ["CLOUDSCALE_API_URL"])
context = RunContext(sign_key=SigningKey(sys.argv[2]) if len(sys.argv) > 2 else None)
with Api(connection) as api:
    print(collect(LocalStore(sys.argv[1]), api, CollectSettings(max_pages=1), context).commits_added)
"""


# The same for the same entries, in whatever order and form they are written.
FINGERPRINT = """
import hashlib, json, sys
forms = sorted(json.dumps(json.loads(line), sort_keys=True) for line in sys.stdin)
print(len(forms), hashlib.sha256("\\n".join(forms).encode()).hexdigest())
"""


class Cost(NamedTuple):
    """What a process and all below it took: CPU seconds, seconds of the wall clock, and MiB at the peak."""

    cpu: float
    wall: float
    peak: float


@contextmanager
def simulated(entries: int, page_size: int) -> Iterator[dict[str, str]]:
    """The environment for a simulator in a process of its own."""
    command = [sys.executable, "-m", SIMULATOR, "--entries", str(entries), "--page-size", str(page_size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            ready = json.loads(server.stdout.readline()) if server.stdout else {}
            variables = {"CLOUDSCALE_API_URL": ready["url"], "CLOUDSCALE_API_TOKEN": ready["projects"]["main"]["token"]}
            yield {**os.environ, **variables}
        finally:
            server.terminate()


def cost(command: list[str], environment: dict[str, str] | None = None, output: Path | None = None) -> Cost:
    """Run a command that must succeed. The peak includes what this process takes before the command begins."""
    began = time.monotonic()
    with open(output or os.devnull, "wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file)
        _pid, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with status {process.returncode}")
    return Cost(used.ru_utime + used.ru_stime, time.monotonic() - began, used.ru_maxrss / 1024)


def check_same(entries: int) -> None:
    """The archive must hold what the bare loop wrote. Told by a process of its own: see :func:`cost`."""
    both = [shlex.join([*AUDIT, "cat", "archive"]), "zcat loop.gz"]
    ways = [f"{way} | {shlex.join([sys.executable, '-c', FINGERPRINT])}" for way in both]
    printed = [subprocess.check_output(way, shell=True, text=True) for way in ways]
    if printed[0] != printed[1] or not printed[0].startswith(f"{entries} "):
        sys.exit(f"the archive does not hold what the bare loop wrote: {printed}")


def collected(directory: Path, environment: dict[str, str], entries: int) -> Cost:
    """Collect a new archive into ``directory``; all entries must be in it."""
    printed = directory / "told.json"
    found = cost([*AUDIT, "collect", str(directory / "archive"), "--json"], environment, printed)
    if json.loads(printed.read_text())["added"] != entries:
        sys.exit(f"collect told {printed.read_text()} instead of {entries} entries")
    return found


def reconciled(directory: Path, environment: dict[str, str]) -> Cost:
    """Compare the archive with the log; some entries must be on both sides."""
    printed = directory / "told.json"
    found = cost([*AUDIT, "reconcile", str(directory / "archive"), "--json"], environment, printed)
    if not json.loads(printed.read_text())["compared"]["entries"]:
        sys.exit(f"reconcile told {printed.read_text()}")
    return found


def round_of(environment: dict[str, str], entries: int, polls: int) -> dict[str, list[Cost]]:
    """Each way once, in an archive of its own."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        archive = str(directory / "archive")
        os.chdir(directory)
        stock = ["sh", "-c", f"find {archive}/entries -name '*.gz' -print0 | sort -z | xargs -0 zcat | sha256sum"]
        found = {
            "bare loop": [cost([sys.executable, "-c", BARE_LOOP, "loop.gz"], environment)],
            "collect": [collected(directory, environment, entries)],
        }
        check_same(entries)
        found["zcat | sha256sum"] = [cost(stock)]
        found["verify"] = [cost([*AUDIT, "verify", archive])]
        found["zlib, sha256"] = [cost([sys.executable, "-c", HASHES, archive])]
        found["status"] = [cost([*AUDIT, "status", archive])]
        found["reconcile"] = [reconciled(directory, environment)]
        found["import requests"], found["empty poll"] = [], []
        for _poll in range(polls):
            found["import requests"].append(cost([sys.executable, "-c", "import requests"], environment))
            found["empty poll"].append(collected(directory, environment, 0))
        return found


def print_rounds(rounds: list[dict[str, list[Cost]]], entries: int) -> None:
    for own, other, goal in (
        ("collect", "bare loop", "goal 1.3 x"),
        ("verify", "zcat | sha256sum", "goal 1.3 x"),
        ("verify", "zlib, sha256", "its floor"),
        ("verify", "status", "its start"),
        ("reconcile", "collect", "reads the same log"),
        ("empty poll", "import requests", "goal 1.3 x"),
    ):
        pairs = [pair for found in rounds for pair in zip(found[own], found[other])]
        (mine, clock), (others, their_clock) = (
            (median(pair[side].cpu for pair in pairs), median(pair[side].wall for pair in pairs)) for side in (0, 1)
        )
        ratio = median(one.cpu / two.cpu for one, two in pairs)
        share = "" if own == "empty poll" else f"; {mine / entries * 1e6:.1f} us an entry"
        print(
            f"{own:<10} {mine:7.3f} s CPU  {other:<16} {others:7.3f} s  {ratio:5.2f} x ({goal}{share}); "
            f"by the clock {clock:.3f} s, {their_clock:.3f} s"
        )


def measure_commits(environment: dict[str, str], entries: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        printed = Path(name) / "printed"
        took = cost([sys.executable, "-c", MANY_COMMITS, f"{name}/archive"], environment, printed)
        commits = int(printed.read_text())
        cost([*AUDIT, "verify", f"{name}/archive"])
        print(f"commits     {commits / took.wall:7.0f} a second by the clock, {commits / took.cpu:.0f} a CPU second")
        key = f"{name}/key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        signed = cost([sys.executable, "-c", MANY_COMMITS, f"{name}/signed", key], environment, printed)
        cpu, wall = ((one - other) / commits * 1000 for one, other in zip(signed[:2], took[:2]))
        print(f"signing     {cpu:7.1f} ms CPU a commit, {wall:.1f} ms by the clock")


def print_memory(entries: int, page_size: int) -> None:
    with simulated(entries, page_size) as environment, tempfile.TemporaryDirectory() as name:
        collecting = collected(Path(name), environment, entries)
        verifying = cost([*AUDIT, "verify", f"{name}/archive"])
        reading = cost([*AUDIT, "cat", f"{name}/archive"])
    print(
        f"{entries:>9} entries: peak {collecting.peak:5.1f} MiB to collect (goal 64), {verifying.peak:5.1f} to verify, "
        f"{reading.peak:5.1f} to cat; {collecting.cpu / entries * 1e6:.1f} us CPU an entry to collect, "
        f"{verifying.cpu / entries * 1e6:.1f} to verify, {reading.cpu / entries * 1e6:.1f} to cat",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--page-size", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--polls", type=int, default=5, help="empty polls in a round")
    parser.add_argument("--memory", type=int, nargs="*", default=[10_000, 100_000], metavar="ENTRIES")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = name
        measure(given)


def measure(given: argparse.Namespace) -> None:
    with simulated(given.entries, given.page_size) as environment:
        rounds = [round_of(environment, given.entries, given.polls) for _round in range(given.rounds)]
        print(f"{given.entries} entries, {given.page_size} a page, medians of {given.rounds} interleaved rounds")
        print_rounds(rounds, given.entries)
        measure_commits(environment, given.entries)
    for size in given.memory:
        print_memory(size, given.page_size)


if __name__ == "__main__":
    main()
