# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CPU and memory of one name's history over many archives, compared with zcat and grep over the same files.

python3 dev.py run -- python tests/benchmarks/history.py --entries 100000 --archives 10 --rounds 5

The archives are copies of one that was collected in a commit for each page, so that 100,000 entries are 1,000 commits.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from archive import AUDIT, MANY_COMMITS, cost, simulated

PAGE = 100


def collected(directory: Path, entries: int, archives: int) -> list[str]:
    """Paths of archives that hold so many entries each."""
    first = directory / "0"
    with simulated(entries, PAGE) as environment:
        cost([sys.executable, "-c", MANY_COMMITS, str(first)], environment)
    others = [directory / str(number) for number in range(1, archives)]
    for other in others:
        shutil.copytree(first, other)
    return list(map(str, (first, *others)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000, help="in each archive")
    parser.add_argument("--archives", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = f"{name}/bytecode"
        measure(given, Path(name))


def measure(given: argparse.Namespace, directory: Path) -> None:
    archives = collected(directory, given.entries, given.archives)
    printed = directory / "told.json"
    cost([*AUDIT, "cat", archives[0], "--resource", "*", "--limit", "1", "--format", "ecs"], output=printed)
    name = json.loads(printed.read_text())["entity"]["target"]["name"]
    files = f"find {shlex.join(archives)} -path '*/entries/*' -name '*.gz' -print0 | sort -z"
    stock = ["sh", "-c", f"{files} | xargs -0 zcat | grep -F {shlex.quote(repr(name))}"]
    ways = {
        "zcat | grep -F": stock,
        "history": [*AUDIT, "history", name, *archives, "--json"],
        "history of 1": [*AUDIT, "history", name, archives[0], "--json"],
        "history of *": [*AUDIT, "history", "*", archives[0], "--json"],
    }
    rounds = [{way: cost(command, output=printed) for way, command in ways.items()} for _round in range(given.rounds)]
    print(f"{name} in {given.archives} archives of {given.entries} entries, medians of {given.rounds} rounds")
    for way in ways:
        cpu, peak = median(one[way].cpu for one in rounds), median(one[way].peak for one in rounds)
        ratio = median(one[way].cpu / one["zcat | grep -F"].cpu for one in rounds)
        print(f"{way:<16} {cpu:7.3f} s CPU, {ratio:5.2f} x (goal 2 x for history), peak {peak:5.1f} MiB")


if __name__ == "__main__":
    main()
