# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an archive lies: what any storage has to be able to do, and a folder of a local file system that does it.

Only one call decides anything: :meth:`Store.decide`. All else may be repeated, or left half done, at any time.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Protocol, Sequence, Tuple, Type

from ...errors import StorageError
from ..format.commit import is_day_directory, parse_commit_name, parse_data_file_name

DIRECTORIES = ("entries", "commits", "pending", "signatures", "timestamps")
TOP_LEVEL_NAMES = frozenset(DIRECTORIES)
"""What may be stored at the top of an archive."""

MAX_COMMIT_SIZE = 32 << 20
"""Bytes. Commits are of some kilobytes; one that removes 400,000 files is as large as this."""

_CHUNK = 1 << 16
_FOLDER_MODE = 0o750
_FILE_MODE = 0o640
_RENAME_NOREPLACE = 1
_ATTEMPTS = 3
_A_DIRECTORY = "a folder"
_KINDS = {
    stat.S_IFDIR: _A_DIRECTORY,
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
_DENIED = (errno.EACCES, errno.EPERM)
# How opening fails what is no regular file, or no directory on the way to one.
_NOT_OF_THIS_KIND = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NO_RENAMEAT2 = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


class ObjectNotFound(StorageError):
    """There is no file of this name."""


class Claim(NamedTuple):
    """A commit that was decided outside the archive and is not in it yet: its bytes, and where they are stored."""

    body: bytes
    address: str


class InvalidObject(StorageError):
    """What has this name cannot be a collector's: a directory, a link, a pipe, or a file that is far too large."""


class UnexpectedItem(NamedTuple):
    """Something that no writer of an archive makes: its name inside the archive, and what it is, as a phrase."""

    name: str
    what: str


class Store(Protocol):
    """One archive's files by their names inside the archive, such as ``commits/000000000042.json``.

    Every method raises StorageError when the storage fails, ObjectNotFound when a named file is absent, and
    InvalidObject when there is something else of this name.
    """

    max_concurrent_reads: int
    """How many files may be read at once by several threads, if that is quicker; else 1."""

    def __str__(self) -> str:
        """How people name the archive: its path or address."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file, piece by piece."""

    def names(self, folder: str, after: str = "") -> Iterator[str]:
        """The names of the files in one of the archive's folders, those of ``entries`` in the folders in it, in order.

        None when the folder is absent; only those that sort after the name ``after``, if there is one. Anything else
        is left to :meth:`foreign`.
        """

    def list_unexpected(self) -> Iterator[UnexpectedItem]:
        """All that :meth:`names` leaves out, and what does not belong at the top of the archive; never entered."""

    def commits(self, after: int = 0) -> List[int]:
        """The sequences greater than ``after`` of the commits that exist, ascending."""

    def list_deleted_commits(self, after: int = 0) -> List[int]:
        """The sequences greater than ``after`` of commits that were deleted, as far as the storage remembers that."""

    def prepare(self, head: Optional[Tuple[str, bytes]]) -> None:
        """Make ready for writing, before anything builds on the head's commit (its name and bytes; None: no commit).

        What the head rests on is made durable.

        :raises ArchiveDamaged: the storage remembers that a commit after the head was deleted.
        """

    def check_put_if_absent(self, head: Optional[Tuple[str, bytes]], record: str) -> None:
        """Prove that this storage creates a commit only once. Each run that is about to commit asks for it first.

        The head's own bytes serve for that, or, before the first commit, the name of the run's record in pending/.

        :raises StorageError: it would overwrite another run's commit.
        :raises ArchiveDamaged: the head is not the commit that was decided.
        """

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files, durable on return, each whole or not at all, over any existing one; those in pending/ first.

        Who sees one of those in pending/, of which :meth:`is_settled` is true, and removes first every other temporary
        file there, and then the files that it names, can be sure that none of them appears afterwards.
        """

    def is_settled(self, record: str) -> bool:
        """Whether nothing that the run did which wrote this record in pending/ can still take effect by itself."""

    def put_if_absent(self, name: str, body: bytes) -> bool:
        """Create a commit if, and only if, there is none of this name; durable on return.

        False when another one has the name. A repeated call with the same bytes answers True.
        """

    def claim(self, name: str) -> Optional[Claim]:
        """The commit of this name that was decided outside the archive and is not in it yet; None if there is none.

        :raises ArchiveDamaged: the archive has another commit of this name.
        """

    def copy_claim(self, name: str, body: bytes) -> None:
        """Copy a claim to the archive. Its caller has checked that it can be believed."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; one that is absent already is no error. The storage may keep older versions of them."""

    def check_not_locked(self, names: Iterable[str]) -> None:
        """Do nothing if no lock that the storage tells of forbids to erase these files; absent ones have none.

        :raises StorageError: one does; the sentence tells which file, and until when.
        """

    def purge(self, names: Iterable[str]) -> None:
        """Remove files with all their versions, so that nobody can read them any more.

        :raises StorageError: also where a lock forbids it; then some may be gone already.
        """


def archive_not_found(store: Store) -> StorageError:
    """What to tell where there should be an archive and is none."""
    return StorageError(f"There is no archive in {store}; check the path, or collect first.")


def read(store: Store, name: str) -> bytes:
    """The whole of a small file.

    :raises ObjectNotFound: there is none.
    :raises InvalidObject: it is no file, or larger than any that a collector writes.
    :raises StorageError: it cannot be read.
    """
    return join_chunks(store.chunks(name), f"{name} in {store}")


def join_chunks(chunks: Iterable[bytes], what: str, limit: int = MAX_COMMIT_SIZE) -> bytes:
    """A small file from its chunks.

    :raises InvalidObject: it is larger than ``limit`` bytes, unlike any that a collector writes.
    """
    taken: List[bytes] = []
    size = 0
    for chunk in chunks:
        taken.append(chunk)
        size += len(chunk)
        if size > limit:
            raise InvalidObject(
                f"Cannot read {what}: it is larger than {limit >> 10} KiB, unlike all that belongs there."
            )
    return b"".join(taken)


class LocalStore:
    """An archive in a folder of the local file system.

    Folders below ``path`` must be real folders and files must be regular: a symbolic link is refused, for it could
    lead reads and writes out of the archive. ``path`` itself may be a link, that is its owner's choice.
    """

    max_concurrent_reads = 1

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(os.path.expanduser(path))

    def __str__(self) -> str:
        return self._path

    def chunks(self, name: str) -> Iterator[bytes]:
        # Without the context managers of the other methods: archives are read by the thousand files.
        try:
            handle = self._open_file(name)
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise OSError(errno.ENXIO, "Not a regular file")
                while True:
                    chunk = os.read(handle, _CHUNK)
                    if not chunk:
                        return
                    yield chunk
            finally:
                os.close(handle)
        except OSError as exc:
            raise self._failed("read", name, exc) from exc

    def names(self, folder: str, after: str = "") -> Iterator[str]:
        with self._told("list", folder):
            found = [name for name, what in self._listed(folder) if not what]
        return iter(sorted(name for name in found if name > after))

    def list_unexpected(self) -> Iterator[UnexpectedItem]:
        with self._told("list", ""):
            found = [one for one in self._root() if one.name not in TOP_LEVEL_NAMES or one.what != _A_DIRECTORY]
            blocked = {one.name for one in found}
            for folder in DIRECTORIES:
                found.extend(one for one in (() if folder in blocked else self._listed(folder)) if one.what)
        return iter(sorted(found))

    def commits(self, after: int = 0) -> List[int]:
        sequences = (parse_commit_name(name) for name in self.names("commits"))
        return sorted(sequence for sequence in sequences if sequence is not None and sequence > after)

    def list_deleted_commits(self, after: int = 0) -> List[int]:  # noqa: ARG002 - a folder remembers none
        return []

    def prepare(self, head: Optional[Tuple[str, bytes]]) -> None:
        with self._told("make", ""):
            self._make_folders()
        if head is not None:
            # Its writer may have been killed between creating the commit and making it durable.
            with self._told("make durable", head[0]):
                self._sync_file(head[0])
                self._sync_folder("commits")

    def check_put_if_absent(self, head: Optional[Tuple[str, bytes]], record: str) -> None:
        """A file system that cannot do it fails when a commit is created."""

    def put(self, files: Mapping[str, bytes]) -> None:
        records = {name for name in files if name.startswith("pending/")}
        with self._drafts(files) as (folder, drafts):
            for names in (sorted(records), sorted(files.keys() - records)):
                self._move_in(names, folder, drafts)

    def is_settled(self, record: str) -> bool:  # noqa: ARG002 - nothing outlives its process there
        return True

    def put_if_absent(self, name: str, body: bytes) -> bool:
        with (
            self._drafts({name: body}, "create") as (folder, drafts),
            self._told("create", name),
            self._folder(name) as (commits, base),
        ):
            try:
                _create_exclusively(folder, drafts[name], commits, base)
                won = True
            except FileNotFoundError:
                raise
            except OSError as exc:
                # A network file system may report a failure of a creation that took place.
                won = self._holds(name, body)
                if not won and not isinstance(exc, FileExistsError):
                    raise
            os.fsync(commits)
        return won

    def claim(self, name: str) -> Optional[Claim]:  # noqa: ARG002 - commits are decided in the archive itself
        return None

    def copy_claim(self, name: str, body: bytes) -> None:
        """There are no claims."""

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(ObjectNotFound), self._told("remove", name), self._folder(name) as (folder, base):
                os.unlink(base, dir_fd=folder)

    def check_not_locked(self, names: Iterable[str]) -> None:
        """A folder locks nothing for a time."""

    def purge(self, names: Iterable[str]) -> None:
        newest = ""
        for name in names:
            self.delete([name])
            newest = max(newest, os.path.dirname(name))
        self._remove_empty_days(newest)

    def _remove_empty_days(self, newest: str) -> None:
        """Remove the empty directories of days up to this one; it does no harm if one stays."""
        with suppress(OSError), self._folder("entries/") as (entries, _unused):
            with os.scandir(entries) as items:
                days = [item.name for item in items if is_day_directory(f"entries/{item.name}")]
            for day in days:
                if f"entries/{day}" <= newest:
                    with suppress(OSError):
                        os.rmdir(day, dir_fd=entries)

    def _holds(self, name: str, body: bytes) -> bool:
        try:
            return read(self, name) == body
        except ObjectNotFound:
            return False

    @contextmanager
    def _drafts(self, files: Mapping[str, bytes], what: str = "write") -> Iterator[Tuple[int, Dict[str, str]]]:
        """Durable files with these contents outside the folders that readers look at; gone when the block ends.

        Their names begin with the sequence of what they become, so that a later run can tell a left-over.
        """
        drafts = {name: f"{os.path.basename(name)[:12]}-{secrets.token_hex(8)}.tmp" for name in files}
        with ExitStack() as stack:
            with self._told(what, min(files, default="pending")):
                folder, _unused = stack.enter_context(self._folder("pending/"))
            stack.callback(_remove_drafts, drafts.values(), folder)
            for name in sorted(files):
                with self._told(what, name):
                    _write_durably(drafts[name], files[name], folder)
            yield folder, drafts

    def _move_in(self, names: Sequence[str], folder: int, drafts: Mapping[str, str]) -> None:
        for name in names:
            with self._told("write", name):
                self._move(drafts[name], folder, name)
        for above in sorted({os.path.dirname(name) for name in names}):
            with self._told("make durable", above):
                self._sync_folder(above)
        if any(parse_data_file_name(name) for name in names):
            # Also when the day's folder was there: whoever made it may not have lived to do this.
            with self._told("make durable", "entries"):
                self._sync_folder("entries")

    def _move(self, draft: str, folder: int, name: str) -> None:
        """Give a draft its name, in a directory that is made if it is one of a day."""
        above, base = os.path.split(name)
        is_day = above.startswith("entries/")
        for attempt in range(_ATTEMPTS):
            try:
                with self._folder(f"{above}/", make=is_day) as (target, _unused):
                    os.rename(draft, base, src_dir_fd=folder, dst_dir_fd=target)
                return
            except FileNotFoundError:
                # Another run may have removed the directory, empty as it was, right after it was made here.
                if attempt == _ATTEMPTS - 1:
                    raise

    def _make_folders(self) -> None:
        _make_path(self._path)
        with self._folder("") as (root, _unused):
            for name in DIRECTORIES:
                _make_folder(name, root)
            os.fsync(root)

    def _root(self) -> List[UnexpectedItem]:
        try:
            with os.scandir(self._path) as items:
                return [UnexpectedItem(item.name, _what(item) or "a file") for item in items]
        except FileNotFoundError:
            return []

    def _listed(self, folder: str) -> List[UnexpectedItem]:
        """All that is in a folder, and for entries in the folders in it; what a regular file is stays empty.

        No other folder is entered, however many there are in one another.
        """
        found: List[UnexpectedItem] = []
        waiting = [folder]
        while waiting:
            above = waiting.pop()
            try:
                for name, what in self._things(above):
                    if above == "entries" and what == _A_DIRECTORY:
                        waiting.append(name)
                    else:
                        found.append(UnexpectedItem(name, what))
            except FileNotFoundError:
                continue
            except OSError as exc:
                if above == folder:
                    raise
                found.append(UnexpectedItem(above, f"a folder that cannot be listed ({exc.strerror})"))
            if above != folder and not is_day_directory(above):
                found.append(UnexpectedItem(above, "a folder that is not one of a day"))
        return found

    def _things(self, folder: str) -> List[UnexpectedItem]:
        """What is in this folder alone."""
        with self._folder(f"{folder}/") as (handle, _unused):
            return [UnexpectedItem(f"{folder}/{item.name}", _what(item)) for item in os.scandir(handle)]

    def _sync_file(self, name: str) -> None:
        with self._folder(name) as (folder, base):
            handle = os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _sync_folder(self, folder: str) -> None:
        with self._folder(folder + "/") as (handle, _unused):
            os.fsync(handle)

    def _open_file(self, name: str) -> int:
        first, *steps, base = name.split("/")
        # The first step with the path in one call: only the last part of a path is not followed if it is a link.
        folder = _open_folder(f"{self._path}/{first}", None)
        try:
            for step in steps:
                above, folder = folder, _open_folder(step, folder)
                os.close(above)
            # O_NONBLOCK: opening a named pipe put in a file's place must not hang.
            return os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)

    @contextmanager
    def _folder(self, name: str, make: bool = False) -> Iterator[Tuple[int, str]]:
        """The open folder that holds a name, and the name inside it; no step on the way is a symbolic link."""
        *steps, base = name.split("/")
        handle = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for step in steps:
                if make and step != "entries":
                    _make_folder(step, handle)
                above, handle = handle, _open_folder(step, handle)
                os.close(above)
            yield handle, base
        finally:
            os.close(handle)

    @contextmanager
    def _told(self, what: str, name: str) -> Iterator[None]:
        """Turn any failure of the operating system into one sentence that names the file."""
        try:
            yield
        except OSError as exc:
            raise self._failed(what, name, exc) from exc

    def _failed(self, what: str, name: str, exc: OSError) -> StorageError:
        path = os.path.join(self._path, name).rstrip("/")
        kind, advice = _meaning(exc)
        return kind(f"Cannot {what} {path}: {exc.strerror or exc}{advice}.")


def _meaning(exc: OSError) -> Tuple[Type[StorageError], str]:
    """The error that a failure of the operating system is, and what to do about it, after a semicolon."""
    if isinstance(exc, FileNotFoundError):
        return ObjectNotFound, ""
    if exc.errno in _NOT_OF_THIS_KIND:
        return InvalidObject, "; no collector makes such a thing: move it away"
    return StorageError, "; run this as the user that the archive belongs to" if exc.errno in _DENIED else ""


def _what(item: os.DirEntry[str]) -> str:
    """What a thing in a folder is; empty for a regular file, and for one that is gone by now."""
    if item.is_file(follow_symlinks=False):
        return ""
    try:
        mode = item.stat(follow_symlinks=False).st_mode
    except FileNotFoundError:
        return ""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "a device")


def _open_folder(name: str, above: Optional[int]) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)


def _make_folder(name: str, above: int) -> None:
    try:
        os.mkdir(name, _FOLDER_MODE, dir_fd=above)
    except FileExistsError:
        return
    os.chmod(name, _FOLDER_MODE, dir_fd=above)  # whatever the umask says


def _make_path(path: str) -> None:
    """Make a folder and those above it that are missing, durably; none of them when it exists."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    _make_path(above)
    handle = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _make_folder(os.path.basename(path), handle)
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_drafts(names: Iterable[str], folder: int) -> None:
    for name in names:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)


def _write_durably(name: str, body: bytes, folder: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, _FILE_MODE, dir_fd=folder), "wb") as file:
        os.fchmod(file.fileno(), _FILE_MODE)
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _create_exclusively(drafts: int, draft: str, folder: int, name: str) -> None:
    """Give a finished file its name if nobody has it.

    :raises FileExistsError: somebody has it.
    """
    try:
        os.link(draft, name, src_dir_fd=drafts, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        _rename_exclusively(drafts, draft, folder, name)


def _rename_exclusively(drafts: int, draft: str, folder: int, name: str) -> None:
    import ctypes  # takes its time, and few file systems need it

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    code = errno.ENOSYS
    if rename is not None:
        if rename(drafts, os.fsencode(draft), folder, os.fsencode(name), ctypes.c_uint(_RENAME_NOREPLACE)) == 0:
            return
        code = ctypes.get_errno()
    if code in _NO_RENAMEAT2:
        raise OSError(code, "this file system has neither hard links nor renames that replace nothing; use another")
    raise OSError(code, os.strerror(code))


class DryRun:
    """A store that only pretends to write: it shows what would come, and leaves the one beneath as it is."""

    max_concurrent_reads = 1

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written: Dict[str, bytes] = {}

    def __str__(self) -> str:
        return str(self._store)

    def chunks(self, name: str) -> Iterator[bytes]:
        return iter([self._written[name]]) if name in self._written else self._store.chunks(name)

    def names(self, folder: str, after: str = "") -> Iterator[str]:
        return self._store.names(folder, after)

    def list_unexpected(self) -> Iterator[UnexpectedItem]:
        return self._store.list_unexpected()

    def commits(self, after: int = 0) -> List[int]:
        return self._store.commits(after)

    def list_deleted_commits(self, after: int = 0) -> List[int]:
        return self._store.list_deleted_commits(after)

    def prepare(self, head: Optional[Tuple[str, bytes]]) -> None:
        """Nothing is written, so nothing has to be ready."""

    def check_put_if_absent(self, head: Optional[Tuple[str, bytes]], record: str) -> None:
        """Nothing is written, so nobody can be overwritten."""

    def put(self, files: Mapping[str, bytes]) -> None:
        self._written.update(files)

    def is_settled(self, record: str) -> bool:
        return self._store.is_settled(record)

    def put_if_absent(self, name: str, body: bytes) -> bool:
        self._written[name] = body
        return True

    def claim(self, name: str) -> Optional[Claim]:
        return self._store.claim(name)

    def copy_claim(self, name: str, body: bytes) -> None:
        """Nothing is written."""

    def delete(self, names: Iterable[str]) -> None:
        """Nothing is removed."""

    def check_not_locked(self, names: Iterable[str]) -> None:
        self._store.check_not_locked(names)

    def purge(self, names: Iterable[str]) -> None:
        """Nothing is removed."""
