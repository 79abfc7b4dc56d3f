# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Driving a simulator from outside: the command and its remote control."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
import requests
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Client

MODULE = "ansible_collections.auditops.cloudscale.tests.simulator"


def control(sim: Simulator, method: str, name: str, document: Any = None) -> requests.Response:
    url = sim.url.replace("/v1", "/_simulator/") + name
    return requests.request(method, url, json=document, timeout=10)


def test_faults_can_be_posted(sim: Simulator, client: Client) -> None:
    faults = [{"kind": "status", "status": 429, "retry_after": 1}, {"kind": "html", "times": 2}]
    assert control(sim, "POST", "faults", faults).json() == {"waiting": 3}
    assert [client.ask("GET", "/project-logs").status_code for _ask in range(2)] == [429, 502]
    assert control(sim, "DELETE", "faults").json() == {"waiting": 0}
    assert client.ask("GET", "/project-logs").status_code == 200


def test_entries_can_be_posted_in_every_form(sim: Simulator, client: Client) -> None:
    given = {
        "entries": [{"message": "one", "ip_address": None, "new": 1.5}],
        "raw": ['{"message": "two", "n": 1.10}'],
        "hidden": 2,
        "bulk": {"count": 3, "start": "2026-11-21T00:00:00Z", "end": "2026-11-22T00:00:00Z"},
    }
    response = control(sim, "POST", "entries", given).json()
    assert response["length"] == 7
    assert response["entries"][0]["timestamp"] == "2026-11-22T12:00:00Z"
    assert client.messages()[:2] == ["one", "two"]
    assert b'"n": 1.10' in client.ask("GET", "/project-logs").content
    shown = control(sim, "GET", "entries?project=main").json()
    assert [entry["timestamp"] for entry in shown[2:]] == [
        "2026-11-21T00:00:00Z",
        "2026-11-21T08:00:00Z",
        "2026-11-21T16:00:00Z",
    ]
    assert shown[2]["subject"] == shown[0]["subject"]


def test_settings_can_be_changed(sim: Simulator, client: Client) -> None:
    control(sim, "POST", "entries", {"entries": [{}, {}, {}]})
    changes = {"page_size": 2, "page_sizes": [1], "retention": 3600, "clock_offset": 60, "expired_cursor": "refuse"}
    assert control(sim, "POST", "settings", changes).json()["retention"] == 3600
    assert [len(page["results"]) for page in client.pages()] == [1, 2]
    control(sim, "POST", "settings", {"clock_offset": 3601, "retention": 3600})
    assert client.messages() == []
    control(sim, "POST", "settings", {"retention": None})
    assert len(client.messages()) == 3


def test_requests_can_be_read_and_cleared(sim: Simulator, client: Client) -> None:
    client.page(start="2026-11-22T00:00:00Z")
    [shown] = control(sim, "GET", "requests").json()
    assert (shown["path"], shown["status"], shown["query"]) == (
        "/v1/project-logs",
        200,
        {"start": "2026-11-22T00:00:00Z"},
    )
    assert shown["headers"]["Authorization"] == f"Bearer {sim.project('main').token}"
    assert control(sim, "DELETE", "requests").json() == control(sim, "GET", "requests").json() == []


def test_projects_and_tokens(sim: Simulator) -> None:
    made = control(sim, "POST", "projects", {"name": "other", "token": "a-token"}).json()
    assert made == {"uuid": sim.project("other").uuid, "token": "a-token"}
    assert control(sim, "POST", "tokens", {"project": "other"}).json()["token"] == sim.project("other").token
    assert list(control(sim, "GET", "projects").json()) == ["main", "other"]


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("faults", {"kind": "none such"}),
        ("faults", {"no": "kind"}),
        ("settings", {"no_such": 1}),
        ("entries", {"project": "nobody"}),
        ("projects", {"name": "main"}),
        ("projects", {}),
    ],
)
def test_meaningless_values_are_refused(sim: Simulator, name: str, document: Dict[str, Any]) -> None:
    response = control(sim, "POST", name, document)
    assert response.status_code == 400
    assert response.json()["detail"]


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-m", MODULE, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: subprocess.Popen[str]) -> Dict[str, Any]:
    assert process.stdout
    printed: Dict[str, Any] = json.loads(process.stdout.readline())
    return printed


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_command_reports_readiness_and_ends_cleanly(end: signal.Signals) -> None:
    with command("--page-size", "7", "--entries", "20", "--project", "dev", "--token", "prod=a-token") as process:
        printed = ready(process)
        assert printed["pid"] == process.pid
        assert printed["ca_path"] is None
        assert list(printed["projects"]) == ["main", "dev", "prod"]
        header = {"Authorization": "Bearer a-token"}
        page = requests.get(printed["url"] + "/project-logs", headers=header, timeout=10).json()
        assert len(page["results"]) == 7
        process.send_signal(end)
        assert process.wait(10) == 0


def test_the_command_keeps_its_ca_over_restarts(tmp_path: Path) -> None:
    for _ask in range(2):
        with command("--tls", str(tmp_path / "tls"), "--history-weeks", "1") as process:
            printed = ready(process)
            certificate = Path(printed["ca_path"]).read_bytes()
            header = {"Authorization": f"Bearer {printed['projects']['main']['token']}"}
            response = requests.get(
                printed["url"] + "/project-logs", headers=header, verify=printed["ca_path"], timeout=10
            )
            assert len(response.json()["results"]) == 200
        assert Path(printed["ca_path"]).read_bytes() == certificate
    assert (tmp_path / "tls" / "ca-key.pem").stat().st_mode & 0o077 == 0
