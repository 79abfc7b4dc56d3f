# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every query of the Grafana dashboard finds the archiver's metrics in a real Prometheus."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

ROOT = Path(version.__file__).parents[2]
COMMAND = ROOT / "bin/cloudscale-audit"
DASHBOARD: dict[str, Any] = json.loads(
    (ROOT / "roles/archiver/files/cloudscale-audit.dashboard.json").read_text(encoding="utf-8")
)
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
COMMANDS = {
    "collect": ["--project", "shop"],
    "verify": [],
    "reconcile": [],
    "journal": ["--bookmark", "bookmark", "--socket", "journal.socket"],
    "notify": ["--config", "notify.json", "--bookmark", "notified", "--from-start"],
}


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the commands tell of one archive, as node_exporter would show it."""
    directory = tmp_path_factory.mktemp("archiver")
    (directory / "notify.json").write_text(json.dumps({"version": 1, "notify": [{"command": ["true"]}]}))
    with Simulator() as simulator, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(directory / "journal.socket"))
        project = simulator.project("main")
        project.log.append(action="server_delete", message="Server 'web' has been deleted")
        environment = {
            "PATH": os.defpath,
            "HOME": str(directory),
            "CLOUDSCALE_API_URL": simulator.url,
            "CLOUDSCALE_API_TOKEN": project.token,
        }
        for command, options in COMMANDS.items():
            line = [sys.executable, str(COMMAND), command, "archive", *options, "--metrics", f"{command}.prom"]
            subprocess.run(line, env=environment, cwd=directory, timeout=60, check=True, stdout=subprocess.DEVNULL)
    return "".join((directory / f"{command}.prom").read_text() for command in COMMANDS)


@pytest.fixture(scope="module")
def prometheus(metrics: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scrapes these metrics."""

    class Exporter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(metrics.encode())

        def log_message(self, *_arguments: object) -> None:
            """Tests are quiet."""

    directory = tmp_path_factory.mktemp("prometheus")
    with ThreadingHTTPServer(("127.0.0.1", 0), Exporter) as exporter, socket.socket() as free:
        threading.Thread(target=exporter.serve_forever, daemon=True).start()
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        targets = [{"targets": [f"127.0.0.1:{exporter.server_port}"]}]
        (directory / "prometheus.yml").write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "100ms", "scrape_timeout": "100ms"},
                    "scrape_configs": [{"job_name": "node", "static_configs": targets}],
                }
            )
        )
        free.close()
        command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
        command += [f"--web.listen-address={address}", "--log.level=error"]
        with subprocess.Popen(command, cwd=directory) as process:
            yield f"http://{address}"
            process.terminate()
        exporter.shutdown()


def found(prometheus: str, query: str) -> list[dict[str, Any]]:
    """The series that a query yields; Prometheus is waited for until there are any."""
    deadline = time.monotonic() + 30
    response: dict[str, Any] = {}
    while time.monotonic() < deadline:
        try:
            response = requests.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=5).json()
        except requests.RequestException:  # it has not started yet, and says so in other words than JSON
            response = {}
        if response.get("status") == "error" or response.get("data", {}).get("result"):
            break
        time.sleep(0.05)
    assert response.get("status") == "success", response
    series: list[dict[str, Any]] = response["data"]["result"]
    return series


def filled_in(query: str) -> str:
    return query.replace("$project", ".*")


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_finds_the_metrics(prometheus: str, query: str) -> None:
    assert "$" not in filled_in(query)
    assert found(prometheus, filled_in(query))


def test_the_projects_to_choose_from_are_those_of_the_archives(prometheus: str) -> None:
    (variable,) = (one for one in DASHBOARD["templating"]["list"] if one["name"] == "project")
    assert variable["query"]["query"] == "label_values(cloudscale_audit_entries, project)"
    assert [one["metric"]["project"] for one in found(prometheus, "cloudscale_audit_entries")] == ["shop"]


def test_the_rows_of_the_table_can_be_merged(prometheus: str) -> None:
    """Grafana merges what agrees in all labels that both sides have: no query may bring a metric name or a command."""
    (table,) = (panel for panel in DASHBOARD["panels"] if panel["type"] == "table")
    labels = [
        set(series["metric"]) for target in table["targets"] for series in found(prometheus, filled_in(target["expr"]))
    ]
    shared = {"archive", "instance", "job", "project"}
    assert labels == [shared | {"state"}, *[shared] * (len(table["targets"]) - 1)]


def test_every_metric_is_on_the_dashboard(metrics: str) -> None:
    names = {line.split()[2] for line in metrics.splitlines() if line.startswith("# TYPE")}
    unused = {name for name in names if not any(name in query for query in QUERIES)}
    assert unused == {"cloudscale_audit_commits_total"}
