# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Made-up pasts are repeatable and believable."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

from ansible_collections.auditops.cloudscale.tests.simulator import bulk, history
from ansible_collections.auditops.cloudscale.tests.simulator.log import read_time

UNTIL = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


def test_the_same_arguments_give_the_same_history() -> None:
    assert history(2, UNTIL, seed=1) == history(2, UNTIL, seed=1)
    assert history(2, UNTIL, seed=1) != history(2, UNTIL, seed=2)


def test_a_history_covers_its_weeks() -> None:
    times = [datetime.fromisoformat(entry["timestamp"].replace("Z", "+00:00")) for entry in history(6, UNTIL)]
    assert UNTIL - timedelta(weeks=6) <= min(times) < UNTIL - timedelta(weeks=6) + timedelta(days=2)
    assert UNTIL - timedelta(days=2) < max(times) < UNTIL
    by_hour = [sum(time.hour == hour for time in times) for hour in range(24)]
    assert min(by_hour[9:15]) > max(by_hour[20:], default=0)
    assert sum(time.weekday() >= 5 for time in times) > 0


def test_a_history_is_chronological_except_for_a_few_late_entries() -> None:
    times = [read_time(entry["timestamp"]) for entry in history(6, UNTIL)]
    back = [earlier - later for earlier, later in zip(times, times[1:]) if later < earlier]
    assert 5 <= len(back) <= len(times) // 20
    assert max(back) < 10_000


def test_a_history_has_every_kind_of_actor_and_consistent_changes() -> None:
    entries = history(6, UNTIL)
    assert {next(iter(entry["actor"])) for entry in entries} == {"user", "api_token", "system", "admin"}
    assert {":" in (entry["ip_address"] or "") for entry in entries} == {True, False}
    assert all(
        (entry["ip_address"] is None) == (next(iter(entry["actor"])) in ("system", "admin")) for entry in entries
    )
    ended = set()
    for entry in entries:
        name = entry["message"].split("'")[1] if "'" in entry["message"] else ""
        assert name not in ended, entry
        if entry["action"] in ("server_delete", "volume_delete"):
            ended.add(name)
    assert len(ended) > 10


def test_bulk_is_even_repeatable_and_in_range() -> None:
    start = UNTIL - timedelta(days=10)
    texts = list(bulk(1000, start, UNTIL, seed=3))
    assert texts == list(bulk(1000, start, UNTIL, seed=3))
    entries = [json.loads(text) for text in texts]
    times = [read_time(entry["timestamp"]) for entry in entries]
    assert times == sorted(times)
    assert times[0] == read_time("2026-11-12T12:00:00Z")
    assert max(times) < read_time("2026-11-22T12:00:00Z")
    assert len({entry["message"] for entry in entries}) == 1000
