# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one place where an engine is connected: everything else is written as Ibis expressions, which any engine runs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, Protocol, Sequence

from ..errors import AuditError, MissingLibrary

COLUMNS = ("timestamp", "action", "message", "ip_address", "actor", "subject")
"""What is read of each entry, all as texts: nothing is inferred. Objects become their JSON."""

MEMORY = "2GB"
"""The most memory that the embedded engine takes before it spills to disk."""


class EngineFailed(AuditError):
    """The engine cannot read what it was given."""


class Engine(Protocol):
    """An engine that is connected."""

    def read(self, paths: Sequence[str]) -> Any:
        """A table with COLUMNS over files of JSON lines, gzipped ones among them.

        :raises EngineFailed: they cannot be read; it may also show when the table is used.
        """

    def keep(self, table: Any) -> Any:
        """The same table, computed once.

        :raises EngineFailed: the files behind it cannot be read.
        """


@contextmanager
def embedded(folder: str) -> Iterator[Engine]:
    """DuckDB in this process; ``folder`` takes what does not fit into memory.

    :raises MissingLibrary: Ibis or DuckDB is not installed.
    """
    try:
        import duckdb
        import ibis
    except ImportError as exc:
        raise MissingLibrary("ibis-framework[duckdb]") from exc
    connection = ibis.duckdb.connect(temp_directory=folder, memory_limit=MEMORY)
    try:
        connection.raw_sql("SET TimeZone = 'UTC'")
        yield _DuckDB(connection, duckdb.Error)
    finally:
        connection.disconnect()


class _DuckDB:
    def __init__(self, connection: Any, failures: Any) -> None:
        self._connection = connection
        self._failures = failures
        self._tables = 0

    def read(self, paths: Sequence[str]) -> Any:
        with self._told():
            columns = dict.fromkeys(COLUMNS, "VARCHAR")
            # Without the column that the names of an archive's folders would add.
            options = {"columns": columns, "format": "newline_delimited", "hive_partitioning": False}
            return self._connection.read_json(list(paths), **options)

    def keep(self, table: Any) -> Any:
        self._tables += 1
        with self._told():
            return self._connection.create_table(f"kept_{self._tables}", table, temp=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except self._failures as exc:
            raise EngineFailed(f"The entries cannot be read: {str(exc).splitlines()[0]}.") from exc
