# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zip files in one reproducible form: the same members give the same bytes, and the reader rejects every other form.

Members are regular files in the order in which they were added, without gaps between them. All have the same time and
mode, are stored or deflated, and expand at most a hundredfold. Any zip program can read the files.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Dict, Iterable, Iterator, List, Optional, Type

from ...errors import ArchiveDamaged, AuditError, InvalidInput, StorageError

MAX_RATIO = 100
"""Maximum ratio of the size of a member to its compressed size, for members larger than MIN_RATIO_SIZE."""

MIN_RATIO_SIZE = 1 << 20
MAX_DIRECTORY = 64 << 20
"""Bytes of the table of contents. An archive with 26,000 signed commits needs 9 MB."""

MAX_NAME = 300

_CHUNK = 1 << 16
_TIME = (1980, 1, 1, 0, 0, 0)
_DATE = 0x21  # 1 January 1980 in the encoding of zip files
_UNIX = 3
_MODE = stat.S_IFREG | 0o644
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_SHORT, _LONG = 0xFFFF, 0xFFFFFFFF


class Spool:
    """Bytes in a temporary file, with their size, SHA-256 and compressed size."""

    def __init__(self, path: str = "") -> None:
        """Without a path, the bytes are counted and hashed, but not stored.

        :raises OSError: the file cannot be written; :meth:`write` and :meth:`close` raise this, too.
        """
        self._path = path
        self._file: Optional[IO[bytes]] = open(path, "wb") if path else None  # noqa: SIM115 - closed by close()
        self._content = hashlib.sha256()
        self._compressor = zlib.compressobj()
        self._compressed = 0
        self.bytes = 0

    def write(self, block: bytes) -> None:
        self._content.update(block)
        self.bytes += len(block)
        if self._file is not None:
            self._file.write(block)
            self._compressed += len(self._compressor.compress(block))

    @property
    def sha256(self) -> str:
        return self._content.hexdigest()

    @property
    def is_bomb(self) -> bool:
        """Whether a reader would reject these bytes if they were deflated."""
        return self.bytes > MIN_RATIO_SIZE and self.bytes > MAX_RATIO // 2 * self._compressed

    def close(self) -> None:
        """Finish writing and close the file, so that many spools need few open files."""
        if self._file is not None:
            self._file.close()

    def read(self) -> Iterator[bytes]:
        """Yield the content of the closed file in chunks."""
        with open(self._path, "rb") as file:
            yield from iter(lambda: file.read(_CHUNK), b"")


class ZipWriter:
    """Writes a zip file, which is durable when the block ends.

    ``digests`` maps the name of each added member to its SHA-256. Each method raises StorageError if the file cannot be
    written.
    """

    def __init__(self, path: str, display_name: str = "") -> None:
        """Errors show ``display_name`` instead of the path if it is given."""
        self._file = path
        self._path = display_name or path
        self._directory = 0
        self.digests: Dict[str, str] = {}
        with _translate_errors(self._path):
            self._zip = zipfile.ZipFile(path, "w")

    def __enter__(self) -> ZipWriter:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        with _translate_errors(self._path):
            self._zip.close()
            handle = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def add_bytes(self, name: str, body: bytes) -> None:
        is_bomb = len(body) > MIN_RATIO_SIZE and len(body) > MAX_RATIO // 2 * len(zlib.compress(body))
        self.add(name, [body], len(body), deflate=not is_bomb)

    def add_spool(self, name: str, spool: Spool) -> None:
        self.add(name, spool.read(), spool.bytes, deflate=not spool.is_bomb)

    def add(self, name: str, chunks: Iterable[bytes], size: int, deflate: bool) -> None:
        """Add a member of ``size`` bytes.

        :raises InvalidInput: the table of contents would exceed the limit of readers.
        """
        self._directory += _CENTRAL.size + len(name)
        if self._directory > MAX_DIRECTORY:
            raise InvalidInput("The archives have too many commits for one package; export fewer archives at once.")
        member = zipfile.ZipInfo(name, _TIME)
        member.create_system = _UNIX
        member.external_attr = _MODE << 16
        member.compress_type = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
        member.file_size = size
        content = hashlib.sha256()
        with _translate_errors(self._path), self._zip.open(member, "w") as file:
            for chunk in chunks:
                content.update(chunk)
                file.write(chunk)
        self.digests[name] = content.hexdigest()


class ZipReader:
    """Reads the members of a zip file of this form without extracting them to disk.

    ``names`` are in the order of the file.
    """

    def __init__(self, path: str) -> None:
        """:raises StorageError: the file is missing or cannot be read.
        :raises ArchiveDamaged: the file has another form.
        """
        self._path = path
        self._file = _open(path)
        try:
            self._zip = self._parse()
            self._members: Dict[str, zipfile.ZipInfo] = {}
            self._starts: Dict[str, int] = {}
            for member in self._zip.infolist():
                self._check_member(member)
                self._members[member.orig_filename] = member
            self._check_layout()
        except BaseException:
            self._file.close()
            raise
        self.names: List[str] = list(self._members)

    def __enter__(self) -> ZipReader:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._zip.close()
        self._file.close()

    def __str__(self) -> str:
        return self._path

    def __contains__(self, name: object) -> bool:
        return name in self._members

    @property
    def size(self) -> int:
        """Size of the zip file in bytes."""
        return os.fstat(self._file.fileno()).st_size

    def sha256(self) -> str:
        """The SHA-256 of the zip file."""
        content, position = hashlib.sha256(), 0
        while True:
            block = os.pread(self._file.fileno(), _CHUNK, position)
            if not block:
                return content.hexdigest()
            content.update(block)
            position += len(block)

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the content of a member in chunks.

        :raises ArchiveDamaged: the content was changed.
        """
        member, size, crc = self._members[name], 0, 0
        is_stored = member.compress_type == zipfile.ZIP_STORED
        changed = f"the bytes of {name} were changed"
        raw = self._read_range(self._starts[name], member.compress_size)
        try:
            for block in raw if is_stored else _inflate(raw):
                size += len(block)
                crc = zlib.crc32(block, crc)
                if size > member.file_size:
                    raise self.refused(changed)
                yield block
        except (zlib.error, EOFError) as exc:
            raise self.refused(changed) from exc
        except OSError as exc:
            raise StorageError(f"{self._path} cannot be read: {exc.strerror or exc}.") from exc
        if (size, crc) != (member.file_size, member.CRC):
            raise self.refused(changed)

    def _read_range(self, position: int, size: int) -> Iterator[bytes]:
        """Yield a range of the zip file; threads can read at the same time."""
        while size:
            block = os.pread(self._file.fileno(), min(size, _CHUNK), position)
            if not block:
                raise EOFError
            yield block
            position += len(block)
            size -= len(block)

    def refused(self, why: str) -> ArchiveDamaged:
        """The error for a file that is not a valid evidence package."""
        return ArchiveDamaged(f"{self._path} is refused: {why}.")

    def _parse(self) -> zipfile.ZipFile:
        incomplete = "it is not a complete zip file: it was cut off, was changed, or is something else"
        end = os.pread(self._file.fileno(), _END.size, max(0, self.size - _END.size))
        if len(end) != _END.size or end[:4] != b"PK\5\6" or end[-2:] != b"\0\0":
            raise self.refused(incomplete)
        if self._directory_size() > MAX_DIRECTORY:
            raise self.refused("its table of contents is larger than that of any package")
        try:
            return zipfile.ZipFile(self._file)
        except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError, OSError) as exc:
            raise self.refused(incomplete) from exc

    def _directory_size(self) -> int:
        """The size of the table of contents according to the records at the end of the file."""
        position = self.size - _END.size
        size: int = _END.unpack(os.pread(self._file.fileno(), _END.size, position))[5]
        locator = os.pread(self._file.fileno(), _LOCATOR.size, max(0, position - _LOCATOR.size))
        if locator[:4] == b"PK\6\7":
            large = os.pread(self._file.fileno(), _END64.size, max(0, position - _LOCATOR.size - _END64.size))
            if len(large) == _END64.size:
                size = _END64.unpack(large)[8]
        return size

    def _check_member(self, member: zipfile.ZipInfo) -> None:
        name = member.orig_filename
        shown = f"{name!a:.120}"
        if name.startswith("/") or "\\" in name or name[1:2] == ":":
            raise self.refused(f"{shown} is an absolute name, or one of another system")
        if ".." in name.split("/"):
            raise self.refused(f"{shown} leads out of the package")
        if name in self._members:
            raise self.refused(f"it has two members named {shown}")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind in _KINDS or name.endswith("/"):
            raise self.refused(f"{shown} is {_KINDS.get(kind, 'a directory')}, and a package has only files")
        if member.flag_bits & _ENCRYPTED:
            raise self.refused(f"{shown} is encrypted")
        if member.compress_type not in _METHODS:
            raise self.refused(f"{shown} is compressed by a method that no package has")
        if member.file_size > MIN_RATIO_SIZE and member.file_size > MAX_RATIO * member.compress_size:
            raise self.refused(f"{shown} expands to more than {MAX_RATIO} times its size")
        if len(name) > MAX_NAME or not name.isascii() or not name.isprintable():
            raise self.refused(f"{shown} is a name that no package has")

    def _check_layout(self) -> None:
        """Compare all bytes between the members with those that the writer creates."""
        position = 0
        central = []
        for name, member in self._members.items():
            header = _local_header(name, member)
            found = os.pread(self._file.fileno(), len(header), position)
            if member.header_offset != position or found != header:
                raise self.refused(f"the header of {name!a:.120} has an unexpected form")
            self._starts[name] = position + len(header)
            position = self._starts[name] + member.compress_size
            central.append(_central_header(name, member))
        directory = b"".join(central)
        tail = directory + _end_of(len(central), len(directory), position)
        if self.size != position + len(tail) or os.pread(self._file.fileno(), len(tail), position) != tail:
            raise self.refused("its table of contents has an unexpected form")


@contextmanager
def _translate_errors(path: str) -> Iterator[None]:
    try:
        yield
    except AuditError:
        raise
    except (OSError, zipfile.LargeZipFile) as exc:
        why = exc.strerror if isinstance(exc, OSError) else None
        raise StorageError(
            f"{path} cannot be written: {why or exc}; check its directory, permissions and free space."
        ) from exc


def _open(path: str) -> IO[bytes]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise StorageError(f"{path} is not a file; check the path.")
        return os.fdopen(handle, "rb")
    except OSError as exc:
        raise StorageError(f"{path} cannot be read: {exc.strerror or exc}; check the path.") from exc


def _inflate(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the content of a deflated member.

    :raises EOFError: the stream ends before or after the member.
    """
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    for chunk in raw:
        rest = chunk
        while rest:
            if stream.eof:
                raise EOFError
            yield stream.decompress(rest, _CHUNK)
            rest = stream.unconsumed_tail or stream.unused_data
    yield stream.flush()
    if not stream.eof:
        raise EOFError


def _is_large(member: zipfile.ZipInfo) -> bool:
    """Whether zipfile reserves 64-bit fields for a member of this size."""
    return member.file_size * 1.05 > zipfile.ZIP64_LIMIT


def _local_header(name: str, member: zipfile.ZipInfo) -> bytes:
    large = _is_large(member)
    sizes = (member.compress_size, member.file_size)
    extra = struct.pack("<2H2Q", 1, 16, member.file_size, member.compress_size) if large else b""
    if large:
        sizes = (_LONG, _LONG)
    version = zipfile.ZIP64_VERSION if large else zipfile.DEFAULT_VERSION
    fixed = (version, 0, member.compress_type, 0, _DATE, member.CRC, *sizes, len(name), len(extra))
    return _LOCAL.pack(b"PK\3\4", *fixed) + name.encode("ascii") + extra


def _central_header(name: str, member: zipfile.ZipInfo) -> bytes:
    sizes = (member.compress_size, member.file_size)
    large: List[int] = []
    if max(sizes) > zipfile.ZIP64_LIMIT:
        large += [member.file_size, member.compress_size]
        sizes = (_LONG, _LONG)
    offset = member.header_offset
    if offset > zipfile.ZIP64_LIMIT:
        large.append(offset)
        offset = _LONG
    extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    version = zipfile.ZIP64_VERSION if large or _is_large(member) else zipfile.DEFAULT_VERSION
    fixed = (_UNIX << 8 | version, version, 0, member.compress_type, 0, _DATE, member.CRC, *sizes)
    return (
        _CENTRAL.pack(b"PK\1\2", *fixed, len(name), len(extra), 0, 0, 0, _MODE << 16, offset)
        + name.encode("ascii")
        + extra
    )


def _end_of(count: int, size: int, offset: int) -> bytes:
    large = b""
    if count > zipfile.ZIP_FILECOUNT_LIMIT or max(size, offset) > zipfile.ZIP64_LIMIT:
        large = _END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
        large += _LOCATOR.pack(b"PK\6\7", 0, offset + size, 1)
    short = min(count, _SHORT)
    return large + _END.pack(b"PK\5\6", 0, 0, short, short, min(size, _LONG), min(offset, _LONG), 0)
