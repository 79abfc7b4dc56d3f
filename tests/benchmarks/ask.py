# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time, CPU and memory of asking for many entries, beside what people write themselves, in one run.

python3 dev.py run -- python tests/benchmarks/ask.py --entries 1000 10000 100000 --latency 0 50 --rounds 3

Each way is a whole process, from its start to the last entry on disk or on the terminal, and must give every entry.
The rounds are interleaved, so that what else the machine does hits all ways alike. A way is left out (-) where it would
take many minutes, or where the machine lacks its program. Ratios are to the loop with aiohttp.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple

import requests
from ansible_collections.auditops.cloudscale.tests.simulator.control import PREFIX

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
        concurrency: CONCURRENCY
"""

LINE = "| {way:<30} | {seconds:8.2f} s | {times:6.2f} x | {cpu:7.2f} s | {peak:6.1f} MiB | {requests:5.0f} |"


class Way(NamedTuple):
    """One way to fetch the log: a command, where the entries are afterwards, and how many it can bear."""

    command: list[str]
    output: str
    most_entries: int
    needs: tuple[str, ...] = ()


class Cost(NamedTuple):
    seconds: float
    cpu: float
    peak: float
    requests: int


def ways(concurrency: int) -> dict[str, Way]:
    playbook = [str(BIN / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
    return {
        "loop with aiohttp, printing": Way([sys.executable, "aiohttp_loop.py"], "stdout", 10**9),
        "loop with requests, printing": Way([sys.executable, "requests_loop.py"], "stdout", 10**9),
        "curl and jq": Way(["sh", "curl_loop.sh"], "stdout", 100_000, ("curl", "jq")),
        "loop with ansible.builtin.uri": Way([*playbook, "uri.yml"], "uri.jsonl", 1_000),
        "project_logs_info, one by one": Way([*playbook, "info1.yml"], "info.jsonl", 10**9),
        f"project_logs_info, {concurrency} at once": Way([*playbook, "info.yml"], "info.jsonl", 10**9),
    }


def write_programs(folder: Path, concurrency: int) -> None:
    programs = {
        "aiohttp_loop.py": AIOHTTP_LOOP,
        "requests_loop.py": REQUESTS_LOOP,
        "curl_loop.sh": CURL_LOOP,
        "uri.yml": URI_LOOP,
        "page.yml": URI_PAGE,
        "info1.yml": PLAYBOOK.replace("CONCURRENCY", "1"),
        "info.yml": PLAYBOOK.replace("CONCURRENCY", str(concurrency)),
    }
    for name, text in programs.items():
        (folder / name).write_text(text)


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
    def answered(self) -> int:
        """How many requests it has answered since it was told to forget."""
        return len(requests.get(f"{self._control}/requests", timeout=60).json())


@contextmanager
def simulated(entries: int, page_size: int, latency: int) -> Iterator[Server]:
    sizes = ["--entries", str(entries), "--page-size", str(page_size), "--latency", str(latency)]
    command = [sys.executable, "-m", SIMULATOR, *sizes]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process)
        finally:
            process.terminate()


def measure(way: Way, folder: Path, server: Server, entries: int) -> Cost:
    """What one run of it costs.

    It ends the program when an entry is missing.
    """
    server.forget()
    environment = {**os.environ, **server.environment, "ANSIBLE_LOCALHOST_WARNING": "false"}
    command = [sys.executable, "-c", MEASURED, *way.command]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{way.command}: {done.stderr}")
    lines = sum(1 for _line in (folder / way.output).open())
    if lines != entries:
        sys.exit(f"{way.command} gave {lines} entries instead of {entries}")
    (folder / way.output).unlink()
    return Cost(*json.loads(done.stdout), server.answered)


def compare(entries: int, latency: int, options: argparse.Namespace) -> list[dict[str, object]]:
    """All ways on one simulator: medians of interleaved rounds, and the ratio of the times to the first way's."""
    with simulated(entries, options.page_size, latency) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_programs(folder, options.concurrency)
        used = {
            name: way
            for name, way in ways(options.concurrency).items()
            if entries <= way.most_entries and all(map(shutil.which, way.needs))
        }
        rounds = [
            {name: measure(way, folder, server, entries) for name, way in used.items()}
            for _round in range(options.rounds)
        ]
    first = next(iter(used))
    return [
        {
            "way": name,
            "entries": entries,
            "latency": latency,
            **{field: median(getattr(costs[name], field) for costs in rounds) for field in Cost._fields},
            "times": median(costs[first].seconds / costs[name].seconds for costs in rounds),
        }
        for name in used
    ]


def show(results: list[dict[str, object]]) -> None:
    for result in results:
        print(LINE.format(**result), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, nargs="+", default=[1_000])
    parser.add_argument("--latency", type=int, nargs="+", default=[0], metavar="MS")
    parser.add_argument("--page-size", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go, for the chart")
    options = parser.parse_args()
    found = []
    for latency, entries in product(options.latency, options.entries):
        print(
            f"\n{entries} entries, {options.page_size} a page, {latency} ms an answer; "
            f"medians of {options.rounds} interleaved rounds\n\n"
            f"| {'way':<30} | {'time':>10} | {'faster':>8} | {'CPU':>9} | {'largest':>10} | asked |\n"
            f"|{'-' * 32}|{'-' * 12}|{'-' * 10}|{'-' * 11}|{'-' * 12}|{'-' * 7}|"
        )
        results = compare(entries, latency, options)
        show(results)
        found += results
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
