# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one place where an engine is connected: everything else is written as Ibis expressions, which any engine runs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, ContextManager, Iterator, Protocol, Sequence, Type

from ...errors import EngineFailed
from .libraries import require

COLUMNS = ("timestamp", "action", "message", "ip_address", "actor", "subject")
"""What is read of each entry, all as texts: nothing is inferred. Objects become their JSON."""

PATH = "filename"
"""The column with the path of the file that an entry was read from."""

ENGINES = ("duckdb", "spark")
"""The embedded engine, and the one for what a single machine cannot hold."""

LIBRARIES = {
    "duckdb": dict.fromkeys(("ibis", "duckdb"), "ibis-framework[duckdb]"),
    "spark": dict.fromkeys(("ibis", "pyspark", "py4j"), "ibis-framework[pyspark]"),
}
"""What brings each engine's modules."""

_ROWS = 10_000

MEMORY = "2GB"
"""The most memory that the embedded engine takes before it spills to disk."""


class Unreadable(EngineFailed):
    """The engine cannot read the entries that it was given."""


class Engine(Protocol):
    """An engine that is connected."""

    def read(self, paths: Sequence[str]) -> Any:
        """A table with COLUMNS and PATH over files of JSON lines, gzipped ones among them.

        :raises Unreadable: they cannot be read; it may also show when the table is used.
        """

    def keep(self, table: Any) -> Any:
        """The same table, computed once.

        :raises Unreadable: the files behind it cannot be read.
        """

    def batches(self, table: Any) -> Iterator[Any]:
        """The rows of kept tables in Arrow's record batches, in order; few of them are in memory at once."""


def connected(name: str, folder: str) -> ContextManager[Engine]:
    """One of ENGINES; ``folder`` takes what does not fit into the memory of this machine.

    :raises MissingDependency: Ibis or the engine is not installed.
    :raises EngineFailed: it cannot be started, or fails while it is used.
    """
    return spark() if name == "spark" else embedded(folder)


@contextmanager
def embedded(folder: str) -> Iterator[Engine]:
    """DuckDB in this process; ``folder`` takes what does not fit into memory.

    :raises MissingDependency: Ibis or DuckDB is not installed.
    :raises EngineFailed: it fails, for instance because memory and disk do not suffice.
    """
    require(LIBRARIES["duckdb"])
    import duckdb
    import ibis

    with _told("DuckDB", EngineFailed, duckdb.Error):
        connection = ibis.duckdb.connect(temp_directory=folder, memory_limit=MEMORY)
        try:
            connection.raw_sql("SET TimeZone = 'UTC'")
            yield _DuckDB(connection, duckdb.Error)
        finally:
            connection.disconnect()


@contextmanager
def spark() -> Iterator[Engine]:
    """Spark, where its own configuration says (``SPARK_CONF_DIR``); without one in this process.

    :raises MissingDependency: Ibis or Spark is not installed.
    :raises EngineFailed: it cannot be started, or it fails.
    """
    require(LIBRARIES["spark"])
    import ibis
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    failures = (PySparkException, Py4JError)
    with _told("Spark", EngineFailed, failures):
        session = SparkSession.builder.appName("cloudscale audit report").getOrCreate()
        connection = ibis.pyspark.connect(session, **{"spark.sql.execution.arrow.pyspark.enabled": "true"})
        try:
            yield _Spark(session, connection, failures)
        finally:
            connection.disconnect()


@contextmanager
def _told(name: str, kind: Type[EngineFailed], failures: Any) -> Iterator[None]:
    """Turn an engine's failures into one of ours."""
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
        with _told("DuckDB", Unreadable, self._failures):
            columns = dict.fromkeys(COLUMNS, "VARCHAR")
            # Without the column that the names of an archive's folders would add.
            options = {"columns": columns, "format": "newline_delimited", "hive_partitioning": False, "filename": True}
            return self._connection.read_json(list(paths), **options)

    def keep(self, table: Any) -> Any:
        self._tables += 1
        with _told("DuckDB", Unreadable, self._failures):
            return self._connection.create_table(f"kept_{self._tables}", table, temp=True)

    def batches(self, table: Any) -> Iterator[Any]:
        # Not by Ibis 12, which asks for them by a name that DuckDB 2 does not know any more.
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
        with _told("Spark", Unreadable, self._failures):
            schema = ", ".join(f"{name} STRING" for name in COLUMNS)
            found = self._session.read.json(list(paths), schema=schema, mode="FAILFAST")
            found.select(*COLUMNS, input_file_name().alias(PATH)).createOrReplaceTempView(name)
            return self._connection.table(name)

    def keep(self, table: Any) -> Any:
        with _told("Spark", Unreadable, self._failures):
            # Only a query makes Python's functions and tables of this process known to Spark.
            table.limit(0).to_pyarrow()
            kept = table.cache()
            # It is computed when it is first used: what cannot be read should show here.
            kept.count().to_pyarrow()
            return kept

    def batches(self, table: Any) -> Iterator[Any]:
        yield from table.to_pyarrow_batches(chunk_size=_ROWS)
