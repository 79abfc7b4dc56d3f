# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a commit may say, given the ones before it. Everybody who believes a commit asks this file.

Hashes show that commits were not changed after the next one was made. They do not show that a commit which somebody
appended is one that a collector could have made; these rules do.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, time, timedelta, timezone
from typing import Callable, Deque, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ...counts import pluralize
from ...times import RETENTION
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
"""How far before the newest archived entry a resync begins to read again."""

IDENTITY_HISTORY = 100
"""A token or API that one of so many commits before had is no change of identity."""

MAX_COMMIT_DELAY = timedelta(days=1)
"""How long after its first page, or its last commit, a run may make a commit."""

RETENTION_GAP, NO_OVERLAP = "retention", "no overlap"
RESYNC_REASONS = ("cursor", "restart", "token", "api")
IDENTITY_REASONS = ("token", "api")

_ONE_DAY = timedelta(days=1)


class Violation(NamedTuple):
    """A rule that a commit breaks: the type of finding, and what is wrong, as a phrase without a full stop."""

    type: str
    detail: str


class ChainState:
    """What the commits so far add up to. Each next commit is checked against it and then applied.

    It begins before the first commit. ``is_complete`` is False once a commit was skipped; what then depends on all
    commits before is not checked any more. ``live`` are the data files that the commits added and did not remove,
    ``removed`` those that they did.
    """

    def __init__(self) -> None:
        self.commit: Optional[Commit] = None
        self.live: Dict[str, DataFile] = {}
        self.removed: Dict[str, DataFile] = {}
        self.merged: Dict[str, DataFile] = {}
        self.is_complete = True
        self._undated: Dict[str, datetime] = {}
        self._identities: Deque[Tuple[str, str]] = deque(maxlen=IDENTITY_HISTORY)

    @classmethod
    def after(cls, commit: Commit) -> ChainState:
        """A replay that begins after a commit which is trusted; what the commits before it add up to is not known."""
        made = cls()
        made.skip()
        made.commit = commit
        return made

    def skip(self) -> None:
        """Go on after a commit that is missing or unreadable."""
        self.commit = None
        self.is_complete = False

    def violations(self, commit: Commit) -> Iterator[Violation]:
        """The rules that a commit breaks which follows the one applied last."""
        yield from _by_itself(commit)
        if self.commit is not None:
            if commit.sequence != self.commit.sequence + 1:
                yield Violation("chain", "it does not follow the commit before it")
            yield from _follows(self.commit, commit)
            yield from self._identity(self.commit, commit)
            yield from _resync(self.commit, commit)
        elif commit.sequence == FIRST_SEQUENCE:
            yield from _begins(commit)
        gone = [self.live[path] for path in commit.removed if path in self.live]
        if self.is_complete:
            yield from self._removal(commit, gone)
        if self.is_complete or (self.commit is not None and not commit.removed):
            yield from self._totals(commit, gone)

    def apply(self, commit: Commit) -> None:
        """Carry the state over a commit."""
        for path in commit.removed:
            gone = self.live.pop(path, None)
            if gone is not None:
                self.removed[path] = gone
            self._undated.pop(path, None)
        for file in commit.files:
            self.live[file.path] = file
            if file.parts:
                self.merged[file.path] = file
            if _day(file) == UNDATED_DAY:
                self._undated[file.path] = commit.covered_until
        self._identities.append((commit.api, commit.token_tag))
        self.commit = commit

    def _identity(self, before: Commit, commit: Commit) -> Iterator[Violation]:
        if before.project.uuid not in (None, commit.project.uuid):
            yield Violation("identity", "it is of another project")
        why = commit.resync.why if commit.resync else ""
        if self.is_complete or len(self._identities) == IDENTITY_HISTORY:
            known_api, known_tag = self._is_known(commit.api, commit.token_tag)
            if why in IDENTITY_REASONS:
                if known_api and known_tag:
                    yield Violation("identity", "it joins the log again for another token or API, which are known")
            elif not (known_api and known_tag):
                yield Violation("identity", "API or token changed without the log being joined again")

    def _is_known(self, api: str, tag: str) -> Tuple[bool, bool]:
        """Whether one of the last commits had this API, and whether one had this token."""
        if self._identities and self._identities[-1] == (api, tag):
            return True, True
        apis, tags = zip(*self._identities) if self._identities else ((), ())
        return api in apis, tag in tags

    def _removal(self, commit: Commit, gone: List[DataFile]) -> Iterator[Violation]:
        for path in commit.removed:
            if path not in self.live:
                yield Violation("removal", f"it removes {path}, which was not live")
        if commit.kind == "compact":
            yield from _compact(commit, gone)
        elif commit.kind == "prune" and commit.pruned_until is not None:
            wanted = [path for path in sorted(self.live) if self._is_before(path, commit.pruned_until)]
            if list(commit.removed) != wanted:
                yield Violation("removal", "it does not remove exactly the files before its edge")

    def _is_before(self, path: str, edge: datetime) -> bool:
        return is_pruned_by(self.live[path], edge, self._undated.get(path))

    def _totals(self, commit: Commit, gone: List[DataFile]) -> Iterator[Violation]:
        total = (self.commit.total_entries if self.commit else 0) + commit.entries - sum(file.entries for file in gone)
        if commit.total_entries != total:
            yield Violation("totals", f"total_entries is {commit.total_entries}, but the files add up to {total}")

    @property
    def undated(self) -> Dict[str, datetime]:
        """Until when the log was covered by the commit that added a file without readable timestamps, by path."""
        return self._undated


def is_pruned_by(file: DataFile, edge: datetime, collected: Optional[datetime]) -> bool:
    """Whether a prune with this edge removes a file; ``collected``: the coverage of the commit that added it."""
    day = _day(file)
    if day == UNDATED_DAY:
        return collected is not None and collected < edge
    return day < utc_day(edge)


def is_overlap_expected(before: Commit, asked: datetime) -> bool:
    """Whether the provider must still have an entry that the archive has after this commit."""
    oldest = asked - RETENTION + RETENTION_MARGIN
    if before.pruned_until is not None:
        oldest = max(oldest, before.pruned_until)
    return before.newest is not None and before.newest >= oldest


def resync_start(before: Commit) -> datetime:
    """From when on a resync after this commit reads again."""
    return (before.newest or before.covered_until) - RESYNC_LOOKBACK


def newest_covered(before: Optional[Commit], files: Tuple[DataFile, ...], covered: datetime) -> Optional[datetime]:
    """The newest timestamp in what is covered after a commit with these files; a later one proves nothing."""
    found = [min(file.last, covered) for file in files if file.first and file.last and file.first <= covered]
    if before is not None and before.newest is not None:
        found.append(before.newest)
    return max(found, default=None)


def _by_itself(commit: Commit) -> Iterator[Violation]:
    if (commit.previous is None) != (commit.sequence == FIRST_SEQUENCE):
        yield Violation("chain", "only the first commit has none before it")
    if commit.entries != sum(file.entries for file in commit.files):
        yield Violation("totals", "entries is not the sum over its files")
    for broken in filter(None, (_broken_file(commit, file) for file in commit.files)):
        yield Violation("chain", broken)
    paths = [file.path for file in commit.files]
    if paths != sorted(set(paths)) or list(commit.removed) != sorted(set(commit.removed)):
        yield Violation("chain", "its files are not in order, or named twice")
    if len({_day(file) for file in commit.files}) != len(commit.files):
        yield Violation("chain", "it has two files of one day")
    if not _fits_kind(commit):
        yield Violation("chain", f"it has parts that a commit of kind {commit.kind} cannot have")
    yield from _times(commit)


def _broken_file(commit: Commit, file: DataFile) -> Optional[str]:
    name = parse_data_file_name(file.path)
    if name is None or name.sequence != commit.sequence:
        return "it names data files of another sequence"
    if not file.entries or not file.bytes or not file.content_bytes:
        return f"{file.path} is empty"
    if (file.first is None) != (file.last is None) or (file.first is None) != (name.day == UNDATED_DAY):
        return f"{file.path} has times that its day does not have"
    if (
        file.first
        and file.last
        and not (file.first <= file.last and file.first.date() == file.last.date() and utc_day(file.first) == name.day)
    ):
        return f"{file.path} has times of another day"
    return None


def _fits_kind(commit: Commit) -> bool:
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
        and len(commit.files) == (commit.kind == "compact")
    )


def _times(commit: Commit) -> Iterator[Violation]:
    if commit.server_date > commit.committed_at:
        yield Violation("coverage", "it was made before the last page that it rests on")
    if commit.asked > commit.server_date + 2 * MAX_SKEW:
        yield Violation("coverage", "its run began after its end")
    if abs(commit.clock_skew_seconds) > MAX_SKEW.total_seconds():
        yield Violation("coverage", "the clocks of the server and the host differ by more than 30 minutes")
    if not commit.covered_from <= commit.covered_until <= commit.server_date - VISIBILITY_DELAY:
        yield Violation("coverage", "it covers a range that ends before it begins, or after it was read")


def _begins(commit: Commit) -> Iterator[Violation]:
    """What holds for a first commit."""
    if commit.kind not in ("entries", "heartbeat"):
        yield Violation("chain", f"an archive cannot begin with a commit of kind {commit.kind}")
    if commit.gaps or commit.total_gaps:
        yield Violation("coverage", "a first commit has a gap")
    if commit.covered_from < commit.asked - RETENTION:
        yield Violation("coverage", "it covers what the provider had deleted before")
    if commit.pruned_until is not None:
        yield Violation("chain", "a first commit was pruned")
    if commit.newest != newest_covered(None, commit.files, commit.covered_until):
        yield Violation("totals", "newest is not that of its files")
    if commit.server_date - commit.asked > MAX_COMMIT_DELAY:
        yield Violation("coverage", "it was made more than a day after its run began")


def _follows(before: Commit, commit: Commit) -> Iterator[Violation]:
    if commit.archive_id != before.archive_id:
        yield Violation("chain", "it belongs to another archive")
    if before.signer is not None and commit.signer is None:
        yield Violation("chain", "it is not signed, as the commit before it is")
    if commit.covered_from != before.covered_from:
        yield Violation("coverage", "it says another beginning of what is covered")
    if commit.total_gaps != before.total_gaps + len(commit.gaps):
        yield Violation("totals", "total_gaps does not follow")
    if commit.cursor_before != before.cursor_after:
        yield Violation("cursor", "its cursor does not continue where the commit before it ended")
    if commit.kind in READING_KINDS:
        yield from _reads_on(before, commit)
    else:
        yield from _rearranges(before, commit)


def _reads_on(before: Commit, commit: Commit) -> Iterator[Violation]:
    if commit.covered_until < before.covered_until or commit.server_date < before.server_date:
        yield Violation("coverage", "what it covers, or the server's date, goes back")
    if commit.pruned_until != before.pruned_until:
        yield Violation("chain", "it changes the edge of the last prune")
    if commit.newest != newest_covered(before, commit.files, commit.covered_until):
        yield Violation("totals", "newest is not that of the files so far")
    yield from _asked(before, commit)
    yield from _gaps(before, commit)


def _asked(before: Commit, commit: Commit) -> Iterator[Violation]:
    if commit.run == before.run:
        if commit.asked != before.asked:
            yield Violation("coverage", "its run asked for its first page at two times")
        since = max(commit.asked, before.server_date)
    else:
        if commit.asked < before.server_date - MAX_SKEW:
            yield Violation("coverage", "its run began before the commit that it rests on")
        since = commit.asked
    if commit.server_date - since > MAX_COMMIT_DELAY:
        yield Violation("coverage", "it was made more than a day after its run began")


def _gaps(before: Commit, commit: Commit) -> Iterator[Violation]:
    whys = [gap.why for gap in commit.gaps]
    if whys != sorted(set(whys), reverse=True) or not set(whys) <= {RETENTION_GAP, NO_OVERLAP}:
        yield Violation("coverage", "it has gaps of other reasons than there are, or twice")
    if any(not before.covered_until <= gap.start <= gap.end <= commit.covered_until for gap in commit.gaps):
        yield Violation("coverage", "a gap ends before it begins, or lies outside of what was read")
    oldest = commit.asked - RETENTION
    gap = next((gap for gap in commit.gaps if gap.why == RETENTION_GAP), None)
    if gap is None:
        if oldest > before.covered_until:
            yield Violation("coverage", "the provider had deleted entries before, and no gap says so")
    elif gap.start != before.covered_until or not oldest <= gap.end <= oldest + RETENTION_MARGIN:
        yield Violation("coverage", "its gap is not that of the provider's retention")
    if NO_OVERLAP in whys and (commit.resync is None or commit.resync.overlap):
        yield Violation("coverage", "it has a gap for want of an overlap, and none was wanted or there is one")


def _resync(before: Commit, commit: Commit) -> Iterator[Violation]:
    told = commit.resync
    if told is None:
        return
    if told.why not in RESYNC_REASONS:
        yield Violation("cursor", "it joins the log again for no known reason")
    if told.start != resync_start(before):
        yield Violation("cursor", "it joins the log again from another time than it has to")
    if told.renamed > told.overlap:
        yield Violation("totals", "more entries were renamed than found again")
    if told.accepted_identity and (told.why not in IDENTITY_REASONS or told.overlap):
        yield Violation("identity", "it accepts an identity that needs no acceptance")
    if told.overlap or told.accepted_identity:
        return
    if told.why in IDENTITY_REASONS:
        if before.newest is not None:
            yield Violation("identity", "it joins another log, which neither overlaps nor was accepted")
    elif not commit.gaps and is_overlap_expected(before, commit.asked):
        yield Violation("cursor", "it joins the log again without an overlap and without a gap")


def _rearranges(before: Commit, commit: Commit) -> Iterator[Violation]:
    kept: Tuple[Callable[[Commit], object], ...] = (
        lambda one: one.cursor_after,
        lambda one: (one.asked, one.server_date, one.covered_until, one.clock_skew_seconds),
        lambda one: (one.api, one.token_tag, one.project),
        lambda one: one.newest,
    )
    if any(value(before) != value(commit) for value in kept):
        yield Violation("chain", f"a commit of kind {commit.kind} changes what only reading changes")
    edge, old = commit.pruned_until, before.pruned_until
    if commit.kind == "compact":
        if edge != old:
            yield Violation("chain", "it changes the edge of the last prune")
    elif edge is None or edge != _midnight(edge) or edge > commit.covered_until or (old is not None and edge < old):
        yield Violation("removal", "its edge is no midnight in what is covered, or goes back")


def _compact(commit: Commit, gone: List[DataFile]) -> Iterator[Violation]:
    if len(commit.files) != 1 or len(gone) != len(commit.removed):
        return  # told already
    (file,) = commit.files
    day = _day(file)
    if any(_day(one) != day for one in gone) or day == UNDATED_DAY:
        yield Violation("removal", "it merges files of several days, or of none")
    elif _end_of(day) > commit.covered_until:
        yield Violation("removal", "it merges files of a day that was not over")
    wanted = [(one.path, one.content_sha256, one.content_bytes, one.entries) for one in gone]
    if [tuple(part) for part in file.parts] != wanted:
        yield Violation("removal", f"{file.path} does not hold exactly the files that it replaces")
    sums = (sum(one.entries for one in gone), sum(one.content_bytes for one in gone))
    if (file.entries, file.content_bytes) != sums:
        yield Violation("totals", f"{pluralize(sums[0], 'entry was', 'entries were')} merged into {file.entries}")
    first = min((one.first for one in gone if one.first), default=None)
    last = max((one.last for one in gone if one.last), default=None)
    if (file.first, file.last) != (first, last):
        yield Violation("totals", f"{file.path} has other times than the files that it replaces")


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.astimezone(timezone.utc).date(), time(), timezone.utc)


def _end_of(day: str) -> datetime:
    try:
        return datetime.fromisoformat(f"{day}T00:00:00+00:00") + _ONE_DAY
    except (ValueError, OverflowError):
        return datetime.max.replace(tzinfo=timezone.utc)


def _day(file: DataFile) -> str:
    name = parse_data_file_name(file.path)
    return name.day if name else UNDATED_DAY
