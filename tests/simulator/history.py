# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Believable pasts: weeks of a team's work with its automation, and bulk by the hundred thousand."""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta, timezone
from typing import Dict, Iterator, List, Optional, Tuple

from .log import Entry, encode, write_time

_PEOPLE = (
    ("johanna@example.com", ("192.0.2.14", "2001:db8:10::14"), 5),
    ("marco@example.com", ("192.0.2.27", "2001:db8:10::27"), 4),
    ("nina@example.com", ("192.0.2.31",), 3),
    ("peter@example.org", ("198.51.100.61", "2001:db8:20::61"), 2),
    ("sophie@example.org", ("203.0.113.90",), 1),
)
_TOKENS = (
    ("deployment", "203.0.113.7"),
    ("backup", "203.0.113.8"),
    ("autoscaler", "2001:db8:30::7"),
    (None, "203.0.113.9"),
)
_ROLES = ("web", "db", "app", "cache", "mail", "build", "proxy", "queue")
_FLAVORS = ("flex-4-1", "flex-4-2", "flex-8-2", "flex-8-4", "flex-16-4", "plus-12-4")
_BULK_CHANGES = (
    ("server_create", "Server", "created"),
    ("server_stop", "Server", "shut down"),
    ("server_delete", "Server", "deleted"),
    ("volume_create", "Volume", "created"),
)
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)

_Actor = Tuple[Entry, Optional[str]]


def history(
    weeks: float = 6, until: Optional[datetime] = None, seed: int = 1, subject: Optional[Entry] = None
) -> List[Entry]:
    """Several weeks of a project, in the order in which the entries became visible, up to ``until`` (default: now).

    The same arguments give the same entries. Work happens in working hours, with some nights and weekends; a few
    entries overtake others by milliseconds. ``subject`` is theirs; without one the log that takes them gives its own.
    """
    end = datetime.now(timezone.utc) if until is None else until.astimezone(timezone.utc)
    begin = end - timedelta(weeks=weeks)
    past = _Past(random.Random(seed), subject)
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    while midnight < end:
        past.live_through(midnight)
        midnight += _DAY
    lived = sorted(past.entries, key=lambda pair: pair[0])
    return [entry for visible, entry in lived if begin <= visible < end]


def bulk(count: int, start: datetime, end: datetime, seed: int = 1, subject: Optional[Entry] = None) -> Iterator[bytes]:
    """Many small entries spread evenly from ``start`` (inclusive) to ``end``, as JSON texts; cheap and repeatable."""
    chance = random.Random(seed)
    owner = encode(subject or {"project": {"uuid": _uuid(chance), "name": "bulk"}}).decode().replace("%", "%%")
    templates = [
        f'{{"timestamp":"%s","action":"{action}","message":"{label} \'{role}-%d\' has been {done}",'
        f'"ip_address":"192.0.2.%d","actor":{{"user":{{"email":"{email}"}}}},"subject":{owner}}}'
        for email, _addresses, _weight in _PEOPLE
        for role in _ROLES
        for action, label, done in _BULK_CHANGES
    ]
    chance.shuffle(templates)
    first, step = start.astimezone(timezone.utc).replace(tzinfo=None), (end - start) / max(count, 1)
    for number in range(count):
        moment = (first + step * number).isoformat() + "Z"
        yield (templates[number * 7919 % len(templates)] % (moment, number, number % 250 + 1)).encode()


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


class _Past:
    """A project's past as it is made up: what stands at the moment, and the entries with when they became visible."""

    def __init__(self, chance: random.Random, subject: Optional[Entry]) -> None:
        self._chance = chance
        self._subject = {} if subject is None else {"subject": subject}
        self._tokens = [
            ({"api_token": {"uuid": _uuid(chance), "description": description}}, address)
            for description, address in _TOKENS
        ]
        self._servers: Dict[str, str] = {}
        self._volumes: Dict[str, int] = {}
        self._number = 0
        self.entries: List[Tuple[datetime, Entry]] = []

    def live_through(self, midnight: datetime) -> None:
        """One day: the provider and the backup by night, people at work, automation around the clock."""
        chance = self._chance
        if chance.random() < 0.15:
            self._provider(midnight + _HOUR * chance.random())
        self._backup(midnight + _HOUR)
        changes = chance.randint(0, 2) if midnight.weekday() >= 5 else chance.randint(8, 25)
        moments = [(midnight + self._office_hour(), False) for _change in range(changes)]
        moments += [(midnight + _HOUR * chance.uniform(2, 24), True) for _change in range(chance.randint(6, 14))]
        if chance.random() < 0.2:
            moments.append((midnight + _HOUR * chance.uniform(21, 24), False))
        for moment, automated in sorted(moments):
            self._work(moment, chance.choice(self._tokens) if automated else self._person())

    def _office_hour(self) -> timedelta:
        return _HOUR * min(max(self._chance.gauss(11.5, 2.8), 5.5), 19.5)

    def _person(self) -> _Actor:
        email, addresses, _weight = self._chance.choices(_PEOPLE, [weight for _e, _a, weight in _PEOPLE])[0]
        return {"user": {"email": email}}, self._chance.choice(addresses)

    def _work(self, moment: datetime, actor: _Actor) -> None:
        if self._chance.random() < 0.3 or len(self._servers) < 3:
            self._build(moment, actor)
        elif self._chance.random() < 0.2:
            self._tear_down(moment, actor)
        else:
            self._operate(moment, actor)

    def _build(self, moment: datetime, actor: _Actor) -> None:
        self._number += 1
        name = f"{self._chance.choice(_ROLES)}-{self._number:02d}"
        self._servers[name] = self._chance.choice(_FLAVORS)
        self._write(moment, actor, "server_create", f"Server '{name}' has been created")
        if self._chance.random() < 0.35:
            volume = f"{name}-data"
            self._volumes[volume] = 50
            attached = f"Volume '{volume}' has been attached to server '{name}'"
            moment = self._later(moment)
            self._write(moment, actor, "volume_create", f"Volume '{volume}' has been created")
            self._write(self._later(moment), actor, "server_volume_attach", attached)

    def _tear_down(self, moment: datetime, actor: _Actor) -> None:
        if self._volumes and self._chance.random() < 0.6:
            name = self._chance.choice(sorted(self._volumes))
            del self._volumes[name]
            self._write(moment, actor, "volume_delete", f"Volume '{name}' has been deleted")
            return
        name = self._chance.choice(sorted(self._servers))
        del self._servers[name]
        self._write(moment, actor, "server_stop", f"Server '{name}' has been shut down")
        self._write(self._later(moment), actor, "server_delete", f"Server '{name}' has been deleted")

    def _operate(self, moment: datetime, actor: _Actor) -> None:
        name = self._chance.choice(sorted(self._servers))
        choice = self._chance.random()
        if choice < 0.4:
            self._write(moment, actor, "server_reboot", f"Server '{name}' has been rebooted")
        elif choice < 0.6:
            self._update(moment, actor, name)
        elif choice < 0.8 and self._volumes:
            volume = self._chance.choice(sorted(self._volumes))
            size, self._volumes[volume] = self._volumes[volume], self._volumes[volume] + 50
            text = f"Volume '{volume}' has been scaled from {size} GB to {size + 50} GB"
            self._write(moment, actor, "volume_scale", text)
        else:
            self._scale(moment, actor, name)

    def _update(self, moment: datetime, actor: _Actor, name: str) -> None:
        overtaken = self._chance.random() < 0.25
        self._write(moment, actor, "server_update", f"Server '{name}' has been updated", delay=9 if overtaken else 0)
        if overtaken:
            other = self._chance.choice(sorted(self._servers))
            moment += timedelta(milliseconds=self._chance.randint(1, 7))
            self._write(moment, self._tokens[0], "server_update", f"Server '{other}' has been updated")

    def _scale(self, moment: datetime, actor: _Actor, name: str) -> None:
        flavor, self._servers[name] = self._servers[name], self._chance.choice(_FLAVORS)
        text = f"Server '{name}' has been scaled from {flavor} to {self._servers[name]}"
        for action, message in (
            ("server_stop", f"Server '{name}' has been shut down"),
            ("server_scale", text),
            ("server_start", f"Server '{name}' has been started"),
        ):
            self._write(moment, actor, action, message)
            moment = self._later(moment)

    def _later(self, moment: datetime) -> datetime:
        return moment + timedelta(seconds=self._chance.uniform(4, 60))

    def _backup(self, moment: datetime) -> None:
        for position, volume in enumerate(sorted(self._volumes)[:3]):
            text = f"Volume snapshot '{volume}-{moment:%Y%m%d}' has been created"
            self._write(moment + timedelta(seconds=7.3 * position), self._tokens[1], "volume_snapshot_create", text)

    def _provider(self, moment: datetime) -> None:
        if self._servers and self._chance.random() < 0.7:
            name = self._chance.choice(sorted(self._servers))
            self._write(moment, ({"system": {}}, None), "server_migrate", f"Server '{name}' has been migrated")
        else:
            self._write(
                moment, ({"admin": {}}, None), "project_quota_update", "The quota of the project has been raised"
            )

    def _write(self, moment: datetime, actor: _Actor, action: str, message: str, delay: int = 0) -> None:
        """``delay``: milliseconds until the entry becomes visible."""
        who, address = actor
        entry: Entry = {
            "timestamp": write_time(moment),
            "action": action,
            "message": message,
            "ip_address": address,
            "actor": who,
            **self._subject,
        }
        self.entries.append((moment + timedelta(milliseconds=delay), entry))
