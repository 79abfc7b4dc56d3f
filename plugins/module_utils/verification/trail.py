# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes in a project during something else, such as a play, and their actors."""

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

# How far back the first read begins. No entry is lost if the clocks of this host and the API differ by less.
_LOOKBACK = timedelta(minutes=30)


@dataclass
class Changes:
    """Entries grouped by actor, in the API's order. Provider staff count as others, automated tasks as the system.

    Without ``has_own_actors``, all users and tokens count as others.
    """

    own: List[Entry] = field(default_factory=list)
    others: List[Entry] = field(default_factory=list)
    system: List[Entry] = field(default_factory=list)
    has_own_actors: bool = True

    @classmethod
    def group(cls, entries: Sequence[Entry], own_actors: Sequence[str]) -> Changes:
        changes = cls(has_own_actors=bool(own_actors))
        for entry in entries:
            if actor_matches(entry, own_actors):
                changes.own.append(entry)
            elif actor(entry).kind == "system":
                changes.system.append(entry)
            else:
                changes.others.append(entry)
        return changes

    def __len__(self) -> int:
        return len(self.own) + len(self.others) + len(self.system)

    def lines(self, zone: str = "UTC") -> List[str]:
        """The changes as text for a terminal: counts, then a table for each group, others first.

        Times are in ``zone``, a name such as Europe/Zurich.

        :raises InvalidInput: the time zone is unknown on this host.
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
            lines += ["", "Set own_actors to distinguish your own changes from those of others."]
        return lines

    def as_dict(self) -> Dict[str, Any]:
        groups = {"own": self.own, "others": self.others, "system": self.system}
        return {name: [to_builtin_entry(entry) for entry in entries] for name, entries in groups.items()}


class Trail:
    """Reads the changes of a project's log since the last read. ``project`` is the user's name for it.

    :raises InvalidInput: an option is not valid.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        clock: Callable[[], float] = time.monotonic,
        wait: Optional[Callable[[float], bool]] = None,
        project: str = "",
    ) -> None:
        self.project = project
        connection = Connection.from_mapping(options)
        # The trail accompanies other work, which must not wait long for it.
        limit = max(1.0, parse_number(options, "patience", 0))
        self._connection = replace(
            connection, timeout=min(connection.timeout, limit), retry_budget=min(connection.retry_budget, limit)
        )
        self._own_actors = parse_list(options.get("own_actors"), "own_actors")
        self.time_zone = str(options.get("time_zone") or "UTC")
        time_zone(self.time_zone, "time_zone")
        self._settle = parse_number(options, "settle", 0)
        self._clock = clock
        self._wait = wait or threading.Event().wait
        self.cursor: Optional[str] = None

    def begin(self, now: Optional[datetime] = None) -> None:
        """Save a cursor: ``changes`` returns the entries that become visible from now on.

        :raises AuditError: the log cannot be read.
        """
        self.cursor = None
        self._read(Range(start=(now or utc_now()) - _LOOKBACK))

    def settle(self) -> None:
        """Wait ``settle`` seconds, because entries can become visible late."""
        self._wait(self._settle)

    def changes(self) -> Changes:
        """The entries that became visible since the last read; moves the cursor after them.

        :raises AuditError: the log cannot be read.
        """
        return Changes.group(self._read(Range(cursor=self.cursor)), self._own_actors)

    def _read(self, time_range: Range) -> List[Entry]:
        with Api(self._connection, clock=self._clock, wait=self._wait) as api:
            reader = Reader(api)
            entries = [entry for page in reader.pages(time_range) for entry in page.entries]
            self.cursor = reader.poll_more
        return entries


def trails(options: Mapping[str, Any]) -> List[Trail]:
    """A trail for each project of ``token_files`` (``NAME=FILE``); without them, one for ``api_token``.

    :raises InvalidInput: an option is not valid.
    """
    texts = parse_list(options.get("token_files"), "token_files")
    if not texts:
        return [Trail(options)]
    token_files = [_split_token_file(text) for text in texts]
    names = [name for name, _path in token_files]
    if len(set(names)) < len(names):
        duplicate = max(names, key=names.count)
        raise InvalidInput(f"token_files: two projects are named {duplicate}; use each name only once.")
    return [Trail({**options, "api_token": read_token(path)}, project=name) for name, path in token_files]


def _split_token_file(text: str) -> Tuple[str, str]:
    name, _equals, path = (part.strip() for part in text.partition("="))
    if not name or not path:
        raise InvalidInput(f"token_files: {text!r} is not of the form NAME=FILE.")
    return name, path
