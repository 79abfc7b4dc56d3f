# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Model of the claims that an honest archive can make, given the log and all clocks.

It imports nothing from the collection and reads the archive's files itself. After each step it returns the false
claims: an entry that is duplicated, invented, lost or returned, coverage without a read, a missing or unexplained gap.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Set, Tuple
from typing import Counter as CounterOf

RETENTION = timedelta(days=90)
RETENTION_MARGIN = timedelta(minutes=10)
VISIBILITY_DELAY = timedelta(seconds=10)
FOUND_AGAIN = timedelta(days=1)
READING = ("entries", "heartbeat", "resync")


class Clocks(NamedTuple):
    """The true time of a step, and the times of the server's and the host's clock; one of the two is right."""

    true: datetime
    server: datetime
    host: datetime

    @property
    def asked(self) -> datetime:
        return max(self.server, self.host)


@dataclass
class Visible:
    """An entry that became visible. ``late``: it is older than the coverage, or than an entry that was visible before.

    ``unlucky``: it was not read before the log was read by time.
    """

    line: bytes
    moment: datetime
    since: datetime
    late: bool
    unlucky: bool = False


@dataclass
class Claims:
    """The content of an archive's files."""

    commits: List[Any] = field(default_factory=list)
    lines: CounterOf[bytes] = field(default_factory=Counter)

    @classmethod
    def of(cls, path: Path) -> Claims:
        commits = [json.loads(name.read_bytes()) for name in sorted(path.glob("commits/*.json"))]
        removed = {name for commit in commits for name in commit["removed"]}
        named = [file["path"] for commit in commits for file in commit["files"]]
        lines: CounterOf[bytes] = Counter()
        for name in named:
            if name not in removed:
                lines.update(gzip.decompress((path / name).read_bytes()).splitlines())
        return cls(commits, lines)

    def time(self, key: str) -> Optional[datetime]:
        """Return a time of the newest commit."""
        return read_time(self.commits[-1][key]) if self.commits and key in self.commits[-1] else None

    @property
    def is_read_again(self) -> bool:
        """Whether archived entries can follow the cursor: since a resync, no run has read past its time."""
        covered = self.time("covered_until")
        resyncs = (commit for commit in self.commits if is_read_by_time(commit))
        return any(covered is not None and read_time(commit["server_date"]) >= covered for commit in resyncs)

    def is_in_gap(self, moment: datetime) -> bool:
        gaps = (gap for commit in self.commits for gap in commit["gaps"])
        return any(read_time(gap["from"]) <= moment < read_time(gap["to"]) for gap in gaps)


def read_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def line_of(entry: Any) -> bytes:
    """Return the canonical form of an entry without unusual numbers."""
    return json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


class Model:
    """The visible log, and the claims of the archive so far."""

    def __init__(self) -> None:
        self.claims = Claims()
        self._seen: List[Visible] = []
        self._read = 0
        self._pruned: Set[bytes] = set()

    def show(self, entry: Any, now: datetime) -> None:
        """Add an entry that became visible."""
        moment = read_time(entry["timestamp"])
        newest = max((one.moment for one in self._seen), default=moment)
        covered = self.claims.time("covered_until") or moment
        self._seen.append(Visible(line_of(entry), moment, now, moment < max(newest, covered)))

    def was_archived(self, entry: Any) -> bool:
        """Return whether the archive has an entry, or had it before a prune."""
        line = line_of(entry)
        return self.claims.lines[line] > 0 or line in self._pruned

    def false_claims(self, path: Path, clocks: Clocks, whys: Set[str], is_complete: bool) -> List[str]:
        """Return false claims after a step that can resync for these reasons; ``is_complete``: it read all of it."""
        before, now = self.claims, Claims.of(path)
        self.claims = now
        false = [*self._false_chain(before, now, clocks, whys)]
        new = now.commits[len(before.commits) :]
        if any(is_read_by_time(commit) for commit in new):
            archived = Counter(before.lines)
            for one in self._seen:
                one.unlucky = one.unlucky or archived[one.line] <= 0
                archived[one.line] -= 1
        if any(commit["kind"] in READING for commit in new):
            self._read = len(self._seen)
        return false + self._false_lines(before, now) + self._lost(now, clocks, is_complete)

    def _false_chain(self, before: Claims, now: Claims, clocks: Clocks, whys: Set[str]) -> List[str]:
        """Check the coverage, the gaps, and the reasons of a resync in the new commits."""
        if now.commits[: len(before.commits)] != before.commits:
            return ["a commit changed"]
        false = []
        for number in range(len(before.commits), len(now.commits)):
            commit = now.commits[number]
            previous = now.commits[number - 1] if number else None
            if read_time(commit["covered_until"]) > clocks.true - VISIBILITY_DELAY:
                false.append(f"{number + 1} covers what was not read")
            if previous and read_time(commit["covered_until"]) < read_time(previous["covered_until"]):
                false.append(f"{number + 1} covers less than before")
            if previous and commit["covered_from"] != previous["covered_from"]:
                false.append(f"{number + 1} covers another beginning")
            if not previous and read_time(commit["covered_from"]) < clocks.asked - RETENTION:
                false.append("1 covers what the provider had deleted")
            if gaps_of(commit) != expected_gaps(commit, previous, clocks):
                false.append(f"{number + 1} has gaps {gaps_of(commit)}")
            if commit["kind"] == "resync" and commit["resync"]["why"] not in whys:
                false.append(f"{number + 1} joins the log again without a reason")
        return false

    def _false_lines(self, before: Claims, now: Claims) -> List[str]:
        """Return entries that are duplicated, invented, lost, or back after a prune."""
        edge = now.time("pruned_until")
        moments = {one.line: one.moment for one in self._seen}
        shown = Counter(one.line for one in self._seen)
        false = [f"doubled or invented: {line!r}" for line in now.lines - shown]
        for line in before.lines - now.lines:
            if edge is None or moments[line] >= edge:
                false.append(f"vanished: {line!r}")
            self._pruned.add(line)
        return false + [f"returned: {line!r}" for line in self._pruned if now.lines[line]]

    def _lost(self, now: Claims, clocks: Clocks, is_complete: bool) -> List[str]:
        """Return missing entries, given the claims; after a complete run, given all visible entries."""
        if not now.commits:
            return []
        seen = self._seen if is_complete else self._seen[: self._read]
        held = Counter(now.lines)
        lost = []
        for one in seen:
            if held[one.line]:
                held[one.line] -= 1
            elif not self._is_excused(one, now, clocks, is_complete):
                lost.append(f"lost: {one.line!r}")
        return lost

    def _is_excused(self, one: Visible, now: Claims, clocks: Clocks, is_complete: bool) -> bool:
        edge = now.time("pruned_until")
        if edge is not None and one.moment < edge:
            return True
        if one.late and one.unlucky and one.since - one.moment > FOUND_AGAIN:
            return True  # outside the claim: reconcile finds it
        if now.is_in_gap(one.moment) and one.moment < clocks.server - RETENTION:
            return True
        covered_from, covered_until = now.time("covered_from"), now.time("covered_until")
        if one.moment < clocks.server - RETENTION and (one.late or one.moment < (covered_from or one.moment)):
            return True
        if is_complete:
            return False
        return one.late or one.moment >= (covered_until or one.moment)


def is_read_by_time(commit: Any) -> bool:
    """Return whether the new cursor is from a read by time. A token of the same log continues with the old cursor."""
    resync = commit.get("resync")
    return resync is not None and not (resync["why"] == "token" and resync["overlap"])


def gaps_of(commit: Any) -> List[Tuple[datetime, datetime, str]]:
    return [(read_time(gap["from"]), read_time(gap["to"]), gap["why"]) for gap in commit["gaps"]]


def expected_gaps(commit: Any, previous: Any, clocks: Clocks) -> List[Tuple[datetime, datetime, str]]:
    """Return the gap that is due if the provider might have deleted unread entries."""
    if previous is None or commit["kind"] not in READING:
        return []
    covered, oldest = read_time(previous["covered_until"]), clocks.asked - RETENTION + RETENTION_MARGIN
    return [(covered, oldest, "retention")] if oldest > covered else []
