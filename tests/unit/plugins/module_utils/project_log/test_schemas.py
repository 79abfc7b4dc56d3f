# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries as OCSF and ECS events, checked against the requirements of the schemas (OCSF 1.8, ECS 9.4)."""

from __future__ import annotations

import ipaddress
import json
from typing import Any, Dict, List

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, parse
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.schemas import (
    SCHEMAS,
    event_line,
    to_ecs,
    to_ocsf,
    with_id,
)
from ansible_collections.auditops.cloudscale.tests.simulator import history

# The required attributes of the class, and of each object below it, as the schema lists them.
OCSF_REQUIRED = {
    "": (
        *("activity_id", "actor", "api", "category_uid", "class_uid", "cloud", "metadata", "severity_id"),
        *("src_endpoint", "time", "type_uid"),
    ),
    "api": ("operation",),
    "cloud": ("provider",),
    "metadata": ("product", "version"),
}
OCSF_AT_LEAST_ONE = {
    "actor": ("process", "user", "iam_role", "invoked_by", "session", "app_name", "app_uid"),
    "actor.user": ("account", "name", "uid"),
    "api.service": ("name", "uid"),
    "metadata.product": ("name", "uid"),
    "src_endpoint": ("ip", "uid", "name", "hostname", "svc_name", "instance_uid", "domain"),
}
ECS_REQUIRED = ("@timestamp", "ecs.version")
ECS_TYPES = ("access", "change", "creation", "deletion", "info")  # allowed by the category configuration

ENTRY: Dict[str, Any] = {
    "timestamp": "2026-11-22T12:23:17.460366Z",
    "action": "server_delete",
    "message": "Server 'hello' has been deleted",
    "ip_address": "2001:db8::1",
    "actor": {"user": {"email": "johanna@example.com"}},
    "subject": {"project": {"uuid": "6ee2f8b0", "name": "Shop"}},
}
ODD: List[Dict[str, Any]] = [
    {},
    {"timestamp": 7, "action": None, "message": {"a": 1}, "ip_address": "nowhere", "actor": [], "subject": {"x": {}}},
    {**ENTRY, "actor": {"robot": {"name": "r2"}}, "subject": {"user": {"email": "a@example.com"}}},
    {**ENTRY, "actor": {"api_token": {"uuid": "0a1b", "description": None}}},
    {**ENTRY, "actor": {"system": {}}, "ip_address": None, "subject": {"organization": {"uuid": "o", "name": "Org"}}},
    {**ENTRY, "actor": {"admin": {}}, "ip_address": None, "action": "x_teleport", "more": {"empty": {}}},
]
ALL = [ENTRY, *ODD, *history(weeks=0.5, seed=3)]


def at(event: Dict[str, Any], path: str) -> Any:
    """The value at a dotted path; None if there is none."""
    found: Any = event
    for name in filter(None, path.split(".")):
        found = found.get(name) if isinstance(found, dict) else None
    return found


@pytest.mark.parametrize("entry", ALL)
def test_ocsf_events_have_what_the_schema_requires(entry: Dict[str, Any]) -> None:
    event = to_ocsf(entry)
    for path, names in OCSF_REQUIRED.items():
        assert [name for name in names if name not in at(event, path)] == []
    for path, names in OCSF_AT_LEAST_ONE.items():
        assert any(name in at(event, path) for name in names), path
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert isinstance(event["time"], int)
    if "ip" in event["src_endpoint"]:
        ipaddress.ip_address(event["src_endpoint"]["ip"])


@pytest.mark.parametrize("entry", ALL)
def test_ecs_events_have_what_the_schema_requires(entry: Dict[str, Any]) -> None:
    event = to_ecs(entry)
    assert [path for path in ECS_REQUIRED if at(event, path) is None] == []
    assert set(event["event"]["type"]) <= set(ECS_TYPES)
    for address in (at(event, "source.ip"), *(at(event, "related.ip") or ())):
        if address is not None:
            ipaddress.ip_address(address)


@pytest.mark.parametrize("entry", ALL)
def test_the_raw_entry_is_kept(entry: Dict[str, Any]) -> None:
    assert json.loads(to_ocsf(entry)["raw_data"]) == entry
    assert json.loads(to_ecs(entry)["event"]["original"]) == entry


def test_the_raw_entry_keeps_its_numbers() -> None:
    line = b'{"action":"x","price":1.10,"size":1e400}'
    entry = parse(line)
    assert (
        to_ocsf(entry)["raw_data"].encode() == to_ecs(entry)["event"]["original"].encode() == line == canonical(entry)
    )


def test_an_ocsf_event_whole() -> None:
    assert to_ocsf({**ENTRY, "region": {"slug": "rma"}}) == {
        "activity_id": 4,
        "activity_name": "Delete",
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": 6003,
        "class_name": "API Activity",
        "type_uid": 600304,
        "severity_id": 1,
        "severity": "Informational",
        "time": 1795350197460,
        "message": "Server 'hello' has been deleted",
        "metadata": {
            "version": "1.8.0",
            "profiles": ["cloud"],
            "product": {"name": "Project log", "vendor_name": "cloudscale.ch"},
            "log_name": "project-logs",
            "original_time": "2026-11-22T12:23:17.460366Z",
        },
        "api": {"operation": "server_delete", "service": {"name": "cloudscale.ch"}},
        "actor": {
            "user": {
                "name": "johanna@example.com",
                "email_addr": "johanna@example.com",
                "type_id": 1,
                "type": "User",
            }
        },
        "src_endpoint": {"ip": "2001:db8::1"},
        "cloud": {"provider": "cloudscale.ch", "project_uid": "6ee2f8b0"},
        "resources": [{"type": "server", "name": "hello"}, {"type": "project", "name": "Shop", "uid": "6ee2f8b0"}],
        "raw_data": canonical({**ENTRY, "region": {"slug": "rma"}}).decode(),
        "unmapped": {"region": {"slug": "rma"}},
    }


def test_an_ecs_event_whole() -> None:
    assert to_ecs(ENTRY) == {
        "@timestamp": "2026-11-22T12:23:17.460366Z",
        "ecs": {"version": "9.4.0"},
        "message": "Server 'hello' has been deleted",
        "event": {
            "kind": "event",
            "category": ["configuration"],
            "type": ["deletion"],
            "action": "server_delete",
            "module": "cloudscale",
            "dataset": "cloudscale.project_logs",
            "provider": "cloudscale.ch",
            "original": canonical(ENTRY).decode(),
        },
        "entity": {"target": {"name": "hello", "sub_type": "server"}},
        "source": {"address": "2001:db8::1", "ip": "2001:db8::1"},
        "user": {"name": "johanna@example.com", "email": "johanna@example.com", "roles": ["user"]},
        "cloud": {"provider": "cloudscale.ch", "project": {"id": "6ee2f8b0", "name": "Shop"}},
        "related": {"user": ["johanna@example.com"], "ip": ["2001:db8::1"]},
    }


@pytest.mark.parametrize(
    ("action", "activity", "name", "kind"),
    [
        ("server_create", 1, "Create", "creation"),
        ("server_volume_attach", 3, "Update", "change"),
        ("objects_user_delete", 4, "Delete", "deletion"),
        ("server_teleport", 99, "server_teleport", "info"),
    ],
)
def test_actions_become_activities_by_their_verb(action: str, activity: int, name: str, kind: str) -> None:
    event = to_ocsf({**ENTRY, "action": action})
    assert (event["activity_id"], event["activity_name"], event["api"]["operation"]) == (activity, name, action)
    event = to_ecs({**ENTRY, "action": action})["event"]
    assert (event["type"], event["action"]) == ([kind], action)


@pytest.mark.parametrize(("kind", "type_id"), [("user", 1), ("admin", 2), ("system", 3), ("api_token", 4), ("new", 0)])
def test_kinds_of_actors_become_types_of_accounts(kind: str, type_id: int) -> None:
    assert to_ocsf({**ENTRY, "actor": {kind: {"uuid": "u"}}})["actor"]["user"]["type_id"] == type_id
    assert to_ecs({**ENTRY, "actor": {kind: {"uuid": "u"}}})["user"]["roles"] == [kind]


@pytest.mark.parametrize(("schema", "place"), [("ecs", ("event", "id")), ("ocsf", ("metadata", "uid"))])
def test_an_id_goes_where_its_schema_has_one(schema: str, place: tuple[str, str]) -> None:
    event = SCHEMAS[schema](ENTRY)
    group, key = place
    named = with_id(event, schema, "a/1/b/1")
    assert named[group][key] == "a/1/b/1"
    assert key not in event[group]
    assert {**named, group: event[group]} == event


def test_a_line_is_ascii_without_control_characters() -> None:
    line = event_line(to_ecs({**ENTRY, "message": "\x7f \u202e \x1b[31m \n \ud800"})).decode("ascii")
    assert line.isprintable()
    assert json.loads(line)["message"] == "\x7f \u202e \x1b[31m \n \\ud800"
