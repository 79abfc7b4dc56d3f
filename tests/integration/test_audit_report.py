# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook audit_report, run as a user runs it."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import json
import re
from datetime import datetime, timedelta, timezone
from email import message_from_bytes, policy
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator, history
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.notify.hook import Hook

if TYPE_CHECKING:
    from .conftest import Controller

PLAYBOOK = "auditops.cloudscale.audit_report"
HOSTILE = [
    "{{ 7*7 }} {% set x = 1 %} {# comment #}",
    "<script>alert('1')</script><img src=x onerror=alert(1)>",
    "| a `b` [c](http://example.com) **d** _e_ \\ ~f~",
    "=HYPERLINK(1)",
    "@SUM(1)",
    'a "quoted" cell, with a comma',
    "&lt;b&gt; &amp; \u00fcber \U0001f600",
    "m" * 1000,
]
MARKUP = "<b>'x'</b>"
MADE_VISIBLE = {
    "control \x00\x1b[31m and\nline": "control \ufffd\ufffd[31m and\ufffdline",
    "\u202egnp.exe": "\ufffdgnp.exe",
}


class Page(HTMLParser):
    """What a reader finds in an HTML page: elements with their attributes, and the texts."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


@pytest.fixture(scope="module")
def reports(controller: Controller, simulator: Simulator) -> Path:
    now = datetime.now(timezone.utc)
    log = simulator.project("main").log
    log.extend(history(weeks=1, until=now - timedelta(minutes=1), seed=7))
    for message in [*HOSTILE, *MADE_VISIBLE]:
        log.append(action="server_delete", message=message)
    log.append(
        timestamp=f"{MARKUP} at noon",
        action=f"{MARKUP}_delete",
        message=MARKUP,
        ip_address=MARKUP,
        actor={"user": {"email": MARKUP}},
        subject={"project": {"name": MARKUP}},
    )
    log.append(action="x", message="odd actor", actor={MARKUP: {}})
    log.append(action="server_delete", message=MARKUP, ip_address=MARKUP, actor={"user": {"email": MARKUP}})
    done = controller.playbook(PLAYBOOK, "-e", "audit_report_title='Shop <b>& co</b>'")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"reported in {controller.directory}/audit-report" in done.stdout
    return controller.directory / "audit-report"


@pytest.fixture(scope="module")
def page(reports: Path) -> Page:
    return Page((reports / "audit-report.html").read_text())


def test_the_raw_entries_are_the_log(reports: Path, simulator: Simulator) -> None:
    lines = (reports / "audit-report.jsonl").read_text().split("\n")[:-1]
    assert [json.loads(line) for line in lines] == simulator.project("main").log.entries


def unpacked(reports: Path) -> dict[str, Any]:
    """What the page's table is made of."""
    markup = (reports / "audit-report.html").read_text()
    packed = re.findall(r'<script type="application/gzip" id="packed">(.*?)</script>', markup)
    assert len(packed) == 1
    printed: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed[0])))
    return printed


def test_the_page_holds_every_entry(reports: Path, page: Page, simulator: Simulator) -> None:
    messages = [entry["message"] for entry in simulator.project("main").log.entries]
    shown = sorted(MADE_VISIBLE.get(message, message) for message in messages)
    assert sorted(row[3] for row in unpacked(reports)["rows"]) == shown
    assert "Shop <b>& co</b>" in page.texts
    # As a name in the summary, then of the newest deletion: its actor and its message.
    assert page.texts.count(MARKUP) >= 3


def test_the_page_loads_nothing_and_runs_only_its_own_scripts(page: Page, reports: Path) -> None:
    names = {name for name, _attributes in page.elements}
    assert names.isdisjoint({"img", "link", "iframe", "object", "b"})
    addresses = [value for _name, attributes in page.elements for key, value in attributes.items() if key == "href"]
    assert {str(address)[0] for address in addresses} == {"#"}
    assert {"#all", "#coverage", "#attention"} < set(addresses)
    policy = str(next(attributes for _name, attributes in page.elements if attributes.get("http-equiv"))["content"])
    text = (reports / "audit-report.html").read_text()
    libraries = [gzip.decompress(base64.b64decode(packed)) for packed in re.findall(r'-library">([^<]*)<', text)]
    scripts = [*libraries, *(script.encode() for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL))]
    assert len(scripts) == 3
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts]
    wanted = " ".join(f"'sha256-{found}'" for found in hashes)
    assert policy.startswith(f"default-src 'none'; script-src {wanted}; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_table_is_safe_to_open_in_a_spreadsheet(reports: Path, simulator: Simulator) -> None:
    with (reports / "audit-report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    messages = [entry["message"] for entry in simulator.project("main").log.entries]
    shown = [MADE_VISIBLE.get(message, message) for message in messages]
    wanted = [f"'{text}" if text[0] in "=+-@" else text for text in shown]
    assert sorted(row["message"] for row in rows) == sorted(wanted)
    assert {row["actor_kind"] for row in rows} >= {"user", "api_token"}


def test_the_text_for_tickets_holds_no_markup_of_others(reports: Path) -> None:
    text = (reports / "audit-report.md").read_text()
    assert not re.search(r"<(script|b|img)|http:|\*\*d", re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text))
    assert r"``\| a `b` [c](http://example.com) **d** _e_ \ ~f~``" in text
    assert "`{{ 7*7 }} {% set x = 1 %} {# comment #}`" in text
    table = text[text.index("## All entries") :].splitlines()[4:]
    assert {line.replace(r"\|", "").count("|") for line in table if line} == {6}


def test_reports_are_private(reports: Path) -> None:
    assert reports.stat().st_mode & 0o007 == 0
    assert {file.stat().st_mode & 0o007 for file in reports.iterdir()} == {0}


def test_a_second_report_of_the_same_range_changes_nothing(
    controller: Controller, simulator: Simulator, reports: Path, tmp_path: Path
) -> None:
    now = datetime.now(timezone.utc)
    variables = {
        "audit_report_dest": str(tmp_path / "reports"),
        "audit_report_start": (now - timedelta(days=30)).isoformat(),
        "audit_report_end": (now - timedelta(minutes=1)).isoformat(),
    }
    # First the directory and the reports.
    for changed in (2, 0):
        done = controller.playbook(PLAYBOOK, "-e", json.dumps(variables))
        assert f"changed={changed} " in done.stdout, done.stdout + done.stderr


def test_a_relative_range_is_shown_as_dates_with_the_time_of_making(reports: Path) -> None:
    (line,) = [line for line in (reports / "audit-report.md").read_text().splitlines() if "Times in UTC" in line]
    moment = r"\d{4}-\d\d-\d\d(?: \d\d:\d\d)?"
    found = re.search(rf"({moment}) to ({moment})\. Times in UTC\. Made ({moment})\. Complete\.$", line)
    assert found is not None, line
    assert found[2] == found[3]


def test_unknown_variables_empty_fields_and_texts_with_commas(controller: Controller, tmp_path: Path) -> None:
    names = [
        "form",
        "start",
        "end",
        "archives",
        "projects",
        "ask_api",
        "title",
        "engine",
        "mail_to",
        "mail_from",
        "sendmail",
        "webhook_url",
        "webhook_token",
        "language",
        "time_zone",
        "limit",
    ]
    names += [
        "working_hours",
        "own_actors",
        "detections",
        "enable",
        "disable",
        "holidays",
        "known_networks",
        "compare",
        "baseline",
        "actions",
        "ip_networks",
        "message_pattern",
        "resources",
    ]
    variables = {
        **{f"audit_report_{name}": "" for name in names},
        "audit_report_dest": str(tmp_path / "reports"),
        "audit_report_formats": "md,, jsonl,",
        "audit_report_actors": "*@EXAMPLE.com, ",
        "audit_report_titel": "x",
    }
    done = controller.playbook(PLAYBOOK, "-e", json.dumps(variables))
    assert done.returncode == 0, done.stdout + done.stderr
    printed = (
        "Ignored, because this playbook has no such variable: audit_report_titel (did you mean audit_report_title?)"
    )
    assert printed in " ".join(done.stdout.split())
    lines = (tmp_path / "reports" / "audit-report.jsonl").read_text().split("\n")[:-1]
    assert {tuple(json.loads(line)["actor"]) for line in lines} == {("user",)}


def test_several_projects_working_hours_and_a_range_in_the_future(
    controller: Controller, simulator: Simulator, tmp_path: Path
) -> None:
    projects = []
    for name in ("shop", "mail"):
        project = simulator.add_project(name)
        project.log.append("server_stop", "m", datetime.now(timezone.utc) - timedelta(hours=1))
        projects.append({"name": name, "api_token": project.token, "api_url": simulator.url})
    variables = {
        "audit_report_dest": str(tmp_path),
        "audit_report_formats": "md",
        "audit_report_projects": projects,
        "audit_report_working_hours": "Mon-Sun 00:00-00:01",
        "audit_report_own_actors": "ci, backup",
        "audit_report_detections": [
            {"name": "stop", "title": "Stopped", "severity": "high", "select": {"actions": "server_stop"}}
        ],
        "audit_report_compare": False,
        "audit_report_end": "2099-01-01",
    }
    done = controller.playbook(PLAYBOOK, "-e", json.dumps(variables), CLOUDSCALE_API_TOKEN=None)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = (tmp_path / "audit-report.md").read_text()
    assert "**`mail`, `shop`**" in printed
    assert "- **high**: Stopped: 2" in printed
    assert "- **low**: A change was made outside working hours: 2" in printed
    assert "before" not in printed
    assert "| 20" in printed
    assert "| `mail` |" in printed
    assert "(alerts: 2 high, 2 low)" in " ".join(done.stdout.split())
    assert "Parts of the range are missing; see the coverage in the report" in " ".join(done.stdout.split())


def test_variables_choose_range_entries_directory_and_formats(controller: Controller, tmp_path: Path) -> None:
    variables: dict[str, Any] = {
        "audit_report_dest": str(tmp_path / "deletions"),
        "audit_report_start": "-1h",
        "audit_report_actions": ["server_delete"],
        "audit_report_formats": ["jsonl", "md"],
    }
    done = controller.playbook(PLAYBOOK, "-e", json.dumps(variables))
    assert done.returncode == 0, done.stdout + done.stderr
    files = sorted(file.name for file in (tmp_path / "deletions").iterdir())
    assert files == ["audit-report.jsonl", "audit-report.md", "audit-report.meta.json"]
    lines = (tmp_path / "deletions" / "audit-report.jsonl").read_text().split("\n")[:-1]
    assert {json.loads(line)["action"] for line in lines} == {"server_delete"}


def test_check_mode_returns_what_would_be_added_and_writes_nothing(controller: Controller) -> None:
    # Days, not an age: otherwise an entry may leave the range between two runs.
    start, end = (datetime.now(timezone.utc).date() - timedelta(days=days) for days in (30, 1))
    for arguments, changed in [(["--check"], 1), ([], 2), (["--check"], 0)]:
        # Both as a shell leaves them: a directory at home, and formats as one text.
        variables = ["-e", "audit_report_dest=~/at-home", "-e", "audit_report_formats='jsonl, md'"]
        variables += ["-e", f"audit_report_start={start}", "-e", f"audit_report_end={end}"]
        done = controller.playbook(PLAYBOOK, *arguments, *variables)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"changed={changed} " in done.stdout
        assert (controller.directory / "at-home").exists() is (changed != 1)
    files = sorted(file.name for file in (controller.directory / "at-home").iterdir())
    assert files == ["audit-report.jsonl", "audit-report.md", "audit-report.meta.json"]


def test_archives_are_relative_to_the_current_directory(controller: Controller) -> None:
    done = controller.playbook(PLAYBOOK, "-e", "audit_report_archives='logs/shop, /srv/mail'")
    assert done.returncode == 2
    assert f"{controller.directory}/logs/shop" in done.stdout


def test_an_empty_range_is_reported_as_such(controller: Controller, tmp_path: Path) -> None:
    variables = {"audit_report_dest": str(tmp_path), "audit_report_message_pattern": "no such thing"}
    done = controller.playbook(PLAYBOOK, "-e", json.dumps(variables))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing was changed" in (tmp_path / "audit-report.html").read_text()
    assert "Nothing was changed" in (tmp_path / "audit-report.md").read_text()
    assert (tmp_path / "audit-report.jsonl").read_text() == ""
    assert (tmp_path / "audit-report.csv").read_text().splitlines() == [
        "time,project,actor,actor_kind,action,message,ip_address,resource_kind,resource,subject"
    ]


def test_an_access_review_is_written_next_to_the_reports(
    controller: Controller, simulator: Simulator, tmp_path: Path
) -> None:
    project = simulator.add_project("reviewed")
    now = datetime.now(timezone.utc)
    traces = [(1, "user", "email", "nora@example.com"), (40, "user", "email", "dora@example.com")]
    for days, kind, key, name in [*traces, (2, "api_token", "description", MARKUP)]:
        project.log.append(actor={kind: {key: name}}, timestamp=now - timedelta(days=days))
    variables = {"audit_report_form": "access_review", "audit_report_dest": str(tmp_path)}
    for start, printed in [("-30d", "new: 2, dormant: 1"), ("-80d", "new: no data, dormant: no data")]:
        given = {**variables, "audit_report_start": start}
        done = controller.playbook(PLAYBOOK, "-e", json.dumps(given), CLOUDSCALE_API_TOKEN=project.token)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"and 1 token ({printed}), reported in {tmp_path}" in " ".join(done.stdout.split())
    assert {path.name for path in tmp_path.iterdir()} == {
        f"access-review.{form}" for form in ("html", "md", "csv", "jsonl", "meta.json")
    }
    assert MARKUP in Page((tmp_path / "access-review.html").read_text()).texts
    with (tmp_path / "access-review.csv").open(newline="") as file:
        rows = {row["name"]: row["comparison"] for row in csv.DictReader(file, strict=True)}
    assert rows == dict.fromkeys(("nora@example.com", "dora@example.com", MARKUP), "no data")


def test_the_module_returns_the_figures_of_an_access_review(
    controller: Controller, simulator: Simulator, tmp_path: Path
) -> None:
    project = simulator.add_project("figures")
    now = datetime.now(timezone.utc)
    for days, name in [(1, "anna"), (40, "anna"), (2, "nora")]:
        project.log.append(actor={"user": {"email": f"{name}@example.com"}}, timestamp=now - timedelta(days=days))
    task = {"form": "access_review", "start": "-30d", "end": "-1h", "api_token": project.token}
    page = str(tmp_path / "review.html")
    cases = {
        "written": {**task, "dest": page, "extra_formats": ["csv"]},
        "limited": {**task, "dest": page, "limit": 5},
        "unknown": {**task, "dest": page, "form": "members"},
    }
    results = controller.run({name: {"auditops.cloudscale.project_logs_report": case} for name, case in cases.items()})
    written = results["written"]
    figures = {name: written["summary"][name] for name in ("people", "tokens", "new", "dormant", "no_data", "compared")}
    assert figures == {"people": 2, "tokens": 0, "new": 1, "dormant": 0, "no_data": 0, "compared": True}
    assert (written["entries"], written["files"]) == (
        2,
        [page, *(str(tmp_path / f"review.{form}") for form in ("csv", "meta.json"))],
    )
    assert "limit: an access review needs all entries of a period" in results["limited"]["msg"]
    assert results["limited"]["failure"]["code"] == "invalid_input"
    assert "must be one of: activity, access_review" in results["unknown"]["msg"]


def test_the_report_of_last_month_is_mailed_and_posted(controller: Controller, tmp_path: Path) -> None:
    sendmail = tmp_path / "sendmail"
    sendmail.write_text(f'#!/bin/sh\nprintf "%s " "$@" > {tmp_path}/arguments\ncat > {tmp_path}/mail\n')
    sendmail.chmod(0o755)
    variables: dict[str, Any] = {
        "audit_report_dest": str(tmp_path / "reports"),
        "audit_report_start": "last-month",
        "audit_report_end": "this-month",
        "audit_report_formats": "csv",
        "audit_report_title": "Pr\u00fcfung\nBcc: eve@example.com",
        "audit_report_mail_to": "audit@example.com, board@example.com",
        "audit_report_mail_from": "report@example.com",
        "audit_report_sendmail": str(sendmail),
        "audit_report_webhook_token": "opensesame",
    }
    with Hook() as hook:
        given = {**variables, "audit_report_webhook_url": hook.url}
        done = controller.playbook(PLAYBOOK, "-e", json.dumps(given))
        assert done.returncode == 0, done.stdout + done.stderr
        checked = controller.playbook(PLAYBOOK, "--check", "-e", json.dumps(given))
        assert checked.returncode == 0, checked.stdout + checked.stderr
    markdown = (tmp_path / "reports/audit-report.md").read_text().rstrip("\n")
    assert (tmp_path / "arguments").read_text() == "-t -i "
    mail = message_from_bytes((tmp_path / "mail").read_bytes(), policy=policy.default)
    assert mail["To"] == "audit@example.com, board@example.com"
    assert (mail["From"], mail["Bcc"], mail["Auto-Submitted"]) == ("report@example.com", None, "auto-generated")
    assert "Pr\u00fcfung" in mail["Subject"]
    assert mail.get_content().rstrip("\n") == markdown
    assert [(taken.body, taken.headers["Authorization"]) for taken in hook.taken] == [
        ({"text": markdown}, "Bearer opensesame")
    ]
    assert "opensesame" not in done.stdout


def test_invalid_receivers_are_refused_before_anything_is_read(controller: Controller, tmp_path: Path) -> None:
    for name, value in [
        ("mail_to", "audit@example.com\nBcc: eve@example.com"),
        ("mail_from", "Audit <audit@example.com>"),
        ("webhook_url", "http://chat.example.com/hooks/1"),
    ]:
        variables = {"audit_report_dest": str(tmp_path / "none"), f"audit_report_{name}": value}
        done = controller.playbook(PLAYBOOK, "-e", json.dumps(variables))
        assert done.returncode == 2
        assert "must be e-mail addresses without names" in done.stdout
    assert not (tmp_path / "none").exists()
