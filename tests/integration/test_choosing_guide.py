# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guide to alternatives: its command runs, and its costs follow from the figures of the guide to scaling out."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.tests.benchmarks.fleet import Costs
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

if TYPE_CHECKING:
    from .conftest import Controller

GUIDES = Path(version.__file__).parents[2] / "docs/docsite/rst"
GUIDE = (GUIDES / "choosing_guide.rst").read_text()
ROUNDS = 30 * 24 * 4


def number(pattern: str) -> float:
    """A figure of the guide to scaling out."""
    (found,) = set(re.findall(pattern, (GUIDES / "scale_out_guide.rst").read_text()))
    return float(found)


def test_curl_reads_the_log(controller: Controller, simulator: Simulator) -> None:
    simulator.project("main").log.append("server_create", "Server 'hello' has been created")
    (block,) = re.findall(r"^\.\. code-block:: shell\n\n((?:    .*\n|\n)+)", GUIDE, re.MULTILINE)
    command = dedent(block).replace("https://api.cloudscale.ch/v1", simulator.url)
    done = subprocess.run(["sh", "-euc", command], env=controller.environment, capture_output=True, check=True)
    page = json.loads(done.stdout)
    assert [entry["message"] for entry in page["results"]] == ["Server 'hello' has been created"]
    assert set(page) == {"results", "next", "poll_more"}


def test_the_costs_of_a_month() -> None:
    entries = number(r"projects, (\d+) entries a day") / 10_000
    commits = round(number(r"(\d+) commits a day with new entries, 931671") / 10_000) * 30
    assert f"{entries:.0f} entries and {commits // 30} commits" in GUIDE
    costs = Costs()
    assert f"  {ROUNDS * costs.round / 60:.0f} minutes  " in GUIDE
    cpu = ROUNDS * costs.poll + commits * costs.commit + round(entries) * 30 * costs.entry
    assert f"  {cpu:.0f} seconds  " in GUIDE
    assert f"  {commits * 3 * 4 / 1024:.0f} MiB  " in GUIDE
    assert f"  at most {30 * 24 * 2 * 4 / 1024:.0f} MiB  " in GUIDE
