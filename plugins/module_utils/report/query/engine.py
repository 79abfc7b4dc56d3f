# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections to engines. All other code uses Ibis expressions, which run on any engine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, ContextManager, Iterator, Protocol, Sequence, Type

from ...errors import EngineFailed
from .libraries import require

COLUMNS = ("timestamp", "action", "message", "ip_address", "actor", "subject")
"""The columns that are read of each entry, as texts without type inference. Objects are read as JSON."""

PATH = "filename"
"""Column with the path of the file that an entry was read from."""

ENGINES = ("duckdb", "spark")
"""The embedded engine, and the one that scales beyond a single machine."""

LIBRARIES = {
    "duckdb": dict.fromkeys(("ibis", "duckdb"), "ibis-framework[duckdb]"),
    "spark": dict.fromkeys(("ibis", "pyspark", "py4j"), "ibis-framework[pyspark]"),
}
"""The Python modules of each engine, with the library that provides each."""

_ROWS = 10_000

MEMORY = "2GB"
"""Maximum memory of the embedded engine before it uses the disk."""


class Unreadable(EngineFailed):
    """The engine cannot read the given entries."""


class Engine(Protocol):
    """A connected engine."""

    def read(self, paths: Sequence[str]) -> Any:
        """A table with COLUMNS and PATH over files of JSON lines, gzipped or not.

        :raises Unreadable: a file cannot be read; this might occur only when the table is used.
        """

    def keep(self, table: Any) -> Any:
        """Compute a table and keep it.

        :raises Unreadable: a file of the table cannot be read.
        """

    def batches(self, table: Any) -> Iterator[Any]:
        """The rows of a table in Arrow record batches, in order, with few of them in memory."""


def connected(name: str, directory: str) -> ContextManager[Engine]:
    """Connect to one of ENGINES. ``directory`` is for data that does not fit into memory.

    :raises MissingDependency: Ibis or the engine is not installed.
    :raises EngineFailed: the engine cannot be started, or fails.
    """
    return spark() if name == "spark" else embedded(directory)


@contextmanager
def embedded(directory: str) -> Iterator[Engine]:
    """DuckDB in this process. ``directory`` is for data that does not fit into memory.

    :raises MissingDependency: Ibis or DuckDB is not installed.
    :raises EngineFailed: DuckDB fails, for example because memory and disk are full.
    """
    require(LIBRARIES["duckdb"])
    import duckdb
    import ibis

    with _engine_failures("DuckDB", EngineFailed, duckdb.Error):
        connection = ibis.duckdb.connect(temp_directory=directory, memory_limit=MEMORY)
        try:
            connection.raw_sql("SET TimeZone = 'UTC'")
            yield _DuckDB(connection, duckdb.Error)
        finally:
            connection.disconnect()


@contextmanager
def spark() -> Iterator[Engine]:
    """Spark, as configured in ``SPARK_CONF_DIR``; without configuration, on this machine.

    :raises MissingDependency: Ibis or Spark is not installed.
    :raises EngineFailed: Spark cannot be started, or fails.
    """
    require(LIBRARIES["spark"])
    import ibis
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    failures = (PySparkException, Py4JError)
    with _engine_failures("Spark", EngineFailed, failures):
        session = SparkSession.builder.appName("cloudscale audit report").getOrCreate()
        connection = ibis.pyspark.connect(session, **{"spark.sql.execution.arrow.pyspark.enabled": "true"})
        try:
            yield _Spark(session, connection, failures)
        finally:
            connection.disconnect()


@contextmanager
def _engine_failures(name: str, kind: Type[EngineFailed], failures: Any) -> Iterator[None]:
    """Convert an engine's exceptions into one of this collection."""
    try:
        yield
    except failures as exc:
        raise kind(f"{name} failed: {(str(exc).splitlines() or [type(exc).__name__])[0]}.") from exc


class _DuckDB:
    def __init__(self, connection: Any, failures: Any) -> None:
        self._connection = connection
        self._failures = failures
        self._tables = 0

    def read(self, paths: Sequence[str]) -> Any:
        with _engine_failures("DuckDB", Unreadable, self._failures):
            columns = dict.fromkeys(COLUMNS, "VARCHAR")
            # An archive's directory names would add a column.
            options = {"columns": columns, "format": "newline_delimited", "hive_partitioning": False, "filename": True}
            return self._connection.read_json(list(paths), **options)

    def keep(self, table: Any) -> Any:
        self._tables += 1
        with _engine_failures("DuckDB", Unreadable, self._failures):
            return self._connection.create_table(f"kept_{self._tables}", table, temp=True)

    def batches(self, table: Any) -> Iterator[Any]:
        # Ibis 12 calls a method that DuckDB 2 no longer has.
        found = self._connection.con.sql(self._connection.compile(table))
        read = found.to_arrow_reader if hasattr(found, "to_arrow_reader") else found.fetch_arrow_reader
        yield from read(_ROWS)


class _Spark:
    def __init__(self, session: Any, connection: Any, failures: Any) -> None:
        self._session = session
        self._connection = connection
        self._failures = failures
        self._tables = 0

    def read(self, paths: Sequence[str]) -> Any:
        from pyspark.sql.functions import input_file_name

        self._tables += 1
        name = f"read_{self._tables}"
        with _engine_failures("Spark", Unreadable, self._failures):
            schema = ", ".join(f"{name} STRING" for name in COLUMNS)
            found = self._session.read.json(list(paths), schema=schema, mode="FAILFAST")
            found.select(*COLUMNS, input_file_name().alias(PATH)).createOrReplaceTempView(name)
            return self._connection.table(name)

    def keep(self, table: Any) -> Any:
        with _engine_failures("Spark", Unreadable, self._failures):
            # Spark registers Python functions and in-memory tables only for a query.
            table.limit(0).to_pyarrow()
            kept = table.cache()
            # Compute the table now, so that unreadable files are detected here.
            kept.count().to_pyarrow()
            return kept

    def batches(self, table: Any) -> Iterator[Any]:
        yield from table.to_pyarrow_batches(chunk_size=_ROWS)
