# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints entries in the format that the user chose. Only JSON lines have the entries as received."""

from __future__ import annotations

import argparse
import csv
import io
import os
import shutil
import sys
from datetime import tzinfo
from typing import Callable, Dict, Iterable, Iterator, List, Optional

from ..archive.merge import ProjectEntry
from ..project_log.entry import canonical, to_printable
from ..project_log.markup import code
from ..project_log.rows import TEXT_COLUMNS, neutralize_formula, row
from ..project_log.schemas import event_line, to_ecs, to_ocsf
from ..project_log.table import HEADINGS, Paint, resource_label, stream_table

_CSV_COLUMNS = ("time", "project", *TEXT_COLUMNS)
_STYLES = {"heading": "1", "creation": "32", "deletion": "31"}


def add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="output format; jsonl prints entries as received (default: table on a terminal, otherwise jsonl)",
    )


def format_from_options(options: argparse.Namespace) -> str:
    return options.format or ("table" if sys.stdout.isatty() else "jsonl")


def print_entries(entries: Iterable[ProjectEntry], chosen: str, zone: tzinfo, with_project: bool) -> None:
    """Print entries in one of FORMATS, with times in ``zone``.

    ``with_project`` adds a column with the project's name to tables.
    """
    write = sys.stdout.buffer.write
    for line in FORMATS[chosen](entries, zone, with_project):
        write(line + b"\n")
    sys.stdout.buffer.flush()


def paint() -> Paint:
    """Colours for a terminal, unless the user turned them off; see https://no-color.org."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return lambda text, _style: text
    return lambda text, style: f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style in _STYLES else text


def encode_line(line: str) -> bytes:
    """A line in the encoding of standard output, with escapes for characters that the encoding lacks."""
    return line.encode(sys.stdout.encoding or "utf-8", "backslashreplace")


def _table(entries: Iterable[ProjectEntry], zone: tzinfo, with_project: bool) -> Iterator[bytes]:
    return map(encode_line, stream_table(entries, zone, with_project, paint(), _terminal_width()))


def _terminal_width() -> Optional[int]:
    """The width of the terminal; None if output is not a terminal, or if the width is unknown."""

    return shutil.get_terminal_size((0, 0)).columns or None if sys.stdout.isatty() else None


def _json_lines(entries: Iterable[ProjectEntry], _zone: tzinfo, _with_project: bool) -> Iterator[bytes]:
    return (canonical(found.entry) for found in entries)


def _csv(entries: Iterable[ProjectEntry], zone: tzinfo, with_project: bool) -> Iterator[bytes]:
    columns = [name for name in _CSV_COLUMNS if with_project or name != "project"]
    yield ",".join(columns).encode()
    for found in entries:
        cells = _cells(found, zone)
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow([neutralize_formula(cells[name]) for name in columns])
        yield encode_line(text.getvalue())


def _markdown(entries: Iterable[ProjectEntry], zone: tzinfo, with_project: bool) -> Iterator[bytes]:
    columns = [name for name in HEADINGS if with_project or name != "project"]
    yield _markdown_row([HEADINGS[name] for name in columns])
    yield _markdown_row(["---"] * len(columns))
    for found in entries:
        cells = {**_cells(found, zone), "resource": resource_label(found.entry)}
        yield _markdown_row([code(cells[name]) for name in columns])


def _markdown_row(cells: List[str]) -> bytes:
    return encode_line(f"| {' | '.join(cells)} |")


def _cells(found: ProjectEntry, zone: tzinfo) -> Dict[str, str]:
    return {**row(found.entry, zone), "project": to_printable(found.project)}


def _ecs(entries: Iterable[ProjectEntry], _zone: tzinfo, _with_project: bool) -> Iterator[bytes]:
    return (event_line(to_ecs(found.entry)) for found in entries)


def _ocsf(entries: Iterable[ProjectEntry], _zone: tzinfo, _with_project: bool) -> Iterator[bytes]:
    return (event_line(to_ocsf(found.entry)) for found in entries)


_Format = Callable[[Iterable[ProjectEntry], tzinfo, bool], Iterator[bytes]]
FORMATS: Dict[str, _Format] = {
    "table": _table,
    "jsonl": _json_lines,
    "csv": _csv,
    "markdown": _markdown,
    "ecs": _ecs,
    "ocsf": _ocsf,
}
