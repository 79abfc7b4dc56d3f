# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A day of many archivers, simulated: what it costs hosts and API, and where it bends.

python3 tests/benchmarks/fleet.py --projects 10000 --hosts 1 2 5 10 50 --interval 60

Each host polls all its projects in one process, some at once: while some wait for the API, others compute, one at a
time. How busy projects are is drawn from a log-normal distribution: half of them have fewer entries a day than the
median, a few have very many. What a round costs was measured with tests/benchmarks/projects.py; give your own figures
as options.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator
from typing import NamedTuple

DAY = 86_400.0


class Costs(NamedTuple):
    """Seconds of CPU of a round, a poll, an entry and a commit; MiB of a process and, on top, of each of its projects;
    seconds that a response takes.
    """

    round: float = 0.5
    poll: float = 0.015
    entry: float = 40e-6
    commit: float = 0.025
    memory: float = 42.0
    project: float = 0.0063
    answer: float = 0.1
    page: int = 100
    jobs: int = 8


class Round(NamedTuple):
    """One run of one host's service: seconds of CPU and in all, and how many requests it made."""

    cpu: float
    seconds: float
    requests: int
    commits: int


def busyness(projects: int, median: float, spread: float, seed: int) -> list[float]:
    """Entries a day of each project."""
    chance = random.Random(seed)
    return [chance.lognormvariate(math.log(median), spread) for _project in range(projects)]


def drawn(chance: random.Random, expected: float) -> int:
    """A count with this mean: Poisson's where it is small, else its normal approximation."""
    if expected > 50:
        return max(0, round(chance.gauss(expected, math.sqrt(expected))))
    limit, count, product = math.exp(-expected), 0, chance.random()
    while product > limit:
        count += 1
        product *= chance.random()
    return count


def round_of(entries: list[int], costs: Costs) -> Round:
    """A round over projects that have so many new entries each."""
    requests = [count // costs.page + 1 for count in entries]
    commits = sum(1 for count in entries if count)
    cpu = costs.round + costs.poll * len(entries) + costs.entry * sum(entries) + costs.commit * commits
    waiting = costs.answer * sum(requests) / costs.jobs
    # The busiest project is read page after page.
    return Round(cpu, max(cpu, waiting, costs.answer * max(requests)), sum(requests), commits)


def day_of(rates: list[float], interval: float, costs: Costs, seed: int) -> list[Round]:
    """All rounds of a host's day."""
    chance = random.Random(seed)
    expected = [rate * interval / DAY for rate in rates]
    return [round_of([drawn(chance, mean) for mean in expected], costs) for _round in range(int(DAY / interval))]


def table(options: argparse.Namespace, costs: Costs) -> Iterator[str]:
    rates = busyness(options.projects, options.median, options.spread, options.seed)
    interval = options.interval * 60
    yield f"{options.projects} projects, {sum(rates):.0f} entries a day, each polled every {options.interval} minutes"
    whole = day_of(rates, interval, costs, options.seed)
    commits = sum(one.commits for one in whole)
    yield f"API: {sum(one.requests for one in whole) / DAY:.1f} requests a second on average"
    yield f"archive: {commits} commits a day with new entries, {3 * commits} new objects"
    yield ""
    yield "hosts  projects each  CPU of a core  longest round   memory  requests a second in a round"
    for hosts in options.hosts:
        fullest = rates[::hosts]
        rounds = whole if hosts == 1 else day_of(fullest, interval, costs, options.seed)
        longest = max(one.seconds for one in rounds)
        if longest > interval:
            yield f"{hosts:>5}  {len(fullest):>13}  does not keep up"
            continue
        used = sum(one.cpu for one in rounds) / DAY
        rate = max(one.requests / one.seconds for one in rounds)
        memory = costs.memory + costs.project * len(fullest)
        of_host = f"{used:>13.1%}  {longest:>11.0f} s  {memory:>3.0f} MiB  {rate:>29.0f}"
        yield f"{hosts:>5}  {len(fullest):>13}  {of_host}"
    yield from _recovery(options, costs, rates)


def _recovery(options: argparse.Namespace, costs: Costs, rates: list[float]) -> Iterator[str]:
    """After a day without the API, the next round of every host has a day's entries."""
    yield ""
    yield "hosts  after a day without the API, caught up in   requests a second of all hosts"
    for hosts in options.hosts:
        late = round_of([round(rate) for rate in rates[::hosts]], costs)
        yield f"{hosts:>5}  {late.seconds / 60:>32.1f} minutes  {hosts * late.requests / late.seconds:>31.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=10_000)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 2, 5, 10, 50])
    parser.add_argument("--interval", type=int, default=60, metavar="MINUTES")
    parser.add_argument("--median", type=float, default=20.0, help="entries a day of a project in the middle")
    parser.add_argument("--spread", type=float, default=2.0, help="sigma of the logarithm (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    names = {"page": "page-size", "jobs": "jobs"}
    for name, value in Costs()._asdict().items():
        parser.add_argument(f"--{names.get(name, f'{name}-cost')}", dest=name, type=type(value), default=value)
    options = parser.parse_args()
    for line in table(options, Costs(*(getattr(options, name) for name in Costs._fields))):
        print(line)


if __name__ == "__main__":
    main()
