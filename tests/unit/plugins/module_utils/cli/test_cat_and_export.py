# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands cat and export."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone

from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import Host


def test_an_extract_is_selected_as_cat_does(host: Host) -> None:
    host.run("collect", host.archive)
    done = host.run_without_requests(
        "export", host.archive, "--dest", "extract.csv", "--message-pattern", "[12]", "--start", "-1h"
    )
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "2 entries written to extract.csv.")
    assert (host.directory / "extract.csv").read_text().count("\n") == 3
    manifest = host.json("export", host.archive, "--dest", "extract.jsonl")
    assert manifest == json.loads((host.directory / "extract.jsonl.manifest.json").read_text())
    assert (host.directory / "extract.jsonl").read_text() == host.run("cat", host.archive).stdout
    assert host.run("export", host.archive, "--dest", "extract.txt").returncode == 2


def test_missing_parts_of_a_range_are_reported(host: Host, simulator: Simulator) -> None:
    host.collect_at(simulator, host.archive, -5)
    reached = host.json("status", host.archive)["covered_until"][:19]
    lacks = rf"cloudscale-audit: warning: The archive has no entries from {reached}\S*Z to \S+Z: "
    for command in (["cat"], ["export", "--dest", "x.csv", "--force"]):
        name, *more = command
        result = host.run(name, host.archive, *more, "--start", "-8d", "--end", "-1d")
        assert result.returncode == 5
        assert re.fullmatch(lacks + r"they are not collected yet\.\n", result.stderr)
        whole = host.run(name, host.archive, *more, "--start", "-8d", "--end", "-6d")
        assert (whole.returncode, whole.stderr) == (0, "")
        late = host.run(name, host.archive, *more)
        assert (late.returncode, late.stderr.count("not collected yet")) == (0, 1)
    manifest = host.json("export", host.archive, "--dest", "y.csv", "--start", "-8d", "--end", "-1d")
    assert [part["why"] for part in manifest["missing"]] == ["not collected"]
    assert manifest["complete"] is False


def test_a_range_in_the_future_exits_with_5(host: Host) -> None:
    host.run("collect", host.archive)
    tomorrow = f"{datetime.now(timezone.utc) + timedelta(days=1):%Y-%m-%d}"
    result = host.run("cat", host.archive, "--start", tomorrow)
    assert (result.returncode, "has no entries from" in result.stderr) == (5, True)
    part = host.run("cat", host.archive, "--start", "-1d", "--end", tomorrow)
    assert (part.returncode, "this time is in the future" in part.stderr) == (0, True)


def test_export_replaces_files_only_by_force(host: Host) -> None:
    host.run("collect", host.archive)
    for name in ("extract.csv", "extract.csv.manifest.json"):
        (host.directory / name).write_text("mine")
        result = host.run("export", host.archive, "--dest", "extract.csv")
        assert (result.returncode, f"--dest: {name} already exists" in result.stderr) == (2, True)
        assert (host.directory / name).read_text() == "mine"
        assert host.run("export", host.archive, "--dest", "extract.csv", "--force").returncode == 0
        assert (host.directory / name).read_text() != "mine"
        (host.directory / "extract.csv").unlink()


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
