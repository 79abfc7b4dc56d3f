# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exports entries as JSON lines or CSV, with a manifest that names the commit they are from."""

from __future__ import annotations

import csv
import io
import json
import os
from datetime import datetime
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence

from ..errors import InvalidInput
from ..files import check_destination, draft_file, move_into_place, write_lines
from ..project_log.entry import Entry, canonical, digest, to_printable
from ..project_log.rows import TEXT_COLUMNS, neutralize_formula, row
from ..project_log.schemas import SCHEMAS, event_line
from ..project_log.selection import Selection, keep_newest
from ..settings import Range
from ..times import format_optional, format_time
from ..version import VERSION
from .chain.chain import StoredCommit, gaps
from .chain.status import Status, status_fields
from .completeness import MissingRange, missing_parts
from .format.commit import Gap
from .reader import cat
from .storage.store import Store

COLUMNS = ("timestamp", *TEXT_COLUMNS, "sha256")
CSV_HEADING = ",".join(COLUMNS).encode()


class Export(NamedTuple):
    """The manifest that was written, and the parts of the range that are missing in the archive."""

    manifest: Dict[str, Any]
    missing: Sequence[MissingRange]


def export(
    store: Store, dest: str, time_range: Range, selection: Selection, now: datetime, schema: Optional[str] = None
) -> Export:
    """Write the selected entries of a range to ``dest``, and a manifest next to it.

    Each file appears complete or not at all, the manifest last: a manifest that does not match is from an earlier
    export. The manifest contains ``now``, the time of the export, and the missing parts of the range. With ``schema``,
    one of SCHEMAS, each line is an event of that schema.

    :raises InvalidInput: ``dest`` ends in neither ``.jsonl`` nor ``.csv`` (with ``schema``: not in ``.jsonl``), or is
        not a valid path for a file.
    :raises StorageError: the archive cannot be read or has no commit, or the files cannot be written.
    :raises ArchiveDamaged: a commit or a file is missing or was changed.
    """
    format_entries = _format(dest, schema)
    manifest_path = f"{dest}.manifest.json"
    check_destination(dest, "--dest")
    heads: List[StoredCommit] = []
    counter = _Counter()
    read = cat(store, time_range.start, time_range.end, on_head=heads.append, needles=selection.needles)
    entries = filter(selection.matches, read)
    with draft_file(dest) as draft, draft_file(manifest_path) as manifest_draft:
        sha256 = write_lines(format_entries(counter.count(keep_newest(entries, selection.limit))), draft)
        head = heads[-1]
        known = gaps(store, head.commit)
        missing = missing_parts(head.commit, known, time_range, now)
        manifest = {
            "file": os.path.basename(dest),
            "format": schema or dest.rpartition(".")[2],
            "sha256": sha256,
            "bytes": os.path.getsize(draft),
            "entries": counter.entries,
            "range": {"start": format_optional(time_range.start), "end": format_optional(time_range.end)},
            "complete": not missing,
            "missing": [part.to_json() for part in missing],
            "selection": _conditions(selection),
            "archive": describe_source(store, head, known),
            "exported_at": format_time(now),
            "exported_by": f"cloudscale-audit {VERSION}",
        }
        write_lines([json.dumps(manifest, indent=2).encode()], manifest_draft)
        move_into_place(draft, dest)
        move_into_place(manifest_draft, manifest_path)
    return Export(manifest, missing)


class _Counter:
    """Counts the entries that pass through."""

    entries = 0

    def count(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            self.entries += 1
            yield entry


def _format(dest: str, schema: Optional[str]) -> Callable[[Iterable[Entry]], Iterator[bytes]]:
    if schema is not None:
        if not dest.endswith(".jsonl"):
            raise InvalidInput(f"--dest: events are written as JSON lines; use a .jsonl file instead of {dest}.")
        to_event = SCHEMAS[schema]
        return lambda entries: (event_line(to_event(entry)) for entry in entries)
    if dest.endswith(".jsonl"):
        return _json_lines
    if dest.endswith(".csv"):
        return _csv_lines
    raise InvalidInput(f"--dest: {dest} has an unsupported format; use .jsonl, .csv or .zip.")


def _json_lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    return map(canonical, entries)


def _csv_lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield a heading, and a line for each entry."""
    yield CSV_HEADING
    for entry in entries:
        yield csv_line(entry, digest(entry))


def csv_line(entry: Entry, sha256: str) -> bytes:
    """Return a line of CSV in which no cell is a formula or contains a line break."""
    cells = {**row(entry), "timestamp": to_printable(entry.get("timestamp")), "sha256": sha256}
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([neutralize_formula(cells[name]) for name in COLUMNS])
    return text.getvalue().encode("utf-8", "backslashreplace")


def describe_source(store: Store, head: StoredCommit, known: Sequence[Gap]) -> Dict[str, Any]:
    """Describe the archive as of the commit ``head``, with the coverage of its status."""
    status = Status(str(store), gaps=known, **status_fields(head)).to_json()
    keys = ("path", "project", "covered_from", "covered_until", "pruned_until", "gaps")
    return {
        **{key: status[key] for key in keys},
        "archive_id": head.commit.archive_id,
        "head": head.head._asdict(),
    }


def _conditions(selection: Selection) -> Dict[str, Any]:
    return {
        "actions": list(selection.actions),
        "actors": list(selection.actors),
        "ip_networks": list(map(str, selection.ip_networks)),
        "message_pattern": selection.message_pattern.pattern if selection.message_pattern else None,
        "resources": list(selection.resources),
        "limit": selection.limit,
    }
