# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An access review: who is listed, how accounts compare with the period before, and missing data."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.access_review_text import MAX_ACCOUNTS
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import (
    Report,
    WriteResult,
    is_same_report,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.translations import FORMS
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

NOTHING = {"decision": "", "reviewer": "", "date": "", "signature": ""}
HOSTILE = "https://evil.example @team #12 a|b `x` <script>harm()</script> {{ 7*7 }} \u202e"


class Reviewed:
    """What a review said: the result, the rows of its table by project and name, its page and its text."""

    def __init__(self, result: WriteResult, folder: Path) -> None:
        self.summary = result.summary
        self.page = (folder / "review.html").read_text()
        self.text = (folder / "review.md").read_text()
        with (folder / "review.csv").open(newline="") as file:
            self.rows = {row["name"]: row for row in csv.DictReader(file, strict=True)}
        with (folder / "review.csv").open(newline="") as file:
            self.all = list(csv.DictReader(file, strict=True))

    @property
    def comparisons(self) -> dict[str, str]:
        return {name: row["comparison"] for name, row in self.rows.items()}


Review = Callable[..., Reviewed]


@pytest.fixture
def review(world: World, tmp_path: Path) -> Review:
    def made(**options: Any) -> Reviewed:
        given = {
            "api_token": world.project.token,
            "api_url": world.simulator.url,
            "form": "access_review",
            "start": "-30d",
            **options,
        }
        paths = {form: str(tmp_path / f"review.{form}") for form in ("html", "md", "csv")}
        return Reviewed(Report(given, world.clock.now).write(paths), tmp_path)

    return made


def person(name: str) -> dict[str, Any]:
    return {"user": {"email": f"{name}@example.com"}}


def token(uuid: str, description: str) -> dict[str, Any]:
    return {"api_token": {"uuid": uuid, "description": description}}


def act(world: World, actor: dict[str, Any], *days: float, **facts: Any) -> None:
    """A change by an actor so many days ago, for each of them."""
    for ago in days:
        world.log.append(actor=actor, timestamp=world.clock.now - timedelta(days=ago), **facts)


def test_who_is_new_dormant_and_known(world: World, review: Review) -> None:
    act(world, person("anna"), 1, 40)
    act(world, person("nora"), 2)
    act(world, person("dora"), 59)
    act(world, token("t1", "deploy"), 3)
    act(world, token("t2", "backup"), 31)
    found = review()
    assert found.comparisons == {
        "anna@example.com": "known",
        "nora@example.com": "new",
        "dora@example.com": "dormant",
        "deploy": "new",
        "backup": "dormant",
    }
    assert found.summary == {
        "entries": 3,
        "first": "2026-11-19T12:00:00+00:00",
        "last": "2026-11-21T12:00:00+00:00",
        "people": 2,
        "tokens": 1,
        "new": 2,
        "dormant": 2,
        "no_data": 0,
        "sensitive": 0,
        "complete": True,
        "compared": True,
    }
    dormant = found.rows["dora@example.com"]
    assert (dormant["changes"], dormant["first"], dormant["last"]) == ("0", "", "")
    assert (dormant["changes_before"], dormant["last_before"]) == ("1", "2026-09-24 12:00:00")
    assert found.rows["nora@example.com"]["changes_before"] == "0"
    # Those that deserve attention come first.
    assert [row["comparison"] for row in found.all] == ["new", "new", "dormant", "dormant", "known"]
    assert "Compared with 2026-09-23 12:00 to 2026-10-23 12:00" in found.page
    assert "The period before is covered." in found.page


def test_what_an_account_did(world: World, review: Review) -> None:
    act(world, person("anna"), 5, 3, action="server_create", ip_address="192.0.2.7")
    act(world, person("anna"), 1, action="server_delete", ip_address="192.0.2.8")
    act(world, person("anna"), 2, action="ssh_key_create", ip_address="2001:db8::1")
    found = review(time_zone="Europe/Zurich")
    assert found.summary["sensitive"] == 2
    assert found.rows["anna@example.com"] == {
        "project": world.project.name,
        "kind": "user",
        "name": "anna@example.com",
        "uuid": "",
        "former_names": "",
        "comparison": "new",
        "no_data_because": "",
        "first": "2026-11-17 13:00:00",
        "last": "2026-11-21 13:00:00",
        "changes": "4",
        "sensitive": "2",
        "actions": "server_create 2, server_delete 1, ssh_key_create 1",
        "networks": "192.0.2.0/24, 2001:db8::/48",
        "addresses": "192.0.2.7, 192.0.2.8, 2001:db8::1",
        "changes_before": "0",
        "last_before": "",
        **NOTHING,
    }


def test_one_person_and_one_token_whatever_they_are_called(world: World, review: Review) -> None:
    act(world, person("anna"), 40)
    act(world, person("Anna"), 1)
    act(world, token("t1", "oldest"), 50)
    act(world, token("t1", "older"), 20)
    act(world, token("t1", "deploy"), 2)
    act(world, token("t2", "deploy"), 1)
    found = review()
    assert (found.summary["people"], found.summary["tokens"]) == (1, 2)
    assert sorted((row["name"], row["uuid"], row["comparison"]) for row in found.all) == [
        ("Anna@example.com", "", "known"),
        ("deploy", "t1", "known"),
        ("deploy", "t2", "new"),
    ]
    assert {row["uuid"]: row["former_names"] for row in found.all} == {"": "", "t1": "older, oldest", "t2": ""}
    assert "formerly older, oldest" in found.page
    assert "`deploy` `t1` (formerly `older`, `oldest`)" in found.text


def test_the_providers_system_and_staff_are_apart_and_need_no_decision(world: World, review: Review) -> None:
    act(world, {"system": {}}, 1)
    act(world, {"admin": {}}, 2)
    act(world, {"robot": {"name": "r2d2"}}, 3)
    act(world, token("t1", "system"), 4)
    found = review()
    assert {row["kind"]: row["name"] for row in found.all} == {
        "system": "system",
        "admin": "admin",
        "unknown": "r2d2",
        "api_token": "system",
    }
    assert (found.summary["people"], found.summary["tokens"], found.summary["new"]) == (0, 1, 2)
    others = found.text[found.text.index("## Other actors (3)") :]
    assert others.count("| not needed |") == 2
    assert others.count("| Keep / Remove |") == 1


def test_the_first_moment_of_a_period_belongs_to_it_and_its_end_does_not(world: World, review: Review) -> None:
    moments = {
        "last-before-both": "2026-10-24T21:59:59.999999Z",
        "first-before": "2026-10-24T22:00:00Z",
        "last-before": "2026-10-31T22:59:59.999999Z",
        "first": "2026-10-31T23:00:00Z",
        "last": "2026-11-07T22:59:59.999999Z",
        "too-late": "2026-11-07T23:00:00Z",
    }
    for name, moment in moments.items():
        world.log.append(actor=person(name), timestamp=moment)
    found = review(start="2026-11-01", end="2026-11-08", time_zone="Europe/Zurich")
    assert {name.split("@")[0]: comparison for name, comparison in found.comparisons.items()} == {
        "first-before": "dormant",
        "last-before": "dormant",
        "first": "new",
        "last": "new",
    }
    assert "Compared with 2026-10-25 to 2026-11-01" in found.page
    assert found.rows["first@example.com"]["first"] == "2026-11-01 00:00:00"


def test_without_data_of_the_period_before_nobody_is_new(world: World, review: Review) -> None:
    act(world, person("anna"), 1, 80)
    act(world, person("nora"), 2)
    act(world, person("dora"), 70)
    found = review(start="-60d")
    assert found.comparisons == {
        "anna@example.com": "known",
        "nora@example.com": "no data",
        "dora@example.com": "dormant",
    }
    assert found.rows["anna@example.com"]["changes_before"] == "at least 1"
    assert found.rows["nora@example.com"]["changes_before"] == "no data"
    assert found.rows["nora@example.com"]["no_data_because"] == "lost to the provider's retention"
    assert (found.summary["complete"], found.summary["compared"]) == (True, False)
    assert (found.summary["new"], found.summary["dormant"], found.summary["no_data"]) == (None, None, 1)
    assert "- New: no data\n- Dormant: at least 1\n" in found.text
    assert "  - Missing: 2026-07-25 12:00 to 2026-08-25 00:00, lost to the provider's retention" in found.text
    assert "2026-07-25 12:00 to 2026-08-25 00:00, lost to the provider&#39;s retention" in found.page
    assert '<dd class="words">no data</dd>' in found.page


@pytest.mark.parametrize("options", [{"start": ""}, {"start": "", "end": "-1d"}])
def test_a_range_without_a_start_compares_with_nothing(world: World, review: Review, options: dict[str, str]) -> None:
    act(world, person("anna"), 2)
    found = review(**options)
    assert found.comparisons == {"anna@example.com": "no data"}
    assert found.rows["anna@example.com"]["no_data_because"] == "this range has no period before it"
    assert (found.summary["new"], found.summary["compared"]) == (None, False)
    assert "- this range has no period before it" in found.text


def test_nobody_is_dormant_in_a_period_with_gaps(world: World, review: Review) -> None:
    act(world, person("dora"), 40)
    act(world, person("nora"), 2)
    found = review(end="2026-12-01")
    assert found.comparisons == {"dora@example.com": "no data", "nora@example.com": "new"}
    gone = found.rows["dora@example.com"]
    assert (gone["changes"], gone["sensitive"], gone["changes_before"]) == ("no data", "no data", "1")
    assert gone["no_data_because"] == "after this report was made"


def test_an_archive_that_begins_in_the_period_before_or_ends_in_this_one(world: World, review: Review) -> None:
    act(world, person("anna"), 10, 65)
    act(world, person("dora"), 70)
    act(world, person("nora"), 20)
    world.collect()
    options = {"archives": [str(world.path)], "ask_api": False}
    late = review(start="-60d", end="-1d", **options)
    assert late.comparisons == {
        "anna@example.com": "known",
        "dora@example.com": "dormant",
        "nora@example.com": "no data",
    }
    assert late.rows["nora@example.com"]["no_data_because"] == "before the archive's coverage"
    assert (late.summary["new"], late.summary["complete"], late.summary["compared"]) == (None, True, False)
    world.wait(days=30)
    ended = review(start="-52d", end="-1d", **options)
    assert ended.comparisons == {"anna@example.com": "known", "dora@example.com": "no data", "nora@example.com": "new"}
    assert ended.rows["dora@example.com"]["no_data_because"] == "not collected yet"


def test_accounts_are_those_of_a_project(world: World, review: Review) -> None:
    other = world.simulator.add_project(f"mail-of-{world.project.name}")
    act(world, person("anna"), 1, 40)
    other.log.append(actor=person("anna"), timestamp=world.clock.now - timedelta(days=3))
    other.log.append(actor=person("dora"), timestamp=world.clock.now - timedelta(days=33))
    act(world, person("dora"), 1)
    projects = [
        {"name": "shop", "api_token": world.project.token},
        {"name": "mail", "api_token": other.token},
    ]
    found = review(projects=projects)
    assert {(row["name"].split("@")[0], row["project"]): row["comparison"] for row in found.all} == {
        ("anna", "shop"): "known",
        ("anna", "mail"): "new",
        ("dora", "mail"): "dormant",
        ("dora", "shop"): "new",
    }
    assert (found.summary["people"], found.summary["new"], found.summary["dormant"]) == (2, 2, 1)
    assert "Project: <bdi>mail</bdi>" in found.page
    assert "| Who | Project | Comparison |" in found.text


def test_what_is_missing_of_one_project_says_nothing_of_another(world: World, review: Review) -> None:
    world.append()
    world.collect()
    world.wait(days=60)
    other = world.simulator.add_project(f"mail-of-{world.project.name}")
    act(world, person("anna"), 1)
    other.log.append(actor=person("anna"), timestamp=world.clock.now - timedelta(days=3))
    projects = [{"name": "shop", "api_token": world.project.token}, {"name": "mail", "api_token": other.token}]
    found = review(start="-60d", projects=projects, archives=[str(world.path)])
    comparisons = {row["project"]: row["comparison"] for row in found.all if row["name"] == "anna@example.com"}
    assert comparisons == {"shop": "new", "mail": "no data"}
    assert (found.summary["new"], found.summary["compared"]) == (None, False)
    assert "- New: at least 1\n" in found.text


def test_entries_without_a_readable_time_prove_nothing(world: World, review: Review) -> None:
    act(world, person("dora"), 40)
    for name in ("dora", "nora"):
        world.log.append(actor=person(name), timestamp="about noon")
    found = review()
    assert found.comparisons == {"dora@example.com": "no data", "nora@example.com": "no data"}
    assert {row["no_data_because"] for row in found.all} == {"entries without a readable time"}
    assert (found.rows["nora@example.com"]["changes"], found.rows["nora@example.com"]["first"]) == ("1", "")


def test_a_selection_is_said_and_counts_in_both_periods(world: World, review: Review) -> None:
    act(world, person("anna"), 1, action="server_create")
    act(world, person("anna"), 40, action="server_delete")
    act(world, person("dora"), 40, action="server_create")
    found = review(actions=["server_c*"], message_pattern="a{1,2}|<b>|.*")
    assert found.comparisons == {"anna@example.com": "new", "dora@example.com": "dormant"}
    assert "- `actions`: `server_c*`" in found.text
    assert "<li>message_pattern: <code>a{1,2}|&lt;b&gt;|.*</code></li>" in found.page


def test_names_stay_text(world: World, review: Review) -> None:
    project = {"subject": {"project": {"uuid": "0a1b", "name": HOSTILE}}}
    act(world, {"user": {"email": HOSTILE}}, 1, action=f"x_delete {HOSTILE}", ip_address=HOSTILE, **project)
    act(world, token(HOSTILE, HOSTILE), 1, 40, **project)
    act(world, token(HOSTILE, "=HYPERLINK(1)"), 2, **project)
    act(world, {HOSTILE: {"name": HOSTILE}}, 1, **project)
    act(world, {"user": {"email": "m" * 1_000_000}}, 1, action="a" * 100_000, **project)
    found = review(title=HOSTILE[:-1])
    assert "\u202e" not in found.page + found.text
    assert "<script" not in found.page
    assert "&lt;script&gt;harm()" in found.page
    assert "{{ 7*7 }}" in found.page
    assert len(found.page) < 100_000
    body = found.text[found.text.index("\n- Active people") :]
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", body)
    assert not re.search("evil|@team|#12|<script|HYPERLINK", outside)
    assert body.count("evil.example") > 5
    rows = [line for line in body.splitlines() if line.startswith("| `")]
    assert {line.replace(r"\|", "").count("|") for line in rows} == {13}
    assert found.rows[HOSTILE.replace("\u202e", "\ufffd")]["kind"] in ("user", "api_token", "unknown")
    assert {row["former_names"] for row in found.all} == {"", "'=HYPERLINK(1)"}
    assert max(len(cell) for row in found.all for name, cell in row.items() if name != "name") <= 30_000


def test_the_page_runs_no_script_and_loads_nothing(world: World, review: Review) -> None:
    act(world, person("anna"), 1)
    page = review().page
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    assert len(policy) == 1
    assert policy[0].startswith("default-src &#39;none&#39;; script-src &#39;none&#39;; style-src &#39;sha256-")
    assert re.findall(r"\b(?:src|href|action|onclick)=(\S+)", page) == ['"#people">Jump', '"#coverage">Complete']


def test_a_page_has_room_for_a_decision_and_says_what_it_cannot_show(world: World, review: Review) -> None:
    act(world, person("anna"), 1)
    english, german = review(), review(language="de")
    for field in ("Reviewer", "Date"):
        assert f'aria-label="{field}: anna@example.com"' in english.page
    for told in (
        "Keep",
        "Remove",
        "Signature",
        "Sign-off",
        "has no list of members",
        "Times in UTC",
        "Made 2026-11-22",
    ):
        assert told in english.page
    for told in ("Behalten", "Entfernen", "Unterschrift", "Abschluss", "kennt keine Liste der Mitglieder"):
        assert told in german.page
    assert "has no list of members" in english.text
    assert "# Überprüfung der Zugriffsrechte" in german.text


def test_of_many_accounts_a_ticket_lists_the_most_important(world: World, review: Review) -> None:
    act(world, person("dora"), 40)
    for number in range(MAX_ACCOUNTS + 5):
        act(world, person(f"n{number:03}"), 1)
        act(world, person(f"n{number:03}"), 40)
    found = review()
    assert f"{MAX_ACCOUNTS} of {MAX_ACCOUNTS + 6} are listed; the CSV file has all." in found.text
    assert "`dora@example.com`" in found.text
    assert len(found.all) == MAX_ACCOUNTS + 6


def test_nobody_changed_anything(world: World, review: Review) -> None:
    found = review()
    assert found.all == []
    assert (found.summary["people"], found.summary["new"], found.summary["dormant"]) == (0, 0, 0)
    assert (found.summary["first"], found.summary["last"]) == ("", "")
    assert "None in either period." in found.page
    assert "**unnamed project**" in found.text


def test_the_entries_of_the_period_come_in_the_other_forms(world: World, tmp_path: Path) -> None:
    act(world, person("anna"), 1, 2, 40)
    options = {
        "api_token": world.project.token,
        "api_url": world.simulator.url,
        "start": "2026-11-01",
        "end": "2026-11-22",
    }
    written = []
    for attempt in range(2):
        paths = {form: tmp_path / f"{attempt}.{form}" for form in FORMS}
        report = Report({**options, "form": "access_review"}, world.clock.now + timedelta(minutes=attempt))
        assert report.write({form: str(path) for form, path in paths.items()}).entries == 2
        written.append({form: str(path) for form, path in paths.items()})
    # The same entries and options give the same report, except for the time of making.
    for form in FORMS:
        assert is_same_report(form, written[0][form], written[1][form])
    assert "Made 2026-11-22 12:01" in Path(written[1]["md"]).read_text()
    moments = [json.loads(line)["timestamp"] for line in Path(written[0]["jsonl"]).read_text().splitlines()]
    assert [datetime.fromisoformat(moment.replace("Z", "+00:00")).day for moment in moments] == [21, 20]
