# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time, CPU and memory of fetching many entries, compared with scripts that people write themselves, in one run.

python3 dev.py run -- python tests/benchmarks/queries.py --entries 1000 10000 100000 --latency 0 50 --rounds 3
python3 dev.py run -- python tests/benchmarks/queries.py --entries 100000 --latency 100 --rounds 1 \\
    --urls dropped end kept --concurrency 4 8 16 --only aiohttp info

Each way is a whole process, from its start to the last entry on disk or on the terminal, and must give every entry.
The rounds are interleaved, so that what else the machine does hits all ways alike. A way is left out where it would
take many minutes, or where the machine lacks its program. Ratios are to the first way, the loop with aiohttp. How busy
the simulator was, as a share of one core, tells whether it was the bottleneck. See suite.py for all of it at once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple

import requests
from ansible_collections.auditops.cloudscale.tests.simulator.control import PREFIX
from ansible_collections.auditops.cloudscale.tests.simulator.state import RANGE_MODES

SIMULATOR = "ansible_collections.auditops.cloudscale.tests.simulator"
BIN = Path(sys.executable).parent

# Runs a command in a process of its own, and tells seconds, CPU and the memory of the largest process below it.
MEASURED = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
with open("stdout", "wb") as output:
    subprocess.run(sys.argv[1:], stdout=output, check=True)
seconds = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""

AIOHTTP_LOOP = """
import asyncio, json, os, aiohttp
async def main():
    headers = {"Authorization": "Bearer " + os.environ["CLOUDSCALE_API_TOKEN"]}
    url = os.environ["CLOUDSCALE_API_URL"] + "/project-logs"
    async with aiohttp.ClientSession(headers=headers) as session:
        while url:
            async with session.get(url) as answer:
                page = await answer.json()
            for entry in page["results"]:
                print(json.dumps(entry))
            url = page["next"]
asyncio.run(main())
"""

REQUESTS_LOOP = """
import json, os, requests
session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ["CLOUDSCALE_API_TOKEN"]
url = os.environ["CLOUDSCALE_API_URL"] + "/project-logs"
while url:
    page = session.get(url).json()
    for entry in page["results"]:
        print(json.dumps(entry))
    url = page["next"]
"""

CURL_LOOP = """
url="$CLOUDSCALE_API_URL/project-logs"
while [ "$url" != null ]; do
    curl -sf -H "Authorization: Bearer $CLOUDSCALE_API_TOKEN" "$url" > page.json || exit
    jq -c '.results[]' page.json
    url=$(jq -r .next page.json)
done
"""

DLT_PIPELINE = """
import os
os.environ.update(RUNTIME__DLTHUB_TELEMETRY="false", DATA_WRITER__DISABLE_COMPRESSION="true", DLT_DATA_DIR="dlt")
os.environ["NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION"] = "true"
from pathlib import Path
import dlt
from dlt.sources.rest_api import rest_api_source
source = rest_api_source({
    "client": {
        "base_url": os.environ["CLOUDSCALE_API_URL"],
        "auth": {"type": "bearer", "token": os.environ["CLOUDSCALE_API_TOKEN"]},
        "paginator": {"type": "json_link", "next_url_path": "next"},
    },
    "resource_defaults": {"max_table_nesting": 0},
    "resources": [{"name": "entries", "endpoint": {"path": "project-logs", "data_selector": "results"}}],
})
there = dlt.destinations.filesystem(Path("loaded").absolute().as_uri(), layout="{table_name}.{ext}")
dlt.pipeline("audit", destination=there, dataset_name="log").run(source, loader_file_format="jsonl")
"""

URI_LOOP = """
- hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    entries: []
    url: "{{ lookup('env', 'CLOUDSCALE_API_URL') }}/project-logs"
  tasks:
    - ansible.builtin.include_tasks: page.yml
    - ansible.builtin.copy:
        content: "{% for entry in entries %}{{ entry | to_json }}\\n{% endfor %}"
        dest: "{{ playbook_dir }}/uri.jsonl"
"""

URI_PAGE = """
- ansible.builtin.uri:
    url: "{{ url }}"
    headers: {Authorization: "Bearer {{ lookup('env', 'CLOUDSCALE_API_TOKEN') }}"}
  register: page
- ansible.builtin.set_fact:
    entries: "{{ entries + page.json.results }}"
    url: "{{ page.json.next or '' }}"
- ansible.builtin.include_tasks: page.yml
  when: url != ''
"""

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - auditops.cloudscale.project_logs_info:
        dest: "{{ playbook_dir }}/info.jsonl"
        start: -85d
        end: -1h
        concurrency: "{{ concurrency }}"
"""

PROGRAMS = {
    "aiohttp_loop.py": AIOHTTP_LOOP,
    "requests_loop.py": REQUESTS_LOOP,
    "curl_loop.sh": CURL_LOOP,
    "dlt_pipeline.py": DLT_PIPELINE,
    "uri.yml": URI_LOOP,
    "page.yml": URI_PAGE,
    "info.yml": PLAYBOOK,
}

LINE = (
    "| {way:<30} | {seconds:8.2f} s | {times:6.2f} x | {cpu:7.2f} s | {peak:6.1f} MiB | {requests:5.0f} "
    "| {served:5.0%} |"
)
HEAD = (
    f"| {'way':<30} | {'time':>10} | {'faster':>8} | {'CPU':>9} | {'largest':>10} | asked | server |\n"
    f"|{'-' * 32}|{'-' * 12}|{'-' * 10}|{'-' * 11}|{'-' * 12}|{'-' * 7}|{'-' * 8}|"
)


class Case(NamedTuple):
    """A log of so many entries; how many the API returns at once, how long (ms) it takes, what its URLs keep."""

    entries: int
    page_size: int = 200
    latency: int = 0
    urls: str = "dropped"


class Way(NamedTuple):
    """One way to fetch the log: a command, where the entries are afterwards, how many pages it bears, its needs."""

    command: list[str]
    output: str
    max_pages: int = 1_000_000
    needs: tuple[str, ...] = ()

    def bears(self, case: Case) -> bool:
        able = all(shutil.which(need) or find_spec(need) for need in self.needs)
        return able and case.entries / case.page_size <= self.max_pages


class Cost(NamedTuple):
    """Seconds, CPU seconds, MiB of the largest process, requests, and the share of a core that the server took."""

    seconds: float
    cpu: float
    peak: float
    requests: int
    served: float


def ways(concurrency: Sequence[int]) -> dict[str, Way]:
    playbook = [str(BIN / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
    return {
        "loop with aiohttp, printing": Way([sys.executable, "aiohttp_loop.py"], "stdout"),
        "loop with requests, printing": Way([sys.executable, "requests_loop.py"], "stdout"),
        "curl and jq": Way(["sh", "curl_loop.sh"], "stdout", 1_000, ("curl", "jq")),
        "dlt, to JSON lines": Way([sys.executable, "dlt_pipeline.py"], "loaded/log/entries.jsonl", 1_000, ("dlt",)),
        "loop with ansible.builtin.uri": Way([*playbook, "uri.yml"], "uri.jsonl", 10),
        "project_logs_info, one by one": Way([*playbook, "info.yml", "-e", "concurrency=1"], "info.jsonl"),
        **{
            f"project_logs_info, {most} at once": Way(
                [*playbook, "info.yml", "-e", f"concurrency={most}"], "info.jsonl"
            )
            for most in concurrency
        },
    }


class Server:
    """A simulator in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        ready = json.loads(process.stdout.readline()) if process.stdout else {}
        self.pid = process.pid
        self.environment = {
            "CLOUDSCALE_API_URL": ready["url"],
            "CLOUDSCALE_API_TOKEN": ready["projects"]["main"]["token"],
        }
        self._control = ready["url"].rsplit("/", 1)[0] + PREFIX

    def forget(self) -> None:
        requests.delete(f"{self._control}/requests", timeout=60).raise_for_status()

    @property
    def cpu(self) -> float:
        """The CPU seconds it has taken."""
        *_others, user, system = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    @property
    def answered(self) -> int:
        """How many requests it has answered since it was told to forget."""
        return len(requests.get(f"{self._control}/requests", timeout=60).json())


@contextmanager
def simulated(case: Case) -> Iterator[Server]:
    sizes = ["--entries", str(case.entries), "--page-size", str(case.page_size), "--latency", str(case.latency)]
    # The range of the playbook ends in the past, so that its end is sent, and holds all entries.
    command = [sys.executable, "-m", SIMULATOR, *sizes, "--range-in-urls", case.urls, "--ended", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process)
        finally:
            process.terminate()


def measure(way: Way, server: Server, entries: int) -> Cost:
    """What one run of it costs, in a directory that is thrown away.

    It ends the program when an entry is missing.
    """
    server.forget()
    environment = {**os.environ, **server.environment, "ANSIBLE_LOCALHOST_WARNING": "false"}
    command = [sys.executable, "-c", MEASURED, *way.command]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for program, text in PROGRAMS.items():
            (directory / program).write_text(text)
        before = server.cpu
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{way.command}: {done.stderr}")
        with (directory / way.output).open() as output:
            lines = sum(1 for _line in output)
    if lines != entries:
        sys.exit(f"{way.command} gave {lines} entries instead of {entries}")
    seconds, cpu, peak = json.loads(done.stdout)
    return Cost(seconds, cpu, peak, server.answered, (server.cpu - before) / seconds)


def compare(
    case: Case, rounds: int, concurrency: Sequence[int] = (8,), only: Sequence[str] = ()
) -> list[dict[str, object]]:
    """The ways on one simulator: medians of interleaved rounds, and how many times faster each is than the first."""
    used = {
        name: way
        for name, way in ways(concurrency).items()
        if way.bears(case) and (not only or any(word in name for word in only))
    }
    with simulated(case) as server:
        found = [{name: measure(way, server, case.entries) for name, way in used.items()} for _round in range(rounds)]
    first = next(iter(used))
    return [
        {
            "way": name,
            **case._asdict(),
            **{field: median(getattr(costs[name], field) for costs in found) for field in Cost._fields},
            "times": median(costs[first].seconds / costs[name].seconds for costs in found),
        }
        for name in used
    ]


def print_comparison(
    case: Case, rounds: int, concurrency: Sequence[int] = (8,), only: Sequence[str] = ()
) -> list[dict[str, object]]:
    """Compare, and print the table."""
    print(
        f"\n{case.entries} entries, {case.page_size} a page, {case.latency} ms an answer, range in URLs: {case.urls}; "
        f"medians of {rounds} interleaved rounds\n\n{HEAD}",
        flush=True,
    )
    results = compare(case, rounds, concurrency, only)
    for result in results:
        print(LINE.format(**result), flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, nargs="+", default=[1_000])
    parser.add_argument("--page-size", type=int, nargs="+", default=[200])
    parser.add_argument("--latency", type=int, nargs="+", default=[0], metavar="MS")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[8])
    parser.add_argument("--urls", nargs="+", default=["dropped"], choices=RANGE_MODES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="ways with one of these words")
    given = parser.parse_args()
    for numbers in product(given.entries, given.page_size, given.latency, given.urls):
        print_comparison(Case(*numbers), given.rounds, given.concurrency, given.only)


if __name__ == "__main__":
    main()
