# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command cloudscale-audit as a host runs it: a process of its own, from the core's files."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import collect
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.run_context import RunContext
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.cli import main
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.schemas import SCHEMAS
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Client
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.preloaded import run_command
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.journald import Journald

COMMAND = Path(version.__file__).parents[2] / "bin/cloudscale-audit"
NO_REQUESTS = "import sys; sys.modules['requests'] = None; sys.argv[:] = sys.argv[1:]; import runpy; "


class Host:
    """Runs the command with the environment of a service."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.folder = folder
        self.archive = str(folder / "archive")
        self.environment = {
            "PATH": os.defpath,
            "HOME": str(folder),
            "CLOUDSCALE_API_URL": simulator.url,
            "CLOUDSCALE_API_TOKEN": simulator.project("main").token,
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in {**self.environment, **environment}.items() if value}
        if any(name.startswith(("PYTHON", "LC_")) for name in environment):
            return self._call([sys.executable, str(COMMAND), *arguments], environment)
        return run_command(list(arguments), variables, self.folder)

    def run_without_requests(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        code = NO_REQUESTS + f"runpy.run_path({str(COMMAND)!r}, run_name='__main__')"
        return self._call([sys.executable, "-c", code, "cloudscale-audit", *arguments], {"CLOUDSCALE_API_URL": ""})

    def collect_at(self, simulator: Simulator, archive: str, days: float) -> None:
        """A collection run so many days from now, by both clocks."""
        simulator.set(clock_offset=timedelta(days=days))
        context = RunContext(now=lambda: datetime.now(timezone.utc) + timedelta(days=days))
        connection = Connection(api_token=simulator.project("main").token, api_url=simulator.url)
        with Api(connection) as api:
            collect(LocalStore(archive), api, context=context)
        simulator.set(clock_offset=timedelta(0))

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    def _call(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in {**self.environment, **environment}.items() if value}
        return subprocess.run(
            command, env=variables, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(page_size=3) as running:
        for number in range(7):
            running.project("main").log.append(action="server_create", message=f"m{number}")
        yield running


@pytest.fixture
def host(simulator: Simulator, tmp_path: Path) -> Host:
    return Host(tmp_path, simulator)


def test_collect_status_verify_and_cat(host: Host, simulator: Simulator) -> None:
    collected = host.run("collect", host.archive, "--project", "shop")
    assert (collected.returncode, collected.stderr) == (0, "")
    assert collected.stdout.startswith("7 entries added in 1 commit.\nState: current.")
    again = host.run("collect", host.archive)
    assert again.stdout.startswith("0 entries added in 0 commits.")
    told = host.run("status", host.archive)
    assert told.returncode == 0
    assert re.search(r"^project +shop$", told.stdout, re.MULTILINE)
    assert re.search(r"^state +current$", told.stdout, re.MULTILINE)
    verified = host.run("verify", host.archive)
    assert verified.returncode == 0
    assert verified.stdout.startswith("Intact: 7 entries in 1 commit, covering ")
    lines = host.run("cat", host.archive).stdout.splitlines()
    assert [json.loads(line) for line in lines] == simulator.project("main").log.entries


def test_status_says_first_whether_it_is_caught_up(host: Host, simulator: Simulator) -> None:
    for days, verdict, deadline in [
        (0, r"Caught up: the archive has all entries until \S+Z, just now\.", r"in 89 days 23 h"),
        (-2, r"NOT caught up: nothing was read since \S+Z, 2 days ago\. No entry is lost if", r"in 87 days 23 h"),
        (-91, r"NOT caught up: nothing was read since \S+Z, 91 days ago\. Since \S+Z the provider", r"1 day ago"),
    ]:
        archive = str(host.folder / f"of {days}")
        host.collect_at(simulator, archive, days)
        first, *rows = host.run("status", archive).stdout.splitlines()
        assert re.match(verdict, first)
        assert re.search(rf"^deadline +\S+Z \({deadline}\)$", "\n".join(rows), re.MULTILINE)


def test_the_exit_status_of_status_is_that_of_the_state(host: Host, simulator: Simulator) -> None:
    for days, status in ((0, 0), (-2, 6), (-91, 6)):
        archive = str(host.folder / f"of {days}")
        host.collect_at(simulator, archive, days)
        assert host.run("status", archive).returncode == status


def test_a_flag_that_does_not_exist_is_refused_with_the_usage_of_its_subcommand(host: Host) -> None:
    for flag in ("--nonsense", "--dry", "--token"):
        refused = host.run("collect", host.archive, flag)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("usage: cloudscale-audit collect ")
        assert f"unrecognized arguments: {flag}" in refused.stderr


def test_an_internal_error_has_an_exit_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        ABOUT = "break"

        def add_arguments(self, parser: argparse.ArgumentParser) -> None:
            pass

        def run(self, options: argparse.Namespace, stop: threading.Event) -> int:
            return 1 // 0

    monkeypatch.setattr(main, "_load", lambda _name: Broken())
    assert main.main(["status", "nowhere"]) == 70
    told = capsys.readouterr()
    assert (told.out, "please report it" in told.err, "ZeroDivisionError" in told.err) == ("", True, True)


def test_a_command_imports_no_other_command(host: Host) -> None:
    told = "import atexit, runpy, sys; atexit.register(lambda: print(*sys.modules)); sys.argv[:] = sys.argv[1:]; "
    code = told + f"runpy.run_path({str(COMMAND)!r}, run_name='__main__')"
    imported = host._call([sys.executable, "-c", code, "cloudscale-audit", "collect", host.archive], {}).stdout
    assert set(re.findall(r"\.cli\.commands\.(\w+)", imported)) == {"collect"}


def test_status_of_a_backlog(host: Host, simulator: Simulator) -> None:
    old = simulator.add_project("old")
    for minutes in range(9):
        old.log.append(timestamp=datetime.now(timezone.utc) - timedelta(minutes=60 - minutes))
    simulator.script(Fault("pass"), Fault("status", status=403, times=9))
    host.run("collect", host.archive, CLOUDSCALE_API_TOKEN=old.token)
    told = host.run("status", host.archive)
    failed, verdict, *_rows = told.stdout.splitlines()
    assert failed.startswith("The last run of collect failed: ")
    assert re.match(r"NOT caught up: at \S+Z, 1 h ago, there was more to read\.", verdict)


def test_offline_commands_need_neither_token_nor_network_nor_requests(host: Host) -> None:
    host.run("collect", host.archive)
    for command in ("status", "verify", "cat"):
        assert host.run_without_requests(command, host.archive).returncode == 0
    missing = host.run_without_requests("collect", host.archive)
    assert (missing.returncode, "requests is missing" in missing.stderr) == (2, True)


def test_old_days_are_merged_and_removed(host: Host, simulator: Simulator) -> None:
    log, now = simulator.project("main").log, datetime.now(timezone.utc)
    for number in range(2):
        log.append(timestamp=now - timedelta(days=3, seconds=number), message="old")
        host.run("collect", host.archive, "--pin", "pin")
    dry = host.run("compact", host.archive, "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "2 entries of 1 day in 2 files would be merged.\n")
    done = host.json("compact", host.archive, "--pin", "pin")
    assert (done["days"], done["files"], done["entries"], done["head"]["sequence"]) == (1, 2, 2, 3)
    assert json.loads((host.folder / "pin").read_bytes()) == done["head"]
    prune = ["prune", host.archive, "--allow-recent", "--older-than"]
    assert host.run(*prune, "5d").stdout.startswith("0 entries of 0 days")
    gone = host.run(*prune, "-1d", "--pin", "pin")
    assert gone.stdout.startswith("2 entries of 1 day in 1 file removed.\nhead ")
    assert "old" not in host.run("cat", host.archive).stdout
    midnight = f"{now - timedelta(days=1):%Y-%m-%d}T00:00:00Z"
    assert f", covering {midnight} to " in host.run("verify", host.archive).stdout
    assert f"covered from   {midnight}, older days were pruned" in host.run("status", host.archive).stdout
    assert host.json("status", host.archive)["pruned_until"] == midnight
    assert host.json("collect", host.archive, "--metrics", "run.prom")["covered_from"] == midnight
    since = (now - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    (told,) = re.findall(r"^\w+covered_from_timestamp_seconds\S* (\S+)$", (host.folder / "run.prom").read_text(), re.M)
    assert float(told) == since
    assert host.run("collect", host.archive, "--pin", "pin").returncode == 0


class Person:
    """Somebody at a terminal, who is asked and answers; the output goes into a pipe."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, *arguments: str, answer: str = "") -> tuple[int, str, str]:
        """The exit status, the output, and what is read on the terminal. Without an answer, Ctrl-C is."""
        above, below = pty.openpty()
        command = [sys.executable, str(COMMAND), *arguments]
        with subprocess.Popen(
            command, stdin=below, stdout=subprocess.PIPE, stderr=below, env=self._host.environment, text=True
        ) as process:
            os.close(below)
            told = b""
            asked = False
            while True:
                try:
                    told += os.read(above, 1024)
                except OSError:  # the other end is closed
                    break
                if told.endswith(b"[y/N] ") and not asked:
                    asked = True
                    os.write(above, answer.encode()) if answer else process.send_signal(signal.SIGINT)
            output = process.stdout.read() if process.stdout else ""
        os.close(above)
        return process.returncode, output, told.decode()


def test_prune_asks_people_and_no_scripts(host: Host, simulator: Simulator) -> None:
    log, now = simulator.project("main").log, datetime.now(timezone.utc)
    log.append(timestamp=now - timedelta(days=3), message="old")
    host.run("collect", host.archive)
    command, person = ["prune", host.archive, "--older-than", "1d", "--allow-recent"], Person(host)
    for answer in ("n\n", "\n", "Yes!\n", "\x04"):
        status, output, told = person.run(*command, answer=answer)
        assert (status, output) == (3, "")
        assert f"This permanently removes 1 entry of 1 day from {host.archive}. Continue? [y/N] " in told
        assert "Nothing was removed." in told
    assert "was stopped" in person.run(*command)[2]
    assert host.json("status", host.archive)["commits"] == 1
    assert "Continue" not in person.run(*command, "--dry-run")[2]
    status, output, _told = person.run(*command, answer="y\n")
    assert (status, output.splitlines()[0]) == (0, "1 entry of 1 day in 1 file removed.")
    assert "Continue" not in person.run(*command)[2]  # nothing is left to ask about
    for name in ("yes", "script"):
        command[1] = str(host.folder / name)
        host.run("collect", command[1])
        status, output, told = person.run(*command, "--yes") if name == "yes" else (0, host.run(*command).stdout, "")
        assert (status, output.splitlines()[0], told) == (0, "1 entry of 1 day in 1 file removed.", "")


@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_prune_of_what_the_provider_still_has_takes_a_word(host: Host, dry: list[str]) -> None:
    host.run("collect", host.archive)
    for age in ("89d", "-1d", f"{datetime.now(timezone.utc) - timedelta(days=88):%Y-%m-%d}"):
        refused = host.run("prune", host.archive, "--older-than", age, *dry)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert (
            f"--older-than: {age} removes entries that the provider still has; use at least 90 days" in refused.stderr
        )
        assert host.run("prune", host.archive, "--older-than", age, "--allow-recent", *dry).returncode == 0
    assert host.run("prune", host.archive, "--older-than", "90d", *dry).returncode == 0


@pytest.mark.parametrize("hours", [1, 60 * 24])
def test_an_archive_that_ends_in_the_future_is_not_told_as_caught_up(
    host: Host, simulator: Simulator, hours: int
) -> None:
    host.collect_at(simulator, host.archive, hours / 24)
    told = host.run("status", host.archive)
    assert told.returncode == 6
    distance = "59 min" if hours == 1 else "59 days 23 h"
    assert re.match(rf"NOT known to be caught up: the archive ends at \S+Z, in {distance} by this host's", told.stdout)
    assert host.json("status", host.archive)["state"] == "stale"
    assert "just now" not in told.stdout


def test_a_first_run_that_was_killed_is_no_finding_that_counts(host: Host) -> None:
    host.run("collect", host.archive)
    next(Path(host.archive, "commits").iterdir()).unlink()
    told = host.run("verify", host.archive)
    assert (told.returncode, "warning unfinished: commits/000000000001.json" in told.stdout) == (0, True)
    assert "Intact" not in told.stdout
    assert told.stdout.splitlines()[-1] == "The archive has no commit yet; run collect again."


def test_an_extract_is_selected_as_cat_does(host: Host) -> None:
    host.run("collect", host.archive)
    done = host.run_without_requests(
        "export", host.archive, "--dest", "extract.csv", "--message-pattern", "[12]", "--start", "-1h"
    )
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "2 entries written to extract.csv.")
    assert (host.folder / "extract.csv").read_text().count("\n") == 3
    manifest = host.json("export", host.archive, "--dest", "extract.jsonl")
    assert manifest == json.loads((host.folder / "extract.jsonl.manifest.json").read_text())
    assert (host.folder / "extract.jsonl").read_text() == host.run("cat", host.archive).stdout
    assert host.run("export", host.archive, "--dest", "extract.txt").returncode == 2


def test_what_the_archive_lacks_of_a_range_is_told(host: Host, simulator: Simulator) -> None:
    host.collect_at(simulator, host.archive, -5)
    reached = host.json("status", host.archive)["covered_until"][:19]
    lacks = rf"cloudscale-audit: warning: The archive has no entries from {reached}\S*Z to \S+Z: "
    for command in (["cat"], ["export", "--dest", "x.csv", "--force"]):
        name, *more = command
        told = host.run(name, host.archive, *more, "--start", "-8d", "--end", "-1d")
        assert told.returncode == 5
        assert re.fullmatch(lacks + r"they are not collected yet\.\n", told.stderr)
        whole = host.run(name, host.archive, *more, "--start", "-8d", "--end", "-6d")
        assert (whole.returncode, whole.stderr) == (0, "")
        late = host.run(name, host.archive, *more)
        assert (late.returncode, late.stderr.count("not collected yet")) == (0, 1)
    manifest = host.json("export", host.archive, "--dest", "y.csv", "--start", "-8d", "--end", "-1d")
    assert [part["why"] for part in manifest["missing"]] == ["not collected"]
    assert manifest["complete"] is False


def test_a_gap_and_pruned_days_are_told_by_cat(host: Host, simulator: Simulator) -> None:
    host.collect_at(simulator, host.archive, -120)
    simulator.project("main").log.append(timestamp=datetime.now(timezone.utc) - timedelta(days=20))
    host.run("collect", host.archive)
    gap = host.run("cat", host.archive, "--start", "-100d")
    assert gap.returncode == 5
    assert re.search(r"Entries from \S+Z to \S+Z may be missing: the archive has a gap \(retention\)\.", gap.stderr)
    early = host.run("cat", host.archive, "--start", "-400d", "--end", "-300d")
    assert (early.returncode, "the archive begins later" in early.stderr) == (5, True)
    removed = host.run("prune", host.archive, "--older-than", "10d", "--allow-recent")
    assert removed.returncode == 0, removed.stderr
    pruned = host.run("cat", host.archive, "--start", "-50d", "--end", "now")
    assert (pruned.returncode, "they were pruned" in pruned.stderr) == (5, True)
    later = host.run("cat", host.archive, "--start", "-1d", "--end", "now")
    assert (later.returncode, later.stderr) == (0, "")


def test_a_range_that_is_in_the_future_is_not_fine(host: Host) -> None:
    host.run("collect", host.archive)
    tomorrow = f"{datetime.now(timezone.utc) + timedelta(days=1):%Y-%m-%d}"
    told = host.run("cat", host.archive, "--start", tomorrow)
    assert (told.returncode, "has no entries from" in told.stderr) == (5, True)
    part = host.run("cat", host.archive, "--start", "-1d", "--end", tomorrow)
    assert (part.returncode, "this time is in the future" in part.stderr) == (0, True)


def test_export_replaces_files_only_by_force(host: Host) -> None:
    host.run("collect", host.archive)
    for name in ("extract.csv", "extract.csv.manifest.json"):
        (host.folder / name).write_text("mine")
        told = host.run("export", host.archive, "--dest", "extract.csv")
        assert (told.returncode, f"--dest: {name} already exists" in told.stderr) == (2, True)
        assert (host.folder / name).read_text() == "mine"
        assert host.run("export", host.archive, "--dest", "extract.csv", "--force").returncode == 0
        assert (host.folder / name).read_text() != "mine"
        (host.folder / "extract.csv").unlink()


def test_reconcile_compares_with_the_provider(host: Host, simulator: Simulator) -> None:
    log, now = simulator.project("main").log, datetime.now(timezone.utc)
    log.append(timestamp=now - timedelta(days=2), message="old")
    host.run("collect", host.archive)
    sound = host.run("reconcile", host.archive)
    assert (sound.returncode, sound.stderr) == (0, "")
    assert sound.stdout.startswith("Compared 1 entry from ")
    log.append(timestamp=now - timedelta(days=2), message="hidden")
    found = host.run("reconcile", host.archive, "--start", "-3d", "--end", "-1d")
    assert found.returncode == 1
    assert found.stdout.startswith("FINDING missing_in_archive: entries/date=")
    told = host.json("reconcile", host.archive)
    assert (told["same"], told["compared"]["entries"], len(told["findings"])) == (False, 1, 1)


def test_a_comparison_of_nothing_is_not_fine(host: Host) -> None:
    host.run("collect", host.archive)
    outside = ("--start", "-300d", "--end", "-200d")
    nothing = host.run("reconcile", host.archive, *outside, "--metrics", "r.prom")
    assert (nothing.returncode, "warning not_compared" in nothing.stdout) == (5, True)
    assert metrics(host.folder / "r.prom")["last_success_timestamp_seconds"] == 0
    told = host.json("reconcile", host.archive, *outside)
    assert (told["same"], told["compared"]["start"]) == (None, None)


def test_verify_judges_the_archive_and_its_age_on_request(host: Host, simulator: Simulator) -> None:
    host.collect_at(simulator, host.archive, -100)
    assert host.run("verify", host.archive).returncode == 0
    old = host.run("verify", host.archive, "--max-lag", "1d")
    assert old.returncode == 6
    verdict = r"^Not current: the archive covers the log until \S+Z, 100 days ago; --max-lag allows 1d\.$"
    assert re.search(verdict, old.stdout, re.MULTILINE)
    told = host.json("verify", host.archive, "--max-lag", "1d")
    assert (told["intact"], told["current"]) == (True, False)
    assert host.run("verify", host.archive, "--max-lag", "101d").returncode == 0
    next(Path(host.archive).rglob("*.gz")).unlink()
    assert host.run("verify", host.archive, "--max-lag", "1d").returncode == 1
    wrong = host.run("verify", host.archive, "--max-lag", "soon")
    assert (wrong.returncode, "--max-lag: 'soon' is not a valid duration" in wrong.stderr) == (2, True)


@pytest.fixture
def key(host: Host) -> None:
    """The files key and, for verify, allowed."""
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host.folder / "key")]
    subprocess.run(make, check=True, timeout=60)
    (host.folder / "allowed").write_text("log1 " + (host.folder / "key.pub").read_text())


@pytest.mark.usefixtures("key")
def test_a_collection_is_signed(host: Host, simulator: Simulator) -> None:
    assert host.run("collect", host.archive, "--sign-key", "key", "--dry-run").returncode == 0
    assert host.run("collect", host.archive, "--sign-key", "key").returncode == 0
    signed = host.run("verify", host.archive, "--allowed-signers", "allowed")
    assert (signed.returncode, signed.stdout.startswith("Intact:")) == (0, True)
    *_more, since, newest = signed.stdout.splitlines()
    assert since == "Signed from commit 1 on."
    assert newest == "Commit 1 is signed by an allowed signer; only its signature was checked."
    assert host.run("collect", host.archive, "--sign-key", "key").returncode == 0
    assert len(list(Path(host.archive, "signatures").iterdir())) == 1
    simulator.project("main").log.append()
    refused = host.run("collect", host.archive)
    assert (refused.returncode, "this run has no key" in refused.stderr) == (2, True)
    host.run("collect", host.archive, "--sign-key", "key")
    told = host.json("verify", host.archive, "--allowed-signers", "allowed", "--every-signature")
    assert (told["signed_from"], told["signed_up_to"]) == (1, 2)
    assert (told["signer_allowed"], told["every_signature"]) == (True, True)
    told = host.json("verify", host.archive)
    assert (told["signer_allowed"], told["every_signature"]) == (False, False)
    assert host.run("verify", host.archive, "--signed-from", "1").returncode == 0
    state = host.folder / ".local/state/cloudscale-audit"
    assert len(list(state.iterdir())) == 1
    (host.folder / "allowed").write_text("nobody\n")
    assert host.run("verify", host.archive, "--allowed-signers", "allowed").returncode == 1
    assert host.run("verify", host.archive, "--allowed-signers", "nowhere").returncode == 2
    assert host.run("collect", host.archive, "--sign-key", "nowhere").returncode == 2


@pytest.mark.usefixtures("key")
def test_what_merges_and_removes_is_signed_at_once(host: Host, simulator: Simulator) -> None:
    log, now = simulator.project("main").log, datetime.now(timezone.utc)

    def verified() -> str:
        return host.run("verify", host.archive, "--allowed-signers", "allowed").stdout

    for days in (4, 4, 3, 3):
        log.append(timestamp=now - timedelta(days=days), message="old")
        host.run("collect", host.archive, "--sign-key", "key")
    dry = host.run("prune", host.archive, "--older-than", "-1d", "--sign-key", "key", "--dry-run", "--allow-recent")
    assert (dry.returncode, verified().startswith("Intact:")) == (0, True)
    for command in (["compact"], ["prune", "--older-than", "-3d", "--allow-recent"]):
        done = host.run(command[0], host.archive, *command[1:], "--sign-key", "key")
        assert (done.returncode, "not signed" in done.stdout) == (0, False)
        assert verified().startswith("Intact:")
    unsigned = host.run("prune", host.archive, "--older-than", "-2d", "--allow-recent")
    assert (unsigned.returncode, "this run has no key" in unsigned.stderr) == (2, True)
    before = host.json("status", host.archive)["head"]
    refused = host.run("prune", host.archive, "--older-than", "-1d", "--sign-key", "nowhere", "--allow-recent")
    assert (refused.returncode, host.json("status", host.archive)["head"]) == (2, before)


def test_json_for_programs(host: Host) -> None:
    dry = host.json("collect", host.archive, "--dry-run")
    assert (dry["added"], dry["commits_added"]) == (7, 1)
    assert not Path(host.archive).exists()
    done = host.json("collect", host.archive)
    assert host.json("status", host.archive)["head"] == done["head"]
    status = host.json("status", host.archive)
    verified = host.json("verify", host.archive)
    signed = {"signed_from": None, "signed_up_to": None, "signer_allowed": None, "every_signature": None}
    outside = {"heads": None, "timestamps": None}
    assert verified == {"intact": True, "findings": [], "status": status, "current": None, **outside, **signed}
    failed = json.loads(host.run("status", "nowhere", "--json").stdout)
    assert failed["failure"] == {"code": "storage", "http_status": None, "retryable": False}


def test_cat_selects_as_the_lookup_does(host: Host, simulator: Simulator) -> None:
    simulator.project("main").log.append(action="server_delete", message="last", actor={"admin": {}})
    host.run("collect", host.archive)
    for arguments, messages in [
        (["--action", "*_delete"], ["last"]),
        (["--actor", "admin"], ["last"]),
        (["--message-pattern", "[12]"], ["m1", "m2"]),
        (["--limit", "2"], ["m6", "last"]),
        (["--start", "-1h", "--end", "now", "--message-pattern", "m0"], ["m0"]),
        (["--end", "-1h"], []),
    ]:
        lines = host.run("cat", host.archive, *arguments).stdout.splitlines()
        assert [json.loads(line)["message"] for line in lines] == messages


def test_a_reader_that_has_seen_enough_is_no_error(host: Host, simulator: Simulator) -> None:
    simulator.project("main").log.append(action="x", message="m" * 1_000_000)
    host.run("collect", host.archive)
    command = f"{sys.executable} {COMMAND} cat {host.archive} | head -c 10; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "usage:"),
        (["verify", "archive", "--expected-head", "42"], 2, "is not a valid head"),
        (["collect", "archive", "--start", "soon"], 2, "--start: 'soon' is not a valid time"),
        (["collect", "archive", "--token-file", "nowhere"], 2, "token file nowhere cannot be read"),
        (["collect", "archive", "--api-url", "http://api.cloudscale.ch/v1"], 2, "unencrypted"),
        (["status", "nowhere"], 4, "There is no archive in"),
        (["verify", "nowhere"], 4, "There is no archive in"),
        (["cat", "nowhere"], 4, "There is no archive in"),
        (["reconcile", "nowhere"], 4, "There is no archive in"),
        (["compact", "nowhere"], 4, "There is no archive in"),
        (["prune", "nowhere", "--older-than", "3y"], 4, "There is no archive in"),
        (["prune", "nowhere"], 2, "--older-than"),
        (
            ["prune", "nowhere", "--older-than", "3 years"],
            2,
            "--older-than: '3 years' is not a valid age; use 3y, 1095d",
        ),
        (["prune", "nowhere", "--older-than", "2999-01-01"], 2, "is in the future; use 3y, 1095d"),
        (["collect", ""], 2, "path: '' is not a valid archive path"),
        (["verify", " "], 2, "path: ' ' is not a valid archive path"),
        (["collect", "S3://audit/shop"], 2, "path: 'S3://audit/shop' is not a valid archive path"),
        (["collect", "/etc/hostname"], 4, "/etc/hostname is a file, but an archive is a directory"),
        (["verify", "/etc/hostname"], 4, "/etc/hostname is a file, but an archive is a directory"),
        (["collect", "archive", "--api-url", "https://127.0.0.1:9/v1"], 3, "No connection to 127.0.0.1:9"),
    ],
)
def test_exit_codes_of_failures(host: Host, arguments: list[str], code: int, told: str) -> None:
    done = host.run(*arguments)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["cat", "--start", "soon"], {}, "--start: 'soon' is not a valid time"),
        (["cat", "--start", "2026-11-22", "--end", "2026-11-21"], {}, "is before --start (2026-11-22T00:00:00Z)"),
        (["cat", "--limit", "0"], {}, "--limit must be a whole number"),
        (["cat", "--actor", "x", "--actor", ""], {}, "--actor: item 2 of 2 is empty"),
        (["cat", "--action", "x", "--action", ""], {}, "--action: item 2 of 2 is empty"),
        (["cat", "--ip-network", "x"], {}, "--ip-network: 'x' is not a valid network"),
        (["cat", "--message-pattern", "["], {}, "--message-pattern: '[' is not a valid regular expression"),
        (["export", "--dest", "x.txt"], {}, "--dest: x.txt has an unsupported format"),
        (["export", "--dest", "nowhere/x.csv"], {}, "--dest: the directory "),
        (["prune", "--older-than", "30"], {}, "--older-than: '30' is not a valid age"),
        (
            ["collect"],
            {"CLOUDSCALE_API_TOKEN": ""},
            "No API token. Pass --token-file FILE or set CLOUDSCALE_API_TOKEN.",
        ),
        (["collect"], {"CLOUDSCALE_API_TOKEN": "a b"}, "CLOUDSCALE_API_TOKEN is malformed"),
        (["collect", "--token-file", "bad"], {}, "--token-file is malformed"),
        (["collect", "--token-file", "unknown"], {}, "check --token-file and its project"),
        (["collect"], {"CLOUDSCALE_API_TOKEN": "x" * 40}, "check CLOUDSCALE_API_TOKEN and its project"),
        (["collect"], {"CLOUDSCALE_API_URL": "here"}, "CLOUDSCALE_API_URL 'here' is not a valid URL"),
        (["collect", "--api-url", "here"], {}, "--api-url 'here' is not a valid URL"),
        (["collect", "--api-url", "http://127.0.0.1:9"], {}, "check --api-url and the network"),
        (["collect", "--api-timeout", "x"], {}, "--api-timeout: 'x' is not a number"),
        (["collect", "--api-retry-budget", "-1"], {}, "--api-retry-budget must be at least 0"),
        (["collect", "--ca-path", "nowhere"], {}, "--ca-path: nowhere does not exist"),
        (["collect", "--time-zone", "Zurich"], {}, "--time-zone: 'Zurich' is not a time zone"),
        (["collect", "--start", "2999-01-01"], {}, "--start: 2999-01-01T00:00:00Z is in the future"),
        (["collect", "--metrics", "nowhere/m.prom"], {}, "--metrics: the directory "),
        (["reconcile", "--start", "soon"], {}, "--start: 'soon' is not a valid time"),
        (["verify", "--max-lag", "soon"], {}, "--max-lag: 'soon' is not a valid duration"),
    ],
)
def test_errors_name_flags_as_they_are_typed(
    host: Host, arguments: list[str], environment: dict[str, str], told: str
) -> None:
    (host.folder / "bad").write_text("a b")
    (host.folder / "unknown").write_text("x" * 40)
    command, *more = arguments
    if command != "collect":
        host.run("collect", host.archive)
    done = host.run(command, host.archive, *more, **environment)
    assert done.returncode in (2, 3)
    assert told in done.stderr
    options = r"\b(api_token|api_url|api_timeout|api_retry_budget|ca_path|ip_networks|message_pattern)\b"
    assert not re.search(options, done.stderr)


@pytest.mark.usefixtures("key")
def test_refusals_of_a_signed_archive_name_flags(host: Host) -> None:
    host.run("collect", host.archive, "--sign-key", "key")
    unsigned = host.run("compact", host.archive)
    assert "this run has no key; set --sign-key." in unsigned.stderr


def test_a_start_of_an_existing_archive_is_told_as_ignored(host: Host) -> None:
    assert host.run("collect", host.archive, "--start", "2026-11-22").stderr == ""
    again = host.run("collect", host.archive, "--start", "2026-11-22")
    assert (again.returncode, again.stderr) == (0, "")
    other = host.run("collect", host.archive, "--start", "-1d")
    assert (other.returncode, other.stderr) == (
        0,
        "cloudscale-audit: warning: --start is ignored, because the archive exists already and covers the log from "
        "2026-11-22T00:00:00Z.\n",
    )


def test_texts_show_times_in_a_time_zone(host: Host, simulator: Simulator) -> None:
    zone = ("--time-zone", "Asia/Kolkata")
    collected = host.run("collect", host.archive, *zone)
    assert re.search(r"Covered until \S+\+05:30\.$", collected.stdout, re.MULTILINE)
    for command in ("status", "verify", "reconcile"):
        told = host.run(command, host.archive, *zone)
        assert told.returncode == 0
        times = re.findall(r"\d{4}-\d\d-\d\dT[\d:]+(\S*?)[,.:]?(?=\s)", told.stdout)
        assert times
        assert set(times) == {"+05:30"}
    log, now = simulator.project("main").log, datetime.now(timezone.utc)
    midnight = (now - timedelta(days=2)).replace(hour=18, minute=30, second=0, microsecond=0)
    log.append(timestamp=midnight - timedelta(seconds=1))
    log.append(timestamp=midnight)
    host.run("collect", host.archive)
    day = f"{midnight + timedelta(hours=6):%Y-%m-%d}"
    compared = host.run("reconcile", host.archive, "--start", day, *zone).stdout
    assert f"from {day}T00:00:00+05:30 to " in compared


class Terminal:
    """A terminal on which a command writes its errors."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, *arguments: str) -> str:
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "rb", buffering=0) as shown:
            subprocess.run(
                [sys.executable, str(COMMAND), *arguments],
                env=self._host.environment,
                stdout=subprocess.DEVNULL,
                stderr=theirs,
                timeout=60,
                check=True,
            )
            os.close(theirs)
            return shown.read(1 << 16).decode()


def test_progress_is_one_line_that_shows_how_far_a_read_is(host: Host, simulator: Simulator) -> None:
    log, now = simulator.project("main").log, datetime.now(timezone.utc)
    for days in (5, 4, 3):
        log.append(timestamp=now - timedelta(days=days))
    for command in ("collect", "reconcile"):
        shown = Terminal(host).run(command, host.archive)
        assert shown.count("\n") == 1
        *_before, last = shown.strip().split("\r")
        assert re.match(r"\d+ entries read, up to \d{4}-\d\d-\d\dT[\d:]+Z *$", last)


def test_findings_have_an_exit_code_of_their_own(host: Host) -> None:
    head = host.json("collect", host.archive)["head"]
    assert host.run("verify", host.archive, "--expected-head", f"1:{head['sha256']}").returncode == 0
    assert host.run("verify", host.archive, "--expected-head", f"1:{'0' * 64}").returncode == 1
    next(Path(host.archive).rglob("*.gz")).unlink()
    broken = host.run("verify", host.archive)
    assert broken.returncode == 1
    assert broken.stdout.startswith("FINDING missing: entries/date=")
    assert broken.stdout.endswith(
        f"\nNot intact: 1 finding. Keep {host.archive} unchanged, and compare it with a copy.\n"
    )
    assert host.run("cat", host.archive).returncode == 1


def test_an_archive_without_a_commit_is_not_told_as_empty(host: Host) -> None:
    host.run("collect", host.archive)
    for commit in Path(host.archive, "commits").iterdir():
        commit.unlink()
    for arguments in (["status"], ["cat"], ["export", "--dest", "extract.csv"]):
        done = host.run(arguments[0], host.archive, *arguments[1:])
        assert (done.returncode, done.stdout) == (4, "")
        assert "There is no archive in" in done.stderr
    assert not (host.folder / "extract.csv").exists()
    verified = host.run("verify", host.archive)
    assert (verified.returncode, "The archive has no commit yet" in verified.stdout) == (0, True)


def test_a_gap_has_an_exit_code_of_its_own(host: Host, simulator: Simulator) -> None:
    host.collect_at(simulator, host.archive, -120)
    simulator.script(Fault("status", status=410, cursor=True))
    late = host.run("collect", host.archive)
    assert late.returncode == 5
    assert "GAP from" in late.stdout
    assert host.run("verify", host.archive).returncode == 0


def test_a_token_rotated_during_a_run_is_read_again(host: Host, simulator: Simulator) -> None:
    project, file = simulator.project("main"), host.folder / "token"
    file.write_text(f"{project.token}\n")

    def rotate() -> None:
        simulator.before_page(None)
        file.write_text(project.rotate_token())

    simulator.before_page(rotate)
    assert host.run("collect", host.archive, "--token-file", str(file)).returncode == 0
    kept = [json.loads(line) for line in host.run("cat", host.archive).stdout.splitlines()]
    assert kept == project.log.entries
    assert host.run("verify", host.archive).returncode == 0


def test_a_refused_token_is_asked_with_once(host: Host, simulator: Simulator) -> None:
    (host.folder / "token").write_text("a-token-that-was-revoked-0123456789")
    refused = host.run("collect", host.archive, "--token-file", "token")
    assert (refused.returncode, len(simulator.requests)) == (3, 1)
    assert "revoked" not in refused.stderr


def test_a_refused_token_out_of_a_pipe_is_told_as_refused(host: Host) -> None:
    command = f"{sys.executable} {COMMAND} collect archive --token-file <(echo a-token-that-was-revoked-0123456789)"
    refused = subprocess.run(
        ["bash", "-c", command], env=host.environment, cwd=host.folder, capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "does not accept the token" in refused.stderr) == (3, True)


def test_a_token_file_may_lie_in_the_home_folder(host: Host, simulator: Simulator) -> None:
    (host.folder / "token").write_text(simulator.project("main").token)
    done = host.run("collect", host.archive, "--token-file=~/token", HOME=str(host.folder), CLOUDSCALE_API_TOKEN="")
    assert done.returncode == 0


def test_a_credential_of_systemd_is_found(host: Host, simulator: Simulator) -> None:
    (host.folder / "api_token").write_text(simulator.project("main").token)
    done = host.run("collect", host.archive, CLOUDSCALE_API_TOKEN="", CREDENTIALS_DIRECTORY=str(host.folder))
    assert done.returncode == 0


def test_a_pinned_head_is_never_silently_cut_off(host: Host, simulator: Simulator) -> None:
    pin = str(host.folder / "pin")
    host.run("collect", host.archive, "--pin", pin)
    simulator.project("main").log.append(action="server_stop", message="second")
    host.run("collect", host.archive, "--pin", pin)
    (Path(host.archive) / "commits/000000000002.json").unlink()
    cut = host.run("collect", host.archive, "--pin", pin)
    assert cut.returncode == 1
    assert "was truncated or replaced" in cut.stderr


def test_doctor_checks_all_that_a_collection_needs(host: Host, simulator: Simulator) -> None:
    healthy = host.run("doctor", host.archive)
    assert healthy.returncode == 0
    host_and_project = ["directory", "space", "archive", "api", "project", "clock"]
    behavior = ["pages", "urls", "polling", "date", "order", "range", "windows", "cursors"]
    checks = [line.split()[:2] for line in healthy.stdout.splitlines()]
    assert checks == [["ok", name] for name in [*host_and_project, *behavior]]
    assert "3 entries per page, 200 are published" in healthy.stdout
    assert {request.method for request in simulator.requests} == {"GET"}
    assert list(host.folder.iterdir()) == []
    wrong = host.json("doctor", host.archive, "--token-file", str(COMMAND))
    assert [check["name"] for check in wrong["checks"] if check["failed"]] == ["api"]
    simulator.set(clock_offset=timedelta(minutes=2))
    skewed = host.run("doctor", host.archive)
    assert skewed.returncode == 3
    assert re.search(r"FAILED +clock +This host's clock differs from the API's by -1[12]\d s", skewed.stdout)


def test_a_project_without_a_name_is_shown_by_its_uuid(host: Host) -> None:
    assert host.run("collect", host.archive).returncode == 0
    uuid = host.json("status", host.archive)["project"]["uuid"]
    assert re.search(rf"^project +{uuid}$", host.run("status", host.archive).stdout, re.MULTILINE)


def test_doctor_refuses_the_parent_of_archives(host: Host) -> None:
    inner = Path(host.archive) / "shop"
    for below in (inner / "archive", inner):
        assert host.run("collect", str(below)).returncode == 0
        wrong = host.run("doctor", host.archive)
        assert wrong.returncode == 4
        assert (
            f"FAILED  archive   There is no archive in {host.archive}, but one in {below}; check the path."
            in wrong.stdout
        )
        assert host.run("doctor", str(below)).returncode == 0


def test_doctor_fails_if_the_api_breaks_a_promise(host: Host, simulator: Simulator) -> None:
    with Client(simulator) as client:
        page = client.page()
    for number, entry in enumerate(page["results"]):
        entry["timestamp"] = f"2026-11-2{9 - number}T12:00:00Z"
    simulator.script(Fault("raw", body={**page, "next": None}))
    told = host.run("doctor", host.archive)
    assert told.returncode == 3
    assert "FAILED  order     The log begins with its newest entry" in told.stdout


def test_doctor_knows_another_projects_token(host: Host, simulator: Simulator) -> None:
    host.run("collect", host.archive)
    other = simulator.add_project("other")
    other.log.append(action="server_create", message="m")
    told = host.run("doctor", host.archive, CLOUDSCALE_API_TOKEN=other.token)
    assert told.returncode != 0
    assert "FAILED  project   The token belongs to another project" in told.stdout


def test_journal_writes_each_new_entry_once(host: Host, simulator: Simulator) -> None:
    host.run("collect", host.archive)
    with Journald(host.folder / "socket") as journald:
        options = ("--socket", journald.path, "--bookmark", "bookmark")
        first = host.run("journal", host.archive, *options)
        assert (first.returncode, first.stdout, first.stderr) == (0, "7 entries written to the journal.\n", "")
        simulator.project("main").log.append(action="server_stop", message="new")
        host.run("collect", host.archive)
        assert host.json("journal", host.archive, *options) == {"entries": 1, "pruned": 0}
        assert host.run_without_requests("journal", host.archive, *options).returncode == 0
    entries = [json.loads(message["MESSAGE"])["entry"] for message in journald.messages]
    assert entries == simulator.project("main").log.entries


@pytest.mark.parametrize(("schema", "place"), [("ecs", ("event", "id")), ("ocsf", ("metadata", "uid"))])
def test_journal_writes_events_of_a_schema_and_selects(
    host: Host, simulator: Simulator, schema: str, place: tuple[str, str]
) -> None:
    log = simulator.project("main").log
    log.append(action="server_stop", message="Server 'web' has been stopped\n\x1b")
    host.run("collect", host.archive)
    with Journald(host.folder / "socket") as journald:
        options = ("--socket", journald.path, "--bookmark", "bookmark", "--format", schema, "--resource", "w?b")
        assert host.json("journal", host.archive, *options) == {"entries": 1, "pruned": 0}
        assert host.json("journal", host.archive, *options) == {"entries": 0, "pruned": 0}
    (message,) = journald.messages
    event = json.loads(message["MESSAGE"])
    group, key = place
    assert event[group].pop(key) == message["CLOUDSCALE_AUDIT_ID"]
    assert event == SCHEMAS[schema](log.entries[-1])
    assert message["MESSAGE"].isprintable()


def test_journal_selects_entries_as_they_are(host: Host, simulator: Simulator) -> None:
    simulator.project("main").log.append(action="server_stop", message="new")
    host.run("collect", host.archive)
    with Journald(host.folder / "socket") as journald:
        told = host.run("journal", host.archive, "--socket", journald.path, "--bookmark", "b", "--action", "server_s*")
        assert told.stdout == "1 entry written to the journal.\n"
    assert [json.loads(message["MESSAGE"])["entry"]["message"] for message in journald.messages] == ["new"]


def test_a_journal_that_is_not_there_is_a_failure_of_storage(host: Host) -> None:
    host.run("collect", host.archive)
    failed = host.run("journal", host.archive, "--socket", "nowhere", "--bookmark", "bookmark", "--metrics", "j.prom")
    assert (failed.returncode, failed.stderr) == (
        4,
        "cloudscale-audit: The journal at nowhere does not accept messages: No such file or directory.\n",
    )
    assert (
        'last_run_exit_status{archive="' + host.archive + '",command="journal",project=""} 4'
        in (host.folder / "j.prom").read_text()
    )


def metrics(path: Path) -> dict[str, float]:
    """The values in a file for Prometheus by their names, with the label that tells states apart."""
    sample = re.compile(r'^cloudscale_audit_(\w+)\{.*?(?:state="(\w+)")?\} (\S+)$', re.MULTILINE)
    return {f"{name} {state}".strip(): float(value) for name, state, value in sample.findall(path.read_text())}


def test_metrics_tell_of_a_run_and_of_the_archive(host: Host) -> None:
    began = time.time()
    host.run("collect", host.archive, "--metrics", "collect.prom")
    told, status = metrics(host.folder / "collect.prom"), host.json("status", host.archive)
    assert began <= told["last_run_timestamp_seconds"] == told["last_success_timestamp_seconds"] <= time.time()
    assert 0 < told["last_run_duration_seconds"] < 60
    assert told["last_run_exit_status"] == 0
    assert (told["entries"], told["commits_total"], told["gaps_total"]) == (7, 1, 0)
    for moment in ("covered_from", "covered_until", "retention_deadline"):
        assert told[f"{moment}_timestamp_seconds"] == datetime.fromisoformat(status[moment][:-1] + "+00:00").timestamp()
    states = {name: value for name, value in told.items() if name.startswith("state ")}
    assert states == {"state new": 0, "state current": 1, "state backlog": 0, "state stale": 0, "state expired": 0}
    assert stat.S_IMODE((host.folder / "collect.prom").stat().st_mode) == 0o644


def test_metrics_of_a_failed_run_keep_the_last_success(host: Host, simulator: Simulator) -> None:
    failed = host.run("collect", host.archive, "--metrics", "m.prom", CLOUDSCALE_API_TOKEN="x" * 40)
    never = metrics(host.folder / "m.prom")
    assert failed.returncode == never["last_run_exit_status"] == 3
    assert never["last_success_timestamp_seconds"] == 0
    assert "entries" not in never
    host.run("collect", host.archive, "--metrics", "m.prom")
    good = metrics(host.folder / "m.prom")
    simulator.project("main").log.append(action="server_stop", message="not read")
    host.run("collect", host.archive, "--metrics", "m.prom", CLOUDSCALE_API_TOKEN="x" * 40)
    bad = metrics(host.folder / "m.prom")
    assert bad["last_run_timestamp_seconds"] > good["last_run_timestamp_seconds"]
    assert bad["last_run_exit_status"] == 3
    assert bad["last_success_timestamp_seconds"] == good["last_success_timestamp_seconds"]
    assert (bad["entries"], bad["covered_until_timestamp_seconds"]) == (7, good["covered_until_timestamp_seconds"])


def test_metrics_of_a_run_that_found_nothing_tell_that_it_looked(host: Host, simulator: Simulator) -> None:
    simulator.set(clock_offset=-timedelta(minutes=20))
    host.run("collect", host.archive, "--metrics", "m.prom")
    before = metrics(host.folder / "m.prom")
    simulator.set(clock_offset=timedelta(0))
    assert host.run("collect", host.archive, "--metrics", "m.prom").stdout.startswith("0 entries added in 0 commits.")
    after = metrics(host.folder / "m.prom")
    assert after["covered_until_timestamp_seconds"] - before["covered_until_timestamp_seconds"] >= 1200
    assert after["commits_total"] == before["commits_total"]


def test_metrics_of_a_gap_are_those_of_a_success(host: Host, simulator: Simulator) -> None:
    host.collect_at(simulator, host.archive, -120)
    simulator.script(Fault("status", status=410, cursor=True))
    host.run("collect", host.archive, "--metrics", "m.prom")
    told = metrics(host.folder / "m.prom")
    assert (told["last_run_exit_status"], told["gaps_total"]) == (5, 1)
    assert told["last_success_timestamp_seconds"] == told["last_run_timestamp_seconds"]


def test_metrics_of_a_verification(host: Host) -> None:
    host.run("collect", host.archive)
    host.run("verify", host.archive, "--metrics", "verify.prom")
    sound = metrics(host.folder / "verify.prom")
    assert (sound["last_run_exit_status"], sound["verify_findings"]) == (0, 0)
    next(Path(host.archive).rglob("*.gz")).unlink()
    host.run("verify", host.archive, "--metrics", "verify.prom")
    broken = metrics(host.folder / "verify.prom")
    assert (broken["last_run_exit_status"], broken["verify_findings"]) == (1, 1)
    assert broken["last_success_timestamp_seconds"] == sound["last_success_timestamp_seconds"]
    host.run("verify", "nowhere", "--metrics", "verify.prom")
    failed = metrics(host.folder / "verify.prom")
    assert (failed["last_run_exit_status"], "verify_findings" in failed) == (4, False)


def test_metrics_of_a_comparison(host: Host, simulator: Simulator) -> None:
    host.run("collect", host.archive)
    host.run("reconcile", host.archive, "--metrics", "reconcile.prom")
    same = metrics(host.folder / "reconcile.prom")
    assert (same["last_run_exit_status"], same["reconcile_findings"]) == (0, 0)
    simulator.stop()
    host.run("reconcile", host.archive, "--metrics", "reconcile.prom", "--api-retry-budget", "0")
    failed = metrics(host.folder / "reconcile.prom")
    assert (failed["last_run_exit_status"], "reconcile_findings" in failed) == (3, False)
    assert failed["last_success_timestamp_seconds"] == same["last_success_timestamp_seconds"]


def test_metrics_that_cannot_be_written_are_told_after_the_collection(host: Host) -> None:
    done = host.run("collect", host.archive, "--metrics", "nowhere/m.prom")
    assert (done.returncode, done.stderr) == (
        2,
        f"cloudscale-audit: --metrics: the directory {host.folder}/nowhere does not exist; create it first.\n",
    )
    assert host.json("status", host.archive)["entries"] == 7
    twice = host.run("verify", "nothing", "--metrics", "nowhere/m.prom")
    assert (twice.returncode, len(twice.stderr.splitlines())) == (4, 2)


def test_what_is_no_file_is_never_replaced_by_one(host: Host) -> None:
    host.run("collect", host.archive)
    pipe = host.folder / "pipe.jsonl"
    os.mkfifo(pipe)
    done = host.run("export", host.archive, "--dest", str(pipe))
    assert (done.returncode, "pipe.jsonl is not a regular file" in done.stderr) == (2, True)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_dry_run_writes_no_metrics(host: Host) -> None:
    host.run("collect", host.archive, "--dry-run", "--metrics", "m.prom")
    assert list(host.folder.iterdir()) == []


def test_a_name_in_metrics_is_one_line_whatever_is_in_it(host: Host) -> None:
    name = '"} 1\n\\ #\r\u2028 Z\u00fcrich'
    host.run("collect", host.archive, "--project", name, "--metrics", "m.prom")
    lines = (host.folder / "m.prom").read_text().splitlines()
    assert all(line.startswith(("# HELP cloud", "# TYPE cloud", "cloudscale_audit_")) for line in lines)
    replaced = '\\"} 1\ufffd\\\\ #\ufffd\ufffd Z\u00fcrich'
    assert f'project="{replaced}"}} 7' in "\n".join(lines)


def test_the_file_of_the_command_alone_says_what_it_lacks(tmp_path: Path) -> None:
    alone = shutil.copy(COMMAND, tmp_path)
    told = subprocess.run([sys.executable, alone, "status", "."], capture_output=True, text=True, check=False)
    lacks = (
        f"cloudscale-audit: {tmp_path} does not contain the program; copy the complete collection, or reinstall it.\n"
    )
    assert (told.returncode, told.stderr) == (2, lacks)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_that_only_reads(host: Host, simulator: Simulator, number: signal.Signals) -> None:
    simulator.project("main").log.append(message="x" * (1 << 20))
    host.run("collect", host.archive)
    command = [sys.executable, str(COMMAND), "cat", host.archive]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reading:
        assert reading.stdout is not None
        reading.stdout.read(1)  # it is at work, and waits for somebody to read more than a pipe holds
        reading.send_signal(number)
        told = reading.communicate(timeout=30)[1]
    assert (reading.returncode, told) == (3, "cloudscale-audit: The command was stopped before it finished.\n")


@pytest.mark.parametrize("command", ["status", "cat"])
def test_an_output_that_takes_nothing_is_no_finding(host: Host, command: str) -> None:
    host.run("collect", host.archive)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, str(COMMAND), command, host.archive], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (
        4,
        b"cloudscale-audit: Standard output cannot be written: No space left on device.\n",
    )


@pytest.mark.parametrize("output", ["> /dev/full", "| true", ">&-", "2> /dev/full", "2>&-"])
def test_a_failure_keeps_its_exit_status_whatever_takes_its_words(host: Host, output: str) -> None:
    command = f"{sys.executable} {COMMAND} status nowhere --json {output}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=host.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "Exception" not in done.stderr
    assert "Traceback" not in done.stderr
    if output.startswith("2>"):
        assert json.loads(done.stdout)["failure"]["code"] == "storage"


def test_a_full_disk_below_all_output_is_no_finding(host: Host) -> None:
    host.run("collect", host.archive)
    full = f"{sys.executable} {COMMAND} status {host.archive} > /dev/full 2>&1"
    assert subprocess.run(["bash", "-c", full], check=False).returncode == 4


def test_a_closed_output_is_no_finding(host: Host) -> None:
    host.run("collect", host.archive)
    for command in ("status", "cat"):
        closed = f"{sys.executable} {COMMAND} {command} {host.archive} >&-"
        done = subprocess.run(["bash", "-c", closed], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_what_the_output_cannot_encode_is_escaped(host: Host) -> None:
    archive = str(host.folder / "\u2192")
    environment = {"PYTHONUTF8": "1", "PYTHONIOENCODING": "latin-1"}
    host.run("collect", archive, **environment)
    told = host.run("status", archive, **environment)
    assert (told.returncode, told.stderr) == (0, "")
    assert f"archive        {host.folder}/\\u2192\n" in told.stdout
