# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The entries of a page's table as compressed data, in which each repeated text occurs once."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any, Callable, Dict, Iterable, List, Optional

from ..project_log.entry import ACTOR_KINDS
from .alerts import Alerts
from .analysis import network_of
from .entry_rows import EntryRows
from .query.dataset import Record
from .report_data import ReportData

DataFile = Callable[[Record], Optional[str]]
"""Names the archive's data file that an entry is stored in; None for an entry from the API."""

_LISTS = ("actors", "actions", "addresses", "projects", "resources", "subjects", "marks", "lines", "files")


def packed(data: ReportData, records: Iterable[Record], rows: EntryRows, data_file: DataFile) -> str:
    """The rows and their lists of values as compressed JSON in base64.

    A row has its local time, its message, the text of its timestamp, and indexes into the lists. ``data`` has the
    actors that are own automation.
    """
    own = {(count.name, count.kind) for count in data.own}
    lists: Dict[str, Dict[Any, int]] = {name: {} for name in _LISTS}

    def place(name: str, value: Any) -> int:
        return lists[name].setdefault(value, len(lists[name]))

    found: List[List[Any]] = []
    for record in records:
        row, mark = rows.row(record), data.alerts.mark(record)
        kind = row["actor_kind"] if row["actor_kind"] in ACTOR_KINDS else "unknown"
        found.append(
            [
                row["time"],
                place("actors", (row["actor"], kind, int((row["actor"], kind) in own), record["actor"])),
                place("actions", row["action"]),
                row["message"],
                place("addresses", (row["ip_address"], network_of(record["ip_address"]))),
                place("projects", row["project"]),
                place("marks", _fired(data.alerts, mark.detections)),
                place("resources", (row["resource_kind"], row["resource"])),
                place("subjects", (row["subject"], record["subject"])),
                record["timestamp"],
                place("lines", mark.line),
                place("files", data_file(record)),
            ]
        )
    body = json.dumps({**{name: list(values) for name, values in lists.items()}, "rows": found}, separators=(",", ":"))
    return compressed(body)


def compressed(text: str) -> str:
    """A text as gzip in base64, which the page's script unpacks."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _fired(alerts: Alerts, names: Iterable[str]) -> Any:
    """Indexes of detections in the list of alerts, most severe first."""
    chosen = set(names)
    return tuple(place for place, group in enumerate(alerts.groups) if group.detection.name in chosen)
