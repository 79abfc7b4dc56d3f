# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A second verifier of archives in a directory, written from the format guide alone.

It shares no code with the collection: two programs that agree are better evidence than one. It needs Python and, for
signed archives, OpenSSH's ``ssh-keygen``:

    python verifier.py ARCHIVE [--allowed-signers FILE] [--head SEQUENCE:SHA256]

It prints each finding and exits with status 1 if one of them is an error.
"""

from __future__ import annotations

import argparse
import base64
import functools
import hashlib
import json
import math
import os
import re
import stat
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Optional

DAY_PATTERN = r"0000-00-00|\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
FILE_PATTERN = re.compile(rf"entries/date=({DAY_PATTERN})/(\d{{12}})-([0-9a-f]{{12}})\.jsonl\.gz", re.ASCII)
COMMIT_PATTERN = re.compile(r"(\d{12})\.json", re.ASCII)
SIGNATURE_PATTERN = re.compile(r"(\d{12})-([0-9a-f]{64})-([0-9a-f]{8})\.sig", re.ASCII)
RECORD_PATTERN = re.compile(r"(\d{12})-[0-9a-z]{1,32}\.json", re.ASCII)
TIMESTAMP_PATTERN = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:[.,](\d+))?)?\s?"
    r"(?:Z|([+-])([01]\d|2[0-3]):?([0-5]\d)?)",
    re.ASCII | re.IGNORECASE,
)
UNDATED = "0000-00-00"
NAMESPACE = "cloudscale-audit-head"
WARNINGS = {"signature_extra", "orphan", "deletion_pending", "unfinished"}

SLACK = timedelta(seconds=10)
MARGIN = timedelta(minutes=10)
SKEW = timedelta(minutes=30)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
RETENTION = timedelta(days=90)
YEARS = range(2, 9999)
RECENT = 100
MAX_COUNT = (1 << 53) - 1
MAX_RECORD = 1 << 20
MAX_COMMIT = 1 << 25
MAX_SIGNATURE = 1 << 16
MAX_FILE = 1 << 30


class Finding(NamedTuple):
    """What is wrong, of which file, and why; the type is one of those in the guide."""

    type: str
    path: str
    detail: str

    @property
    def is_error(self) -> bool:
        return self.type not in WARNINGS


class Refused(Exception):
    """Bytes or values that the format does not allow: a type of finding, and the reason."""

    def __init__(self, type_: str, reason: str) -> None:
        super().__init__(reason)
        self.type = type_


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def malformed(reason: str) -> NoReturn:
    raise Refused("commit_malformed", reason)


# The form of a commit


def time(value: Any) -> datetime:
    """A time in the only form of commits: UTC, ``Z``, six digits of a second's fraction or none."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9T:.-]+Z", value, re.ASCII):
        malformed(f"{value!r} is not a time")
    try:
        found = datetime.fromisoformat(f"{value[:-1]}+00:00")
    except ValueError:
        malformed(f"{value!r} is not a time")
    if text_of(found) != value or found.year not in YEARS:
        malformed(f"{value!r} is not written as times are")
    return found


def text_of(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def optional_time(value: Any) -> Optional[datetime]:
    return None if value is None else time(value)


def count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        malformed(f"{value!r} is not a count")
    return value


def positive(value: Any) -> int:
    if count(value) == 0:
        malformed("0 where at least 1 is needed")
    return int(value)


def seconds(value: Any) -> float:
    if not isinstance(value, float) or not math.isfinite(value):
        malformed(f"{value!r} is not a number with a fraction")
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        malformed(f"{value!r} is neither true nor false")
    return value


def string(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 255:
        malformed(f"{value!r} is not a string of at most 255 characters")
    return value


def optional_string(value: Any) -> Optional[str]:
    return None if value is None else string(value)


def matching(pattern: str) -> Any:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            malformed(f"{value!r} is not of the form {pattern}")
        return value

    return check


def optional(check: Any) -> Any:
    return lambda value: None if value is None else check(value)


def one_of(*values: Any) -> Any:
    def check(value: Any) -> Any:
        if value not in values or isinstance(value, bool):
            malformed(f"{value!r} is none of {values}")
        return value

    return check


def list_of(check: Any) -> Any:
    def checked(value: Any) -> list[Any]:
        if not isinstance(value, list):
            malformed(f"{value!r} is not a list")
        return [check(item) for item in value]

    return checked


def object_of(keys: dict[str, Any], more: Optional[dict[str, Any]] = None) -> Any:
    """An object with these keys in this order, and behind them some of ``more`` in their order."""

    def checked(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            malformed("a value is not an object")
        extra = [key for key in (more or {}) if key in value]
        if list(value) != [*keys, *extra]:
            malformed(f"keys {list(value)} instead of {[*keys, *extra]}")
        return {key: {**keys, **(more or {})}[key](item) for key, item in value.items()}

    return checked


WORD = matching("[0-9a-z]{1,64}")
DIGEST = matching("[0-9a-f]{64}")
PATH = matching(FILE_PATTERN.pattern)
QUERY = matching(r"[\x21-\x7e]{0,8192}")
PART = {"path": PATH, "content_sha256": DIGEST, "content_bytes": positive, "entries": positive}
FILE = {
    "path": PATH,
    "sha256": DIGEST,
    "bytes": positive,
    "content_sha256": DIGEST,
    "content_bytes": positive,
    "entries": positive,
    "first": optional_time,
    "last": optional_time,
}
COMMIT = {
    "format": one_of(1),
    "archive_id": WORD,
    "sequence": positive,
    "kind": one_of("entries", "heartbeat", "resync", "prune", "compact"),
    "run": WORD,
    "signer": optional(matching("SHA256:[A-Za-z0-9+/]{43}")),
    "previous": optional(DIGEST),
    "project": object_of({"name": string, "uuid": optional_string}),
    "api": matching(r"https?://[\x21-\x7e]{1,2048}"),
    "token_tag": matching("[0-9a-f]{8}"),
    "cursor_before": QUERY,
    "cursor_after": QUERY,
    "asked": time,
    "covered_from": time,
    "covered_until": time,
    "files": list_of(object_of(FILE, {"parts": list_of(object_of(PART))})),
    "removed": list_of(PATH),
    "gaps": list_of(object_of({"from": time, "to": time, "why": one_of("retention", "no overlap")})),
    "entries": count,
    "total_entries": count,
    "total_gaps": count,
    "pages": count,
    "committed_at": time,
    "server_date": time,
    "clock_skew_seconds": seconds,
    "collector": object_of({"version": string, "host": string}),
    "newest": optional_time,
}
MORE = {
    "resync": object_of(
        {
            "why": one_of("cursor", "restart", "token", "api"),
            "start": time,
            "overlap": count,
            "renamed": count,
            "accepted_identity": flag,
        }
    ),
    "pruned_until": time,
}
Commit = dict[str, Any]


def parse_commit(body: bytes) -> Commit:
    """The values of a commit, times as datetimes; refuses every other form of the same values."""
    try:
        value = json.loads(body.decode("ascii"), parse_constant=lambda word: malformed(f"{word} is not JSON"))
        again = json.dumps(value, separators=(",", ":")).encode() + b"\n"
    except (ValueError, RecursionError):
        malformed("it is not JSON in ASCII")
    if body != again:
        malformed("it is JSON, but written in another form")
    commit: Commit = object_of(COMMIT, MORE)(value)
    if ("resync" in commit) != (commit["kind"] == "resync"):
        malformed("resync belongs to the kind resync, and to that alone")
    return commit


# The rules of the chain


class Live(NamedTuple):
    """A live file, and how far its commit was covered."""

    file: dict[str, Any]
    covered_until: datetime


class Chain:
    """What the commits so far amount to."""

    def __init__(self) -> None:
        self.last: Optional[Commit] = None
        self.live: dict[str, Live] = {}
        self.named: set[str] = set()
        self.removed: dict[str, dict[str, Any]] = {}
        self.identities: list[tuple[str, str]] = []
        self.signers: set[str] = set()

    def add(self, commit: Commit, digest: Optional[str], now: datetime) -> Iterator[tuple[str, str]]:
        """What is wrong with the next commit, as type and reason; ``digest`` is that of the one before it."""
        yield from self._links(commit, digest)
        yield from self._times(commit, now)
        yield from self._files(commit)
        if commit["kind"] in ("prune", "compact"):
            yield from self._rearranging(commit)
        else:
            yield from self._reading(commit)
        yield from self._totals(commit)
        self._take(commit)

    def _links(self, commit: Commit, digest: Optional[str]) -> Iterator[tuple[str, str]]:
        last = self.last
        if commit["previous"] != digest:
            yield "chain", "previous is not the SHA-256 of the commit before"
        if last is None:
            if commit["kind"] not in ("entries", "heartbeat"):
                yield "chain", f"an archive does not begin with the kind {commit['kind']}"
            if "pruned_until" in commit:
                yield "chain", "pruned_until without a prune"
            return
        if commit["archive_id"] != last["archive_id"]:
            yield "chain", "archive_id is another one"
        if last["signer"] and not commit["signer"]:
            yield "signature_absent", "signer is null again"
        if commit["cursor_before"] != last["cursor_after"]:
            yield "cursor", "cursor_before is not the cursor_after of the commit before"
        if commit["kind"] != "prune" and commit.get("pruned_until") != last.get("pruned_until"):
            yield "chain", "pruned_until changed without a prune"

    def _times(self, commit: Commit, now: datetime) -> Iterator[tuple[str, str]]:
        if commit["committed_at"] > now + HOUR:
            yield "coverage", "committed_at is in the future"
        if commit["server_date"] > commit["committed_at"]:
            yield "coverage", "server_date is after committed_at"
        if commit["covered_until"] > commit["server_date"] - SLACK:
            yield "coverage", "covered_until is less than ten seconds before server_date"
        if commit["asked"] > commit["server_date"] + HOUR:
            yield "coverage", "asked is after server_date"
        if commit["covered_from"] > commit["covered_until"]:
            yield "coverage", "covered_from is after covered_until"
        if abs(commit["clock_skew_seconds"]) > SKEW.total_seconds():
            yield "coverage", "the clock was off by more than 30 minutes"

    def _files(self, commit: Commit) -> Iterator[tuple[str, str]]:
        paths = [file["path"] for file in commit["files"]]
        if paths != sorted(set(paths)):
            yield "chain", "files are not in order, or one is there twice"
        for file in commit["files"]:
            day, sequence, digits = groups(file["path"])
            if int(sequence) != commit["sequence"]:
                yield "chain", f"{file['path']} is of another sequence"
            if digits != file["sha256"][:12]:
                yield "chain", f"{file['path']} is not named by its digest"
            if not times_fit(file, day):
                yield "chain", f"{file['path']} has times that are not of its day"

    def _reading(self, commit: Commit) -> Iterator[tuple[str, str]]:
        days = [groups(file["path"])[0] for file in commit["files"]]
        if commit["removed"]:
            yield "chain", "a commit that reads the API removes files"
        if any("parts" in file for file in commit["files"]):
            yield "chain", "a commit that reads the API has parts"
        if len(set(days)) != len(days):
            yield "chain", "two files of one day"
        if commit["pages"] == 0:
            yield "chain", "a commit that reads the API has no page"
        if commit["kind"] == "entries" and not commit["files"]:
            yield "chain", "a commit of the kind entries has none"
        if commit["kind"] == "heartbeat" and commit["files"]:
            yield "chain", "a heartbeat has entries"
        if self.last is None:
            yield from self._first_reading(commit)
        else:
            yield from self._next_reading(commit, self.last)

    def _first_reading(self, commit: Commit) -> Iterator[tuple[str, str]]:
        if commit["covered_from"] < commit["asked"] - RETENTION:
            yield "coverage", "the first commit covers more than the provider had"
        if commit["gaps"]:
            yield "coverage", "the first commit has a gap"
        yield from self._asked(commit, None)

    def _next_reading(self, commit: Commit, last: Commit) -> Iterator[tuple[str, str]]:
        if commit["covered_from"] != last["covered_from"]:
            yield "coverage", "covered_from changed"
        if commit["covered_until"] < last["covered_until"]:
            yield "coverage", "covered_until goes back"
        if commit["server_date"] < last["server_date"]:
            yield "coverage", "server_date goes back"
        if last["project"]["uuid"] not in (None, commit["project"]["uuid"]):
            yield "identity", "the project's uuid changed"
        yield from self._asked(commit, last)
        yield from self._gaps(commit, last)
        if commit["kind"] == "resync":
            yield from self._resync(commit, last)
            return
        if any(gap["why"] == "no overlap" for gap in commit["gaps"]):
            yield "coverage", "a gap for want of an overlap outside of a resync"
        if self._is_strange(commit):
            yield "identity", "API or token changed without a resync"

    def _asked(self, commit: Commit, last: Optional[Commit]) -> Iterator[tuple[str, str]]:
        asked = since = commit["asked"]
        if last is not None and last["run"] == commit["run"]:
            since = max(asked, last["server_date"])
            if asked != last["asked"]:
                yield "coverage", "asked differs within a run"
        elif last is not None and asked < last["server_date"] - SKEW:
            yield "coverage", "asked is before the commit before"
        if commit["server_date"] > since + DAY:
            yield "coverage", "the run took more than a day for a commit"

    def _gaps(self, commit: Commit, last: Commit) -> Iterator[tuple[str, str]]:
        if [gap["why"] for gap in commit["gaps"]] not in (
            [],
            ["retention"],
            ["no overlap"],
            ["retention", "no overlap"],
        ):
            yield "coverage", "gaps are not in order, or of one reason twice"
        for gap in commit["gaps"]:
            if not last["covered_until"] <= gap["from"] <= gap["to"] <= commit["covered_until"]:
                yield "coverage", "a gap is not in what this commit covers"
        edge = commit["asked"] - RETENTION
        retention = [gap for gap in commit["gaps"] if gap["why"] == "retention"]
        if not retention and edge > last["covered_until"]:
            yield "coverage", "a gap of the provider's retention is missing"
        for gap in retention:
            if gap["from"] != last["covered_until"] or not edge <= gap["to"] <= edge + MARGIN:
                yield "coverage", "a gap is not that of the provider's retention"

    def _is_strange(self, commit: Commit) -> bool:
        apis, tags = zip(*self.identities[-RECENT:])
        return commit["api"] not in apis or commit["token_tag"] not in tags

    def _resync(self, commit: Commit, last: Commit) -> Iterator[tuple[str, str]]:
        resync, newest = commit["resync"], last["newest"]
        if resync["start"] != (newest or last["covered_until"]) - DAY:
            yield "coverage", "a resync begins elsewhere than a day before the newest entry"
        if resync["renamed"] > resync["overlap"]:
            yield "chain", "more entries were renamed than found again"
        if (resync["why"] in ("token", "api")) != self._is_strange(commit):
            yield "identity", "the resync's reason does not fit the API and the token"
        if resync["accepted_identity"] and (resync["overlap"] or resync["why"] not in ("token", "api")):
            yield "identity", "an acceptance that was not needed"
        if resync["overlap"]:
            if any(gap["why"] == "no overlap" for gap in commit["gaps"]):
                yield "coverage", "a gap for want of an overlap that was found"
        elif resync["why"] in ("token", "api"):
            if newest is not None and not resync["accepted_identity"]:
                yield "identity", "another log that was not accepted"
        elif not commit["gaps"] and is_comparable(commit, last):
            yield "coverage", "neither an overlap nor a gap"

    def _rearranging(self, commit: Commit) -> Iterator[tuple[str, str]]:
        last = self.last
        if last is None:
            return
        for key in ("project", "api", "token_tag", "asked", "covered_from", "covered_until", "server_date"):
            if commit[key] != last[key]:
                yield "coverage", f"{key} changed without reading the API"
        for key in ("cursor_after", "clock_skew_seconds", "total_gaps"):
            if commit[key] != last[key]:
                yield "cursor" if key == "cursor_after" else "coverage", f"{key} changed without reading the API"
        if commit["pages"] or commit["gaps"]:
            yield "chain", "pages or gaps without reading the API"
        if commit["removed"] != sorted(set(commit["removed"])) or not commit["removed"]:
            yield "removal", "what is removed is nothing, or not in order"
        if any(path not in self.live for path in commit["removed"]):
            yield "removal", "a file is removed that is not live"
            return
        yield from self._prune(commit, last) if commit["kind"] == "prune" else self._compact(commit, last)

    def _prune(self, commit: Commit, last: Commit) -> Iterator[tuple[str, str]]:
        edge = commit.get("pruned_until")
        if commit["files"]:
            yield "chain", "a prune adds files"
        if edge is None:
            yield "chain", "a prune without pruned_until"
            return
        if edge.time() != datetime.min.time():
            yield "chain", "pruned_until is not a midnight"
        if edge > last["covered_until"] or edge < last.get("pruned_until", edge):
            yield "chain", "pruned_until goes back, or beyond what is covered"
        if commit["removed"] != sorted(path for path, live in self.live.items() if is_before(path, live, edge)):
            yield "removal", "a prune removes other files than those before its edge"

    def _compact(self, commit: Commit, last: Commit) -> Iterator[tuple[str, str]]:
        parts = [self.live[path].file for path in commit["removed"]]
        days = {groups(path)[0] for path in commit["removed"]}
        if len(commit["files"]) != 1 or len(days) != 1 or UNDATED in days:
            yield "removal", "a compact does not replace files of one day by one file"
            return
        (file,), (day,) = commit["files"], days
        if groups(file["path"])[0] != day or not is_over(day, last["covered_until"]):
            yield "removal", "a compact of another day, or of one that is not over"
        if file.get("parts") != [{key: part[key] for key in PART} for part in parts]:
            yield "removal", "parts are not the files that are removed"
        if file["entries"] != sum(part["entries"] for part in parts) or file["content_bytes"] != sum(
            part["content_bytes"] for part in parts
        ):
            yield "removal", "the new file does not have what was removed"
        if file["first"] != min(part["first"] for part in parts) or file["last"] != max(part["last"] for part in parts):
            yield "removal", "the new file has other times than those of its parts"

    def _totals(self, commit: Commit) -> Iterator[tuple[str, str]]:
        last = self.last or {"total_entries": 0, "total_gaps": 0, "newest": None}
        added = sum(file["entries"] for file in commit["files"])
        removed = sum(self.live[path].file["entries"] for path in commit["removed"] if path in self.live)
        if commit["entries"] != added:
            yield "totals", "entries is not the sum of the files' entries"
        if commit["total_entries"] != last["total_entries"] + added - removed:
            yield "totals", "total_entries does not follow"
        if commit["total_gaps"] != last["total_gaps"] + len(commit["gaps"]):
            yield "totals", "total_gaps does not follow"
        if commit["newest"] != newest_of(commit, last["newest"]):
            yield "totals", "newest does not follow"

    def _take(self, commit: Commit) -> None:
        for path in commit["removed"]:
            if path in self.live:
                self.removed[path] = self.live.pop(path).file
        for file in commit["files"]:
            self.live[file["path"]] = Live(file, commit["covered_until"])
            self.named.add(file["path"])
        self.identities.append((commit["api"], commit["token_tag"]))
        if commit["signer"]:
            self.signers.add(commit["signer"])
        self.last = commit


def is_comparable(commit: Commit, last: Commit) -> bool:
    """Whether the provider must still have an entry that the archive had."""
    oldest = max(
        commit["asked"] - RETENTION + MARGIN, last.get("pruned_until", datetime.min.replace(tzinfo=timezone.utc))
    )
    return last["newest"] is not None and bool(last["newest"] >= oldest)


def groups(path: str) -> tuple[str, str, str]:
    """Day, sequence and digits of a data file's path."""
    found = FILE_PATTERN.fullmatch(path)
    if found is None:
        raise ValueError(path)
    return found[1], found[2], found[3]


def is_over(day: str, covered_until: datetime) -> bool:
    """Whether a day had ended when it was covered until then."""
    return day < covered_until.date().isoformat()


def times_fit(file: dict[str, Any], day: str) -> bool:
    """Whether first and last are in order and of the day; of undated entries there are none."""
    first, last = file["first"], file["last"]
    if day == UNDATED or first is None or last is None:
        return day == UNDATED and first is None and last is None
    return bool(first <= last and first.date().isoformat() == last.date().isoformat() == day)


def is_before(path: str, live: Live, edge: datetime) -> bool:
    day = groups(path)[0]
    return live.covered_until < edge if day == UNDATED else day < edge.date().isoformat()


def newest_of(commit: Commit, before: Optional[datetime]) -> Optional[datetime]:
    if commit["kind"] in ("prune", "compact"):
        return before
    until = commit["covered_until"]
    dated = [file for file in commit["files"] if file["first"] is not None and file["last"] is not None]
    found = [min(file["last"], until) for file in dated if file["first"] <= until]
    return max([*found, *([before] if before else [])], default=None)


# The lines of a data file


class Literal(str):
    """A number as it was received."""


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _value in pairs}) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def canonical(value: Any) -> str:
    """The canonical form of a value that ``json`` read with literals."""
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{quoted(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return {None: "null", True: "true", False: "false"}[value]


def quoted(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", escaped)


def entry_of(line: bytes) -> dict[str, Any]:
    """The entry in a line; a line that is not the canonical form of one is refused."""
    try:
        value = json.loads(
            line.decode(), parse_int=Literal, parse_float=Literal, parse_constant=refuse, object_pairs_hook=unique
        )
        if isinstance(value, dict) and canonical(value).encode() == line:
            return value
    except (ValueError, RecursionError):
        pass
    raise Refused("content", "a line is not an entry in canonical form")


def timestamp_of(entry: dict[str, Any]) -> Optional[datetime]:
    """When it happened, cut to microseconds; None if that cannot be read."""
    text = entry.get("timestamp")
    found = TIMESTAMP_PATTERN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        local = datetime.fromisoformat(f"{day}T{hour}:{minute}:{second or '00'}.{(fraction or '')[:6]:0<6}+00:00")
        moment = local + offset if sign == "-" else local - offset
    except (ValueError, OverflowError):
        return None
    return moment if moment.year in YEARS else None


# The files of an archive


class Archive:
    """Reads files of an archive in a directory, no more of one than it may have."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def is_file(self, name: str) -> bool:
        """Whether it is a regular file in real directories."""
        parts = name.split("/")
        above = [self.path.joinpath(*parts[:number]) for number in range(1, len(parts))]
        try:
            return all(stat.S_ISDIR(directory.lstat().st_mode) for directory in above) and stat.S_ISREG(
                (self.path / name).lstat().st_mode
            )
        except OSError:
            return False

    def read(self, name: str, limit: int) -> bytes:
        """At most one byte more than the limit."""
        with (self.path / name).open("rb") as file:
            return file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)

    def list(self, directory: str) -> list[str]:
        """All names below a directory that are not directories, relative to the archive."""
        found = []
        for parent, directories, files in os.walk(self.path / directory):
            links = [name for name in directories if Path(parent, name).is_symlink()]
            found += [str(Path(parent, name).relative_to(self.path)) for name in [*files, *links]]
        return sorted(found)


def content_of(body: bytes, limit: int) -> bytes:
    """The lines of a data file, at most one byte more than the limit."""
    stream = zlib.decompressobj(31)
    try:
        text = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise Refused("content", f"it is not gzip: {error}") from None
    if len(text) > limit or not stream.eof or stream.unused_data:
        raise Refused("content", "it is more, or less, than one gzip stream of the committed length")
    return text


def check_file(archive: Archive, file: dict[str, Any]) -> Counter[bytes]:
    """The lines of a live file; refused unless it holds what its commit says."""
    path = file["path"]
    if not archive.is_file(path):
        raise Refused("missing", "a live file is absent")
    try:
        body = archive.read(path, file["bytes"])
    except OSError as error:
        raise Refused("unreadable", str(error)) from None
    if sha256(body) != file["sha256"]:
        is_longer = sha256(body[: file["bytes"]]) == file["sha256"]
        raise Refused("appended" if is_longer else "altered", "the stored bytes are not the committed ones")
    text = content_of(body, file["content_bytes"])
    if sha256(text) != file["content_sha256"] or len(text) != file["content_bytes"] or not text.endswith(b"\n"):
        raise Refused("content", "the lines are not the committed ones")
    lines = text[:-1].split(b"\n")
    check_lines(file, lines)
    check_parts(file, text)
    return Counter(lines)


def check_lines(file: dict[str, Any], lines: list[bytes]) -> None:
    day = groups(file["path"])[0]
    if len(lines) != file["entries"]:
        raise Refused("content", f"{len(lines)} lines instead of {file['entries']}")
    moments = [timestamp_of(entry_of(line)) for line in lines]
    if {moment.date().isoformat() if moment else UNDATED for moment in moments} != {day}:
        raise Refused("content", "an entry is of another day")
    known = [moment for moment in moments if moment]
    if known and (min(known), max(known)) != (file["first"], file["last"]):
        raise Refused("content", "the first or the last timestamp is another one")


def check_parts(file: dict[str, Any], text: bytes) -> None:
    begin = 0
    for part in file.get("parts", ()):
        piece = text[begin : begin + part["content_bytes"]]
        begin += len(piece)
        if sha256(piece) != part["content_sha256"] or piece.count(b"\n") != part["entries"]:
            raise Refused("content", f"the part {part['path']} is not what was replaced")


# Signatures


class Signature(NamedTuple):
    """A file in ``signatures`` that is named as one; ``fingerprint`` is None if it holds no signature."""

    path: str
    sequence: int
    digest: str
    body: bytes
    fingerprint: Optional[str]


class Keys:
    """Checks signatures; ``allowed`` is the text of a file of allowed signers."""

    def __init__(self, archive: Archive, allowed: Optional[bytes]) -> None:
        self._archive = archive
        self.allowed = allowed

    def parse(self, path: str) -> Optional[Signature]:
        found = SIGNATURE_PATTERN.fullmatch(path.partition("/")[2])
        if found is None or not self._archive.is_file(path):
            return None
        try:
            body = self._archive.read(path, MAX_SIGNATURE)
        except OSError:
            return None
        return Signature(path, int(found[1]), found[2], body, fingerprint_of(body))

    def is_genuine(self, signature: Signature, archive_id: str) -> bool:
        """Whether the key in it signed the line that its name stands for."""
        return ask("check-novalidate", signature.body, line_of(signature, archive_id), b"", ()) is not None

    def is_allowed(self, signature: Signature, archive_id: str, moment: datetime) -> bool:
        """Whether the key in it was allowed at this time; without a file of allowed signers every key is."""
        if self.allowed is None:
            return True
        when = f"-Overify-time={moment:%Y%m%d%H%M%S}"
        principals = ask("find-principals", signature.body, b"", self.allowed, (when,)) or ""
        line = line_of(signature, archive_id)
        return any(
            ask("verify", signature.body, line, self.allowed, ("-I", principal, when)) is not None
            for principal in principals.splitlines()
        )


def line_of(signature: Signature, archive_id: str) -> bytes:
    return f"head {archive_id} {signature.sequence} {signature.digest}\n".encode()


@functools.lru_cache(maxsize=4096)
def ask(action: str, signature: bytes, line: bytes, allowed: bytes, options: tuple[str, ...]) -> Optional[str]:
    """What ``ssh-keygen -Y`` prints of a signature; None if it refuses it."""
    with tempfile.TemporaryDirectory() as directory:
        signed, signers = Path(directory, "signature"), Path(directory, "allowed")
        signed.write_bytes(signature)
        signers.write_bytes(allowed)
        command = ["ssh-keygen", "-Y", action, "-s", str(signed), *options]
        command += [] if action == "find-principals" else ["-n", NAMESPACE]
        command += ["-f", str(signers)] if allowed else []
        done = subprocess.run(
            command, input=line, capture_output=True, timeout=60, env={**os.environ, "TZ": "UTC"}, check=False
        )
    return done.stdout.decode() if done.returncode == 0 else None


def fingerprint_of(body: bytes) -> Optional[str]:
    """The fingerprint of the key in a signature."""
    try:
        key = public_key(body)
    except (ValueError, struct.error):
        return None
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def public_key(armoured: bytes) -> bytes:
    """The public key's blob in an armoured signature."""
    lines = armoured.decode("ascii").strip().split("\n")
    if lines[0] != "-----BEGIN SSH SIGNATURE-----" or lines[-1] != "-----END SSH SIGNATURE-----":
        raise ValueError("not a signature")
    blob = base64.b64decode("".join(lines[1:-1]), validate=True)
    if blob[:6] != b"SSHSIG":
        raise ValueError("not a signature")
    (length,) = struct.unpack(">I", blob[10:14])
    return blob[14 : 14 + length]


# The whole


class Verifier:
    """Verifies one archive; ``findings`` is what was found."""

    def __init__(self, path: Path, allowed: Optional[Path], head: Optional[str], now: datetime) -> None:
        self._archive = Archive(path)
        self._keys = Keys(self._archive, allowed.read_bytes() if allowed else None)
        self._expected = head
        self._now = now
        self._chain = Chain()
        self._digests: dict[int, str] = {}
        self._signed: dict[int, Commit] = {}
        self._held: dict[str, Counter[bytes]] = {}
        self.findings: list[Finding] = []

    def verify(self) -> list[Finding]:
        # What is listed before the head is looked for cannot be ahead of it.
        entries, signatures = self._archive.list("entries"), self._archive.list("signatures")
        self._check_commits(self._archive.list("commits"), [*entries, *signatures])
        self._check_head()
        for path, live in sorted(self._chain.live.items()):
            self._check_live(path, live)
        self._check_others([path for path in entries if path not in self._chain.live])
        self._check_signatures(signatures)
        return self.findings

    def _find(self, type_: str, path: str, detail: str) -> None:
        self.findings.append(Finding(type_, path, detail))

    def _check_commits(self, names: list[str], others: list[str]) -> None:
        sequences = set()
        for name in names:
            found = COMMIT_PATTERN.fullmatch(name.partition("/")[2])
            if found:
                sequences.add(int(found[1]))
            else:
                self._find("extra", name, "it is not named as a commit")
        if not sequences:
            first = others and all(path.rpartition("/")[2].startswith("000000000001-") for path in others)
            self._find("unfinished" if first else "commit_missing", "commits", "there is no commit")
        digest: Optional[str] = None
        for sequence in range(1, max(sequences, default=0) + 1):
            name = f"commits/{sequence:012d}.json"
            if not self._archive.is_file(name):
                self._find("commit_missing", name, "there is no commit of this sequence")
                return
            digest = self._check_commit(name, sequence, digest)
            if digest is None:
                return

    def _check_commit(self, name: str, sequence: int, digest: Optional[str]) -> Optional[str]:
        """The commit's digest, or None if it is none."""
        try:
            body = self._archive.read(name, MAX_COMMIT)
            commit = parse_commit(body)
        except OSError as error:
            self._find("unreadable", name, str(error))
            return None
        except Refused as error:
            self._find(error.type, name, str(error))
            return None
        if commit["sequence"] != sequence:
            self._find("commit_reordered", name, f"it is the commit {commit['sequence']}")
            return None
        for type_, reason in self._chain.add(commit, digest, self._now):
            self._find(type_, name, reason)
        self._digests[sequence] = sha256(body)
        self._signed[sequence] = commit
        return self._digests[sequence]

    def _check_head(self) -> None:
        if self._expected is None:
            return
        sequence, _colon, digest = self._expected.partition(":")
        if self._digests.get(int(sequence)) != digest:
            self._find("head", f"commits/{int(sequence):012d}.json", "it is not the commit that was expected")

    def _check_live(self, path: str, live: Live) -> None:
        try:
            self._held[path] = check_file(self._archive, live.file)
        except Refused as error:
            self._find(error.type, path, str(error))

    def _check_others(self, paths: list[str]) -> None:
        announced = self._announced()
        head = max(self._digests, default=0)
        for path in paths:
            if not FILE_PATTERN.fullmatch(path) or not self._archive.is_file(path):
                self._find("extra", path, "it is not a data file")
            elif int(groups(path)[1]) > head + 1:
                self._find("extra", path, "it is of a commit after the next one")
            elif int(groups(path)[1]) == head + 1:
                self._find("orphan", path, "it is of the next commit")
            elif path in self._chain.removed:
                gone = self._chain.removed[path]
                if sha256(self._archive.read(path, gone["bytes"])) == gone["sha256"]:
                    self._find("deletion_pending", path, "a commit removed it")
                else:
                    self._find("extra", path, "it has other bytes than the file that a commit removed")
            elif path in announced or self._is_known(path):
                self._find("orphan", path, "a run left it behind")
            else:
                self._find("extra", path, "no commit names it, and it has other entries")

    def _announced(self) -> set[str]:
        """What the pending records name."""
        found: set[str] = set()
        for name in self._archive.list("pending"):
            if not RECORD_PATTERN.fullmatch(name.partition("/")[2]) or not self._archive.is_file(name):
                continue
            try:
                record = json.loads(self._archive.read(name, MAX_RECORD))
                found.update(path for path in record["files"] if isinstance(path, str))
            except (OSError, ValueError, TypeError, KeyError, RecursionError):
                continue
        return found

    def _is_known(self, path: str) -> bool:
        """Whether the live files of its day have all its lines."""
        directory = path.rpartition("/")[0]
        held = [lines for other, lines in self._held.items() if other.startswith(f"{directory}/")]
        try:
            text = content_of(self._archive.read(path, MAX_FILE), sum(len(b"".join(lines)) for lines in held) * 2)
        except (OSError, Refused):
            return False
        return not Counter(text.splitlines()) - sum(held, Counter())

    def _check_signatures(self, paths: list[str]) -> None:
        of_commits: dict[int, list[Signature]] = {}
        for path in paths:
            signature = self._keys.parse(path)
            if signature is None:
                self._find("signature_extra", path, "it is not named as a signature")
            elif self._digests.get(signature.sequence) == signature.digest:
                of_commits.setdefault(signature.sequence, []).append(signature)
            else:
                self._check_orphan(signature)
        for sequence, commit in self._signed.items():
            self._check_signed(sequence, commit, of_commits.get(sequence, []))
        if self._keys.allowed is not None and not self._chain.signers and self._chain.last:
            self._find("signature_absent", "signatures", "nothing is signed")

    def _check_orphan(self, signature: Signature) -> None:
        last = self._chain.last
        head = max(self._digests, default=0)
        if signature.sequence <= head + 1 or last is None:
            return
        known = self._keys.allowed is not None or signature.fingerprint in self._chain.signers
        if known and self._is_good(signature, last["archive_id"], self._now):
            self._find("signature_ahead", signature.path, "it is of a commit that does not exist")
        else:
            self._find("signature_extra", signature.path, "it is not of this archive")

    def _check_signed(self, sequence: int, commit: Commit, signatures: list[Signature]) -> None:
        name = f"commits/{sequence:012d}.json"
        signer, archive_id = commit["signer"], commit["archive_id"]
        if signer is None:
            return
        key8 = base64.b64decode(f"{signer[7:]}=").hex()[:8]
        own = [signature for signature in signatures if signature.path.endswith(f"-{key8}.sig")]
        if not own:
            self._find("signature_absent", name, f"a signature of {signer} is missing")
            return
        if not all(one.fingerprint == signer and self._is_good(one, archive_id, commit["server_date"]) for one in own):
            self._find("signature_bad", name, f"the signature is not of {signer}, or that key was not allowed")

    def _is_good(self, signature: Signature, archive_id: str, moment: datetime) -> bool:
        return self._keys.is_genuine(signature, archive_id) and self._keys.is_allowed(signature, archive_id, moment)


def verify(
    path: Path,
    allowed_signers: Optional[Path] = None,
    head: Optional[str] = None,
    now: Optional[datetime] = None,
) -> list[Finding]:
    """What is wrong with an archive; empty if it is intact and nothing is left behind."""
    return Verifier(path, allowed_signers, head, now or datetime.now(timezone.utc)).verify()


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify an archive of a project's log.")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--allowed-signers", type=Path, help="OpenSSH file of the keys that may sign")
    parser.add_argument("--head", help="SEQUENCE:SHA256 of a commit noted earlier")
    options = parser.parse_args()
    findings = verify(options.archive, options.allowed_signers, options.head)
    for finding in findings:
        print(f"{'error' if finding.is_error else 'warning'} {finding.type} {finding.path}: {finding.detail}")
    return int(any(finding.is_error for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
