# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput, ServiceUnavailable
from ansible_collections.auditops.cloudscale.plugins.module_utils.verification.trail import Changes, Trail
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator

from ..conftest import Waits

CI = {"api_token": {"uuid": "0a1b", "description": "ci deploy"}}
MALLORY = {"user": {"email": "mallory@example.com"}}


def trail_of(simulator: Simulator, waits: Waits, **options: Any) -> Trail:
    token = simulator.project("main").token
    given = {"api_token": token, "api_url": simulator.url, "settle": 1, "patience": 15, **options}
    return Trail(given, waits.clock, waits.wait)


def test_it_returns_the_entries_added_since_its_start(simulator: Simulator, waits: Waits) -> None:
    log = simulator.project("main").log
    for _before in range(5):
        log.append(message="before")
    trail = trail_of(simulator, waits, own_actors=["ci deploy"])
    trail.begin()
    entries = [log.append(actor=actor) for actor in (CI, MALLORY, {"system": {}}, {"admin": {}}, CI)]
    trail.settle()
    changes = trail.changes()
    assert (changes.own, changes.system) == ([entries[0], entries[4]], [entries[2]])
    assert changes.others == [entries[1], entries[3]]
    assert waits.seconds == [1]
    assert len(trail.changes()) == 0


@pytest.mark.parametrize("minutes", [-20, 20])
def test_clocks_that_differ_lose_nothing(simulator: Simulator, waits: Waits, minutes: int) -> None:
    simulator.set(clock_offset=timedelta(minutes=minutes))
    simulator.project("main").log.append(message="before")
    trail = trail_of(simulator, waits)
    trail.begin()
    overtaken = datetime.now(timezone.utc) + timedelta(minutes=minutes, seconds=-1)
    entries = [simulator.project("main").log.append(timestamp=overtaken), simulator.project("main").log.append()]
    assert trail.changes().others == entries


def test_a_start_that_failed_leaves_no_cursor_of_an_earlier_start(simulator: Simulator, waits: Waits) -> None:
    trail = trail_of(simulator, waits)
    trail.begin()
    simulator.script(Fault("status", status=503, times=99))
    with pytest.raises(ServiceUnavailable):
        trail.begin()
    assert trail.cursor is None


def test_it_does_not_wait_for_an_unavailable_api(simulator: Simulator, waits: Waits) -> None:
    simulator.script(Fault("status", status=503, times=99))
    with pytest.raises(ServiceUnavailable):
        trail_of(simulator, waits).begin()
    assert round(sum(waits.seconds), 3) <= 15


@pytest.mark.parametrize("option", ["settle", "patience"])
@pytest.mark.parametrize("value", ["soon", float("inf"), -1])
def test_unusable_waits_are_named(simulator: Simulator, waits: Waits, option: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=option):
        trail_of(simulator, waits, **{option: value})


def test_changes_read_as_a_table_for_each_group() -> None:
    def entry(actor: Any, message: str, address: Any = None) -> Any:
        facts = {"action": "server_stop", "message": message, "ip_address": address}
        return {"timestamp": "2026-11-22T12:23:17.460366Z", "actor": actor, **facts}

    entries = [entry(CI, "ours", "192.0.2.7"), entry(MALLORY, "theirs", "203.0.113.9"), entry({"system": {}}, "its")]
    assert Changes.group(entries, ["ci deploy"]).lines() == [
        "3 changes: 1 by others, 1 by own actors, 1 by the system. Times are in UTC.",
        "",
        "By others:",
        "  2026-11-22 12:23:17  mallory@example.com  203.0.113.9  server_stop  theirs",
        "",
        "By own actors:",
        "  2026-11-22 12:23:17  ci deploy            192.0.2.7    server_stop  ours",
        "",
        "By the system:",
        "  2026-11-22 12:23:17  system                            server_stop  its",
    ]
    local = Changes.group(entries[:1], ["ci deploy"]).lines("Europe/Zurich")
    assert local[0] == "1 change: 1 by own actors. Times are in Europe/Zurich."
    assert local[-1] == "  2026-11-22 13:23:17 +01:00  ci deploy  192.0.2.7  server_stop  ours"
    assert Changes.group(entries[1:2], []).lines() == [
        "1 change: 1 by users and tokens. Times are in UTC.",
        "",
        "By users and tokens:",
        "  2026-11-22 12:23:17  mallory@example.com  203.0.113.9  server_stop  theirs",
        "",
        "Set own_actors to distinguish your own changes from those of others.",
    ]


def test_an_unknown_time_zone_is_reported_before_anything_is_read(simulator: Simulator, waits: Waits) -> None:
    with pytest.raises(InvalidInput, match="^time_zone: 'Mars' is not a time zone"):
        trail_of(simulator, waits, time_zone="Mars")
    assert simulator.requests == []
