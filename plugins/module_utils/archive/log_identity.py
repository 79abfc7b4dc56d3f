# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks that the API continues the archived log: same project, same API and token, not from its beginning again."""

from __future__ import annotations

from itertools import islice
from typing import Any, List, Optional

from ..project_log.entry import Entry
from .chain.chain import StoredCommit, live_files, walk_back
from .chain.rules import IDENTITY_HISTORY, RESYNC_LOOKBACK
from .format.commit import utc_day
from .overlap import FetchedEntry
from .reader import lines_of
from .storage.store import Store


def is_restart(store: Store, head: StoredCommit, entries: List[Entry]) -> bool:
    """Return whether the first page after the head's cursor contains old entries that are archived or were pruned."""
    fetched = [FetchedEntry.of(entry) for entry in entries]
    pruned_until = head.commit.pruned_until
    # Pruned entries cannot be compared.
    kept = [one for one in fetched if pruned_until is None or one.moment is None or one.moment >= pruned_until]
    if not kept:
        return True
    first, oldest = kept[0], kept[0].moment
    if oldest is None:
        return False
    if first is fetched[0] and oldest >= head.commit.covered_until - RESYNC_LOOKBACK:
        return False
    return _is_archived(store, head, first)


def _is_archived(store: Store, head: StoredCommit, entry: FetchedEntry) -> bool:
    live = live_files(store, head)
    day = f"entries/date={utc_day(entry.moment)}/"
    return any(
        line == entry.line for path in sorted(live) if path.startswith(day) for line in lines_of(store, live[path])
    )


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
