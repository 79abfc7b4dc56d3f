# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applies detections to the entries of one project in order, with a memory that can be stored."""

from __future__ import annotations

import hashlib
import ipaddress
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import InvalidInput
from ..project_log.entry import Entry, actor, digest, timestamp, to_builtin_entry
from ..project_log.selection import action_matches, actor_matches
from ..times import format_time, parse_timestamp
from ..working_hours import WorkingHours
from .detection import FIRST_SEEN, Detection, SiteFacts, is_outside_hours, is_unknown_network

BASELINE_PERIOD = timedelta(days=7)
"""First-seen detections are off for this period after the oldest known entry, since everything is new at first."""

ID_LENGTH = 32
"""Number of hexadecimal digits in the id of an alert."""

_NETWORK_SIZES = {4: 24, 6: 48}
SeenKeys = Dict[str, Optional[str]]
"""The key of an entry's actor, token and network in the memory; None for an entry without one."""


class Alert(NamedTuple):
    """A detection that fired on an entry. Its id is a hash of both, so the same alert always has the same id.

    ``reviewer`` is one of the site's reviewers, never the actor of the entry.
    """

    id: str
    detection: str
    severity: str
    title: str
    time: Optional[datetime]
    project: str
    entry: Entry
    reviewer: Optional[str] = None

    def to_json(self) -> Dict[str, Any]:
        """Plain values for programs."""
        return {
            **self._asdict(),
            "time": format_time(self.time) if self.time else None,
            "entry": to_builtin_entry(self.entry),
        }


class Memory:
    """State that a detector keeps from earlier entries.

    ``seen`` has the time when each actor, token and network was last seen, and ``recent`` the recent matches of
    detections with a count.
    """

    def __init__(self) -> None:
        self.oldest: Optional[datetime] = None
        self.seen: Dict[str, Dict[str, datetime]] = {kind: {} for kind in FIRST_SEEN}
        self.recent: Dict[str, List[datetime]] = {}

    def copy(self) -> Memory:
        """An independent copy."""
        memory = Memory()
        memory.oldest = self.oldest
        memory.seen = {kind: dict(keys) for kind, keys in self.seen.items()}
        memory.recent = {name: list(moments) for name, moments in self.recent.items()}
        return memory

    def to_json(self) -> Dict[str, Any]:
        """Plain values, which :meth:`from_json` reads."""
        return {
            "oldest": format_time(self.oldest) if self.oldest else None,
            "seen": {
                kind: {key: format_time(moment) for key, moment in sorted(keys.items())}
                for kind, keys in self.seen.items()
            },
            "recent": {name: [format_time(moment) for moment in moments] for name, moments in self.recent.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Memory:
        """:raises InvalidInput: the value is not a memory."""
        memory = cls()
        try:
            memory.oldest = parse_timestamp(value["oldest"])
            for kind in FIRST_SEEN:
                memory.seen[kind] = {str(key): _parse_time(text) for key, text in value["seen"][kind].items()}
            memory.recent = {
                str(name): [_parse_time(text) for text in texts] for name, texts in value["recent"].items()
            }
        except (LookupError, TypeError, ValueError, AttributeError) as exc:
            raise InvalidInput(f"The stored memory of the detections is not valid: {exc}.") from exc
        return memory


class Detector:
    """Applies the detections of one project. Pass the entries in the order of the log."""

    def __init__(
        self,
        detections: Sequence[Detection],
        facts: SiteFacts,
        project: str = "",
        memory: Optional[Memory] = None,
    ) -> None:
        self._detections = [detection for detection in detections if detection.missing_fact(facts) is None]
        self._facts = facts
        self._project = project
        self.memory = memory or Memory()
        self._by_action: Dict[Any, Tuple[Detection, ...]] = {}

    def learn(self, entry: Entry) -> None:
        """Remember an entry without alerts, such as an entry from before the time range."""
        self._remember(first_seen_keys(entry), timestamp(entry))

    def alerts(self, entry: Entry) -> List[Alert]:
        """The alerts of the next entry, usually none."""
        moment, seen = timestamp(entry), first_seen_keys(entry)
        if self._facts.own_actors and actor_matches(entry, self._facts.own_actors):
            self._remember(seen, moment)
            return []
        fired = [found for found in self._candidates(entry) if self._fires(found, entry, moment, seen)]
        self._remember(seen, moment)
        return [self._alert(detection, entry, moment) for detection in fired]

    def recreate_alerts(self, name: str, entry: Entry) -> List[Alert]:
        """The alert of a detection that fired on an entry earlier; empty if the detection was removed since."""
        return [
            self._alert(detection, entry, timestamp(entry)) for detection in self._detections if detection.name == name
        ]

    def _candidates(self, entry: Entry) -> Tuple[Detection, ...]:
        """The detections whose actions match the entry. They are cached, since most entries share a few actions."""
        action = entry.get("action")
        key = action if isinstance(action, str) else None
        found = self._by_action.get(key)
        if found is None:
            found = tuple(detection for detection in self._detections if _can_match_action(detection, entry))
            if len(self._by_action) < _MAX_ACTIONS:
                self._by_action[key] = found
        return found

    def _fires(self, detection: Detection, entry: Entry, moment: Optional[datetime], seen: SeenKeys) -> bool:
        if detection.select and not any(selection.matches(entry) for selection in detection.select):
            return False
        if any(selection.matches(entry) for selection in detection.exceptions):
            return False
        if detection.outside and not self._is_outside_hours(detection.outside, moment):
            return False
        if detection.unknown and not self._is_unknown_network(detection, entry):
            return False
        if detection.first_seen and not self._is_first_seen(detection, seen, moment):
            return False
        return detection.count == 1 or self._reaches_count(detection, moment)

    def _is_outside_hours(self, hours: Any, moment: Optional[datetime]) -> bool:
        given = hours if isinstance(hours, WorkingHours) else self._facts.working_hours
        return given is not None and is_outside_hours(given, moment)

    def _is_unknown_network(self, detection: Detection, entry: Entry) -> bool:
        known = self._facts.known_networks if isinstance(detection.unknown, bool) else detection.unknown
        return is_unknown_network(entry, known)

    def _is_first_seen(self, detection: Detection, seen: SeenKeys, moment: Optional[datetime]) -> bool:
        kind = detection.first_seen or ""
        key, oldest = seen[kind], self.memory.oldest
        if key is None or moment is None or oldest is None or moment < oldest + BASELINE_PERIOD:
            return False
        last = self.memory.seen[kind].get(key)
        if detection.within is None:
            return last is None
        return last is not None and moment - last > detection.within

    def _reaches_count(self, detection: Detection, moment: Optional[datetime]) -> bool:
        """True if this match is number ``count`` within the time; counting then starts again at zero."""
        if moment is None or detection.within is None:
            return False
        recent = self.memory.recent.setdefault(detection.name, [])
        recent.append(moment)
        newest = max(recent)
        recent[:] = [one for one in recent if newest - one <= detection.within]
        if len(recent) < detection.count:
            return False
        recent.clear()
        return True

    def _remember(self, seen: SeenKeys, moment: Optional[datetime]) -> None:
        if moment is None:
            return
        if self.memory.oldest is None or moment < self.memory.oldest:
            self.memory.oldest = moment
        for kind, key in seen.items():
            if key is not None:
                last = self.memory.seen[kind].get(key)
                self.memory.seen[kind][key] = moment if last is None else max(last, moment)

    def _alert(self, detection: Detection, entry: Entry, moment: Optional[datetime]) -> Alert:
        text = f"{detection.name}\n{digest(entry)}".encode()
        identifier = hashlib.sha256(text).hexdigest()[:ID_LENGTH]
        reviewer = assign_reviewer(identifier, entry, self._facts.reviewers)
        return Alert(
            identifier, detection.name, detection.severity, detection.title, moment, self._project, entry, reviewer
        )


_MAX_ACTIONS = 10_000
_MAX_KEY = 200


def assign_reviewer(identifier: str, entry: Entry, reviewers: Sequence[str]) -> Optional[str]:
    """The reviewer of the alert with this id, never the actor of the entry; None if no reviewer is left.

    Rendezvous hashing: the same alert always gets the same reviewer, and when someone joins or leaves, only the alerts
    of that person are reassigned.
    """
    actor_names = _actor_names(entry)
    others = [name for name in reviewers if _normalize_name(name) not in actor_names]
    return max(others, key=lambda name: _rendezvous_weight(identifier, name), default=None)


def is_actor(name: str, entry: Entry) -> bool:
    """True if this person or token is the actor of the entry; e-mail addresses are compared without case."""
    return _normalize_name(name) in _actor_names(entry)


def is_same_person(one: str, other: str) -> bool:
    """True if two names are the same person; e-mail addresses are compared without case."""
    return _normalize_name(one) == _normalize_name(other)


def _actor_names(entry: Entry) -> Set[str]:
    label = actor(entry)
    return {_normalize_name(name) for name in (label.name, label.uuid) if name}


def _rendezvous_weight(identifier: str, name: str) -> bytes:
    return hashlib.sha256(f"{identifier}\n{_normalize_name(name)}".encode("utf-8", "surrogatepass")).digest()


def _normalize_name(name: str) -> str:
    name = name.strip()
    return name.casefold() if "@" in name else name


def first_seen_keys(entry: Entry) -> SeenKeys:
    """The keys of an entry for first-seen detections: its actor or its token's uuid, and its network."""
    label = actor(entry)
    token = label.uuid or label.name if label.kind == "api_token" else None
    name = label.name.casefold() if label.kind == "user" else label.uuid or label.name
    return {
        "actor": None if token else _bounded_key(f"{label.kind} {name}".strip()),
        "token": _bounded_key(token) if token else None,
        "network": _network_key(entry),
    }


def _bounded_key(key: str) -> str:
    """The key, or its hash if the key is too long for the memory."""

    if len(key) <= _MAX_KEY:
        return key
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _network_key(entry: Entry) -> Optional[str]:
    text = entry.get("ip_address")
    return _network_of(text) if isinstance(text, str) else None


@lru_cache(maxsize=10_000)
def _network_of(text: str) -> Optional[str]:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(ipaddress.ip_network((address, _NETWORK_SIZES[address.version]), strict=False))


def _can_match_action(detection: Detection, entry: Entry) -> bool:
    return not detection.select or any(
        not selection.actions or action_matches(entry, selection.actions) for selection in detection.select
    )


def _parse_time(text: Any) -> datetime:
    moment = parse_timestamp(text)
    if moment is None:
        raise ValueError(f"{text!r} is not a time")
    return moment.astimezone(timezone.utc)
