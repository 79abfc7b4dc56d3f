# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each form of a report is made with the libraries that are there."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet
import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import Report
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.translations import FORMS
from ansible_collections.auditops.cloudscale.tests.simulator import history
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World


@pytest.fixture
def written(world: World, tmp_path: Path) -> dict[str, Path]:
    world.simulator.set(page_size=500)
    world.log.extend(history(weeks=1, until=world.clock.now, seed=3))
    options = {"api_token": world.project.token, "api_url": world.simulator.url}
    paths = {form: tmp_path / f"report.{form}" for form in FORMS}
    Report(options, world.clock.now).write({form: str(path) for form, path in paths.items()})
    return paths


def test_every_form_has_every_entry(world: World, written: dict[str, Path]) -> None:
    count = len(world.log.entries)
    with written["csv"].open(newline="") as file:
        assert len(list(csv.DictReader(file))) == count
    assert len(list(map(json.loads, written["jsonl"].read_text().splitlines()))) == count
    assert pyarrow.parquet.read_table(written["parquet"]).num_rows == count
    assert f"Entries: {count}" in written["md"].read_text()


def test_a_page_brings_the_scripts_of_its_charts_and_its_table(written: dict[str, Path]) -> None:
    page = written["html"].read_text()
    assert "window.embed" in page
    assert "window.DataTable = " in page


def test_an_empty_list_of_sensitive_actions_means_none(world: World, tmp_path: Path) -> None:
    world.log.append(action="server_delete")
    options = {"api_token": world.project.token, "api_url": world.simulator.url}
    for given, found in [({}, 1), ({"sensitive_actions": [""]}, 1), ({"sensitive_actions": []}, 0)]:
        report = Report({**options, **given}, world.clock.now)
        assert report.write({"md": str(tmp_path / "report.md")}).summary["sensitive"] == found


def test_the_name_of_a_project_is_no_heading(world: World, tmp_path: Path) -> None:
    world.log.append(subject={"project": {"uuid": "0a1b", "name": "# shop"}})
    options = {"api_token": world.project.token, "api_url": world.simulator.url}
    Report(options, world.clock.now).write({"md": str(tmp_path / "report.md")})
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert len([line for line in lines if "# shop" in line]) == 2
    assert not [line for line in lines if line.lstrip("- ").startswith("# shop")]


def test_of_entries_at_the_same_time_a_limit_keeps_the_same_in_every_form(world: World, tmp_path: Path) -> None:
    moment = world.clock.now - timedelta(hours=1)
    people = [{"user": {"email": f"{name}@example.com"}} for name in ("kim", "lou", "ann")]
    for actor, message in zip([*people, *people], ["m", "m", "m", "a", None, "b"]):
        world.log.append(timestamp=moment, actor=actor, message=message)
    options = {"api_token": world.project.token, "api_url": world.simulator.url}
    paths = {form: tmp_path / f"report.{form}" for form in ("csv", "jsonl")}
    for limit in range(1, 6):
        Report({**options, "limit": limit}, world.clock.now).write({form: str(path) for form, path in paths.items()})
        with paths["csv"].open(newline="") as file:
            told = sorted((row["actor"], row["message"]) for row in csv.DictReader(file))
        kept = map(json.loads, paths["jsonl"].read_text().splitlines())
        assert sorted((entry["actor"]["user"]["email"], entry["message"] or "") for entry in kept) == told
