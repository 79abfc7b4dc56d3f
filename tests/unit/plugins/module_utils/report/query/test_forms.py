# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each form of a report is made with the libraries that are there."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.report import analysis
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import (
    Report,
    destinations,
    is_same_report,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.translations import FORMS
from ansible_collections.auditops.cloudscale.plugins.module_utils.version import VERSION
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


def test_every_form_has_the_range_the_time_zone_and_the_time_of_making(world: World, tmp_path: Path) -> None:
    world.append(3)
    options = {"api_token": world.project.token, "api_url": world.simulator.url, "title": "Pr\u00fcfung"}
    options.update(start="2026-11-01", end="2026-11-22T11:59:30Z", time_zone="Europe/Zurich")
    paths = destinations(str(tmp_path / "report.html"), FORMS)
    Report(options, world.clock.now).write(paths)
    for form in ("html", "md"):
        told = re.sub("<[^>]*>|\\s+", " ", Path(paths[form]).read_text())
        for part in ("2026-11-01 to 2026-11-22 12:59:30", "Times in Europe/Zurich", "Made 2026-11-22 13:00"):
            assert part in told
    about = json.loads(Path(paths["meta"]).read_text())
    digests = about.pop("sha256")
    assert digests == {form: hashlib.sha256(Path(paths[form]).read_bytes()).hexdigest() for form in ("csv", "jsonl")}
    assert about == {
        "title": "Pr\u00fcfung",
        "start": "2026-11-01T00:00:00+01:00",
        "end": "2026-11-22T12:59:30+01:00",
        "time_zone": "Europe/Zurich",
        "made": "2026-11-22T13:00:00+01:00",
        "projects": [world.log.entries[0]["subject"]["project"]["name"]],
        "entries": 3,
        "complete": True,
        "generator": f"auditops.cloudscale {VERSION}",
    }
    assert json.loads(pyarrow.parquet.read_metadata(paths["parquet"]).metadata[b"audit_report"]) == about


def test_a_later_report_of_the_same_range_is_the_same_in_every_form(world: World, tmp_path: Path) -> None:
    world.append(3)
    options = {"api_token": world.project.token, "api_url": world.simulator.url}
    options.update(start="2026-11-01", end="2026-11-22T11:59:30Z")
    written = []
    for name in ("first", "later", "other"):
        paths = destinations(str(tmp_path / f"{name}.html"), FORMS)
        Report({**options, "title": "x" if name == "other" else "Audit"}, world.clock.now).write(paths)
        written.append(paths)
        world.wait(minutes=7)
    first, later, other = written
    assert [form for form in first if not is_same_report(form, later[form], first[form])] == []
    assert [form for form in first if not is_same_report(form, other[form], first[form])] == [
        "html",
        "md",
        "parquet",
        "meta",
    ]
    assert Path(first["parquet"]).read_bytes() != Path(later["parquet"]).read_bytes()


def test_a_page_brings_the_scripts_of_its_charts_and_its_table(written: dict[str, Path]) -> None:
    packed = re.findall(r'id="[a-z]+-library">([^<]*)<', written["html"].read_text())
    table, drawing = (gzip.decompress(base64.b64decode(one)).decode() for one in packed)
    assert "window.DataTable = " in table
    assert "window.embed" in drawing


def test_the_name_of_a_project_is_not_a_heading(world: World, tmp_path: Path) -> None:
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


def written_md(world: World, tmp_path: Path, **options: Any) -> tuple[str, Any]:
    """The text for tickets, and the result."""
    given = {"api_token": world.project.token, "api_url": world.simulator.url, **options}
    result = Report(given, world.clock.now).write({"md": str(tmp_path / "report.md")})
    return (tmp_path / "report.md").read_text(), result


# The world's clock shows 2026-11-22T12:00:00Z, which is 13:00 in Zurich.
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "all available entries. Times in UTC. Made 2026-11-22 12:00. Complete."),
        ({"start": "-30d"}, "2026-10-23 12:00 to 2026-11-22 12:00. Times in UTC. Made 2026-11-22 12:00. Complete."),
        (
            {"start": "last-month", "end": "this-month", "time_zone": "Europe/Zurich"},
            "2026-10-01 to 2026-11-01. Times in Europe/Zurich. Made 2026-11-22 13:00. Complete.",
        ),
        (
            {"start": "2026-10-01", "end": "2026-11-01", "time_zone": "Europe/Zurich"},
            "2026-10-01 to 2026-11-01. Times in Europe/Zurich. Made 2026-11-22 13:00. Complete.",
        ),
        (
            {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T08:00:30Z", "time_zone": "Europe/Zurich"},
            "2026-10-01 02:00 to 2026-11-01 09:00:30. Times in Europe/Zurich. Made 2026-11-22 13:00. Complete.",
        ),
        (
            {"start": "2026-10-01", "language": "de"},
            "01.10.2026 bis 22.11.2026 12:00. Zeiten in UTC. Erstellt 22.11.2026 12:00. Vollständig.",
        ),
        (
            {"end": "2026-11-01"},
            "the oldest available entry to 2026-11-01. Times in UTC. Made 2026-11-22 12:00. Complete.",
        ),
    ],
)
def test_a_range_is_shown_as_dates(world: World, tmp_path: Path, options: dict[str, str], told: str) -> None:
    world.log.append(subject={"project": {"uuid": "0a1b", "name": "shop"}}, timestamp="2026-09-01T00:00:00Z")
    assert f": {told}" in written_md(world, tmp_path, **options)[0].splitlines()[2]


def test_the_busiest_resources_come_first(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, times in (("web-1", 3), ("db-1", 2), ("<b>", 1)):
        for done in ("created", "rebooted", "deleted")[:times]:
            world.log.append(message=f"Server '{name}' has been {done}")
    world.log.append(message="no resource")
    told, _result = written_md(world, tmp_path)
    lines = told.splitlines()
    at = lines.index("| Resource | Entries |")
    assert lines[at + 2 : at + 6] == ["| `server web-1` | 3 |", "| `server db-1` | 2 |", "| `server <b>` | 1 |", ""]
    given = {"api_token": world.project.token, "api_url": world.simulator.url}
    for most, is_partial in ((7, False), (6, True)):
        monkeypatch.setattr(analysis, "MAX_MESSAGES", most)
        Report(given, world.clock.now).write({"html": str(tmp_path / "report.html")})
        page = (tmp_path / "report.html").read_text()
        assert "#resource=server%3Aweb-1" in page
        assert ("most frequent messages" in page) is is_partial


def test_dates_begin_in_the_time_zone_of_the_report(world: World, tmp_path: Path) -> None:
    for message, moment in [("before", "2026-10-31T22:59:59Z"), ("first", "2026-10-31T23:00:00Z")]:
        world.log.append(message=message, timestamp=moment)
    options = {"start": "2026-11-01", "time_zone": "Europe/Zurich"}
    told, result = written_md(world, tmp_path, **options)
    assert result.entries == 1
    assert "| 2026-11-01 00:00:00 |" in told
    assert (result.summary["first"], result.summary["last"]) == ("2026-11-01T00:00:00+01:00",) * 2


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"start": "2099-01-01"}, "2099-01-01 00:00 to ..."),
        ({"start": "2099-01-01", "end": "2099-02-01"}, "2099-01-01 00:00 to 2099-02-01 00:00"),
        ({"start": "-1h", "end": "2099-02-01"}, "2026-11-22 12:00 to 2099-02-01 00:00"),
    ],
)
def test_a_range_in_the_future_is_not_complete(
    world: World, tmp_path: Path, options: dict[str, str], missing: str
) -> None:
    told, result = written_md(world, tmp_path, **options)
    assert result.summary["complete"] is False
    assert "Made 2026-11-22 12:00. Complete so far, not over yet." in told
    assert "No entries were found. Parts of this range are missing, see below." in told
    assert f"  - Missing: {missing}, after this report was made" in told
    assert "**unnamed project**: API." in told
    assert "****" not in told


def test_without_a_baseline_nothing_counts_as_first_seen(world: World, tmp_path: Path) -> None:
    world.log.append(message="x")
    told, result = written_md(world, tmp_path, start="-1h")
    assert "First seen" not in told
    assert result.summary["first_seen"] == {}


def test_an_address_in_other_case_is_not_first_seen(world: World, tmp_path: Path) -> None:
    for days, email in ((2, "anna@example.com"), (0, "Anna@Example.com")):
        world.log.append(actor={"user": {"email": email}}, timestamp=world.clock.now - timedelta(days=days, minutes=5))
    result = written_md(world, tmp_path, start="-1h")[1]
    assert result.summary["first_seen"] == {"actors": [], "tokens": [], "networks": []}


def test_no_name_or_message_comes_alive_in_a_ticket(world: World, tmp_path: Path) -> None:
    hostile = "https://evil.example @team #12 a|b `x` <b>"
    world.log.append(
        action=f"x_delete {hostile}",
        message=hostile,
        timestamp=world.clock.now - timedelta(days=2),
        ip_address=hostile,
        actor={"user": {"email": hostile}},
        subject={"project": {"uuid": "0a1b", "name": hostile}},
    )
    world.log.append(timestamp=hostile, actor={"api_token": {"uuid": "u", "description": hostile}})
    text = written_md(world, tmp_path, start="-1d")[0] + written_md(world, tmp_path, start="-3d")[0]
    assert text.count("evil.example") > 10
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    assert not re.search("evil|@|#1|<b>", outside)
