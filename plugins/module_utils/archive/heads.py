# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads and writes heads noted outside an archive, and checks that the archive still has all of them.

Anyone who controls the archive's host can rewrite the archive, its pin and its signatures. A head noted elsewhere
detects this for every commit up to it, since each commit contains the SHA-256 of the commit before.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import InvalidInput, StorageError
from ..times import format_time
from .chain.chain import StoredCommit, load_commit
from .finding import Finding
from .format.commit import Head, commit_name, sha256
from .storage.prefetch import prefetch_chunks
from .storage.store import ObjectNotFound, Store, join_chunks

_MAX_LINE = 1 << 16
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_REARRANGING = ("prune", "compact")


class NotedHead(NamedTuple):
    """A head recorded in one line of a file. ``superseded`` is the reason why it no longer applies, if there is one."""

    archive_id: str
    head: Head
    line: int
    superseded: Optional[str] = None
    project: str = ""


class HeadsCheck(NamedTuple):
    """Result of a check of noted heads.

    ``checked`` is the number of heads of this archive, ``others`` of other archives, ``superseded`` of those that no
    longer apply. ``since`` is the sequence of the oldest noted head; ``pruned`` and ``compacted`` are the numbers of
    commits after it that removed or merged files.
    """

    findings: List[Finding]
    checked: int
    others: int
    superseded: int
    since: Optional[int]
    pruned: int
    compacted: int

    def to_json(self) -> Dict[str, Any]:
        """Return plain values, without the findings."""
        return {name: value for name, value in self._asdict().items() if name != "findings"}


def head_line(stored: StoredCommit) -> str:
    """Return a head as one line of text for people."""
    commit, head = stored.commit, stored.head
    return f"head {commit.archive_id} {head.sequence} {head.sha256} covered {format_time(commit.covered_until)}"


def head_record(stored: StoredCommit, noted_at: str) -> Dict[str, Any]:
    """Return a head for programs, as in a ledger's lines and a run's record in the journal."""
    commit = stored.commit
    return {
        "archive_id": commit.archive_id,
        "project": commit.project.name,
        "sequence": commit.sequence,
        "sha256": stored.head.sha256,
        "covered_until": format_time(commit.covered_until),
        "noted_at": noted_at,
    }


def read_heads(path: str) -> List[NotedHead]:
    """Read a file with one JSON object a line; the keys archive_id, sequence and sha256 are required.

    :raises InvalidInput: the file cannot be read, or a line is not such an object. Free text is refused because an
        entry could contain it.
    """
    try:
        with open(path, "rb") as file:
            return parse_heads(iter(lambda: file.readline(_MAX_LINE), b""), path)
    except OSError as exc:
        raise InvalidInput(f"Cannot read the noted heads in {path}: {exc.strerror or exc}.") from exc


def parse_heads(lines: Iterable[bytes], path: str) -> List[NotedHead]:
    """Return the heads in the lines of such a file; errors are those of :func:`read_heads`."""
    return [_parse_noted_head(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]


def valid_heads(noted: Sequence[NotedHead]) -> List[NotedHead]:
    """Return the noted heads that no later line supersedes; a head that was superseded can be noted again."""
    superseded_at = {(note.archive_id, note.head): index for index, note in enumerate(noted) if note.superseded}
    return [note for index, note in enumerate(noted) if index > superseded_at.get((note.archive_id, note.head), -1)]


def check_heads(store: Store, noted: Sequence[NotedHead]) -> HeadsCheck:
    """Compare noted heads with an archive. The chain of commits is not verified here.

    :raises StorageError: the archive has no first commit, or cannot be read.
    :raises ArchiveDamaged: the first commit is not valid.
    """
    archive_id = load_commit(store, 1).commit.archive_id
    of_all = [note for note in noted if note.archive_id == archive_id]
    of_archive = valid_heads(of_all)
    others, superseded = len(noted) - len(of_all), len(of_all) - len(of_archive)
    if not of_archive:
        detail = f"no noted head is of this archive, {archive_id}"
        return HeadsCheck([Finding("head", commit_name(1), detail)], 0, others, superseded, None, 0, 0)
    findings = list(_differences(store, of_archive))
    since = min(note.head.sequence for note in of_archive)
    pruned, compacted = _count_rearranging(store, since)
    return HeadsCheck(findings, len(of_archive), others, superseded, since, pruned, compacted)


def _parse_noted_head(line: bytes, number: int, path: str) -> NotedHead:
    try:
        value = json.loads(line)
        archive_id, sequence, digest = value["archive_id"], value["sequence"], value["sha256"]
        superseded, project = value.get("superseded"), value.get("project")
        is_valid = (
            isinstance(archive_id, str)
            and isinstance(sequence, int)
            and not isinstance(sequence, bool)
            and sequence > 0
        )
        is_valid = is_valid and isinstance(digest, str) and _SHA256.fullmatch(digest) is not None
        is_valid = is_valid and (superseded is None or (isinstance(superseded, str) and superseded.strip() != ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        is_valid = False
    if not is_valid:
        raise InvalidInput(
            f"Line {number} of {path} is not a noted head: a JSON object with archive_id, sequence and sha256."
        )
    return NotedHead(
        archive_id, Head(sequence, digest), number, superseded, project if isinstance(project, str) else ""
    )


def _differences(store: Store, noted: Sequence[NotedHead]) -> Iterator[Finding]:
    by_sequence: Dict[int, List[NotedHead]] = {}
    for note in noted:
        by_sequence.setdefault(note.head.sequence, []).append(note)
    sequences = sorted(by_sequence)
    for read_chunks, sequence in zip(prefetch_chunks(store, map(commit_name, sequences)), sequences):
        name = commit_name(sequence)
        try:
            found = sha256(join_chunks(read_chunks(), f"{name} in {store}"))
        except ObjectNotFound:
            lines = ", ".join(str(note.line) for note in by_sequence[sequence])
            yield Finding(
                "head", name, f"noted in line {lines}, but the archive has no such commit: commits were cut off"
            )
            continue
        except StorageError as exc:
            yield Finding("unreadable", name, exc.message)
            continue
        for note in by_sequence[sequence]:
            if note.head.sha256 != found:
                yield Finding(
                    "head", name, f"noted in line {note.line} as {note.head.sha256}, but the commit is {found}"
                )


def _count_rearranging(store: Store, since: int) -> Tuple[int, int]:
    """Return the numbers of commits after ``since`` that pruned and that compacted."""
    counts = [0, 0]
    for read_chunks in prefetch_chunks(store, map(commit_name, store.list_commits(after=since))):
        kind = _read_kind(read_chunks, f"a commit in {store}")
        if kind in _REARRANGING:
            counts[_REARRANGING.index(kind)] += 1
    return counts[0], counts[1]


def _read_kind(read_chunks: Callable[[], Iterator[bytes]], what: str) -> str:
    """Return the kind of a commit, or an empty text if the commit cannot be read: verify reports that."""
    try:
        return str(json.loads(join_chunks(read_chunks(), what))["kind"])
    except (StorageError, ValueError, LookupError, TypeError, RecursionError):
        return ""
