# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report of an archive in a bucket is that of the same archive in a folder."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import Report
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.words import FORMS
from ansible_collections.auditops.cloudscale.tests.simulator import history
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets
from ansible_collections.auditops.cloudscale.tests.unit.module_utils.archive.world import World


def test_a_bucket_gives_the_report_that_a_folder_gives(world: World, buckets: Buckets, tmp_path: Path) -> None:
    world.simulator.set(page_size=500)
    world.log.extend(history(weeks=3, until=world.clock.now - timedelta(days=1), seed=3))
    world.collect(most_entries=100)
    found = []
    for number, archive in enumerate((str(world.path), buckets.upload(world.path))):
        paths = {form: str(tmp_path / f"{number}.{form}") for form in FORMS}
        options = {"archives": [archive], "ask_api": False, "start": "-10d"}
        written = Report(options, world.clock.now).write(paths)
        found.append((written, [Path(path).read_bytes() for path in paths.values()]))
    assert found[0] == found[1]
    assert found[0][0].entries > 100
