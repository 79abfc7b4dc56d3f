# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3 import S3Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import (
    DryRun,
    LocalStore,
    ObjectNotFound,
    Store,
    read,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import StorageError
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import Disk

RECORD = "pending/000000000001-5f0c9a1b2d3e4f60.json"
DATA = "entries/date=2026-11-22/000000000001-3f9ac0d1e2b4.jsonl.gz"
FIRST = "commits/000000000001.json"
SECOND = "commits/000000000002.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "archive"


@pytest.fixture
def store(folder: Path) -> LocalStore:
    made = LocalStore(str(folder))
    made.prepare(None)
    return made


@pytest.fixture(params=["folder", "bucket", "versioned", "locked", "claims"])
def new(request: pytest.FixtureRequest, folder: Path) -> Store:
    """Storage of each kind, where nothing is yet."""
    if request.param == "folder":
        return LocalStore(str(folder))
    buckets: Buckets = request.getfixturevalue("buckets")
    if request.param == "claims":
        return S3Store(f"{buckets.new_location('locked')}?claims={buckets.new_location()}&lock_days=1")
    return S3Store(buckets.new_location("plain" if request.param == "bucket" else request.param))


@pytest.fixture
def ready(new: Store) -> Store:
    new.prepare(None)
    return new


def test_a_directory_that_another_run_removed_as_empty_is_made_again(store: LocalStore, folder: Path) -> None:
    rivals = iter([True, True])

    def delete(name: str, _result: object) -> None:
        if name == "mkdir" and next(rivals, False):
            (folder / DATA).parent.rmdir()

    with Disk(after_each=delete).in_place():
        store.put({RECORD: b"{}", DATA: b"data"})
    assert read(store, DATA) == b"data"


def test_what_removes_the_last_file_of_a_day_removes_its_directory_and_older_ones(
    store: LocalStore, folder: Path
) -> None:
    other = DATA.replace("11-22", "11-23")
    store.put({RECORD: b"{}", DATA: b"data", other: b"data"})
    for day in ("2026-11-01", "2026-11-24", "soon"):
        (folder / f"entries/date={day}").mkdir()
    store.purge([DATA])
    left = sorted(path.name for path in (folder / "entries").iterdir())
    assert left == ["date=2026-11-23", "date=2026-11-24", "date=soon"]
    store.delete([other])
    assert (folder / other).parent.is_dir()


# Any storage


def test_nothing_is_found_where_nothing_is(new: Store) -> None:
    assert (list(new.names("entries")), new.commits(), new.list_deleted_commits()) == ([], [], [])
    with pytest.raises(ObjectNotFound):
        read(new, FIRST)
    new.delete([FIRST, DATA, RECORD])


def test_an_existing_data_file_is_written_anew(ready: Store) -> None:
    ready.put({RECORD: b"{}", DATA: b"da"})
    ready.put({RECORD: b"{}", DATA: b"data"})
    assert read(ready, DATA) == b"data"
    assert (list(ready.names("entries")), list(ready.names("pending"))) == ([DATA], [RECORD])


def test_what_is_removed_is_gone(ready: Store) -> None:
    ready.put({RECORD: b"{}", DATA: b"data"})
    assert ready.is_settled(RECORD)
    ready.delete([DATA, RECORD])
    assert (list(ready.names("entries")), list(ready.names("pending"))) == ([], [])


def test_what_is_erased_is_gone(ready: Store) -> None:
    ready.put({RECORD: b"{}", DATA: b"data"})
    ready.purge([RECORD])
    assert list(ready.names("pending")) == []


def test_a_commit_is_created_once(ready: Store) -> None:
    assert ready.put_if_absent(FIRST, b"mine")
    assert ready.put_if_absent(FIRST, b"mine")
    assert not ready.put_if_absent(FIRST, b"yours")
    assert read(ready, FIRST) == b"mine"


def test_commits_are_listed_in_order_and_from_a_known_one_on(ready: Store) -> None:
    for number in (1, 2, 3):
        ready.put_if_absent(f"commits/{number:012d}.json", b"x")
    ready.put({"commits/note.txt": b""})
    assert ready.commits() == [1, 2, 3]
    assert ready.commits(after=1) == [2, 3]
    assert ready.commits(after=3) == []


def test_a_run_may_go_on_from_the_head(ready: Store) -> None:
    ready.put_if_absent(FIRST, b"one")
    ready.prepare((FIRST, b"one"))
    assert ready.put_if_absent(SECOND, b"two")
    assert (read(ready, FIRST), read(ready, SECOND)) == (b"one", b"two")


def test_one_of_eight_at_once_creates_a_commit(ready: Store) -> None:
    bodies = [b"%d" % number for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = [
            body for body, has in zip(bodies, pool.map(lambda body: ready.put_if_absent(FIRST, body), bodies)) if has
        ]
    assert won == [read(ready, FIRST)]


def test_a_dry_run_writes_nothing_and_shows_what_it_would_have_written(ready: Store) -> None:
    ready.put_if_absent(FIRST, b"one")
    dry = DryRun(ready)
    dry.prepare(None)
    dry.put({DATA: b"data"})
    assert dry.put_if_absent(SECOND, b"two")
    dry.delete([FIRST])
    assert (read(dry, FIRST), read(dry, SECOND), read(dry, DATA)) == (b"one", b"two", b"data")
    assert (ready.commits(), list(ready.names("entries")), list(ready.names("pending"))) == ([1], [], [])


# Folders


def test_folders_and_files_have_their_modes_whatever_the_umask_says(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        store = LocalStore(str(folder))
        store.prepare(None)
        store.put({DATA: b"data"})
        store.put_if_absent(FIRST, b"one")
    finally:
        os.umask(before)
    modes = {path.relative_to(folder.parent): path.stat().st_mode & 0o7777 for path in folder.parent.rglob("*")}
    assert {mode for path, mode in modes.items() if path.suffix in (".gz", ".json")} == {0o640}
    assert {mode for path, mode in modes.items() if path.suffix not in (".gz", ".json")} == {0o750}


def test_nothing_is_made_before_it_is_needed(folder: Path) -> None:
    store = LocalStore(str(folder))
    assert (list(store.names("entries")), store.commits()) == ([], [])
    assert not folder.parent.exists()


def test_no_temporary_file_stays(store: LocalStore, folder: Path) -> None:
    store.put({DATA: b"data"})
    store.put_if_absent(FIRST, b"mine")
    store.put_if_absent(FIRST, b"yours")
    assert list((folder / "pending").iterdir()) == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_without_hard_links_an_exclusive_rename_decides(store: LocalStore, code: int) -> None:
    for body, won in ((b"mine", True), (b"yours", False)):
        with Disk(fail_at=1, failure=code, only=("link",)).in_place():
            assert store.put_if_absent(FIRST, body) is won
    assert read(store, FIRST) == b"mine"


def test_a_file_system_that_cannot_decide_is_refused(
    store: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *args, **options: object())
    with Disk(fail_at=1, failure=errno.EPERM, only=("link",)).in_place():
        with pytest.raises(StorageError, match="neither hard links nor"):
            store.put_if_absent(FIRST, b"mine")
    assert list((folder / "commits").iterdir()) == []


def test_a_creation_that_is_reported_as_failed_but_took_place_counts(store: LocalStore) -> None:
    def link_then_fail(name: str, subject: object) -> None:
        if name == "link":
            raise OSError(errno.EIO, "the answer was lost")

    with Disk(after_each=link_then_fail).in_place():
        assert store.put_if_absent(FIRST, b"mine")


@pytest.mark.parametrize("operation", ["open", "fchmod", "fsync", "rename", "mkdir", "chmod"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failing_disk_is_one_sentence_and_leaves_no_temporary_file(
    store: LocalStore, folder: Path, operation: str, code: int
) -> None:
    with Disk(fail_at=1, failure=code, only=(operation,)).in_place(), pytest.raises(StorageError) as caught:
        store.put({DATA: b"data"})
    assert os.strerror(code) in caught.value.message
    assert str(folder) in caught.value.message
    assert list((folder / "pending").iterdir()) == []


def test_who_may_not_write_is_told_who_may(store: LocalStore) -> None:
    with Disk(fail_at=1, failure=errno.EACCES, only=("open",)).in_place(), pytest.raises(StorageError) as caught:
        store.put({DATA: b"data"})
    assert caught.value.message.endswith(": Permission denied; run this as the user that the archive belongs to.")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("operation", ["open", "fsync", "link"])
def test_a_commit_that_cannot_be_written_does_not_exist(
    store: LocalStore, folder: Path, operation: str, code: int
) -> None:
    with Disk(fail_at=1, failure=code, only=(operation,)).in_place(), pytest.raises(StorageError):
        store.put_if_absent(FIRST, b"mine")
    assert not (folder / FIRST).exists()


def test_a_commit_whose_folder_cannot_be_synced_is_told_as_failed(store: LocalStore) -> None:
    with Disk(fail_at=2, failure=errno.EIO, only=("fsync",)).in_place(), pytest.raises(StorageError):
        store.put_if_absent(FIRST, b"mine")


def test_the_head_is_made_durable_before_it_is_built_on(store: LocalStore) -> None:
    store.put_if_absent(FIRST, b"mine")
    with Disk(only=("fsync",)).in_place() as disk:
        store.prepare((FIRST, b"mine"))
    assert len(disk.calls) == 3  # the archive, the commit and its folder
    with Disk(fail_at=1, failure=errno.EIO, only=("fsync",)).in_place(), pytest.raises(StorageError):
        store.prepare((FIRST, b"mine"))


@pytest.mark.parametrize("place", ["entries", "entries/date=2026-11-22", "commits", "pending"])
def test_a_linked_folder_is_refused(store: LocalStore, folder: Path, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    if (folder / place).exists():
        (folder / place).rmdir()
    (folder / place).symlink_to(outside)

    def write() -> None:
        store.put({DATA: b"data"})
        store.put_if_absent(FIRST, b"mine")

    with pytest.raises(StorageError):
        write()
    assert list(outside.iterdir()) == []


def test_a_linked_file_is_neither_read_nor_written_through(store: LocalStore, folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    (folder / FIRST).symlink_to(outside)
    with pytest.raises(StorageError):
        read(store, FIRST)
    with pytest.raises(StorageError):
        store.put_if_absent(FIRST, b"mine")
    store.put({DATA: b"data"})
    (folder / DATA).unlink()
    (folder / DATA).symlink_to(outside)
    store.put({DATA: b"data"})
    assert outside.read_bytes() == b"secret"
    assert not (folder / DATA).is_symlink()


def test_a_pipe_in_the_place_of_a_file_does_not_hang(store: LocalStore, folder: Path) -> None:
    os.mkfifo(folder / FIRST)
    with pytest.raises(StorageError, match="regular"):
        read(store, FIRST)


def test_the_archive_itself_may_lie_behind_a_link(store: LocalStore, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    linked = LocalStore(str(tmp_path / "link"))
    assert linked.put_if_absent(SECOND, b"mine")
    assert read(store, SECOND) == b"mine"
