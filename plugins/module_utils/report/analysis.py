# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Queries of a report: counts, comparisons and new values, as ReportData."""

from __future__ import annotations

import ipaddress
from collections import Counter
from datetime import datetime
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ..project_log.entry import Entity, to_printable
from ..project_log.resource import resource
from ..project_log.selection import actor_matches
from ..settings import Range
from .alerts import Alerts
from .coverage import Period, coverage_of, missing_of
from .entry_rows import EntryRows
from .query.dataset import DistinctValue, EntryTable, Slot, decoded, kind_of, label
from .query.sources import Origin
from .report_data import Figure, FirstSeen, Heading, MissingPart, ReportData, ValueCount, rank

MAX_MESSAGES = 100_000
"""Maximum number of distinct messages in which resources are counted; the most frequent ones."""


class Analysis:
    """Queries a table of entries for a report. ``own_actors`` are globs of the site's own automation."""

    def __init__(self, table: EntryTable, rows: EntryRows, own_actors: Sequence[str] = ()) -> None:
        self.table = table
        self.rows = rows
        self.actors = table.values("actor")
        self.addresses = table.values("ip_address")
        self._own_actors = own_actors
        self.own = [seen.value for seen in self.actors if self.is_own(seen.value)]

    def is_own(self, actor: Optional[str]) -> bool:
        return bool(self._own_actors) and actor_matches({"actor": decoded(actor)}, self._own_actors)

    def report_data(
        self,
        heading: Heading,
        origins: Sequence[Origin],
        time_range: Range,
        now: datetime,
        alerts: Alerts,
        preceding: Optional[Period] = None,
    ) -> ReportData:
        """Run all queries. The part of the range after ``now`` is reported as missing."""
        first, last = self.table.extent()
        slots = self.table.slots(self.own)
        own = set(self.own)
        messages = self.table.messages(MAX_MESSAGES)
        entries = sum(seen.entries for seen in self.actors)
        axis = (time_range.start or first or now, time_range.end or max(now, last or now))
        return ReportData(
            heading=heading,
            by_project=self._projects(origins),
            entries=entries,
            first=self.rows.in_words(first),
            last=self.rows.in_words(last),
            extent=(self.rows.iso(first), self.rows.iso(last)),
            preceding=preceding,
            figures=self._figures(preceding),
            alerts=alerts,
            actors=_actors(seen for seen in self.actors if seen.value not in own),
            own=_actors(seen for seen in self.actors if seen.value in own),
            actions=[ValueCount(to_printable(seen.value), seen.entries) for seen in self.table.values("action")],
            networks=networks_of(self.addresses),
            resources=_resources(messages),
            are_resources_partial=sum(found["entries"] for found in messages) < entries,
            slots=[(self.rows.minute(slot.start), slot.entries, slot.own) for slot in slots],
            axis=(self.rows.minute(axis[0]), self.rows.minute(axis[1])),
            missing_parts=self._missing_parts(origins, time_range, now, axis),
            heat=self._heat(slots),
            own_is_known=bool(self._own_actors),
            has_baseline=self.table.known("actor") is not None,
            firsts=self._firsts(),
            coverage=coverage_of(origins, time_range, now, self.rows.in_words),
        )

    def _projects(self, origins: Sequence[Origin]) -> List[ValueCount]:
        """All projects, including those without entries, most active first."""
        entries = {origin.project: 0 for origin in origins if origin.project}
        for seen in self.table.values("project"):
            if seen.value:
                entries[seen.value] = seen.entries
        return sorted((ValueCount(name, number) for name, number in entries.items()), key=rank)

    def _figures(self, preceding: Optional[Period]) -> List[Figure]:
        now = self._totals([(seen.value, seen.entries) for seen in self.actors], self.addresses)
        before: Dict[str, int] = {}
        if preceding is not None and preceding.is_complete and self.table.preceding is not None:
            groups = self.table.groups(self.table.preceding, "actor")
            actors = [(group.values["actor"], group.entries) for group in groups]
            addresses = [
                DistinctValue(group.values["ip_address"], group.entries, None, None)
                for group in self.table.groups(self.table.preceding, "ip_address")
            ]
            before = self._totals(actors, addresses)
        return [Figure(name, value, before.get(name)) for name, value in now.items()]

    def _totals(
        self, actors: Sequence[Tuple[Optional[str], int]], addresses: Sequence[DistinctValue]
    ) -> Dict[str, int]:
        """Number of entries, in total and by kind of actor, and of distinct actors and networks."""
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

    def _missing_parts(
        self, origins: Sequence[Origin], time_range: Range, now: datetime, axis: Tuple[datetime, datetime]
    ) -> List[MissingPart]:
        """The missing parts of each project, without duplicates."""
        missing_parts = [
            MissingPart(
                self.rows.minute(max(start, axis[0])),
                self.rows.minute(min(end or axis[1], axis[1])),
                why,
                origin.project,
            )
            for origin in origins
            for start, end, why in missing_of(origin, origins, time_range, now)
        ]
        return list(dict.fromkeys(part for part in missing_parts if part.start < part.end))

    def _firsts(self) -> Dict[str, List[FirstSeen]]:
        known = {identity(value) for value in self.table.known("actor") or ()}
        new = [seen for seen in self.actors if identity(seen.value) not in known]
        tokens = [seen for seen in new if kind_of(seen.value) == "api_token"]
        others = [seen for seen in new if kind_of(seen.value) != "api_token"]
        return {
            "actors": self._first_seen_of(others, "actor"),
            "tokens": self._first_seen_of(tokens, "actor"),
            "networks": self._first_seen_of(self._new_networks(), "network"),
        }

    def _new_networks(self) -> List[DistinctValue]:
        known = {network_of(value) for value in self.table.known("ip_address") or ()}
        earliest: Dict[str, DistinctValue] = {}
        for seen in sorted(self.addresses, key=_first):
            name = network_of(seen.value)
            if name and name not in known:
                earliest.setdefault(name, seen._replace(value=name))
        return list(earliest.values())

    def _first_seen_of(self, found: Iterable[DistinctValue], key: str) -> List[FirstSeen]:
        firsts = []
        for seen in sorted(found, key=_first, reverse=True):
            name = to_printable(seen.value) if key == "network" else str(label(seen.value))
            value = name if key == "network" else f"{kind_of(seen.value)}:{name}"
            # Without a readable time the first actor is unknown.
            by = "" if seen.by is None else str(label(seen.by))
            firsts.append(FirstSeen(self.rows.in_words(seen.first), name, by, key, value))
        return firsts

    def _heat(self, slots: Sequence[Slot]) -> List[List[int]]:
        """Counts by weekday (Monday first) and hour."""
        heat = [[0] * 24 for _day in range(7)]
        for slot in slots:
            local = self.rows.local(slot.start)
            heat[local.weekday()][local.hour] += slot.entries
        return heat


_GROUPS = {"user": "people", "api_token": "tokens", "admin": "staff", "system": "system"}


def _actors(found: Iterable[DistinctValue]) -> List[ValueCount]:
    """Names with their kinds. Actors with the same name and kind are counted together."""
    entries: Counter[Tuple[str, str]] = Counter()
    for seen in found:
        entries[str(label(seen.value)), kind_of(seen.value)] += seen.entries
    return sorted((ValueCount(name, number, kind) for (name, kind), number in entries.items()), key=rank)


def _resources(messages: Iterable[Mapping[str, Any]]) -> List[ValueCount]:
    """The resources that messages are about, by project."""
    entries: Counter[Tuple[str, str, str]] = Counter()
    for found in messages:
        about = resource({"message": found["message"]})
        if about is not None:
            entries[about.kind, to_printable(about.name), found["project"]] += found["entries"]
    counts = (ValueCount(name, number, kind, project=project) for (kind, name, project), number in entries.items())
    return sorted(counts, key=rank)


def identity(text: Optional[str]) -> Tuple[str, str]:
    """Identity of an actor: the uuid of a token, whatever its name; an e-mail address, whatever its case."""
    found: Entity = label(text)
    return found.kind, found.uuid or (found.name.casefold() if found.kind == "user" else found.name)


def networks_of(addresses: Sequence[DistinctValue]) -> List[ValueCount]:
    """The networks of addresses, most frequent first."""
    entries: Counter[str] = Counter()
    hosts: Counter[str] = Counter()
    for seen in addresses:
        name = network_of(seen.value)
        if name:
            entries[name] += seen.entries
            hosts[name] += 1
    ranked = sorted(entries.items(), key=lambda item: (-item[1], item[0]))
    return [ValueCount(name, number, of=hosts[name]) for name, number in ranked]


def network_of(text: Optional[str]) -> str:
    """The network of an address: /24 of IPv4, /48 of IPv6."""
    try:
        address = ipaddress.ip_address(text or "")
    except ValueError:
        return to_printable(text)
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


def _first(seen: DistinctValue) -> Tuple[float, str]:
    return (seen.first.timestamp() if seen.first else 0.0, seen.value or "")
