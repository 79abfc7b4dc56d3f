# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries as a table for a terminal."""

from __future__ import annotations

import unicodedata
from datetime import timezone, tzinfo
from itertools import islice
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from .entry import Entry, timestamp, to_printable
from .resource import resource
from .rows import row, truncate, utc_offset
from .schemas import change_type

_COLUMNS = ("time", "actor", "ip_address", "action", "message")
_MAX_WIDTH = {
    "time": 26,
    "project": 40,
    "actor": 40,
    "ip_address": 39,
    "action": 40,
    "resource": 40,
    "message": 160,
}
_GAP = "  "
_BLOCK_SIZE = 500

HEADINGS = {
    "time": "When",
    "project": "Project",
    "actor": "Who",
    "ip_address": "From",
    "action": "Action",
    "resource": "Resource",
    "message": "What",
}

Paint = Callable[[str, str], str]
"""Returns a text in a style: ``heading``, or the type of a change (see :func:`change_type`)."""


def table(entries: Iterable[Entry], zone: tzinfo = timezone.utc, show_utc: bool = True) -> List[str]:
    """A line for each entry: time, actor, address, action and message; long texts are truncated.

    Times are in ``zone``, with its offset. If ``show_utc`` is False, ``UTC`` is omitted.
    """
    texts = [_row(entry, zone, show_utc) for entry in entries]
    rows = [[truncate(text[name], _MAX_WIDTH[name]) for name in _COLUMNS] for text in texts]
    widths = [max(map(_width, column)) for column in zip(*rows)]
    return [_line(cells, widths) for cells in rows]


def stream_table(
    entries: Iterable[Tuple[str, Entry]],
    zone: tzinfo,
    with_project: bool,
    paint: Paint = lambda text, _style: text,
    terminal_width: Optional[int] = None,
) -> Iterator[str]:
    """A line of headings, then a line for each entry with its project and resource, for any number of entries.

    Columns get wider, if necessary, after every 500 lines. If the first lines do not fit into ``terminal_width``, the
    column of the resource is omitted, because the message names the resource, too.
    """
    columns = [name for name in HEADINGS if with_project or name != "project"]
    widths: Dict[str, int] = {}
    remaining = iter(entries)
    while True:
        block = list(islice(remaining, _BLOCK_SIZE))
        if not block:
            return
        rows = [_cells(project, entry, zone) for project, entry in block]
        is_first = not widths
        widths = {
            name: max(widths.get(name, _width(HEADINGS[name])), *(_width(cells[name]) for cells in rows))
            for name in columns
        }
        if is_first:
            if terminal_width is not None and sum(widths.values()) + len(_GAP) * (len(columns) - 1) > terminal_width:
                columns.remove("resource")
            yield paint(_line([HEADINGS[name] for name in columns], [widths[name] for name in columns]), "heading")
        for (_project, entry), cells in zip(block, rows):
            line = _line([cells[name] for name in columns], [widths[name] for name in columns])
            yield paint(line, change_type(entry))


def _cells(project: str, entry: Entry, zone: tzinfo) -> Dict[str, str]:
    texts = {**_row(entry, zone, True), "project": to_printable(project), "resource": resource_label(entry)}
    return {name: truncate(texts[name], _MAX_WIDTH[name]) for name in HEADINGS}


def resource_label(entry: Entry) -> str:
    """Kind and name of the resource that an entry is about, if its message names it, as printable text."""
    return to_printable(resource(entry))


def _row(entry: Entry, zone: tzinfo, show_utc: bool) -> Dict[str, str]:
    texts, moment = row(entry, zone), timestamp(entry)
    offset = "" if moment is None else utc_offset(moment.astimezone(zone))
    if offset and (show_utc or offset != "UTC"):
        texts["time"] = f"{texts['time']} {offset}"
    return texts


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths) if width]
    return _GAP.join(padded).rstrip()


def _width(text: str) -> int:
    """The width of a text in terminal columns: East Asian characters take two, combining characters none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
