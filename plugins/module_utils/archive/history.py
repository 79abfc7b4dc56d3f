# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the history of a resource in one log: the entries that name it, under all its names."""

from __future__ import annotations

import tempfile
from bisect import bisect_left, bisect_right
from datetime import datetime
from typing import IO, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import StorageError
from ..project_log.client import Api, Page
from ..project_log.entry import Entity, Entry, canonical, parse, subject, timestamp
from ..project_log.reader import Reader
from ..project_log.resource import RENAME_NEEDLE, needles, rename, resources
from ..project_log.selection import glob_matches, resource_matches
from ..project_log.windows import LATENESS
from ..settings import DEFAULT_CONCURRENCY, Connection, Range
from .chain.signing import checked_head
from .format.commit import Commit, token_tag
from .format.data_file import lines_containing, split_lines
from .reader import Snapshot, cat, take_snapshot
from .storage.store import Store, archive_not_found

MAX_NAMES = 100
"""Maximum number of other names that are followed; more names would suggest an attempt to mislead."""

# A resource can have one name several times, such as machines that swap names at each rollout.
_MAX_NAME_PERIODS = 1_000
_CHUNK = 1 << 16
_IN_MEMORY = 1 << 20

Spool = IO[bytes]


class NamePeriod(NamedTuple):
    """A name of the resource from ``start`` to ``end``, both inclusive; None means no limit."""

    kind: str
    name: str
    start: Optional[datetime] = None
    end: Optional[datetime] = None

    def is_same_resource(self, kind: str, moment: Optional[datetime]) -> bool:
        """True if a resource with this name, kind and time is the followed resource. Unknown values always match."""
        if kind and self.kind and kind != self.kind:
            return False
        if moment is None:
            return True
        return (self.start is None or self.start <= moment) and (self.end is None or moment <= self.end)


class RenameEvent(NamedTuple):
    """A rename of a resource, and its time."""

    moment: datetime
    kind: str
    old: str
    new: str


class Log:
    """The log of one project: an archive, followed by newer entries from the API. Either can be absent.

    ``project`` is the name to show, ``commit`` the archive's newest commit. ``tail`` contains canonical lines of the
    API's entries.
    """

    def __init__(
        self, project: str, store: Optional[Store] = None, commit: Optional[Commit] = None, tail: Optional[Spool] = None
    ) -> None:
        self.project = project
        self.store = store
        self.commit = commit
        self.tail = tail
        self._snapshot: Optional[Snapshot] = None

    @property
    def boundary(self) -> Optional[datetime]:
        """The time from which entries are taken from the API, if the log has both an archive and a tail."""
        return self.commit.covered_until if self.commit and self.tail else None

    def has_token(self, connection: Connection) -> bool:
        """True if the archive was last collected with that token."""
        if self.commit is None or self.commit.api != connection.api_url:
            return False
        return self.commit.token_tag == token_tag(self.commit.archive_id, connection.api_token)

    def close(self) -> None:
        """Remove the temporary file of the tail."""
        if self.tail is not None:
            self.tail.close()

    def entries(self, wanted: Sequence[bytes]) -> Iterator[Entry]:
        """Yield the entries whose canonical line contains any of these bytes, in the log's order.

        Repeated calls read the same snapshot of the archive.

        :raises StorageError: the archive cannot be read.
        :raises ArchiveDamaged: a file is missing or differs from what its commit states.
        """
        if self.store is not None:
            self._snapshot = self._snapshot or take_snapshot(self.store)
            yield from cat(self.store, end=self.boundary, needles=wanted, snapshot=self._snapshot)
        for entry in map(parse, lines_containing(chunks(self.tail), wanted) if self.tail else ()):
            moment = timestamp(entry)
            # Entries without a readable time are skipped if there is a boundary: the archive has them too.
            if self.boundary is None or (moment is not None and moment >= self.boundary):
                yield entry


def archived_logs(archives: Sequence[Tuple[Optional[str], Store]]) -> List[Log]:
    """Return the logs in archives. Each store comes with the name of its project, or None to use the archive's.

    :raises StorageError: an archive has no commit, or cannot be read.
    """
    logs = []
    for name, store in archives:
        head = checked_head(store)
        if head is None:
            raise archive_not_found(store)
        logs.append(Log(name or head.commit.project.name or str(store), store, head.commit))
    names = [log.project for log in logs]
    for log in logs:
        if names.count(log.project) > 1:
            log.project = str(log.store)
    return logs


def add_tail(logs: List[Log], api: Api) -> None:
    """Read the API's entries after the archive of its project, or all entries if no log is of that project.

    :raises AuditError: the API cannot be read.
    """
    log = next((log for log in logs if log.has_token(api.connection)), None)
    start = log.commit.covered_until if log and log.commit else None
    tail = spooled()
    try:
        project = _spool_pages(tail, Reader(api, DEFAULT_CONCURRENCY, LATENESS).pages(Range(start=start)))
    except BaseException:
        tail.close()
        raise
    if log is None and project is not None and project.uuid:
        # The last collection run used another token.
        log = next((log for log in logs if log.commit and log.commit.project.uuid == project.uuid), None)
    if log is None:
        logs.append(Log(str(project) if project else "API", tail=tail))
    else:
        log.tail = tail


def _spool_pages(tail: Spool, pages: Iterable[Page]) -> Optional[Entity]:
    """Write all entries of the pages. Return the project that they belong to, if an entry names it."""
    project: Optional[Entity] = None
    for page in pages:
        for entry in page.entries:
            owner = subject(entry)
            if project is None and owner.kind == "project":
                project = owner
            spool_entry(tail, entry)
    return project


class History:
    """The entries about a resource in one log.

    ``glob`` is the name of the resource, exact or with ``*`` and ``?``. ``is_relevant`` selects among its entries.
    Renames are followed in both directions, within the time in which the resource had the other name. ``names`` are
    these other names, complete once the first entry was yielded. ``has_more`` is True if some names were not followed.
    """

    def __init__(self, log: Log, glob: str, is_relevant: Callable[[Entry], bool]) -> None:
        self.log = log
        self._glob = glob
        self._is_relevant = is_relevant
        self.names: Dict[str, List[NamePeriod]] = {}
        self.has_more = False

    def entries(self) -> Iterator[Entry]:
        """Yield the entries in the log's order. Memory does not grow with their number.

        :raises StorageError: the archive, or the directory for temporary files, cannot be read or written.
        :raises ArchiveDamaged: a file is missing or differs from what its commit states.
        """
        own = needles((self._glob,))
        with spooled() as spool:
            renames: List[RenameEvent] = []
            for entry in self.log.entries((*own, RENAME_NEEDLE)):
                renames.extend(_rename_events(entry))
                if resource_matches(entry, (self._glob,)) and self._is_relevant(entry):
                    spool_entry(spool, entry)
            self._collect_names(renames)
            if not self.names:
                yield from map(parse, split_lines(chunks(spool)))
                return
        # The other names are known only after the first pass.
        for entry in self.log.entries((*own, *needles(tuple(self.names)))):
            if self._is_about(entry) and self._is_relevant(entry):
                yield entry

    def _collect_names(self, renames: Sequence[RenameEvent]) -> None:
        for count, found in enumerate(_Renames(renames).other_names(self._glob)):
            if count >= _MAX_NAME_PERIODS or (found.name not in self.names and len(self.names) >= MAX_NAMES):
                self.has_more = True
                return
            self.names.setdefault(found.name, []).append(found)

    def _is_about(self, entry: Entry) -> bool:
        if resource_matches(entry, (self._glob,)):
            return True
        moment = timestamp(entry)
        return any(
            other.is_same_resource(found.kind, moment)
            for found in resources(entry)
            for other in self.names.get(found.name, ())
        )


def _rename_events(entry: Entry) -> Iterator[RenameEvent]:
    event, moment = rename(entry), timestamp(entry)
    if event is not None and moment is not None and event.old != event.new:
        yield RenameEvent(moment, *event)


class _Renames:
    """Renames by their old and by their new name, each list ordered by time."""

    def __init__(self, renames: Sequence[RenameEvent]) -> None:
        self._from: Dict[str, List[RenameEvent]] = {}
        self._to: Dict[str, List[RenameEvent]] = {}
        for event in sorted(renames):
            self._from.setdefault(event.old, []).append(event)
            self._to.setdefault(event.new, []).append(event)
        # bisect has no key parameter before Python 3.10.
        self._moments_from = {name: [event.moment for event in found] for name, found in self._from.items()}
        self._moments_to = {name: [event.moment for event in found] for name, found in self._to.items()}

    def other_names(self, glob: str) -> Iterator[NamePeriod]:
        """Yield the other names of the resources that a glob matches, then the earlier and later names of those, and so
        on."""
        queue = [NamePeriod("", name) for name in {**self._from, **self._to} if glob_matches(name, glob)]
        seen = set(queue)
        while queue:
            known = queue.pop()
            for other in (*self._later(known), *self._earlier(known)):
                if other not in seen and not glob_matches(other.name, glob):
                    seen.add(other)
                    queue.append(other)
                    yield other

    def _later(self, known: NamePeriod) -> Iterator[NamePeriod]:
        for event in _during(known, self._from, self._moments_from):
            if known.is_same_resource(event.kind, event.moment):
                departures = self._moments_from.get(event.new, [])
                following = bisect_right(departures, event.moment)
                yield NamePeriod(
                    event.kind, event.new, event.moment, departures[following] if following < len(departures) else None
                )

    def _earlier(self, known: NamePeriod) -> Iterator[NamePeriod]:
        for event in _during(known, self._to, self._moments_to):
            if known.is_same_resource(event.kind, event.moment):
                # Before the latest rename to or from the old name, another resource had that name.
                moments = (self._moments_from.get(event.old, []), self._moments_to.get(event.old, []))
                ends = [_latest_before(found, event.moment) for found in moments]
                yield NamePeriod(event.kind, event.old, max((end for end in ends if end), default=None), event.moment)


def _during(
    known: NamePeriod, renames: Dict[str, List[RenameEvent]], moments: Dict[str, List[datetime]]
) -> Sequence[RenameEvent]:
    """Return the renames of a name within its period."""
    times = moments.get(known.name, [])
    first = 0 if known.start is None else bisect_left(times, known.start)
    last = len(times) if known.end is None else bisect_right(times, known.end)
    return renames.get(known.name, [])[first:last]


def _latest_before(moments: List[datetime], moment: datetime) -> Optional[datetime]:
    index = bisect_left(moments, moment)
    return moments[index - 1] if index else None


def spooled() -> Spool:
    """Create a temporary file that stays in memory while it is small."""
    return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)


def spool_entry(spool: Spool, entry: Entry) -> None:
    """Append the canonical line of an entry.

    :raises StorageError: the file cannot be written.
    """
    try:
        spool.write(canonical(entry) + b"\n")
    except OSError as exc:
        raise StorageError(f"The directory for temporary files is not writable: {exc.strerror or exc}.") from exc


def chunks(file: Spool) -> Iterator[bytes]:
    """Yield the content of a file from its beginning, in chunks."""
    file.seek(0)
    return iter(lambda: file.read(_CHUNK), b"")
