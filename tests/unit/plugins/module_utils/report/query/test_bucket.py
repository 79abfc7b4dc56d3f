# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report of an archive in a bucket equals that of the same archive in a directory."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.sources import EVER, Archive
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import Report
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.translations import FORMS
from ansible_collections.auditops.cloudscale.tests.simulator import history
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World


def report(archive: str, folder: Path, world: World) -> tuple[Any, list[bytes]]:
    """The state of the archive, and the bytes of each form of its report."""
    folder.mkdir()
    paths = {form: str(folder / form) for form in FORMS}
    options = {"archives": [archive], "ask_api": False, "start": "-10d"}
    written = Report(options, world.clock.now).write(paths)
    return written, [Path(path).read_bytes() for path in paths.values()]


def check_same(world: World, buckets: Buckets, folder: Path) -> int:
    """Assert that both reports are equal; return the number of entries."""
    here, there = (
        report(str(world.path), folder / "here", world),
        report(buckets.upload(world.path), folder / "there", world),
    )
    assert here == there
    return int(here[0].entries)


def test_a_bucket_and_a_directory_give_the_same_report(world: World, buckets: Buckets, tmp_path: Path) -> None:
    world.simulator.set(page_size=500)
    world.log.extend(history(weeks=3, until=world.clock.now - timedelta(days=1), seed=3))
    world.collect(max_entries=100)
    assert check_same(world, buckets, tmp_path) > 100


def test_files_with_the_same_bytes_are_copied_each_under_its_name(
    world: World, buckets: Buckets, tmp_path: Path
) -> None:
    for _run in range(8):
        world.log.append(timestamp=world.clock.ago(days=2), message="again")
        world.collect()
    place = buckets.upload(world.path)
    (stored,) = {path.read_bytes() for path in world.path.rglob("*.gz")}
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        (part,) = Archive(place, EVER, str(folder)).parts()
        assert [Path(path).read_bytes() for path in part.paths] == [stored] * 8
        assert len(set(part.paths)) == 8
