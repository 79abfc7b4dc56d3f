# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an archive is made of: names, commits and data files, as bytes and as typed values. It touches no storage."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Pattern, Tuple, TypeVar

from ...times import format_optional, format_time, parse_timestamp

FORMAT = 1
FIRST_SEQUENCE = 1
READING_KINDS = ("entries", "heartbeat", "resync")
"""Kinds of commits that read the API; the others only rearrange files."""

KINDS = (*READING_KINDS, "prune", "compact")
UNDATED_DAY = "0000-00-00"

_DAY = r"0000-00-00|\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_DATA_NAME = re.compile(rf"entries/date=({_DAY})/(\d{{12}})-([0-9a-f]{{12}})\.jsonl\.gz", re.ASCII)
_DAY_DIRECTORY = re.compile(rf"entries/date=(?:{_DAY})", re.ASCII)
_COMMIT_NAME = re.compile(r"commits/(\d{12})\.json", re.ASCII)
_PENDING_NAME = re.compile(r"pending/(\d{12})-([0-9a-z]{1,32})\.(json|tmp)", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TAG = re.compile(r"[0-9a-f]{8}", re.ASCII)
_ID = re.compile(r"[0-9a-z]{1,64}", re.ASCII)
_QUERY = re.compile(r"[\x21-\x7e]{0,8192}", re.ASCII)
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}", re.ASCII)
_KIND = re.compile("|".join(KINDS), re.ASCII)
_WORD = re.compile(r".{0,255}", re.DOTALL)
# As format_time writes what can be read at all.
_TIME = re.compile(r"[0-9-]{10}T[0-9:]{8}(?:\.(?!000000)[0-9]{6})?Z", re.ASCII)
_URL = re.compile(r"https?://[\x21-\x7e]{1,2048}", re.ASCII)
_MAX_COUNT = (1 << 53) - 1  # the largest whole number that every JSON reader keeps
_OTHER_FORM = "it is not written in the one form that commits have"
_NOTHING = (None, None)

_T = TypeVar("_T")


class Malformed(ValueError):
    """Bytes that are not what they have to be. The text says which part, as a phrase without a full stop."""


class Head(NamedTuple):
    """A commit by its sequence and the SHA-256 of its bytes: what one keeps elsewhere to pin an archive."""

    sequence: int
    sha256: str


class DataFileName(NamedTuple):
    """The parts of a data file's name."""

    day: str
    sequence: int
    digest: str


class Gap(NamedTuple):
    """A span of time that the archive cannot vouch for, and why."""

    start: datetime
    end: datetime
    why: str

    def to_json(self) -> Dict[str, Any]:
        return {"from": format_time(self.start), "to": format_time(self.end), "why": self.why}


class Project(NamedTuple):
    """Whose log it is: a label for people, and the uuid once an entry showed it."""

    name: str
    uuid: Optional[str]


class Writer(NamedTuple):
    """Who wrote a commit: the version of this code and the host's name."""

    version: str
    host: str


class Resync(NamedTuple):
    """How a log was joined again: why, from when on it was re-read, and what was found again.

    ``overlap`` counts the re-read entries that the archive had, ``renamed`` those of them that look different now.
    """

    why: str
    start: datetime
    overlap: int
    renamed: int
    accepted_identity: bool


class Part(NamedTuple):
    """A slice of a compacted file: the content of one file that went into it."""

    path: str
    content_sha256: str
    content_bytes: int
    entries: int


@dataclass(frozen=True)
class DataFile:
    """One data file as its commit describes it; ``first`` and ``last`` are None when no timestamp was readable."""

    path: str
    sha256: str
    bytes: int
    content_sha256: str
    content_bytes: int
    entries: int
    first: Optional[datetime]
    last: Optional[datetime]
    parts: Tuple[Part, ...] = ()

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
    """One link of the chain: what was added, up to where the log was read, and what is vouched for since when.

    ``signer`` is the fingerprint of the key that signs the commit. ``asked`` is when the run asked for its first page,
    by the later of the server's and the host's clock; ``server_date`` is the earlier of the two when the last page
    arrived. ``newest`` is the newest timestamp of an entry that lies in what was covered, over all commits so far.
    ``total_entries`` counts the entries of all live files, ``total_gaps`` all gaps ever recorded. ``pruned_until`` is
    carried forward once a prune set it.
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
        """From when on the archive still has what it covers: a prune let go of all before."""
        return max(self.covered_from, self.pruned_until or self.covered_from)

    def to_bytes(self) -> bytes:
        """The one byte form of this commit: a line of JSON in ASCII."""
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
        """Read a commit; bytes in any other form than :meth:`to_bytes` writes are refused.

        :raises Malformed: the bytes are no commit of this format.
        """
        value = _decode(body)
        commit = _read(value, "", _read_commit)
        # Its keys are in order, and each value has one form: what is left are the form of JSON, and repeated keys.
        if _dump(value) + b"\n" != body:
            raise Malformed(_OTHER_FORM)
        return commit


def sha256(body: bytes) -> str:
    """The SHA-256 of these bytes, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


def token_tag(archive_id: str, token: str) -> str:
    """Eight hexadecimal digits that tell tokens of one archive apart and reveal none of them."""
    return hmac.new(archive_id.encode(), token.encode(), hashlib.sha256).hexdigest()[:8]


def utc_day(moment: Optional[datetime]) -> str:
    """The UTC day, as in a folder's name, of an entry with this timestamp; a day of its own for an unreadable one."""
    return moment.isoformat()[:10] if moment else UNDATED_DAY


def commit_name(sequence: int) -> str:
    return f"commits/{sequence:012d}.json"


def data_file_name(day: str, sequence: int, digest: str) -> str:
    return f"entries/date={day}/{sequence:012d}-{digest[:12]}.jsonl.gz"


def pending_name(sequence: int, run: str) -> str:
    return f"pending/{sequence:012d}-{run}.json"


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
    """Whether the data files of a day are stored in a directory of this name."""
    return _DAY_DIRECTORY.fullmatch(name) is not None


def parse_pending_name(name: str) -> Optional[int]:
    """The sequence in the name of a pending record or a temporary file; None for any other name."""
    match = _PENDING_NAME.fullmatch(name)
    return int(match[1]) if match else None


def pending_record(names: Iterable[str]) -> bytes:
    """The body of a pending record: the data files that a run is about to write."""
    return json.dumps({"format": FORMAT, "files": sorted(names)}).encode("ascii") + b"\n"


def parse_pending_record(body: bytes, sequence: int) -> Optional[List[str]]:
    """The data files of this sequence that a pending record names; None for bytes that are no such record."""
    try:
        names = json.loads(body)["files"]
        return [name for name in names if _sequence_of(name) == sequence]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _dump(value: Any) -> bytes:
    return _ENCODER.encode(value).encode("ascii")


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body.decode("ascii"))
    except (ValueError, RecursionError) as exc:
        raise Malformed("it is no JSON") from exc


def _sequence_of(name: str) -> Optional[int]:
    parts = parse_data_file_name(name)
    return parts.sequence if parts else None


class _Fields:
    """Typed values out of a decoded JSON object, taken in the order that they have there.

    A Malformed names the first one that is missing, is in another place, or is of another type or form.
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise Malformed(f"{where or 'it'} is no JSON object")
        self._value = value
        self._items = iter(value.items())
        self._where = f"{where}." if where else ""

    def end(self) -> None:
        """There must be nothing more."""
        if next(self._items, _NOTHING) is not _NOTHING:
            raise Malformed(_OTHER_FORM)

    def has(self, key: str) -> bool:
        return key in self._value

    def text(self, key: str, pattern: Pattern[str] = _WORD) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self._wrong(key)
        return value

    def optional_text(self, key: str, pattern: Pattern[str] = _WORD) -> Optional[str]:
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self._wrong(key)
        return value

    def count(self, key: str) -> int:
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_COUNT:
            raise self._wrong(key)
        return value

    def flag(self, key: str) -> bool:
        value = self._take(key)
        if not isinstance(value, bool):
            raise self._wrong(key)
        return value

    def seconds(self, key: str) -> float:
        value = self._take(key)
        if not isinstance(value, float) or not math.isfinite(value):  # JSON has no such number, Python's reader does
            raise self._wrong(key)
        return value

    def time(self, key: str) -> datetime:
        return self._moment(key, self._take(key))

    def optional_time(self, key: str) -> Optional[datetime]:
        value = self._take(key)
        return None if value is None else self._moment(key, value)

    def one(self, key: str, read: Callable[[_Fields], _T]) -> _T:
        return _read(self._take(key), self._where + key, read)

    def many(self, key: str, read: Callable[[_Fields], _T]) -> Tuple[_T, ...]:
        values = self._list(key)
        return tuple(_read(value, f"{self._where}{key}[{number}]", read) for number, value in enumerate(values))

    def data_names(self, key: str) -> Tuple[str, ...]:
        values = self._list(key)
        if not all(isinstance(value, str) and parse_data_file_name(value) for value in values):
            raise self._wrong(key)
        return tuple(values)

    def _list(self, key: str) -> List[Any]:
        value = self._take(key)
        if not isinstance(value, list):
            raise self._wrong(key)
        return value

    def _moment(self, key: str, value: Any) -> datetime:
        moment = parse_timestamp(value)
        if moment is None:
            raise self._wrong(key)
        if not _TIME.fullmatch(value):
            raise Malformed(_OTHER_FORM)
        return moment

    def _take(self, key: str) -> Any:
        found, value = next(self._items, _NOTHING)
        if found != key:
            raise self._wrong(key)
        return value

    def _wrong(self, key: str) -> Malformed:
        return Malformed(f"{self._where}{key} is not what a commit has there")


def _read(value: Any, where: str, read: Callable[[_Fields], _T]) -> _T:
    fields = _Fields(value, where)
    made = read(fields)
    fields.end()
    return made


# Each of these takes the values in the order in which they are written.


def _read_commit(fields: _Fields) -> Commit:
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
        removed=fields.data_names("removed"),
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


def _read_project(fields: _Fields) -> Project:
    return Project(fields.text("name"), fields.optional_text("uuid"))


def _read_writer(fields: _Fields) -> Writer:
    return Writer(fields.text("version"), fields.text("host"))


def _read_gap(fields: _Fields) -> Gap:
    return Gap(fields.time("from"), fields.time("to"), fields.text("why"))


def _read_resync(fields: _Fields) -> Resync:
    return Resync(
        fields.text("why"),
        fields.time("start"),
        fields.count("overlap"),
        fields.count("renamed"),
        fields.flag("accepted_identity"),
    )


def _read_file(fields: _Fields) -> DataFile:
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
        raise Malformed(_OTHER_FORM)
    name = parse_data_file_name(file.path)
    if name is None or not file.sha256.startswith(name.digest):
        raise Malformed(f"the name of {file.path} does not begin its SHA-256")
    return file


def _read_part(fields: _Fields) -> Part:
    return Part(
        fields.text("path", _DATA_NAME),
        fields.text("content_sha256", _SHA256),
        fields.count("content_bytes"),
        fields.count("entries"),
    )


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)
