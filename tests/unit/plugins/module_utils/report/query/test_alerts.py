# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report says first: alerts, as the detections find them, and how the figures compare with the period before."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.search import Search
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import digest
from ansible_collections.auditops.cloudscale.plugins.module_utils.report import alerts as alerts_module
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import Report, WriteResult
from ansible_collections.auditops.cloudscale.tests.simulator import history
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

DAY = 24 * 3600


def person(name: str) -> dict[str, Any]:
    return {"user": {"email": f"{name}@example.com"}}


def act(world: World, days: float, name: str = "anna", **entry: Any) -> None:
    moment = world.clock.now - timedelta(days=days)
    world.log.append(**{"actor": person(name), "timestamp": moment, **entry})


def report(world: World, tmp_path: Path, **options: Any) -> tuple[WriteResult, str]:
    """The result, and the text for tickets."""
    given = {"api_token": world.project.token, "api_url": world.simulator.url, **options}
    written = Report(given, world.clock.now).write({"md": str(tmp_path / "report.md")})
    return written, (tmp_path / "report.md").read_text()


def table(world: World, tmp_path: Path, **options: Any) -> dict[str, Any]:
    """What a page's table is made of."""
    given = {"api_token": world.project.token, "api_url": world.simulator.url, **options}
    Report(given, world.clock.now).write({"html": str(tmp_path / "report.html")})
    markup = (tmp_path / "report.html").read_text()
    (packed,) = re.findall(r'<script type="application/gzip" id="packed">(.*?)</script>', markup)
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return found


def test_alerts_are_those_of_the_detections(world: World, tmp_path: Path) -> None:
    world.simulator.set(page_size=500)
    world.log.extend(history(weeks=4, until=world.clock.now - timedelta(hours=1), seed=3))
    options = {
        "own_actors": ["backup"],
        "working_hours": "Mon-Fri 08:00-18:00",
        "holidays": [(world.clock.now - timedelta(days=days)).strftime("%m-%d") for days in range(3)],
        "known_networks": ["192.0.2.0/24"],
    }
    connection = {"api_token": world.project.token, "api_url": world.simulator.url}
    # With the week before the range as the baseline, as the API is searched.
    wanted = Search({**connection, **options, "start": "-10d"}, world.clock.now).run().alerts
    written, text = report(world, tmp_path, start="-10d", baseline="7d", compare=False, **options)
    assert written.summary["detections"] == Counter(alert.detection for alert in wanted)
    assert sum(written.summary["alerts"].values()) == len(wanted) > 10
    assert text.index("## Needs attention") < text.index("Entries:")
    assert "A change came from an unknown network" in text


def test_the_most_severe_and_newest_come_first(world: World, tmp_path: Path) -> None:
    act(world, 6, action="server_delete", message="first")
    act(world, 5, action="server_update", actor={"admin": {}}, message="by staff", ip_address=None)
    for minute in range(5):
        act(world, 4 - minute / 1440, action="volume_delete", message=f"burst {minute}")
    written, text = report(world, tmp_path, start="-7d")
    assert list(written.summary["alerts"].items()) == [
        ("critical", 1),
        ("high", 1),
        ("medium", 6),
        ("low", 0),
        ("info", 0),
    ]
    assert list(written.summary["detections"]) == ["burst_of_deletions", "provider_staff", "deletion"]
    shown = [line for line in text.splitlines() if line.startswith("  - ")]
    assert ["burst 4" in shown[0], "by staff" in shown[1], "burst 4" in shown[2], "burst 3" in shown[3]] == [True] * 4
    # Without what the site knows, two detections are off, and the report says so.
    assert "known\\_networks" in text


def test_own_automation_is_counted_apart_and_fires_nothing(world: World, tmp_path: Path) -> None:
    token = {"api_token": {"uuid": "u", "description": "ci deploy"}}
    for days in (1, 2, 3):
        act(world, days, action="server_delete", actor=token)
    act(world, 1, action="server_delete")
    written, text = report(world, tmp_path, own_actors=["ci *"])
    assert (written.summary["detections"], written.summary["own"]) == ({"deletion": 1}, 3)
    assert "- By own automation: 3" in text
    assert "| Own automation | Entries |" in text


def test_figures_are_compared_with_the_period_before(world: World, tmp_path: Path) -> None:
    for days in (1, 2, 3, 9, 10):
        act(world, days, action="server_delete")
    act(world, 12, "nora")
    written, text = report(world, tmp_path, start="-7d")
    before = {"entries": 3, "people": 3, "tokens": 0, "staff": 0, "system": 0, "actors": 2, "networks": 1}
    assert written.summary["before"] == before
    assert "- Entries: 3 (previous period: 3)" in text
    assert "A resource was deleted: 3, previous period: 2" in text
    assert "Compared with 2026-11-08 12:00 to 2026-11-15 12:00:" in text


def test_without_data_of_the_period_before_nothing_is_compared(world: World, tmp_path: Path) -> None:
    act(world, 1)
    written, text = report(world, tmp_path, start="-60d")
    assert written.summary["before"] is None
    assert "- Entries: 1 (previous period: no data)" in text
    for options in ({"start": "-60d", "compare": False}, {"start": "-7d", "limit": 5}, {}):
        written, text = report(world, tmp_path, **options)
        assert written.summary["before"] is None
        assert "before" not in text


def test_alerts_follow_the_selection_and_the_limit(world: World, tmp_path: Path) -> None:
    for days, name in ((3, "anna"), (2, "bea"), (1, "bea")):
        act(world, days, name, action="server_delete")
    assert report(world, tmp_path, actors=["bea@*"])[0].summary["detections"] == {"deletion": 2}
    assert report(world, tmp_path, limit=1)[0].summary["detections"] == {"deletion": 1}


def test_detections_are_chosen_as_in_the_search(world: World, tmp_path: Path) -> None:
    act(world, 1, action="server_delete")
    act(world, 1, action="ssh_key_create")
    own = {"name": "keys", "title": "A key", "severity": "high", "select": {"actions": ["ssh_key_*"]}}
    written, text = report(world, tmp_path, detections=[own], disable=["deletion"])
    assert written.summary["detections"] == {"keys": 1}
    assert "**high**: A key: 1" in text


def test_a_row_knows_its_alerts_and_what_the_entry_was(world: World, tmp_path: Path) -> None:
    act(world, 2, action="server_delete", message="deleted", more={"of": [1.50, "it"]})
    act(world, 1, action="server_update", message="updated", ip_address=None)
    found = table(world, tmp_path)
    rows = {row[3]: row for row in found["rows"]}
    assert found["marks"][rows["deleted"][6]] == [0]
    assert found["marks"][rows["updated"][6]] == []
    # An entry that is more than the columns is there as a whole.
    line = found["lines"][rows["deleted"][10]]
    assert hashlib.sha256(line.encode()).hexdigest() == digest(world.log.entries[0])
    assert found["lines"][rows["updated"][10]] is None


def test_a_row_names_the_data_file_of_the_archive(world: World, tmp_path: Path) -> None:
    for days in (3, 2):
        act(world, days, message=f"day {days}")
        world.collect()
    # The same entry in two files, one without a readable time, and one that only the API has.
    for _file in range(2):
        act(world, 1, message="twice")
        world.log.append(timestamp="about noon", message="when?")
        world.collect()
    world.wait(hours=1)
    act(world, 0.01, message="new")
    found = table(world, tmp_path, archives=[str(world.path)])
    rows = [(row[3], found["files"][row[11]]) for row in found["rows"]]
    stored = {
        path: gzip.decompress((world.path / path).read_bytes()).decode() for path in world.files() if ".gz" in path
    }
    wanted = [("new", None), *((message, path) for path, lines in stored.items() for message in messages_of(lines))]
    assert sorted(rows, key=str) == sorted(wanted, key=str)
    assert [message for message, _path in rows] == ["new", "twice", "twice", "day 2", "day 3", "when?", "when?"]


def messages_of(lines: str) -> list[str]:
    return [json.loads(line)["message"] for line in lines.splitlines()]


def test_of_many_alerts_only_the_newest_are_kept(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts_module, "MAX_LISTED", 3)
    monkeypatch.setattr(alerts_module, "MAX_MARKED", 3)
    for days in range(9, 0, -1):
        act(world, days, action="server_delete", message=f"day {days}")
    found = table(world, tmp_path)
    assert [row[3] for row in found["rows"] if found["marks"][row[6]]] == ["day 1", "day 2", "day 3"]
    assert report(world, tmp_path)[0].summary["alerts"]["medium"] == 9


def test_detections_are_called_in_the_language_of_the_report(world: World, tmp_path: Path) -> None:
    act(world, 1, action="server_delete")
    text = report(world, tmp_path, language="de")[1]
    assert "**mittel**: Eine Ressource wurde gelöscht: 1" in text


def test_where_nothing_is_known_a_page_shows_no_zero(world: World, tmp_path: Path) -> None:
    options = {"api_token": world.project.token, "api_url": world.simulator.url}
    page = tmp_path / "report.html"
    for given, shown in (({"start": "2099-01-01"}, "no data"), ({"start": "-1h"}, "0")):
        Report({**options, **given}, world.clock.now).write({"html": str(page)})
        figures = re.findall(r"<dd>([^<]*)<", page.read_text())
        assert {figure.strip() for figure in figures} == {shown}
