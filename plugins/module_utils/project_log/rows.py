# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries as flat rows of text for tables that people read: labels resolved, nothing left that could harm a reader."""

from __future__ import annotations

import re
from datetime import datetime, timezone, tzinfo
from typing import Dict

from .entry import Entry, actor, subject, timestamp, to_printable
from .resource import resource

TEXT_COLUMNS = ("actor", "actor_kind", "action", "message", "ip_address", "resource_kind", "resource", "subject")
"""The columns that all tables for programs have beside a time, in their order."""

_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
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
        "time": to_printable(entry.get("timestamp")) if moment is None else moment.strftime(_TIME_FORMAT),
        "actor": to_printable(who),
        "actor_kind": to_printable(who.kind),
        "action": to_printable(entry.get("action")),
        "message": to_printable(entry.get("message")),
        "ip_address": to_printable(entry.get("ip_address")),
        "resource_kind": about.kind if about else "",
        "resource": to_printable(about.name) if about else "",
        "subject": to_printable(what),
    }


def utc_offset(moment: datetime) -> str:
    """The distance of an aware time from UTC, as text: ``UTC`` or ``+01:00``."""
    return "UTC" if moment.tzinfo is timezone.utc or moment.tzname() == "UTC" else moment.isoformat()[-6:]


def truncate(text: str, max_length: int) -> str:
    """The text, or its beginning and three dots where it has more characters than this."""
    return text if len(text) <= max_length else f"{text[: max_length - 3]}..."


def neutralize_formula(cell: str) -> str:
    """The text for a cell of a spreadsheet, which will not take it for a formula."""
    return _FORMULA.sub(r"\1'", cell)
