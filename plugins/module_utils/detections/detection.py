# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Detections as data: conditions on entries, and what to check when an entry matches.

The keys are the same in the catalogue, in a JSON file on a host, and in a playbook.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

from ..errors import InvalidInput
from ..project_log.entry import Entry
from ..project_log.selection import Network, Selection, address_matches, parse_list, parse_networks
from ..settings import describe_unknown
from ..times import parse_duration
from ..working_hours import WorkingHours

SEVERITIES = ("info", "low", "medium", "high", "critical")
"""In ascending order."""

FIRST_SEEN = ("actor", "token", "network")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_SELECTION = ("actions", "actors", "ip_networks", "message_pattern", "resources")
_KNOWN_KEYS = (
    *("name", "title", "severity", "why", "check", "select", "except"),
    *("count", "within", "outside", "unknown", "first_seen", "experimental"),
)
_MAX_COUNT = 1000


@dataclass(frozen=True)
class SiteFacts:
    """Facts about a site. Detections that need a missing fact are off.

    Entries by ``own_actors``, the site's automation, fire no detection. ``reviewers`` are people who review alerts.
    """

    own_actors: Tuple[str, ...] = ()
    working_hours: Optional[WorkingHours] = None
    known_networks: Tuple[Network, ...] = ()
    reviewers: Tuple[str, ...] = ()

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any], zone: str = "UTC") -> SiteFacts:
        """Read the options ``own_actors``, ``working_hours`` (a text), ``holidays``, ``known_networks``, ``reviewers``.

        Working hours are in ``zone`` unless they name another time zone.

        :raises InvalidInput: a value is not valid.
        """
        hours, holidays = options.get("working_hours"), parse_list(options.get("holidays"), "holidays")
        if holidays and not hours:
            raise InvalidInput("holidays requires working_hours, such as Mon-Fri 07:00-19:00 Europe/Zurich.")
        return cls(
            parse_list(options.get("own_actors"), "own_actors"),
            WorkingHours.parse(str(hours), zone).with_holidays(holidays) if hours else None,
            parse_networks(options.get("known_networks"), "known_networks"),
            parse_list(options.get("reviewers"), "reviewers"),
        )


def is_outside_hours(hours: WorkingHours, moment: Optional[datetime]) -> bool:
    """True if a time is outside working hours; False for an unreadable time."""
    return moment is not None and not hours.contains(moment)


def is_unknown_network(entry: Entry, known: Sequence[Network]) -> bool:
    """True if the address of an entry is in none of these networks; False for an entry without an address."""
    return bool(entry.get("ip_address")) and not address_matches(entry, known)


@dataclass(frozen=True)
class Detection:
    """One detection; see the guide for its keys.

    An entry fires the detection if the entry matches any of ``select`` (if empty, every entry matches), none of
    ``exceptions``, and all other conditions. With ``count``, that many entries must match ``within`` a time.
    ``first_seen`` with ``within`` means: not seen for that long. ``outside`` and ``unknown`` are True for the site's
    working hours and known networks.
    """

    name: str
    title: str
    severity: str
    why: str = ""
    check: str = ""
    select: Tuple[Selection, ...] = ()
    exceptions: Tuple[Selection, ...] = ()
    count: int = 1
    within: Optional[timedelta] = None
    outside: Union[bool, WorkingHours] = False
    unknown: Union[bool, Tuple[Network, ...]] = False
    first_seen: Optional[str] = None
    experimental: bool = False

    @classmethod
    def from_mapping(cls, value: Any) -> Detection:
        """Read a detection from its keys.

        :raises InvalidInput: a key is missing, unknown or not valid; the message names the detection and the key.
        """
        name = _parse_name(value)
        unknown = describe_unknown(value, _KNOWN_KEYS)
        if unknown:
            raise InvalidInput(f"detection {name} has unknown keys: {', '.join(unknown)}.")
        detection = cls(
            name=name,
            title=_parse_text(value, "title", name),
            severity=parse_severity(value.get("severity"), f"severity of detection {name}"),
            why=_parse_text(value, "why", name, required=False),
            check=_parse_text(value, "check", name, required=False),
            select=_parse_selections(value.get("select"), f"select of detection {name}"),
            exceptions=_parse_selections(value.get("except"), f"except of detection {name}"),
            count=_parse_count(value.get("count", 1), name),
            within=_parse_within(value.get("within"), name),
            outside=_parse_outside(value.get("outside", False)),
            unknown=_parse_unknown(value.get("unknown", False), name),
            first_seen=_parse_first_seen(value.get("first_seen"), name),
            experimental=value.get("experimental") is True,
        )
        detection._validate()
        return detection

    def _validate(self) -> None:
        if self.count > 1 and self.within is None:
            raise InvalidInput(f"detection {self.name}: count requires within, such as 10m.")
        if self.within is not None and self.count == 1 and self.first_seen is None:
            raise InvalidInput(f"detection {self.name}: within requires count or first_seen.")
        if self.count > 1 and self.first_seen is not None:
            raise InvalidInput(f"detection {self.name}: count and first_seen cannot be combined; remove one of them.")
        if not (self.select or self.outside or self.unknown or self.first_seen):
            raise InvalidInput(f"detection {self.name} would fire on every entry; add select or another condition.")

    def missing_fact(self, facts: SiteFacts) -> Optional[str]:
        """The option of the missing fact that turns this detection off; None if no fact is missing."""
        if self.outside is True and facts.working_hours is None:
            return "working_hours"
        if self.unknown is True and not facts.known_networks:
            return "known_networks"
        return None


def parse_severity(value: Any, option: str) -> str:
    """Read the severity in an option.

    :raises InvalidInput: the value is not one of SEVERITIES; the message names the option.
    """
    if value not in SEVERITIES:
        raise InvalidInput(f"{option} must be one of {', '.join(SEVERITIES)}, not {value!r}.")
    return str(value)


def is_at_least(one: str, other: str) -> bool:
    """True if the first severity equals or exceeds the second."""
    return SEVERITIES.index(one) >= SEVERITIES.index(other)


def _parse_name(value: Any) -> str:
    name = value.get("name") if isinstance(value, Mapping) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput(f"A detection needs a name of lower-case letters, digits and _, not {name!r}.")
    return name


def _parse_text(value: Mapping[str, Any], key: str, name: str, required: bool = True) -> str:
    text = value.get(key) or ""
    if not isinstance(text, str) or (required and not text.strip()):
        raise InvalidInput(f"{key} of detection {name} must be a non-empty text.")
    return text


def _parse_selections(value: Any, option: str) -> Tuple[Selection, ...]:
    """Read conditions: one mapping, or a list of mappings of which any can match."""
    given: Sequence[Any] = [] if value is None else [value] if isinstance(value, Mapping) else value
    if not isinstance(given, (list, tuple)):
        raise InvalidInput(f"{option} must be conditions such as actions, or a list of them.")
    found: List[Selection] = []
    for conditions in given:
        if not isinstance(conditions, Mapping) or not conditions:
            raise InvalidInput(f"{option}: {conditions!r} is not a valid condition; use {', '.join(_SELECTION)}.")
        unknown = describe_unknown(conditions, _SELECTION)
        if unknown:
            raise InvalidInput(f"{option} has unknown conditions: {', '.join(unknown)}.")
        selection = Selection.from_mapping(conditions)
        if selection == Selection():
            raise InvalidInput(f"{option}: {dict(conditions)!r} matches every entry; set a condition.")
        found.append(selection)
    return tuple(found)


def _parse_count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_COUNT:
        raise InvalidInput(f"count of detection {name} must be a whole number from 1 to {_MAX_COUNT}.")
    return value


def _parse_within(value: Any, name: str) -> Optional[timedelta]:
    return None if value in (None, "") else parse_duration(value, f"within of detection {name}")


def _parse_outside(value: Any) -> Union[bool, WorkingHours]:
    return value if isinstance(value, bool) else WorkingHours.parse(str(value))


def _parse_unknown(value: Any, name: str) -> Union[bool, Tuple[Network, ...]]:
    if isinstance(value, bool):
        return value
    return parse_networks(value, f"unknown of detection {name}")


def _parse_first_seen(value: Any, name: str) -> Optional[str]:
    if value in (None, ""):
        return None
    if value not in FIRST_SEEN:
        raise InvalidInput(f"first_seen of detection {name} must be one of {', '.join(FIRST_SEEN)}, not {value!r}.")
    return str(value)
