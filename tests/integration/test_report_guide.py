# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guide on reports says: its examples run, as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pyarrow.parquet
import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator, history

if TYPE_CHECKING:
    from .conftest import Controller

GUIDE = Path(version.__file__).parents[2] / "docs/docsite/rst/reports_guide.rst"


def test_examples_run(controller: Controller, simulator: Simulator) -> None:
    log = simulator.project("main").log
    log.extend(found for found in history(weeks=2, seed=5) if "admin" not in found["actor"])
    blocks = re.findall(r"^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", GUIDE.read_text(), re.MULTILINE)
    folder = controller.folder
    tasks = [task for block in blocks for task in yaml.safe_load(dedent(block).replace("/var/lib/audit", str(folder)))]
    python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": python, "tasks": tasks}
    (folder / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    done = controller.playbook(str(folder / "play.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    forms = {path.name for path in folder.glob("*.*")}
    assert forms >= {*(f"report.{form}" for form in ("html", "md", "csv", "jsonl")), "year.html", "projects.html"}
    entries = log.entries
    assert len((folder / "report.jsonl").read_text().splitlines()) == len(entries)
    assert pyarrow.parquet.read_table(folder / "year.parquet").num_rows == len(entries)
    assert "Einträge" in (folder / "year.html").read_text()
