# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.summary import Summary


def test_counts_are_ranked_and_times_span_the_entries() -> None:
    summary = Summary()
    for when, action, who in [("10", "b", "system"), ("08", "a", "admin"), ("09", "b", "admin")]:
        summary.add(
            {"timestamp": f"2026-11-22T{when}:00:00Z", "action": action, "actor": {who: {}}, "ip_address": None}
        )
    summary.add({"timestamp": "unreadable", "action": "c\n", "actor": None, "ip_address": "192.0.2.1"})
    counts = summary.as_dict()
    assert counts == {
        "entries": 4,
        "first": "2026-11-22T08:00:00Z",
        "last": "2026-11-22T10:00:00Z",
        "actions": {"b": 2, "a": 1, "c\ufffd": 1},
        "actors": {"admin": 2, "system": 1, "unknown": 1},
        "ip_addresses": {"none": 3, "192.0.2.1": 1},
    }
    assert list(counts["actions"]) == ["b", "a", "c\ufffd"]


def test_nothing_has_no_time() -> None:
    assert Summary().as_dict()["first"] is None
