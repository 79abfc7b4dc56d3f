# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a commit may say, by itself and given the ones before it."""

from __future__ import annotations

from typing import Callable, Dict, Iterator, Tuple

from ..format.commit import (
    READING_KINDS,
    Commit,
    DataFile,
    parse_data_name,
)
from .coverage import TOLERANCE


def contradictions(commit: Commit) -> Iterator[Tuple[str, str]]:
    """What in a commit by itself cannot be."""
    if commit.entries != sum(file.entries for file in commit.files):
        yield "totals", "entries is not the sum over its files"
    names = [parse_data_name(file.path) for file in commit.files]
    if any(name is None or name.sequence != commit.sequence for name in names):
        yield "chain", "it names data files of another sequence"
    if len({file.path for file in commit.files}) != len(commit.files):
        yield "chain", "it names a data file twice"
    if not commit.covered_from <= commit.covered_until <= commit.server_date + TOLERANCE:
        yield "coverage", "it covers a span that ends before it begins, or after it was read"
    if any(not gap.start <= gap.end <= commit.covered_until for gap in commit.gaps):
        yield "coverage", "a gap ends before it begins, or lies past what is covered"
    if not _fits_kind(commit):
        yield "chain", f"it has parts that a commit of kind {commit.kind} cannot have"


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
    rearranges = commit.kind != "prune"
    return (
        not commit.pages
        and not commit.gaps
        and commit.resync is None
        and bool(commit.removed)
        and bool(commit.files) == rearranges
    )


def breaks(before: Commit, commit: Commit) -> Iterator[Tuple[str, str]]:
    """Where a commit does not follow from the one before it."""
    for type_, sound, detail in _FOLLOWS:
        if not sound(before, commit):
            yield type_, detail


def _cursor_follows(before: Commit, commit: Commit) -> bool:
    if commit.kind not in READING_KINDS:
        return before.cursor_after == commit.cursor_before == commit.cursor_after
    return commit.kind == "resync" or commit.cursor_before == before.cursor_after


def _time_follows(before: Commit, commit: Commit) -> bool:
    if commit.kind not in READING_KINDS:
        return (before.covered_until, before.server_date) == (commit.covered_until, commit.server_date)
    return (
        commit.covered_until >= before.covered_until - TOLERANCE
        and commit.server_date >= before.server_date - TOLERANCE
    )


def _identity_follows(before: Commit, commit: Commit) -> bool:
    same_access = (before.api, before.token_tag) == (commit.api, commit.token_tag)
    same_project = before.project.uuid in (None, commit.project.uuid)
    return same_project and (same_access or commit.kind == "resync")


def _prune_edge_follows(before: Commit, commit: Commit) -> bool:
    if commit.kind == "prune":
        return before.pruned_until is None or (
            commit.pruned_until is not None and commit.pruned_until >= before.pruned_until
        )
    return before.pruned_until == commit.pruned_until


_FOLLOWS: Tuple[Tuple[str, Callable[[Commit, Commit], bool], str], ...] = (
    ("chain", lambda before, commit: before.archive_id == commit.archive_id, "it belongs to another archive"),
    ("chain", _prune_edge_follows, "it changes up to when the archive was pruned"),
    ("cursor", _cursor_follows, "its cursor does not go on where the commit before it ended"),
    ("coverage", _time_follows, "what it covers goes back behind the commit before it"),
    (
        "coverage",
        lambda before, commit: before.covered_from == commit.covered_from,
        "it says another beginning of what is covered",
    ),
    (
        "coverage",
        lambda before, commit: all(gap.start >= before.covered_until - TOLERANCE for gap in commit.gaps),
        "a gap begins in what was covered before",
    ),
    (
        "totals",
        lambda before, commit: commit.total_gaps == before.total_gaps + len(commit.gaps),
        "total_gaps does not follow",
    ),
    ("identity", _identity_follows, "project, API or token changed without the log being joined again"),
)


def wrong_parts(commit: Commit, gone: Dict[str, DataFile]) -> Iterator[str]:
    """Parts of compacted files that are not files which this very commit removes."""
    for file in commit.files:
        for part in file.parts:
            origin = gone.get(part.path)
            facts = (part.content_sha256, part.content_bytes, part.entries)
            if part.path not in commit.removed or origin is None:
                yield f"{file.path} claims to hold {part.path}, which it does not replace"
            elif facts != (origin.content_sha256, origin.content_bytes, origin.entries):
                yield f"{file.path} holds something else than {part.path} held"
