# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guides on the archive say: their examples run, and their tables name what the code has."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive import verifier
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.catalogue import built_in_detections
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, timestamp
from ansible_collections.auditops.cloudscale.plugins.module_utils.times import RETENTION
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.authority import TimeAuthority
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.journald import Journald
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.notify.hook import Hook

if TYPE_CHECKING:
    from .conftest import Controller

ROOT = Path(verifier.__file__).parents[3]
GUIDE, FORMAT, AUDIT = (ROOT / "docs/docsite/rst" / f"archive{name}_guide.rst" for name in ("", "_format", "_auditors"))
DETECTIONS = ROOT / "docs/docsite/rst/detections_guide.rst"
KNOWN = ("timestamp", "action", "message", "ip_address", "actor", "subject")

# A collection that dies between writing its data files and creating its commit.
KILLED = """
import os, runpy, signal, sys
os.link = lambda *arguments, **options: os.kill(os.getpid(), signal.SIGKILL)
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def blocks(guide: Path, language: str) -> list[str]:
    """The code blocks of a language, in order."""
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", guide.read_text(), re.MULTILINE)
    return [dedent(block) for block in found]


HISTORY = [
    "Server 'test' has been created",
    "Server 'test' has been renamed to 'web'",
    "Server 'web' has been deleted",
]


class Host:
    """A host with its archives in a directory of this test."""

    def __init__(self, controller: Controller, simulator: Simulator, directory: Path) -> None:
        self.controller = controller
        self.log = simulator.project("main").log
        self.directory = directory
        self.archive = directory / "shop"
        command = directory / "cloudscale-audit"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/bin/cloudscale-audit" "$@"\n')
        command.chmod(0o755)
        variables = controller.environment
        self.environment = {**variables, "PATH": f"{directory}{os.pathsep}{variables['PATH']}"}

    @property
    def visible(self) -> list[Any]:
        """What the provider still has."""
        kept_since = datetime.now(timezone.utc) - RETENTION
        return [entry for entry in self.log.entries if (timestamp(entry) or kept_since) >= kept_since]

    def here(self, text: str) -> str:
        return text.replace("/var/lib/audit", str(self.directory))

    def shell(self, script: str) -> str:
        return self.call("sh", "-euc", self.here(script))

    def python(self, script: str, *arguments: str) -> str:
        return self.call(sys.executable, "-c", self.here(script), *arguments)

    def try_shell(self, script: str) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "-euc", self.here(script))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, cwd=self.directory, capture_output=True, text=True, timeout=60, check=False
        )

    def call(self, *command: str) -> str:
        done = self.run(*command)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout

    def collect(self) -> None:
        self.shell("cloudscale-audit collect /var/lib/audit/shop")

    def collect_and_die(self) -> None:
        command = [sys.executable, "-c", KILLED, f"{ROOT}/bin/cloudscale-audit", "collect", str(self.archive)]
        done = subprocess.run(command, env=self.environment, cwd=self.directory, timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL

    def kept(self) -> Counter[bytes]:
        return Counter(map(canonical, cat(LocalStore(str(self.archive)))))

    def read_by_duckdb(self, monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
        """What the documented statements return, as entries."""
        monkeypatch.chdir(self.archive)
        with duckdb.connect() as database:
            response = database.execute(blocks(GUIDE, "sql")[0])
            names = [column[0] for column in response.description or ()]
            rows = [dict(zip(names, row)) for row in response.fetchall()]
        return Counter(canonical(_entry(row)) for row in rows)


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    assert tuple(row) == KNOWN
    return {**row, "actor": json.loads(row["actor"]), "subject": json.loads(row["subject"])}


@pytest.fixture
def host(controller: Controller, simulator: Simulator, tmp_path: Path) -> Host:
    found = Host(controller, simulator, tmp_path)
    for message in ("{{ 7*7 }}", "Zürich 🏔 \u202e", 'quote " and \\', "twice", "twice"):
        found.log.append(action="server_create", message=message, ip_address="2001:db8::1")
    found.log.append(action="user_login", actor={"system": {}}, ip_address=None)
    return found


def test_tasks_run(host: Host) -> None:
    tasks = yaml.safe_load(host.here(blocks(GUIDE, "yaml")[0]))
    python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": python, "tasks": tasks}
    (host.directory / "play.yml").write_text(json.dumps([play]))
    done = host.controller.playbook(str(host.directory / "play.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert host.kept().total() == len(host.visible)


def test_commands_and_python_run(host: Host) -> None:
    for message in HISTORY:
        host.log.append(action="server_update", message=message)
    outputs = [host.shell(script) for script in blocks(GUIDE, "shell")[1:]]
    count = sum(1 for entry in host.visible if entry["action"] == "server_create")
    assert "Intact:" in outputs[0]
    assert all("Intact:" in output for output in outputs[:3])
    assert f"{len(HISTORY)} entries about test." in outputs[3]
    assert [re.split("  +", line)[-1] for line in outputs[3].splitlines()[1:-4]] == HISTORY
    assert outputs[4].startswith("When ")
    assert len((host.directory / "last-week.csv").read_text().splitlines()) >= len(HISTORY)
    assert outputs[5].strip() == str(count)
    assert len(blocks(GUIDE, "python")) == 1
    assert len(host.python(blocks(GUIDE, "python")[0]).splitlines()) == len(host.visible)


def test_many_projects_run(host: Host) -> None:
    (settings,), (commands, *_heads) = blocks(GUIDE, "json"), blocks(GUIDE, "console")
    for name in ("shop", "web"):
        (host.directory / f"{name}.token").write_text(host.environment["CLOUDSCALE_API_TOKEN"])
    projects = [
        {**project, "api_url": host.environment["CLOUDSCALE_API_URL"]}
        for project in json.loads(host.here(settings))["projects"]
    ]
    (host.directory / "projects.json").write_text(json.dumps({"version": 1, "projects": projects}))
    collected, verified, status = [host.shell(line.removeprefix("$ ")) for line in commands.split("\n") if line]
    assert re.findall(r"^(shop|web): \d+ entries added", collected, re.MULTILINE)
    assert verified.count("Intact: ") == 2
    assert re.findall(r"^(\w+) +current ", status, re.MULTILINE) == ["shop", "web"]


def test_noted_heads_run(host: Host) -> None:
    host.collect()
    status = json.loads(host.shell("cloudscale-audit status /var/lib/audit/shop --json"))
    (host.directory / "heads.jsonl").write_text(json.dumps(status["head"]) + "\n")
    command = blocks(GUIDE, "console")[1].strip().removeprefix("$ ")
    assert "The archive contains all of 1 noted head" in host.shell(command)


def on_an_archiver(host: Host, text: str) -> str:
    """A command of an archiver, with its files in the test's directory."""
    archive = re.sub(r"/var/lib/cloudscale-audit/\w+/archive", str(host.archive), text)
    return archive.replace("/etc/cloudscale-audit", str(host.directory))


def test_the_doctor_runs(host: Host) -> None:
    one, all_of_host = blocks(ROOT / "docs/docsite/rst/troubleshooting_guide.rst", "shell")
    assert "\nok      archive   none yet\n" in host.shell(one)
    token, url = (host.environment[f"CLOUDSCALE_API_{name}"] for name in ("TOKEN", "URL"))
    (host.directory / "tokens.json").write_text(json.dumps({"shop": token}))
    project = {"name": "shop", "path": str(host.archive), "api_url": url}
    (host.directory / "projects.json").write_text(json.dumps({"version": 1, "projects": [project]}))
    assert "\nshop: ok      api " in host.shell(f"unset CLOUDSCALE_API_TOKEN\n{on_an_archiver(host, all_of_host)}")


def test_commands_on_an_archiver_run(host: Host) -> None:
    host.collect()
    status = blocks(ROOT / "docs/docsite/rst/archiver_watching_guide.rst", "shell")[0]
    assert host.shell(on_an_archiver(host, status)).startswith("Caught up")
    readme = (ROOT / "roles/archiver/README.md").read_text()
    (test,) = re.findall(r"^```shell\n(CREDENTIALS_DIRECTORY=.*\n)```", readme, re.MULTILINE)
    with Hook() as hook:
        webhook = {"url": hook.url, "token_file": "$CREDENTIALS_DIRECTORY/notify-token-0"}
        (host.directory / "notify.json").write_text(json.dumps({"version": 1, "notify": [{"webhook": webhook}]}))
        (host.directory / "notify-token-0").write_text("t0ken\n")
        assert "accepted the test message" in host.shell(on_an_archiver(host, test.replace("/NAME/", "/shop/")))
        assert hook.taken[0].headers["Authorization"] == "Bearer t0ken"


def test_detections_run(host: Host) -> None:
    first, second, _notify = blocks(DETECTIONS, "console")
    config, _receivers = blocks(DETECTIONS, "json")
    (host.directory / "detections.json").write_text(config)
    host.log.append(action="server_update", message="Server 'db-1' has been changed", ip_address="203.0.113.9")
    host.collect()
    assert " by 7 detections." in host.shell(first.strip().removeprefix("$ "))
    found = host.shell(second.strip().removeprefix("$ "))
    assert re.search(r" high +unknown_network ", found)


def test_a_pipeline_stops_at_an_alert(host: Host) -> None:
    (tasks,) = map(yaml.safe_load, blocks(DETECTIONS, "yaml"))
    python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": python, "tasks": tasks}
    (host.directory / "play.yml").write_text(json.dumps([play]))
    done = host.controller.playbook(str(host.directory / "play.yml"))
    assert done.returncode == 2
    assert "of severity high or higher; the first is unknown_network by" in done.stdout


def test_notify_runs(host: Host) -> None:
    """The guide's receivers, with a chat, a sendmail, a ticket system and a journal of this test's own."""
    test, notify = (line.removeprefix("$ ") for line in blocks(DETECTIONS, "console")[2].strip().splitlines())
    config = json.loads(host.here(blocks(DETECTIONS, "json")[1]))
    webhook, mail, _journal, command = config["notify"]
    for name in ("sendmail", "ticket"):
        (host.directory / name).write_text('#!/bin/sh\necho "$@" >> "$0.arguments"\ncat >> "$0.input"\n')
        (host.directory / name).chmod(0o755)
    mail["mail"]["sendmail"] = str(host.directory / "sendmail")
    command["command"][0] = str(host.directory / "ticket")
    (host.directory / "chat.token").write_text("t0ken\n")
    host.collect()
    with Hook() as hook, Journald(host.directory / "socket") as journald:
        webhook["webhook"]["url"] = hook.url
        (host.directory / "receivers.json").write_text(json.dumps({**config, "known_networks": ["192.0.2.0/24"]}))
        notify += f" --socket {journald.path}"
        assert host.try_shell(notify).stderr.count(" is new: ") == 4
        host.log.append(action="server_update", message="{{ 7*7 }}\n@channel", ip_address="203.0.113.9")
        host.log.append(action="server_delete", message="Server 'db-1' has been deleted", ip_address="192.0.2.1")
        host.collect()
        printed = host.shell(notify).splitlines()
        assert [line.partition(" alert")[0] for line in printed] == ["1", "2", "2", "0"]
        (taken,) = hook.taken
        assert taken.headers["Authorization"] == "Bearer t0ken"
        assert "{{ 7*7 }}" in taken.body["text"]
        assert "@channel" not in taken.body["text"]
        assert taken.body["alerts"][0]["reviewer"] in config["reviewers"]
        # There is no journal in a test's own place for doctor.
        (host.directory / "receivers.json").write_text(json.dumps({**config, "notify": [webhook, mail, command]}))
        assert host.shell(test).count(" accepted the test message\n") == 3
    assert [message["SYSLOG_IDENTIFIER"] for message in journald.messages] == ["cloudscale-audit-alert"] * 2
    sent = (host.directory / "sendmail.input").read_text()
    assert (sent.count("Subject: "), "Subject: [high] 2 alerts in main\n" in sent) == (2, True)
    assert (host.directory / "ticket.arguments").read_text() == "--queue audit\n"


def test_an_alert_in_another_chat(host: Host) -> None:
    (script,) = blocks(DETECTIONS, "shell")
    program = host.directory / "alert-to-teams"
    program.write_text(host.here(script))
    program.chmod(0o755)
    receivers = {"version": 1, "notify": [{"command": [str(program)]}]}
    (host.directory / "receivers.json").write_text(json.dumps(receivers))
    with Hook() as hook:
        (host.directory / "teams.url").write_text(f"{hook.url}\n")
        test = "cloudscale-audit doctor /var/lib/audit/shop --notify --config /var/lib/audit/receivers.json"
        assert "accepted the test message" in host.shell(test)
        (taken,) = hook.taken
        (attachment,) = taken.body["attachments"]
        assert "Test message" in attachment["content"]["body"][0]["text"]
        hook.answer = (400, {})
        assert host.try_shell(test).returncode == 3


def test_the_guide_lists_the_built_in_detections() -> None:
    row = r"^    \* - ``(\w+)``\n      - (\w+)\n      - (.*)\.\n      - (.*)$"
    listed = re.findall(row, DETECTIONS.read_text(), re.MULTILINE)
    experimental = {True: " (experimental)", False: ""}
    assert listed == [
        (one.name, one.severity, one.title + experimental[one.experimental], one.check) for one in built_in_detections()
    ]


def test_an_auditors_commands_run(host: Host) -> None:
    """In their order, on an archive with a compacted and a pruned day; what needs no collection sees an edit, too."""
    now = datetime.now(timezone.utc)
    for days, message in ((1500, "pruned"), (40, "old"), (40, "late")):
        host.log.append(timestamp=now - timedelta(days=days), message=message)
        host.collect()
    found = blocks(AUDIT, "shell")
    noted, status, compared, extract, events, signed, _stamped, alone, signature, *_refused, pruned = found
    assert len(found) == 13
    host.log.append(message="to be signed")
    for script in (noted, signed, pruned):
        assert host.shell(script)
    copy = blocks(GUIDE, "shell")[3].rstrip()
    assert "by an allowed signer" in host.shell(f"{copy} --allowed-signers {host.directory}/allowed-signers")
    assert re.search(r"^state +current$", host.shell(status), re.MULTILINE)
    assert "the archive matches the API" in host.shell(compared)
    assert "last-month.csv: OK" in host.shell(extract)
    assert "written to last-month.jsonl" in host.shell(events)
    kinds = [json.loads(path.read_bytes())["kind"] for path in sorted(host.archive.glob("commits/*"))]
    assert kinds[-2:] != kinds[:2]
    # As a script that somebody saved: it must end at what is wrong by itself.
    checks = [("sh", "-c", host.here(script)) for script in (alone, signature)]
    assert f"entries: {host.kept().total()}\n" in host.call(*checks[0])
    assert "Good " in host.call(*checks[1])
    victims = {"commits/000000000002.json": 0, str(next(host.archive.glob("entries/*/*"))): 0, "signatures": 1}
    for victim, check in victims.items():
        path = host.archive / victim
        path = max(path.iterdir()) if path.is_dir() else path  # the newest signature
        whole = path.read_bytes()
        path.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
        with pytest.raises(AssertionError):
            host.call(*checks[check])
        path.write_bytes(whole)
        assert host.call(*checks[check])


def test_time_stamps_run(host: Host) -> None:
    script = blocks(AUDIT, "shell")[6]
    with TimeAuthority(host.directory) as authority:
        (host.directory / "authority.pem").write_text(Path(authority.root).read_text())
        printed = host.shell(script.replace("http://time.example.com/tsa", authority.url))
    assert "ok      time      127.0.0.1 issues time stamps, now " in printed
    assert "Commit 1 existed by " in printed
    assert "Each of these commits existed within a minute of the date in it" in printed


def test_an_evidence_package_is_made_and_verified(host: Host) -> None:
    (evidence,) = blocks(AUDIT, "console")
    host.collect()
    today = datetime.now(timezone.utc).date()
    days = {"2026-07-01": today - timedelta(days=80), "2026-10-01": today - timedelta(days=5)}
    host.log.append(timestamp=datetime.now(timezone.utc) - timedelta(days=40), message="in the range")
    host.collect()
    outputs = []
    for line in evidence.splitlines():
        command = line.removeprefix("$ ")
        for shown, day in days.items():
            command = command.replace(shown, day.isoformat())
        outputs.append(host.shell(command))
    assert "Evidence of 1 archive written to evidence.zip." in outputs[0]
    assert "Intact: evidence of 1 archive" in outputs[1]
    assert outputs[0].splitlines()[-1] == outputs[1].splitlines()[-1]


def forge(archive: Path, add: int) -> None:
    """Append a commit that is well hashed and says that ``add`` more entries were archived."""
    newest = max(archive.glob("commits/*"))
    body = newest.read_bytes()
    head = verifier.Commit.parse(body)
    forged = replace(
        head,
        sequence=head.sequence + 1,
        previous=verifier.sha256(body),
        run="forger",
        cursor_before=head.cursor_after,
        total_entries=head.total_entries + add,
    )
    (archive / forged.name).write_bytes(forged.to_bytes())


def test_recovery_after_a_refusal(host: Host) -> None:
    """A bad end is moved aside with its signatures, and an older copy is restored."""
    *_others, signed, _stamped, _alone, _signature, moved, continued, restored, _pruned = blocks(AUDIT, "shell")
    host.collect()
    host.log.append(message="signed")
    host.shell(signed)
    host.log.append(message="signed, too")
    host.shell(continued)
    good = sorted(path.relative_to(host.archive) for path in host.archive.rglob("*") if path.is_file())
    forge(host.archive, add=1)
    (host.archive / f"signatures/000000000004-{'0' * 64}-01234567.sig").write_text("forged")
    day = max(host.archive.glob("entries/*"))
    (day / "000000000004-0123456789ab.jsonl.gz").write_text("forged")
    host.log.append(message="after the forgery")
    refused = host.try_shell(continued)
    assert (refused.returncode, "breaks the rules" in refused.stderr) == (1, True)
    assert "Intact:" in host.shell(moved)
    found = sorted(path.relative_to(host.archive) for path in host.archive.rglob("*") if path.is_file())
    assert found == good
    tail = [path.name[:12] for path in (host.directory / "shop-tail").rglob("*") if path.is_file()]
    assert tail == ["000000000004"] * 3
    assert len(list((host.directory / "shop-refused").rglob("*.json"))) == 4
    assert "1 entry added" in host.shell(continued)
    assert host.kept().total() == len(host.visible)

    host.archive.rename(host.directory / "lost")
    older = ("000000000001", "000000000002", "000000000003")
    for path in (host.directory / "lost").rglob("*"):
        if path.is_file() and path.name.startswith(older):
            copy = host.archive / path.relative_to(host.directory / "lost")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    refused = host.try_shell(continued)
    assert (refused.returncode, "truncated or replaced" in refused.stderr) == (1, True)
    accepted = host.try_shell(restored)
    assert (accepted.returncode, "(commit 4) is replaced by" in accepted.stderr) == (0, True)
    assert host.kept().total() == len(host.visible)
    host.log.append(message="the pin is right again")
    assert "1 entry added" in host.shell(continued)


def test_duckdb_reads_what_cat_reads(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.collect()
    kept = host.kept()
    assert kept.total() == len(host.visible)
    assert host.read_by_duckdb(monkeypatch) == kept


def test_duckdb_and_the_reader_leave_out_what_a_killed_run_left(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.collect()
    kept = host.kept()
    host.log.append(message="not committed")
    host.collect_and_die()
    assert len(list(host.archive.glob("entries/*/000000000002-*"))) == 1
    assert host.read_by_duckdb(monkeypatch) == kept
    assert Counter(host.python(blocks(FORMAT, "python")[0], str(host.archive)).encode().splitlines()) == kept
    host.collect()
    assert host.read_by_duckdb(monkeypatch) == host.kept() != kept


def test_the_reader_proves_the_chain(host: Host) -> None:
    host.collect()
    host.log.append()
    host.collect()
    first = host.archive / "commits/000000000001.json"
    first.write_bytes(first.read_bytes().replace(b'"host":"', b'"host":"x'))
    with pytest.raises(AssertionError, match="commit 1 was edited"):
        host.python(blocks(FORMAT, "python")[0], str(host.archive))


def test_the_commit_in_the_guide_is_valid(host: Host) -> None:
    host.collect()
    real = json.loads((host.archive / "commits/000000000001.json").read_bytes())
    shown = json.loads(blocks(FORMAT, "json")[0])
    for mine, theirs in ((shown, real), (shown["files"][0], real["files"][0]), (shown["project"], real["project"])):
        assert list(mine) == list(theirs)
    body = json.dumps(shown, separators=(",", ":")).encode() + b"\n"
    assert verifier.Commit.parse(body).to_bytes() == body


def test_the_files_of_an_archive_are_named_as_shown(host: Host) -> None:
    *_others, signed, stamped, _alone, _signature, _moved, _continued, _restored, _pruned = blocks(AUDIT, "shell")
    host.collect()
    host.log.append(message="signed")
    with TimeAuthority(host.directory) as authority:
        (host.directory / "authority.pem").write_text(Path(authority.root).read_text())
        host.shell(signed)
        collect = stamped.splitlines()[2].replace(
            "cloudscale-audit collect", "cloudscale-audit collect --sign-key signing-key"
        )
        options = stamped.splitlines()[0].replace("http://time.example.com/tsa", authority.url)
        host.shell(f"{options}\n{collect}")
    names = {str(path.relative_to(host.archive)) for path in host.archive.rglob("*") if path.is_file()}
    for line in blocks(FORMAT, "text")[0].split():
        form = re.sub(r"[0-9a-f]+", lambda found: f"[0-9a-f]{{{len(found[0])}}}", line.split("/")[-1].split(".")[0])
        kind, ending = line.split("/")[0], line.rsplit(".", 1)[1]
        if kind != "pending":
            assert any(re.fullmatch(rf"{kind}/(?:.*/)?{form}\..*{ending}", name) for name in names), line


def test_all_findings_are_explained() -> None:
    known = set(re.findall(r"``(\w+)``", verifier.verify_archive.__doc__ or ""))
    known -= {"expected_head", "signers", "signed_from", "every_signature", "now", "is_included"}
    printed = re.findall(r"^``(\w+)`` ", FORMAT.read_text().split("\nVerifying\n")[1], re.MULTILINE)
    assert sorted(printed) == sorted(known)
