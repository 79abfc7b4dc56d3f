# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report tells: counts, what is unusual, and how complete it is; computed once, for every form of it."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ..project_log.entry import Label, subject, visible
from ..project_log.selection import action_matches
from ..settings import Range
from ..working_hours import WorkingHours
from .query.dataset import Log, Record, Seen, Slot, decoded, kind_of, label
from .query.sources import Origin

SENSITIVE = ("*_delete", "*_revoke", "*_detach", "*token*", "*key*", "objects_user*", "*member*", "*permission*")
"""Actions that destroy something or give somebody access."""

MOST_ROWS = 100_000
"""So many entries a page takes; the newest ones."""

_SHOWN = 200
_A_MINUTE = timedelta(minutes=1)
"""Times are shown to the minute: less than that is not told as missing."""
_MINUTE = "%Y-%m-%d %H:%M"
_SECOND = "%Y-%m-%d %H:%M:%S"


class Count(NamedTuple):
    """One line of a ranking. ``kind`` is that of an actor, ``of`` how many addresses a network was seen with."""

    name: str
    entries: int
    kind: str = ""
    of: int = 0


class First(NamedTuple):
    """What was not seen before: when, what, and by whom."""

    time: str
    name: str
    by: str


class Highlight(NamedTuple):
    """Entries that deserve a look: how many there are, and the newest of them."""

    total: int
    rows: List[Dict[str, str]]


class Coverage(NamedTuple):
    """One source as told to people; times are local. ``missing`` are spans of the asked range that nothing covers."""

    origin: Origin
    covered_from: str
    covered_until: str
    missing: List[Tuple[str, str, str]]


Missing = Tuple[datetime, Optional[datetime], str]
"""From when to when something is missing, and why; None is the present."""


@dataclass(frozen=True)
class Heading:
    """What the report is about, in words. ``made`` is when it was made, empty where that changes nothing."""

    title: str
    asked: str
    made: str
    zone: str
    language: str


@dataclass(frozen=True)
class Facts:
    """All that a report tells. ``firsts`` go by what is new (actors, tokens, networks), ``findings`` by their name.

    ``slots`` are quarters of an hour as minutes of a wall clock's epoch, with all and with sensitive entries; ``heat``
    counts by weekday (Monday first) and hour. ``sensitive`` names the actions that were found to be so. ``extent`` is
    the first and the last time with their offset, for programs.
    """

    heading: Heading
    projects: List[str]
    entries: int
    first: str
    last: str
    extent: Tuple[str, str]
    actors: List[Count]
    actions: List[Count]
    networks: List[Count]
    addresses: int
    slots: List[Tuple[int, int, int]]
    heat: List[List[int]]
    has_baseline: bool
    firsts: Dict[str, List[First]]
    findings: Dict[str, Highlight]
    coverage: List[Coverage]
    hours: WorkingHours
    sensitive: FrozenSet[str]

    @property
    def is_complete(self) -> bool:
        return not any(source.missing for source in self.coverage)

    @property
    def summary(self) -> Dict[str, Any]:
        """The figures for programs."""
        return {
            "entries": self.entries,
            "first": self.extent[0],
            "last": self.extent[1],
            "actors": {count.name: count.entries for count in self.actors},
            "actions": {count.name: count.entries for count in self.actions},
            "networks": {count.name: count.entries for count in self.networks},
            "first_seen": self._first_seen,
            **{name: finding.total for name, finding in self.findings.items()},
            "complete": self.is_complete,
        }

    @property
    def _first_seen(self) -> Dict[str, List[str]]:
        """Names of what is new; empty where no baseline could tell."""
        if not self.has_baseline:
            return {}
        return {name: [first.name for first in found] for name, found in self.firsts.items()}


class Rows:
    """Entries as rows of text in the display's time zone; every text is safe to show on one line."""

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone
        self._actor: Callable[[Optional[str]], Tuple[str, str]] = lru_cache(maxsize=10_000)(_actor)
        self._subject: Callable[[Optional[str]], str] = lru_cache(maxsize=10_000)(_subject)

    def row(self, record: Record) -> Dict[str, str]:
        moment = record["moment"]
        name, kind = self._actor(record["actor"])
        return {
            "time": visible(record["timestamp"]) if moment is None else self.local(moment).strftime(_SECOND),
            "actor": name,
            "actor_kind": kind,
            "action": visible(record["action"]),
            "message": visible(record["message"]),
            "ip_address": visible(record["ip_address"]),
            "subject": self._subject(record["subject"]),
            "project": record["project"],
        }

    def local(self, moment: datetime) -> datetime:
        """An engine's naive time in UTC, or an aware one, in the display's zone."""
        known = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        return known.astimezone(self.zone)

    def at(self, moment: Optional[datetime], form: str = _SECOND) -> str:
        return "" if moment is None else self.local(moment).strftime(form)

    def iso(self, moment: Optional[datetime]) -> str:
        """The local time with its offset, for programs; empty for None."""
        return "" if moment is None else self.local(moment).isoformat(timespec="seconds")


class Inquiry:
    """Puts the questions of a report to a log. ``sensitive`` are globs of actions."""

    def __init__(self, log: Log, rows: Rows, hours: WorkingHours, sensitive: Sequence[str]) -> None:
        self.log = log
        self.hours = hours
        self.rows = rows
        self.actors = log.seen("actor")
        self.actions = log.seen("action")
        self.addresses = log.seen("ip_address")
        names = [seen.value for seen in self.actions if seen.value is not None]
        self.sensitive = [name for name in names if action_matches({"action": name}, sensitive)]

    def facts(self, heading: Heading, origins: Sequence[Origin], asked: Range, now: datetime) -> Facts:
        """All answers. ``now`` is the moment of asking: what lies after it is missing."""
        first, last = self.log.extent()
        slots = self.log.slots(self.sensitive)
        return Facts(
            heading=heading,
            projects=sorted({origin.project for origin in origins if origin.project}),
            entries=sum(seen.entries for seen in self.actors),
            first=self.rows.at(first),
            last=self.rows.at(last),
            extent=(self.rows.iso(first), self.rows.iso(last)),
            actors=[Count(str(label(seen.value)), seen.entries, kind_of(seen.value)) for seen in self.actors],
            actions=[Count(visible(seen.value), seen.entries) for seen in self.actions],
            networks=networks_of(self.addresses),
            addresses=sum(1 for seen in self.addresses if seen.value),
            slots=[(self._wall(slot.start), slot.entries, slot.sensitive) for slot in slots],
            heat=self._heat(slots),
            has_baseline=self.log.known("actor") is not None,
            firsts=self._firsts(),
            findings=self._findings(),
            coverage=coverage_of(origins, asked, now, self.rows),
            hours=self.hours,
            sensitive=frozenset(self.sensitive),
        )

    def _findings(self) -> Dict[str, Highlight]:
        log = self.log
        people = self._of_kind("user", "unknown")
        tables = {
            "sensitive": log.with_actions(self.sensitive),
            "outside_hours": log.outside(self.hours, people),
            "staff": log.by_actors(self._of_kind("admin")),
            "system": log.by_actors(self._of_kind("system")),
        }
        found = {}
        for name, table in tables.items():
            total, records = log.newest(table, _SHOWN)
            found[name] = Highlight(total, [self.rows.row(record) for record in records])
        return found

    def _of_kind(self, *kinds: str) -> List[Optional[str]]:
        return [seen.value for seen in self.actors if kind_of(seen.value) in kinds]

    def _firsts(self) -> Dict[str, List[First]]:
        known = {identity(value) for value in self.log.known("actor") or ()}
        new = [seen for seen in self.actors if identity(seen.value) not in known]
        tokens = [seen for seen in new if kind_of(seen.value) == "api_token"]
        others = [seen for seen in new if kind_of(seen.value) != "api_token"]
        return {
            "actors": self._told(others, lambda seen: str(label(seen.value))),
            "tokens": self._told(tokens, lambda seen: str(label(seen.value))),
            "networks": self._told(self._new_networks(), lambda seen: visible(seen.value)),
        }

    def _new_networks(self) -> List[Seen]:
        known = {_network(value) for value in self.log.known("ip_address") or ()}
        earliest: Dict[str, Seen] = {}
        for seen in sorted(self.addresses, key=_first):
            name = _network(seen.value)
            if name and name not in known:
                earliest.setdefault(name, seen._replace(value=name))
        return list(earliest.values())

    def _told(self, found: Iterable[Seen], name: Callable[[Seen], str]) -> List[First]:
        ordered = sorted(found, key=_first, reverse=True)
        return [First(self.rows.at(seen.first), name(seen), str(label(seen.by))) for seen in ordered]

    def _heat(self, slots: Sequence[Slot]) -> List[List[int]]:
        """Counts by weekday (Monday first) and hour."""
        heat = [[0] * 24 for _day in range(7)]
        for slot in slots:
            local = self.rows.local(slot.start)
            heat[local.weekday()][local.hour] += slot.entries
        return heat

    def _wall(self, moment: datetime) -> int:
        """What the clock on the wall showed, as minutes of an epoch without time zones."""
        return int(self.rows.local(moment).replace(tzinfo=timezone.utc).timestamp()) // 60


def coverage_of(origins: Sequence[Origin], asked: Range, now: datetime, rows: Rows) -> List[Coverage]:
    """Each source, with what it misses of a range, in local times."""
    found = []
    for origin in origins:
        missing = [
            (rows.at(start, _MINUTE), rows.at(end, _MINUTE), why)
            for start, end, why in missing_of(origin, origins, asked, now)
        ]
        found.append(Coverage(origin, rows.at(origin.covered_from), rows.at(origin.covered_until), missing))
    return found


def local_days(slots: Sequence[Tuple[int, int, int]]) -> List[Tuple[str, int, int]]:
    """Counts by local day, for those who read numbers rather than a chart."""
    days: Dict[str, List[int]] = {}
    epoch = datetime(1970, 1, 1)
    for minute, entries, sensitive in slots:
        day = days.setdefault((epoch + timedelta(minutes=minute)).strftime("%Y-%m-%d"), [0, 0])
        day[0] += entries
        day[1] += sensitive
    return [(day, entries, sensitive) for day, (entries, sensitive) in sorted(days.items())]


def missing_of(origin: Origin, origins: Sequence[Origin], asked: Range, now: datetime) -> List[Missing]:
    """What a source misses of the asked range, as far as the API does not have it in an archive's place.

    ``now`` is the moment of asking; nobody has what lies after it. Where a project has an archive, that one tells it.
    """
    is_told_by_archive = origin.archive is None and any(
        other.archive and other.project == origin.project for other in origins
    )
    found: List[Missing] = []
    if asked.start is None or asked.start <= now:
        if asked.end is None or asked.end - now <= _A_MINUTE:
            return _missing_until_now(origin, origins, asked)
        found = _missing_until_now(origin, origins, asked.within(end=now))
    return found if is_told_by_archive else [*found, (_latest(asked.start, now), asked.end, "future")]


def _missing_until_now(origin: Origin, origins: Sequence[Origin], asked: Range) -> List[Missing]:
    """The same of a range that has passed.

    The provider deletes all the time: what it has no more is told to the end of that day, so that the same entries give
    the same report.
    """
    of_project = [other for other in origins if other.project == origin.project]
    at_api = _earliest(*(other.covered_from for other in of_project if other.archive is None))
    day = None if at_api is None else _end_of_day(at_api)
    if origin.archive is None:
        # Where there is an archive, that one tells what is missing.
        if at_api is None or asked.start is None or any(other.archive for other in of_project):
            return []
        is_lost = at_api - asked.start > _A_MINUTE
        return [(asked.start, _earliest(day, asked.end), "retention")] if is_lost else []
    found: List[Missing] = list(origin.gaps)
    begins, ends = _earliest(origin.covered_from, at_api), origin.covered_until
    if asked.start and begins and asked.start < begins:
        found.insert(0, (asked.start, _earliest(origin.covered_from, day, asked.end), "before"))
    goes_on = _earliest(at_api, asked.end)
    if ends and (goes_on is None or ends < goes_on):
        found.append((ends, _earliest(day, asked.end), "after"))
    return found


def _end_of_day(moment: datetime) -> datetime:
    """The next midnight of UTC."""
    return datetime.combine(moment.date() + timedelta(days=1), time(), timezone.utc)


def _latest(start: Optional[datetime], now: datetime) -> datetime:
    return now if start is None else max(start, now)


def _earliest(*moments: Optional[datetime]) -> Optional[datetime]:
    """None stands for never."""
    return min((moment for moment in moments if moment is not None), default=None)


def _actor(text: Optional[str]) -> Tuple[str, str]:
    found = label(text)
    return str(found), visible(found.kind)


def _subject(text: Optional[str]) -> str:
    return str(subject({"subject": decoded(text)}))


def identity(text: Optional[str]) -> Tuple[str, str]:
    """Who an actor is, whatever a token is called now, and however an e-mail address is written."""
    found: Label = label(text)
    return found.kind, found.uuid or (found.name.casefold() if found.kind == "user" else found.name)


def networks_of(addresses: Sequence[Seen]) -> List[Count]:
    """The networks that addresses belong to, the most frequent first."""
    entries: Counter[str] = Counter()
    hosts: Counter[str] = Counter()
    for seen in addresses:
        name = _network(seen.value)
        if name:
            entries[name] += seen.entries
            hosts[name] += 1
    ranked = sorted(entries.items(), key=lambda item: (-item[1], item[0]))
    return [Count(name, number, of=hosts[name]) for name, number in ranked]


def _network(text: Optional[str]) -> str:
    """The network that an address belongs to: of 256 IPv4 addresses, or a site's IPv6 prefix."""
    try:
        address = ipaddress.ip_address(text or "")
    except ValueError:
        return visible(text)
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


def _first(seen: Seen) -> Tuple[float, str]:
    return (seen.first.timestamp() if seen.first else 0.0, seen.value or "")
