# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The subcommand notify, and what doctor says of receivers, as a host runs them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import Host
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.test_several import Fleet
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.notify.hook import Hook

NOW = datetime.now(timezone.utc)
HOSTILE = "<!channel> {{ 7*7 }} \x1b[31m\nBcc: evil@example.com"
DOWN = (400, {})


class Site(Host):
    """A host with a file of receivers, one of which is a script that appends what it gets to ``received``."""

    def configure(self, *receivers: Any, **keys: Any) -> None:
        (self.directory / "site.json").write_text(json.dumps({"version": 1, "notify": receivers, **keys}))

    @property
    def script(self) -> dict[str, Any]:
        """Takes alerts; while there is a file ``kill``, it then kills the process that gave it one."""
        path = self.directory / "script"
        path.write_text(
            f'cd "{self.directory}" && cat >> received && if [ -e kill ]; then rm kill; kill -9 $PPID; fi\n'
        )
        return {"command": ["/bin/sh", str(path)]}

    @property
    def received(self) -> list[str]:
        """The ids of the alerts that the script got."""
        lines = (self.directory / "received").read_text().splitlines()
        return [alert["id"] for line in lines for alert in json.loads(line)["alerts"]]

    def notify(self, *arguments: str) -> Any:
        return self.run("notify", self.archive, "--config", "site.json", "--bookmark", "bookmark", *arguments)

    def delete(self, simulator: Simulator, *messages: str) -> None:
        for number, message in enumerate(messages):
            moment = NOW - timedelta(hours=len(messages) - number)
            simulator.project("main").log.append("server_delete", message, moment)
        assert self.run("collect", self.archive).returncode == 0


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        for days in (40, 30, 20):
            running.project("main").log.append("server_create", "Server 'db' has been created", NOW - timedelta(days))
        yield running


@pytest.fixture
def site(simulator: Simulator, tmp_path: Path) -> Site:
    made = Site(tmp_path, simulator)
    assert made.run("collect", made.archive).returncode == 0
    return made


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as running:
        yield running


def test_new_alerts_are_sent_once(site: Site, simulator: Simulator, hook: Hook) -> None:
    site.configure({"webhook": {"url": hook.url}, "severity": "medium"}, site.script)
    first = site.notify()
    assert (first.returncode, first.stdout) == (
        0,
        f"0 alerts sent to receiver 1 (webhook 127.0.0.1:{hook.port}).\n0 alerts sent to receiver 2 (command sh).\n",
    )
    assert re.fullmatch(r"(cloudscale-audit: receiver \d \(.*\) is new: .*\n){2}", first.stderr)
    site.delete(simulator, HOSTILE, "m2")
    second = site.notify()
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout.startswith("2 alerts sent to receiver 1 ")
    assert site.received == [alert["id"] for alert in hook.alerts]
    assert json.loads(site.notify("--json").stdout) == {
        "receivers": [
            {"receiver": f"receiver 1 (webhook 127.0.0.1:{hook.port})", "alerts": 0, "failure": None},
            {"receiver": "receiver 2 (command sh)", "alerts": 0, "failure": None},
        ],
        "pruned": 0,
    }
    detected = site.json("detect", site.archive, "--config", "site.json")["alerts"]
    assert [alert["id"] for alert in detected] == site.received
    assert "<!channel>" not in hook.taken[0].body["text"]
    assert "{{ 7*7 }}" in hook.taken[0].body["text"]


def test_a_failing_receiver_is_reported_in_one_sentence(site: Site, simulator: Simulator, hook: Hook) -> None:
    site.configure({"webhook": {"url": hook.url}}, site.script)
    site.notify()
    hook.answer = DOWN
    site.delete(simulator, "m1")
    reason = f"receiver 1 (webhook 127.0.0.1:{hook.port}): 127.0.0.1:{hook.port} did not accept an alert (HTTP 400)"
    failed = site.notify("--metrics", "notify.prom")
    assert (failed.returncode, failed.stderr) == (
        3,
        f"cloudscale-audit: Not all alerts were delivered; the next run retries them: {reason}.\n",
    )
    assert "1 alert sent to receiver 2 (command sh)." in failed.stdout
    metrics = (site.directory / "notify.prom").read_text()
    assert f'alerts_total{{archive="{site.archive}",project="",severity="medium"}} 1' in metrics
    assert f'last_run_exit_status{{archive="{site.archive}",command="notify",project=""}} 3' in metrics
    again = site.notify("--json")
    assert again.returncode == 3
    result = json.loads(again.stdout)
    assert result["failure"] == {"code": "not_delivered", "http_status": None, "retryable": True}
    assert result["receivers"][0]["failure"]["http_status"] == 400
    hook.answer = (200, {})
    assert site.notify().stdout.startswith("1 alert sent to receiver 1 ")
    assert [alert["id"] for alert in hook.alerts] == site.received


def test_a_crash_after_a_delivery_repeats_the_delivery(site: Site, simulator: Simulator) -> None:
    site.configure(site.script)
    site.notify()
    site.delete(simulator, "m1", "m2", "m3")
    (site.directory / "kill").touch()
    assert site.notify().returncode == -9
    assert len(site.received) == 1
    assert site.notify().returncode == 0
    first, *others = site.received
    assert (others[0], len(others), len(set(others))) == (first, 3, 3)


def test_without_webhooks_requests_is_not_needed(site: Site, simulator: Simulator) -> None:
    site.configure(site.script)
    arguments = ("notify", site.archive, "--config", "site.json", "--from-start")
    site.delete(simulator, "m1")
    done = site.run_without_requests(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 alert sent to receiver 1 (command sh).\n", "")
    assert site.run_without_requests(*arguments).stdout == "0 alerts sent to receiver 1 (command sh).\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"version": 1}, "--config: the file has no receivers; add them under notify."),
        (
            {"version": 1, "notify": [], "notfy": 1},
            "--config: site.json has unknown keys: notfy (did you mean notify?).",
        ),
        ({"version": 2}, '--config: site.json is not a valid configuration; it must be an object with "version": 1.'),
        (
            {"version": 1, "notify": [{}]},
            "notify: receiver 1 must have exactly one of webhook, mail, journal, command.",
        ),
        ({"version": 1, "reviewers": 5, "notify": []}, "reviewers: 5 is not a list of texts."),
    ],
)
def test_an_invalid_configuration_is_reported_in_one_sentence(site: Site, content: Any, sentence: str) -> None:
    (site.directory / "site.json").write_text(json.dumps(content))
    refused = site.notify()
    assert (refused.returncode, refused.stderr) == (2, f"cloudscale-audit: {sentence}\n")
    result = json.loads(site.notify("--json").stdout)
    assert (result["msg"], result["failure"]["code"]) == (sentence, "invalid_input")


def test_a_missing_archive_is_a_storage_error(site: Site) -> None:
    site.configure(site.script)
    missing = site.run("notify", "nowhere", "--config", "site.json")
    assert (missing.returncode, missing.stderr.startswith("cloudscale-audit: ")) == (4, True)


def test_several_archives_share_a_bookmark_file(site: Site, simulator: Simulator) -> None:
    site.configure(site.script)
    second = str(site.directory / "second")
    assert site.run("collect", second).returncode == 0
    arguments = ("notify", site.archive, second, "--config", "site.json", "--bookmark", "bookmark")
    assert site.run(*arguments).returncode == 0
    site.delete(simulator, "m1")
    only_one = site.run(*arguments)
    assert sorted(only_one.stdout.splitlines()) == sorted(
        [
            f"{site.archive}: 1 alert sent to receiver 1 (command sh).",
            f"{second}: 0 alerts sent to receiver 1 (command sh).",
        ]
    )
    assert site.run("collect", second).returncode == 0
    assert f"{second}: 1 alert sent to " in site.run(*arguments).stdout
    assert len(set(site.received)) == 1
    assert len(json.loads((site.directory / "bookmark").read_bytes())["archives"]) == 2


def test_each_project_has_positions_of_its_own(tmp_path: Path, hook: Hook) -> None:
    with Simulator() as simulator:
        for name in ("blue", "green", "red"):
            simulator.add_project(name).log.append("server_create", "m", NOW - timedelta(days=1))
        fleet = Fleet(tmp_path, simulator)
        (tmp_path / "site.json").write_text(json.dumps({"version": 1, "notify": [{"webhook": {"url": hook.url}}]}))
        fleet.run("collect")
        config = ("--config", str(tmp_path / "site.json"))
        first = fleet.run("notify", *config)
        assert (first.returncode, len(first.stderr.splitlines())) == (0, 3)
        assert "cloudscale-audit: blue: receiver 1 (webhook " in first.stderr
        simulator.project("red").log.append("server_delete", "m2", NOW - timedelta(hours=1))
        fleet.run("collect")
        second = fleet.run("notify", *config)
        assert sorted(line.partition(" sent")[0] for line in second.stdout.splitlines()) == [
            "blue: 0 alerts",
            "green: 0 alerts",
            "red: 1 alert",
        ]
        states = [path.parent for path in (tmp_path).rglob("notify.json")]
        assert len(set(states)) == 3


def test_doctor_sends_every_receiver_a_test_message(site: Site, hook: Hook) -> None:
    site.configure({"webhook": {"url": hook.url}, "severity": "critical"}, site.script, {"command": ["false"]})
    result = site.run("doctor", site.archive, "--notify", "--config", "site.json", CLOUDSCALE_API_TOKEN="")
    assert (result.returncode, result.stdout.splitlines()) == (
        3,
        [
            f"ok      notify    receiver 1 (webhook 127.0.0.1:{hook.port}) accepted the test message",
            "ok      notify    receiver 2 (command sh) accepted the test message",
            "FAILED  notify    receiver 3 (command false): false did not accept an alert (exit status 1)",
        ],
    )
    assert "Nothing happened" in hook.taken[0].body["text"]
    site.configure({"webhook": {"url": hook.url}})
    healthy = site.json("doctor", site.archive, "--notify", "--config", "site.json")
    assert (healthy["healthy"], len(healthy["checks"])) == (True, 1)
    assert len({taken.headers["Idempotency-Key"] for taken in hook.taken}) == 2
    for arguments in (("--notify",), ("--config", "site.json")):
        assert site.run("doctor", site.archive, *arguments).returncode == 2
