# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report reads: the API, archives, or both, with every entry exactly once."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import SigningKey
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import prune
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import ArchiveDamaged, InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.sources import EVER, Archive, Sources
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World


def opened(world: World, **options: Any) -> Sources:
    given = {"api_token": world.project.token, "api_url": world.simulator.url, "api_retries": 0, **options}
    folder = world.path.parent / "spool"
    folder.mkdir(exist_ok=True)
    return Sources(given, str(folder), world.clock.now, timedelta(0))


def read(sources: Sources) -> Counter[bytes]:
    return Counter(sources.lines())


def grown(world: World) -> World:
    """An archive of four days, and entries since; some of them of the moments that the archive does not vouch for."""
    for ago in (3, 2, 1, 0):
        world.append(5, ago=ago * 86400 + 30)
    world.append(3, ago=6)
    world.log.append(timestamp="about noon", message="twice")
    world.log.append(timestamp="about noon", message="twice")
    world.collect()
    world.append(2, ago=8)
    world.log.append(timestamp="about noon", message="twice")
    world.wait(minutes=5)
    world.append(4, ago=60)
    return world


def test_archive_and_api_give_each_entry_once(world: World) -> None:
    sources = opened(grown(world), archives=[str(world.path)])
    assert len(sources.fetched) == 1
    assert read(sources) == world.logged()


def test_an_archive_collected_with_another_token_is_found_by_its_project(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Archive, "has_token", lambda *_arguments: False)
    assert read(opened(grown(world), archives=[str(world.path)])) == world.logged()


def test_what_the_provider_deleted_comes_from_the_archive(world: World) -> None:
    logged = grown(world).logged()
    world.collect()
    world.wait(days=100)
    world.append(2)
    late = world.logged() - logged
    assert read(opened(world, archives=[str(world.path)])) == logged + late


@pytest.mark.parametrize("is_known", [True, False])
def test_what_was_pruned_comes_from_the_api_while_it_has_it(
    world: World, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    prune(grown(world).store, world.clock.ago(days=1), context=world.context())
    world.collect()
    assert sum((world.logged() - world.archived()).values()) == 10
    if not is_known:
        monkeypatch.setattr(Archive, "has_token", lambda *_arguments: False)
    for start in (None, world.clock.ago(days=80).isoformat()):
        assert read(opened(world, archives=[str(world.path)], start=start)) == world.logged()


def test_the_api_is_not_asked_for_what_an_archive_covers(world: World) -> None:
    before = world.clock.ago(hours=1).isoformat()
    sources = opened(grown(world), archives=[str(world.path)], end=before)
    assert (sources.fetched, sources.warnings) == ([], [])
    assert sum(read(sources).values()) == 15 + 2


def test_without_a_token_archives_are_all_that_is_read(world: World) -> None:
    sources = opened(grown(world), archives=[str(world.path)], api_token=None)
    assert sources.fetched == []
    assert read(sources) == world.archived()
    with pytest.raises(InvalidInput, match="api_token"):
        opened(world, api_token=None)
    with pytest.raises(InvalidInput, match="nothing to report on"):
        opened(world, ask_api=False)


def test_only_files_of_the_range_are_read(world: World) -> None:
    start, end = (world.clock.ago(days=days).date().isoformat() for days in (2, 1))
    sources = opened(grown(world), archives=[str(world.path)], ask_api=False, start=start, end=end)
    (part,) = sources.parts()
    days = {Path(path).parent.name for path in part.paths}
    assert days == {f"date={start}", "date=0000-00-00"}
    assert sum(read(sources).values()) == 5 + 2


def test_the_time_before_a_range_is_read_to_know_it_but_is_not_of_the_report(world: World) -> None:
    start = world.clock.ago(hours=1).isoformat()
    options = {"api_token": world.project.token, "api_url": world.simulator.url, "start": start}
    sources = Sources(options, str(grown(world).path.parent), world.clock.now, timedelta(days=2))
    inside = sum(1 for line in sources.lines() if json.loads(line)["timestamp"] != "about noon")
    assert inside == sum(1 for entry in world.log.entries if start <= entry["timestamp"] < "a")
    spooled = Path(sources.fetched[0].path).read_bytes().splitlines()
    assert len(spooled) > inside + 3


def test_an_archive_claims_nothing_of_what_was_pruned(world: World) -> None:
    done = prune(grown(world).store, world.clock.ago(days=1), context=world.context())
    (origin,) = opened(world, archives=[str(world.path)], ask_api=False).origins()
    assert origin.covered_from == done.pruned_until


def test_origins_tell_what_the_archive_misses(world: World) -> None:
    grown(world).wait(days=100)
    world.collect()
    (origin,) = opened(world, archives=[str(world.path)], ask_api=False).origins()
    assert [gap.why for gap in origin.gaps] == ["retention"]
    assert origin.head == world.head.head
    assert opened(world, archives=[str(world.path)], ask_api=False, end="2026-11-20").origins()[0].gaps == ()


def test_an_archive_refuses_a_cursor(world: World) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        opened(grown(world), archives=[str(world.path)], cursor=f"{world.simulator.url}/project-logs?cursor=1")


def test_the_signature_of_the_head_is_checked(world: World, tmp_path: Path) -> None:
    world.append(2)
    world.collect(sign_key=SigningKey(Signer(tmp_path, "log1").key))
    Archive(str(world.path), EVER, str(tmp_path))
    max((world.path / "signatures").iterdir()).unlink()
    with pytest.raises(ArchiveDamaged, match="its signature is missing"):
        Archive(str(world.path), EVER, str(tmp_path))
