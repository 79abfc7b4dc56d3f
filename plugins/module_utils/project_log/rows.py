# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries as flat rows of printable text, for tables that people read."""

from __future__ import annotations

import re
from datetime import datetime, timezone, tzinfo
from typing import Dict

from .entry import Entry, actor, subject, timestamp, to_printable
from .resource import resource

TEXT_COLUMNS = ("actor", "actor_kind", "action", "message", "ip_address", "resource_kind", "resource", "subject")
"""The columns, besides the time, of all tables for programs, in their order."""

_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
# A spreadsheet evaluates a cell with such a beginning as a formula, also in the full-width forms of these characters.
# If semicolons separate cells, as in Excel in Switzerland, a semicolon begins a cell even inside quotes.
_FORMULA = re.compile(r"(^|;)(?=[\s\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def row(entry: Entry, zone: tzinfo = timezone.utc) -> Dict[str, str]:
    """One entry as one line of text per column: time, actor and its kind, action, message, address, and resource.

    ``resource`` is the resource that the message is about, if its wording is known. Times are in ``zone``, to the
    second; an unreadable time is shown as received. Missing values are empty.
    """
    moment = timestamp(entry)
    local = None if moment is None else moment.astimezone(zone)
    who, what, about = actor(entry), subject(entry), resource(entry)
    return {
        "day": "" if local is None else local.strftime("%Y-%m-%d"),
        "time": to_printable(entry.get("timestamp")) if local is None else local.strftime(_TIME_FORMAT),
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
    """The offset of an aware time from UTC as text: ``UTC`` or ``+01:00``."""
    return "UTC" if moment.tzinfo is timezone.utc or moment.tzname() == "UTC" else moment.isoformat()[-6:]


def truncate(text: str, max_length: int) -> str:
    """The text, shortened to this number of characters with three dots at its end."""
    return text if len(text) <= max_length else f"{text[: max_length - 3]}..."


def neutralize_formula(cell: str) -> str:
    """The text for a cell, with a quote that keeps spreadsheets from evaluating it as a formula."""
    return _FORMULA.sub(r"\1'", cell)
