# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DuckDB and Spark make the same report of the same archive, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.engine import ENGINES
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import Report
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.translations import FORMS
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator, history
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Clock
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

# What libraries warn each other of is not ours.
pytestmark = pytest.mark.filterwarnings("default")

HOSTILE: list[dict[str, Any]] = [
    {"timestamp": "about noon", "message": "when?"},
    {"timestamp": "2026-11-20T08:00:00", "message": "no offset"},
    {"timestamp": "2026-11-20T08:00:00.123456789+05:45", "message": "Kathmandu"},
    {"timestamp": "7", "message": {"not": "a text"}, "action": ["x"], "ip_address": 1.10, "actor": None, "subject": []},
    {"actor": {"user": {"email": 'quote " brace } \\ back / slash \u00e4 \u2028 \u202e'}}, "ip_address": "nowhere"},
    {"actor": {"api_token": {"uuid": "u", "description": "system"}}, "more": {"unknown": [1.5]}},
    {"message": "</script><script>alert(1)</script>\ttab\nline\x7f", "action": "=cmd()", "ip_address": "2001:db8::1"},
]
QUESTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "month": {"start": "-20d", "baseline": "10d", "time_zone": "Europe/Zurich", "language": "de"},
    "selected": {"message": r"(?i)^server '(?!web)", "actors": ["johanna@example.com", "system"], "limit": 7},
    "nothing": {"actions": ["no_such"]},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An archive of weeks over the change from summer time, with entries of all sorts among them."""
    clock = Clock()
    with Simulator(clock=clock) as simulator:
        world = World(simulator, clock, tmp_path_factory.mktemp("world"))
        simulator.set(page_size=500)
        world.log.extend(history(weeks=5, until=clock.now - timedelta(days=1), seed=3))
        for found in HOSTILE:
            world.log.append(**found)
        world.collect(max_entries=100)
        yield world


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where Spark is, said the way that its users say it."""
    directory = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.master": "local[2]",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.local.dir": str(directory),
    }
    (directory / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(directory))
        yield


@pytest.mark.parametrize("question", QUESTIONS)
def test_engines_make_the_same_report(world: World, tmp_path: Path, question: str) -> None:
    found = {}
    for engine in ENGINES:
        paths = {form: str(tmp_path / f"{engine}.{form}") for form in FORMS}
        options = {"archives": [str(world.path)], "ask_api": False, "engine": engine, **QUESTIONS[question]}
        written = Report(options, world.clock.now).write(paths)
        found[engine] = written.entries, written.summary, {form: Path(paths[form]).read_bytes() for form in FORMS}
    assert found["spark"] == found["duckdb"]
    assert (found["spark"][0] > 0) == (question != "nothing")
