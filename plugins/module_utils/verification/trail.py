# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What changed in the cloud while something else went on, and who did it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..counts import pluralize
from ..errors import InvalidInput
from ..project_log.client import Api
from ..project_log.entry import Entry, actor, to_builtin_entry
from ..project_log.reader import Reader
from ..project_log.selection import actor_matches, parse_list
from ..project_log.table import table
from ..settings import Connection, Range, parse_number, read_token
from ..times import utc_now
from ..working_hours import time_zone

# How far back the first read begins. The clocks here and there may differ by so much, and no entry is lost.
_LOOKBACK = timedelta(minutes=30)


@dataclass
class Changes:
    """Entries by who made them, in the API's order. Staff of the provider are others, automated tasks the system.

    Without ``has_own_actors`` nobody said who is meant by own, and everybody is an other.
    """

    own: List[Entry] = field(default_factory=list)
    others: List[Entry] = field(default_factory=list)
    system: List[Entry] = field(default_factory=list)
    has_own_actors: bool = True

    @classmethod
    def group(cls, entries: Sequence[Entry], own_actors: Sequence[str]) -> Changes:
        found = cls(has_own_actors=bool(own_actors))
        for entry in entries:
            if actor_matches(entry, own_actors):
                found.own.append(entry)
            elif actor(entry).kind == "system":
                found.system.append(entry)
            else:
                found.others.append(entry)
        return found

    def __len__(self) -> int:
        return len(self.own) + len(self.others) + len(self.system)

    def lines(self, zone: str = "UTC") -> List[str]:
        """The changes for a terminal: how many by whom, then a table for each; what others did comes first.

        Times are in ``zone``, a name such as Europe/Zurich.

        :raises InvalidInput: this host does not know the time zone.
        """
        others = "by others" if self.has_own_actors else "by users and tokens"
        groups = [(others, self.others), ("by own actors", self.own), ("by the system", self.system)]
        rows = iter(table([*self.others, *self.own, *self.system], time_zone(zone, "time_zone"), show_utc=False))
        counts = ", ".join(f"{len(entries)} {who}" for who, entries in groups if entries)
        lines = [f"{pluralize(len(self), 'change', 'changes')}: {counts}. Times are in {zone}."]
        for who, entries in groups:
            if entries:
                lines += ["", f"{who[:1].upper()}{who[1:]}:", *(f"  {line}" for line in islice(rows, len(entries)))]
        if not self.has_own_actors and self.others:
            lines += ["", "Set own_actors to tell your own changes from those of others."]
        return lines

    def as_dict(self) -> Dict[str, Any]:
        groups = {"own": self.own, "others": self.others, "system": self.system}
        return {name: [to_builtin_entry(entry) for entry in entries] for name, entries in groups.items()}


class Trail:
    """Follows the log of a project from one moment to the next. ``project`` is what the user calls it.

    :raises InvalidInput: an option cannot be used.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        clock: Callable[[], float] = time.monotonic,
        wait: Optional[Callable[[float], bool]] = None,
        project: str = "",
    ) -> None:
        self.project = project
        given = Connection.from_mapping(options)
        # Nobody should have to wait for long for what only accompanies the work.
        longest = max(1.0, parse_number(options, "patience", 0))
        self._connection = replace(
            given, timeout=min(given.timeout, longest), retry_budget=min(given.retry_budget, longest)
        )
        self._own_actors = parse_list(options.get("own_actors"), "own_actors")
        self.time_zone = str(options.get("time_zone") or "UTC")
        time_zone(self.time_zone, "time_zone")
        self._settle = parse_number(options, "settle", 0)
        self._clock = clock
        self._wait = wait or threading.Event().wait
        self.cursor: Optional[str] = None

    def begin(self, now: Optional[datetime] = None) -> None:
        """Take a cursor: what becomes visible from now on is told.

        :raises AuditError: the log could not be read.
        """
        self.cursor = None
        moment = (now or utc_now()) - _LOOKBACK
        self._read(Range(start=moment))

    def settle(self) -> None:
        """Wait a little, because entries may become visible late."""
        self._wait(self._settle)

    def changes(self) -> Changes:
        """What became visible since the cursor was taken; the cursor moves on behind it.

        :raises AuditError: the log could not be read.
        """
        return Changes.group(self._read(Range(cursor=self.cursor)), self._own_actors)

    def _read(self, time_range: Range) -> List[Entry]:
        with Api(self._connection, clock=self._clock, wait=self._wait) as api:
            reader = Reader(api)
            entries = [entry for page in reader.pages(time_range) for entry in page.entries]
            self.cursor = reader.poll_more
        return entries


def trails(options: Mapping[str, Any]) -> List[Trail]:
    """One for each project of ``token_files``, texts such as ``NAME=FILE``; without them the one of ``api_token``.

    :raises InvalidInput: an option cannot be used.
    """
    given = parse_list(options.get("token_files"), "token_files")
    if not given:
        return [Trail(options)]
    found = [_named_file(text) for text in given]
    names = [name for name, _path in found]
    if len(set(names)) < len(names):
        raise InvalidInput(
            f"token_files: two projects are called {max(names, key=names.count)}; give each its own name."
        )
    return [Trail({**options, "api_token": read_token(path)}, project=name) for name, path in found]


def _named_file(text: str) -> Tuple[str, str]:
    name, _equals, path = (part.strip() for part in text.partition("="))
    if not name or not path:
        raise InvalidInput(f"token_files: {text!r} is not of the form NAME=FILE.")
    return name, path
