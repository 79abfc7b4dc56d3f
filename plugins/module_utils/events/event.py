# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the events of the event source: one for an entry, and one for a gap in the log."""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from datetime import datetime
from typing import Any, Dict

from ..project_log.entry import Entry, actor, subject, to_builtin_entry
from ..times import RETENTION, format_time
from .checkpoint import Position


def entry_event(entry: Entry, url: str, index: int) -> Dict[str, Any]:
    """The event for the entry at an index of a page."""
    project = subject(entry)
    label = actor(entry)
    return {
        "entry": to_builtin_entry(entry),
        # A playbook gets events as variables, which Ansible evaluates as templates. Base64 cannot contain a template.
        "entry_base64": b64encode(json.dumps(to_builtin_entry(entry)).encode()).decode(),
        "actor": {"kind": label.kind, "name": label.name, "uuid": label.uuid or ""},
        # Cursors of two projects can be equal, so the identity of the event includes the project.
        "meta": _meta(f"{url}#{index}@{project.uuid or project.name}", url, index),
    }


def gap_event(position: Position, reason: str, until: datetime) -> Dict[str, Any]:
    """The event for entries after a position that may have been lost, or may be delivered twice."""
    since = format_time(position.complete_until)
    messages = {
        "retention": f"The log was not read since {since}, longer than the provider's retention of {RETENTION.days} "
        "days: entries in between may be lost.",
        "cursor_rejected": "The provider rejected the cursor: the log is read again from shortly before "
        f"{since}, and some entries may be delivered twice.",
    }
    gap = {"reason": reason, "since": since, "until": format_time(until), "message": messages[reason]}
    meta = _meta(f"{position.url}#gap@{since}", position.url, position.index)
    return {"gap": gap, "meta": meta}


def _meta(name: str, url: str, index: int) -> Dict[str, Any]:
    return {"uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, name)), "source_offset": {"url": url, "index": index}}
