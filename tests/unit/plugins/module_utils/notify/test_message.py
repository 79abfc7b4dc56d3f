# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in a message: hostile entries stay text, and everything has a limit."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.catalogue import built_in_detections
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.detector import Alert
from ansible_collections.auditops.cloudscale.plugins.module_utils.notify.message import Message, compose
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import parse, to_printable

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
DETECTIONS = {detection.name: detection for detection in built_in_detections()}


def alert(message: Any = "m", number: int = 1, severity: str = "medium", **facts: Any) -> Alert:
    entry = {"timestamp": "2026-11-22T12:00:00Z", "action": "server_delete", "message": message, **facts}
    return Alert(f"{number:032}", "deletion", severity, "A resource was deleted", NOON, "shop", entry, facts.get("who"))


def one(message: Any = "m", **facts: Any) -> Message:
    return compose([alert(message, **facts)], DETECTIONS)


def test_a_message_says_what_happened_and_what_to_do() -> None:
    found = one("Server 'db' has been deleted", actor={"user": {"email": "eve@example.com"}}, ip_address="203.0.113.9")
    assert found.text.splitlines() == [
        "[medium] A resource was deleted in shop",
        "Server 'db' has been deleted",
        "By eve@example.com from 203.0.113.9, 2026-11-22 12:00:00 UTC",
        "What to do: Ask the actor which change or ticket the deletion belongs to.",
    ]
    assert found.subject == "[medium] A resource was deleted in shop"
    assert found.body == found.text + f"\nDetection deletion, alert {1:032}"
    assert found.id == f"{1:032}"


def test_a_project_without_a_name_is_named_as_in_the_entry() -> None:
    def subject_of(subject: Any) -> str:
        return compose([alert(subject=subject)._replace(project="")], DETECTIONS).subject

    assert (
        subject_of({"project": {"name": "shop\n2", "uuid": "0a1b"}}) == "[medium] A resource was deleted in shop\ufffd2"
    )
    assert subject_of({"user": {"email": "eve@example.com"}}) == "[medium] A resource was deleted"
    assert one(subject={"project": {"name": "other"}}).subject == "[medium] A resource was deleted in shop"


def test_the_reviewer_is_named() -> None:
    assert "Reviewer: anna@example.com" in one(who="anna@example.com").text


@pytest.mark.parametrize(
    ("hostile", "never"),
    [
        ("<script>alert(1)</script>", "<script>"),
        ("<!channel> <!here> <@U123>", "<"),
        ("@channel", "@channel"),
        ("x.@Here", "@Here"),
        ("a@all", "@all"),
        ("@anna", "@anna"),
        ("[our bank](https://evil.example)", "]("),
        ("first\nsecond\r\x00\x1b[31m\u202e", "second\r"),
    ],
)
def test_markup_and_mentions_are_escaped_for_chats(hostile: str, never: str) -> None:
    for found in (one(hostile), compose([alert(hostile), alert(hostile, 2)], DETECTIONS)):
        assert never not in found.text
        assert to_printable(found.text.replace("\n", "")) == found.text.replace("\n", "")
    assert len(one(hostile).text.splitlines()) == 4


def test_templates_and_addresses_stay_as_they_are() -> None:
    found = one("{{ 7*7 }} & ${HOME}", actor={"user": {"email": "eve@example.com"}})
    assert "{{ 7*7 }} &amp; ${HOME}" in found.text
    assert "eve@example.com" in found.text
    assert found.alerts[0]["entry"]["message"] == "{{ 7*7 }} & ${HOME}"


def test_programs_get_no_control_characters_anywhere() -> None:
    found = one("a\x00\nb\ud800", **{"k\x1b": ["\u202e", {"\x07": "\r"}]})
    assert all(text.isprintable() for text in _texts(found.alerts))
    assert json.loads(json.dumps(found.alerts)) == found.alerts


def test_numbers_stay_numbers_unless_json_cannot_express_them() -> None:
    (line,) = parse(b'[{"a":1.5,"b":1e400,"c":7,"d":true,"e":null,"message":"\\ud83d"}]')
    entry = compose([alert()._replace(entry=line)], {}).alerts[0]["entry"]
    assert {key: entry[key] for key in "abcde"} == {"a": 1.5, "b": "1e400", "c": 7, "d": True, "e": None}


@pytest.mark.parametrize(
    "facts",
    [
        {"message": "x" * (1 << 20)},
        {"message": "m", "y" * (1 << 20): 1},
        {"message": "m", **{f"key{number}": "v" for number in range(100_000)}},
        {"message": "m", "list": list(range(1_000_000))},
        {"message": "m", "actor": {"user": {"email": "e" * (1 << 20)}}, "ip_address": "9" * (1 << 20)},
    ],
    ids=["message", "key", "keys", "list", "actor"],
)
def test_long_texts_are_truncated(facts: dict[str, Any]) -> None:
    found = one(**facts)
    assert len(json.dumps(found.alerts)) < 400_000 // 4
    assert len(found.text) < 2_000
    assert "timestamp" in found.alerts[0]["entry"]
    assert "\u2026" in json.dumps(found.alerts, ensure_ascii=False)


def test_deep_nesting_is_truncated() -> None:
    nested: Any = "x"
    for _level in range(900):
        nested = {"k": [nested]}
    assert "\u2026" in json.dumps(one(nested=nested).alerts, ensure_ascii=False)


def test_a_chat_gets_the_first_of_many_alerts_and_programs_get_all() -> None:
    found = compose([alert(number=number, severity="high" if number == 3 else "low") for number in range(30)], {})
    assert found.subject == "[high] 30 alerts in shop"
    lines = found.text.splitlines()
    assert (len(lines), lines[-1]) == (42, "and 10 more")
    assert (len(found.alerts), found.body.count("Detection deletion, alert ")) == (30, 30)


def test_the_alerts_of_one_entry_are_described_together() -> None:
    first = alert(
        "Server 'db' has been deleted", ip_address="203.0.113.9", actor={"user": {"email": "eve@example.com"}}
    )
    second = first._replace(
        id="2" * 32, severity="high", detection="own", title="DB is gone", reviewer="bea@example.com"
    )
    third = first._replace(id="3" * 32, detection="unknown_network", title="A change came from an unknown network")
    together = compose([first, second, third], DETECTIONS)
    assert (
        together.subject == "[high] A resource was deleted; DB is gone; a change came from an unknown network in shop"
    )
    assert together.text.splitlines()[1:] == [
        "Server 'db' has been deleted",
        "By eve@example.com from 203.0.113.9, 2026-11-22 12:00:00 UTC",
        "What to do: Ask the actor which change or ticket the deletion belongs to.",
        "What to do: Ask the actor where they worked; add the network to known_networks if it is yours.",
        "Reviewer: bea@example.com",
    ]
    assert together.body.count(", alert ") == 3
    digest = compose([first, second, alert("other", 4)], DETECTIONS)
    assert digest.text.splitlines() == [
        "[high] 3 alerts in shop:",
        "- [high] A resource was deleted; DB is gone: Server 'db' has been deleted",
        "  By eve@example.com from 203.0.113.9, 2026-11-22 12:00:00 UTC. Reviewer: bea@example.com",
        "- [medium] A resource was deleted: other",
        "  By an unknown actor, 2026-11-22 12:00:00 UTC",
    ]


@pytest.mark.parametrize(
    ("who", "result"),
    [
        ({"user": {"email": "eve@example.com"}}, "By eve@example.com,"),
        ({"api_token": {"uuid": "ffff", "description": "anna@example.com"}}, "By API token 'anna@example.com',"),
        ({"api_token": {"uuid": "ffff", "description": None}}, "By API token 'ffff',"),
        ({"admin": {}}, "By the provider's staff (admin),"),
        ({"system": {}}, "By the provider's system,"),
        ({"robot": {"name": "r2"}}, "By robot 'r2',"),
        ({"robot": {}}, "By robot,"),
        ({}, "By an unknown actor,"),
    ],
)
def test_a_token_is_never_shown_as_a_person(who: Any, result: str) -> None:
    assert result in one(actor=who).text


def test_the_id_of_a_digest_is_that_of_its_alerts() -> None:
    several = [alert(number=number) for number in range(3)]
    assert compose(several, {}).id == compose(several, DETECTIONS).id
    assert compose(several[:2], {}).id != compose(several, {}).id


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for one_of in pair for text in _texts(one_of)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []
