# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time stamps of heads by real authorities: honest ones, and unavailable, slow, expired or dishonest ones."""

from __future__ import annotations

import itertools
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.timestamp import (
    Authorities,
    InvalidTimestamp,
    parse_timestamp_name,
    read_token,
    timestamp_file,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3 import S3Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.timestamper import (
    Authority,
    HeadTimestamp,
    newest_timestamp,
    stamp_head,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import (
    VerificationResult,
    verify_archive,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    Cancelled,
    InvalidInput,
    NotStamped,
    StorageError,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.times import utc_now
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.authority import TimeAuthority
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

DAY = timedelta(days=1)
DIGEST = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[TimeAuthority]:
    with TimeAuthority(tmp_path) as made:
        yield made


@pytest.fixture
def archive(world: World) -> World:
    """Three commits of the present time, because openssl stamps only the present time."""
    world.clock.now = utc_now().replace(microsecond=0)
    grow(world, 3)
    return world


def grow(world: World, commits: int) -> None:
    for _run in range(commits):
        world.append(2, ago=30)
        world.collect()


def stamp(world: World, authority: TimeAuthority, every: timedelta = DAY, **options: Any) -> HeadTimestamp:
    known = Authority(**{"url": authority.url, "authorities": Authorities(authority.root), **options})
    return stamp_head(world.store, world.head, newest_timestamp(world.store), known, every, threading.Event())


def put(world: World, sequence: int, body: bytes, name: Optional[str] = None) -> Path:
    """Store a time stamp of a commit."""
    path = world.path / (name or timestamp_file(load_commit(world.store, sequence).head).name)
    path.write_bytes(body)
    return path


def checked(world: World, authority: Optional[TimeAuthority], now: Optional[datetime] = None) -> VerificationResult:
    authorities = Authorities(authority.root) if authority else None
    return verify_archive(world.store, authorities=authorities, now=now or max(world.clock.now, utc_now()))


def findings_of(world: World, authority: Optional[TimeAuthority]) -> list[tuple[str, bool]]:
    return [(finding.type, finding.is_warning) for finding in checked(world, authority).findings]


def test_the_head_is_stamped_and_openssl_alone_checks_it(archive: World, authority: TimeAuthority) -> None:
    stamped = stamp(archive, authority)
    name = timestamp_file(archive.head.head).name
    assert list(archive.store.list_files("timestamps")) == [name]
    assert stamped.head == archive.head.head
    assert abs(stamped.time - utc_now()) < timedelta(minutes=1)
    command = ["openssl", "ts", "-verify", "-data", archive.head.commit.name, "-in", name, "-CAfile", authority.root]
    subprocess.run(command, cwd=archive.path, check=True, capture_output=True, timeout=60)
    found = checked(archive, authority)
    assert found.findings == []
    assert found.timestamps is not None
    assert [(one.head, one.time) for one in found.timestamps.heads] == [stamped]
    assert found.timestamps.unstamped == 0
    assert checked(archive, None) == ([], None, None, None)


def test_a_second_one_waits_until_it_is_due(archive: World, authority: TimeAuthority) -> None:
    first = stamp(archive, authority)
    grow(archive, 1)
    assert stamp(archive, authority) == first
    assert len(authority.requests) == 1
    assert stamp(archive, authority, every=timedelta()).head == archive.head.head
    assert len(list(archive.store.list_files("timestamps"))) == 2


def test_only_time_stamps_of_this_archive_count(archive: World, authority: TimeAuthority) -> None:
    """Otherwise anyone who can write to the archive could prevent the next time stamp."""
    put(archive, 2, authority.of(DIGEST))
    put(archive, 3, b"no time stamp")
    put(archive, 9, authority.of(DIGEST), "timestamps/000000000009-2d711642b726.tsr")
    put(archive, 1, b"", "timestamps/README")
    assert newest_timestamp(archive.store) is None
    in_future = utc_now() + timedelta(days=3)
    put(archive, 3, authority.at(in_future, archive.head.head.sha256))
    assert stamp(archive, authority).time < in_future


def test_an_archive_in_a_locked_bucket_is_stamped(world: World, authority: TimeAuthority, buckets: Buckets) -> None:
    store = S3Store(f"{buckets.new_location('locked')}?claims={buckets.new_location()}&lock_days=1")
    world.clock.now = utc_now().replace(microsecond=0)
    world.append(2, ago=30)
    world.collect(store)
    asked_of = Authority(authority.url, Authorities(authority.root))
    first = stamp_head(store, load_commit(store, 1), newest_timestamp(store), asked_of, DAY, threading.Event())
    assert newest_timestamp(store) == first
    found = verify_archive(store, authorities=Authorities(authority.root))
    assert found.findings == []
    assert found.timestamps is not None
    assert [one.head for one in found.timestamps.heads] == [first.head]


def test_a_request_contains_only_a_digest_and_a_nonce(archive: World, authority: TimeAuthority) -> None:
    stamp(archive, authority, every=timedelta())
    stamp(archive, authority, every=timedelta())
    first, second = authority.requests
    assert first != second
    assert bytes.fromhex(archive.head.head.sha256) in first
    assert len(first) < 100


# Failing or dishonest authorities. The archive stays unchanged, and the error names the host and the reason.


def asked(query: bytes) -> str:
    """The digest in a request: 32 bytes in an octet string."""
    return query.partition(b"\x04\x20")[2][:32].hex()


Lie = Callable[[TimeAuthority, TimeAuthority, bytes], tuple[int, bytes]]

LIES: dict[str, tuple[Lie, str]] = {
    "unavailable": (lambda _own, _other, _query: (503, b"come back later"), "responded with HTTP 503"),
    "a redirect": (lambda _own, _other, _query: (302, b""), "responded with HTTP 302"),
    "a page": (lambda _own, _other, _query: (200, b"<html>Log in to your WiFi</html>"), "returned no time stamp"),
    "nothing": (lambda _own, _other, _query: (200, b""), "returned no time stamp"),
    "too much": (lambda _own, _other, _query: (200, bytes(1 << 20)), "returned more bytes than any time stamp"),
    "cut off": (lambda own, _other, query: (200, own.stamp(query)[1][:-9]), "returned no time stamp"),
    "refused": (lambda _own, _other, _query: (200, bytes.fromhex("30053003020102")), "returned no time stamp"),
    "a wrong digest": (lambda own, _other, _query: (200, own.of(DIGEST)), "it is for other data"),
    "a wrong nonce": (lambda own, _other, query: (200, own.of(asked(query))), "it belongs to another request"),
    "no nonce": (
        lambda own, _other, query: (200, own.of(asked(query), "-no_nonce")),
        "it belongs to no request of this",
    ),
    "an older one": (
        lambda own, _other, query: (200, own.at(utc_now() - DAY, asked(query))),
        "it belongs to no request",
    ),
    "another's": (lambda _own, other, query: other.stamp(query), "its certificate is not accepted: "),
}


@pytest.mark.parametrize("name", LIES)
def test_an_authority_that_fails_or_lies_stamps_nothing(
    archive: World, authority: TimeAuthority, tmp_path: Path, name: str
) -> None:
    before = archive.files()
    lie, reason = LIES[name]
    other = TimeAuthority(tmp_path, "other")
    authority.reply = lambda query: lie(authority, other, query)
    with pytest.raises(NotStamped) as caught:
        stamp(archive, authority)
    assert reason in caught.value.message
    assert caught.value.message.startswith("The time stamping authority 127.0.0.1 ")
    assert "customer-4711" not in caught.value.message
    assert caught.value.failure["code"] == "not_stamped"
    assert archive.files() == before


@pytest.mark.parametrize("name", ["a wrong digest", "a wrong nonce", "no nonce", "an older one", "cut off"])
def test_a_false_timestamp_is_refused_without_certificates_too(
    archive: World, authority: TimeAuthority, tmp_path: Path, name: str
) -> None:
    lie, _reason = LIES[name]
    authority.reply = lambda query: lie(authority, authority, query)
    with pytest.raises(NotStamped):
        stamp(archive, authority, authorities=None)
    authority.reply = TimeAuthority(tmp_path, "other").stamp
    assert stamp(archive, authority, authorities=None).head == archive.head.head
    assert findings_of(archive, authority) == [("timestamp_bad", False)]


def test_an_authority_whose_certificate_expired_stamps_nothing(archive: World, tmp_path: Path) -> None:
    with TimeAuthority(tmp_path, end="20210101000000Z") as expired:
        expired.reply = lambda query: (200, expired.at(utc_now(), asked(query), nonce=nonce(query)))
        for authorities in (Authorities(expired.root), None):
            with pytest.raises(NotStamped, match="its certificate is not accepted: certificate has expired"):
                stamp(archive, expired, authorities=authorities)


def nonce(query: bytes) -> bytes:
    """The nonce in a request: the integer after the digest."""
    rest = query.partition(b"\x04\x20")[2][32:]
    return rest[: 2 + rest[1]]


def test_an_authority_by_another_clock_stamps_nothing(archive: World, authority: TimeAuthority) -> None:
    authority.reply = lambda query: (200, authority.at(utc_now() - DAY, asked(query), nonce=nonce(query)))
    with pytest.raises(NotStamped, match=r"returned the time .*; check the clock of this host"):
        stamp(archive, authority)


def test_an_authority_that_is_down_or_slow_stamps_nothing(archive: World, authority: TimeAuthority) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(NotStamped, match="cannot be reached: Connection refused"):
            stamp(archive, authority, clock=lambda: 0, url=f"http://127.0.0.1:{closed.getsockname()[1]}/")
    ticks = itertools.count(0, 20)
    with pytest.raises(NotStamped, match="did not respond in time"):
        stamp(archive, authority, clock=lambda: next(ticks))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        Authority(authority.url).stamp(DIGEST, stop)


@pytest.mark.parametrize(
    "url", ["", "ftp://a/", "http://", "https://[", "file:///etc/passwd", "http://a:99999/", "https://me:secret@a/"]
)
def test_invalid_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="--timestamp-url must be the http:// or https:// URL"):
        Authority(url).check_url("--timestamp-url")


# Verification


def test_a_time_stamp_is_judged_at_its_own_time(archive: World, tmp_path: Path) -> None:
    """Authorities change certificates every few years; archives are kept for longer."""
    authority = TimeAuthority(tmp_path, end="20250601000000Z")
    good, late = datetime(2025, 3, 1, tzinfo=timezone.utc), datetime(2025, 9, 1, tzinfo=timezone.utc)
    for moment, damage in ((good, None), (late, "its certificate is not accepted: certificate has expired")):
        body = authority.at(moment, DIGEST, status=b"Granted.\n\nTime stamp: Jan  1 00:00:00 2001 GMT")
        assert read_token(body) == (DIGEST, moment)
        assert Authorities(authority.root).find_problem(body, read_token(body)) == damage


def test_verify_says_by_when_each_head_existed(archive: World, authority: TimeAuthority) -> None:
    grow(archive, 2)
    now = archive.clock.now
    for sequence, hours in ((2, 5), (4, 30)):
        body = authority.at(now + timedelta(hours=hours), load_commit(archive.store, sequence).head.sha256)
        put(archive, sequence, body)
    found = checked(archive, authority).timestamps
    assert found is not None
    assert [(one.head.sequence, one.time - now) for one in found.heads] == [
        (2, timedelta(hours=5)),
        (4, timedelta(hours=30)),
    ]
    assert found.longest_wait is not None
    assert (found.longest_wait.sequence in (3, 4), found.longest_wait.seconds) == (True, 30 * 3600)
    assert found.unstamped == 1
    assert found.to_json()["heads"][0]["existed_by"] == (now + timedelta(hours=5)).isoformat().replace("+00:00", "Z")


def test_the_earliest_time_stamp_that_covers_a_commit_counts(archive: World, authority: TimeAuthority) -> None:
    now = archive.clock.now
    for sequence, hours in ((1, 50), (3, 20)):
        put(
            archive,
            sequence,
            authority.at(now + timedelta(hours=hours), load_commit(archive.store, sequence).head.sha256),
        )
    found = checked(archive, authority).timestamps
    assert found is not None
    assert found.longest_wait is not None
    assert found.longest_wait.seconds == 20 * 3600


def test_an_authority_may_be_half_an_hour_behind_the_server(archive: World, authority: TimeAuthority) -> None:
    commit = load_commit(archive.store, 3)
    for minutes, expected in ((31, [("timestamp_bad", False)]), (29, [])):
        early = commit.commit.server_date - timedelta(minutes=minutes)
        put(archive, 3, authority.at(early, commit.head.sha256))
        assert findings_of(archive, authority) == expected
    found = checked(archive, authority).timestamps
    assert found is not None
    assert found.longest_wait is not None
    assert found.longest_wait.seconds == 0


def test_timestamps_of_other_commits_are_found(archive: World, authority: TimeAuthority, tmp_path: Path) -> None:
    genuine = authority.of(load_commit(archive.store, 2).head.sha256)
    others = TimeAuthority(tmp_path, "other").of(load_commit(archive.store, 2).head.sha256)
    early = authority.at(archive.clock.now - DAY, load_commit(archive.store, 2).head.sha256)
    for body, reason in (
        (authority.of(DIGEST), "it is of other bytes than the commit"),
        (others, "its certificate is not accepted"),
        (genuine[:-1] + bytes([genuine[-1] ^ 1]), "it is not a valid time stamp"),
        (b"", "it is not a time stamp"),
        (bytes(1 << 17), "the file is larger than"),
        (early, "one of these dates is wrong"),
    ):
        put(archive, 2, body)
        (finding,) = checked(archive, authority).findings
        assert (finding.type, reason in finding.detail) == ("timestamp_bad", True), finding
    put(archive, 2, genuine)
    assert findings_of(archive, authority) == []


def test_an_archive_without_time_stamps_has_none_to_show(archive: World, authority: TimeAuthority) -> None:
    assert findings_of(archive, authority) == [("timestamp_absent", False)]
    assert findings_of(archive, None) == []


def test_time_stamps_of_other_commits_show_a_rewritten_or_cut_history(archive: World, authority: TimeAuthority) -> None:
    grow(archive, 4)
    for sequence in (2, 4, 7):
        put(archive, sequence, authority.of(load_commit(archive.store, sequence).head.sha256))
    assert findings_of(archive, authority) == []
    for sequence in (5, 6, 7):
        (archive.path / load_commit(archive.store, sequence).commit.name).unlink()
    found = {finding.path: finding for finding in checked(archive, authority).findings}
    (lost,) = [finding for finding in found.values() if finding.type == "timestamp_lost"]
    assert lost.detail.startswith("commit 7 existed by ")
    assert lost.detail.endswith("so commits after 4 were cut off")
    own = parse_timestamp_name(timestamp_file(load_commit(archive.store, 2).head).name)
    assert own is not None
    put(archive, 2, authority.of(DIGEST), "timestamps/000000000002-2d711642b726.tsr")
    details = [finding.detail for finding in checked(archive, authority).findings if finding.type == "timestamp_lost"]
    assert any(detail.startswith("commit 2 was another one at ") and detail.endswith(DIGEST) for detail in details)


def test_a_time_stamp_shows_that_the_newest_commit_was_rewritten(archive: World, authority: TimeAuthority) -> None:
    sequence = archive.head.head.sequence
    put(archive, sequence, authority.of(DIGEST), f"timestamps/{sequence:012d}-{DIGEST[:12]}.tsr")
    (lost,) = [finding for finding in checked(archive, authority).findings if finding.type == "timestamp_lost"]
    assert lost.detail.startswith(f"commit {sequence} was another one at ")


def test_a_cut_is_described_among_many_files_of_the_next_commit(archive: World, authority: TimeAuthority) -> None:
    newest = archive.head
    put(archive, newest.head.sequence, authority.of(newest.head.sha256))
    for sequence in (newest.head.sequence, newest.head.sequence - 1):
        (archive.path / load_commit(archive.store, sequence).commit.name).unlink()
    for number in range(101):
        (archive.path / f"timestamps/{newest.head.sequence - 1:012d}-{number:012x}.tsr").write_bytes(b"junk")
    details = [finding.detail for finding in checked(archive, authority).findings if finding.type == "timestamp_lost"]
    assert any(detail.startswith(f"commit {newest.head.sequence} existed by ") for detail in details)


def test_the_commit_after_the_head_may_have_one(archive: World, authority: TimeAuthority) -> None:
    """A copy that was made during a collection run can have a time stamp of the next commit."""
    put(archive, 3, authority.of(load_commit(archive.store, 3).head.sha256))
    put(archive, 2, authority.of(load_commit(archive.store, 2).head.sha256))
    (archive.path / "commits/000000000003.json").unlink()
    assert "timestamp_lost" not in {type_ for type_, _is_warning in findings_of(archive, authority)}


def test_unexpected_objects_are_warnings_and_hide_no_finding(archive: World, authority: TimeAuthority) -> None:
    stamp(archive, authority)
    directory = archive.path / "timestamps"
    (directory / "README").write_text("hello")
    (directory / "000000000002-aaaaaaaaaaaa.tsr").write_bytes(b"junk")
    (directory / "folder").mkdir()
    for known in (authority, None):
        found = findings_of(archive, known)
        assert set(found) == {("timestamp_extra", True)}
        assert len(found) == 3
    for number in range(200):
        (directory / f"000000000001-{number:012x}.tsr").write_bytes(b"junk")
    assert ("timestamp_lost", False) in findings_of(archive, authority)


def test_a_collection_run_needs_no_timestamps_directory(archive: World, authority: TimeAuthority) -> None:
    """An unexpected object can have the name of the directory."""
    (archive.path / "timestamps").rmdir()
    (archive.path / "timestamps").write_text("a file")
    grow(archive, 1)
    with pytest.raises(StorageError):
        stamp(archive, authority)
    assert findings_of(archive, None) == [("timestamp_extra", True)]


@pytest.mark.parametrize("body", [b"", b"\x30\x80", bytes(1000), b"\x30\x84\xff\xff\xff\xff"])
def test_unreadable_tokens_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidTimestamp):
        read_token(body)


def test_without_openssl_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: TimeAuthority
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match="openssl is missing; install it"):
        Authorities(authority.root)


@pytest.mark.parametrize("content", [None, b"", b"not PEM"])
def test_a_file_without_certificates_is_refused(tmp_path: Path, content: Optional[bytes]) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match="time stamping authorit"):
        Authorities(str(path))
