# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules for the content of a commit, given the commits before it. All code that trusts a commit applies them.

Hashes show that a commit was not changed after the next one was created. They do not show that a collector could have
created an appended commit; these rules do.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, time, timedelta, timezone
from typing import Callable, Deque, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ...counts import pluralize
from ...times import EARLIEST, RETENTION
from ..format.commit import (
    FIRST_SEQUENCE,
    READING_KINDS,
    UNDATED_DAY,
    Commit,
    DataFile,
    parse_data_file_name,
    utc_day,
)
from .coverage import MAX_SKEW, RETENTION_MARGIN, VISIBILITY_DELAY

RESYNC_LOOKBACK = timedelta(days=1)
"""Distance before the newest archived entry at which a resync starts to read."""

IDENTITY_HISTORY = 100
"""Number of recent commits whose tokens and APIs count as known; using a known one is not a change of identity."""

MAX_COMMIT_DELAY = timedelta(days=1)
"""Maximum time between the first page of a run, or its last commit, and its next commit."""

RETENTION_GAP, NO_OVERLAP = "retention", "no overlap"
RESYNC_REASONS = ("cursor", "restart", "token", "api")
IDENTITY_REASONS = ("token", "api")

_ONE_DAY = timedelta(days=1)


class Violation(NamedTuple):
    """A broken rule: the type of the finding, and its detail as a phrase without a full stop."""

    type: str
    detail: str


class ChainState:
    """The state of the chain after the commits applied so far. The next commit is checked against it, then applied.

    A new object is the state before the first commit. ``is_complete`` becomes False when a commit is skipped; from then
    on, rules that depend on all earlier commits are not checked. ``live`` are the data files that were added and not
    removed, ``removed`` those that were removed, ``merged`` those with parts. ``undated`` maps the files without
    readable timestamps to the ``covered_until`` of their commits.
    """

    def __init__(self) -> None:
        self.commit: Optional[Commit] = None
        self.live: Dict[str, DataFile] = {}
        self.removed: Dict[str, DataFile] = {}
        self.merged: Dict[str, DataFile] = {}
        self.is_complete = True
        self.undated: Dict[str, datetime] = {}
        self._identities: Deque[Tuple[str, str]] = deque(maxlen=IDENTITY_HISTORY)

    @classmethod
    def after(cls, commit: Commit) -> ChainState:
        """The state after a trusted commit, without knowledge of the commits before it."""
        state = cls()
        state.skip()
        state.commit = commit
        return state

    def skip(self) -> None:
        """Continue after a commit that is missing or unreadable."""
        self.commit = None
        self.is_complete = False

    def violations(self, commit: Commit) -> Iterator[Violation]:
        """Yield the rules that the next commit breaks."""
        yield from _check_commit(commit)
        if self.commit is not None:
            if commit.sequence != self.commit.sequence + 1:
                yield Violation("chain", "it does not follow the previous commit")
            yield from _check_successor(self.commit, commit)
            yield from self._check_identity(self.commit, commit)
            yield from _check_resync(self.commit, commit)
        elif commit.sequence == FIRST_SEQUENCE:
            yield from _check_first(commit)
        files = [self.live[path] for path in commit.removed if path in self.live]
        if self.is_complete:
            yield from self._check_removal(commit, files)
        if self.is_complete or (self.commit is not None and not commit.removed):
            yield from self._check_totals(commit, files)

    def apply(self, commit: Commit) -> None:
        """Update the state with a commit."""
        for path in commit.removed:
            file = self.live.pop(path, None)
            if file is not None:
                self.removed[path] = file
            self.undated.pop(path, None)
        for file in commit.files:
            self.live[file.path] = file
            if file.parts:
                self.merged[file.path] = file
            if file.day == UNDATED_DAY:
                self.undated[file.path] = commit.covered_until
        self._identities.append((commit.api, commit.token_tag))
        self.commit = commit

    def _check_identity(self, before: Commit, commit: Commit) -> Iterator[Violation]:
        if before.project.uuid not in (None, commit.project.uuid):
            yield Violation("identity", "it belongs to another project")
        why = commit.resync.why if commit.resync else ""
        if self.is_complete or len(self._identities) == IDENTITY_HISTORY:
            known_api, known_tag = self._are_known(commit.api, commit.token_tag)
            if why in IDENTITY_REASONS:
                if known_api and known_tag:
                    yield Violation("identity", "it resyncs for a new token or API, but both are known")
            elif not (known_api and known_tag):
                yield Violation("identity", "the token or API changed without a resync")

    def _are_known(self, api: str, tag: str) -> Tuple[bool, bool]:
        """Whether one of the last commits used this API, and whether one used this token."""
        if self._identities and self._identities[-1] == (api, tag):
            return True, True
        apis, tags = zip(*self._identities) if self._identities else ((), ())
        return api in apis, tag in tags

    def _check_removal(self, commit: Commit, files: List[DataFile]) -> Iterator[Violation]:
        for path in commit.removed:
            if path not in self.live:
                yield Violation("removal", f"it removes {path}, which is not a live file")
        if commit.kind == "compact":
            yield from _check_compact(commit, files)
        elif commit.kind == "prune" and commit.pruned_until is not None:
            edge = commit.pruned_until
            expected = [
                path for path in sorted(self.live) if is_pruned_by(self.live[path], edge, self.undated.get(path))
            ]
            if list(commit.removed) != expected:
                yield Violation("removal", "it does not remove exactly the files before its pruned_until")

    def _check_totals(self, commit: Commit, files: List[DataFile]) -> Iterator[Violation]:
        total = (self.commit.total_entries if self.commit else 0) + commit.entries - sum(file.entries for file in files)
        if commit.total_entries != total:
            yield Violation("totals", f"total_entries is {commit.total_entries}, but the files add up to {total}")


def is_pruned_by(file: DataFile, edge: datetime, collected: Optional[datetime]) -> bool:
    """Whether a prune up to ``edge`` removes a file; ``collected`` is the covered_until of the commit that added it."""
    day = file.day
    if day == UNDATED_DAY:
        return collected is not None and collected < edge
    return day < utc_day(edge)


def is_overlap_expected(before: Commit, asked: datetime) -> bool:
    """Whether the provider must still have an entry that the archive contains after this commit."""
    oldest = asked - RETENTION + RETENTION_MARGIN
    if before.pruned_until is not None:
        oldest = max(oldest, before.pruned_until)
    return before.newest is not None and before.newest >= oldest


def resync_start(before: Commit) -> datetime:
    """The time from which a resync after this commit reads; not before the first year of a readable time."""
    newest = before.newest or before.covered_until
    return max(newest, EARLIEST + RESYNC_LOOKBACK) - RESYNC_LOOKBACK


def newest_covered(before: Optional[Commit], files: Tuple[DataFile, ...], covered: datetime) -> Optional[datetime]:
    """The newest timestamp in the covered time range after a commit with these files; later ones are ignored."""
    found = [min(file.last, covered) for file in files if file.first and file.last and file.first <= covered]
    if before is not None and before.newest is not None:
        found.append(before.newest)
    return max(found, default=None)


def _check_commit(commit: Commit) -> Iterator[Violation]:
    if (commit.previous is None) != (commit.sequence == FIRST_SEQUENCE):
        yield Violation("chain", "only the first commit has no previous one")
    if commit.entries != sum(file.entries for file in commit.files):
        yield Violation("totals", "entries is not the sum of its files")
    for problem in filter(None, (_file_problem(commit, file) for file in commit.files)):
        yield Violation("chain", problem)
    paths = [file.path for file in commit.files]
    if paths != sorted(set(paths)) or list(commit.removed) != sorted(set(commit.removed)):
        yield Violation("chain", "its files are not sorted, or one is named twice")
    if len({file.day for file in commit.files}) != len(commit.files):
        yield Violation("chain", "it has two files for one day")
    if not _matches_kind(commit):
        yield Violation("chain", f"its fields do not match its kind, {commit.kind}")
    yield from _check_times(commit)


def _file_problem(commit: Commit, file: DataFile) -> Optional[str]:
    name = parse_data_file_name(file.path)
    if name is None or name.sequence != commit.sequence:
        return "it names a data file of another sequence"
    if not file.entries or not file.bytes or not file.content_bytes:
        return f"{file.path} is empty"
    if (file.first is None) != (file.last is None) or (file.first is None) != (name.day == UNDATED_DAY):
        return f"{file.path} has times although its day is unknown, or no times"
    if (
        file.first
        and file.last
        and not (file.first <= file.last and file.first.date() == file.last.date() and utc_day(file.first) == name.day)
    ):
        return f"{file.path} has times that are not on its day"
    return None


def _matches_kind(commit: Commit) -> bool:
    if commit.kind in READING_KINDS:
        return (
            commit.pages > 0
            and not commit.removed
            and not any(file.parts for file in commit.files)
            and (commit.kind != "heartbeat" or not commit.files)
            and (commit.kind != "entries" or bool(commit.files))
            and (commit.kind == "resync") == (commit.resync is not None)
        )
    return (
        not commit.pages
        and not commit.gaps
        and commit.resync is None
        and bool(commit.removed)
        and len(commit.files) == (1 if commit.kind == "compact" else 0)
    )


def _check_times(commit: Commit) -> Iterator[Violation]:
    if commit.server_date > commit.committed_at:
        yield Violation("coverage", "it was created before its last page arrived")
    if commit.asked > commit.server_date + 2 * MAX_SKEW:
        yield Violation("coverage", "its run started after its last page arrived")
    if abs(commit.clock_skew_seconds) > MAX_SKEW.total_seconds():
        yield Violation("coverage", "the clocks of the server and the host differ by more than 30 minutes")
    if not commit.covered_from <= commit.covered_until <= commit.server_date - VISIBILITY_DELAY:
        yield Violation("coverage", "its covered time range ends before it starts, or after it was read")


def _check_first(commit: Commit) -> Iterator[Violation]:
    """The rules for the first commit."""
    if commit.kind not in ("entries", "heartbeat"):
        yield Violation("chain", f"the first commit cannot be of kind {commit.kind}")
    if commit.gaps or commit.total_gaps:
        yield Violation("coverage", "the first commit cannot have a gap")
    if commit.covered_from < commit.asked - RETENTION:
        yield Violation("coverage", "it covers time that the provider had already deleted")
    if commit.pruned_until is not None:
        yield Violation("chain", "the first commit cannot have pruned_until")
    if commit.newest != newest_covered(None, commit.files, commit.covered_until):
        yield Violation("totals", "newest does not match its files")
    if commit.server_date - commit.asked > MAX_COMMIT_DELAY:
        yield Violation("coverage", "it was created more than a day after its run started")


def _check_successor(before: Commit, commit: Commit) -> Iterator[Violation]:
    if commit.archive_id != before.archive_id:
        yield Violation("chain", "it belongs to another archive")
    if before.signer is not None and commit.signer is None:
        yield Violation("chain", "it has no signer, unlike the previous commit")
    if commit.covered_from != before.covered_from:
        yield Violation("coverage", "covered_from differs from that of the previous commit")
    if commit.total_gaps != before.total_gaps + len(commit.gaps):
        yield Violation("totals", "total_gaps is not the number of gaps recorded so far")
    if commit.cursor_before != before.cursor_after:
        yield Violation("cursor", "cursor_before differs from cursor_after of the previous commit")
    if commit.kind in READING_KINDS:
        yield from _check_reading(before, commit)
    else:
        yield from _check_maintenance(before, commit)


def _check_reading(before: Commit, commit: Commit) -> Iterator[Violation]:
    if commit.covered_until < before.covered_until or commit.server_date < before.server_date:
        yield Violation("coverage", "covered_until or server_date is earlier than in the previous commit")
    if commit.pruned_until != before.pruned_until:
        yield Violation("chain", "it changes pruned_until")
    if commit.newest != newest_covered(before, commit.files, commit.covered_until):
        yield Violation("totals", "newest does not match the files so far")
    yield from _check_asked(before, commit)
    yield from _check_gaps(before, commit)


def _check_asked(before: Commit, commit: Commit) -> Iterator[Violation]:
    if commit.run == before.run:
        if commit.asked != before.asked:
            yield Violation("coverage", "asked differs within one run")
        since = max(commit.asked, before.server_date)
    else:
        if commit.asked < before.server_date - MAX_SKEW:
            yield Violation("coverage", "its run started before the previous commit was created")
        since = commit.asked
    if commit.server_date - since > MAX_COMMIT_DELAY:
        yield Violation("coverage", "it was created more than a day after its run started")


def _check_gaps(before: Commit, commit: Commit) -> Iterator[Violation]:
    whys = [gap.why for gap in commit.gaps]
    if whys != sorted(set(whys), reverse=True) or not set(whys) <= {RETENTION_GAP, NO_OVERLAP}:
        yield Violation("coverage", "it has a gap with an unknown reason, or two with the same reason")
    if any(not before.covered_until <= gap.start <= gap.end <= commit.covered_until for gap in commit.gaps):
        yield Violation("coverage", "a gap ends before it starts, or is outside of the time range that was read")
    oldest = commit.asked - RETENTION
    gap = next((gap for gap in commit.gaps if gap.why == RETENTION_GAP), None)
    if gap is None:
        if oldest > before.covered_until:
            yield Violation("coverage", "the provider might have deleted entries, but no gap records it")
    elif gap.start != before.covered_until or not oldest <= gap.end <= oldest + RETENTION_MARGIN:
        yield Violation("coverage", "its gap does not match the provider retention")
    if NO_OVERLAP in whys and (commit.resync is None or commit.resync.overlap):
        yield Violation("coverage", "it has a gap for a missing overlap, but is not a resync or has an overlap")


def _check_resync(before: Commit, commit: Commit) -> Iterator[Violation]:
    resync = commit.resync
    if resync is None:
        return
    if resync.why not in RESYNC_REASONS:
        yield Violation("cursor", "its resync has an unknown reason")
    if resync.start != resync_start(before):
        yield Violation("cursor", "its resync starts at the wrong time")
    if resync.renamed > resync.overlap:
        yield Violation("totals", "more entries were renamed than found again")
    if resync.accepted_identity and (resync.why not in IDENTITY_REASONS or resync.overlap):
        yield Violation("identity", "accepted_identity is set, but there is no change of identity to accept")
    if resync.overlap or resync.accepted_identity:
        return
    if resync.why in IDENTITY_REASONS:
        if before.newest is not None:
            yield Violation("identity", "its resync finds no overlap, and the change of identity was not accepted")
    elif not commit.gaps and is_overlap_expected(before, commit.asked):
        yield Violation("cursor", "its resync has neither an overlap nor a gap")


def _check_maintenance(before: Commit, commit: Commit) -> Iterator[Violation]:
    unchanged: Tuple[Callable[[Commit], object], ...] = (
        lambda commit: commit.cursor_after,
        lambda commit: (commit.asked, commit.server_date, commit.covered_until, commit.clock_skew_seconds),
        lambda commit: (commit.api, commit.token_tag, commit.project),
        lambda commit: commit.newest,
    )
    if any(value(before) != value(commit) for value in unchanged):
        yield Violation(
            "chain", f"a commit of kind {commit.kind} changes fields that only a commit that reads the API can change"
        )
    edge, old = commit.pruned_until, before.pruned_until
    if commit.kind == "compact":
        if edge != old:
            yield Violation("chain", "it changes pruned_until")
    elif edge is None or edge != _midnight(edge) or edge > commit.covered_until or (old is not None and edge < old):
        yield Violation(
            "removal", "pruned_until is not a midnight in the covered time range, or is earlier than before"
        )


def _check_compact(commit: Commit, merged: List[DataFile]) -> Iterator[Violation]:
    if len(commit.files) != 1 or len(merged) != len(commit.removed):
        return  # other rules report this
    (file,) = commit.files
    day = file.day
    if any(part.day != day for part in merged) or day == UNDATED_DAY:
        yield Violation("removal", "it merges files of several days, or of an unknown day")
    elif _end_of(day) > commit.covered_until:
        yield Violation("removal", "it merges files of a day that has not ended")
    expected = [(part.path, part.content_sha256, part.content_bytes, part.entries) for part in merged]
    if [tuple(part) for part in file.parts] != expected:
        yield Violation("removal", f"{file.path} does not consist of exactly the files that it replaces")
    sums = (sum(part.entries for part in merged), sum(part.content_bytes for part in merged))
    if (file.entries, file.content_bytes) != sums:
        yield Violation("totals", f"{pluralize(sums[0], 'entry was', 'entries were')} merged into {file.entries}")
    first = min((part.first for part in merged if part.first), default=None)
    last = max((part.last for part in merged if part.last), default=None)
    if (file.first, file.last) != (first, last):
        yield Violation("totals", f"the times of {file.path} differ from those of the files that it replaces")


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.astimezone(timezone.utc).date(), time(), timezone.utc)


def _end_of(day: str) -> datetime:
    try:
        return datetime.fromisoformat(f"{day}T00:00:00+00:00") + _ONE_DAY
    except (ValueError, OverflowError):
        return datetime.max.replace(tzinfo=timezone.utc)
