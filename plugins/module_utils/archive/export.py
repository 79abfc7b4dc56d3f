# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An extract for people who have no archive: JSON lines or CSV, and a manifest that ties it to a commit."""

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
    """What was exported: the manifest that was written, and the parts of the range that the archive does not hold."""

    manifest: Dict[str, Any]
    missing: Sequence[MissingRange]


def export(
    store: Store, dest: str, span: Range, selection: Selection, now: datetime, schema: Optional[str] = None
) -> Export:
    """Write the entries of a range that are selected to ``dest``, and a manifest beside it.

    Both appear whole or not at all, first the file, then its manifest: one that does not fit is of an earlier export.
    ``now`` is when the export is made, for the manifest, which also lists the parts of the range that are missing.
    With ``schema``, one of SCHEMAS, each line is an event of it.

    :raises InvalidInput: ``dest`` ends in neither ``.jsonl`` nor ``.csv`` (with ``schema``: not in ``.jsonl``), or
        cannot be a file.
    :raises StorageError: the archive cannot be read or has no commit, or the files cannot be written.
    :raises ArchiveDamaged: the archive is not what it was.
    """
    form = _format(dest, schema)
    beside = f"{dest}.manifest.json"
    check_destination(dest, "--dest")
    read_from: List[StoredCommit] = []
    counter = _Counter()
    read = cat(store, span.start, span.end, on_head=read_from.append, needles=selection.needles)
    entries = filter(selection.matches, read)
    with draft_file(dest) as draft, draft_file(beside) as manifest_draft:
        sha256 = write_lines(form(counter.count(keep_newest(entries, selection.limit))), draft)
        head = read_from[-1]
        known = gaps(store, head.commit)
        missing = missing_parts(head.commit, known, span, now)
        manifest = {
            "file": os.path.basename(dest),
            "format": schema or dest.rpartition(".")[2],
            "sha256": sha256,
            "bytes": os.path.getsize(draft),
            "entries": counter.entries,
            "range": {"start": format_optional(span.start), "end": format_optional(span.end)},
            "complete": not missing,
            "missing": [part.to_json() for part in missing],
            "selection": _conditions(selection),
            "archive": describe_source(store, head, known),
            "exported_at": format_time(now),
            "exported_by": f"cloudscale-audit {VERSION}",
        }
        write_lines([json.dumps(manifest, indent=2).encode()], manifest_draft)
        move_into_place(draft, dest)
        move_into_place(manifest_draft, beside)
    return Export(manifest, missing)


class _Counter:
    """Counts what passes."""

    entries = 0

    def count(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            self.entries += 1
            yield entry


def _format(dest: str, schema: Optional[str]) -> Callable[[Iterable[Entry]], Iterator[bytes]]:
    if schema is not None:
        if not dest.endswith(".jsonl"):
            raise InvalidInput(f"--dest: events are JSON lines; name a .jsonl file in place of {dest}.")
        make = SCHEMAS[schema]
        return lambda entries: (event_line(make(entry)) for entry in entries)
    if dest.endswith(".jsonl"):
        return _json_lines
    if dest.endswith(".csv"):
        return _csv_lines
    raise InvalidInput(f"--dest: {dest} is not a .jsonl, .csv or .zip file; name it so that its form is clear.")


def _json_lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    return map(canonical, entries)


def _csv_lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    """A heading, and a line for each entry."""
    yield CSV_HEADING
    for entry in entries:
        yield csv_line(entry, digest(entry))


def csv_line(entry: Entry, sha256: str) -> bytes:
    """A line of CSV in which no cell is a formula or holds the end of a line; ``sha256`` is the entry's digest."""
    counter = {**row(entry), "timestamp": to_printable(entry.get("timestamp")), "sha256": sha256}
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([neutralize_formula(counter[name]) for name in COLUMNS])
    return text.getvalue().encode("utf-8", "backslashreplace")


def describe_source(store: Store, head: StoredCommit, known: Sequence[Gap]) -> Dict[str, Any]:
    """The archive as of the commit that the entries are those of; what it covers is what its status says."""
    status = Status(str(store), gaps=known, **status_fields(head)).to_json()
    named = ("path", "project", "covered_from", "covered_until", "pruned_until", "gaps")
    return {
        **{name: status[name] for name in named},
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
