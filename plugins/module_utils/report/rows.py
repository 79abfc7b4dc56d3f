# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries as flat rows of text for tables that people read: labels resolved, nothing left that could harm a reader."""

from __future__ import annotations

import re
from typing import Any, Dict

from ..entry import Entry, actor, subject, timestamp

_SECOND = "%Y-%m-%d %H:%M:%S"

# Control characters, and marks that turn the direction of the text around them: a message could pose as another.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def row(entry: Entry) -> Dict[str, str]:
    """One entry as texts on one line each: when, who (and what kind of actor), what, from where, on what.

    Times are in UTC to the second; one that is unreadable stands as received. What is absent is empty.
    """
    moment = timestamp(entry)
    who, what = actor(entry), subject(entry)
    return {
        "day": "" if moment is None else moment.strftime("%Y-%m-%d"),
        "time": visible(entry.get("timestamp")) if moment is None else moment.strftime(_SECOND),
        "actor": visible(who),
        "actor_kind": visible(who.kind),
        "action": visible(entry.get("action")),
        "message": visible(entry.get("message")),
        "ip_address": visible(entry.get("ip_address")),
        "subject": visible(what),
    }


def visible(value: Any) -> str:
    """A value as one line of text in which every control and direction character became a replacement character."""
    return "" if value is None else _UNSEEN.sub("\ufffd", str(value))
