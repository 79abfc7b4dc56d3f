# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries as lines of text for a terminal, in columns."""

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
_MAX_WIDTHS = (26, 40, 39, 40, 160)
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
_MAX_WIDTH = {**dict(zip(_COLUMNS, _MAX_WIDTHS)), "project": 40, "resource": 40}

Paint = Callable[[str, str], str]
"""Returns a text in the style of this name: ``heading``, or the type of a change; see :func:`change_type`."""


def table(entries: Iterable[Entry], zone: tzinfo = timezone.utc, show_utc: bool = True) -> List[str]:
    """A line for each entry: when, who, from where, which action, and what in words; long texts are cut.

    Times are in ``zone`` and carry its offset; ``show_utc`` False leaves ``UTC`` out, where it is said elsewhere.
    """
    rows = [
        [truncate(told[name], max_length) for name, max_length in zip(_COLUMNS, _MAX_WIDTHS)]
        for told in (_row(entry, zone, show_utc) for entry in entries)
    ]
    widths = [max(map(_width, column)) for column in zip(*rows)]
    return [_line(cells, widths) for cells in rows]


def stream_table(
    entries: Iterable[Tuple[str, Entry]],
    zone: tzinfo,
    with_project: bool,
    paint: Paint = lambda text, _style: text,
    terminal_width: Optional[int] = None,
) -> Iterator[str]:
    """The same with a line of headings, for any number of entries, each with its project and its resource.

    The columns get wider, where they must, every few hundred lines. ``room`` is the width of the terminal: the
    resource, which the message names too, is left out where the first lines would not fit otherwise.
    """
    columns = [name for name in HEADINGS if with_project or name != "project"]
    widths: Dict[str, int] = {}
    pending = iter(entries)
    while True:
        block = list(islice(pending, _BLOCK_SIZE))
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
    told = {**_row(entry, zone, True), "project": to_printable(project), "resource": resource_label(entry)}
    return {name: truncate(told[name], _MAX_WIDTH[name]) for name in HEADINGS}


def resource_label(entry: Entry) -> str:
    """Kind and name of the resource that an entry is about, as far as its message tells; safe to show on one line."""
    return to_printable(resource(entry))


def _row(entry: Entry, zone: tzinfo, show_utc: bool) -> Dict[str, str]:
    told, moment = row(entry, zone), timestamp(entry)
    shown = "" if moment is None else utc_offset(moment.astimezone(zone))
    if shown and (show_utc or shown != "UTC"):
        told["time"] = f"{told['time']} {shown}"
    return told


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths) if width]
    return _GAP.join(padded).rstrip()


def _width(text: str) -> int:
    """How many places a text takes on a terminal: East Asian characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
