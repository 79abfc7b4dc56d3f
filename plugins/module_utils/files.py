# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files for users: written next to their destination and moved there when complete."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import ExitStack, contextmanager
from typing import Iterable, Iterator

from .errors import AuditError, InvalidInput, StorageError


def replace_file(path: str, lines: Iterable[bytes], option: str, mode: int = 0o600) -> None:
    """Write a file of these lines, atomically and durably, with this mode regardless of the umask.

    :raises InvalidInput: ``path`` cannot be a file; the message names ``option``.
    :raises StorageError: the file cannot be written.
    """
    with draft_file(path, option) as draft:
        write_lines(lines, draft)
        try:
            os.chmod(draft, mode)
        except OSError as exc:
            raise _storage_error(path, exc) from exc
        move_into_place(draft, path)


@contextmanager
def draft_file(path: str, option: str = "dest") -> Iterator[str]:
    """The path of a temporary file in the directory of ``path``; it is deleted unless the block moved it.

    :raises InvalidInput: ``path`` cannot be a file; the message names ``option``.
    :raises StorageError: the directory is not writable.
    """
    check_destination(path, option)
    try:
        handle, draft = tempfile.mkstemp(prefix=".cloudscale-", dir=os.path.dirname(os.path.abspath(path)))
    except OSError as exc:
        raise _storage_error(path, exc) from exc
    os.close(handle)
    try:
        yield draft
    finally:
        if os.path.exists(draft):
            os.unlink(draft)


def check_destination(path: str, option: str = "dest") -> None:
    """Check that a file can be written to a path.

    :raises InvalidInput: the path is something other than a file, or its directory does not exist.
    """
    directory = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise InvalidInput(f"{option}: {path} is a directory; use the path of a file in it.")
    if os.path.exists(path) and not os.path.isfile(path):
        # A file would replace a device such as /dev/null.
        raise InvalidInput(f"{option}: {path} is not a regular file; use the path of another file.")
    if not os.path.isdir(directory):
        raise InvalidInput(f"{option}: the directory {directory} does not exist; create it first.")


@contextmanager
def temporary_file(body: bytes) -> Iterator[str]:
    """The path of a temporary file with these bytes, for programs that only read files.

    :raises StorageError: the file cannot be written.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="cloudscale-audit-"))
            file.write(body)
            file.flush()
        except OSError as exc:
            raise StorageError(f"A temporary file cannot be written: {exc.strerror or exc}.") from exc
        yield file.name


def check_not_existing(path: str, option: str) -> None:
    """Check that a path does not exist yet, and that a file can be written to it.

    :raises InvalidInput: it exists, or cannot be a file.
    """
    check_destination(path, option)
    if os.path.lexists(path):
        raise InvalidInput(f"{option}: {path} already exists; use another path, or pass --force to replace the file.")


def write_lines(lines: Iterable[bytes], path: str) -> str:
    """Write lines, each with a newline, durably; returns the SHA-256 of the file in hexadecimal.

    :raises StorageError: the file cannot be written.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "wb") as file:
            for line in lines:
                digest.update(line + b"\n")
                file.write(line + b"\n")
            file.flush()
            if os.path.isfile(path):
                os.fsync(file.fileno())
    except AuditError:
        raise
    except OSError as exc:
        raise _storage_error(path, exc) from exc
    return digest.hexdigest()


def move_into_place(draft: str, path: str) -> None:
    """Rename a finished draft to its destination, durably; an existing file is replaced.

    :raises StorageError: the draft cannot be renamed.
    """
    try:
        os.replace(draft, path)
        directory = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as exc:
        raise _storage_error(path, exc) from exc


def lines_sha256(lines: Iterable[bytes]) -> str:
    """The SHA-256, in hexadecimal, of a file with these lines."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line + b"\n")
    return digest.hexdigest()


def content_sha256(path: str) -> str:
    """The SHA-256 of a file's content in hexadecimal; empty if the file does not exist.

    :raises StorageError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 16), b""):
                digest.update(block)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise _storage_error(path, exc) from exc
    return digest.hexdigest()


def _storage_error(path: str, exc: OSError) -> StorageError:
    return StorageError(f"{path} cannot be used: {exc.strerror or exc}; check its directory, permissions and space.")
