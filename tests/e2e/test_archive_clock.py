# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command on hosts whose clock is wrong, jumps, passes midnight or changes to or from summer time in a run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Dict, List, NamedTuple
from unittest.mock import ANY

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.times import parse_timestamp
from ansible_collections.auditops.cloudscale.tests.e2e.collectors import Archive
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator

ROOT = Path(__file__).resolve().parents[2]
AUDIT = ROOT / "bin" / "cloudscale-audit"
GUIDE = ROOT / "docs/docsite/rst/archiver_watching_guide.rst"
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
OFF = timedelta(minutes=20)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
# Largest apparent difference of two equal clocks: dates have whole seconds, and a response takes time.
NEAR = 60.0


class Case(NamedTuple):
    """A moment that the server's clock passes in a run, and what the host's clock says meanwhile.

    It is ``skew`` off before that moment, and ``then`` from it on.
    """

    moment: str
    zone: str = "UTC"
    skew: timedelta = timedelta(0)
    then: timedelta = timedelta(0)


CASES = {
    "ahead": Case("2026-11-22T12:00:00Z", skew=OFF, then=OFF),
    "behind": Case("2026-11-22T12:00:00Z", skew=-OFF, then=-OFF),
    "jumps ahead in a run": Case("2026-11-22T12:00:00Z", then=OFF),
    "jumps back in a run": Case("2026-11-22T12:00:00Z", then=-OFF),
    "midnight": Case("2026-11-22T00:00:00Z"),
    "midnight, ahead": Case("2026-11-22T00:00:00Z", skew=OFF, then=OFF),
    "midnight of the host": Case("2026-11-21T23:00:00Z", "Europe/Zurich"),
    "summer time ends": Case("2026-10-25T01:00:00Z", "Europe/Zurich"),
    "summer time begins": Case("2027-03-28T01:00:00Z", "Europe/Zurich"),
}
REFUSED = {
    "a day ahead": Case("2026-11-22T12:00:00Z", skew=DAY, then=DAY),
    "a day behind": Case("2026-11-22T12:00:00Z", skew=-DAY, then=-DAY),
    "an hour behind, as a hardware clock on local time": Case("2026-11-22T12:00:00Z", skew=-HOUR, then=-HOUR),
}


class Host:
    """Runs the command with a clock of its own. ``moment`` is passed when the third page of a run is asked for."""

    def __init__(self, case: Case, directory: Path) -> None:
        self.skew = case.skew
        self._case = case
        self._moment = parse_timestamp(case.moment) or datetime.max
        self._shift = self._moment - timedelta(hours=1) - datetime.now(timezone.utc)
        self._file = directory / "clock"
        self._write()
        preload = subprocess.check_output(["faketime", "-f", "+0", "sh", "-c", 'echo "$LD_PRELOAD"'], text=True).strip()
        self._variables = {
            "LD_PRELOAD": preload,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "TZ": case.zone,
        }

    def server_clock(self) -> datetime:
        return datetime.now(timezone.utc) + self._shift

    def earlier_clock(self) -> datetime:
        return self.server_clock() + min(self.skew, self._case.then, timedelta(0))

    def approach(self, pages: int) -> None:
        """Before the page with this number (from 0) of the run that passes the moment."""
        wanted = self._moment + (2 * pages - 3) * SECOND
        self._shift += max(timedelta(0), wanted - self.server_clock())
        if self.server_clock() >= self._moment:
            self.skew = self._case.then
        self._write()

    def pass_by(self, distance: timedelta) -> None:
        """Let time pass, by both clocks."""
        self._shift += distance
        self._write()

    def run(self, *arguments: str, status: int = 0, **variables: str) -> Any:
        """What it tells as JSON."""
        done = subprocess.run(
            [sys.executable, str(AUDIT), *arguments, "--json"],
            env={**os.environ, **self._variables, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)

    def _write(self) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{(self._shift + self.skew).total_seconds():+.6f}\n")
        draft.rename(self._file)


class Project:
    """A project whose log is collected by a host, run by run."""

    def __init__(self, archive: Archive, host: Host) -> None:
        self.archive = archive
        self.host = host
        self._pages = 0

    def append(self, count: int, ago: float = 600) -> None:
        for number in range(count):
            self.archive.log.append(timestamp=self.host.server_clock() - timedelta(seconds=ago - number))

    def collect(self) -> Dict[str, Any]:
        """One run; what it claims must be true by the earlier of the two clocks. Returns the newest commit."""
        began = self.host.earlier_clock()
        printed = self._run("collect", str(self.archive.path), "--pin", str(self.archive.pin))
        newest = self.commits()[-1]
        server_date = parse_timestamp(newest["server_date"])
        assert server_date is not None
        assert began - SECOND <= server_date <= self.host.server_clock()
        assert abs(server_date - self.host.earlier_clock()) < OFF + MINUTE
        assert printed["covered_until"] == newest["covered_until"]
        assert parse_timestamp(newest["covered_until"]) == server_date - 10 * SECOND
        assert printed["gaps"] == []
        assert printed["state"] == "current"
        assert abs(newest["clock_skew_seconds"] - self.host.skew.total_seconds()) < NEAR
        committed_at = parse_timestamp(newest["committed_at"])
        assert committed_at is not None
        assert server_date <= committed_at <= self.host.server_clock() + OFF
        return newest

    def collect_past_the_moment(self) -> Dict[str, Any]:
        self.archive.simulator.before_page(self._grow)
        try:
            return self.collect()
        finally:
            self.archive.simulator.before_page(None)

    def doctor(self, status: int = 0) -> Dict[str, Any]:
        """Its checks by name."""
        return {check["name"]: check for check in self._run("doctor", str(self.archive.path), status=status)["checks"]}

    def commits(self) -> List[Dict[str, Any]]:
        return [json.loads(path.read_bytes()) for path in sorted((self.archive.path / "commits").iterdir())]

    def _run(self, *arguments: str, status: int = 0) -> Any:
        access = {"CLOUDSCALE_API_URL": self.archive.simulator.url, "CLOUDSCALE_API_TOKEN": self.archive.project.token}
        return self.host.run(*arguments, status=status, **access)

    def _grow(self) -> None:
        """While the run is under way, entries appear on both sides of the moment, and one late."""
        self.host.approach(self._pages)
        if self._pages < 6:
            self.append(2, ago=0)
            self.append(1, ago=5)
        self._pages += 1


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def project(request: pytest.FixtureRequest, directory: Path) -> Iterator[Project]:
    host = Host(request.param, directory)
    with Simulator(page_size=2, clock=host.server_clock) as simulator:
        yield Project(Archive(simulator, directory / "archive", directory / "head"), host)


def test_the_hosts_clock_does_not_influence_entries_and_claims(project: Project) -> None:
    project.append(5)
    project.collect()
    project.append(4)
    passing = project.collect_past_the_moment()
    assert passing["entries"] == 4 + 6 * 3
    days = {file["path"].split("/")[1] for file in passing["files"]}
    assert days == {f"date={entry['timestamp'][:10]}" for entry in project.archive.log.entries[5:]}
    project.append(3)
    project.collect()
    project.archive.check_finished()
    verified = project.host.run("verify", str(project.archive.path))
    assert (verified["intact"], verified["findings"]) == (True, [])


@pytest.mark.parametrize("project", REFUSED.values(), ids=REFUSED.keys(), indirect=True)
def test_a_clock_that_is_far_off_is_refused_with_both_times(project: Project) -> None:
    project.append(3)
    printed = project._run("collect", str(project.archive.path), status=3)
    assert printed["failure"]["code"] == "clock"
    assert len(re.findall(r"20\d\d-\d\d-\d\dT\S+Z", printed["msg"])) == 2
    assert not list(project.archive.store.list_files("commits"))


@pytest.mark.parametrize("project", [REFUSED["a day ahead"], REFUSED["a day behind"]], indirect=True)
def test_doctor_reports_a_wrong_clock(project: Project) -> None:
    project.append(1)
    checks = project.doctor(status=3)
    assert [name for name, check in checks.items() if check["failed"]] == ["clock"]
    printed = re.search(r"differs from the API's by (-?\d+) s", checks["clock"]["detail"])
    assert printed is not None
    assert abs(int(printed[1]) - project.host.skew.total_seconds()) < NEAR


@pytest.mark.parametrize("project", [CASES["summer time ends"]], indirect=True)
def test_doctor_accepts_a_correct_clock_in_any_time_zone(project: Project) -> None:
    project.append(1)
    assert not project.doctor()["clock"]["failed"]


# The same claims on the real command, for faults that could add false, lost or duplicate entries.


def metric(path: Path, name: str) -> float:
    (value,) = re.findall(rf"^cloudscale_audit_{name}{{[^}}]*}} (\S+)$", path.read_text(), re.MULTILINE)
    return float(value)


@pytest.fixture
def right(directory: Path) -> Iterator[Project]:
    """A host whose clock is right, and which goes where the test says."""
    host = Host(CASES["midnight"], directory)
    with Simulator(page_size=20, clock=host.server_clock) as simulator:
        yield Project(Archive(simulator, directory / "archive", directory / "head"), host)


def counts(project: Project) -> List[int]:
    """How many entries are archived, and how often the one is that is there most often."""
    archived = project.archive.archived()
    return [sum(archived.values()), max(archived.values())]


def commands(project: Project, *arguments: str, status: int = 0) -> Any:
    command, *options = arguments
    return project._run(command, str(project.archive.path), *options, status=status)


@pytest.mark.parametrize("days", [60, 100, -10])
def test_one_wrong_date_adds_no_claim_and_shows_in_a_metric(right: Project, directory: Path, days: int) -> None:
    right.append(3)
    commands(right, "collect")
    right.host.pass_by(2 * HOUR)
    before = commands(right, "status")
    right.append(1)
    right.archive.simulator.set(clock_offset=days * DAY)
    printed = commands(right, "collect", "--metrics", str(directory / "collect.prom"), status=3)
    assert (printed["failure"]["code"], printed["msg"].count("Z, but this host's clock says")) == ("clock", 1)
    assert abs(metric(directory / "collect.prom", "clock_skew_seconds") + days * 86_400) < NEAR
    assert metric(directory / "collect.prom", "last_run_exit_status") == 3
    assert commands(right, "status") == {**before, "failure": ANY}
    right.archive.simulator.set(clock_offset=timedelta(0))
    healed = commands(right, "collect", "--metrics", str(directory / "collect.prom"))
    assert (healed["added"], healed["gaps"]) == (1, [])
    assert abs(metric(directory / "collect.prom", "clock_skew_seconds")) < NEAR
    assert right.archive.archived() == right.archive.logged()


def test_an_outage_longer_than_retention_is_a_gap_with_any_first_date(right: Project) -> None:
    right.append(3)
    commands(right, "collect")
    right.host.pass_by(95 * DAY)
    right.append(1)
    right.archive.simulator.set(clock_offset=-10 * DAY)
    commands(right, "collect", status=3)
    right.archive.simulator.set(clock_offset=timedelta(0))
    assert [gap["why"] for gap in commands(right, "collect", status=5)["gaps"]] == ["retention"]


def test_an_entry_three_hours_late_that_meets_a_refused_cursor_is_archived_once(right: Project) -> None:
    right.append(5, ago=5 * 3600)
    right.append(5, ago=60)
    commands(right, "collect")
    right.host.pass_by(10 * MINUTE)
    right.append(1, ago=3 * 3600)
    right.archive.simulator.script(Fault("status", status=410, cursor=True))
    assert commands(right, "collect")["added"] == 1
    assert counts(right) == [11, 1]


def test_a_log_that_restarts_silently_duplicates_nothing(right: Project) -> None:
    right.append(50, ago=3 * 86_400)
    right.append(10, ago=60)
    commands(right, "collect")
    right.host.pass_by(10 * MINUTE)
    again = right.archive.simulator.add_project("again").log
    again.subject = right.archive.log.subject
    again.extend(right.archive.log.entries)
    right.archive.project.log = right.archive.log = again
    right.append(2, ago=5)
    assert commands(right, "collect")["added"] == 2
    assert counts(right) == [62, 1]
    assert commands(right, "verify")["findings"] == []


def test_one_wrong_timestamp_in_a_backlog_loses_nothing_silently(right: Project) -> None:
    for number in range(120):
        if number == 45:
            right.append(1, ago=60)
        right.append(1, ago=9 * 86_400 - number * 60)
    right.archive.simulator.script(*[Fault("pass")] * 5, Fault("status", status=403))
    commands(right, "collect", status=3)
    assert counts(right) == [100, 1]
    until = parse_timestamp(commands(right, "status", status=6)["covered_until"])
    assert until is not None
    assert right.host.server_clock() - until > 8 * DAY
    right.archive.simulator.script(Fault("status", status=410, cursor=True))
    commands(right, "collect")
    assert counts(right) == [121, 1]


def test_a_start_in_the_future_is_refused_and_makes_no_archive(right: Project) -> None:
    right.append(3)
    printed = commands(right, "collect", "--start", "2099-01-01", status=2)
    assert "2099-01-01T00:00:00Z is in the future" in printed["msg"]
    assert not list(right.archive.store.list_files("commits"))


def test_an_entry_dated_2099_does_not_keep_an_identity_from_being_accepted(right: Project) -> None:
    right.append(3)
    right.archive.log.append(timestamp="2099-01-01T00:00:00Z")
    commands(right, "collect")
    right.host.pass_by(100 * DAY)
    left = right.archive.simulator.add_project("left").log  # retention by the time of writing took that entry, too
    left.subject = right.archive.log.subject
    right.archive.project.log = right.archive.log = left
    right.archive.project.rotate_token()
    right.append(2)
    assert "set --accept-identity" in commands(right, "collect", status=3)["msg"]
    assert commands(right, "collect", "--accept-identity", status=5)["added"] == 2
    assert commands(right, "verify")["intact"]


def test_reconciling_two_days_detects_a_stuck_cursor(right: Project) -> None:
    right.append(3, ago=4000)
    commands(right, "collect")
    right.host.pass_by(2 * HOUR)
    right.append(3, ago=1000)
    stuck = right.archive.simulator.url + "/project-logs?" + right.commits()[-1]["cursor_after"]
    nothing = {"results": [], "next": None, "poll_more": stuck}
    right.archive.simulator.script(Fault("raw", body=nothing, cursor=True))
    assert commands(right, "collect")["state"] == "current"
    daily, weekly = re.findall(r"^    cloudscale-audit reconcile \S+(.*)$", GUIDE.read_text(), re.MULTILINE)
    for options in (daily, weekly):
        right.archive.simulator.clear_requests()
        found = commands(right, "reconcile", *options.split(), status=1)
        assert [one["type"] for one in found["findings"]] == ["missing_in_archive"] * 3
        assert len(right.archive.simulator.requests) <= 4
