# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A day of many archivers, simulated: what it costs hosts, API and object store, and where it bends.

python3 tests/benchmarks/fleet.py --projects 10000 --hosts 1 2 5 10 50 --interval 60

Every project is polled once an interval, at a moment of its own, as RandomizedDelaySec= spreads timers. A run is a
process that waits for the API, and computes on one of its host's cores; runs that find no core wait for one. How busy
projects are is drawn from a log-normal distribution: half of them have fewer entries a day than the median, a few have
very many. What a run costs was measured with tests/benchmarks/archive.py and s3.py; give your own figures as options.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

DAY = 86_400.0


class Costs(NamedTuple):
    """Of one run: seconds of CPU for itself, for each entry and each commit; MiB; seconds that one answer takes."""

    run: float = 0.2
    entry: float = 40e-6
    commit: float = 0.008
    memory: float = 33.0
    answer: float = 0.1
    page: int = 100


class Run(NamedTuple):
    """One poll of one project: when, and what it finds."""

    at: float
    entries: int

    def requests(self, costs: Costs) -> int:
        return self.entries // costs.page + 1

    def cpu(self, costs: Costs) -> float:
        return costs.run + self.entries * costs.entry + (costs.commit if self.entries else 0.0)

    def waiting(self, costs: Costs) -> float:
        return self.requests(costs) * costs.answer


class Load(NamedTuple):
    """What a day does to one host: share of its cores in use, the longest wait for one, processes at once."""

    used: float
    longest_wait: float
    most_at_once: int


def busyness(projects: int, median: float, spread: float, seed: int) -> list[float]:
    """Entries a day of each project."""
    chance = random.Random(seed)
    return [chance.lognormvariate(math.log(median), spread) for _project in range(projects)]


def day_of(rates: list[float], interval: float, seed: int) -> Iterator[Run]:
    """All runs of a day."""
    chance = random.Random(seed)
    for rate in rates:
        phase = chance.uniform(0, interval)
        expected = rate * interval / DAY
        for number in range(int(DAY / interval)):
            yield Run(phase + number * interval, _drawn(chance, expected))


def _drawn(chance: random.Random, expected: float) -> int:
    """A count with this mean: Poisson's where it is small, else its normal approximation."""
    if expected > 50:
        return max(0, round(chance.gauss(expected, math.sqrt(expected))))
    limit, count, product = math.exp(-expected), 0, chance.random()
    while product > limit:
        count += 1
        product *= chance.random()
    return count


def host_load(runs: list[Run], cores: int, costs: Costs) -> Load:
    """Let the runs of one host compute on its cores, in the order in which the API has answered them."""
    ready = sorted((run.at + run.waiting(costs), run) for run in runs)
    free = [0.0] * cores
    busy = longest = 0.0
    changes: list[tuple[float, int]] = []
    for moment, run in ready:
        begins = max(moment, heapq.heappop(free))
        ends = begins + run.cpu(costs)
        heapq.heappush(free, ends)
        busy += run.cpu(costs)
        longest = max(longest, begins - moment)
        changes += [(run.at, 1), (ends, -1)]
    at_once = most = 0
    for _moment, change in sorted(changes):
        at_once += change
        most = max(most, at_once)
    return Load(busy / (cores * DAY), longest, most)


def table(options: argparse.Namespace, costs: Costs) -> Iterator[str]:
    rates = busyness(options.projects, options.median, options.spread, options.seed)
    interval = options.interval * 60
    runs = list(day_of(rates, interval, options.seed))
    requests = sum(run.requests(costs) for run in runs)
    seconds = Counter(int(run.at) for run in runs)
    finding = sum(1 for run in runs if run.entries)
    yield f"{options.projects} projects, {sum(rates):.0f} entries a day, each polled every {options.interval} minutes"
    yield f"API: {requests / DAY:.1f} requests a second on average, {max(seconds.values())} in the busiest second"
    yield f"archive: {finding} commits a day with new entries, {2 * finding} new objects"
    yield from _hosts(options, costs, runs)
    yield from _recovery(options, costs, rates)


def _hosts(options: argparse.Namespace, costs: Costs, runs: list[Run]) -> Iterator[str]:
    yield ""
    yield f"{'hosts':>5}  {'projects each':>13}  {'CPU used':>8}  {'longest wait':>12}  {'at once':>7}  {'memory':>8}"
    each = int(DAY // (options.interval * 60))
    by_project = [runs[first : first + each] for first in range(0, len(runs), each)]
    for hosts in options.hosts:
        fullest = [run for project in by_project[::hosts] for run in project]
        if sum(run.cpu(costs) for run in fullest) > options.cores * DAY:
            yield f"{hosts:>5}  {len(fullest) // each:>13}  does not keep up"
            continue
        load = host_load(fullest, options.cores, costs)
        memory = load.most_at_once * costs.memory
        yield (
            f"{hosts:>5}  {len(fullest) // each:>13}  {load.used:>8.1%}  {load.longest_wait:>10.1f} s  "
            f"{load.most_at_once:>7}  {memory:>4.0f} MiB"
        )


def _recovery(options: argparse.Namespace, costs: Costs, rates: list[float]) -> Iterator[str]:
    """After a day without the API every project has a day's entries: all at once, as fast as cores and API let."""
    yield ""
    yield f"{'hosts':>5}  {'after a day without the API, caught up in':<42}  {'requests a second':>17}"
    for hosts in options.hosts:
        late = [Run(0.0, round(rate)) for rate in rates[::hosts]]
        computing = sum(run.cpu(costs) for run in late) / options.cores
        waiting = max(run.waiting(costs) + run.cpu(costs) for run in late)
        took = max(computing, waiting)
        asked = sum(Run(0.0, round(rate)).requests(costs) for rate in rates)
        yield f"{hosts:>5}  {took / 60:>36.1f} minutes  {asked / took:>17.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=10_000)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 2, 5, 10, 50])
    parser.add_argument("--interval", type=int, default=60, metavar="MINUTES")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--median", type=float, default=20.0, help="entries a day of a project in the middle")
    parser.add_argument("--spread", type=float, default=2.0, help="sigma of the logarithm (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    for name, value in Costs()._asdict().items():
        parser.add_argument(f"--{name}-cost" if name != "page" else "--page-size", type=type(value), default=value)
    options = parser.parse_args()
    given = [getattr(options, f"{name}_cost" if name != "page" else "page_size") for name in Costs._fields]
    for line in table(options, Costs(*given)):
        print(line)


if __name__ == "__main__":
    main()
