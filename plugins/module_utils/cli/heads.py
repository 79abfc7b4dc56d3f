# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the head after a run and writes it to systemd's journal, and prints the result of a check of noted heads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Optional

from ..archive.chain.chain import StoredCommit
from ..counts import pluralize
from ..errors import StorageError
from ..journal import SOCKET, Journal
from ..times import format_time, utc_now
from .output import print_line, warn

if TYPE_CHECKING:
    from ..archive.heads import HeadsCheck


def publish_head(head: Optional[StoredCommit], as_json: bool, socket: str = SOCKET) -> None:
    """Print the head unless the command prints JSON. In a systemd service, write it to the journal too.

    Root can rewrite all archives on its host, but not the head that the journal has forwarded to a log server.
    """
    from ..archive.heads import head_line, head_record

    if head is None:
        return
    if not as_json:
        print_line(head_line(head))
    # Systemd sets this variable for services whose output goes to the journal.
    if not os.environ.get("JOURNAL_STREAM"):
        return
    try:
        with Journal(socket) as journal:
            journal.send_head(head_record(head, format_time(utc_now())))
    except StorageError as exc:
        warn(f"The head is not in the journal: {exc.message}")


def print_heads(heads: HeadsCheck) -> None:
    """Print the result of a check of noted heads without findings."""
    count = pluralize(heads.checked, "noted head", "noted heads")
    print_line(f"The archive contains all of {count}; the oldest is commit {heads.since}.")
    if heads.pruned or heads.compacted:
        pruned = pluralize(heads.pruned, "commit", "commits")
        print_line(f"Since then, {pruned} removed old days and {heads.compacted} merged files.")
    if heads.others:
        skipped = pluralize(heads.others, "record of another archive was", "records of other archives were")
        print_line(f"{skipped} skipped.")
