# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commits as typed values and as bytes, and the names of the files of an archive."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Dict, NamedTuple, Optional, Tuple

from ...times import format_optional, format_time
from .fields import WRONG_FORM, Fields, Malformed, read_fields

FORMAT = 1
FIRST_SEQUENCE = 1
READING_KINDS = ("entries", "heartbeat", "resync")
"""Kinds of commits that add entries from the API; the other kinds only rearrange files."""

KINDS = (*READING_KINDS, "prune", "compact")
UNDATED_DAY = "0000-00-00"

_DAY = r"0000-00-00|\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_DATA_NAME = re.compile(rf"entries/date=({_DAY})/(\d{{12}})-([0-9a-f]{{12}})\.jsonl\.gz", re.ASCII)
_DAY_DIRECTORY = re.compile(rf"entries/date=(?:{_DAY})", re.ASCII)
_COMMIT_NAME = re.compile(r"commits/(\d{12})\.json", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TAG = re.compile(r"[0-9a-f]{8}", re.ASCII)
_ID = re.compile(r"[0-9a-z]{1,64}", re.ASCII)
_QUERY = re.compile(r"[\x21-\x7e]{0,8192}", re.ASCII)
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}", re.ASCII)
_KIND = re.compile("|".join(KINDS), re.ASCII)
_URL = re.compile(r"https?://[\x21-\x7e]{1,2048}", re.ASCII)


class Head(NamedTuple):
    """The sequence of a commit and the SHA-256 of its bytes, which pin an archive when stored elsewhere."""

    sequence: int
    sha256: str


class DataFileName(NamedTuple):
    """The parts of a data file's name."""

    day: str
    sequence: int
    digest: str


class Gap(NamedTuple):
    """A time range in which entries might be missing, and the reason."""

    start: datetime
    end: datetime
    why: str

    def to_json(self) -> Dict[str, Any]:
        return {"from": format_time(self.start), "to": format_time(self.end), "why": self.why}


class Project(NamedTuple):
    """The project of a log: its name in the configuration, and its UUID once an entry contained it."""

    name: str
    uuid: Optional[str]


class Writer(NamedTuple):
    """The writer of a commit: the version of this collection and the name of the host."""

    version: str
    host: str


class Resync(NamedTuple):
    """How collection continued without its cursor: the reason, and from when on the log was read again.

    ``overlap`` is the number of entries read again that the archive contained, ``renamed`` the number of those with
    changed names.
    """

    why: str
    start: datetime
    overlap: int
    renamed: int
    accepted_identity: bool


class Part(NamedTuple):
    """A part of a compacted file: the content of one of the files that it replaces."""

    path: str
    content_sha256: str
    content_bytes: int
    entries: int


@dataclass(frozen=True)
class DataFile:
    """A data file as described by its commit; ``first`` and ``last`` are None if no timestamp is readable."""

    path: str
    sha256: str
    bytes: int
    content_sha256: str
    content_bytes: int
    entries: int
    first: Optional[datetime]
    last: Optional[datetime]
    parts: Tuple[Part, ...] = ()

    @property
    def day(self) -> str:
        """The UTC day in the file's name."""
        name = parse_data_file_name(self.path)
        return name.day if name else UNDATED_DAY

    def to_json(self) -> Dict[str, Any]:
        value = {
            "path": self.path,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "content_sha256": self.content_sha256,
            "content_bytes": self.content_bytes,
            "entries": self.entries,
            "first": format_optional(self.first),
            "last": format_optional(self.last),
        }
        if self.parts:
            value["parts"] = [part._asdict() for part in self.parts]
        return value


@dataclass(frozen=True)
class Commit:
    """One commit of the chain: the files it adds or removes, and the time range that the archive covers.

    ``signer`` is the fingerprint of the key that signs the commit. ``asked`` is the time of the run's first request,
    by the later of the server's and the host's clock; ``server_date`` is the earlier of the two when the last page
    arrived. ``newest`` is the newest timestamp within the covered time range, over all commits so far.
    ``total_entries`` counts the entries of all live files, ``total_gaps`` all gaps ever recorded. ``pruned_until`` is
    set by the first prune and copied to every later commit.
    """

    archive_id: str
    sequence: int
    kind: str
    run: str
    signer: Optional[str]
    previous: Optional[str]
    project: Project
    api: str
    token_tag: str
    cursor_before: str
    cursor_after: str
    asked: datetime
    covered_from: datetime
    covered_until: datetime
    files: Tuple[DataFile, ...]
    removed: Tuple[str, ...]
    gaps: Tuple[Gap, ...]
    entries: int
    total_entries: int
    total_gaps: int
    pages: int
    committed_at: datetime
    server_date: datetime
    clock_skew_seconds: float
    collector: Writer
    newest: Optional[datetime] = None
    resync: Optional[Resync] = None
    pruned_until: Optional[datetime] = None

    @property
    def name(self) -> str:
        return commit_name(self.sequence)

    @property
    def retained_from(self) -> datetime:
        """The start of the covered time range after pruning."""
        return max(self.covered_from, self.pruned_until or self.covered_from)

    def to_bytes(self) -> bytes:
        """The bytes of this commit, which have only one form: a line of JSON in ASCII."""
        return _dump(self._to_json()) + b"\n"

    def _to_json(self) -> Dict[str, Any]:
        value: Dict[str, Any] = {
            "format": FORMAT,
            "archive_id": self.archive_id,
            "sequence": self.sequence,
            "kind": self.kind,
            "run": self.run,
            "signer": self.signer,
            "previous": self.previous,
            "project": self.project._asdict(),
            "api": self.api,
            "token_tag": self.token_tag,
            "cursor_before": self.cursor_before,
            "cursor_after": self.cursor_after,
            "asked": format_time(self.asked),
            "covered_from": format_time(self.covered_from),
            "covered_until": format_time(self.covered_until),
            "files": [file.to_json() for file in self.files],
            "removed": list(self.removed),
            "gaps": [gap.to_json() for gap in self.gaps],
            "entries": self.entries,
            "total_entries": self.total_entries,
            "total_gaps": self.total_gaps,
            "pages": self.pages,
            "committed_at": format_time(self.committed_at),
            "server_date": format_time(self.server_date),
            "clock_skew_seconds": self.clock_skew_seconds,
            "collector": self.collector._asdict(),
            "newest": format_optional(self.newest),
        }
        if self.resync is not None:
            value["resync"] = {**self.resync._asdict(), "start": format_time(self.resync.start)}
        if self.pruned_until is not None:
            value["pruned_until"] = format_time(self.pruned_until)
        return value

    @classmethod
    def parse(cls, body: bytes) -> Commit:
        """Parse a commit.

        :raises Malformed: the bytes are not a commit in the form that :meth:`to_bytes` writes.
        """
        value = _decode(body)
        commit = read_fields(value, "", _read_commit)
        # Fields checked keys and values; this detects other white space, escapes and repeated keys.
        if _dump(value) + b"\n" != body:
            raise Malformed(WRONG_FORM)
        return commit


def sha256(body: bytes) -> str:
    """The SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


def token_tag(archive_id: str, token: str) -> str:
    """Eight hexadecimal digits that distinguish the tokens of an archive without revealing them."""
    return hmac.new(archive_id.encode(), token.encode(), hashlib.sha256).hexdigest()[:8]


def utc_day(moment: Optional[datetime]) -> str:
    """The UTC day of a timestamp as in the names of directories; UNDATED_DAY if the timestamp is unreadable."""
    return moment.isoformat()[:10] if moment else UNDATED_DAY


def commit_name(sequence: int) -> str:
    return f"commits/{sequence:012d}.json"


def data_file_name(day: str, sequence: int, digest: str) -> str:
    return f"entries/date={day}/{sequence:012d}-{digest[:12]}.jsonl.gz"


def parse_commit_name(name: str) -> Optional[int]:
    """The sequence in a commit's name; None for any other name."""
    match = _COMMIT_NAME.fullmatch(name)
    return int(match[1]) if match else None


@lru_cache(maxsize=1024)
def parse_data_file_name(name: str) -> Optional[DataFileName]:
    """The parts of a data file's name; None for any other name."""
    match = _DATA_NAME.fullmatch(name)
    return DataFileName(match[1], int(match[2]), match[3]) if match else None


def is_day_directory(name: str) -> bool:
    """Whether this is the name of a directory for the data files of a day."""
    return _DAY_DIRECTORY.fullmatch(name) is not None


def _dump(value: Any) -> bytes:
    return _ENCODER.encode(value).encode("ascii")


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body.decode("ascii"))
    except (ValueError, RecursionError) as exc:
        raise Malformed("it is not valid JSON") from exc


# Each function reads the values in the order in which to_bytes writes them.


def _read_commit(fields: Fields) -> Commit:
    if fields.count("format") != FORMAT:
        raise Malformed(f"its format is not {FORMAT}")
    return Commit(
        archive_id=fields.text("archive_id", _ID),
        sequence=fields.count("sequence"),
        kind=fields.text("kind", _KIND),
        run=fields.text("run", _ID),
        signer=fields.optional_text("signer", _FINGERPRINT),
        previous=fields.optional_text("previous", _SHA256),
        project=fields.one("project", _read_project),
        api=fields.text("api", _URL),
        token_tag=fields.text("token_tag", _TAG),
        cursor_before=fields.text("cursor_before", _QUERY),
        cursor_after=fields.text("cursor_after", _QUERY),
        asked=fields.time("asked"),
        covered_from=fields.time("covered_from"),
        covered_until=fields.time("covered_until"),
        files=fields.many("files", _read_file),
        removed=fields.texts("removed", _DATA_NAME),
        gaps=fields.many("gaps", _read_gap),
        entries=fields.count("entries"),
        total_entries=fields.count("total_entries"),
        total_gaps=fields.count("total_gaps"),
        pages=fields.count("pages"),
        committed_at=fields.time("committed_at"),
        server_date=fields.time("server_date"),
        clock_skew_seconds=fields.seconds("clock_skew_seconds"),
        collector=fields.one("collector", _read_writer),
        newest=fields.optional_time("newest"),
        resync=fields.one("resync", _read_resync) if fields.has("resync") else None,
        pruned_until=fields.time("pruned_until") if fields.has("pruned_until") else None,
    )


def _read_project(fields: Fields) -> Project:
    return Project(fields.text("name"), fields.optional_text("uuid"))


def _read_writer(fields: Fields) -> Writer:
    return Writer(fields.text("version"), fields.text("host"))


def _read_gap(fields: Fields) -> Gap:
    return Gap(fields.time("from"), fields.time("to"), fields.text("why"))


def _read_resync(fields: Fields) -> Resync:
    return Resync(
        fields.text("why"),
        fields.time("start"),
        fields.count("overlap"),
        fields.count("renamed"),
        fields.flag("accepted_identity"),
    )


def _read_file(fields: Fields) -> DataFile:
    file = DataFile(
        path=fields.text("path", _DATA_NAME),
        sha256=fields.text("sha256", _SHA256),
        bytes=fields.count("bytes"),
        content_sha256=fields.text("content_sha256", _SHA256),
        content_bytes=fields.count("content_bytes"),
        entries=fields.count("entries"),
        first=fields.optional_time("first"),
        last=fields.optional_time("last"),
        parts=fields.many("parts", _read_part) if fields.has("parts") else (),
    )
    if fields.has("parts") and not file.parts:
        raise Malformed(WRONG_FORM)
    name = parse_data_file_name(file.path)
    if name is None or not file.sha256.startswith(name.digest):
        raise Malformed(f"the name of {file.path} does not match its SHA-256")
    return file


def _read_part(fields: Fields) -> Part:
    return Part(
        fields.text("path", _DATA_NAME),
        fields.text("content_sha256", _SHA256),
        fields.count("content_bytes"),
        fields.count("entries"),
    )


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)
