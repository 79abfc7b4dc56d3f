# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries as lines of text for a terminal, in columns."""

from __future__ import annotations

import unicodedata
from datetime import timezone, tzinfo
from itertools import islice
from typing import Callable, Dict, Iterable, Iterator, List, Sequence, Tuple

from .entry import Entry, timestamp, visible
from .rows import cut, offset, row
from .schemas import change_type

_COLUMNS = ("time", "actor", "ip_address", "action", "message")
_WIDEST = (26, 40, 39, 40, 160)
_GAP = "  "
_BLOCK = 500

HEADINGS = {
    "time": "When",
    "project": "Project",
    "actor": "Who",
    "ip_address": "From",
    "action": "Action",
    "message": "What",
}
_WIDEST_OF = {**dict(zip(_COLUMNS, _WIDEST)), "project": 40}

Paint = Callable[[str, str], str]
"""Returns a text in the style of this name: ``heading``, or the type of a change; see :func:`change_type`."""


def table(entries: Iterable[Entry], zone: tzinfo = timezone.utc, name_utc: bool = True) -> List[str]:
    """A line for each entry: when, who, from where, which action, and what in words; long texts are cut.

    Times are in ``zone`` and carry its offset; ``name_utc`` False leaves ``UTC`` out, where it is said elsewhere.
    """
    rows = [
        [cut(told[name], most) for name, most in zip(_COLUMNS, _WIDEST)]
        for told in (_row(entry, zone, name_utc) for entry in entries)
    ]
    widths = [max(map(_width, column)) for column in zip(*rows)]
    return [_line(cells, widths) for cells in rows]


def streamed(
    entries: Iterable[Tuple[str, Entry]],
    zone: tzinfo,
    with_project: bool,
    paint: Paint = lambda text, _style: text,
) -> Iterator[str]:
    """The same with a line of headings, for any number of entries, each with its project.

    The columns get wider, where they must, every few hundred lines.
    """
    columns = [name for name in HEADINGS if with_project or name != "project"]
    widths = [len(HEADINGS[name]) for name in columns]
    pending = iter(entries)
    is_first = True
    while True:
        block = list(islice(pending, _BLOCK))
        if not block:
            return
        rows = []
        for project, entry in block:
            told = {**_row(entry, zone, True), "project": visible(project)}
            rows.append([cut(told[name], _WIDEST_OF[name]) for name in columns])
        widths = [max(width, *map(_width, column)) for width, column in zip(widths, zip(*rows))]
        if is_first:
            yield paint(_line([HEADINGS[name] for name in columns], widths), "heading")
            is_first = False
        for (_project, entry), cells in zip(block, rows):
            yield paint(_line(cells, widths), change_type(entry))


def _row(entry: Entry, zone: tzinfo, name_utc: bool) -> Dict[str, str]:
    told, moment = row(entry, zone), timestamp(entry)
    shown = "" if moment is None else offset(moment.astimezone(zone))
    if shown and (name_utc or shown != "UTC"):
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
