# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Questions to many entries at once, as Ibis expressions over an explicit schema: they run on any engine.

What an actor or an action is called is decided by the core in Python, on the few different ones that there are.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from functools import reduce
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ...archive.storage.store import ObjectNotFound
from ...errors import StorageError
from ...project_log.entry import ACTOR_KINDS, Entity, actor
from ...project_log.selection import (
    Selection,
    action_matches,
    actor_matches,
    address_matches,
    resource_matches,
)
from ...settings import Range
from ...times import YEARS
from .engine import COLUMNS, PATH, Engine, Unreadable
from .sources import Part, Sources

Record = Dict[str, Any]
"""An entry from an engine: COLUMNS as texts, ``project``, and ``moment`` in UTC (naive; None if unreadable).

``archive`` is the number of its archive and ``sequence`` that of the commit that named its data file; None for an entry
from the API.
"""

SLOT = 15
"""Minutes in the smallest span of time that is counted; every time zone differs from UTC by a multiple of it."""

_ATTEMPTS = 3
_DATA_FILE = r"/(\d{12})-[0-9a-f]{12}\.jsonl(?:\.gz)?$"
_TIME = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)? ?([Zz]|[+-]\d\d(:?\d\d)?)$"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Seen(NamedTuple):
    """One of the values of a column: how often, and when and by whom first (an actor's JSON)."""

    value: Optional[str]
    entries: int
    first: Optional[datetime]
    by: Optional[str]


class Group(NamedTuple):
    """Entries with the same values in some columns: how many, and the first and the last readable time among them."""

    values: Dict[str, Optional[str]]
    entries: int
    first: Optional[datetime]
    last: Optional[datetime]


class Slot(NamedTuple):
    """How many entries, and how many own ones among them, in the quarter of an hour that begins at ``start``."""

    start: datetime
    entries: int
    own: int


class Log:
    """The selected entries of some sources, loaded into an engine once and then asked.

    ``table`` has the entries of the asked range and selection, ``before`` all entries of the time ``baseline`` before
    that range (None without a beginning), and ``preceding`` the selected ones of a period before it, if there is one.
    """

    def __init__(
        self,
        engine: Engine,
        sources: Sources,
        selection: Selection,
        baseline: timedelta = timedelta(0),
        preceding: Optional[Range] = None,
    ) -> None:
        import ibis

        self._ibis: Any = ibis
        self._engine = engine
        self._extent: Optional[Tuple[Optional[datetime], Optional[datetime]]] = None
        everything = self._load(sources)
        chosen = self._select(everything, selection)
        start = sources.asked.start
        self.before = None if start is None else _between(everything, Range(start - baseline, start))
        self.preceding = None if preceding is None else _between(chosen, preceding)
        self.table = (
            chosen if start is None else chosen.filter(chosen.moment.isnull() | (chosen.moment >= _naive(start)))
        )
        if selection.limit is not None:
            self.table = engine.keep(self._newest_first(self.table).limit(selection.limit))

    # --- What the entries are

    def count(self) -> int:
        return int(self.table.count().to_pyarrow().as_py())

    def extent(self) -> Tuple[Optional[datetime], Optional[datetime]]:
        """The earliest and the latest time among the entries."""
        if self._extent is None:
            found = self.table.aggregate(first=self.table.moment.min(), last=self.table.moment.max())
            row = found.to_pyarrow().to_pylist()[0]
            self._extent = (_aware(row["first"]), _aware(row["last"]))
        return self._extent

    def seen(self, column: str) -> List[Seen]:
        """The different values of a column, the most frequent first."""
        table = self.table
        found = table.group_by(table[column].name("value"), table.actor.name("by")).aggregate(
            entries=table.count(), first=table.moment.min()
        )
        pairs: Dict[Optional[str], List[Seen]] = {}
        for row in _rows(found):
            pairs.setdefault(row["value"], []).append(Seen(**{**row, "first": _aware(row["first"])}))
        return sorted(map(_together, pairs.values()), key=lambda seen: (-seen.entries, seen.value or ""))

    def known(self, column: str) -> Optional[List[Optional[str]]]:
        """The values of a column before the range; None when nothing of that time is at hand."""
        if self.before is None:
            return None
        found = [row[column] for row in _rows(self.before.select(column).distinct())]
        return sorted(found, key=lambda value: value or "") or None

    def groups(self, table: Any, *columns: str) -> List[Group]:
        """Counts of a table by the different combinations of values in some columns, in no order."""
        found = table.group_by(list(columns)).aggregate(
            entries=table.count(), first=table.moment.min(), last=table.moment.max()
        )
        return [
            Group({name: row[name] for name in columns}, row["entries"], _aware(row["first"]), _aware(row["last"]))
            for row in _rows(found)
        ]

    def messages(self, most: int) -> List[Dict[str, Any]]:
        """The most frequent messages of each project, so many at the most, with their counts."""
        found = self.table.group_by(["project", "message"]).aggregate(entries=self.table.count())
        order = [found.entries.desc(), found.project, found.message]
        return _rows(found.order_by(order).limit(most))

    def slots(self, own: Sequence[Optional[str]]) -> List[Slot]:
        """Counts by quarter of an hour, in order; entries without a readable time are in none. ``own`` are actors."""
        table = self.table.filter(self.table.minute.notnull())
        table = table.mutate(slot=(table.minute // SLOT), is_own=_one_of(table.actor, own).cast("int64"))
        found = table.group_by("slot").aggregate(entries=table.count(), own=table.is_own.sum())
        rows = [Slot(_at(row["slot"] * SLOT), row["entries"], row["own"]) for row in _rows(found)]
        return sorted(rows)

    # --- Which entries

    def newest(self, table: Any, most: int) -> Tuple[int, List[Record]]:
        """How many entries a table has, and the newest of them, so many at the most."""
        total = int(table.count().to_pyarrow().as_py())
        return total, _rows(self._newest_first(table).limit(most)) if total else []

    def ordered(self) -> Iterator[Record]:
        """Every entry, the earliest first."""
        keys = [self.table.moment.asc(nulls_first=False), *(self.table[name] for name in ("project", *COLUMNS))]
        for batch in self._engine.batches(self.table.drop("archive", "sequence").order_by(keys)):
            yield from batch.to_pylist()

    # --- Loading

    def _load(self, sources: Sources) -> Any:
        try:
            return self._read(sources, sources.parts)
        except Unreadable:
            # Python's reader accepts lines that engines refuse.
            pass
        try:
            return self._read(sources, sources.rewritten)
        except Unreadable as exc:
            raise StorageError(exc.message) from exc

    def _read(self, sources: Sources, parts: Callable[[], Sequence[Part]]) -> Any:
        """Read again if a file was compacted or pruned meanwhile."""
        attempts = 1
        while True:
            try:
                return self._engine.keep(self._union(parts()))
            except (Unreadable, ObjectNotFound):
                if attempts == _ATTEMPTS or not sources.refresh():
                    raise
                attempts += 1

    def _union(self, parts: Sequence[Part]) -> Any:
        tables = [self._table(part) for part in parts]
        if not tables:
            numbers = dict.fromkeys(("archive", "sequence", "minute"), "int64")
            schema = {**dict.fromkeys((*COLUMNS, "project"), "string"), "moment": "timestamp", **numbers}
            return self._ibis.memtable([], schema=schema)
        return self._ibis.union(*tables) if len(tables) > 1 else tables[0]

    def _table(self, part: Part) -> Any:
        table = self._engine.read(part.paths)
        sequence = table[PATH].re_extract(_DATA_FILE, 1).try_cast("int64")
        archive = self._ibis.literal(part.archive, type="int64")
        table = table.mutate(archive=archive, sequence=sequence).drop(PATH)
        readable = table.timestamp.re_search(_TIME).ifelse(table.timestamp, None)
        table = table.mutate(project=self._ibis.literal(part.project))
        moment = readable.try_cast("timestamp('UTC')").cast("timestamp")
        table = table.mutate(moment=moment.year().between(*YEARS).ifelse(moment, None))
        # Whole minutes: the engines differ in what they make of a fraction.
        table = table.mutate(minute=table.moment.truncate("m").epoch_seconds().cast("int64") // 60)
        return _within(table, part.span)

    def _select(self, table: Any, selection: Selection) -> Any:
        if selection.actions:
            chosen = self._values(table, "action", lambda text: action_matches({"action": text}, selection.actions))
            table = table.filter(_one_of(table.action, chosen))
        if selection.actors:
            chosen = self._values(
                table, "actor", lambda text: actor_matches({"actor": decoded(text)}, selection.actors)
            )
            table = table.filter(_one_of(table.actor, chosen))
        if selection.ip_networks:
            chosen = self._values(
                table, "ip_address", lambda text: address_matches({"ip_address": text}, selection.ip_networks)
            )
            table = table.filter(_one_of(table.ip_address, chosen))
        if selection.message_pattern is not None:
            # Python's own expressions, as in every other place of this collection.
            pattern = selection.message_pattern
            table = self._with_message(table, lambda message: pattern.search(message) is not None)
        if selection.resources:
            globs = selection.resources
            table = self._with_message(table, lambda message: resource_matches({"message": message}, globs))
        return table

    def _with_message(self, table: Any, is_meant: Callable[[str], bool]) -> Any:
        signature = ((self._ibis.dtype("string"),), self._ibis.dtype("boolean"))

        @self._ibis.udf.scalar.python(signature=signature)  # type: ignore[untyped-decorator]
        def message_matches(message: Optional[str]) -> bool:
            return message is not None and is_meant(message)

        # Python is slow: it looks at each entry once, not once for each question.
        return self._engine.keep(table.filter(message_matches(table.message)))

    def _values(self, table: Any, column: str, is_meant: Callable[[Optional[str]], bool]) -> List[Optional[str]]:
        found = [row[column] for row in _rows(table.select(column).distinct())]
        return [value for value in found if is_meant(value)]

    def _newest_first(self, table: Any) -> Any:
        names = ("project", *COLUMNS, "archive", "sequence")
        return table.order_by([table.moment.desc(nulls_first=False), *(table[name].desc() for name in names)])


def decoded(text: Optional[str]) -> Any:
    """What an object's JSON stands for; None for what is none."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None


def label(text: Optional[str]) -> Entity:
    """Who an actor's JSON names."""
    return actor({"actor": decoded(text)})


def kind_of(text: Optional[str]) -> str:
    """Which kind of actor a JSON names: one of ACTOR_KINDS, or ``unknown``."""
    kind = label(text).kind
    return kind if kind in ACTOR_KINDS else "unknown"


def _at(minute: int) -> datetime:
    return _EPOCH + timedelta(minutes=minute)


def _together(pairs: Sequence[Seen]) -> Seen:
    """One value as seen with all of its actors; of several at its first time the same one is told every time."""
    entries = sum(seen.entries for seen in pairs)
    dated = [seen for seen in pairs if seen.first is not None]
    if not dated:
        return Seen(pairs[0].value, entries, None, None)
    return min(dated, key=lambda seen: (seen.first, seen.by or ""))._replace(entries=entries)


def _between(table: Any, span: Range) -> Any:
    """The rows with a readable time in a span."""
    return _within(table.filter(table.moment.notnull()), span)


def _within(table: Any, span: Range) -> Any:
    """The rows that belong to a span; those without a readable time always do."""
    conditions = [table.moment >= _naive(span.start)] if span.start is not None else []
    conditions += [table.moment < _naive(span.end)] if span.end is not None else []
    if not conditions:
        return table
    return table.filter(table.moment.isnull() | reduce(lambda one, other: one & other, conditions))


def _one_of(column: Any, values: Sequence[Any]) -> Any:
    """Whether a column has one of these values, None among them."""
    told = [value for value in values if value is not None]
    is_one = column.isin(told).fill_null(False) if told else column.isnull() & column.notnull()
    return is_one | column.isnull() if len(told) < len(values) else is_one


def _rows(table: Any) -> List[Dict[str, Any]]:
    rows: List[Dict[str, Any]] = table.to_pyarrow().to_pylist()
    return rows


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc).replace(tzinfo=None)


def _aware(moment: Optional[datetime]) -> Optional[datetime]:
    return None if moment is None else moment.replace(tzinfo=timezone.utc)
