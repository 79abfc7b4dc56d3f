# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Extends a ledger: a file of heads, one JSON object per line, stored where the archives' hosts cannot change it.

The root user of a host can send anything. The keeper of the ledger therefore does not trust a head alone: the host
sends all commits after the newest head in the ledger, and each must contain the SHA-256 of the commit before. Lines
are only appended.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import ArchiveDamaged, StorageError
from ..project_log.entry import to_printable
from .chain.chain import StoredCommit, find_head, has_commit
from .format.commit import Commit, Head, commit_name, sha256
from .format.fields import Malformed
from .heads import NotedHead, head_record, valid_heads
from .storage.prefetch import prefetch_chunks
from .storage.store import Store, join_chunks

MAX_COMMITS = 1000
"""Maximum number of commits in one response; the next response continues from there."""

_BRACE = "\\u007b"


class Continuation(NamedTuple):
    """Response of an archive to the keeper of a ledger: the newest noted head that it has, and the commits after it.

    If the archive has none of the noted heads, ``commits`` contains only the newest commit.
    """

    archive_id: str
    after: Optional[Head]
    commits: Sequence[bytes]

    def to_json(self) -> Dict[str, Any]:
        """Return plain values; a commit is the text of its file."""
        return {
            "archive_id": self.archive_id,
            "after": self.after._asdict() if self.after else None,
            "commits": [body.decode("ascii", "replace") for body in self.commits],
        }


class Extension(NamedTuple):
    """The lines to append to a ledger, and a sentence for each archive that is refused."""

    lines: List[str]
    refused: List[str]


def continuation(store: Store, noted: Sequence[NotedHead], max_commits: int = MAX_COMMITS) -> Continuation:
    """Return the commits of an archive after the newest noted head.

    :raises StorageError: the archive has no commit, or cannot be read.
    :raises ArchiveDamaged: the first or the newest commit is not valid.
    """
    head = find_head(store)
    if head is None:
        raise StorageError(f"There is no commit in {store}; collect first.")
    archive_id = head.commit.archive_id
    own = {note.head for note in valid_heads(noted) if note.archive_id == archive_id}
    after = next((noted_head for noted_head in sorted(own, reverse=True) if _has_commit(store, noted_head)), None)
    if after is None:
        return Continuation(archive_id, None, [head.body])
    sequences = range(after.sequence + 1, min(head.commit.sequence, after.sequence + max_commits) + 1)
    names = [commit_name(sequence) for sequence in sequences]
    bodies = [
        join_chunks(read_chunks(), f"{name} in {store}")
        for read_chunks, name in zip(prefetch_chunks(store, names), names)
    ]
    return Continuation(archive_id, after, bodies)


def _has_commit(store: Store, head: Head) -> bool:
    try:
        return has_commit(store, head)
    except ArchiveDamaged:
        return False


def extend(
    noted: Sequence[NotedHead],
    responses: Mapping[str, Iterable[Any]],
    noted_at: str,
    superseded: Mapping[str, str],
    is_complete: bool,
) -> Extension:
    """Check the responses of hosts, and return the lines to append to the ledger.

    ``responses`` contains the continuations of the archives by host; they are untrusted. ``superseded`` contains, by
    archive, the reason why noted heads no longer apply: an older copy was restored on purpose, or the archive no longer
    exists. ``is_complete`` means that all hosts responded, so that an archive that none of them has is refused.
    """
    known: Dict[str, List[NotedHead]] = {}
    for note in valid_heads(noted):
        known.setdefault(note.archive_id, []).append(note)
    lines: List[str] = []
    refused: List[str] = []
    found: Dict[str, Dict[str, _CheckedContinuation]] = {}
    for host, values in responses.items():
        for value in values:
            try:
                checked = _check_continuation(value)
                found.setdefault(checked.archive_id, {})[host] = checked
            except _Rejected as exc:
                refused.append(f"{host}: {exc}")
    for archive_id in sorted(found.keys() | known.keys()):
        heads, reason = known.get(archive_id, []), superseded.get(archive_id, "").strip()
        try:
            if archive_id in found:
                lines.extend(_continuation_lines(heads, found[archive_id], noted_at, reason))
            elif reason:
                lines.extend(_superseded_lines(heads, noted_at, reason))
            elif is_complete:
                newest = max(note.head for note in heads)
                raise _Rejected(f"no host has it, but commit {newest.sequence} of it was noted")
        except _Rejected as exc:
            refused.append(f"{_label(archive_id, heads)}: {exc}")
    return Extension(lines, refused)


class _Rejected(Exception):
    """An archive does not continue its noted heads; the text is the reason, as a phrase."""


class _CheckedContinuation(NamedTuple):
    """A continuation whose commits form a chain."""

    archive_id: str
    after: Optional[Head]
    stored_commits: List[StoredCommit]

    @property
    def heads(self) -> Dict[int, str]:
        """The SHA-256 of each commit in the continuation, by sequence."""
        first = {self.after.sequence: self.after.sha256} if self.after else {}
        return {**first, **{stored.commit.sequence: stored.head.sha256 for stored in self.stored_commits}}


def _check_continuation(value: Any) -> _CheckedContinuation:
    """Check that the commits form a chain.

    :raises _Rejected: they do not, or the value is not a continuation.
    """
    try:
        archive_id, head = str(value["archive_id"]), value["after"]
        after = Head(int(head["sequence"]), str(head["sha256"])) if head is not None else None
        bodies = [str(text).encode("ascii") for text in value["commits"]]
        stored_commits = [StoredCommit(Commit.parse(body), body) for body in bodies]
    except (ValueError, LookupError, TypeError, AttributeError, Malformed) as exc:
        raise _Rejected("its response is not a list of commits of an archive") from exc
    digest, expected = (after.sha256, after.sequence + 1) if after else (None, None)
    for stored in stored_commits:
        commit = stored.commit
        if commit.archive_id != archive_id or expected not in (None, commit.sequence):
            raise _Rejected("its response contains commits of another archive, or omits commits")
        if digest is not None and commit.previous != digest:
            raise _Rejected(f"commit {commit.sequence} does not name the SHA-256 of the commit before")
        digest, expected = sha256(stored.body), commit.sequence + 1
    return _CheckedContinuation(archive_id, after, stored_commits)


def _continuation_lines(
    heads: Sequence[NotedHead], by_host: Mapping[str, _CheckedContinuation], noted_at: str, reason: str
) -> List[str]:
    """Return the lines of an archive that one or more hosts have."""
    seen: Dict[int, str] = {}
    for host, checked in by_host.items():
        for sequence, digest in checked.heads.items():
            if seen.setdefault(sequence, digest) != digest:
                raise _Rejected(f"{host} has another commit {sequence} of it than another host")
    longest = max(by_host.values(), key=lambda checked: max(checked.heads, default=0))
    last = max((note.head for note in heads), default=None)
    lines: List[str] = []
    if longest.after not in (None, *(note.head for note in heads)):
        raise _Rejected("it begins with a commit that was not noted")
    if longest.after != last:
        if not reason:
            raise _Rejected(
                f"it does not continue commit {last.sequence}, which was noted" if last else "it is not in the ledger"
            )
        kept = longest.after.sequence if longest.after else 0
        lines.extend(_superseded_lines([note for note in heads if note.head.sequence > kept], noted_at, reason))
    if longest.stored_commits:
        lines.append(_line(head_record(longest.stored_commits[-1], noted_at)))
    return lines


def _superseded_lines(heads: Sequence[NotedHead], noted_at: str, reason: str) -> List[str]:
    return [
        _line({"archive_id": note.archive_id, **note.head._asdict(), "noted_at": noted_at, "superseded": reason})
        for note in heads
    ]


def _line(record: Mapping[str, Any]) -> str:
    """Return a record of texts and numbers as JSON in which no text can be a Jinja template."""
    return f"{{{json.dumps(record)[1:-1].replace('{', _BRACE)}}}"


def _label(archive_id: str, heads: Sequence[NotedHead]) -> str:
    project = f" ({to_printable(heads[-1].project)})" if heads and heads[-1].project else ""
    return f"archive {to_printable(archive_id)[:64]}{project}".replace("{", _BRACE)
