# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data files as bytes: one gzip stream of canonical lines, written and read piece by piece."""

from __future__ import annotations

import hashlib
import zlib
from datetime import datetime
from typing import Any, Iterable, Iterator, List, Optional, Sequence, Tuple

from ...counts import pluralize
from .commit import DataFile, Malformed, data_file_name, sha256

_GZIP = 31  # zlib's window bits for a gzip stream: its header then has no name and no time


_CHUNK = 1 << 16


_LONGEST_LINE = 128 << 20  # twice the largest answer of the API that is taken, for it may hold one entry


class DayFile:
    """The data file of one day while it grows: compressed in memory, so that a batch stays small."""

    def __init__(self, day: str) -> None:
        self.day = day
        # Made when there is a block to compress: it takes a quarter of a MiB, and a quiet project has many small days.
        self._compressor: Any = None
        self._stored: List[bytes] = []
        self._waiting: List[bytes] = []
        self._waiting_bytes = 0
        self._content = hashlib.sha256()
        self._content_bytes = 0
        self._entries = 0
        self._first: Optional[datetime] = None
        self._last: Optional[datetime] = None

    def add(self, line: bytes, moment: Optional[datetime]) -> None:
        """Append one canonical line (with its newline) of an entry with this timestamp."""
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        if self._waiting_bytes >= _CHUNK:
            self._compress()
        self._entries += 1
        if moment is not None:
            self._first = moment if self._first is None else min(self._first, moment)
            self._last = moment if self._last is None else max(self._last, moment)

    def finish(self, sequence: int) -> Tuple[DataFile, bytes]:
        """Close the file: its description for the commit with this sequence, and the bytes to store."""
        self._compress()
        self._stored.append(self._compressor.flush())
        self._compressor = None
        body = b"".join(self._stored)
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
        text = b"".join(self._waiting)
        self._stored.append(self._compressor.compress(text))
        self._content.update(text)
        self._content_bytes += len(text)
        self._waiting, self._waiting_bytes = [], 0


def decompress_gzip(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Decompress one gzip stream piece by piece, never more than ``limit`` bytes in all.

    :raises Malformed: it is no gzip stream, is cut, is followed by more bytes, or holds more than ``limit``.
    """
    stream = zlib.decompressobj(_GZIP)
    total = 0
    for chunk in chunks:
        while chunk:
            if stream.eof:
                raise Malformed("bytes follow the gzip stream")
            piece = _decompress(stream, chunk)
            total += len(piece)
            if total > limit:
                raise Malformed(f"it holds more than it should ({pluralize(limit, 'byte', 'bytes')})")
            yield piece
            chunk = stream.unused_data or stream.unconsumed_tail
    if not stream.eof:
        raise Malformed("the gzip stream is cut")


def complete_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same text in blocks of whole lines; what follows the last newline comes as it is.

    :raises Malformed: a line is longer than any entry can be.
    """
    rest: List[bytes] = []
    waiting = 0
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join([*rest, piece[:end]])
            rest, waiting = [], 0
        rest.append(piece[end:])
        waiting += len(piece) - end
        if waiting > _LONGEST_LINE:
            raise Malformed("it holds a line that is longer than any entry")
    if any(rest):
        yield b"".join(rest)


def split_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a text in pieces, each with its newline; what follows the last newline comes as it is."""
    for block in complete_lines(pieces):
        # Only here: bytes.splitlines would also split at a carriage return.
        lines = block.split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield line + b"\n"
        if rest:
            yield rest


def lines_containing(pieces: Iterable[bytes], needles: Sequence[bytes]) -> Iterator[bytes]:
    """The lines of a text in pieces that have any of some bytes (of which none is a newline), each with its newline."""
    for block in complete_lines(pieces):
        # Where each needle is next. Looking for bytes in a block is far quicker than splitting it.
        ahead = {needle: block.find(needle) for needle in needles}
        while True:
            position = min((found for found in ahead.values() if found >= 0), default=-1)
            if position < 0:
                break
            end = block.find(b"\n", position) + 1 or len(block)
            yield block[block.rfind(b"\n", 0, position) + 1 : end]
            for needle, found in ahead.items():
                if 0 <= found < end:
                    ahead[needle] = block.find(needle, end)


def _decompress(stream: Any, chunk: bytes) -> bytes:
    try:
        piece: bytes = stream.decompress(chunk, _CHUNK)
        return piece
    except zlib.error as exc:
        raise Malformed("it is no gzip stream") from exc
