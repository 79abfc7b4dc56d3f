# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data files as bytes: one gzip stream of canonical lines, written and read in chunks."""

from __future__ import annotations

import hashlib
import zlib
from datetime import datetime
from typing import Any, Iterable, Iterator, List, Optional, Sequence, Tuple

from ...counts import pluralize
from .commit import DataFile, data_file_name, sha256
from .fields import Malformed

_GZIP = 31  # zlib's window bits for a gzip stream, whose header then contains neither a name nor a time
_CHUNK_SIZE = 1 << 16
_MAX_LINE_SIZE = 128 << 20  # twice the largest accepted response of the API, which can hold a single entry


class DayFile:
    """A data file of one day that is being built, compressed in memory."""

    def __init__(self, day: str) -> None:
        self.day = day
        # Created with the first block: it takes 256 KiB, and a quiet project has many small days.
        self._compressor: Any = None
        self._compressed: List[bytes] = []
        self._buffer: List[bytes] = []
        self._buffer_size = 0
        self._content = hashlib.sha256()
        self._content_bytes = 0
        self._entries = 0
        self._first: Optional[datetime] = None
        self._last: Optional[datetime] = None

    def add(self, line: bytes, moment: Optional[datetime]) -> None:
        """Append the canonical line, with its newline, of an entry with this timestamp."""
        self._buffer.append(line)
        self._buffer_size += len(line)
        if self._buffer_size >= _CHUNK_SIZE:
            self._compress()
        self._entries += 1
        if moment is not None:
            self._first = moment if self._first is None else min(self._first, moment)
            self._last = moment if self._last is None else max(self._last, moment)

    def finish(self, sequence: int) -> Tuple[DataFile, bytes]:
        """Close the file; return its description for the commit with this sequence, and the bytes to store."""
        self._compress()
        self._compressed.append(self._compressor.flush())
        self._compressor = None
        body = b"".join(self._compressed)
        digest = sha256(body)
        file = DataFile(
            path=data_file_name(self.day, sequence, digest),
            sha256=digest,
            bytes=len(body),
            content_sha256=self._content.hexdigest(),
            content_bytes=self._content_bytes,
            entries=self._entries,
            first=self._first,
            last=self._last,
        )
        return file, body

    def _compress(self) -> None:
        if self._compressor is None:
            self._compressor = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
        text = b"".join(self._buffer)
        self._compressed.append(self._compressor.compress(text))
        self._content.update(text)
        self._content_bytes += len(text)
        self._buffer, self._buffer_size = [], 0


def decompress_gzip(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Decompress one gzip stream in chunks.

    :raises Malformed: the stream is invalid or truncated, has more than ``limit`` bytes, or is followed by other bytes.
    """
    stream = zlib.decompressobj(_GZIP)
    total = 0
    for chunk in chunks:
        while chunk:
            if stream.eof:
                raise Malformed("bytes follow the gzip stream")
            output = _decompress(stream, chunk)
            total += len(output)
            if total > limit:
                raise Malformed(f"it decompresses to more than {pluralize(limit, 'byte', 'bytes')}")
            yield output
            chunk = stream.unused_data or stream.unconsumed_tail
    if not stream.eof:
        raise Malformed("the gzip stream is truncated")


def complete_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a text in blocks of complete lines, then the rest after the last newline.

    :raises Malformed: a line is longer than any entry can be.
    """
    rest: List[bytes] = []
    size = 0
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if end:
            yield b"".join([*rest, chunk[:end]])
            rest, size = [], 0
        rest.append(chunk[end:])
        size += len(chunk) - end
        if size > _MAX_LINE_SIZE:
            raise Malformed("it contains a line that is longer than any entry")
    if any(rest):
        yield b"".join(rest)


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a text, each with its newline, then the rest after the last newline."""
    for block in complete_lines(chunks):
        # Not bytes.splitlines, which would also split at a carriage return.
        lines = block.split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield line + b"\n"
        if rest:
            yield rest


def lines_containing(chunks: Iterable[bytes], needles: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the lines of a text that contain one of the needles, which contain no newline.

    Searching a block is much faster than splitting it.
    """
    for block in complete_lines(chunks):
        next_match = {needle: block.find(needle) for needle in needles}
        while True:
            position = min((found for found in next_match.values() if found >= 0), default=-1)
            if position < 0:
                break
            end = block.find(b"\n", position) + 1 or len(block)
            yield block[block.rfind(b"\n", 0, position) + 1 : end]
            for needle, found in next_match.items():
                if 0 <= found < end:
                    next_match[needle] = block.find(needle, end)


def _decompress(stream: Any, chunk: bytes) -> bytes:
    try:
        output: bytes = stream.decompress(chunk, _CHUNK_SIZE)
        return output
    except zlib.error as exc:
        raise Malformed("it is not a gzip stream") from exc
