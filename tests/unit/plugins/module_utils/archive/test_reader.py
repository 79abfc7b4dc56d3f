# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading entries while the archive changes, and from a damaged archive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.rules import newest_covered
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import (
    parse_data_file_name,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import timestamp
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive import test_verifier
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.forgery import (
    commit_path,
    data_path,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_verifier_commits import (
    compact,
    write,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

archive = test_verifier.archive


# Reading


class Racing(LocalStore):
    """Calls a function at the first read of a data file."""

    def __init__(self, path: str, event: Callable[[], Any]) -> None:
        super().__init__(path)
        self.events = [event]

    def read(self, name: str) -> Any:
        parts = parse_data_file_name(name)
        if parts and parts.sequence == 3 and self.events:
            self.events.pop()()
        return super().read(name)


def compact_and_delete(world: World) -> None:
    commit, origins = compact(world)
    write(world, commit)
    world.store.delete([origin.path for origin in origins])


def test_cat_gives_each_entry_once_although_it_is_compacted_meanwhile(archive: World) -> None:
    store = Racing(str(archive.path), lambda: compact_and_delete(archive))
    assert archive.archived(store) == archive.logged()
    assert not store.events


def test_verify_does_not_miss_what_was_compacted_meanwhile(archive: World) -> None:
    store = Racing(str(archive.path), lambda: compact_and_delete(archive))
    assert archive.verify(store) == []
    assert not store.events


def test_cat_reports_a_missing_file(archive: World) -> None:
    data_path(archive, 3).unlink()
    with pytest.raises(ArchiveDamaged, match="missing"):
        list(cat(archive.store))


@pytest.mark.parametrize("name", ["first", "last"])
def test_cat_refuses_a_file_whose_times_differ_from_its_commit(archive: World, name: str) -> None:
    """Otherwise an entry could be hidden from readers of a range."""
    commit = load_commit(archive.store, 3).commit
    (file,) = commit.files
    assert file.first is not None
    assert file.last is not None
    assert file.first < file.last
    other = file.last if name == "first" else file.first
    for path in (archive.path / "commits").iterdir():
        if int(path.stem) > 3:
            path.unlink()
    forged = replace(commit, files=(replace(file, **{name: other}),))
    before = load_commit(archive.store, 2).commit
    forged = replace(forged, newest=newest_covered(before, forged.files, forged.covered_until))
    commit_path(archive, 3).write_bytes(forged.to_bytes())
    with pytest.raises(ArchiveDamaged, match="has an entry outside the times in its commit"):
        list(cat(archive.store))


def test_cat_selects_by_time(archive: World) -> None:
    moments = sorted(moment for moment in map(timestamp, cat(archive.store)) if moment)
    found = list(map(timestamp, cat(archive.store, start=moments[2], end=moments[7])))
    assert sorted(moment for moment in found if moment) == moments[2:7]
