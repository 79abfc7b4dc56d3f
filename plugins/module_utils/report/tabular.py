# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries as tables for other programs: CSV for spreadsheets, Parquet for analysis."""

from __future__ import annotations

import csv
import json
from itertools import islice
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence

from ..project_log.entry import to_printable
from ..project_log.resource import resource
from ..project_log.rows import TEXT_COLUMNS, neutralize_formula
from .entry_rows import EntryRows
from .metadata import PARQUET_KEY
from .query.dataset import Record

COLUMNS = ("time", "project", *TEXT_COLUMNS)

_GROUP = 100_000


def write_csv(path: str, records: Iterable[Record], rows: EntryRows) -> None:
    """Write a row for each entry, with its local time."""
    write_table(path, COLUMNS, map(rows.row, records))


def write_table(path: str, columns: Sequence[str], rows: Iterable[Mapping[str, Optional[str]]]) -> None:
    """Write rows as CSV. Spreadsheets treat no text in it as a formula."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(",".join(columns) + "\r\n")
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        for row in rows:
            writer.writerow([neutralize_formula(row[name] or "") for name in columns])


def write_parquet(path: str, records: Iterable[Record], rows: EntryRows, about: Mapping[str, Any]) -> None:
    """Write a row for each entry: its time in UTC, names resolved, and the texts of the API.

    ``about`` is added as metadata of the file.
    """
    import pyarrow
    import pyarrow.parquet

    texts = (*TEXT_COLUMNS, "project", "timestamp_text", "actor_json", "subject_json")
    fields = [("time", pyarrow.timestamp("us", tz="UTC")), *((name, pyarrow.string()) for name in texts)]
    schema = pyarrow.schema(fields)
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(_cells(record, rows) for record in records):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
        writer.add_key_value_metadata({PARQUET_KEY: json.dumps(about)})


def _cells(record: Record, rows: EntryRows) -> Dict[str, Any]:
    row = rows.row(record)
    return {
        "time": record["moment"],
        **{name: row[name] for name in ("actor", "actor_kind", "subject", "project")},
        **_resource(record),
        **{name: record[name] for name in ("action", "message", "ip_address")},
        "timestamp_text": record["timestamp"],
        "actor_json": record["actor"],
        "subject_json": record["subject"],
    }


def _resource(record: Record) -> Dict[str, Optional[str]]:
    """The resource that the message is about, if its wording is known."""
    about = resource(record)
    return {"resource_kind": about and (about.kind or None), "resource": about and to_printable(about.name)}


def _groups(rows: Iterator[Dict[str, Any]]) -> Iterator[List[Dict[str, Any]]]:
    while True:
        group = list(islice(rows, _GROUP))
        if not group:
            return
        yield group
