# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guides on reports and on access reviews say: their examples run, as they stand."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pyarrow.parquet
import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator, history
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.notify.hook import Hook

if TYPE_CHECKING:
    from .conftest import Controller

GUIDES = Path(version.__file__).parents[2] / "docs/docsite/rst"


def blocks(guide: str, language: str) -> list[str]:
    text = (GUIDES / f"{guide}_guide.rst").read_text()
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    return [dedent(block) for block in found]


def run_tasks(controller: Controller, guide: str) -> str:
    """Run the tasks of a guide in one play, with archives in the test's directory; what the play printed."""
    directory = controller.directory
    found = blocks(guide, "yaml")
    tasks = [task for block in found for task in yaml.safe_load(block.replace("/var/lib/audit", str(directory)))]
    python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": python, "tasks": tasks}
    (directory / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    done = controller.playbook(str(directory / "play.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_examples_run(controller: Controller, simulator: Simulator) -> None:
    log = simulator.project("main").log
    log.extend(found for found in history(weeks=2, seed=5) if "admin" not in found["actor"])
    run_tasks(controller, "reports")
    directory = controller.directory
    forms = {path.name for path in directory.glob("*.*")}
    assert forms >= {*(f"report.{form}" for form in ("html", "md", "csv", "jsonl")), "year.html", "projects.html"}
    entries = log.entries
    assert len((directory / "report.jsonl").read_text().splitlines()) == len(entries)
    (example,) = map(json.loads, blocks("reports", "json"))
    about = json.loads((directory / "report.meta.json").read_text())
    assert (list(about), list(about["sha256"]), about["title"]) == (
        list(example),
        list(example["sha256"]),
        example["title"],
    )
    assert pyarrow.parquet.read_table(directory / "year.parquet").num_rows == len(entries)
    assert "Einträge" in (directory / "year.html").read_text()


def test_examples_of_access_reviews_run(controller: Controller) -> None:
    directory = controller.directory
    printed = run_tasks(controller, "access_review")
    assert re.search(r"\d+ people, \d+ tokens, new: ", printed)
    (command,) = [block for block in blocks("access_review", "console") if "ansible-playbook" in block]
    done = controller.playbook(*shlex.split(command.replace("\\\n", ""))[1:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(
        r"entries with \d+ (people|person) and \d+ tokens? \(new: .*, dormant: .*\), reported in", done.stdout
    )
    assert {path.name for path in (directory / "audit-report").iterdir()} == {
        f"access-review.{form}" for form in ("html", "md", "csv", "jsonl", "meta.json")
    }
    written = {path.name for path in directory.glob("access-review*")}
    forms = ("html", "csv", "md", "meta.json")
    assert written == {*(f"access-review.{form}" for form in forms), "access-review-2026-q3.html"}
    with (directory / "access-review.csv").open(newline="") as file:
        assert "signature" in next(csv.reader(file))


def test_the_report_of_every_month_is_sent(controller: Controller, tmp_path: Path) -> None:
    crontab, variables = blocks("reports", "text")
    sendmail = tmp_path / "sendmail"
    sendmail.write_text(f"#!/bin/sh\ncat > {tmp_path}/mail\n")
    sendmail.chmod(0o755)
    with Hook() as hook:
        given = yaml.safe_load(variables.replace("https://chat.example.com/hooks/4fxw", hook.url))
        given.update({"audit_report_dest": str(tmp_path / "reports"), "audit_report_sendmail": str(sendmail)})
        (tmp_path / "variables.yml").write_text(yaml.safe_dump(given))
        command = crontab.replace("/etc/ansible/audit-report.yml", str(tmp_path / "variables.yml"))
        done = controller.playbook(*shlex.split(command)[6:])
        assert done.returncode == 0, done.stdout + done.stderr
    assert "To: audit@example.com" in (tmp_path / "mail").read_text()
    assert [taken.body["text"].splitlines()[0] for taken in hook.taken] == ["# Audit report"]
