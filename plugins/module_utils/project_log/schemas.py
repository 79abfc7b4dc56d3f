# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries as events of two published schemas: OCSF's API Activity, and the Elastic Common Schema.

Nothing is lost: each event also contains the entry itself in canonical form.
"""

from __future__ import annotations

import ipaddress
import json
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Dict, Mapping, Optional

from ..times import format_time
from .entry import Entity, Entry, actor, canonical, subject, timestamp, to_builtin
from .resource import resource

OCSF_VERSION = "1.8.0"
ECS_VERSION = "9.4.0"
PROVIDER = "cloudscale.ch"

_KNOWN_KEYS = ("timestamp", "action", "message", "ip_address", "actor", "subject")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_CREATE, _READ, _UPDATE, _DELETE, _OTHER = 1, 2, 3, 4, 99
_ACTIVITIES = {_CREATE: "Create", _READ: "Read", _UPDATE: "Update", _DELETE: "Delete"}
_ECS_TYPES = {_CREATE: "creation", _READ: "access", _UPDATE: "change", _DELETE: "deletion", _OTHER: "info"}
# An action ends with its verb. The names of actions are not a stable part of the API, so unknown verbs are expected.
_VERBS = {
    **dict.fromkeys(("create", "add", "clone", "import", "copy", "order"), _CREATE),
    **dict.fromkeys(("read", "get", "list", "show", "view", "download", "export", "login"), _READ),
    **dict.fromkeys(("update", "start", "stop", "pause", "unpause", "reboot", "reset", "resize", "scale"), _UPDATE),
    **dict.fromkeys(("attach", "detach", "assign", "unassign", "enable", "disable", "rename", "move"), _UPDATE),
    **dict.fromkeys(("regenerate", "rotate", "restore", "revert", "lock", "unlock", "set", "modify"), _UPDATE),
    **dict.fromkeys(("delete", "remove", "destroy", "revoke", "purge"), _DELETE),
}
# OCSF's types of accounts. Provider staff are administrators, a token is a service.
_USER_TYPES = {"user": (1, "User"), "admin": (2, "Admin"), "system": (3, "System"), "api_token": (4, "Service")}


def to_ocsf(entry: Entry) -> Dict[str, Any]:
    """The entry as an event of OCSF's class API Activity (6003), with the profile cloud.

    An action whose verb is unknown is activity 99 and keeps its name. An unreadable time becomes the Unix epoch.
    """
    activity, action = _activity(entry), _text(entry.get("action"))
    what, about = subject(entry), resource(entry)
    event = _without_empty(
        {
            "activity_id": activity,
            "activity_name": _ACTIVITIES.get(activity, action or "Unknown"),
            "category_uid": 6,
            "category_name": "Application Activity",
            "class_uid": 6003,
            "class_name": "API Activity",
            "type_uid": 600300 + activity,
            "severity_id": 1,
            "severity": "Informational",
            "time": (_moment(entry) - _EPOCH) // timedelta(milliseconds=1),
            "message": _text(entry.get("message")),
            "metadata": {
                "version": OCSF_VERSION,
                "profiles": ["cloud"],
                "product": {"name": "Project log", "vendor_name": PROVIDER},
                "log_name": "project-logs",
                "original_time": _text(entry.get("timestamp")),
            },
            "api": {"operation": action or "unknown", "service": {"name": PROVIDER}},
            "actor": {"user": _ocsf_user(actor(entry))},
            "src_endpoint": _ocsf_source(entry),
            "cloud": {
                "provider": PROVIDER,
                "project_uid": what.uuid if what.kind == "project" else None,
                "org": {"name": what.name, "uid": what.uuid} if what.kind == "organization" else None,
            },
            "resources": [
                *([_without_empty({"type": about.kind, "name": about.name})] if about else []),
                _without_empty({"type": what.kind, "name": what.name, "uid": what.uuid}),
            ],
            "raw_data": _raw(entry),
        }
    )
    unmapped = {key: value for key, value in entry.items() if key not in _KNOWN_KEYS}
    return {**event, "unmapped": unmapped} if unmapped else event


def to_ecs(entry: Entry) -> Dict[str, Any]:
    """The entry as an event of the Elastic Common Schema.

    An action whose verb is unknown is of type ``info`` and keeps its name. An unreadable time becomes the Unix epoch.
    """
    who, what, address = actor(entry), subject(entry), _text(entry.get("ip_address"))
    name = who.name or who.uuid or who.kind
    about = resource(entry)
    return _without_empty(
        {
            "@timestamp": format_time(_moment(entry)),
            "ecs": {"version": ECS_VERSION},
            "message": _text(entry.get("message")),
            "event": {
                "kind": "event",
                "category": ["configuration"],
                "type": [change_type(entry)],
                "action": _text(entry.get("action")),
                "module": "cloudscale",
                "dataset": "cloudscale.project_logs",
                "provider": PROVIDER,
                "original": _raw(entry),
            },
            "entity": {"target": {"name": about.name, "sub_type": about.kind} if about else None},
            "source": {"address": address, "ip": _address(address)},
            "user": {
                "id": who.uuid,
                "name": name,
                "email": who.name if who.kind == "user" else None,
                "roles": [who.kind],
                "target": {"email": what.name} if what.kind == "user" else None,
            },
            "cloud": {
                "provider": PROVIDER,
                "project": {"id": what.uuid, "name": what.name} if what.kind == "project" else None,
            },
            "organization": {"id": what.uuid, "name": what.name} if what.kind == "organization" else None,
            "related": {"user": [name], "ip": [address] if _address(address) else None},
        }
    )


SCHEMAS: Dict[str, Callable[[Entry], Dict[str, Any]]] = {"ecs": to_ecs, "ocsf": to_ocsf}
"""The function that converts an entry to an event, by the name of the schema."""

_ID = {"ecs": ("event", "id"), "ocsf": ("metadata", "uid")}


def with_id(event: Mapping[str, Any], schema: str, name: str) -> Dict[str, Any]:
    """The event with an id, in the field that its schema defines."""
    group, key = _ID[schema]
    return {**event, group: {**event[group], key: name}}


def event_line(event: Mapping[str, Any]) -> bytes:
    """An event as JSON on one line, in ASCII: control characters and direction marks are escaped."""
    return json.dumps(to_builtin(event)).replace("\x7f", "\\u007f").encode()


def change_type(entry: Entry) -> str:
    """The type of change by the verb of the action: ``creation``, ``access``, ``change``, ``deletion`` or ``info``."""
    return _ECS_TYPES[_activity(entry)]


def _activity(entry: Entry) -> int:
    verb = (_text(entry.get("action")) or "").rpartition("_")[2].lower()
    return _VERBS.get(verb, _OTHER)


def _moment(entry: Entry) -> datetime:
    return timestamp(entry) or _EPOCH


def _ocsf_user(who: Entity) -> Dict[str, Any]:
    number, kind = _USER_TYPES.get(who.kind, (0, "Unknown"))
    return {
        "name": who.name or who.uuid or who.kind,
        "uid": who.uuid,
        "credential_uid": who.uuid if who.kind == "api_token" else None,
        "email_addr": who.name if who.kind == "user" else None,
        "type_id": number,
        "type": kind,
    }


def _ocsf_source(entry: Entry) -> Dict[str, Any]:
    text = _text(entry.get("ip_address"))
    if text is None:
        # Changes without an address are made by the provider.
        return {"svc_name": PROVIDER}
    return {"ip": text} if _address(text) else {"name": text}


def _address(text: Optional[str]) -> Optional[str]:
    try:
        return str(ipaddress.ip_address(text or ""))
    except ValueError:
        return None


def _text(value: Any) -> Optional[str]:
    return None if value is None or value == "" else str(value)


def _raw(entry: Entry) -> str:
    return canonical(entry).decode()


def _without_empty(value: Mapping[str, Any]) -> Dict[str, Any]:
    """The mapping without missing and empty values, at every depth."""
    items = ((key, _without_empty(item) if isinstance(item, dict) else item) for key, item in value.items())
    return {key: item for key, item in items if item is not None and item not in ("", {}, [])}
