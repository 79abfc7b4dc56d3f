# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The built-in detections.

Detections that depend on unpublished names of actions are experimental and off: if a name is wrong, the detection never
fires, and the project only looks quiet.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ..errors import InvalidInput
from ..project_log.selection import parse_list
from ..settings import describe_unknown
from .detection import Detection

BUILT_IN: Tuple[Dict[str, Any], ...] = (
    {
        "name": "deletion",
        "title": "A resource was deleted",
        "severity": "medium",
        "why": "Deletions destroy data, and most of them cannot be undone.",
        "check": "Ask the actor which change or ticket the deletion belongs to.",
        "select": {"actions": ["*_delete"]},
    },
    {
        "name": "burst_of_deletions",
        "title": "Five resources were deleted within ten minutes",
        "severity": "critical",
        "why": "A stolen token or a wrong automation destroys many resources at once.",
        "check": "Revoke the token if nobody knows of the work; then restore from backups.",
        "select": {"actions": ["*_delete"]},
        "count": 5,
        "within": "10m",
    },
    {
        "name": "provider_staff",
        "title": "The provider's staff changed something",
        "severity": "high",
        "why": "Provider staff rarely act in a project, and only after a support request.",
        "check": "Compare with your support requests; ask the provider if there is none.",
        "select": {"actors": ["admin"]},
    },
    {
        "name": "unknown_network",
        "title": "A change came from an unknown network",
        "severity": "high",
        "why": "A stolen token or password is used from somewhere else.",
        "check": "Ask the actor where they worked; add the network to known_networks if it is yours.",
        "unknown": True,
    },
    {
        "name": "outside_working_hours",
        "title": "A change was made outside working hours",
        "severity": "low",
        "why": "Attackers prefer nights and weekends, when nobody watches.",
        "check": "Ask the actor; add own automation to own_actors.",
        "outside": True,
    },
    {
        "name": "first_seen_actor",
        "title": "An actor appeared for the first time",
        "severity": "low",
        "why": "New colleagues are expected; others are not.",
        "check": "Compare with the people who joined your team.",
        "first_seen": "actor",
    },
    {
        "name": "first_seen_token",
        "title": "A token was used for the first time",
        "severity": "low",
        "why": "An intruder creates a token to keep access to the project.",
        "check": "Find out who created the token, and for what.",
        "first_seen": "token",
    },
    {
        "name": "first_seen_network",
        "title": "A network appeared for the first time",
        "severity": "info",
        "why": "Stolen credentials are often used from a new network.",
        "check": "Ask the actor where they worked.",
        "first_seen": "network",
    },
    {
        "name": "dormant_token",
        "title": "A token was used that had not been used for 30 days",
        "severity": "medium",
        "why": "Forgotten tokens are found in backups and repositories.",
        "check": "Find out who uses the token; revoke it if nobody needs it.",
        "first_seen": "token",
        "within": "30d",
    },
    {
        "name": "access_changed",
        "title": "Somebody's access was changed",
        "severity": "medium",
        "why": "Tokens, keys and members decide who can change a project.",
        "check": "Ask the actor which request the change belongs to.",
        "select": {"actions": ["*token*", "*key*", "objects_user*", "*member*", "*permission*"]},
        "experimental": True,
    },
    {
        "name": "floating_ip_moved",
        "title": "A floating IP was moved",
        "severity": "medium",
        "why": "Moving a floating IP redirects its traffic.",
        "check": "Ask the actor whether a failover or a migration was intended.",
        "select": {"actions": ["floating_ip_update", "floating_ip_assign*"]},
        "experimental": True,
    },
    {
        "name": "console_or_reboot",
        "title": "A server was rebooted, or its console was opened",
        "severity": "low",
        "why": "Both give access to a server without its credentials.",
        "check": "Ask the actor for the reason.",
        "select": {"actions": ["server_reboot", "*console*", "*rescue*"]},
        "experimental": True,
    },
)


def built_in_detections() -> List[Detection]:
    """All built-in detections, including experimental ones."""
    return [Detection.from_mapping(value) for value in BUILT_IN]


def select_detections(own: Sequence[Mapping[str, Any]] = (), enable: Any = (), disable: Any = ()) -> List[Detection]:
    """The detections to apply: the built-in ones that are not experimental, and the site's own.

    ``enable`` names experimental detections to add, ``disable`` detections to remove. A detection of the site replaces
    a built-in one of the same name.

    :raises InvalidInput: a detection is not valid, or a name is unknown.
    """
    if not isinstance(own, (list, tuple)):
        raise InvalidInput("detections must be a list.")
    by_name = {detection.name: detection for detection in built_in_detections()}
    experimental = {name for name, detection in by_name.items() if detection.experimental}
    own_detections = [Detection.from_mapping(value) for value in own]
    own_names = [detection.name for detection in own_detections]
    for detection in own_detections:
        if own_names.count(detection.name) > 1:
            raise InvalidInput(f"Two detections have the name {detection.name}; rename one of them.")
        by_name[detection.name] = detection
        experimental.discard(detection.name)
    enabled, disabled = _names(enable, "enable", by_name), _names(disable, "disable", by_name)
    off = (experimental - set(enabled)) | set(disabled)
    return [detection for name, detection in by_name.items() if name not in off]


def _names(value: Any, option: str, known: Mapping[str, Detection]) -> Tuple[str, ...]:
    names = parse_list(value, option)
    unknown = describe_unknown(names, known)
    if unknown:
        raise InvalidInput(f"{option} names unknown detections: {', '.join(unknown)}.")
    return names
