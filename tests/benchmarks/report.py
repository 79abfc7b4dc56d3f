# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the query part of a report takes over a generated archive, against zcat and jq over the same files.

    python3 dev.py run -- python tests/benchmarks/report.py [--entries 10000000] [--page]

The archive holds a year, a file for each day. ``--page`` also measures a page with 100,000 entries in Chromium.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import find_head, live_files
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import (
    Commit,
    Project,
    Writer,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.data_file import DayFile
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, parse, timestamp
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.selection import Selection
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.alerts import AlertScan, Rules
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.analysis import Analysis
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.entry_rows import EntryRows
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.dataset import EntryTable
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.engine import embedded
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.sources import Sources
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import Report
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report_data import Heading
from ansible_collections.auditops.cloudscale.tests.simulator.history import bulk

END = datetime(2026, 11, 1, tzinfo=timezone.utc)
YEAR = timedelta(days=365)
# What a report asks, as one pass of jq over the entries: counts by actor, action, address and hour.
JQ = """reduce inputs as $e ({}; .actors[$e.actor|tostring] += 1 | .actions[$e.action] += 1
  | .addresses[$e.ip_address|tostring] += 1 | .hours[$e.timestamp[0:13]] += 1) | length"""


def lines(count: int) -> Iterator[bytes]:
    subject = {"project": {"uuid": "6ee2f8b0-8e4c-4f6f-9c50-1b8a4a4a9c11", "name": "bulk"}}
    for text in bulk(count, END - YEAR, END, subject=subject):
        yield canonical(parse(text)) + b"\n"


def generate(path: Path, count: int) -> None:
    """An archive that was collected each night: a commit, with one file, for each day."""
    store = LocalStore(str(path))
    store.prepare(None)
    before: Commit | None = None
    for day, of_day in groupby(lines(count), key=lambda line: line[line.rindex(b'"timestamp":"') + 13 :][:10]):
        before = commit_day(store, before, day.decode(), of_day)


def commit_day(store: LocalStore, before: Commit | None, day: str, of_day: Iterable[bytes]) -> Commit:
    file = DayFile(day)
    for line in of_day:
        file.add(line, timestamp(parse(line)))
    sequence = 1 if before is None else before.sequence + 1
    described, body = file.finish(sequence)
    store.put({described.path: body})
    midnight = datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(days=1)
    read = midnight + timedelta(minutes=5)
    commit = Commit(
        archive_id="benchmark",
        sequence=sequence,
        kind="entries",
        run=f"{sequence:x}",
        previous=None if before is None else hashlib.sha256(before.to_bytes()).hexdigest(),
        project=Project("bulk", "6ee2f8b0-8e4c-4f6f-9c50-1b8a4a4a9c11"),
        api="https://api.example.com/v1",
        token_tag="00000000",
        cursor_before="" if before is None else before.cursor_after,
        cursor_after=f"cursor={sequence}",
        covered_from=END - YEAR,
        covered_until=midnight,
        files=(described,),
        removed=(),
        gaps=(),
        entries=described.entries,
        total_entries=described.entries + (0 if before is None else before.total_entries),
        total_gaps=0,
        newest=described.last,
        signer=None,
        asked=read,
        pages=1,
        committed_at=read,
        server_date=read,
        clock_skew_seconds=0.0,
        collector=Writer("0", "benchmark"),
    )
    store.put_if_absent(commit.name, commit.to_bytes())
    return commit


class Cost(NamedTuple):
    """Seconds of the wall clock, and CPU seconds: on a busy machine only these can be compared."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} s ({self.cpu:.1f} s CPU)"


@contextmanager
def measured(costs: list[Cost], who: int) -> Iterator[None]:
    """Append what the block took of this process, or of its children."""
    before, began = resource.getrusage(who), time.monotonic()
    yield
    after = resource.getrusage(who)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    costs.append(Cost(time.monotonic() - began, cpu))


def queried(archive: Path, start: datetime) -> tuple[Cost, int]:
    """What detections and queries take, in this process, and how many entries it was about."""
    options: dict[str, Any] = {"archives": [str(archive)], "ask_api": False, "start": start.isoformat()}
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory() as directory, measured(costs, resource.RUSAGE_SELF):
        sources = Sources(options, directory, END, timedelta(0))
        with embedded(directory) as engine:
            watch = AlertScan(Rules({}, "UTC"), Selection(), sources.time_range, None)
            for project, entries in sources.entries():
                watch.read(project, entries)
            analysis = Analysis(EntryTable(engine, sources, Selection()), EntryRows(timezone.utc))
            heading, alerts = Heading("", "", "", "UTC", "en"), watch.alerts(is_compared=False)
            data = analysis.report_data(heading, sources.origins(), sources.time_range, END, alerts)
    return costs[0], data.entries


def piped(archive: Path, start: datetime) -> Cost:
    """What zcat and jq take for the counts alone, over the same files."""
    store = LocalStore(str(archive))
    live = live_files(store, find_head(store))
    paths = [str(archive / path) for path, file in sorted(live.items()) if file.last is None or file.last >= start]
    costs: list[Cost] = []
    with measured(costs, resource.RUSAGE_CHILDREN):
        with subprocess.Popen(["zcat", *paths], stdout=subprocess.PIPE) as zcat:
            subprocess.run(["jq", "-n", JQ], stdin=zcat.stdout, stdout=subprocess.DEVNULL, check=True)
    return costs[0]


def loaded(archive: Path, directory: Path) -> str:
    """How big a page with 100,000 entries is, and how long Chromium takes until its table can be used."""
    from playwright.sync_api import expect, sync_playwright

    page, began = directory / "page.html", time.monotonic()
    Report({"archives": [str(archive)], "ask_api": False, "dest": str(page)}).write({"html": str(page)})
    made = time.monotonic() - began
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        opened = browser.new_page()
        began = time.monotonic()
        opened.goto(page.as_uri())
        opened.wait_for_selector("html[data-ready]", timeout=120_000)
        ready = time.monotonic() - began
        printed = opened.locator(".dt-info")
        times = {}
        actions: dict[str, Callable[[], Any]] = {
            "search": lambda: opened.fill("#search", "'web-99"),
            "filter": lambda: opened.select_option("#by-action", index=1),
            "sort": lambda: opened.click("#entries th.actor"),
        }
        for name, act in actions.items():
            shown = printed.inner_text()
            began = time.monotonic()
            act()
            if name == "sort":
                expect(opened.locator("#entries th.actor")).to_have_attribute("aria-sort", "ascending", timeout=60_000)
            else:
                expect(printed).not_to_have_text(shown, timeout=60_000)
            times[name] = time.monotonic() - began
        browser.close()
    size = page.stat().st_size / 1e6
    taken = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in times.items())
    return f"page: made in {made:.1f} s, {size:.1f} MB, usable after {ready:.1f} s; {taken}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument(
        "--archive", type=Path, help="keep the generated archive in this directory, or take it from there"
    )
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for library in ("duckdb", "ibis.backends.duckdb.converter", "pyarrow"):
            import_module(library)  # the time that this takes is not the query's
        archive = options.archive or Path(name) / "archive"
        if not archive.exists():
            generate(archive, options.entries)
        for what, start in (("month", END - timedelta(days=30)), ("year", END - YEAR)):
            cost, entries = queried(archive, start)
            print(f"{what}: {entries} entries in {cost}", flush=True)
            if shutil.which("jq"):
                rival = piped(archive, start)
                times = f"{rival.wall / cost.wall:.1f} times ({rival.cpu / cost.cpu:.1f} times the CPU)"
                print(f"{what}: {rival} by zcat | jq, {times}", flush=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory: {peak:.0f} MiB")
        if options.page:
            print(loaded(archive, Path(name)))


if __name__ == "__main__":
    main()
