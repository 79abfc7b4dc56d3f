# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time stamps as the command asks for them and shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.authority import TimeAuthority
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import Host


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(page_size=3) as running:
        running.project("main").log.append(action="server_create", message="m")
        yield running


@pytest.fixture
def host(simulator: Simulator, tmp_path: Path) -> Host:
    return Host(tmp_path, simulator)


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[TimeAuthority]:
    with TimeAuthority(tmp_path) as made:
        yield made


def flags(authority: TimeAuthority) -> list[str]:
    return ["--timestamp-url", authority.url, "--timestamp-ca", authority.root]


def test_a_run_requests_a_time_stamp_once_a_day(host: Host, simulator: Simulator, authority: TimeAuthority) -> None:
    done = host.run("collect", host.archive, *flags(authority))
    assert (done.returncode, done.stderr) == (0, "")
    assert "Time stamp: commit 1 existed by " in done.stdout
    simulator.project("main").log.append(action="server_create", message="m")
    again = host.json("collect", host.archive, *flags(authority))
    assert (again["commits"], again["timestamp"]["sequence"], len(authority.requests)) == (2, 1, 1)
    assert host.json("status", host.archive)["timestamp"] == again["timestamp"]
    assert "commit 1 existed by " in host.run("status", host.archive).stdout
    third = host.json("collect", host.archive, *flags(authority), "--timestamp-every", "0s")
    assert (third["timestamp"]["sequence"], len(authority.requests)) == (2, 2)


def test_verify_says_by_when_each_head_existed(host: Host, authority: TimeAuthority) -> None:
    host.run("collect", host.archive, *flags(authority))
    done = host.run_without_requests("verify", host.archive, "--timestamp-ca", authority.root)
    assert (done.returncode, done.stderr) == (0, "")
    stamped = host.json("status", host.archive)["timestamp"]
    assert f"Commit 1 existed by {stamped['time']}, as did all earlier commits.\n" in done.stdout
    result = host.json("verify", host.archive, "--timestamp-ca", authority.root)["timestamps"]
    assert result["heads"] == [{"sequence": 1, "sha256": stamped["sha256"], "existed_by": stamped["time"]}]
    assert host.json("verify", host.archive)["timestamps"] is None
    package = ["export", host.archive, "--dest", "evidence.zip", "--start", "-1h"]
    assert host.run(*package).returncode == 0
    assert host.json("verify", "evidence.zip", "--timestamp-ca", authority.root)["archives"][0]["timestamps"] == result


def test_commits_are_made_even_if_the_time_stamp_fails(host: Host, authority: TimeAuthority) -> None:
    authority.reply = lambda _query: (503, b"")
    done = host.run("collect", host.archive, *flags(authority))
    assert done.returncode == 0
    assert "warning: The time stamping authority 127.0.0.1 responded with HTTP 503. The head has no time" in done.stderr
    assert "1 entry added in 1 commit." in done.stdout
    required = host.run("collect", host.archive, *flags(authority), "--timestamp-required", "--json")
    assert required.returncode == 3
    assert json.loads(required.stdout)["timestamp"] is None
    failure = host.json("status", host.archive)["failure"]
    assert (failure["command"], failure["code"]) == ("collect", "not_stamped")
    authority.reply = authority.stamp
    assert host.run("collect", host.archive, *flags(authority), "--timestamp-required").returncode == 0
    assert host.json("status", host.archive)["failure"] is None


def test_a_dry_run_requests_no_time_stamp(host: Host, authority: TimeAuthority) -> None:
    assert host.run("collect", host.archive, *flags(authority), "--dry-run").returncode == 0
    assert authority.requests == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--timestamp-url", "tsa.example.com"], "--timestamp-url must be the http:// or https:// URL"),
        (["--timestamp-required"], "--timestamp-required requires --timestamp-url."),
        (["--timestamp-every", "1d"], "--timestamp-every requires --timestamp-url."),
        (["--timestamp-url", "http://127.0.0.1:1/", "--timestamp-every", "daily"], "--timestamp-every: 'daily' is not"),
        (["--timestamp-url", "http://127.0.0.1:1/", "--timestamp-ca", "none"], "authorities in none cannot be read"),
    ],
)
def test_invalid_flags_are_an_error_before_anything_happens(host: Host, given: list[str], sentence: str) -> None:
    done = host.run("collect", host.archive, *given)
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    assert not Path(host.archive).exists()


def test_doctor_checks_the_authority(host: Host, authority: TimeAuthority) -> None:
    def check(*given: str) -> Any:
        result = json.loads(host.run("doctor", host.archive, "--json", *given).stdout)["checks"]
        return next(one for one in result if one["name"] == "time")

    good = check(*flags(authority))
    assert (good["failed"], good["detail"].startswith("127.0.0.1 issues time stamps, now ")) == (False, True)
    assert check("--timestamp-url", authority.url)["detail"].endswith("was not checked: pass --timestamp-ca")
    authority.reply = lambda _query: (403, b"")
    bad = check(*flags(authority))
    assert (bad["failed"], "HTTP 403" in bad["detail"]) == (True, True)


def test_a_projects_file_sets_the_authority(host: Host, authority: TimeAuthority) -> None:
    (host.directory / "token").write_text(host.environment["CLOUDSCALE_API_TOKEN"])
    project = {"name": "shop", "path": host.archive, "token_file": str(host.directory / "token")}
    settings = {"timestamp_url": authority.url, "timestamp_every": "1d", "timestamp_ca": authority.root}

    def write(**more: Any) -> None:
        content = {"version": 1, "projects": [{**project, **settings, **more}]}
        (host.directory / "projects.json").write_text(json.dumps(content))

    write()
    assert "shop: Time stamp: commit 1 existed by " in host.run("collect", "--projects", "projects.json").stdout
    assert "existed by" not in host.run("verify", "--projects", "projects.json").stdout
    write(timestamp_required=True)
    assert "shop: Commit 1 existed by " in host.run("verify", "--projects", "projects.json").stdout
    write(timestamp_every="daily")
    assert "timestamp_every of project shop: 'daily' is not" in host.run("status", "--projects", "projects.json").stderr
    write(timestamp_required="yes")
    assert "timestamp_required of project shop must be" in host.run("status", "--projects", "projects.json").stderr
