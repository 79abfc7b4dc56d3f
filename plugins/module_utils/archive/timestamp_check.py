# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies time stamps: by when each stamped head existed; time stamps without a commit are reported."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from ..errors import StorageError
from ..times import format_time
from .chain.coverage import MAX_SKEW
from .chain.timestamp import (
    Authorities,
    InvalidTimestamp,
    TimestampFile,
    TimestampToken,
    parse_timestamp_name,
    read_timestamp_file,
    read_token,
)
from .finding import Finding
from .format.commit import Head
from .storage.store import Store

_MAX_PARALLEL = 4
_MAX_UNMATCHED = 100


class DatedCommit(NamedTuple):
    """A commit and its server date."""

    head: Head
    server_date: datetime


class StampedHead(NamedTuple):
    """A head with a time stamp, and the time by which it existed."""

    head: Head
    time: datetime

    def to_json(self) -> Dict[str, Any]:
        return {**self.head._asdict(), "existed_by": format_time(self.time)}


class LongestWait(NamedTuple):
    """The commit that waited longest for a time stamp of itself or of a later commit, and both times."""

    sequence: int
    server_date: datetime
    time: datetime

    @property
    def seconds(self) -> int:
        return max(0, int((self.time - self.server_date).total_seconds()))

    def to_json(self) -> Dict[str, Any]:
        times = {"server_date": format_time(self.server_date), "existed_by": format_time(self.time)}
        return {"sequence": self.sequence, **times, "seconds": self.seconds}


class Timestamps(NamedTuple):
    """The good time stamps of an archive, the oldest commit first.

    ``longest_wait`` is None without any. ``unstamped`` is the number of commits after the newest stamped one.
    """

    heads: Sequence[StampedHead]
    longest_wait: Optional[LongestWait]
    unstamped: int

    def to_json(self) -> Dict[str, Any]:
        """Return plain values."""
        return {
            "heads": [one.to_json() for one in self.heads],
            "longest_wait": self.longest_wait.to_json() if self.longest_wait else None,
            "unstamped": self.unstamped,
        }


class TimestampCheck:
    """The time stamps of one archive, as listed before its head was read.

    With ``authorities``, only their time stamps are valid. Without them, only the names are checked. ``result`` is None
    before the check, and without authorities.
    """

    def __init__(self, store: Store, listed: Sequence[str], authorities: Optional[Authorities]) -> None:
        self._store = store
        self._listed = listed
        self._authorities = authorities
        self.result: Optional[Timestamps] = None

    def findings(self, commits: Sequence[DatedCommit]) -> Iterator[Finding]:
        """Check all time stamps; ``commits`` are all commits that can be read, in order."""
        by_sequence = {one.head.sequence: one for one in commits}
        own: List[Tuple[DatedCommit, str]] = []
        unmatched: List[TimestampFile] = []
        for name in self._listed:
            named = parse_timestamp_name(name)
            commit = by_sequence.get(named.sequence) if named else None
            if named is None:
                yield Finding("timestamp_extra", name, "its name is not that of a time stamp")
            elif commit is not None and named.is_of(commit.head):
                own.append((commit, name))
            else:
                unmatched.append(named)
        if self._authorities is None:
            if unmatched:
                count = f"; {len(unmatched)} such files in all" if len(unmatched) > 1 else ""
                yield Finding("timestamp_extra", unmatched[0].name, f"it is of no commit of this archive{count}")
            return
        yield from self._check_own(self._authorities, own, commits)
        yield from self._check_unmatched(self._authorities, unmatched, commits[-1].head.sequence if commits else 0)

    def _check_own(
        self, authorities: Authorities, own: Sequence[Tuple[DatedCommit, str]], commits: Sequence[DatedCommit]
    ) -> Iterator[Finding]:
        good: List[StampedHead] = []
        with ThreadPoolExecutor(_MAX_PARALLEL) as pool:
            read = pool.map(lambda one: self._read(authorities, one[1]), own)
            for (commit, name), found in zip(own, read):
                damage = found if isinstance(found, str) else _contradiction(commit, found)
                if damage is None and isinstance(found, TimestampToken):
                    good.append(StampedHead(commit.head, found.time))
                else:
                    yield Finding("timestamp_bad", name, damage or "it cannot be read")
        if not self._listed:
            yield Finding("timestamp_absent", "timestamps", "no commit has a time stamp")
        stamped = max((one.head.sequence for one in good), default=0)
        unstamped = sum(one.head.sequence > stamped for one in commits)
        self.result = Timestamps(good, _longest_wait(good, commits), unstamped)

    def _read(self, authorities: Authorities, name: str) -> Union[str, TimestampToken]:
        """Return the token of a time stamp, or the reason why it is not a good time stamp."""
        try:
            body = read_timestamp_file(self._store, name)
            token = read_token(body)
        except StorageError as exc:
            return exc.message
        except InvalidTimestamp as exc:
            return str(exc)
        return authorities.find_problem(body, token) or token

    def _check_unmatched(
        self, authorities: Authorities, unmatched: List[TimestampFile], head: int
    ) -> Iterator[Finding]:
        """Check time stamps of commits that the archive does not have. A good one shows that it had that commit."""
        # First those that would show a rewritten commit or a cut, so that nobody can hide them behind many others.
        unmatched.sort(key=lambda one: one.sequence == head + 1)
        for one in unmatched[:_MAX_UNMATCHED]:
            found = self._read(authorities, one.name)
            if isinstance(found, str) or not found.sha256.startswith(one.digits):
                yield Finding("timestamp_extra", one.name, "it is not a time stamp of an authority")
            elif one.sequence > head + 1:
                detail = f"commit {one.sequence} existed by {format_time(found.time)}, so commits after {head} were cut"
                yield Finding("timestamp_lost", one.name, f"{detail} off")
            elif one.sequence <= head:
                detail = f"commit {one.sequence} was another one at {format_time(found.time)}: {found.sha256}"
                yield Finding("timestamp_lost", one.name, detail)
        more = len(unmatched) - _MAX_UNMATCHED
        if more > 0:
            yield Finding("timestamp_lost", "timestamps", f"and {more} more without a commit: too many to check")


def _contradiction(commit: DatedCommit, token: TimestampToken) -> Optional[str]:
    if token.sha256 != commit.head.sha256:
        return "it is of other bytes than the commit"
    if token.time < commit.server_date - MAX_SKEW:
        dates = f"{format_time(token.time)}, and the commit was made at {format_time(commit.server_date)}"
        return f"it was made at {dates}: one of these dates is wrong"
    return None


def _longest_wait(good: Sequence[StampedHead], commits: Sequence[DatedCommit]) -> Optional[LongestWait]:
    """Return the longest time that a commit waited for a time stamp, up to the newest stamped commit."""
    longest: Optional[LongestWait] = None
    # A time stamp covers all commits before it, so the earliest later time stamp applies.
    earliest: Optional[datetime] = None
    times = {one.head.sequence: one.time for one in good}
    for commit in reversed(commits):
        stamped = times.get(commit.head.sequence)
        earliest = min(filter(None, (stamped, earliest)), default=None)
        if earliest is None:
            continue
        wait = LongestWait(commit.head.sequence, commit.server_date, earliest)
        if longest is None or wait.seconds > longest.seconds:
            longest = wait
    return longest
