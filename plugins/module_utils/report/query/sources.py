# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the entries of a report come from: archives, the API, or both without an entry twice.

An archive misses nothing before the time that it covers, so it is asked for what lies before that, and the API for what
lies behind. Entries whose time is unreadable belong to no span; of them, the API's count only where the archive has
none that is equal.
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
"""The oldest that the API has may be deleted while it is read: so much of it is not taken in an archive's place."""


EVER = Range()


class Part(NamedTuple):
    """Files of JSON lines, and the span of their entries that counts; ``archive`` is the number of theirs."""

    project: str
    paths: Tuple[str, ...]
    span: Range
    archive: Optional[int] = None


@dataclass(frozen=True)
class Origin:
    """What a reader should know of one source: whose log it is, and from when to when it misses nothing.

    Without ``archive`` it is the API, read to the present. ``gaps`` are those of the asked range.
    """

    project: str
    covered_from: Optional[datetime] = None
    covered_until: Optional[datetime] = None
    archive: Optional[str] = None
    head: Optional[Head] = None
    gaps: Tuple[Gap, ...] = ()


class Archive:
    """One archive as of its head when it was opened. ``span`` is what is taken from it, ``name`` what to call it.

    ``number`` tells the archives of a report apart.

    Of an archive in a bucket, the files that are read are first copied into ``folder``. Compressed JSON is read as a
    whole and once in any case, and so it is asked for with the credentials, certificates and retries of the store,
    which an engine of its own does not know.
    """

    def __init__(self, path: str, span: Range, folder: str, number: int = 0) -> None:
        self.store: Store = open_archive(path)
        self.number = number
        self.span = span
        self.name = ""
        self._rewritten = os.path.join(folder, f"rewritten-{number}")
        self._copies = os.path.join(folder, f"archive-{number}") if is_remote(path) else None
        self.refresh()

    def refresh(self) -> None:
        """Take the list of files anew from the head."""
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
        """The live files that may hold something of the span, by path."""
        return [file for _path, file in sorted(self.live.items()) if self.span.overlaps(file.first, file.last)]

    def has_lost(self) -> bool:
        """Whether a file of the list is gone, or may be."""
        return self._copies is not None or not all(os.path.exists(self._place(file)) for file in self.files())

    def _paths(self, files: Sequence[DataFile]) -> List[str]:
        # Of a copy, most is waiting for the server.
        with ThreadPoolExecutor(self.store.max_concurrent_reads) as pool:
            return list(pool.map(self._path, files))

    def _place(self, file: DataFile) -> str:
        return f"{self.store}/{file.path}"

    def _path(self, file: DataFile) -> str:
        if self._copies is None:
            # An engine does not know what was committed.
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
        """The entries of the span in the order of the log; out of the copies, where there are any."""
        if self._copies is None:
            yield from cat(self.store, self.span.start, self.span.end)
            return
        for file in self.files():
            yield from self._entries_of(file)

    def _entries_of(self, file: DataFile) -> Iterator[Entry]:
        if self._copies is None:
            yield from read_files(self.store, [file], self.span.start, self.span.end)
            return
        with gzip.open(self._path(file)) as lines:
            yield from (found for found in map(parse, lines) if self.span.contains(timestamp(found)))

    def lines(self) -> Iterator[bytes]:
        return map(canonical, self.entries())

    def parts(self) -> List[Part]:
        """Files that lie in the span as a whole, whose entries no engine needs to look at for that, and the others."""
        sorted_out: Dict[Range, List[str]] = {EVER: [], self.span: []}
        files = self.files()
        for file, path in zip(files, self._paths(files)):
            span = EVER if self.span.contains_all(file.first, file.last) else self.span
            sorted_out[span].append(path)
        return [Part(self.project, tuple(paths), span, self.number) for span, paths in sorted_out.items() if paths]

    def rewritten(self) -> List[Part]:
        """The entries of the span in files that any engine can read, one for each data file and of the same name."""
        paths = tuple(_rewrite(self._entries_of(file), self._rewritten, file.path) for file in self.files())
        return [Part(self.project, paths, self.span, self.number)] if paths else []

    def data_file(self, sequence: int, day: str) -> Optional[str]:
        """Path in the archive of the data file of a day that a commit named."""
        if self._data_files is None:
            names = {path: parse_data_file_name(path) for path in self.live}
            self._data_files = {(name.sequence, name.day): path for path, name in names.items() if name}
        return self._data_files.get((sequence, day))

    def origin(self, asked: Range) -> Origin:
        known = [gap for gap in gaps(self.store, self.commit) if asked.overlaps(gap.start, gap.end)]
        return Origin(
            project=self.project,
            covered_from=self.commit.retained_from,
            covered_until=self.commit.covered_until,
            archive=self.commit.archive_id,
            head=self.head,
            gaps=tuple(known),
        )

    def yield_to_api(self, now: datetime) -> datetime:
        """Give up what the API still has; the time from which on the API is to be asked.

        That is the end of what the archive covers, or an earlier time where it began later, or was pruned.
        """
        ends = self.commit.covered_until
        if ends < now - RETENTION:
            # What the archive has of the moments behind that is gone at the API.
            newest = max((file.last for file in self.live.values() if file.last), default=ends)
            return max(ends, newest + _INSTANT)
        oldest = self.span.intersect(start=now - RETENTION + _MARGIN).start or ends
        border = oldest if oldest < self.commit.retained_from else ends
        self.span = self.span.intersect(end=border)
        return border

    def has_token(self, connection: Connection) -> bool:
        """Whether this archive was last collected with that token."""
        tag = token_tag(self.commit.archive_id, connection.api_token)
        return self.commit.token_tag == tag and self.commit.api == connection.api_url

    def unreadable(self) -> Counter[bytes]:
        """The lines of entries without a readable time."""
        files = [file for path, file in self.live.items() if f"date={UNDATED_DAY}/" in path]
        return Counter(line for file in files for line in lines_of(self.store, file))


class Fetched:
    """What the API returned, in a file of its own; only the entries of ``span`` count.

    Before ``oldest`` the API has none.
    """

    def __init__(self, path: str, span: Range, name: str, oldest: datetime) -> None:
        self.path = path
        self.span = span
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
        """Leave out what an archive has of the entries without a readable time."""
        if not known:
            return
        with open(self.path, "rb") as file:
            kept = [line for line in file if not _is_known(line, known)]
        with open(self.path, "wb") as file:
            file.writelines(kept)

    def entries(self) -> Iterator[Entry]:
        with open(self.path, "rb") as file:
            for found in map(parse, file):
                if self.span.contains(timestamp(found)):
                    yield found

    def lines(self) -> Iterator[bytes]:
        return map(canonical, self.entries())

    def parts(self) -> List[Part]:
        return [Part(self.project, (self.path,), self.span)]

    def rewritten(self) -> List[Part]:
        """The same entries in a file that any engine can read."""
        path = _rewrite(self.entries(), os.path.dirname(self.path), f"rewritten-{os.path.basename(self.path)}")
        return [Part(self.project, (path,), self.span)]

    def origin(self) -> Origin:
        return Origin(self.project, covered_from=self.span.intersect(start=self.oldest).start)


class Sources:
    """All that a report reads, opened and, as far as the API is needed, read into ``folder``.

    ``asked`` is the range; ``baseline`` how much before its start is read, too, to know what was seen before. Dates of
    the range begin in ``zone``.

    :raises InvalidInput: an option cannot be used, or there is nothing to read.
    :raises AuditError: the API cannot be read, or an archive is damaged.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        folder: str,
        now: datetime,
        baseline: timedelta,
        zone: tzinfo = timezone.utc,
    ) -> None:
        self._options = options
        self._folder = folder
        self._now = now
        self._range = Range.from_mapping(options, now, zone)
        archives = parse_list(options.get("archives"), "archives")
        # What the range lacks at the API, an archive has.
        self.warnings: List[str] = [] if archives else self._range.warnings
        self.asked = Range(self._range.start, self._range.end)
        before = None if self.asked.start is None else self.asked.start - baseline
        self._span = Range(before, self.asked.end)
        connections = _connections(options)
        self.archives = [Archive(path, self._span, folder, number) for number, path in enumerate(archives)]
        self._check(connections)
        self.fetched: List[Fetched] = []
        for name, connection in connections:
            self._fetch(name, connection)

    def parts(self) -> List[Part]:
        return [part for source in self._all for part in source.parts()]

    def origins(self, asked: Optional[Range] = None) -> List[Origin]:
        """What is known of each source, with its gaps in a range: by default the one that the report is about."""
        return [
            *(archive.origin(asked or self.asked) for archive in self.archives),
            *(fetched.origin() for fetched in self.fetched),
        ]

    def lines(self) -> Iterator[bytes]:
        """The canonical form of each entry of the range, source by source, each in its own order."""
        for source in self._all:
            for line in source.lines():
                if self.asked.contains(timestamp(parse(line))):
                    yield line

    def entries(self) -> Iterator[Tuple[str, Iterator[Entry]]]:
        """The entries of each project, also those before the range, in the order of its log."""
        by_project: Dict[str, List[Union[Archive, Fetched]]] = {}
        for source in self._all:
            by_project.setdefault(source.project, []).append(source)
        for project, sources in by_project.items():
            yield project, chain.from_iterable(source.entries() for source in sources)

    def refresh(self) -> bool:
        """Whether a file vanished since its archive was opened; the lists of files are then taken anew."""
        gone = [archive for archive in self.archives if archive.has_lost()]
        for archive in gone:
            archive.refresh()
        return bool(gone)

    def rewritten(self) -> List[Part]:
        """The same parts in files that any engine can read: Python's reader takes what engines' readers refuse."""
        return [part for source in self._all for part in source.rewritten()]

    def data_file(self, record: Mapping[str, Any]) -> Optional[str]:
        """Path in its archive of the data file that an engine's record is stored in; None if it is from the API."""
        archive, sequence, moment = (record[name] for name in ("archive", "sequence", "moment"))
        if archive is None or sequence is None:
            return None
        day = UNDATED_DAY if moment is None else moment.date().isoformat()
        return self.archives[archive].data_file(sequence, day)

    @property
    def _all(self) -> List[Union[Archive, Fetched]]:
        return [*self.archives, *self.fetched]

    def _check(self, connections: Sequence[Any]) -> None:
        if not connections and not self.archives:
            raise InvalidInput("There is nothing to report on: give api_token (or CLOUDSCALE_API_TOKEN), or archives.")
        if self.archives and self._range.cursor is not None:
            raise InvalidInput("cursor is a place in the API's log; with archives give start and end.")

    def _fetch(self, name: str, connection: Connection) -> None:
        archive = next((archive for archive in self.archives if archive.has_token(connection)), None)
        span = self._span if archive is None else self._span.intersect(start=archive.yield_to_api(self._now))
        if span.is_empty:
            return
        path = os.path.join(self._folder, f"api-{len(self.fetched)}.jsonl")
        fetched = Fetched(path, span, name, self._now - RETENTION)
        self._read(connection, fetched)
        if archive is None:
            archive = next((found for found in self.archives if fetched.uuid in (found.commit.project.uuid,)), None)
            if archive is not None and fetched.uuid is not None:
                fetched.span = span.intersect(start=archive.yield_to_api(self._now))
        if archive is not None:
            archive.name = archive.name or name
            fetched.name = archive.project
            fetched.drop(archive.unreadable())
        self.fetched.append(fetched)

    def _read(self, connection: Connection, fetched: Fetched) -> None:
        start = None if self._range.cursor else fetched.span.start
        with Api(connection) as api:
            reader = Reader(api, concurrency(self._options), LATENESS)
            pages = reader.pages(replace(self._range, start=start, now=None))
            fetched.write(found for page in pages for found in page.entries)
        self.warnings.extend(warning for warning in reader.warnings if warning not in self.warnings)


def _connections(options: Mapping[str, Any]) -> List[Tuple[str, Connection]]:
    """The logs to ask at the API, each with the name given to it; none when only archives are to be read."""
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


def _rewrite(entries: Iterable[Entry], folder: str, name: str) -> str:
    """Write what engines read of entries, in a form that all of them accept; the path."""
    path = os.path.join(folder, name[: -len(".gz")] if name.endswith(".gz") else name)
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
