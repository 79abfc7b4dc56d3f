# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that people are given: written beside their destination and put in place whole, or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import ExitStack, contextmanager
from typing import Iterable, Iterator

from .errors import AuditError, InvalidInput, StorageError


def replace_file(path: str, lines: Iterable[bytes], option: str, mode: int = 0o600) -> None:
    """Put a file of these lines in place: whole, safely on disk, and with this mode whatever the umask says.

    :raises InvalidInput: ``path`` is a folder, or lies in none; ``option`` is what the user gave it as.
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
    """The path of a temporary file in the folder of ``path``; it is removed unless the block moved it away.

    :raises InvalidInput: ``path`` is a folder, or lies in none; ``option`` is what the user gave it as.
    :raises StorageError: the folder takes no file.
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
    """:raises InvalidInput: no file can have this path, because it is something else or lies in no folder."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise InvalidInput(f"{option}: {path} is a folder; name a file in it.")
    if os.path.exists(path) and not os.path.isfile(path):
        # A file would be put in the place of a device such as /dev/null.
        raise InvalidInput(f"{option}: {path} is no file, but a device, a pipe or the like; name a file.")
    if not os.path.isdir(folder):
        raise InvalidInput(f"{option}: there is no folder {folder}; make it first.")


@contextmanager
def temporary_file(body: bytes) -> Iterator[str]:
    """The path of a temporary file with these bytes, for programs that take nothing else.

    :raises StorageError: it cannot be written.
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
    """:raises InvalidInput: there is something with this path already, or no file can have it."""
    check_destination(path, option)
    if os.path.lexists(path):
        raise InvalidInput(f"{option}: {path} already exists; name another file, or pass --force to replace it.")


def write_lines(lines: Iterable[bytes], path: str) -> str:
    """Write each line with a newline behind it, safely on disk on return; the SHA-256 of the whole, in hexadecimal.

    :raises StorageError: the file cannot be written.
    """
    content = hashlib.sha256()
    try:
        with open(path, "wb") as file:
            for line in lines:
                content.update(line + b"\n")
                file.write(line + b"\n")
            file.flush()
            if os.path.isfile(path):
                os.fsync(file.fileno())
    except AuditError:
        raise
    except OSError as exc:
        raise _storage_error(path, exc) from exc
    return content.hexdigest()


def move_into_place(draft: str, path: str) -> None:
    """Give a finished draft its name, durably, over any file that has it.

    :raises StorageError: it cannot be put there.
    """
    try:
        os.replace(draft, path)
        folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        raise _storage_error(path, exc) from exc


def content_sha256(path: str) -> str:
    """The SHA-256 of a file's content in hexadecimal; empty when there is no such file.

    :raises StorageError: the file cannot be read.
    """
    content = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 16), b""):
                content.update(block)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise _storage_error(path, exc) from exc
    return content.hexdigest()


def _storage_error(path: str, exc: OSError) -> StorageError:
    return StorageError(f"{path} cannot be used: {exc.strerror or exc}; check its folder, permissions and space.")
