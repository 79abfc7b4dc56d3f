# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only a store in a bucket does, at a real server behind a faulty proxy."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, List

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.maintenance import (
    MaintenanceResult,
    compact,
    prune,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.open import open_archive, open_store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3 import RequestTimes, S3Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3_address import (
    ArchiveAddress,
    BucketAccess,
    BucketLocation,
    ObjectLock,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import ObjectNotFound, read_file
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import (
    ArchiveDamaged,
    InvalidInput,
    MissingDependency,
    StorageError,
    StorageUnreachable,
)
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets
from ansible_collections.auditops.cloudscale.tests.storage.contract import is_intact
from ansible_collections.auditops.cloudscale.tests.storage.proxy import Fault, FaultyProxy
from ansible_collections.auditops.cloudscale.tests.storage.seaweed import READER
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_attacks import (
    archive,
    check_named,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

__all__ = ["archive"]

RECORD = "pending/000000000001-5f0c9a1b2d3e4f60.json"
DATA = "entries/date=2026-11-22/000000000001-3f9ac0d1e2b4.jsonl.gz"
FIRST = "commits/000000000001.json"
SECOND = "commits/000000000002.json"
AGAIN = "2"
LOST = ("reset_before", "reset_after", "503 SlowDown", "500 InternalError")


# The address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("s3://audit", ArchiveAddress(BucketLocation("audit", ""))),
        ("s3://audit/", ArchiveAddress(BucketLocation("audit", ""))),
        ("s3://audit/log/shop/", ArchiveAddress(BucketLocation("audit", "log/shop/"))),
        (
            "s3://audit/shop?claims=s3://plain",
            ArchiveAddress(BucketLocation("audit", "shop/"), BucketLocation("plain", "")),
        ),
        ("s3://a-b/x?lock_days=400", ArchiveAddress(BucketLocation("a-b", "x/"), None, ObjectLock(400, "governance"))),
        (
            "s3://audit/shop?claims=s3://plain/shop&lock_days=1&lock_mode=compliance",
            ArchiveAddress(
                BucketLocation("audit", "shop/"), BucketLocation("plain", "shop/"), ObjectLock(1, "compliance")
            ),
        ),
    ],
)
def test_an_address_is_parsed(url: str, address: ArchiveAddress) -> None:
    assert ArchiveAddress.parse(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///prefix",
        "s3://UPPER/x",
        "s3://a",
        "s3://audit/x?claim=s3://plain",
        "s3://audit/x?claims=/var/lib",
        "s3://audit/x?claims=s3://audit/x",
        "s3://audit/x?lock_days=0",
        "s3://audit/x?lock_days=ten",
        "s3://audit/x?lock_mode=governance",
        "s3://audit/x?lock_days=1&lock_mode=strict",
        "s3://audit/x#y",
    ],
)
def test_an_invalid_address_is_rejected(url: str) -> None:
    with pytest.raises(InvalidInput):
        open_store(url)


def test_opening_a_missing_archive_fails(buckets: Buckets) -> None:
    with pytest.raises(StorageError, match="There is no archive in s3://"):
        open_archive(buckets.new_location())


def test_a_missing_library_is_reported(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingDependency, match="boto3"):
        S3Store(buckets.new_location()).list_commits()


# Conditional writes


def test_a_server_that_ignores_the_condition_is_refused(buckets: Buckets, proxy: FaultyProxy) -> None:
    location = buckets.new_location()
    proxy.unconditional = location[len("s3:/") :]
    with pytest.raises(StorageError, match="ignores If-None-Match.*claims=s3://BUCKET/PREFIX"):
        S3Store(location).check_put_if_absent(None, RECORD)
    assert buckets.objects(location) == {}
    proxy.unconditional = None
    S3Store(location).put_if_absent(FIRST, b"one")
    proxy.unconditional = location[len("s3:/") :]
    with pytest.raises(StorageError, match="ignores If-None-Match"):
        S3Store(location).check_put_if_absent((FIRST, b"one"), RECORD)


def puts(proxy: FaultyProxy) -> List[str]:
    """The names of the objects that were put since the last call, in order."""
    found = [request.partition("?")[0].split("/", 3)[3] for request in proxy.requests if request.startswith("PUT")]
    del proxy.requests[:]
    return found


def test_only_a_run_that_commits_checks_conditional_writes(buckets: Buckets, proxy: FaultyProxy, world: World) -> None:
    world.store = S3Store(buckets.new_location())
    world.append(3)
    world.collect(pin=True)
    first = puts(proxy)
    # The check puts the record twice; then the run puts the files of a commit.
    assert [name.split("/")[0] for name in first] == ["pending", "pending", "pending", "entries", "commits"]
    assert len(set(first[:3])) == 1
    world.collect(pin=True)
    assert puts(proxy) == []
    world.append(12, ago=30)
    assert world.collect(pin=True).commits_added > 1
    again = puts(proxy)
    assert again[0] == FIRST
    assert again.count(FIRST) == 1
    # The check is repeated by each run, because the server can change.
    proxy.unconditional = str(world.store)[len("s3:/") :]
    world.append(1, ago=20)
    with pytest.raises(StorageError, match="ignores If-None-Match"):
        world.collect(pin=True)


def test_a_server_without_conditional_writes_is_refused(buckets: Buckets, proxy: FaultyProxy) -> None:
    proxy.script(Fault("501 NotImplemented", path="/pending/"))
    with pytest.raises(StorageError, match="cannot write .*If-None-Match"):
        S3Store(buckets.new_location()).check_put_if_absent(None, RECORD)


def test_a_commit_bucket_that_ignores_the_condition_is_refused(buckets: Buckets, proxy: FaultyProxy) -> None:
    commit_bucket = buckets.new_location()
    store = S3Store(f"{buckets.new_location()}?claims={commit_bucket}")
    proxy.unconditional = commit_bucket[len("s3:/") :]
    for head in (None, (FIRST, b"one")):
        with pytest.raises(StorageError, match=f"ignores If-None-Match in {commit_bucket}"):
            store.check_put_if_absent(head, RECORD)


def test_a_commit_bucket_replaces_conditional_writes_of_the_archive(
    buckets: Buckets, proxy: FaultyProxy, world: World
) -> None:
    location, commit_bucket = buckets.new_location("versioned"), buckets.new_location()
    proxy.unconditional = location[len("s3:/") :]
    world.store = S3Store(f"{location}?claims={commit_bucket}")
    world.append(12)
    assert world.collect().added == 12
    assert world.verify() == []
    assert is_intact(world)
    assert {name: body for name, body in buckets.objects(location).items() if name.startswith("commits/")} == (
        buckets.objects(commit_bucket)
    )
    versions = buckets.client().list_object_versions(Bucket="versioned", Prefix=f"{location[15:]}/commits/")["Versions"]
    assert all(version["IsLatest"] for version in versions)


def test_the_next_run_copies_a_commit_of_a_killed_run(buckets: Buckets, proxy: FaultyProxy, world: World) -> None:
    location, commit_bucket = buckets.new_location("locked"), buckets.new_location()
    world.store = S3Store(f"{location}?claims={commit_bucket}")
    world.append(3)
    world.collect()
    world.append(3, ago=9)
    proxy.script(Fault("reset_before", path=f"{location[4:]}/commits/000000000002.json"))
    with pytest.raises(StorageError):
        world.collect()
    assert len(world.store.list_commits()) == 1
    world.append(3, ago=5)
    world.collect()
    assert len(world.store.list_commits()) == 3
    assert is_intact(world)


def test_a_commit_bucket_can_be_added_later(buckets: Buckets, world: World) -> None:
    location, commit_bucket = buckets.new_location(), buckets.new_location()
    for address, count in ((location, 3), (f"{location}?claims={commit_bucket}", 2)):
        world.store = S3Store(address)
        world.append(count, ago=20)
        world.collect()
    assert is_intact(world)
    assert sorted(buckets.objects(commit_bucket)) == [FIRST, SECOND]


def test_a_commit_bucket_of_another_archive_stops_the_run(buckets: Buckets, world: World) -> None:
    location, commit_bucket = buckets.new_location(), buckets.new_location()
    S3Store(commit_bucket).put_if_absent(FIRST, b"another archive's")
    world.store = S3Store(location)
    world.append(3)
    world.collect()
    world.store = S3Store(f"{location}?claims={commit_bucket}")
    world.append(1)
    with pytest.raises(ArchiveDamaged, match="differs from the one in"):
        world.collect()


def test_only_commits_and_data_files_are_locked(buckets: Buckets) -> None:
    location, commit_bucket = buckets.new_location("locked"), buckets.new_location()
    store = S3Store(f"{location}?claims={commit_bucket}&lock_days=3&lock_mode=compliance")
    store.prepare(None)
    store.put({RECORD: b"{}", DATA: b"data"})
    store.put_if_absent(FIRST, b"one")
    client = buckets.client()
    locks = {
        name: client.head_object(Bucket="locked", Key=f"{location[12:]}/{name}").get("ObjectLockMode")
        for name in buckets.objects(location)
    }
    assert locks == {RECORD: None, DATA: "COMPLIANCE", FIRST: "COMPLIANCE"}
    until = client.head_object(Bucket="locked", Key=f"{location[12:]}/{FIRST}")["ObjectLockRetainUntilDate"]
    assert timedelta(days=2) < until - datetime.now(timezone.utc) <= timedelta(days=3)


def test_purging_deletes_all_versions_unless_one_is_locked(buckets: Buckets) -> None:
    location = buckets.new_location("versioned")
    store = S3Store(location)
    for body in (b"one", b"two"):
        store.put({DATA: body})
    store.delete([DATA])
    store.purge([DATA])
    found = buckets.client().list_object_versions(Bucket="versioned", Prefix=f"{location[15:]}/")
    assert (found.get("Versions"), found.get("DeleteMarkers")) == (None, None)
    locked = S3Store(f"{buckets.new_location('locked')}?lock_days=1")
    locked.put({DATA: b"data"})
    with pytest.raises(StorageError, match="denied access: cannot delete .*locks"):
        locked.purge([DATA])
    assert read_file(locked, DATA) == b"data"


def days_ago(world: World, *days: int) -> None:
    """Collect two commits with one file each for each of these days."""
    for ago in days:
        for _run in range(2):
            world.append(2, ago=ago * 86400)
            world.collect()


@pytest.mark.parametrize("job", [compact, prune])
def test_prune_and_compact_change_nothing_if_a_file_is_locked(
    buckets: Buckets, proxy: FaultyProxy, world: World, job: Callable[..., MaintenanceResult]
) -> None:
    """Some of the files were written without a lock."""
    location = buckets.new_location("locked")
    for options, ago in (("", 4), ("?lock_days=1", 3), ("", 0)):
        world.store = S3Store(location + options)
        days_ago(world, ago)
    del proxy.requests[:]
    for dry_run in (True, False):
        with pytest.raises(
            StorageError, match=r"entries/date=2026-11-19/.* is locked until .*Z and cannot be deleted; wait"
        ):
            job(world.store, world.clock.ago(days=1), world.context(dry_run=dry_run))
    assert not [request for request in proxy.requests if request.startswith("DELETE")]
    # The only PUT is the check of conditional writes.
    assert not [request for request in proxy.requests if request.startswith("PUT") and "/000000000006" not in request]
    assert is_intact(world)
    assert job(world.store, world.clock.ago(days=3), world.context()).days == 1
    assert world.verify() == []


def test_a_hidden_version_is_locked_too(buckets: Buckets) -> None:
    location = buckets.new_location("locked")
    S3Store(f"{location}?lock_days=1").put({DATA: b"one"})
    store = S3Store(location)
    store.put({DATA: b"two"})
    store.delete([DATA])
    with pytest.raises(StorageError, match="is locked until"):
        store.check_not_locked([DATA])


def test_a_legal_hold_locks_until_it_is_lifted(buckets: Buckets) -> None:
    location = buckets.new_location("locked")
    store = S3Store(location)
    store.put({DATA: b"data"})
    store.check_not_locked([DATA, SECOND])
    hold = {"Bucket": "locked", "Key": f"{BucketLocation.parse(location).prefix}{DATA}"}
    buckets.client().put_object_legal_hold(**hold, LegalHold={"Status": "ON"})
    with pytest.raises(StorageError, match="is locked by a legal hold and cannot be deleted"):
        store.check_not_locked([DATA])
    buckets.client().put_object_legal_hold(**hold, LegalHold={"Status": "OFF"})
    store.check_not_locked([DATA])


def test_lock_days_requires_object_lock(buckets: Buckets) -> None:
    store = S3Store(f"{buckets.new_location()}?lock_days=3")
    with pytest.raises(StorageError, match="lock_days"):
        store.put({RECORD: b"{}", DATA: b"data"})


# Lost connections and unavailable servers


@pytest.mark.parametrize("how", LOST)
def test_a_commit_is_created_although_the_first_attempt_fails(
    buckets: Buckets, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", AGAIN)
    store = S3Store(buckets.new_location())
    proxy.script(Fault(how))
    assert store.put_if_absent(FIRST, b"mine")
    assert proxy.left == []
    proxy.script(Fault(how))
    assert not store.put_if_absent(FIRST, b"yours")
    assert read_file(store, FIRST) == b"mine"


def test_a_commit_is_looked_up_if_the_response_was_lost(buckets: Buckets, proxy: FaultyProxy) -> None:
    store = S3Store(buckets.new_location())
    proxy.script(Fault("reset_after"))
    assert store.put_if_absent(FIRST, b"mine")
    proxy.script(Fault("reset_before"))
    with pytest.raises(StorageUnreachable):
        store.put_if_absent(SECOND, b"mine")
    assert store.list_commits() == [1]


def test_a_conflict_is_retried(buckets: Buckets, proxy: FaultyProxy) -> None:
    store = S3Store(buckets.new_location())
    proxy.script(Fault("409 ConditionalRequestConflict", times=2))
    assert store.put_if_absent(FIRST, b"mine")
    assert proxy.left == []
    proxy.script(Fault("409 ConditionalRequestConflict", times=99))
    with pytest.raises(StorageUnreachable, match="reports conflicting writes"):
        store.put_if_absent(SECOND, b"mine")


def test_a_file_that_is_deleted_while_it_is_read_is_not_reported_as_missing(
    buckets: Buckets, proxy: FaultyProxy
) -> None:
    store = S3Store(buckets.new_location())
    store.put({RECORD: b"{}", DATA: b"x" * 1_000_000})
    proxy.script(Fault("reset_amid", method="GET"), Fault("404 NoSuchKey", method="GET"))
    with pytest.raises(StorageUnreachable, match="was deleted while it was read; try again"):
        list(store.read(DATA))


def test_an_interrupted_read_is_resumed(buckets: Buckets, proxy: FaultyProxy) -> None:
    store = S3Store(buckets.new_location())
    body = bytes(range(256)) * 2048
    store.put({RECORD: b"{}", DATA: body})
    proxy.script(Fault("reset_amid", method="GET", times=3))
    assert read_file(store, DATA) == body
    proxy.script(Fault("reset_amid", method="GET", times=99))
    with pytest.raises(StorageUnreachable):
        read_file(store, DATA)


def test_a_body_that_was_damaged_in_transit_is_not_stored(
    buckets: Buckets, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = buckets.new_location()
    genuine = proxy.forward
    monkeypatch.setattr(proxy, "forward", lambda held: genuine(held._replace(body=held.body.replace(b"a", b"b"))))
    with pytest.raises(StorageError):
        S3Store(location).put({RECORD: b"{}", DATA: b"data"})
    assert set(buckets.objects(location)) <= {RECORD}


# Requests that take effect late


def test_a_later_run_deletes_a_data_file_that_appears_late(buckets: Buckets, proxy: FaultyProxy, world: World) -> None:
    location = buckets.new_location()
    world.store = S3Store(location)
    world.append(4)
    world.collect(pin=True)
    world.append(4, ago=30)
    proxy.script(Fault("late", path="/entries/"))
    with pytest.raises(StorageUnreachable):
        world.collect(pin=True)
    world.append(4, ago=9)
    world.collect(pin=True)
    before = set(buckets.objects(location))
    assert proxy.deliver_late() == [200]
    late = set(buckets.objects(location)) - before
    assert len(late) == 1
    assert [finding.type for finding in world.verify()] == ["orphan"]
    world.collect(pin=True, heartbeat=timedelta(0))
    assert is_intact(world)
    assert not late & set(buckets.objects(location))


def test_an_old_record_is_deleted(
    buckets: Buckets, proxy: FaultyProxy, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store = S3Store(buckets.new_location())
    world.append(4)
    proxy.script(Fault("reset_before", path="/entries/"))
    with pytest.raises(StorageUnreachable):
        world.collect(pin=True)
    world.append(1, ago=5)
    world.collect(pin=True)
    assert len(list(world.store.list_files("pending"))) == 1
    old = RequestTimes(settled_after=timedelta(seconds=-1))
    world.collect(S3Store(str(world.store), times=old), pin=True)
    assert list(world.store.list_files("pending")) == []


def test_a_record_is_deleted_at_once_if_all_requests_got_a_response(buckets: Buckets, world: World) -> None:
    location = buckets.new_location()
    world.append(4)

    class Slow(S3Store):
        def put_if_absent(self, name: str, body: bytes) -> bool:
            world.collect(S3Store(location))
            return super().put_if_absent(name, body)

    world.store = S3Store(location)
    assert world.collect(Slow(location)).added == 0
    assert is_intact(world)
    assert list(world.store.list_files("pending")) == []


def test_a_repeated_attempt_keeps_the_record(
    buckets: Buckets, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", AGAIN)
    store = S3Store(buckets.new_location())
    proxy.script(Fault("reset_after", path="/entries/"))
    store.put({RECORD: b"{}", DATA: b"data"})
    assert not store.is_settled(RECORD)


def test_data_files_are_not_sent_long_after_their_record(
    buckets: Buckets, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = RequestTimes(signed_within=timedelta(seconds=-2))
    with pytest.raises(StorageError, match="suspended"):
        S3Store(buckets.new_location(), times=late).put({RECORD: b"{}", DATA: b"data"})
    assert [request for request in proxy.requests if "/entries/" in request] == []


def test_the_server_rejects_a_request_signed_long_ago(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, stale: None
) -> None:
    """So no request can take effect after its record was deleted; a wrong clock of the host has the same effect."""
    with pytest.raises(StorageError, match="rejects the clock of this host"):
        S3Store(buckets.new_location()).put({DATA: b"data"})


@pytest.fixture
def stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign requests with a time sixteen minutes ago."""
    from botocore import auth

    class Late(datetime):
        @classmethod
        def utcnow(cls) -> datetime:
            return datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(minutes=16)

    if hasattr(auth, "get_current_datetime"):
        monkeypatch.setattr(auth, "get_current_datetime", lambda *_args, **_options: Late.utcnow())
    else:
        monkeypatch.setattr(auth.datetime, "datetime", Late)


def test_a_commit_that_appears_late_counts_if_it_is_the_first(
    buckets: Buckets, proxy: FaultyProxy, world: World
) -> None:
    world.store = S3Store(buckets.new_location())
    world.append(4)
    proxy.script(Fault("late", path="/000000000001.json"))
    with pytest.raises(StorageUnreachable):
        world.collect(pin=True, max_entries=99)
    assert proxy.deliver_late() == [200]
    world.append(4, ago=20)
    proxy.script(Fault("late", path="/000000000002.json"))
    with pytest.raises(StorageUnreachable):
        world.collect(pin=True)
    world.append(1, ago=5)
    world.collect(pin=True)
    assert proxy.deliver_late() == [412]
    world.collect(pin=True, heartbeat=timedelta(0))
    assert is_intact(world)


# Errors


@pytest.mark.parametrize(
    ("response", "sentence", "retryable"),
    [
        ("400 ExpiredToken", "credentials for .* have expired", False),
        ("403 RequestTimeTooSkewed", "rejects the clock of this host", False),
        ("403 AccessDenied", "denied access: cannot write s3://plain/.*policy", False),
        ("503 SlowDown", "overloaded or unavailable.*503 SlowDown.*later", True),
        ("500 InternalError", "overloaded or unavailable", True),
        ("301 PermanentRedirect", "another region", False),
        ("418 Odd_Code!", "refuses to write .*: unknown \\(418\\)", False),
        ("reset_before", "No response from 127.0.0.1:", True),
    ],
)
def test_an_error_response_becomes_one_sentence(
    buckets: Buckets, proxy: FaultyProxy, response: str, sentence: str, retryable: bool
) -> None:
    proxy.script(Fault(response, times=99))
    with pytest.raises(StorageError, match=sentence) as caught:
        S3Store(buckets.new_location()).put({DATA: b"data"})
    assert caught.value.retryable is retryable
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("variables", "bucket", "sentence"),
    [
        ({}, "nosuch", "no bucket nosuch at 127.0.0.1"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "plain", "does not accept the credentials"),
        ({"AWS_ACCESS_KEY_ID": "unknown"}, "plain", "does not accept the credentials"),
        (
            {"AWS_ACCESS_KEY_ID": READER.access, "AWS_SECRET_ACCESS_KEY": READER.secret},
            "plain",
            "denied access: cannot",
        ),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "plain", "no usable credentials"),
        ({"AWS_PROFILE": "none"}, "plain", "no usable credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "plain", "No response from 127.0.0.1:9"),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "plain", "check the path and AWS_ENDPOINT_URL"),
        ({"AWS_ENDPOINT_URL": "http://user:pass@127.0.0.1:9"}, "plain", "No response from 127.0.0.1:9"),
    ],
)
def test_a_wrong_setting_becomes_one_sentence_without_secrets(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, variables: Any, bucket: str, sentence: str
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name, value in variables.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match=sentence) as caught:
        S3Store(f"s3://{bucket}/x").put({DATA: b"data"})
    for secret in ("wrong", "unknown", "pass@", *buckets.keys, *READER):
        assert secret not in caught.value.message


def test_a_missing_bucket_is_not_an_empty_archive(buckets: Buckets) -> None:
    with pytest.raises(StorageError, match="no bucket nosuch") as caught:
        open_archive("s3://nosuch/x")
    assert not isinstance(caught.value, ObjectNotFound)


# Number of requests


def test_a_run_without_new_entries_sends_few_requests(buckets: Buckets, proxy: FaultyProxy, world: World) -> None:
    world.store = S3Store(buckets.new_location())
    world.append(12)
    world.collect(pin=True)
    del proxy.requests[:]
    world.collect(pin=True)
    assert len(proxy.requests) <= 5, proxy.requests


def test_planted_records_add_no_requests(buckets: Buckets, proxy: FaultyProxy, world: World) -> None:
    """Only the last hundred sequences are listed, and records after the head are ignored."""
    world.store = S3Store(buckets.new_location())
    world.append(3)
    world.collect(pin=True)
    records = {f"pending/{sequence:012d}-planted.json": b"{" for sequence in range(900, 905)}
    world.store.put(records)
    del proxy.requests[:]
    world.collect(pin=True)
    (listed,) = [request for request in proxy.requests if "prefix=" in request and "pending" in request]
    assert "start-after=" in listed
    assert len(proxy.requests) <= 5, proxy.requests
    assert set(records) <= set(world.store.list_files("pending"))


def test_collect_reads_the_head_once(buckets: Buckets, proxy: FaultyProxy, world: World, tmp_path: Path) -> None:
    world.clock.now = datetime.now(timezone.utc)
    location = buckets.new_location()
    world.store = S3Store(location, BucketAccess(proxy.url))
    world.append(3)
    world.collect(pin=True)
    del proxy.requests[:]
    variables = {
        **os.environ,
        "AWS_ENDPOINT_URL": proxy.url,
        "CLOUDSCALE_API_URL": world.simulator.url,
        "CLOUDSCALE_API_TOKEN": world.project.token,
    }
    command = ["collect", location, "--pin", str(world.pin_path), "--metrics", str(tmp_path / "m.prom")]
    launcher = Path(version.__file__).parents[2] / "bin/cloudscale-audit"
    subprocess.run([sys.executable, str(launcher), *command], env=variables, check=True, capture_output=True)
    names = [request.split("?")[0].rpartition("/")[2] for request in proxy.requests if request.startswith("GET")]
    assert names.count("000000000001.json") == 1
    assert len(proxy.requests) <= 5, proxy.requests


# Attacks


@pytest.mark.parametrize(
    "name",
    ["two commits cut off", "history rewritten", "two files exchanged", "a gzip member appended"],
)
def test_an_attack_is_found(buckets: Buckets, archive: World, tmp_path: Path, name: str) -> None:
    check_named(archive, name, lambda: S3Store(buckets.upload(archive.path)))
