# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Defines the layout of an evidence package and its facts about each archive, for its maker and its verifier."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence

from ..project_log.entry import Entry, canonical
from ..settings import Range
from ..times import format_optional, format_time
from ..version import VERSION
from .chain.chain import StoredCommit, gaps
from .chain.coverage import is_at_end
from .chain.status import Status, archive_state, status_fields
from .chain.timestamp import parse_timestamp_name
from .completeness import MissingRange, missing_parts
from .export import CSV_HEADING, csv_line, describe_source
from .format.commit import DataFile, Gap, parse_commit_name, parse_data_file_name, sha256
from .heads import head_record
from .storage.store import Store
from .storage.zip_file import Spool

FORMAT = 1
"""Increased whenever the same archive and range give a different extract."""

README, MANIFEST, HEADS = "README.txt", "MANIFEST.sha256", "heads.jsonl"
LINES, TABLE, FACTS, VERIFICATION, SIGNERS = (
    *("extract.jsonl", "extract.csv", "extract.json"),
    *("verification.json", "allowed-signers"),
)
MADE_BY = f"cloudscale-audit {VERSION}"

MAX_DOCUMENT = 32 << 20
"""Maximum size in bytes of a JSON document or of the allowed signers in a package."""

_MAX_SLUG = 40
_DIRECTORY = re.compile(r"(?:[a-z0-9]+-)*[0-9a-z]{1,64}", re.ASCII)
_SIGNATURE = re.compile(r"signatures/\d{12}-[0-9a-f]{64}-[0-9a-f]{8}\.sig", re.ASCII)
_END_OF_TIME = datetime.max.replace(tzinfo=timezone.utc)


class Member(NamedTuple):
    """The name of a member: the directory of its archive (empty at the top level), and its name in that directory."""

    directory: str
    name: str


def parse_member(name: str) -> Optional[Member]:
    """Split a member's name; return None for a name that no package has."""
    if name in (README, MANIFEST, HEADS):
        return Member("", name)
    directory, _slash, inner = name.partition("/")
    if not _DIRECTORY.fullmatch(directory):
        return None
    is_document = inner in (LINES, TABLE, FACTS, VERIFICATION, SIGNERS)
    return Member(directory, inner) if is_document or _is_of_archive(inner) else None


def _is_of_archive(name: str) -> bool:
    is_chained = parse_commit_name(name) is not None or parse_data_file_name(name) is not None
    return is_chained or _SIGNATURE.fullmatch(name) is not None or parse_timestamp_name(name) is not None


def directory_of(head: StoredCommit) -> str:
    """Return the directory of an archive: its project's name in portable characters, and the archive's id."""
    words = re.findall(r"[a-z0-9]+", head.commit.project.name.lower())
    slug = "-".join(words)[:_MAX_SLUG].strip("-")
    return f"{slug}-{head.commit.archive_id}" if slug else head.commit.archive_id


class ExtractFiles(NamedTuple):
    """The entries of a range as JSON lines and as CSV, and the number of entries."""

    lines: Spool
    table: Spool
    entries: int


def extract(entries: Iterable[Entry], lines: Spool, table: Spool) -> ExtractFiles:
    """Write entries as JSON lines and as CSV."""
    count = 0
    table.write(CSV_HEADING + b"\n")
    for entry in entries:
        line = canonical(entry)
        lines.write(line + b"\n")
        table.write(csv_line(entry, sha256(line)) + b"\n")
        count += 1
    return ExtractFiles(lines, table, count)


class PackedRange(NamedTuple):
    """An archive as of a commit, and the range of it that is packed.

    ``live`` are all data files as of that commit, ``recorded_gaps`` its gaps. ``store`` is the archive, or the part
    of it in a package; ``path`` is the maker's path of the archive.
    """

    store: Store
    path: str
    head: StoredCommit
    live: Sequence[DataFile]
    recorded_gaps: Sequence[Gap]
    time_range: Range

    @property
    def directory(self) -> str:
        return directory_of(self.head)

    @property
    def files(self) -> List[DataFile]:
        """The data files that can contain entries of the range."""
        return [file for file in self.live if self.is_packed(file)]

    def is_packed(self, file: DataFile) -> bool:
        return self.time_range.overlaps(file.first, file.last)

    @property
    def missing(self) -> List[MissingRange]:
        """The parts of the range that the archive does not contain; the result does not depend on the current time.

        The end of a range applies exactly. A range without an end ends where the archive ends.
        """
        commit, time_range = self.head.commit, self.time_range
        if time_range.end is None and (time_range.start is None or time_range.start < commit.covered_until):
            time_range = time_range.intersect(end=commit.covered_until)
        return missing_parts(commit, self.recorded_gaps, time_range, _END_OF_TIME)

    @property
    def status(self) -> Status:
        """The status as of the newest commit."""
        commit = self.head.commit
        state = archive_state(commit.covered_until, is_at_end(commit), commit.committed_at)
        return Status(self.path, state, gaps=self.recorded_gaps, **status_fields(self.head))

    def facts(self, extracted: ExtractFiles, made_by: str = MADE_BY) -> Dict[str, Any]:
        """Return the content of ``extract.json``."""
        missing = self.missing
        files = {LINES: extracted.lines, TABLE: extracted.table}
        return {
            "format": FORMAT,
            "entries": extracted.entries,
            "files": {name: {"sha256": spool.sha256, "bytes": spool.bytes} for name, spool in files.items()},
            "range": {"start": format_optional(self.time_range.start), "end": format_optional(self.time_range.end)},
            "complete": not missing,
            "missing": [part.to_json() for part in missing],
            "archive": {**describe_source(self.store, self.head, self.recorded_gaps), "path": self.path},
            "as_of": format_time(self.head.commit.committed_at),
            "day_files": {"packed": len(self.files), "live": len(self.live)},
            "exported_by": made_by,
        }

    def head_line(self) -> bytes:
        """Return the line for ``heads.jsonl``, in the form of a ledger's line."""
        return json.dumps(head_record(self.head, format_time(self.head.commit.committed_at))).encode() + b"\n"


def packed_range_of(
    store: Store, path: str, head: StoredCommit, live: Dict[str, DataFile], time_range: Range
) -> PackedRange:
    """Return the packed range of an archive that was read up to its head."""
    return PackedRange(store, path, head, [live[name] for name in sorted(live)], gaps(store, head.commit), time_range)


def document(value: Any) -> bytes:
    """Return an indented JSON document."""
    return json.dumps(value, indent=2).encode("ascii") + b"\n"


def manifest_line(name: str, digest: str) -> bytes:
    """Return a line in the format of ``sha256sum``."""
    return f"{digest}  {name}\n".encode("ascii")
