# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives and the API as sources of a report; over 400 lines, because each reads what the other does not have.

Each entry is read exactly once.

An archive is complete up to the end of its coverage: earlier entries are from the archive, later ones from the API.
Entries without a readable time belong to no time range. Of these, an entry from the API counts only if the archive has
no equal one.
"""

from __future__ import annotations

import gzip
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone, tzinfo
from itertools import chain
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from ...archive.chain.chain import gaps, live_files
from ...archive.chain.signing import checked_head
from ...archive.format.commit import UNDATED_DAY, Commit, DataFile, Gap, Head, parse_data_file_name, token_tag
from ...archive.reader import bytes_of, cat, lines_of, read_files
from ...archive.storage.open import is_remote, open_archive
from ...archive.storage.store import Store
from ...errors import InvalidInput
from ...files import draft_file
from ...project_log.client import Api
from ...project_log.entry import Entry, canonical, parse, subject, timestamp, to_builtin_entry, to_printable
from ...project_log.reader import Reader
from ...project_log.selection import parse_list
from ...project_log.windows import LATENESS
from ...settings import Connection, Range, concurrency
from ...times import RETENTION
from .engine import COLUMNS

_INSTANT = timedelta(microseconds=1)

_MARGIN = timedelta(hours=1)
"""The provider might delete its oldest entries during the reading: entries of this time are taken from the archive."""

EVER = Range()


class Part(NamedTuple):
    """Files of JSON lines. Only entries of ``time_range`` count. ``archive`` is the number of the files' archive."""

    project: str
    paths: Tuple[str, ...]
    time_range: Range
    archive: Optional[int] = None


@dataclass(frozen=True)
class Origin:
    """Description of one source: its project, and the time that it covers completely.

    ``archive`` is None for the API, which was read up to now. ``gaps`` are the gaps in the report's time range.
    """

    project: str
    covered_from: Optional[datetime] = None
    covered_until: Optional[datetime] = None
    archive: Optional[str] = None
    head: Optional[Head] = None
    gaps: Tuple[Gap, ...] = ()


class Archive:
    """One archive, as of its head when it was opened.

    Entries of ``time_range`` are read. ``name`` is the project's name, and ``number`` identifies the archive in a
    report. Data files in a bucket are first copied into ``directory``: engines read compressed JSON completely in any
    case, and do not know the credentials, certificates and retries of the store.
    """

    def __init__(self, path: str, time_range: Range, directory: str, number: int = 0) -> None:
        self.store: Store = open_archive(path)
        self.number = number
        self.time_range = time_range
        self.name = ""
        self._rewritten = os.path.join(directory, f"rewritten-{number}")
        self._copies = os.path.join(directory, f"archive-{number}") if is_remote(path) else None
        self.refresh()

    def refresh(self) -> None:
        """List the data files again, as of the newest commit."""
        link = checked_head(self.store)
        if link is None:
            raise InvalidInput(f"archives: {self.store} has no commit yet; collect first.")
        self.commit: Commit = link.commit
        self.head = link.head
        self.live: Dict[str, DataFile] = live_files(self.store, link)
        self._data_files: Optional[Dict[Tuple[int, str], str]] = None

    @property
    def project(self) -> str:
        return to_printable(self.name or self.commit.project.name or self.commit.project.uuid)

    def files(self) -> List[DataFile]:
        """The live files that can have entries of the time range, by path."""
        return [file for _path, file in sorted(self.live.items()) if self.time_range.overlaps(file.first, file.last)]

    def has_lost(self) -> bool:
        """Whether a listed file is missing, or might be."""
        return self._copies is not None or not all(os.path.exists(self._place(file)) for file in self.files())

    def _paths(self, files: Sequence[DataFile]) -> List[str]:
        # Copying is mostly waiting for the server.
        with ThreadPoolExecutor(self.store.max_concurrent_reads) as pool:
            return list(pool.map(self._path, files))

    def _place(self, file: DataFile) -> str:
        return f"{self.store}/{file.path}"

    def _path(self, file: DataFile) -> str:
        if self._copies is None:
            # Check the file's digest, because engines do not.
            for _chunk in bytes_of(self.store, file):
                pass
            return self._place(file)
        path = os.path.join(self._copies, file.path)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with draft_file(path) as draft:
                with open(draft, "wb") as copy:
                    copy.writelines(bytes_of(self.store, file))
                os.replace(draft, path)
        return path

    def entries(self) -> Iterator[Entry]:
        """The entries of the time range in the order of the log, from copies if there are any."""
        if self._copies is None:
            yield from cat(self.store, self.time_range.start, self.time_range.end)
            return
        for file in self.files():
            yield from self._entries_of(file)

    def _entries_of(self, file: DataFile) -> Iterator[Entry]:
        if self._copies is None:
            yield from read_files(self.store, [file], self.time_range.start, self.time_range.end)
            return
        with gzip.open(self._path(file)) as lines:
            yield from (found for found in map(parse, lines) if self.time_range.contains(timestamp(found)))

    def lines(self) -> Iterator[bytes]:
        return map(canonical, self.entries())

    def parts(self) -> List[Part]:
        """Files completely inside the time range, which need no filter, and the others."""
        by_range: Dict[Range, List[str]] = {EVER: [], self.time_range: []}
        files = self.files()
        for file, path in zip(files, self._paths(files)):
            time_range = EVER if self.time_range.contains_all(file.first, file.last) else self.time_range
            by_range[time_range].append(path)
        return [
            Part(self.project, tuple(paths), time_range, self.number) for time_range, paths in by_range.items() if paths
        ]

    def rewritten(self) -> List[Part]:
        """The entries of the time range in files that all engines can read: one for each data file, with its name."""
        paths = tuple(_rewrite(self._entries_of(file), self._rewritten, file.path) for file in self.files())
        return [Part(self.project, paths, self.time_range, self.number)] if paths else []

    def data_file(self, sequence: int, day: str) -> Optional[str]:
        """Path of the data file that a commit added for a day; None if there is none."""
        if self._data_files is None:
            names = {path: parse_data_file_name(path) for path in self.live}
            self._data_files = {(name.sequence, name.day): path for path, name in names.items() if name}
        return self._data_files.get((sequence, day))

    def origin(self, time_range: Range) -> Origin:
        known = [gap for gap in gaps(self.store, self.commit) if time_range.overlaps(gap.start, gap.end)]
        return Origin(
            project=self.project,
            covered_from=self.commit.retained_from,
            covered_until=self.commit.covered_until,
            archive=self.commit.archive_id,
            head=self.head,
            gaps=tuple(known),
        )

    def yield_to_api(self, now: datetime) -> datetime:
        """Leave to the API what only the API has, and return the time from which the API must be read.

        This is the end of the archive's coverage, or earlier if the archive began later or was pruned.
        """
        ends = self.commit.covered_until
        if ends < now - RETENTION:
            # The API no longer has the entries after the coverage that the archive has.
            newest = max((file.last for file in self.live.values() if file.last), default=ends)
            return max(ends, newest + _INSTANT)
        oldest = self.time_range.intersect(start=now - RETENTION + _MARGIN).start or ends
        border = oldest if oldest < self.commit.retained_from else ends
        self.time_range = self.time_range.intersect(end=border)
        return border

    def has_token(self, connection: Connection) -> bool:
        """Whether the newest commit of this archive was made with this token."""
        tag = token_tag(self.commit.archive_id, connection.api_token)
        return self.commit.token_tag == tag and self.commit.api == connection.api_url

    def unreadable(self) -> Counter[bytes]:
        """The lines of entries without a readable time."""
        files = [file for path, file in self.live.items() if f"date={UNDATED_DAY}/" in path]
        return Counter(line for file in files for line in lines_of(self.store, file))


class Fetched:
    """Entries from the API in a file. Only entries of ``time_range`` count; the API has none before ``oldest``."""

    def __init__(self, path: str, time_range: Range, name: str, oldest: datetime) -> None:
        self.path = path
        self.time_range = time_range
        self.name = name
        self.oldest = oldest
        self.uuid: Optional[str] = None

    @property
    def project(self) -> str:
        return to_printable(self.name or self.uuid)

    def write(self, entries: Iterable[Entry]) -> None:
        with open(self.path, "wb") as file:
            for found in entries:
                owner = subject(found)
                if self.uuid is None and owner.kind == "project":
                    self.uuid, self.name = owner.uuid, self.name or owner.name
                file.write(canonical(found) + b"\n")

    def drop(self, known: Counter[bytes]) -> None:
        """Remove the entries without a readable time that an archive has."""
        if not known:
            return
        with open(self.path, "rb") as file:
            kept = [line for line in file if not _is_known(line, known)]
        with open(self.path, "wb") as file:
            file.writelines(kept)

    def entries(self) -> Iterator[Entry]:
        with open(self.path, "rb") as file:
            for found in map(parse, file):
                if self.time_range.contains(timestamp(found)):
                    yield found

    def lines(self) -> Iterator[bytes]:
        return map(canonical, self.entries())

    def parts(self) -> List[Part]:
        return [Part(self.project, (self.path,), self.time_range)]

    def rewritten(self) -> List[Part]:
        """The same entries in a file that all engines can read."""
        path = _rewrite(self.entries(), os.path.dirname(self.path), f"rewritten-{os.path.basename(self.path)}")
        return [Part(self.project, (path,), self.time_range)]

    def origin(self) -> Origin:
        return Origin(self.project, covered_from=self.time_range.intersect(start=self.oldest).start)


class Sources:
    """All sources of a report: archives are opened, and entries from the API are read into ``directory``.

    ``time_range`` is the report's range, without the ``baseline`` period before it, which is read as well. Dates begin
    at midnight in ``zone``.

    :raises InvalidInput: an option is not valid, or there is no source.
    :raises AuditError: the API cannot be read, or an archive is damaged.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        directory: str,
        now: datetime,
        baseline: timedelta,
        zone: tzinfo = timezone.utc,
    ) -> None:
        self._options = options
        self._directory = directory
        self._now = now
        self._range = Range.from_mapping(options, now, zone)
        archives = parse_list(options.get("archives"), "archives")
        # An archive can have what is older than the provider's retention.
        self.warnings: List[str] = [] if archives else self._range.warnings
        self.time_range = Range(self._range.start, self._range.end)
        before = None if self.time_range.start is None else self.time_range.start - baseline
        self._range_read = Range(before, self.time_range.end)
        connections = _connections(options)
        self.archives = [Archive(path, self._range_read, directory, number) for number, path in enumerate(archives)]
        self._check(connections)
        self.fetched: List[Fetched] = []
        for name, connection in connections:
            self._fetch(name, connection)

    def parts(self) -> List[Part]:
        return [part for source in self._all for part in source.parts()]

    def origins(self, time_range: Optional[Range] = None) -> List[Origin]:
        """Description of each source, with its gaps in a time range; by default in the report's."""
        return [
            *(archive.origin(time_range or self.time_range) for archive in self.archives),
            *(fetched.origin() for fetched in self.fetched),
        ]

    def lines(self) -> Iterator[bytes]:
        """The canonical form of each entry of the report, by source, in the order of the source."""
        for source in self._all:
            for line in source.lines():
                if self.time_range.contains(timestamp(parse(line))):
                    yield line

    def entries(self) -> Iterator[Tuple[str, Iterator[Entry]]]:
        """The entries of each project in the order of its log, including those before the report's range."""
        by_project: Dict[str, List[Union[Archive, Fetched]]] = {}
        for source in self._all:
            by_project.setdefault(source.project, []).append(source)
        for project, sources in by_project.items():
            yield project, chain.from_iterable(source.entries() for source in sources)

    def refresh(self) -> bool:
        """List the files again of archives that lost one since they were opened; whether there are any."""
        gone = [archive for archive in self.archives if archive.has_lost()]
        for archive in gone:
            archive.refresh()
        return bool(gone)

    def rewritten(self) -> List[Part]:
        """The same entries in files that all engines can read: Python accepts lines that engines refuse."""
        return [part for source in self._all for part in source.rewritten()]

    def data_file(self, record: Mapping[str, Any]) -> Optional[str]:
        """Path in its archive of the data file that an engine's record is stored in; None if it is from the API."""
        if record["archive"] is None or record["sequence"] is None:
            return None
        archive: Archive = self.archives[record["archive"]]
        moment: Optional[datetime] = record["moment"]
        return archive.data_file(record["sequence"], UNDATED_DAY if moment is None else moment.date().isoformat())

    @property
    def _all(self) -> List[Union[Archive, Fetched]]:
        return [*self.archives, *self.fetched]

    def _check(self, connections: Sequence[Any]) -> None:
        if not connections and not self.archives:
            raise InvalidInput("There is nothing to report on. Set api_token (or CLOUDSCALE_API_TOKEN), or archives.")
        if self.archives and self._range.cursor is not None:
            raise InvalidInput("cursor is a position in the API's log. With archives, set start and end instead.")

    def _fetch(self, name: str, connection: Connection) -> None:
        archive = next((archive for archive in self.archives if archive.has_token(connection)), None)
        time_range = (
            self._range_read if archive is None else self._range_read.intersect(start=archive.yield_to_api(self._now))
        )
        if time_range.is_empty:
            return
        path = os.path.join(self._directory, f"api-{len(self.fetched)}.jsonl")
        fetched = Fetched(path, time_range, name, self._now - RETENTION)
        self._read(connection, fetched)
        if archive is None:
            archive = next((found for found in self.archives if found.commit.project.uuid == fetched.uuid), None)
            if archive is not None and fetched.uuid is not None:
                fetched.time_range = time_range.intersect(start=archive.yield_to_api(self._now))
        if archive is not None:
            archive.name = archive.name or name
            fetched.name = archive.project
            fetched.drop(archive.unreadable())
        self.fetched.append(fetched)

    def _read(self, connection: Connection, fetched: Fetched) -> None:
        start = None if self._range.cursor else fetched.time_range.start
        with Api(connection) as api:
            reader = Reader(api, concurrency(self._options), LATENESS)
            pages = reader.pages(replace(self._range, start=start))
            fetched.write(found for page in pages for found in page.entries)


def _connections(options: Mapping[str, Any]) -> List[Tuple[str, Connection]]:
    """The connection to each project at the API, with the project's name; empty if only archives are read."""
    if options.get("ask_api") is False:
        return []
    projects = options.get("projects") or []
    if projects:
        return [(str(project.get("name") or ""), _connection(options, project)) for project in projects]
    if parse_list(options.get("archives"), "archives") and not options.get("api_token"):
        return []
    return [("", Connection.from_mapping(options))]


def _connection(options: Mapping[str, Any], project: Mapping[str, Any]) -> Connection:
    given = {key: value for key, value in project.items() if value is not None and key.startswith("api_")}
    return Connection.from_mapping({**options, **given})


def _rewrite(entries: Iterable[Entry], directory: str, name: str) -> str:
    """Write the columns of entries so that all engines accept them, and return the path."""
    path = os.path.join(directory, name[: -len(".gz")] if name.endswith(".gz") else name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        for found in map(to_builtin_entry, entries):
            file.write(canonical({column: found[column] for column in COLUMNS if column in found}) + b"\n")
    return path


def _is_known(line: bytes, known: Counter[bytes]) -> bool:
    if timestamp(parse(line)) is not None or known[line] <= 0:
        return False
    known[line] -= 1
    return True
