# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies files that no commit lists: files that were moved, left by killed runs, not deleted yet, or added."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import suppress
from typing import Counter as CounterOf
from typing import Dict, Iterator, List, Optional, Set

from ..errors import StorageError
from .chain.chain import pending_records
from .chain.rules import ChainState
from .finding import Finding
from .format.commit import FIRST_SEQUENCE, DataFile, DataFileName, parse_commit_name, parse_data_file_name
from .format.data_file import decompress_gzip, split_lines
from .format.fields import Malformed
from .format.pending import parse_pending_name
from .storage.store import InvalidObject, ObjectNotFound, Store

_TYPES = {
    "entries": "extra",
    "commits": "extra",
    "signatures": "signature_extra",
    "timestamps": "timestamp_extra",
}
"""Types of findings about unexpected objects, by their directory; elsewhere they are ``foreign``."""


def names_in(store: Store, directory: str) -> List[str]:
    """List the names of the files in a directory of the archive; none if it is not a directory."""
    try:
        return list(store.list_files(directory))
    except InvalidObject:
        return []  # reported as an unexpected object


class UnlistedFilesCheck:
    """The files of one archive that no commit lists.

    ``state`` is the state of the chain up to the commit ``head``, ``readable`` are the sequences of readable commits.
    """

    def __init__(self, store: Store, state: ChainState, readable: Set[int], head: int) -> None:
        self._store = store
        self._state = state
        self._readable = readable
        self._head = head
        self._pending: Dict[str, Optional[List[str]]] = {}

    def findings(self, stored: List[str], pending: List[str], missing: List[str]) -> Iterator[Finding]:
        """Check files as they were listed before the head was read.

        ``stored`` are the names of data files, ``pending`` those of pending records, ``missing`` the paths of listed
        files that do not exist.
        """
        unlisted = [name for name in stored if name not in self._state.live]
        locations = self._locate(unlisted, missing) if missing else {}
        moved: Set[str] = set()
        for path in missing:
            location = locations.get(self._state.live[path].sha256)
            if location is None:
                yield Finding("missing", path, "the file does not exist")
            else:
                moved.add(location)
                yield Finding("moved", path, f"the file is now at {location}")
        self._pending = pending_records(self._store)
        yield from self._check_data_files([name for name in unlisted if name not in moved])
        for name in names_in(self._store, "commits"):
            if not parse_commit_name(name):
                yield Finding("extra", name, "its name is not that of a commit")
        yield from self._check_pending(pending)
        yield from self._check_unexpected()

    def _locate(self, names: List[str], missing: List[str]) -> Dict[str, str]:
        """Return the names of files by the SHA-256 of their bytes. Files larger than all missing ones are skipped."""
        limit = max(self._state.live[path].bytes for path in missing)
        locations = {}
        for name in names:
            digest = self._digest_of(name, limit)
            if digest:
                locations[digest] = name
        return locations

    def _digest_of(self, name: str, limit: int) -> Optional[str]:
        """Return the SHA-256 of a file; None if the file is unreadable or larger than the limit."""
        content, size = hashlib.sha256(), 0
        try:
            for chunk in self._store.read(name):
                content.update(chunk)
                size += len(chunk)
                if size > limit:
                    return None
        except StorageError:
            return None
        return content.hexdigest()

    def _check_data_files(self, names: List[str]) -> Iterator[Finding]:
        announced = {name for names in self._pending.values() for name in names or ()}
        undeleted: List[str] = []
        for name in names:
            parsed = parse_data_file_name(name)
            if parsed is None:
                yield Finding("extra", name, "its name is not that of a data file")
            elif parsed.sequence > self._head + 1:
                detail = f"the archive ends at commit {self._head}: commits were cut off, or the file was added"
                yield Finding("extra", name, detail)
            elif parsed.sequence > self._head:
                yield Finding("orphan", name, "its commit does not exist yet: a run is active or was killed")
            elif name in self._state.removed:
                if self._is_undeleted(name):
                    undeleted.append(name)
                else:
                    yield Finding("extra", name, "a commit removed a file of this name with other bytes")
            elif parsed.sequence in self._readable:  # else the missing commit is a finding already
                yield self._unnamed(name, parsed, name in announced)
        if undeleted:
            count = f"; {len(undeleted)} such files in all" if len(undeleted) > 1 else ""
            detail = f"a commit removed it, but it was not deleted yet{count}"
            yield Finding("deletion_pending", undeleted[0], detail)

    def _is_undeleted(self, name: str) -> bool:
        """Return whether a file is the one that a commit removed, not another one of the same name."""
        removed = self._state.removed[name]
        return self._digest_of(name, removed.bytes) == removed.sha256

    def _unnamed(self, name: str, parsed: DataFileName, is_announced: bool) -> Finding:
        """Describe a file whose commit exists but does not name the file."""
        missing = self._count_missing(name, parsed.day)
        if missing == 0:
            why = "it was left by a run that lost a race or was killed" if is_announced else "no commit names it"
            return Finding("orphan", name, f"{why}; all its entries are in the archive")
        what = "is unreadable" if missing is None else f"contains entries that are not in the archive ({missing})"
        if not is_announced:
            return Finding("extra", name, f"no commit names it, and it {what}")
        return Finding(
            "orphan", name, f"a run announced it but made no commit; it {what}: check it now, the next run deletes it"
        )

    def _count_missing(self, name: str, day: str) -> Optional[int]:
        """Count the lines of a file that the archive's files of that day lack, as multisets; None if unreadable."""
        live = [file for path, file in self._state.live.items() if path.startswith(f"entries/date={day}/")]
        unmatched: CounterOf[bytes] = Counter()
        # A file that is larger than the whole day is not a part of it, so the rest is not decompressed.
        max_bytes = sum(file.content_bytes for file in live)
        try:
            for line in split_lines(decompress_gzip(self._store.read(name), max_bytes)):
                unmatched[_short_digest(line)] += 1
        except ObjectNotFound:
            return 0  # deleted as a leftover in the meantime
        except (Malformed, StorageError):
            return None
        for file in live if unmatched else ():
            with suppress(Malformed, StorageError):  # a damaged file is a finding of its own
                self._subtract(unmatched, file)
        return sum(unmatched.values())

    def _subtract(self, unmatched: CounterOf[bytes], file: DataFile) -> None:
        for line in split_lines(decompress_gzip(self._store.read(file.path), file.content_bytes)):
            digest = _short_digest(line)
            if digest in unmatched:
                unmatched[digest] -= 1
                if not unmatched[digest]:
                    del unmatched[digest]

    def _check_pending(self, names: List[str]) -> Iterator[Finding]:
        for name in names:
            sequence = parse_pending_name(name)
            if sequence is None:
                yield Finding("foreign", name, "its name is not that of a pending record")
            elif not FIRST_SEQUENCE <= sequence <= self._head + 1:
                yield Finding("foreign", name, f"it is of commit {sequence}, but the archive ends at {self._head}")
            elif self._pending.get(name, ()) is None:
                yield Finding("foreign", name, "it is not a valid pending record")

    def _check_unexpected(self) -> Iterator[Finding]:
        for item in self._store.list_unexpected():
            if item.name not in self._state.live:  # live files are reported where they are read
                type_ = _TYPES.get(item.name.partition("/")[0], "foreign")
                yield Finding(type_, item.name, f"it is {item.kind}, which no run creates here")


def _short_digest(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()[:16]
