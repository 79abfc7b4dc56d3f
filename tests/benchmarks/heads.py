# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CPU and memory of verifying an archive of many commits, with and without heads that were noted elsewhere.

python3 dev.py run -- python tests/benchmarks/heads.py --commits 100000 --heads 1000 --rounds 3

The archive is that of a quiet project: heartbeats, one every quarter of an hour. What ``--heads`` costs is the
difference: each noted commit is read once more, and so is the kind of each later one.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import median

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import (
    Commit,
    commit_name,
    sha256,
)
from archive import AUDIT, cost, simulated

QUARTER = timedelta(minutes=15)
_DATES = ("asked", "covered_until", "server_date", "committed_at")


def made(directory: Path, commits: int) -> list[str]:
    """Let an archive have so many commits; their heads, as lines of a ledger."""
    with simulated(0, 200) as environment:
        cost([*AUDIT, "collect", str(directory)], environment)
    commit = Commit.parse((directory / commit_name(1)).read_bytes())
    past = -QUARTER * (commits + 1)
    commit = replace(
        commit,
        **{name: getattr(commit, name) + past for name in _DATES},
        covered_from=commit.covered_from + past,
    )
    heads = []
    for sequence in range(1, commits + 1):
        body = commit.to_bytes()
        (directory / commit_name(sequence)).write_bytes(body)
        heads.append(json.dumps({"archive_id": commit.archive_id, "sequence": sequence, "sha256": sha256(body)}))
        commit = replace(
            commit,
            sequence=sequence + 1,
            previous=sha256(body),
            run=f"{sequence:016x}",
            cursor_before=commit.cursor_after,
            **{name: getattr(commit, name) + QUARTER for name in _DATES},
        )
    return heads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=100_000)
    parser.add_argument("--heads", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = f"{name}/bytecode"
        measure(given, Path(name))


def measure(given: argparse.Namespace, directory: Path) -> None:
    heads = made(directory / "archive", given.commits)
    noted, printed = directory / "heads.jsonl", directory / "told.json"
    noted.write_text("\n".join(heads[:: max(1, given.commits // given.heads)][: given.heads]) + "\n")
    verify = [*AUDIT, "verify", str(directory / "archive"), "--json"]
    ways = {"verify": verify, "verify --heads": [*verify, "--heads", str(noted)]}
    rounds = [{way: cost(command, output=printed) for way, command in ways.items()} for _round in range(given.rounds)]
    checked = json.loads(printed.read_text())["heads"]["checked"]
    print(f"{checked} heads, {given.commits} commits, medians of {given.rounds} rounds")
    for way in ways:
        cpu, wall, peak = (median(getattr(one[way], name) for one in rounds) for name in ("cpu", "wall", "peak"))
        print(f"{way:<16} {cpu:7.3f} s CPU, {wall:7.3f} s by the clock, peak {peak:5.1f} MiB")


if __name__ == "__main__":
    main()
