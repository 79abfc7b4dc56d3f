# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counts over a stream of entries: by action, actor and address, with the first and last timestamp."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Callable, Dict, Optional
from typing import Counter as CounterOf

from ..times import format_optional
from .entry import Entity, Entry, actor, timestamp, to_printable


class Summary:
    """Counts entries one at a time; its size depends only on the number of different names."""

    def __init__(self) -> None:
        self.entries = 0
        self._first: Optional[datetime] = None
        self._last: Optional[datetime] = None
        self._actions: CounterOf[str] = Counter()
        self._actors: CounterOf[Entity] = Counter()
        self._addresses: CounterOf[str] = Counter()

    def add(self, entry: Entry) -> None:
        self.count(entry, timestamp(entry))

    def count(self, entry: Entry, moment: Optional[datetime]) -> None:
        """Add an entry with its parsed timestamp; parsing it takes longer than counting."""
        self.entries += 1
        self._actions[_text(entry.get("action"))] += 1
        self._actors[actor(entry)] += 1
        self._addresses[_text(entry.get("ip_address"))] += 1
        if moment is not None:
            if self._first is None or moment < self._first:
                self._first = moment
            if self._last is None or moment > self._last:
                self._last = moment

    def as_dict(self) -> Dict[str, Any]:
        """The counts as built-in types, most frequent name first; times as the API writes them, or None."""
        return {
            "entries": self.entries,
            "first": format_optional(self._first),
            "last": format_optional(self._last),
            "actions": _ranked(self._actions, to_printable),
            "actors": _ranked(self._actors, str),
            "ip_addresses": _ranked(self._addresses, lambda address: to_printable(address) or "none"),
        }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_printable(value)


def _ranked(counts: CounterOf[Any], name: Callable[[Any], str]) -> Dict[str, int]:
    """The counts by name, most frequent first. Names are made here, once for each value instead of for each entry."""
    by_name: CounterOf[str] = Counter()
    for value, count in counts.items():
        by_name[name(value)] += count
    return dict(sorted(by_name.items(), key=lambda item: (-item[1], item[0])))
