# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries as rows of text in the time zone of a report."""

from __future__ import annotations

from datetime import datetime, timezone, tzinfo
from functools import lru_cache
from typing import Callable, Dict, Optional, Tuple

from ..detections.detector import Alert
from ..project_log.entry import subject, to_printable
from ..project_log.resource import resource
from .alerts import text_of
from .query.dataset import Record, decoded, label
from .query.engine import COLUMNS

MAX_ROWS = 100_000
"""Maximum number of entries in a page's table; the newest ones."""

_DAY = "%Y-%m-%d"
_SECOND = "%Y-%m-%d %H:%M:%S"


class EntryRows:
    """Converts entries to rows of text in one time zone. Each text is safe to show on one line."""

    def __init__(self, zone: tzinfo, day: str = _DAY) -> None:
        self.zone = zone
        self._day = day
        self._actor: Callable[[Optional[str]], Tuple[str, str]] = lru_cache(maxsize=10_000)(_actor)
        self._subject: Callable[[Optional[str]], str] = lru_cache(maxsize=10_000)(_subject)

    def row(self, record: Record) -> Dict[str, str]:
        """An engine's record as texts by column."""
        moment = record["moment"]
        name, kind = self._actor(record["actor"])
        about = resource(record)
        return {
            "time": to_printable(record["timestamp"]) if moment is None else self.local(moment).strftime(_SECOND),
            "actor": name,
            "actor_kind": kind,
            "action": to_printable(record["action"]),
            "message": to_printable(record["message"]),
            "ip_address": to_printable(record["ip_address"]),
            "resource_kind": "" if about is None else about.kind,
            "resource": "" if about is None else to_printable(about.name),
            "subject": self._subject(record["subject"]),
            "project": record["project"],
        }

    def alert(self, alert: Alert) -> Dict[str, str]:
        """The entry of an alert as texts by column."""
        texts = {name: text_of(alert.entry.get(name)) for name in COLUMNS}
        return self.row({**texts, "moment": alert.time, "project": alert.project})

    def local(self, moment: datetime) -> datetime:
        """A time in the report's time zone. A time without a zone, as engines return it, is UTC."""
        known = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        return known.astimezone(self.zone)

    def at(self, moment: Optional[datetime], form: str = _SECOND) -> str:
        """A local time as text; empty for None."""
        return "" if moment is None else self.local(moment).strftime(form)

    def in_words(self, moment: Optional[datetime], form: str = _SECOND) -> str:
        """A local time for sentences, with the day as the report's language writes it."""
        return self.at(moment, form.replace(_DAY, self._day))

    def minute(self, moment: datetime) -> int:
        """A local time as minutes since 1970-01-01 00:00 local time."""
        return int(self.local(moment).replace(tzinfo=timezone.utc).timestamp()) // 60

    def iso(self, moment: Optional[datetime]) -> str:
        """A local time with its offset, for programs; empty for None."""
        return "" if moment is None else self.local(moment).isoformat(timespec="seconds")


def _actor(text: Optional[str]) -> Tuple[str, str]:
    found = label(text)
    return str(found), to_printable(found.kind)


def _subject(text: Optional[str]) -> str:
    return str(subject({"subject": decoded(text)}))
