# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies one data file: its stored bytes and its content are compared with its description in a commit."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Callable, Iterable, Iterator, List, Optional, Tuple

from ..errors import StorageError
from .finding import Finding
from .format.canonical_lines import CanonicalLines
from .format.commit import UNDATED_DAY, DataFile, utc_day
from .format.data_file import complete_lines, decompress_gzip, split_lines
from .format.fields import Malformed
from .storage.store import ObjectNotFound


def verify_data_file(
    file: DataFile, read_chunks: Callable[[], Iterator[bytes]], lines: CanonicalLines
) -> Optional[Finding]:
    """Return what is wrong with a data file, or None. ``read_chunks`` returns its stored bytes.

    :raises ObjectNotFound: the file does not exist.
    """
    content = _FileContent(file, lines)
    stored = _StoredBytes(file)
    try:
        damage = content.read(stored.hash_chunks(read_chunks()))
    except ObjectNotFound:
        raise
    except StorageError as exc:
        return Finding("unreadable", file.path, exc.message)
    if stored.is_appended:
        return Finding("appended", file.path, "bytes were appended after it was committed")
    if not stored.is_same:
        return Finding("altered", file.path, "its bytes differ from those that were committed")
    return Finding("content", file.path, damage) if damage else None


class _StoredBytes:
    """Hashes the stored bytes of a data file while they are read."""

    def __init__(self, file: DataFile) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._prefix: Optional[str] = None
        self.bytes = 0

    def hash_chunks(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            room = self._file.bytes - self.bytes
            if 0 <= room < len(chunk):
                prefix = self._digest.copy()
                prefix.update(chunk[:room])
                self._prefix = prefix.hexdigest()
            self._digest.update(chunk)
            self.bytes += len(chunk)
            yield chunk
            if self.bytes > self._file.bytes:
                return  # the file was changed; the rest does not matter

    @property
    def is_same(self) -> bool:
        return self.bytes == self._file.bytes and self._digest.hexdigest() == self._file.sha256

    @property
    def is_appended(self) -> bool:
        return self._prefix == self._file.sha256


class _FileContent:
    """Compares the content of a data file with its description in a commit."""

    def __init__(self, file: DataFile, lines: CanonicalLines) -> None:
        self._file = file
        self._lines = lines
        self._day = file.day
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._entries = 0
        self._first: Optional[datetime] = None
        self._last: Optional[datetime] = None
        self._slices = _Slices(file)

    def read(self, chunks: Iterator[bytes]) -> Optional[str]:
        """Return what is wrong with the content, or None. All chunks are consumed in any case."""
        try:
            for block in complete_lines(decompress_gzip(chunks, self._file.content_bytes)):
                self._add_block(block)
            return self._difference()
        except Malformed as exc:
            for _rest in chunks:
                pass
            return str(exc)

    def _add_block(self, block: bytes) -> None:
        self._digest.update(block)
        self._slices.add_block(block)
        self._bytes += len(block)
        try:
            span = self._lines.summarize(block)
        except ValueError as exc:
            raise Malformed(str(exc)) from exc
        self._entries += span.entries
        if span.undated and self._day != UNDATED_DAY:
            raise Malformed("it contains an entry without a readable timestamp")
        if span.first and span.last:
            self._add_times(span.first, span.last)

    def _add_times(self, first: datetime, last: datetime) -> None:
        if not utc_day(first) == utc_day(last) == self._day:
            raise Malformed("it contains an entry of another day")
        self._first = first if self._first is None else min(self._first, first)
        self._last = last if self._last is None else max(self._last, last)

    def _difference(self) -> Optional[str]:
        file = self._file
        if (self._bytes, self._digest.hexdigest()) != (file.content_bytes, file.content_sha256):
            return "its content differs from its commit"
        if (self._entries, self._first, self._last) != (file.entries, file.first, file.last):
            return "its number of entries, or their times, differ from its commit"
        return self._slices.difference()


class _Slices:
    """Hashes each slice of a compacted file and compares it with the file that was merged."""

    def __init__(self, file: DataFile) -> None:
        self._expected = [(part.content_sha256, part.content_bytes, part.entries) for part in file.parts]
        self._found: List[Tuple[str, int, int]] = []
        self._restart()

    def _restart(self) -> None:
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._entries = 0

    def add_block(self, block: bytes) -> None:
        for line in split_lines([block]) if self._expected else ():
            self._digest.update(line)
            self._bytes += len(line)
            self._entries += 1
            done = len(self._found)
            if done < len(self._expected) and self._entries == self._expected[done][2]:
                self._found.append((self._digest.hexdigest(), self._bytes, self._entries))
                self._restart()

    def difference(self) -> Optional[str]:
        if self._found == self._expected and not self._entries:
            return None
        return "its slices differ from the files that were merged"
