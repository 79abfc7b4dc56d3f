# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report tells: alerts, counts, what is new, and how complete it is; computed once, for every form of it."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..detections.detector import Alert
from ..project_log.entry import Entity, subject, to_printable
from ..project_log.resource import resource
from ..project_log.selection import actor_matches
from ..settings import Range
from .alerts import Alerts, text_of
from .coverage import Coverage, Period, coverage_of, missing_of
from .query.dataset import Log, Record, Seen, Slot, decoded, kind_of, label
from .query.engine import COLUMNS
from .query.sources import Origin

MOST_ROWS = 100_000
"""So many entries a page takes; the newest ones."""

MAX_MESSAGES = 100_000
"""Number of different messages in which resources are counted; the most frequent ones."""

_DAY = "%Y-%m-%d"
_SECOND = "%Y-%m-%d %H:%M:%S"


FIGURES = {
    "entries": "entries",
    "own": "by_own",
    "people": "by_people",
    "tokens": "by_tokens",
    "staff": "by_staff",
    "system": "by_system",
    "actors": "actors",
    "networks": "networks",
}
"""The totals in their order, with the name of the text that says what each is."""


class Count(NamedTuple):
    """One line of a ranking.

    ``kind`` is that of an actor or a resource, ``of`` how many addresses a network was seen with, and ``project`` that
    of a resource.
    """

    name: str
    entries: int
    kind: str = ""
    of: int = 0
    project: str = ""


class First(NamedTuple):
    """What was not seen before: when, what, and by whom; ``key`` and ``value`` select its entries."""

    time: str
    name: str
    by: str
    key: str
    value: str


class Figure(NamedTuple):
    """A total by its name, and that of the period before; None without data."""

    name: str
    value: int
    before: Optional[int]


class Hole(NamedTuple):
    """A part of the range that is missing of a project, as minutes of a wall clock's epoch, and why."""

    start: int
    end: int
    why: str
    project: str


@dataclass(frozen=True)
class Heading:
    """What the report is about, in words. ``made`` is when it was made."""

    title: str
    asked: str
    made: str
    zone: str
    language: str


@dataclass(frozen=True)
class Facts:
    """All that a report tells. ``firsts`` go by what is new (actors, tokens, networks).

    ``preceding`` is the period that the figures are compared with; None if they are not. ``actors`` are all but the
    site's own automation, ``own`` is that. ``slots`` are quarters of an hour as minutes of a wall clock's epoch, with
    all and with own entries, ``axis`` the range on that clock; ``heat`` counts by weekday (Monday first) and hour.
    ``are_resources_partial`` says whether some of the many messages were not counted.
    ``extent`` is the first and the last time with their offset, for programs. ``own_is_known`` says whether the site
    named its own automation.
    """

    heading: Heading
    by_project: List[Count]
    entries: int
    first: str
    last: str
    extent: Tuple[str, str]
    preceding: Optional[Period]
    figures: List[Figure]
    alerts: Alerts
    actors: List[Count]
    own: List[Count]
    actions: List[Count]
    networks: List[Count]
    resources: List[Count]
    are_resources_partial: bool
    slots: List[Tuple[int, int, int]]
    axis: Tuple[int, int]
    holes: List[Hole]
    heat: List[List[int]]
    own_is_known: bool
    has_baseline: bool
    firsts: Dict[str, List[First]]
    coverage: List[Coverage]

    @property
    def is_complete(self) -> bool:
        return not any(source.missing for source in self.coverage)

    @property
    def projects(self) -> List[str]:
        """The names of the projects that the report is about."""
        return sorted(count.name for count in self.by_project)

    @property
    def summary(self) -> Dict[str, Any]:
        """The figures for programs."""
        totals = {figure.name: figure.value for figure in self.figures}
        return {
            "entries": self.entries,
            "first": self.extent[0],
            "last": self.extent[1],
            "alerts": self.alerts.by_severity,
            "detections": {group.detection.name: group.total for group in self.alerts.groups},
            "projects": {count.name: count.entries for count in self.by_project},
            "actors": {count.name: count.entries for count in sorted([*self.actors, *self.own], key=_rank)},
            "own": sum(count.entries for count in self.own),
            "actions": {count.name: count.entries for count in self.actions},
            "networks": {count.name: count.entries for count in self.networks},
            "first_seen": self._first_seen,
            "staff": totals["staff"],
            "system": totals["system"],
            "before": self._before,
            "complete": self.is_complete,
        }

    @property
    def _before(self) -> Optional[Dict[str, Any]]:
        """The figures of the period before; None where they are unknown."""
        if self.preceding is None or not self.preceding.is_complete:
            return None
        return {figure.name: figure.before for figure in self.figures}

    @property
    def _first_seen(self) -> Dict[str, List[str]]:
        """Names of what is new; empty where no baseline could tell."""
        if not self.has_baseline:
            return {}
        return {name: [first.name for first in found] for name, found in self.firsts.items()}


class Rows:
    """Entries as rows of text in the display's time zone; every text is safe to show on one line."""

    def __init__(self, zone: tzinfo, day: str = _DAY) -> None:
        self.zone = zone
        self._day = day
        self._actor: Callable[[Optional[str]], Tuple[str, str]] = lru_cache(maxsize=10_000)(_actor)
        self._subject: Callable[[Optional[str]], str] = lru_cache(maxsize=10_000)(_subject)

    def row(self, record: Record) -> Dict[str, str]:
        moment = record["moment"]
        name, kind = self._actor(record["actor"])
        about = resource(record)
        return {
            "time": to_printable(record["timestamp"]) if moment is None else self.local(moment).strftime(_SECOND),
            "actor": name,
            "actor_kind": kind,
            "action": to_printable(record["action"]),
            "message": to_printable(record["message"]),
            "ip_address": to_printable(record["ip_address"]),
            "resource_kind": "" if about is None else about.kind,
            "resource": "" if about is None else to_printable(about.name),
            "subject": self._subject(record["subject"]),
            "project": record["project"],
        }

    def alert(self, alert: Alert) -> Dict[str, str]:
        """An alert's entry in the same way."""
        texts = {name: text_of(alert.entry.get(name)) for name in COLUMNS}
        return self.row({**texts, "moment": alert.time, "project": alert.project})

    def local(self, moment: datetime) -> datetime:
        """An engine's naive time in UTC, or an aware one, in the display's zone."""
        known = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        return known.astimezone(self.zone)

    def at(self, moment: Optional[datetime], form: str = _SECOND) -> str:
        return "" if moment is None else self.local(moment).strftime(form)

    def told(self, moment: Optional[datetime], form: str = _SECOND) -> str:
        """The same for sentences, with the day as the report's language writes it."""
        return self.at(moment, form.replace(_DAY, self._day))

    def minute(self, moment: datetime) -> int:
        """What the clock on the wall showed, as minutes of an epoch without time zones."""
        return int(self.local(moment).replace(tzinfo=timezone.utc).timestamp()) // 60

    def iso(self, moment: Optional[datetime]) -> str:
        """The local time with its offset, for programs; empty for None."""
        return "" if moment is None else self.local(moment).isoformat(timespec="seconds")


class Inquiry:
    """Puts the questions of a report to a log. ``own_actors`` are globs of the site's own automation."""

    def __init__(self, log: Log, rows: Rows, own_actors: Sequence[str] = ()) -> None:
        self.log = log
        self.rows = rows
        self.actors = log.seen("actor")
        self.addresses = log.seen("ip_address")
        self._own_actors = own_actors
        self.own = [seen.value for seen in self.actors if self.is_own(seen.value)]

    def is_own(self, actor: Optional[str]) -> bool:
        return bool(self._own_actors) and actor_matches({"actor": decoded(actor)}, self._own_actors)

    def facts(
        self,
        heading: Heading,
        origins: Sequence[Origin],
        asked: Range,
        now: datetime,
        alerts: Alerts,
        preceding: Optional[Period] = None,
    ) -> Facts:
        """All answers. ``now`` is the moment of asking: what lies after it is missing."""
        first, last = self.log.extent()
        slots = self.log.slots(self.own)
        own = set(self.own)
        messages = self.log.messages(MAX_MESSAGES)
        entries = sum(seen.entries for seen in self.actors)
        axis = asked.start or first or now, asked.end or max(now, last or now)
        return Facts(
            heading=heading,
            by_project=self._projects(origins),
            entries=entries,
            first=self.rows.told(first),
            last=self.rows.told(last),
            extent=(self.rows.iso(first), self.rows.iso(last)),
            preceding=preceding,
            figures=self._figures(preceding),
            alerts=alerts,
            actors=_actors(seen for seen in self.actors if seen.value not in own),
            own=_actors(seen for seen in self.actors if seen.value in own),
            actions=[Count(to_printable(seen.value), seen.entries) for seen in self.log.seen("action")],
            networks=networks_of(self.addresses),
            resources=_resources(messages),
            are_resources_partial=sum(found["entries"] for found in messages) < entries,
            slots=[(self.rows.minute(slot.start), slot.entries, slot.own) for slot in slots],
            axis=(self.rows.minute(axis[0]), self.rows.minute(axis[1])),
            holes=self._holes(origins, asked, now, axis),
            heat=self._heat(slots),
            own_is_known=bool(self._own_actors),
            has_baseline=self.log.known("actor") is not None,
            firsts=self._firsts(),
            coverage=coverage_of(origins, asked, now, self.rows.told),
        )

    def _projects(self, origins: Sequence[Origin]) -> List[Count]:
        """All projects, also those without entries, the most active first."""
        entries = {origin.project: 0 for origin in origins if origin.project}
        for seen in self.log.seen("project"):
            if seen.value:
                entries[seen.value] = seen.entries
        return sorted((Count(name, number) for name, number in entries.items()), key=_rank)

    def _figures(self, preceding: Optional[Period]) -> List[Figure]:
        now = self._totals([(seen.value, seen.entries) for seen in self.actors], self.addresses)
        before: Dict[str, int] = {}
        if preceding is not None and preceding.is_complete and self.log.preceding is not None:
            groups = self.log.groups(self.log.preceding, "actor")
            actors = [(group.values["actor"], group.entries) for group in groups]
            addresses = [
                Seen(group.values["ip_address"], group.entries, None, None)
                for group in self.log.groups(self.log.preceding, "ip_address")
            ]
            before = self._totals(actors, addresses)
        return [Figure(name, value, before.get(name)) for name, value in now.items()]

    def _totals(self, actors: Sequence[Tuple[Optional[str], int]], addresses: Sequence[Seen]) -> Dict[str, int]:
        """Entries in all and by kinds of actors, and how many actors and networks there are."""
        groups = {"own": 0, "people": 0, "tokens": 0, "staff": 0, "system": 0}
        for value, entries in actors:
            kind = "own" if self.is_own(value) else _GROUPS.get(kind_of(value), "people")
            groups[kind] += entries
        if not self._own_actors:
            del groups["own"]
        return {
            "entries": sum(entries for _value, entries in actors),
            **groups,
            "actors": len({identity(value) for value, _entries in actors}),
            "networks": len(networks_of(addresses)),
        }

    def _holes(
        self, origins: Sequence[Origin], asked: Range, now: datetime, axis: Tuple[datetime, datetime]
    ) -> List[Hole]:
        """What is missing of each project, once."""
        holes = [
            Hole(
                self.rows.minute(max(start, axis[0])),
                self.rows.minute(min(end or axis[1], axis[1])),
                why,
                origin.project,
            )
            for origin in origins
            for start, end, why in missing_of(origin, origins, asked, now)
        ]
        return list(dict.fromkeys(hole for hole in holes if hole.start < hole.end))

    def _firsts(self) -> Dict[str, List[First]]:
        known = {identity(value) for value in self.log.known("actor") or ()}
        new = [seen for seen in self.actors if identity(seen.value) not in known]
        tokens = [seen for seen in new if kind_of(seen.value) == "api_token"]
        others = [seen for seen in new if kind_of(seen.value) != "api_token"]
        return {
            "actors": self._told(others, "actor"),
            "tokens": self._told(tokens, "actor"),
            "networks": self._told(self._new_networks(), "network"),
        }

    def _new_networks(self) -> List[Seen]:
        known = {network_of(value) for value in self.log.known("ip_address") or ()}
        earliest: Dict[str, Seen] = {}
        for seen in sorted(self.addresses, key=_first):
            name = network_of(seen.value)
            if name and name not in known:
                earliest.setdefault(name, seen._replace(value=name))
        return list(earliest.values())

    def _told(self, found: Iterable[Seen], key: str) -> List[First]:
        told = []
        for seen in sorted(found, key=_first, reverse=True):
            name = to_printable(seen.value) if key == "network" else str(label(seen.value))
            value = name if key == "network" else f"{kind_of(seen.value)}:{name}"
            # Where no time could be read, nobody was the first.
            by = "" if seen.by is None else str(label(seen.by))
            told.append(First(self.rows.told(seen.first), name, by, key, value))
        return told

    def _heat(self, slots: Sequence[Slot]) -> List[List[int]]:
        """Counts by weekday (Monday first) and hour."""
        heat = [[0] * 24 for _day in range(7)]
        for slot in slots:
            local = self.rows.local(slot.start)
            heat[local.weekday()][local.hour] += slot.entries
        return heat


_GROUPS = {"user": "people", "api_token": "tokens", "admin": "staff", "system": "system"}


def _actors(found: Iterable[Seen]) -> List[Count]:
    """Names with their kinds. An actor that is named in several ways alike is one of them."""
    entries: Counter[Tuple[str, str]] = Counter()
    for seen in found:
        entries[str(label(seen.value)), kind_of(seen.value)] += seen.entries
    return sorted((Count(name, number, kind) for (name, kind), number in entries.items()), key=_rank)


def _resources(messages: Iterable[Mapping[str, Any]]) -> List[Count]:
    """The resources that messages are about. The same name in another project is another resource."""
    entries: Counter[Tuple[str, str, str]] = Counter()
    for found in messages:
        about = resource(found)
        if about is not None:
            entries[about.kind, to_printable(about.name), found["project"]] += found["entries"]
    counts = (Count(name, number, kind, project=project) for (kind, name, project), number in entries.items())
    return sorted(counts, key=_rank)


def _rank(count: Count) -> Tuple[int, str, str, str]:
    return -count.entries, count.name, count.kind, count.project


def local_days(slots: Sequence[Tuple[int, int, int]]) -> List[Tuple[str, int, int]]:
    """Counts by local day, of all and of own entries, for those who read numbers rather than a chart."""
    days: Dict[str, List[int]] = {}
    epoch = datetime(1970, 1, 1)
    for minute, entries, own in slots:
        day = days.setdefault((epoch + timedelta(minutes=minute)).strftime("%Y-%m-%d"), [0, 0])
        day[0] += entries
        day[1] += own
    return [(day, entries, own) for day, (entries, own) in sorted(days.items())]


def _actor(text: Optional[str]) -> Tuple[str, str]:
    found = label(text)
    return str(found), to_printable(found.kind)


def _subject(text: Optional[str]) -> str:
    return str(subject({"subject": decoded(text)}))


def identity(text: Optional[str]) -> Tuple[str, str]:
    """Who an actor is, whatever a token is called now, and however an e-mail address is written."""
    found: Entity = label(text)
    return found.kind, found.uuid or (found.name.casefold() if found.kind == "user" else found.name)


def networks_of(addresses: Sequence[Seen]) -> List[Count]:
    """The networks that addresses belong to, the most frequent first."""
    entries: Counter[str] = Counter()
    hosts: Counter[str] = Counter()
    for seen in addresses:
        name = network_of(seen.value)
        if name:
            entries[name] += seen.entries
            hosts[name] += 1
    ranked = sorted(entries.items(), key=lambda item: (-item[1], item[0]))
    return [Count(name, number, of=hosts[name]) for name, number in ranked]


def network_of(text: Optional[str]) -> str:
    """The network that an address belongs to: of 256 IPv4 addresses, or a site's IPv6 prefix."""
    try:
        address = ipaddress.ip_address(text or "")
    except ValueError:
        return to_printable(text)
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


def _first(seen: Seen) -> Tuple[float, str]:
    return (seen.first.timestamp() if seen.first else 0.0, seen.value or "")
