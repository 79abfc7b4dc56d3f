# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries as flat rows of text for tables that people read: labels resolved, nothing left that could harm a reader."""

from __future__ import annotations

import re
from datetime import datetime, timezone, tzinfo
from typing import Dict

from .entry import Entry, actor, subject, timestamp, visible
from .resource import resource

TEXTS = ("actor", "actor_kind", "action", "message", "ip_address", "resource_kind", "resource", "subject")
"""The columns that all tables for programs have beside a time, in their order."""

_SECOND = "%Y-%m-%d %H:%M:%S"
# A spreadsheet takes a cell that begins so for a formula, in the wide forms of East Asian writing, too.
# Where a semicolon is what separates cells, as in Excel in Switzerland, it begins a cell whatever the quotes say.
_FORMULA = re.compile(r"(^|;)(?=[\s\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def row(entry: Entry, zone: tzinfo = timezone.utc) -> Dict[str, str]:
    """One entry as texts on one line each: when, who (and what kind of actor), what, from where, on what.

    ``resource`` names the resource that the message is about, as far as its wording is known. Times are in ``zone``, to
    the second; one that is unreadable is shown as received. What is absent is empty.
    """
    received = timestamp(entry)
    moment = None if received is None else received.astimezone(zone)
    who, what, about = actor(entry), subject(entry), resource(entry)
    return {
        "day": "" if moment is None else moment.strftime("%Y-%m-%d"),
        "time": visible(entry.get("timestamp")) if moment is None else moment.strftime(_SECOND),
        "actor": visible(who),
        "actor_kind": visible(who.kind),
        "action": visible(entry.get("action")),
        "message": visible(entry.get("message")),
        "ip_address": visible(entry.get("ip_address")),
        "resource_kind": about.kind if about else "",
        "resource": visible(about.name) if about else "",
        "subject": visible(what),
    }


def offset(moment: datetime) -> str:
    """The distance of an aware time from UTC, as text: ``UTC`` or ``+01:00``."""
    return "UTC" if moment.tzinfo is timezone.utc or moment.tzname() == "UTC" else moment.isoformat()[-6:]


def cut(text: str, most: int) -> str:
    """The text, or its beginning and three dots where it has more characters than this."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def harmless(cell: str) -> str:
    """The text for a cell of a spreadsheet, which will not take it for a formula."""
    return _FORMULA.sub(r"\1'", cell)
