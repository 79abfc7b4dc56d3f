# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only a store in a directory does; test_contract.py has the behaviour of all stores."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.local_store import LocalStore
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.store import read_file
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import StorageError
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import Disk

RECORD = "pending/000000000001-5f0c9a1b2d3e4f60.json"
DATA = "entries/date=2026-11-22/000000000001-3f9ac0d1e2b4.jsonl.gz"
FIRST = "commits/000000000001.json"
SECOND = "commits/000000000002.json"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "archive"


@pytest.fixture
def store(directory: Path) -> LocalStore:
    store = LocalStore(str(directory))
    store.prepare(None)
    return store


def test_a_day_directory_that_another_run_removed_is_created_again(store: LocalStore, directory: Path) -> None:
    removals = iter([True, True])

    def delete(name: str, _result: object) -> None:
        if name == "mkdir" and next(removals, False):
            (directory / DATA).parent.rmdir()

    with Disk(after_each=delete).in_place():
        store.put({RECORD: b"{}", DATA: b"data"})
    assert read_file(store, DATA) == b"data"


def test_purging_the_last_file_of_a_day_removes_empty_directories_up_to_that_day(
    store: LocalStore, directory: Path
) -> None:
    other = DATA.replace("11-22", "11-23")
    store.put({RECORD: b"{}", DATA: b"data", other: b"data"})
    for day in ("2026-11-01", "2026-11-24", "soon"):
        (directory / f"entries/date={day}").mkdir()
    store.purge([DATA])
    remaining = sorted(path.name for path in (directory / "entries").iterdir())
    assert remaining == ["date=2026-11-23", "date=2026-11-24", "date=soon"]
    store.delete([other])
    assert (directory / other).parent.is_dir()


def test_modes_do_not_depend_on_the_umask(directory: Path) -> None:
    before = os.umask(0o077)
    try:
        store = LocalStore(str(directory))
        store.prepare(None)
        store.put({DATA: b"data"})
        store.put_if_absent(FIRST, b"one")
    finally:
        os.umask(before)
    modes = {path.relative_to(directory.parent): path.stat().st_mode & 0o7777 for path in directory.parent.rglob("*")}
    assert {mode for path, mode in modes.items() if path.suffix in (".gz", ".json")} == {0o640}
    assert {mode for path, mode in modes.items() if path.suffix not in (".gz", ".json")} == {0o750}


def test_reading_creates_no_directory(directory: Path) -> None:
    store = LocalStore(str(directory))
    assert (list(store.list_files("entries")), store.list_commits()) == ([], [])
    assert not directory.parent.exists()


def test_no_temporary_file_remains(store: LocalStore, directory: Path) -> None:
    store.put({DATA: b"data"})
    store.put_if_absent(FIRST, b"mine")
    store.put_if_absent(FIRST, b"yours")
    assert list((directory / "pending").iterdir()) == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_an_exclusive_rename_replaces_a_hard_link_where_links_are_unsupported(store: LocalStore, code: int) -> None:
    for body, created in ((b"mine", True), (b"yours", False)):
        with Disk(fail_at=1, failure=code, only=("link",)).in_place():
            assert store.put_if_absent(FIRST, body) is created
    assert read_file(store, FIRST) == b"mine"


def test_a_file_system_without_exclusive_creation_is_refused(
    store: LocalStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *args, **options: object())
    with Disk(fail_at=1, failure=errno.EPERM, only=("link",)).in_place():
        with pytest.raises(StorageError, match="neither hard links nor"):
            store.put_if_absent(FIRST, b"mine")
    assert list((directory / "commits").iterdir()) == []


def test_a_commit_counts_although_its_creation_was_reported_as_failed(store: LocalStore) -> None:
    def link_then_fail(name: str, subject: object) -> None:
        if name == "link":
            raise OSError(errno.EIO, "the response was lost")

    with Disk(after_each=link_then_fail).in_place():
        assert store.put_if_absent(FIRST, b"mine")


@pytest.mark.parametrize("operation", ["open", "fchmod", "fsync", "rename", "mkdir", "chmod"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_error_is_one_sentence_and_leaves_no_temporary_file(
    store: LocalStore, directory: Path, operation: str, code: int
) -> None:
    with Disk(fail_at=1, failure=code, only=(operation,)).in_place(), pytest.raises(StorageError) as caught:
        store.put({DATA: b"data"})
    assert os.strerror(code) in caught.value.message
    assert str(directory) in caught.value.message
    assert list((directory / "pending").iterdir()) == []


def test_a_permission_error_names_the_owner_as_the_user_to_run_as(store: LocalStore) -> None:
    with Disk(fail_at=1, failure=errno.EACCES, only=("open",)).in_place(), pytest.raises(StorageError) as caught:
        store.put({DATA: b"data"})
    assert caught.value.message.endswith(": Permission denied; run this as the owner of the archive.")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("operation", ["open", "fsync", "link"])
def test_a_commit_that_cannot_be_written_does_not_exist(
    store: LocalStore, directory: Path, operation: str, code: int
) -> None:
    with Disk(fail_at=1, failure=code, only=(operation,)).in_place(), pytest.raises(StorageError):
        store.put_if_absent(FIRST, b"mine")
    assert not (directory / FIRST).exists()


def test_a_commit_fails_if_its_directory_cannot_be_synced(store: LocalStore) -> None:
    with Disk(fail_at=2, failure=errno.EIO, only=("fsync",)).in_place(), pytest.raises(StorageError):
        store.put_if_absent(FIRST, b"mine")


def test_prepare_makes_the_head_durable(store: LocalStore) -> None:
    store.put_if_absent(FIRST, b"mine")
    with Disk(only=("fsync",)).in_place() as disk:
        store.prepare((FIRST, b"mine"))
    assert len(disk.calls) == 3  # the archive, the commit and its directory
    with Disk(fail_at=1, failure=errno.EIO, only=("fsync",)).in_place(), pytest.raises(StorageError):
        store.prepare((FIRST, b"mine"))


@pytest.mark.parametrize("name", ["entries", "entries/date=2026-11-22", "commits", "pending"])
def test_a_linked_directory_is_refused(store: LocalStore, directory: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    if (directory / name).exists():
        (directory / name).rmdir()
    (directory / name).symlink_to(outside)

    def write() -> None:
        store.put({DATA: b"data"})
        store.put_if_absent(FIRST, b"mine")

    with pytest.raises(StorageError):
        write()
    assert list(outside.iterdir()) == []


def test_a_linked_file_is_neither_read_nor_overwritten(store: LocalStore, directory: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    (directory / FIRST).symlink_to(outside)
    with pytest.raises(StorageError):
        read_file(store, FIRST)
    with pytest.raises(StorageError):
        store.put_if_absent(FIRST, b"mine")
    store.put({DATA: b"data"})
    (directory / DATA).unlink()
    (directory / DATA).symlink_to(outside)
    store.put({DATA: b"data"})
    assert outside.read_bytes() == b"secret"
    assert not (directory / DATA).is_symlink()


def test_a_named_pipe_instead_of_a_file_does_not_block(store: LocalStore, directory: Path) -> None:
    os.mkfifo(directory / FIRST)
    with pytest.raises(StorageError, match="regular"):
        read_file(store, FIRST)


def test_the_path_of_the_archive_can_be_a_link(store: LocalStore, directory: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(directory)
    linked = LocalStore(str(tmp_path / "link"))
    assert linked.put_if_absent(SECOND, b"mine")
    assert read_file(store, SECOND) == b"mine"
