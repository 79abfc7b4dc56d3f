# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads commits of the usual form for a fraction of what it costs to parse JSON and write it again.

Bytes that match the pattern are the canonical form of a commit: its keys in order, strings without escapes, numbers and
times as they are written. All other bytes are left to :meth:`Commit.parse`; the result is the same.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import List, Match, Optional

from ...times import read_timestamp
from .commit import Commit, DataFile, Project, Writer

_WORD = r"[ !#-\[\]-~]{0,255}"
_NO_SPACE = r"[!#-\[\]-~]"
_COUNT = r"0|[1-9]\d{0,14}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(?!000000)\d{6})?Z"
_HASH = r"[0-9a-f]{64}"
_DAY = r"0000-00-00|\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"


def _optional(name: str, pattern: str) -> str:
    return rf'(?:null|"(?P<{name}>{pattern})")'


def _text(name: str, pattern: str) -> str:
    return rf'"(?P<{name}>{pattern})"'


def _count(name: str) -> str:
    return rf'"{name}":(?P<{name}>{_COUNT})'


def _time(name: str) -> str:
    return rf'"{name}":{_text(name, _TIME)}'


_FILE = re.compile(
    rf'\{{"path":"(?P<path>entries/date=(?:{_DAY})/\d{{12}}-(?P<digest>[0-9a-f]{{12}})\.jsonl\.gz)"'
    rf',"sha256":"(?P<sha256>(?P=digest)[0-9a-f]{{52}})",{_count("bytes")},"content_sha256":"(?P<content_sha256>{_HASH})"'
    rf",{_count('content_bytes')},{_count('entries')}"
    rf',"first":{_optional("first", _TIME)},"last":{_optional("last", _TIME)}\}}',
    re.ASCII,
)
# Files without parts, and neither removals nor gaps.
_FILES = re.sub(r"\(\?P<\w+>", "(?:", _FILE.pattern).replace("(?P=digest)[0-9a-f]{52}", _HASH)
_COMMIT = re.compile(
    rf'\{{"format":1,"archive_id":{_text("archive_id", "[0-9a-z]{1,64}")},{_count("sequence")}'
    rf',"kind":{_text("kind", "entries|heartbeat")},"run":{_text("run", "[0-9a-z]{1,64}")}'
    rf',"signer":{_optional("signer", "SHA256:[A-Za-z0-9+/]{43}")},"previous":{_optional("previous", _HASH)}'
    rf',"project":\{{"name":{_text("name", _WORD)},"uuid":{_optional("uuid", _WORD)}\}}'
    rf',"api":{_text("api", f"https?://{_NO_SPACE}{{1,2048}}")},"token_tag":{_text("token_tag", "[0-9a-f]{8}")}'
    rf',"cursor_before":{_text("cursor_before", f"{_NO_SPACE}{{0,8192}}")}'
    rf',"cursor_after":{_text("cursor_after", f"{_NO_SPACE}{{0,8192}}")}'
    rf",{_time('asked')},{_time('covered_from')},{_time('covered_until')}"
    rf',"files":\[(?P<files>(?:{_FILES}(?:,{_FILES})*)?)\],"removed":\[\],"gaps":\[\]'
    rf",{_count('entries')},{_count('total_entries')},{_count('total_gaps')},{_count('pages')}"
    rf',{_time("committed_at")},{_time("server_date")},"clock_skew_seconds":(?P<skew>-?\d{{1,9}}\.\d{{1,9}})'
    rf',"collector":\{{"version":{_text("version", _WORD)},"host":{_text("host", _WORD)}\}}'
    rf',"newest":{_optional("newest", _TIME)}(?:,"pruned_until":{_text("pruned_until", _TIME)})?\}}\n',
    re.ASCII,
)

_moment = lru_cache(maxsize=1_000)(read_timestamp)


def read_usual(body: bytes) -> Optional[Commit]:
    """The commit, or None if only :meth:`Commit.parse` can tell what the bytes are."""
    try:
        match = _COMMIT.fullmatch(body.decode("ascii"))
        return None if match is None else _commit(match)
    except ValueError:
        return None


def _commit(match: Match[str]) -> Commit:
    found = match.groupdict()
    skew = float(found["skew"])
    if repr(skew) != found["skew"]:
        raise ValueError("another number is written so")
    return Commit(
        archive_id=found["archive_id"],
        sequence=int(found["sequence"]),
        kind=found["kind"],
        run=found["run"],
        signer=found["signer"],
        previous=found["previous"],
        project=Project(found["name"], found["uuid"]),
        api=found["api"],
        token_tag=found["token_tag"],
        cursor_before=found["cursor_before"],
        cursor_after=found["cursor_after"],
        asked=_existing(found["asked"]),
        covered_from=_existing(found["covered_from"]),
        covered_until=_existing(found["covered_until"]),
        files=tuple(_files(found["files"])),
        removed=(),
        gaps=(),
        entries=int(found["entries"]),
        total_entries=int(found["total_entries"]),
        total_gaps=int(found["total_gaps"]),
        pages=int(found["pages"]),
        committed_at=_existing(found["committed_at"]),
        server_date=_existing(found["server_date"]),
        clock_skew_seconds=skew,
        collector=Writer(found["version"], found["host"]),
        newest=_if_given(found["newest"]),
        pruned_until=_if_given(found["pruned_until"]),
    )


def _files(text: str) -> List[DataFile]:
    files = []
    end = 0
    while end < len(text):
        match = _FILE.match(text, end)
        if match is None:  # its name does not begin its SHA-256
            raise ValueError("another form")
        path, _digest, sha256, size, content_sha256, content_size, entries, first, last = match.groups()
        files.append(
            DataFile(
                path=path,
                sha256=sha256,
                bytes=int(size),
                content_sha256=content_sha256,
                content_bytes=int(content_size),
                entries=int(entries),
                first=_if_given(first),
                last=_if_given(last),
            )
        )
        end = match.end() + 1
    return files


def _existing(text: str) -> datetime:
    moment = _moment(text)
    if moment is None:
        raise ValueError("no such time")
    return moment


def _if_given(text: Optional[str]) -> Optional[datetime]:
    return None if text is None else _existing(text)
