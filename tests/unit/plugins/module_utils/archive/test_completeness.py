# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of a range that an archive does not contain."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.completeness import (
    MissingRange,
    is_complete,
    missing_parts,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import Gap
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Range
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import NOON, World


def at(days: Optional[float]) -> Optional[datetime]:
    """Return the time so many days before or after noon."""
    return None if days is None else NOON + timedelta(days=days)


HOUR, MINUTE = 1 / 24, 1 / 1440
FROM, EDGE, UNTIL = -80.0, -50.0, -HOUR
"""When the archive of these tests begins, until when it was pruned, and when it ends."""

GONE, LOST = (FROM, EDGE, "pruned"), (-20.0, -10.0, "retention")


def parts_of(world: World, requested: Range, until: float = UNTIL) -> list[MissingRange]:
    begun = replace(world.head.commit, covered_from=at(FROM), pruned_until=at(EDGE), covered_until=at(until))
    gap = Gap(NOON - timedelta(days=20), NOON - timedelta(days=10), "retention")
    return missing_parts(begun, [gap], requested, NOON)


@pytest.fixture
def archive(world: World) -> World:
    world.append()
    world.collect()
    return world


@pytest.mark.parametrize(
    ("start", "end", "missing", "expected"),
    [
        (None, None, [GONE, LOST], True),
        (-40, -30, [], True),
        (EDGE, -20, [], True),
        (-10, None, [], True),
        (-90, -60, [(-90, FROM, "not covered"), (FROM, -60, "pruned")], False),
        (-100, -90, [(-100, -90, "not covered")], False),
        (None, -90, [(None, -90, "not covered")], False),
        (None, -60, [(FROM, -60, "pruned")], False),
        (-15, -5, [(-15, -10, "retention")], False),
        (None, -30, [GONE], False),
        # A past end applies exactly.
        (-5, -HOUR / 2, [(UNTIL, -HOUR / 2, "not collected")], False),
        # An end of now allows the usual lag of an archive.
        (-5, 0, [], True),
        (-5, -5 * MINUTE, [], True),
        (-5, 5 * MINUTE, [], True),
        (-5, 3, [(0, 3, "future")], True),
        # No part of these ranges was collected.
        (UNTIL, None, [(UNTIL, None, "not collected")], False),
        (-30 * MINUTE, 0, [(-30 * MINUTE, 0, "not collected")], False),
        (1, 2, [(1, 2, "not collected")], False),
        (1, None, [(1, None, "not collected")], False),
    ],
)
def test_the_missing_parts_of_a_range(
    archive: World,
    start: Optional[float],
    end: Optional[float],
    missing: list[tuple[float, float, str]],
    expected: bool,
) -> None:
    requested = Range(at(start), at(end))
    found = parts_of(archive, requested)
    assert found == [MissingRange(at(begin), at(ends), why) for begin, ends, why in missing]
    assert is_complete(requested, found) is expected


def test_an_archive_that_is_no_longer_collected_lacks_the_present(archive: World) -> None:
    for end in (None, at(0), at(3)):
        requested = Range(at(-5), end)
        found = parts_of(archive, requested, until=-2)
        assert found[0] == MissingRange(at(-2), NOON, "not collected")
        assert not is_complete(requested, found)
    assert parts_of(archive, Range(at(-5), at(-3)), until=-2) == []


def test_a_part_as_plain_values() -> None:
    assert MissingRange(NOON, None, "pruned").to_json() == {"from": "2026-11-22T12:00:00Z", "to": None, "why": "pruned"}
