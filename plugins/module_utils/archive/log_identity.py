# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks that the API continues the archived log: same project, same API and token, not from its beginning again."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Any, List, Optional, Sequence

from ..project_log.entry import Entry
from .chain.chain import StoredCommit, live_files, walk_back
from .chain.rules import IDENTITY_HISTORY, RESYNC_LOOKBACK, resync_start
from .format.commit import utc_day
from .overlap import ArchivedEntries, FetchedEntry, files_of_day, read_entries
from .storage.store import Store


class LogRestarted(Exception):
    """The API began its log again instead of continuing after the cursor.

    ``late`` are entries of its first page that the archive lacks, and that a resync does not read.
    """

    def __init__(self, late: Sequence[FetchedEntry] = ()) -> None:
        super().__init__()
        self.late = late


def check_continues(store: Store, head: StoredCommit, entries: List[Entry]) -> None:
    """Check that the first page after the head's cursor continues the log.

    The API began the log again if all entries of the page are from before the archive's time range. It also did if the
    first entry that can be compared is archived, and older than the last covered day. If its names have changed since,
    all such entries of the page must be archived. In doubt the page continues the log, because it is better to archive
    an entry twice than to lose it.

    :raises LogRestarted: the page is the beginning of the log.
    """
    fetched = [FetchedEntry.of(entry) for entry in entries]
    old = head.commit.covered_until - RESYNC_LOOKBACK
    oldest_kept = min(head.commit.covered_from, old)
    if head.commit.pruned_until is not None:
        oldest_kept = max(oldest_kept, head.commit.pruned_until)
    kept = [one for one in fetched if not _is_before(one, oldest_kept)]
    if not kept:
        raise LogRestarted
    dated = [one for one in kept if one.moment is not None]
    if not dated or (len(kept) == len(fetched) and not _is_before(dated[0], old)):
        return
    compared = [dated[0], *(one for one in dated[1:] if _is_before(one, old))]
    missing = _missing(store, head, compared)
    if missing is not None:
        raise LogRestarted([one for one in missing if _is_before(one, resync_start(head.commit))])


def _is_before(fetched: FetchedEntry, moment: datetime) -> bool:
    return fetched.moment is not None and fetched.moment < moment


def _missing(store: Store, head: StoredCommit, fetched: List[FetchedEntry]) -> Optional[List[FetchedEntry]]:
    """Return the entries that the archive lacks; None if it does not have the first one."""
    first = fetched[0]
    live = live_files(store, head)
    archived = ArchivedEntries()
    archived.add_all(read_entries(store, files_of_day(live, utc_day(first.moment))))
    if not (archived.has(first) or archived.has_renamed(first)):
        return None
    for day in sorted({utc_day(one.moment) for one in fetched} - {utc_day(first.moment)}):
        archived.add_all(read_entries(store, files_of_day(live, day)))
    is_unchanged = archived.has(first)
    missing = [one for one in fetched if not archived.take(one)]
    # Entries of a single moment can be new although they differ from archived ones in names alone.
    if len({one.moment for one in fetched}) > 1:
        missing = [one for one in missing if not archived.take_renamed(one)]
    return missing if is_unchanged or not missing else None


def identity_change(store: Store, head: StoredCommit, api_url: str, token_tag: str) -> Optional[str]:
    """Return ``api`` or ``token`` if no recent commit used this API or token, else None.

    All recent commits count, because several hosts can collect alternately, each with its own token.
    """
    if (head.commit.api, head.commit.token_tag) == (api_url, token_tag):
        return None
    recent = [stored.commit for stored in islice(walk_back(store, head), IDENTITY_HISTORY)]
    if api_url not in {commit.api for commit in recent}:
        return "api"
    return "token" if token_tag not in {commit.token_tag for commit in recent} else None


def project_uuid(entry: Entry) -> Optional[str]:
    """Return the UUID of the project that an entry belongs to, if it names one."""
    subject: Any = entry.get("subject")
    project = subject.get("project") if isinstance(subject, dict) else None
    uuid = project.get("uuid") if isinstance(project, dict) else None
    return uuid if isinstance(uuid, str) else None
