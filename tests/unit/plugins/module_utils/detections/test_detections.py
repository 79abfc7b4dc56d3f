# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Detections: each built-in one fires on what it is for and on nothing else, and mistakes in own ones are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.catalogue import (
    built_in_detections,
    select_detections,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.detection import (
    SEVERITIES,
    Detection,
    SiteFacts,
    is_at_least,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.detector import (
    Detector,
    Memory,
    assign_reviewer,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput
from hypothesis import given, settings, strategies

MONDAY = datetime(2026, 11, 23, 10, 0, tzinfo=timezone.utc)
ANNA = {"user": {"email": "anna@example.com"}}
TOKEN = {"api_token": {"uuid": "0a1b2c3d", "description": "ci"}}
FACTS = SiteFacts.from_mapping(
    {"working_hours": "Mon-Fri 07:00-19:00 Europe/Zurich", "known_networks": ["192.0.2.0/24"]}
)


def entry(action: str = "server_create", days: float = 0, **facts: Any) -> dict[str, Any]:
    moment = (MONDAY + timedelta(days=days)).isoformat().replace("+00:00", "Z")
    return {
        "timestamp": moment,
        "action": action,
        "message": f"{action} of 'web1'",
        "ip_address": "192.0.2.7",
        "actor": ANNA,
        "subject": {"project": {"uuid": "p", "name": "shop"}},
        **facts,
    }


KNOWN = [entry(days=-60), entry(days=-59, actor=TOKEN)]
"""What was seen before, so that the baseline is complete."""

CASES: dict[str, tuple[list[Any], list[Any]]] = {
    "deletion": ([entry("server_delete")], [entry("server_create"), entry("delete_server"), entry(None)]),  # type: ignore[arg-type]
    "burst_of_deletions": (
        [entry("volume_delete", days=minute / 1440) for minute in range(5)],
        [entry("volume_delete", days=minute / 1440) for minute in range(0, 55, 11)],
    ),
    "provider_staff": (
        [entry(actor={"admin": {}}, ip_address=None)],
        [entry(actor={"api_token": {"uuid": "0a1b2c3d", "description": "admin"}}), entry(actor={"system": {}})],
    ),
    "unknown_network": ([entry(ip_address="198.51.100.1")], [entry(), entry(ip_address=None)]),
    "outside_working_hours": (
        [entry(days=-1)],
        [entry(), {**entry(), "timestamp": "yesterday"}],
    ),
    "first_seen_actor": (
        [entry(actor={"user": {"email": "eve@example.com"}})],
        [entry(), entry(actor={"api_token": {"uuid": "ffff", "description": "ci"}})],
    ),
    "first_seen_token": ([entry(actor={"api_token": {"uuid": "ffff", "description": "ci"}})], [entry(), KNOWN[1]]),
    "first_seen_network": (
        [entry(ip_address="198.51.100.1")],
        [entry(ip_address="192.0.2.200"), entry(ip_address=None)],
    ),
    "dormant_token": (
        [entry(actor=TOKEN)],
        [entry(actor={"api_token": {"uuid": "ffff", "description": "ci"}}), entry(days=-31, actor=TOKEN)],
    ),
    "access_changed": ([entry("api_token_create")], [entry("server_create")]),
    "floating_ip_moved": ([entry("floating_ip_update")], [entry("floating_ip_create")]),
    "console_or_reboot": ([entry("server_reboot")], [entry("server_start")]),
}


def alerts(name: str, entries: list[Any], facts: SiteFacts = FACTS) -> list[str]:
    detection = next(found for found in built_in_detections() if found.name == name)
    detector = Detector([detection], facts)
    for known in KNOWN:
        detector.learn(known)
    return [alert.detection for one in entries for alert in detector.alerts(one)]


def test_each_built_in_detection_has_cases() -> None:
    assert set(CASES) == {detection.name for detection in built_in_detections()}
    for detection in built_in_detections():
        assert "" not in (detection.title, detection.why, detection.check)


@pytest.mark.parametrize("name", CASES)
def test_a_detection_fires_once_on_its_positive_cases(name: str) -> None:
    assert alerts(name, CASES[name][0]) == [name]


@pytest.mark.parametrize("name", CASES)
def test_a_detection_does_not_fire_on_its_negative_cases(name: str) -> None:
    for quiet in CASES[name][1] if name != "burst_of_deletions" else [CASES[name][1]]:
        assert alerts(name, quiet if isinstance(quiet, list) else [quiet]) == []


def test_own_automation_fires_no_detection_but_is_remembered() -> None:
    facts = SiteFacts.from_mapping({"own_actors": ["ci"]})
    assert alerts("deletion", [entry("server_delete", actor=TOKEN)], facts) == []
    assert alerts("deletion", [entry("server_delete")], facts) == ["deletion"]
    other_network = "198.51.100.1"
    by_automation = entry(actor=TOKEN, ip_address=other_network)
    assert alerts("first_seen_network", [by_automation, entry(ip_address=other_network)], facts) == []


def test_a_burst_can_take_exactly_ten_minutes_and_fires_once() -> None:
    def bursts(minutes: list[float]) -> int:
        return len(alerts("burst_of_deletions", [entry("volume_delete", days=minute / 1440) for minute in minutes]))

    assert bursts([0, 1, 2, 3, 10]) == 1
    assert bursts([0, 1, 2, 3, 10.1]) == 0
    assert [bursts([0.1 * number for number in range(count)]) for count in (9, 10)] == [1, 2]


def test_entries_without_a_readable_time_cause_neither_a_burst_nor_a_first_use() -> None:
    unreadable = {**entry("volume_delete", ip_address="198.51.100.1"), "timestamp": "yesterday"}
    assert alerts("burst_of_deletions", [unreadable] * 5) == []
    assert alerts("first_seen_network", [unreadable]) == []


def test_first_seen_detections_fire_from_one_week_after_the_oldest_entry() -> None:
    detections = [found for found in built_in_detections() if found.name == "first_seen_actor"]
    for late, fires in ((False, False), (True, True)):
        detector = Detector(detections, FACTS)
        detector.learn(entry(days=-6.9))
        if late:
            detector.learn(entry(days=-7))  # it became visible after a newer one
        assert bool(detector.alerts(entry(actor={"user": {"email": "eve@example.com"}}))) is fires


def test_a_token_is_dormant_after_more_than_thirty_days_without_any_use() -> None:
    last_use, second = -59, 1 / 86_400
    assert alerts("dormant_token", [entry(days=last_use + 30, actor=TOKEN)]) == []
    assert alerts("dormant_token", [entry(days=last_use + 30 + second, actor=TOKEN)]) == ["dormant_token"]
    late_entry = entry(days=-58, actor=TOKEN)
    assert alerts("dormant_token", [entry(days=-31, actor=TOKEN), late_entry, entry(days=-10, actor=TOKEN)]) == []


def test_a_network_of_ipv6_is_the_48_bits_of_a_site() -> None:
    site = [entry(days=-1, ip_address="2001:db8:1:2::7"), entry(ip_address="2001:db8:1:ffff::8")]
    assert alerts("first_seen_network", site) == ["first_seen_network"]
    assert alerts("first_seen_network", [*site, entry(ip_address="2001:db8:2::7")]) == ["first_seen_network"] * 2


def fires(facts: SiteFacts, **keys: Any) -> list[str]:
    """Return who makes a detection of the site fire: anna from a known network, or a token from another one."""
    detection = Detection.from_mapping({"name": "own", "title": "Own", "severity": "low", **keys})
    changes = {"anna": entry("server_delete"), "token": entry("disk_delete", actor=TOKEN, ip_address="198.51.100.1")}
    return [who for who, change in changes.items() if Detector([detection], facts).alerts(change)]


def test_a_detection_does_not_fire_on_its_exceptions() -> None:
    selected = {"actions": "*_delete"}
    assert fires(SiteFacts(), select=selected) == ["anna", "token"]
    assert fires(SiteFacts(), select=selected, **{"except": {"actors": "anna@*"}}) == ["token"]
    assert fires(SiteFacts(), select=selected, **{"except": [{"actions": "disk_*"}, {"actors": "anna@*"}]}) == []
    assert fires(SiteFacts(), select=[{"actions": "disk_*"}, {"actors": "bea@*"}]) == ["token"]


def test_a_detection_can_have_its_own_hours_and_networks() -> None:
    assert fires(SiteFacts(), unknown=["198.51.100.0/24"]) == fires(FACTS, unknown=["198.51.100.0/24"]) == ["anna"]
    assert fires(FACTS, unknown=True) == ["token"]
    assert fires(SiteFacts(), outside="Mon-Fri 20:00-21:00 UTC") == fires(FACTS, outside="Mon-Fri 20:00-21:00 UTC")
    assert fires(SiteFacts(), outside="Mon-Fri 20:00-21:00 UTC") == ["anna", "token"]
    assert fires(FACTS, outside=True) == []


def test_a_detection_without_its_fact_is_off() -> None:
    nothing = SiteFacts()
    assert alerts("unknown_network", CASES["unknown_network"][0], nothing) == []
    assert {
        found.name: found.missing_fact(nothing) for found in built_in_detections() if found.missing_fact(nothing)
    } == {
        "unknown_network": "known_networks",
        "outside_working_hours": "working_hours",
    }


def test_first_seen_detections_are_off_in_the_first_days_of_a_log() -> None:
    detector = Detector(
        [found for found in built_in_detections() if found.first_seen and not found.within], SiteFacts()
    )
    first = [entry(days=day, actor={"user": {"email": f"{day}@example.com"}}) for day in range(7)]
    assert [alert for one in first for alert in detector.alerts(one)] == []
    assert detector.alerts(entry(days=8, actor={"user": {"email": "late@example.com"}}))


def test_the_same_alert_always_has_the_same_id() -> None:
    first, again = (Detector(built_in_detections(), FACTS).alerts(entry("server_delete")) for _time in range(2))
    assert [alert.id for alert in first] == [alert.id for alert in again]
    assert len({alert.id for alert in first}) == len(first)
    other = Detector(built_in_detections(), FACTS).alerts(entry("server_delete", ip_address="192.0.2.8"))
    assert {alert.id for alert in first}.isdisjoint(alert.id for alert in other)


def test_experimental_detections_are_off_until_they_are_enabled() -> None:
    names = {found.name for found in select_detections()}
    assert names == {found.name for found in built_in_detections() if not found.experimental}
    assert "access_changed" in {found.name for found in select_detections(enable=["access_changed"])}
    assert "deletion" not in {found.name for found in select_detections(disable=["deletion"])}
    own = {"name": "deletion", "title": "Mine", "severity": "info", "select": {"actions": "server_delete"}}
    assert next(found for found in select_detections([own]) if found.name == "deletion").title == "Mine"


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({"name": "No"}, "needs a name"),
        ({"title": ""}, "title of detection own"),
        ({"severity": "bad"}, "severity of detection own must be one of"),
        ({"selct": {}}, "selct (did you mean select?)"),
        ({"select": {"action": "x"}}, "action (did you mean actions?)"),
        ({"select": {"actions": [""]}}, "matches every entry"),
        ({"select": {}}, "not a valid condition"),
        ({"select": "server_*"}, "must be conditions"),
        ({"select": None}, "would fire on every entry"),
        ({"count": 0}, "count of detection own"),
        ({"count": True}, "count of detection own"),
        ({"count": 3}, "count requires within"),
        ({"within": "10m"}, "within requires count"),
        ({"count": 3, "within": "soon"}, "not a valid duration"),
        ({"first_seen": "server"}, "first_seen of detection own"),
        ({"first_seen": "actor", "count": 3, "within": "1h"}, "cannot be combined"),
        ({"outside": "nights"}, "working_hours"),
        ({"unknown": ["x"]}, "unknown of detection own"),
    ],
)
def test_an_invalid_detection_is_an_error(change: dict[str, Any], result: str) -> None:
    value = {"name": "own", "title": "Own", "severity": "low", "select": {"actions": "server_*"}, **change}
    with pytest.raises(InvalidInput) as refused:
        Detection.from_mapping(value)
    assert result in refused.value.message


def test_unknown_names_are_an_error() -> None:
    with pytest.raises(InvalidInput, match="deletoin .did you mean deletion"):
        select_detections(disable=["deletoin"])


def test_severities_are_ordered() -> None:
    assert [one for one in SEVERITIES if is_at_least(one, "high")] == ["high", "critical"]


def _entries() -> Iterator[Any]:
    actors = [ANNA, TOKEN, {"system": {}}, {"admin": {}}, {}, None, {"user": "x"}]
    addresses = ["192.0.2.1", "198.51.100.3", "2001:db8::1", None, "nonsense", 7]
    yield strategies.lists(
        strategies.builds(
            entry,
            strategies.sampled_from(["server_delete", "server_create", "x", None]),
            days=strategies.floats(0, 40),
            actor=strategies.sampled_from(actors),
            ip_address=strategies.sampled_from(addresses),
        ),
        max_size=30,
    )


@settings(max_examples=60, deadline=None)
@given(*_entries(), strategies.integers(0, 30))
def test_a_stored_memory_continues_where_it_ended(entries: list[Any], cut: int) -> None:
    """Fed at once or in two runs with the memory stored between them: the same alerts."""
    whole = Detector(built_in_detections(), FACTS)
    expected = [alert.id for one in entries for alert in whole.alerts(one)]
    first = Detector(built_in_detections(), FACTS)
    found = [alert.id for one in entries[:cut] for alert in first.alerts(one)]
    stored = json.loads(json.dumps(first.memory.to_json()))
    second = Detector(built_in_detections(), FACTS, memory=Memory.from_json(stored))
    found += [alert.id for one in entries[cut:] for alert in second.alerts(one)]
    assert found == expected


@pytest.mark.parametrize("value", [{}, [], {"oldest": None, "seen": {}, "recent": {}}, {"oldest": None, "seen": 3}])
def test_an_invalid_memory_is_an_error(value: Any) -> None:
    with pytest.raises(InvalidInput):
        Memory.from_json(value)


def test_when_a_reviewer_leaves_only_their_alerts_are_reassigned() -> None:
    everybody = ["anna@example.com", "bea@example.com", "carl@example.com"]
    numbers = [str(number) for number in range(100)]
    before = {number: assign_reviewer(number, entry(actor=TOKEN), everybody) for number in numbers}
    after = {number: assign_reviewer(number, entry(actor=TOKEN), everybody[:2]) for number in numbers}
    assert set(before.values()) == set(everybody)
    assert {number for number in numbers if before[number] != after[number]} == {
        number for number in numbers if before[number] == "carl@example.com"
    }


@pytest.mark.parametrize(
    ("actor", "reviewers", "nominated"),
    [
        (ANNA, ["ANNA@example.com"], None),
        (ANNA, [" anna@Example.com "], None),
        (ANNA, [], None),
        (TOKEN, ["ci"], None),
        (TOKEN, ["0a1b2c3d"], None),
        (TOKEN, ["CI"], "CI"),
        ({"system": {}}, ["anna@example.com"], "anna@example.com"),
    ],
)
def test_the_actor_never_reviews_the_change(actor: Any, reviewers: list[str], nominated: Any) -> None:
    assert assign_reviewer("1", entry(actor=actor), reviewers) == nominated


def test_a_long_name_is_remembered_by_its_hash() -> None:
    detector = Detector([], FACTS)
    detector.learn(entry(actor={"user": {"email": "e" * (1 << 20) + "\ud800"}}))
    assert len(json.dumps(detector.memory.to_json())) < 500


def test_a_copy_of_a_memory_is_independent() -> None:
    detector = Detector([one for one in built_in_detections() if one.name == "burst_of_deletions"], FACTS)
    detector.alerts(entry("volume_delete"))
    copy = detector.memory.copy()
    before = copy.to_json()
    assert before == detector.memory.to_json()
    detector.alerts(entry("volume_delete", actor=TOKEN, days=-1))
    assert (copy.to_json(), detector.memory.to_json() == before) == (before, False)
