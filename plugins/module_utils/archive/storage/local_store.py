# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An archive in a directory of a local file system."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Type

from ...errors import StorageError
from ..format.commit import is_day_directory, parse_commit_name, parse_data_file_name
from .store import DIRECTORIES, TOP_LEVEL_NAMES, Claim, InvalidObject, ObjectNotFound, UnexpectedItem, read_file

_CHUNK_SIZE = 1 << 16
_DIRECTORY_MODE = 0o750
_FILE_MODE = 0o640
_RENAME_NOREPLACE = 1
_MAX_ATTEMPTS = 3
_DIRECTORY = "a directory"
_KINDS = {
    stat.S_IFDIR: _DIRECTORY,
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
_PERMISSION_ERRORS = (errno.EACCES, errno.EPERM)
# Opening fails with these if a path leads to something other than a regular file, or through a link.
_WRONG_KIND_ERRORS = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
_NO_HARD_LINK_ERRORS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NO_RENAMEAT2_ERRORS = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


class LocalStore:
    """A :class:`Store` in a directory.

    Everything below ``path`` must be real directories and regular files: a symbolic link could redirect reads and
    writes to a place outside the archive. ``path`` itself can be a link.
    """

    max_concurrent_reads = 1

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(os.path.expanduser(path))

    def __str__(self) -> str:
        return self._path

    def read(self, name: str) -> Iterator[bytes]:
        # Without the context managers of the other methods, for speed: an archive can have thousands of files.
        try:
            handle = self._open_file(name)
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise OSError(errno.ENXIO, "Not a regular file")
                while True:
                    chunk = os.read(handle, _CHUNK_SIZE)
                    if not chunk:
                        return
                    yield chunk
            finally:
                os.close(handle)
        except OSError as exc:
            raise self._storage_error("read", name, exc) from exc

    def list_files(self, directory: str, after: str = "") -> Iterator[str]:
        with self._translate_errors("list", directory):
            found = [name for name, kind in self._scan_tree(directory) if not kind]
        return iter(sorted(name for name in found if name > after))

    def list_unexpected(self) -> Iterator[UnexpectedItem]:
        with self._translate_errors("list", ""):
            found = [item for item in self._scan_top() if item.name not in TOP_LEVEL_NAMES or item.kind != _DIRECTORY]
            blocked = {item.name for item in found}
            for directory in DIRECTORIES:
                if directory not in blocked:
                    found.extend(item for item in self._scan_tree(directory) if item.kind)
        return iter(sorted(found))

    def list_commits(self, after: int = 0) -> List[int]:
        sequences = (parse_commit_name(name) for name in self.list_files("commits"))
        return sorted(sequence for sequence in sequences if sequence is not None and sequence > after)

    def list_deleted_commits(self, after: int = 0) -> List[int]:  # noqa: ARG002 - a file system keeps no record
        return []

    def prepare(self, head: Optional[Tuple[str, bytes]]) -> None:
        with self._translate_errors("create", ""):
            self._make_directories()
        if head is not None:
            # Its collector might have been killed between creating the commit and making it durable.
            with self._translate_errors("make durable", head[0]):
                self._sync_file(head[0])
                self._sync_directory("commits")

    def check_put_if_absent(self, head: Optional[Tuple[str, bytes]], record: str) -> None:
        """Nothing to check: :meth:`put_if_absent` fails if the file system cannot create a file exclusively."""

    def put(self, files: Mapping[str, bytes]) -> None:
        records = {name for name in files if name.startswith("pending/")}
        with self._temporary_files(files) as (pending, temporary):
            for names in (sorted(records), sorted(files.keys() - records)):
                self._move_into_place(names, pending, temporary)

    def is_settled(self, record: str) -> bool:  # noqa: ARG002 - writes end with their process
        return True

    def put_if_absent(self, name: str, body: bytes) -> bool:
        with (
            self._temporary_files({name: body}, "create") as (pending, temporary),
            self._translate_errors("create", name),
            self._open_parent(name) as (parent, base),
        ):
            try:
                _create_exclusively(pending, temporary[name], parent, base)
                created = True
            except FileNotFoundError:
                raise
            except OSError as exc:
                # A network file system can report that a creation failed which took place.
                created = self._contains(name, body)
                if not created and not isinstance(exc, FileExistsError):
                    raise
            os.fsync(parent)
        return created

    def find_claim(self, name: str) -> Optional[Claim]:  # noqa: ARG002 - there is no commit bucket
        return None

    def copy_claim(self, name: str, body: bytes) -> None:
        """Nothing to copy: there is no commit bucket."""

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with (
                suppress(ObjectNotFound),
                self._translate_errors("delete", name),
                self._open_parent(name) as (parent, base),
            ):
                os.unlink(base, dir_fd=parent)

    def check_not_locked(self, names: Iterable[str]) -> None:
        """Nothing to check: a directory has no retention locks."""

    def purge(self, names: Iterable[str]) -> None:
        newest = ""
        for name in names:
            self.delete([name])
            newest = max(newest, os.path.dirname(name))
        self._remove_empty_days(newest)

    def _remove_empty_days(self, newest: str) -> None:
        """Remove the empty directories of days up to this one; a directory that remains does no harm."""
        with suppress(OSError), self._open_parent("entries/") as (entries, _base):
            with os.scandir(entries) as items:
                days = [item.name for item in items if is_day_directory(f"entries/{item.name}")]
            for day in days:
                if f"entries/{day}" <= newest:
                    with suppress(OSError):
                        os.rmdir(day, dir_fd=entries)

    def _contains(self, name: str, body: bytes) -> bool:
        try:
            return read_file(self, name) == body
        except ObjectNotFound:
            return False

    @contextmanager
    def _temporary_files(
        self, files: Mapping[str, bytes], action: str = "write"
    ) -> Iterator[Tuple[int, Dict[str, str]]]:
        """Durable temporary files with these contents in ``pending/``; deleted when the block ends.

        Yields the open directory, and the temporary name of each file. A temporary name begins with a sequence, so
        that later runs recognize leftovers.
        """
        temporary = {name: f"{os.path.basename(name)[:12]}-{secrets.token_hex(8)}.tmp" for name in files}
        with ExitStack() as stack:
            with self._translate_errors(action, min(files, default="pending")):
                pending, _base = stack.enter_context(self._open_parent("pending/"))
            stack.callback(_delete_quietly, temporary.values(), pending)
            for name in sorted(files):
                with self._translate_errors(action, name):
                    _write_durably(temporary[name], files[name], pending)
            yield pending, temporary

    def _move_into_place(self, names: Sequence[str], pending: int, temporary: Mapping[str, str]) -> None:
        for name in names:
            with self._translate_errors("write", name):
                self._move(temporary[name], pending, name)
        for directory in sorted({os.path.dirname(name) for name in names}):
            with self._translate_errors("make durable", directory):
                self._sync_directory(directory)
        if any(parse_data_file_name(name) for name in names):
            # Even if the directory of the day existed: the run that created it might have died before this step.
            with self._translate_errors("make durable", "entries"):
                self._sync_directory("entries")

    def _move(self, temporary: str, pending: int, name: str) -> None:
        """Rename a temporary file; create the directory of a day if it is missing."""
        directory, base = os.path.split(name)
        is_day = directory.startswith("entries/")
        for attempt in range(_MAX_ATTEMPTS):
            try:
                with self._open_parent(f"{directory}/", make=is_day) as (target, _base):
                    os.rename(temporary, base, src_dir_fd=pending, dst_dir_fd=target)
                return
            except FileNotFoundError:
                # Another run might have removed the new directory while it was empty.
                if attempt == _MAX_ATTEMPTS - 1:
                    raise

    def _make_directories(self) -> None:
        _make_path(self._path)
        with self._open_parent("") as (root, _base):
            for name in DIRECTORIES:
                _make_directory(name, root)
            os.fsync(root)

    def _scan_top(self) -> List[UnexpectedItem]:
        try:
            with os.scandir(self._path) as items:
                return [UnexpectedItem(item.name, _kind(item) or "a file") for item in items]
        except FileNotFoundError:
            return []

    def _scan_tree(self, directory: str) -> List[UnexpectedItem]:
        """Everything in a top-level directory, and in the directories of ``entries``; regular files have no kind.

        No other directory is entered, so that deep trees cost nothing.
        """
        found: List[UnexpectedItem] = []
        remaining = [directory]
        while remaining:
            current = remaining.pop()
            try:
                for name, kind in self._scan(current):
                    if current == "entries" and kind == _DIRECTORY:
                        remaining.append(name)
                    else:
                        found.append(UnexpectedItem(name, kind))
            except FileNotFoundError:
                continue
            except OSError as exc:
                if current == directory:
                    raise
                found.append(UnexpectedItem(current, f"a directory that cannot be listed ({exc.strerror})"))
            if current != directory and not is_day_directory(current):
                found.append(UnexpectedItem(current, "a directory that is not named after a day"))
        return found

    def _scan(self, directory: str) -> List[UnexpectedItem]:
        with self._open_parent(f"{directory}/") as (handle, _base):
            return [UnexpectedItem(f"{directory}/{item.name}", _kind(item)) for item in os.scandir(handle)]

    def _sync_file(self, name: str) -> None:
        with self._open_parent(name) as (parent, base):
            handle = os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _sync_directory(self, directory: str) -> None:
        with self._open_parent(directory + "/") as (handle, _base):
            os.fsync(handle)

    def _open_file(self, name: str) -> int:
        first, *steps, base = name.split("/")
        # The first step and the path in one call: O_NOFOLLOW refuses a link only in the last part of a path.
        parent = _open_directory(f"{self._path}/{first}", None)
        try:
            for step in steps:
                previous, parent = parent, _open_directory(step, parent)
                os.close(previous)
            # O_NONBLOCK: opening a named pipe must not block.
            return os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        finally:
            os.close(parent)

    @contextmanager
    def _open_parent(self, name: str, make: bool = False) -> Iterator[Tuple[int, str]]:
        """The open directory that contains a file, and the file's base name; symbolic links are not followed."""
        *steps, base = name.split("/")
        handle = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for step in steps:
                if make and step != "entries":
                    _make_directory(step, handle)
                previous, handle = handle, _open_directory(step, handle)
                os.close(previous)
            yield handle, base
        finally:
            os.close(handle)

    @contextmanager
    def _translate_errors(self, action: str, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise self._storage_error(action, name, exc) from exc

    def _storage_error(self, action: str, name: str, exc: OSError) -> StorageError:
        path = os.path.join(self._path, name).rstrip("/")
        error, advice = _classify(exc)
        return error(f"Cannot {action} {path}: {exc.strerror or exc}{advice}.")


def _classify(exc: OSError) -> Tuple[Type[StorageError], str]:
    """The error class for a failure of the operating system, and advice that begins with a semicolon."""
    if isinstance(exc, FileNotFoundError):
        return ObjectNotFound, ""
    if exc.errno in _WRONG_KIND_ERRORS:
        return InvalidObject, "; no collector creates this: move it away"
    return StorageError, "; run this as the owner of the archive" if exc.errno in _PERMISSION_ERRORS else ""


def _kind(item: os.DirEntry[str]) -> str:
    """The kind of a directory entry; empty for a regular file, and for one that was deleted meanwhile."""
    if item.is_file(follow_symlinks=False):
        return ""
    try:
        mode = item.stat(follow_symlinks=False).st_mode
    except FileNotFoundError:
        return ""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "a device")


def _open_directory(name: str, parent: Optional[int]) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _make_directory(name: str, parent: int) -> None:
    try:
        os.mkdir(name, _DIRECTORY_MODE, dir_fd=parent)
    except FileExistsError:
        return
    os.chmod(name, _DIRECTORY_MODE, dir_fd=parent)  # regardless of the umask


def _make_path(path: str) -> None:
    """Create a directory and its missing parents durably."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    _make_path(parent)
    handle = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _make_directory(os.path.basename(path), handle)
        os.fsync(handle)
    finally:
        os.close(handle)


def _delete_quietly(names: Iterable[str], parent: int) -> None:
    for name in names:
        with suppress(OSError):
            os.unlink(name, dir_fd=parent)


def _write_durably(name: str, body: bytes, parent: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, _FILE_MODE, dir_fd=parent), "wb") as file:
        os.fchmod(file.fileno(), _FILE_MODE)
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _create_exclusively(pending: int, temporary: str, parent: int, name: str) -> None:
    """Give a finished temporary file its name unless the name is taken.

    :raises FileExistsError: the name is taken.
    """
    try:
        os.link(temporary, name, src_dir_fd=pending, dst_dir_fd=parent, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINK_ERRORS:
            raise
        _rename_exclusively(pending, temporary, parent, name)


def _rename_exclusively(pending: int, temporary: str, parent: int, name: str) -> None:
    import ctypes  # slow to import, and few file systems need it

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    code = errno.ENOSYS
    if rename is not None:
        if rename(pending, os.fsencode(temporary), parent, os.fsencode(name), ctypes.c_uint(_RENAME_NOREPLACE)) == 0:
            return
        code = ctypes.get_errno()
    if code in _NO_RENAMEAT2_ERRORS:
        raise OSError(code, "the file system supports neither hard links nor exclusive renames; use another one")
    raise OSError(code, os.strerror(code))
