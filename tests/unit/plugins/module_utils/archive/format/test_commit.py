# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import gzip
import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format import commit as archive_format
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format import data_file, pending
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import Commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.data_file import DayFile
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.fields import Malformed

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
DIGEST = "3f9ac0d1e2b4" + "0" * 52
FILE = {
    "path": "entries/date=2026-11-22/000000000042-3f9ac0d1e2b4.jsonl.gz",
    "sha256": DIGEST,
    "bytes": 1234,
    "content_sha256": DIGEST,
    "content_bytes": 9876,
    "entries": 17,
    "first": "2026-11-22T08:00:00.000001Z",
    "last": None,
}
COMMIT = {
    "format": 1,
    "archive_id": "a1b2",
    "sequence": 42,
    "kind": "entries",
    "run": "9f",
    "signer": None,
    "previous": DIGEST,
    "project": {"name": "Z\u00fcrich", "uuid": None},
    "api": "https://api.cloudscale.ch/v1",
    "token_tag": "0123abcd",
    "cursor_before": "cursor=10025",
    "cursor_after": "cursor=10026",
    "asked": "2026-11-22T11:59:59.500000Z",
    "covered_from": "2026-08-24T12:00:00Z",
    "covered_until": "2026-11-22T11:59:50Z",
    "files": [FILE],
    "removed": [],
    "gaps": [{"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z", "why": "retention"}],
    "entries": 17,
    "total_entries": 123456,
    "total_gaps": 1,
    "pages": 1,
    "committed_at": "2026-11-22T12:00:00.250000Z",
    "server_date": "2026-11-22T12:00:00Z",
    "clock_skew_seconds": 0.2,
    "collector": {"version": "1.0.0", "host": "log1"},
    "newest": "2026-11-22T11:59:40Z",
}


def encoded(**changes: Any) -> bytes:
    return json.dumps({**COMMIT, **changes}, separators=(",", ":")).encode() + b"\n"


def test_a_commit_has_one_byte_form() -> None:
    commit = Commit.parse(encoded())
    assert commit.to_bytes() == encoded()
    assert commit.covered_until == datetime(2026, 11, 22, 11, 59, 50, tzinfo=timezone.utc)
    assert commit.files[0].last is None
    assert commit.name == "commits/000000000042.json"


def test_optional_fields_are_kept() -> None:
    part = {"path": FILE["path"], "content_sha256": DIGEST, "content_bytes": 1, "entries": 1}
    resync = {
        "why": "cursor",
        "start": "2026-11-22T11:00:00Z",
        "overlap": 2,
        "renamed": 1,
        "accepted_identity": False,
    }
    body = encoded(
        files=[{**FILE, "parts": [part]}],
        resync=resync,
        pruned_until="2026-01-01T00:00:00Z",
        kind="resync",
    )
    commit = Commit.parse(body)
    assert commit.to_bytes() == body
    assert commit.resync is not None
    assert commit.resync.renamed == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format"),
        ({"kind": "other"}, "kind"),
        ({"sequence": -1}, "sequence"),
        ({"sequence": True}, "sequence"),
        ({"entries": "17"}, "entries"),
        ({"entries": 1 << 53}, "entries"),
        ({"previous": "abc"}, "previous"),
        ({"signer": "SHA256:short"}, "signer"),
        ({"api": "ftp://example.org"}, "api"),
        ({"project": {"name": "x" * 256, "uuid": None}}, "project.name"),
        ({"live": [FILE]}, "one form"),
        ({"kind": "pseudonymise"}, "kind"),
        ({"archive_id": "../x"}, "archive_id"),
        ({"token_tag": "xyz"}, "token_tag"),
        ({"covered_until": "2026-11-22T11:59:50"}, "covered_until"),
        ({"covered_until": "2026-11-22T12:59:50+01:00"}, "one form"),
        ({"covered_until": "9999-12-31T23:59:59Z"}, "covered_until"),
        ({"clock_skew_seconds": float("nan")}, "clock_skew_seconds"),
        ({"clock_skew_seconds": float("inf")}, "clock_skew_seconds"),
        ({"cursor_after": "a b"}, "cursor_after"),
        ({"project": "prod"}, "project"),
        ({"files": [{**FILE, "path": "entries/../../etc/passwd"}]}, "files[0].path"),
        ({"files": [{**FILE, "path": FILE["path"] + "\n"}]}, "files[0].path"),
        ({"files": [{**FILE, "sha256": "1" * 64}]}, "does not match its SHA-256"),
        ({"removed": ["commits/000000000001.json"]}, "removed"),
        ({"gaps": [{}]}, "gaps[0].from"),
        ({"unknown": 1}, "one form"),
    ],
)
def test_a_malformed_commit_is_rejected_with_the_wrong_part(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Malformed) as caught:
        Commit.parse(encoded(**changes))
    assert message in str(caught.value)


RESYNC = {"why": "token", "start": "2026-11-22T11:00:00Z", "overlap": 2, "renamed": 1, "accepted_identity": False}
PART = {"path": FILE["path"], "content_sha256": DIGEST, "content_bytes": 1, "entries": 1}
FULL = {
    **COMMIT,
    "files": [{**FILE, "last": FILE["first"], "parts": [PART]}],
    "resync": RESYNC,
    "pruned_until": "2026-01-01T00:00:00Z",
}


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a decoded commit, itself too."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(item)


def other_forms() -> Iterator[bytes]:
    """The same commit in forms that no collector writes, and commits that lack or have something."""
    count = sum(1 for _object in objects(FULL))
    for number in range(count):
        keys = list(list(objects(FULL))[number])
        for key in keys:
            for change in ("last", "first", "twice", "gone", "before", "behind"):
                commit = copy.deepcopy(FULL)
                found = list(objects(commit))[number]
                items = [item for item in found.items() if item[0] != key]
                own = (key, found[key])
                position = keys.index(key)
                if change == "last":
                    items.append(own)
                elif change == "first":
                    items.insert(0, own)
                elif change in ("before", "behind"):
                    items.insert(position, own)
                    items.insert(position + (change == "behind"), ("unknown", None))
                elif change == "twice":
                    items.insert(position, own)
                found.clear()
                found.update(items)
                body = json.dumps(commit, separators=(",", ":")).encode() + b"\n"
                if change == "twice":
                    body = body.replace(f'"{key}":'.encode(), f'"{key}":null,"{key}":'.encode(), 1)
                yield body
    plain = json.dumps(FULL, separators=(",", ":")).encode() + b"\n"
    times = {"Z": "+00:00", "T": " ", "t": "t", "11:59:59.500000Z": "11:59:59.5Z", "12:00:00Z": "12:00:00.000000Z"}
    for old, new in (*times.items(), ("00Z", "00z"), ("00Z", "00 Z"), ("59.500000Z", "59,500000Z")):
        for start in (match.start() for match in re.finditer(re.escape(old.encode()), plain)):
            yield plain[:start] + new.encode() + plain[start + len(old) :]
    yield from (plain[:-1], plain + b"\n", b" " + plain, plain.replace(b":", b": ", 1), plain.replace(b",", b", ", 1))
    yield from (plain.replace(b"\\u00fc", form) for form in (b"\\u00FC", "\u00fc".encode(), b"\\/"))
    yield from (plain.replace(b":0.2,", form) for form in (b":0.20,", b":2e-1,", b":0,", b":-0.0,", b":true,"))
    yield from (
        plain.replace(b"123456,", form) for form in (b"0123456,", b"123456.0,", b"1e5,", b"-1,", b"-0,", b"true,")
    )
    yield plain.replace(json.dumps([PART], separators=(",", ":")).encode(), b"[]")


def test_parsed_commits_serialize_to_the_same_bytes() -> None:
    refused = 0
    for body in other_forms():
        try:
            assert Commit.parse(body).to_bytes() == body
        except Malformed:
            refused += 1
    assert refused > 300


@pytest.mark.parametrize(
    "body", [b"", b"\0" * 100, b"[]\n", b"null", encoded()[:-20], encoded() + encoded(), b"[" * 99999]
)
def test_bytes_that_are_not_a_commit_are_rejected(body: bytes) -> None:
    with pytest.raises(Malformed):
        Commit.parse(body)


def test_a_repeated_key_is_rejected() -> None:
    with pytest.raises(Malformed):
        Commit.parse(encoded().replace(b'{"format":1', b'{"sequence":7,"format":1'))


@pytest.mark.parametrize(
    "name",
    [
        "entries/date=2026-13-01/000000000042-3f9ac0d1e2b4.jsonl.gz",
        "entries/date=2026-11-22/42-3f9ac0d1e2b4.jsonl.gz",
        "entries/date=2026-11-22/000000000042-3F9AC0D1E2B4.jsonl.gz",
        "entries/date=2026-11-22/../date=2026-11-22/000000000042-3f9ac0d1e2b4.jsonl.gz",
        "entries/date=2026-11-22/000000000042-3f9ac0d1e2b4.jsonl",
        "entries/date=2026-11-22/00000000004\u0662-3f9ac0d1e2b4.jsonl.gz",
    ],
)
def test_only_exact_names_are_data_files(name: str) -> None:
    assert archive_format.parse_data_file_name(name) is None


def test_names_are_parsed_as_written() -> None:
    name = archive_format.data_file_name("0000-00-00", 42, DIGEST)
    assert archive_format.parse_data_file_name(name) == ("0000-00-00", 42, "3f9ac0d1e2b4")
    assert archive_format.parse_commit_name(archive_format.commit_name(7)) == 7
    assert pending.parse_pending_name(pending.pending_name(7, "abc")) == 7


def test_days_are_in_utc() -> None:
    assert archive_format.utc_day(NOON) == "2026-11-22"
    assert archive_format.utc_day(datetime(9, 1, 2, tzinfo=timezone.utc)) == "0009-01-02"
    assert archive_format.utc_day(None) == "0000-00-00"


def test_a_data_file_is_reproducible_plain_gzip() -> None:
    def make() -> Any:
        file = DayFile("2026-11-22")
        file.add(b'{"a":1}\n', NOON)
        file.add(b'{"b":2}\n', None)
        return file.finish(42)

    described, body = make()
    assert make() == (described, body)
    assert gzip.decompress(body) == b'{"a":1}\n{"b":2}\n'
    assert body[3] == 0  # no name
    assert body[4:8] == b"\0\0\0\0"  # no time
    assert (described.bytes, described.content_bytes, described.entries) == (len(body), 16, 2)
    assert described.path == f"entries/date=2026-11-22/000000000042-{described.sha256[:12]}.jsonl.gz"
    assert (described.first, described.last) == (NOON, NOON)


def decompress(body: bytes, limit: int, size: int = 7) -> bytes:
    chunks = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(data_file.decompress_gzip(chunks, limit))


def test_a_stream_is_decompressed_in_chunks() -> None:
    assert decompress(gzip.compress(b"x" * 200_000, mtime=0), 200_000) == b"x" * 200_000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (gzip.compress(b"0" * 10_000_000, mtime=0), "decompresses to more than"),
        (gzip.compress(b"abc", mtime=0)[:-1], "truncated"),
        (gzip.compress(b"abc", mtime=0) + b"x", "follow"),
        (gzip.compress(b"abc", mtime=0) + gzip.compress(b"def", mtime=0), "follow"),
        (b"", "truncated"),
        (b"\0" * 50, "not a gzip stream"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_an_invalid_stream_is_rejected(body: bytes, message: str, size: int) -> None:
    with pytest.raises(Malformed, match=message):
        decompress(body, 1000, size)


def test_lines_are_split_wherever_the_chunks_end() -> None:
    assert list(data_file.split_lines([b"a\nb", b"", b"c\n\n", b"d"])) == [b"a\n", b"bc\n", b"\n", b"d"]


def test_a_tag_distinguishes_tokens_without_containing_them() -> None:
    tag = archive_format.token_tag("archive", "token")
    assert tag == archive_format.token_tag("archive", "token")
    assert len({tag, archive_format.token_tag("other", "token"), archive_format.token_tag("archive", "other")}) == 3
