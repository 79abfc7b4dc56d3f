# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.selection import Selection

TOKEN = {"api_token": {"uuid": "0a1b", "description": "ci deploy"}}
ENTRY = {
    "action": "server_create",
    "message": "Server 'web1' has been created",
    "ip_address": "192.0.2.7",
    "actor": {"user": {"email": "johanna@example.com"}},
}


def selects(options: Any, **changes: Any) -> bool:
    return Selection.from_mapping(options).matches({**ENTRY, **changes})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"actions": [], "actors": None, "message_pattern": ""},
        {"actions": [""], "actors": "", "ip_networks": [""]},
        {"actions": ["server_create"]},
        {"actions": "server_*"},
        {"actions": "volume_*, server_*"},
        {"actions": ["volume_*", "*_create"]},
        {"actors": ["johanna@example.com"]},
        {"ip_networks": ["192.0.2.0/24"]},
        {"ip_networks": ["192.0.2.7"]},
        {"ip_networks": ["192.0.2.9/24", "2001:db8::/32"]},
        {"message_pattern": "web[0-9]"},
        {"message_pattern": "created$"},
        {"resources": ["web1"]},
        {"resources": "db1, web?"},
        {"resources": [""]},
        {
            "actions": ["server_*"],
            "actors": ["johanna@example.com"],
            "message_pattern": "web1",
            "ip_networks": ["0.0.0.0/0"],
        },
    ],
)
def test_selected(options: Any) -> None:
    assert selects(options)


@pytest.mark.parametrize(
    "options",
    [
        {"actions": ["server"]},
        {"actions": ["SERVER_*"]},
        {"actors": ["johanna"]},
        {"actors": ["system"]},
        {"ip_networks": ["198.51.100.0/24", "::/0"]},
        {"message_pattern": "^web1"},
        {"resources": ["web", "Server"]},
        {"resources": ["web1"], "actions": ["volume_*"]},
        {"actions": ["server_*"], "message_pattern": "deleted"},
    ],
)
def test_not_selected(options: Any) -> None:
    assert not selects(options)


def test_tokens_are_named_by_description_or_uuid() -> None:
    assert selects({"actors": ["ci deploy"]}, actor=TOKEN)
    assert selects({"actors": ["0a1b"]}, actor=TOKEN)
    assert not selects({"actors": ["ci"]}, actor=TOKEN)


@pytest.mark.parametrize("email", ["johanna@example.com", "Johanna@Example.COM"])
@pytest.mark.parametrize("glob", ["JOHANNA@example.com", "johanna@EXAMPLE.*", "*@Example.com", "johann?@*"])
def test_an_e_mail_address_is_compared_without_case(email: str, glob: str) -> None:
    assert selects({"actors": [glob]}, actor={"user": {"email": email}})
    assert not selects({"actors": [glob]}, actor={"user": {"email": f"x{email}x"}})


def token(description: Any) -> Any:
    return {"api_token": {"uuid": "0a1b", "description": description}}


@pytest.mark.parametrize("glob", ["ci *", "ci [prod]", "ci [*", "?i [prod?", "*", "0a*"])
def test_only_two_characters_of_a_name_are_special(glob: str) -> None:
    assert selects({"actors": [glob]}, actor=token("ci [prod]"))


@pytest.mark.parametrize("glob", ["ci [pq]rod", "ci [!x]prod]", "ci [PROD]", "CI *", "?ci [prod]", "ci .prod."])
def test_the_name_of_a_token_is_text(glob: str) -> None:
    assert not selects({"actors": [glob]}, actor=token("ci [prod]"))


def test_exact_text_matches_whatever_it_holds() -> None:
    assert selects({"actors": ["what?! *"]}, actor=token("what?! *"))
    assert selects({"actions": ["a[1]"]}, action="a[1]")
    assert not selects({"actions": ["a[1]"]}, action="a1")


@pytest.mark.parametrize("actor", [token(None), token("system"), {"system": {}}, {"admin": {}}, {"robot": {}}, None])
def test_anybody_is_an_actor(actor: Any) -> None:
    assert selects({"actors": ["*"]}, actor=actor)


@pytest.mark.parametrize("value", [None, "", " ", [""], [" "], [], [None]])
@pytest.mark.parametrize("option", ["actions", "actors", "ip_networks"])
def test_an_empty_text_is_not_a_condition(option: str, value: Any) -> None:
    assert Selection.from_mapping({option: value}) == Selection()


def test_an_empty_field_of_a_survey_is_not_a_condition() -> None:
    assert Selection.from_mapping({"message_pattern": "", "limit": ""}) == Selection()


@pytest.mark.parametrize(
    "value", [["*_delete", ""], ["", "*_delete"], ["", ""], "a,,b", "a, ", ["a", " "], ["a", None]]
)
@pytest.mark.parametrize("option", ["actions", "actors", "ip_networks"])
def test_an_empty_text_among_others_is_refused(option: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=f"^{option}: item [12] of [23] is empty; remove it or set a value."):
        Selection.from_mapping({option: value})


@pytest.mark.parametrize("kind", ["system", "admin"])
def test_system_and_staff_are_named_by_their_kind_and_nobody_passes_for_them(kind: str) -> None:
    assert selects({"actors": [kind]}, actor={kind: {}})
    assert not selects({"actors": [kind]}, actor={"api_token": {"uuid": "0a1b", "description": kind}})


@pytest.mark.parametrize("value", [None, "", "not an address", 5, True, ["192.0.2.7"]])
def test_without_an_address_an_entry_came_from_no_network(value: Any) -> None:
    assert not selects({"ip_networks": ["0.0.0.0/0", "::/0"]}, ip_address=value)


@pytest.mark.parametrize("changes", [{"action": None}, {"message": None}, {"actor": None}])
def test_odd_entries_are_simply_not_matched(changes: Any) -> None:
    assert not selects({"actions": ["*"], "message_pattern": "", "actors": ["x"]}, **changes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ip_networks": ["192.0.2.300"]}, "ip_networks: '192.0.2.300' is not a valid network"),
        ({"actions": 5}, "actions: 5 is not a list of texts"),
        ({"actors": {"a": "b"}}, "actors: .* is not a list of texts"),
        ({"message_pattern": "("}, "message_pattern: '\\(' is not a valid regular expression"),
        ({"limit": 0}, "limit must be a whole number of at least 1, not 0"),
        ({"limit": float("inf")}, "limit must be"),
        ({"limit": "many"}, "limit must be"),
    ],
)
def test_malformed_conditions_are_named(options: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Selection.from_mapping(options)
