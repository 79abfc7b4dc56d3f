# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Queries over all entries, as Ibis expressions with an explicit schema, so that they run on any engine.

Names of actors and actions are resolved by the core in Python, once for each distinct value.
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
"""Minutes in the shortest period that is counted. The offset of every time zone is a multiple of it."""

_ATTEMPTS = 3
_DATA_FILE = r"/(\d{12})-[0-9a-f]{12}\.jsonl(?:\.gz)?$"
_TIME = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)? ?([Zz]|[+-]\d\d(:?\d\d)?)$"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class DistinctValue(NamedTuple):
    """A value of a column: number of entries, time of the first one, and its actor (as JSON)."""

    value: Optional[str]
    entries: int
    first: Optional[datetime]
    by: Optional[str]


class Group(NamedTuple):
    """Entries with the same values in some columns: their number, and the first and last readable time."""

    values: Dict[str, Optional[str]]
    entries: int
    first: Optional[datetime]
    last: Optional[datetime]


class Slot(NamedTuple):
    """Number of entries, and of those by own automation, in the quarter of an hour that begins at ``start``."""

    start: datetime
    entries: int
    own: int


class EntryTable:
    """The entries of all sources, loaded into an engine once and then queried.

    ``selected`` has the selected entries of the time range, ``before`` all entries of the ``baseline`` period before it
    (None if the range has no start), and ``preceding`` the selected entries of the period to compare with (or None).
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
        start = sources.time_range.start
        self.before = None if start is None else _between(everything, Range(start - baseline, start))
        self.preceding = None if preceding is None else _between(chosen, preceding)
        self.selected = (
            chosen if start is None else chosen.filter(chosen.moment.isnull() | (chosen.moment >= _naive(start)))
        )
        if selection.limit is not None:
            self.selected = engine.keep(self._newest_first(self.selected).limit(selection.limit))

    # --- Counts

    def count(self) -> int:
        return int(self.selected.count().to_pyarrow().as_py())

    def extent(self) -> Tuple[Optional[datetime], Optional[datetime]]:
        """The earliest and the latest time among the entries."""
        if self._extent is None:
            found = self.selected.aggregate(first=self.selected.moment.min(), last=self.selected.moment.max())
            row = found.to_pyarrow().to_pylist()[0]
            self._extent = (_aware(row["first"]), _aware(row["last"]))
        return self._extent

    def values(self, column: str) -> List[DistinctValue]:
        """The distinct values of a column, most frequent first."""
        table = self.selected
        found = table.group_by(table[column].name("value"), table.actor.name("by")).aggregate(
            entries=table.count(), first=table.moment.min()
        )
        pairs: Dict[Optional[str], List[DistinctValue]] = {}
        for row in _rows(found):
            pairs.setdefault(row["value"], []).append(DistinctValue(**{**row, "first": _aware(row["first"])}))
        return sorted(map(_together, pairs.values()), key=lambda seen: (-seen.entries, seen.value or ""))

    def known(self, column: str) -> Optional[List[Optional[str]]]:
        """The distinct values of a column before the range; None if there are no entries before it."""
        if self.before is None:
            return None
        found = [row[column] for row in _rows(self.before.select(column).distinct())]
        return sorted(found, key=lambda value: value or "") or None

    def groups(self, table: Any, *columns: str) -> List[Group]:
        """Counts of a table by the distinct combinations of values in some columns, in no order."""
        found = table.group_by(list(columns)).aggregate(
            entries=table.count(), first=table.moment.min(), last=table.moment.max()
        )
        return [
            Group({name: row[name] for name in columns}, row["entries"], _aware(row["first"]), _aware(row["last"]))
            for row in _rows(found)
        ]

    def messages(self, limit: int) -> List[Dict[str, Any]]:
        """The most frequent messages with their projects and counts, at most ``limit``."""
        found = self.selected.group_by(["project", "message"]).aggregate(entries=self.selected.count())
        order = [found.entries.desc(), found.project, found.message]
        return _rows(found.order_by(order).limit(limit))

    def slots(self, own: Sequence[Optional[str]]) -> List[Slot]:
        """Counts by quarter of an hour, in order, without entries that have no readable time.

        ``own`` are the actors that are own automation.
        """
        table = self.selected.filter(self.selected.minute.notnull())
        table = table.mutate(slot=(table.minute // SLOT), is_own=_one_of(table.actor, own).cast("int64"))
        found = table.group_by("slot").aggregate(entries=table.count(), own=table.is_own.sum())
        rows = [Slot(_at(row["slot"] * SLOT), row["entries"], row["own"]) for row in _rows(found)]
        return sorted(rows)

    # --- Entries

    def newest(self, table: Any, limit: int) -> Tuple[int, List[Record]]:
        """Number of entries in a table, and its newest entries, at most ``limit``."""
        total = int(table.count().to_pyarrow().as_py())
        return total, _rows(self._newest_first(table).limit(limit)) if total else []

    def ordered(self) -> Iterator[Record]:
        """Every selected entry, oldest first."""
        keys = [self.selected.moment.asc(nulls_first=False), *(self.selected[name] for name in ("project", *COLUMNS))]
        for batch in self._engine.batches(self.selected.drop("archive", "sequence").order_by(keys)):
            yield from batch.to_pylist()

    # --- Loading

    def _load(self, sources: Sources) -> Any:
        try:
            return self._read(sources, sources.parts)
        except Unreadable:
            # Python accepts lines that engines refuse.
            pass
        try:
            return self._read(sources, sources.rewritten)
        except Unreadable as exc:
            raise StorageError(exc.message) from exc

    def _read(self, sources: Sources, parts: Callable[[], Sequence[Part]]) -> Any:
        """Load the parts; again if a file was compacted or pruned meanwhile."""
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
        # Whole minutes, because engines round fractions differently.
        table = table.mutate(minute=table.moment.truncate("m").epoch_seconds().cast("int64") // 60)
        return _within(table, part.time_range)

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
            # Python's regular expressions, as everywhere in this collection.
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

        # Python is slow: check each entry once, not once for each query.
        return self._engine.keep(table.filter(message_matches(table.message)))

    def _values(self, table: Any, column: str, is_meant: Callable[[Optional[str]], bool]) -> List[Optional[str]]:
        found = [row[column] for row in _rows(table.select(column).distinct())]
        return [value for value in found if is_meant(value)]

    def _newest_first(self, table: Any) -> Any:
        names = ("project", *COLUMNS, "archive", "sequence")
        return table.order_by([table.moment.desc(nulls_first=False), *(table[name].desc() for name in names)])


def decoded(text: Optional[str]) -> Any:
    """The value of a JSON text; None if it is not valid JSON."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None


def label(text: Optional[str]) -> Entity:
    """The name of an actor that is given as JSON."""
    return actor({"actor": decoded(text)})


def kind_of(text: Optional[str]) -> str:
    """The kind of an actor that is given as JSON: one of ACTOR_KINDS, or ``unknown``."""
    kind = label(text).kind
    return kind if kind in ACTOR_KINDS else "unknown"


def _at(minute: int) -> datetime:
    return _EPOCH + timedelta(minutes=minute)


def _together(pairs: Sequence[DistinctValue]) -> DistinctValue:
    """One value over all its actors. Of several first actors at the same time, always the same one is chosen."""
    entries = sum(seen.entries for seen in pairs)
    dated = [seen for seen in pairs if seen.first is not None]
    if not dated:
        return DistinctValue(pairs[0].value, entries, None, None)
    return min(dated, key=lambda seen: (seen.first, seen.by or ""))._replace(entries=entries)


def _between(table: Any, time_range: Range) -> Any:
    """The rows with a readable time in a time range."""
    return _within(table.filter(table.moment.notnull()), time_range)


def _within(table: Any, time_range: Range) -> Any:
    """The rows in a time range, and those without a readable time."""
    conditions = [table.moment >= _naive(time_range.start)] if time_range.start is not None else []
    conditions += [table.moment < _naive(time_range.end)] if time_range.end is not None else []
    if not conditions:
        return table
    return table.filter(table.moment.isnull() | reduce(lambda one, other: one & other, conditions))


def _one_of(column: Any, values: Sequence[Any]) -> Any:
    """Whether a column has one of these values, which can include None."""
    named = [value for value in values if value is not None]
    is_one = column.isin(named).fill_null(False) if named else column.isnull() & column.notnull()
    return is_one | column.isnull() if len(named) < len(values) else is_one


def _rows(table: Any) -> List[Dict[str, Any]]:
    rows: List[Dict[str, Any]] = table.to_pyarrow().to_pylist()
    return rows


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc).replace(tzinfo=None)


def _aware(moment: Optional[datetime]) -> Optional[datetime]:
    return None if moment is None else moment.replace(tzinfo=timezone.utc)
