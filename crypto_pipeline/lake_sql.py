"""SQL over the lake in this process: DuckDB asks, and only what it asks for is read."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Protocol, Self

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem

from crypto_pipeline import utc
from crypto_pipeline.reader import Filter, LakeError, arrow_schema, as_floats, floats
from shared.tables import Table, View

LACKS = "There is no table"


class SqlError(Exception):
    """What is wrong with the SQL, in DuckDB's words or ours."""


class Rows(Protocol):
    """A table that was opened; `reader.Snapshot` is one."""

    def read(self, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()) -> pa.Table:
        """The rows, with these columns and of these partitions."""

    def partitions(self) -> list[dict[str, str]]:
        """The value of each partition column, for every partition."""


class LakeTable(ds.Dataset):  # type: ignore[misc] # pyarrow has no types
    """A table of the lake as DuckDB sees it: it names the columns and the rows that it needs, and then they are read.

    That DuckDB scans a subclass of pyarrow's Dataset is what Lance's and others rest on.
    """

    def __init__(self, table: Table, opened: Callable[[Table], Rows], *, exact: bool) -> None:
        self._table = table
        self._opened = opened
        self._rows: Rows | None = None
        self._exact = exact
        self.failure: LakeError | None = None
        """Why it could not be read: DuckDB lets only the text of an error through."""

    @property
    def schema(self) -> pa.Schema:
        """The contract's columns."""
        schema = arrow_schema(self._table)
        return schema if self._exact else pa.schema([(field.name, floats(field.type)) for field in schema])

    def scanner(
        self,
        columns: list[str] | None = None,
        filter: ds.Expression | None = None,  # noqa: A002 (the name by which DuckDB gives it)
        **_options: Any,
    ) -> ds.Scanner:
        """What DuckDB calls, once for each time that the query names the table. All of them see the same snapshot."""
        try:
            self._rows = self._rows or self._opened(self._table)
            values = self._read(self._rows, columns, filter)
        except LakeError as error:
            self.failure = error
            raise
        return ds.dataset(values if self._exact else as_floats(values)).scanner(columns=columns, filter=filter)

    def _read(self, rows: Rows, columns: list[str] | None, condition: ds.Expression | None) -> pa.Table:
        wanted = columns or self._table.column_names
        if condition is None:
            return rows.read(wanted)
        # The condition may be on columns that the answer does not have.
        needed = [name for name in self._table.column_names if name in wanted or name in str(condition)]
        there = rows.partitions() if self._table.partitions else [{}]
        kept = partitions_kept(there, self.schema, condition, self._table.time)
        if not kept:
            return arrow_schema(self._table, needed).empty_table()
        filters = partition_filters(there, kept)
        if asked := values_asked_for(self._table.bucket, self.schema, condition):
            filters.append((self._table.bucket, "IN", ",".join(asked)))
        return rows.read(needed, filters)


def values_asked_for(column: str, schema: pa.Schema, condition: ds.Expression) -> list[str]:
    """The values of which a column must have one for the condition to be true; none where it may have any."""
    text = str(condition)
    values = re.findall(rf'\({column} == "([^",\\]+)"\)', text)
    if not values or len(values) < len(re.findall(rf"\b{column}\b", text)):
        return []
    # Where it is true for a value that nothing has, it does not ask for one.
    return [] if partitions_kept([{column: "\U0010ffff"}], schema, condition) else sorted(set(values))


def partitions_kept(
    partitions: Sequence[Mapping[str, str]], schema: pa.Schema, condition: ds.Expression, time: str | None = None
) -> list[Mapping[str, str]]:
    """The partitions that may hold rows for which the condition is true, as pyarrow reasons.

    `time` is the column whose values, where not null, lie in the month, day or hour that a partition is of.
    """
    files = ds.ParquetFileFormat()
    nowhere = LocalFileSystem()
    fragments = []
    for number, partition in enumerate(partitions):
        known = ds.scalar(True)
        for name, value in partition.items():
            known = known & (ds.field(name) == value)
        if time and (span := span_of(partition)):
            at = ds.field(time)
            known = known & ((at >= span[0]) | at.is_null()) & ((at < span[1]) | at.is_null())
        fragments.append(files.make_fragment(str(number), nowhere, partition_expression=known))
    found = ds.FileSystemDataset(fragments, schema, files, nowhere).get_fragments(filter=condition)
    return [partitions[int(fragment.path)] for fragment in found]


def span_of(partition: Mapping[str, str]) -> tuple[datetime, datetime] | None:
    """The month, day or hour in UTC that a partition is of, its end exclusive; none where it is of no such time."""
    try:
        if month := partition.get("month"):
            start = utc.moment(f"{month}-01")
            return start, (start + timedelta(days=31)).replace(day=1)
        start = utc.moment(f"{partition['date']}T{partition.get('hour', '00')}:00")
    except (KeyError, ValueError):  # Hudi has a name for the partition of null
        return None
    return start, start + (timedelta(hours=1) if "hour" in partition else timedelta(days=1))


def partition_filters(there: Iterable[Mapping[str, str]], kept: Sequence[Mapping[str, str]]) -> list[Filter]:
    """Conditions, one a column, that hold for all partitions that are kept; for some others they may hold too."""
    filters = []
    for name in kept[0]:
        values = {partition[name] for partition in kept}
        if values != {partition[name] for partition in there}:
            filters.append((name, "IN", ",".join(sorted(values))))
    return filters


_WORDS_OF_SPARK = {
    "explode(list)": "unnest(list)",
    "sequence(first, last)": "generate_series(first, last)",
    "timestamp_micros(micros)": "make_timestamptz(micros)",
    "timestamp_seconds(seconds)": "to_timestamp(seconds)",
    "unix_seconds(time)": "CAST(epoch(time) AS BIGINT)",
}
"""What Spark calls otherwise than DuckDB: a view's SQL is one for both."""


class Lake:
    """The tables and views by their names in a DuckDB session in UTC. Close it, or use it with `with`.

    A table under another name than its own is there for the views alone: it is not offered. `functions` give tables:
    what is called, with its parameters, and its SQL. `lacks` begins the sentence that answers to an unknown table.
    """

    def __init__(
        self,
        tables: Mapping[str, Table],
        views: Mapping[str, View],
        opened: Callable[[Table], Rows],
        *,
        functions: Mapping[str, str] | None = None,
        lacks: str = LACKS,
        exact: bool = False,
    ) -> None:
        self._names = [*(name for name, table in tables.items() if name == table.full_name), *views]
        self._lacks = lacks
        self._tables = []
        self._session = duckdb.connect()
        self._session.execute("SET TimeZone = 'UTC'")
        # In a notebook without ipywidgets there is none, and DuckDB refuses to be told so.
        with suppress(duckdb.InvalidInputException):
            self._session.execute("SET enable_progress_bar = false")
        for called, text in _WORDS_OF_SPARK.items():
            self._session.execute(f"CREATE MACRO {called} AS {text}")
        for schema in dict.fromkeys(name.split(".")[0] for name in (*tables, *views)):
            self._session.execute(f"CREATE SCHEMA {schema}")
        for name, table in tables.items():
            data = LakeTable(table, opened, exact=exact)
            self._tables.append(data)
            schema, bare = name.split(".")
            # A relation's view can only be made in the schema that is in use.
            self._session.execute(f"USE {schema}")
            self._session.from_arrow(data).create_view(bare)
        self._session.execute("USE memory.main")
        for view in views.values():
            self._session.execute(f"CREATE VIEW {view.full_name} AS {view.sql}")
        for called, text in (functions or {}).items():
            self._session.execute(f"CREATE MACRO {called} AS TABLE {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """The answer. Raises `SqlError` where the SQL is wrong, and `LakeError` where the lake cannot be read.

        `parameters` are the values of what stands in the SQL as `$name`.
        """
        try:
            answer = self._session.sql(sql, params=parameters)
            return pa.table({}) if answer is None else answer.to_arrow_table()
        except duckdb.Error as error:
            for table in self._tables:
                if table.failure:
                    raise table.failure from None
            raise SqlError(self._unknown(sql) or str(error)) from None

    def _unknown(self, sql: str) -> str:
        """What to say of tables that are not there; nothing where the fault is another."""
        try:
            unknown = sorted(self._session.get_table_names(sql, qualified=True) - set(self._names))
        except duckdb.Error:
            return ""
        return no_such_table(unknown[0], self._names, self._lacks) if unknown else ""


def no_such_table(name: str, names: Iterable[str], lacks: str = LACKS) -> str:
    """The sentence that names the tables there are, those of a name like the wanted one first."""
    bare = name.rpartition(".")[2]

    def likeness(candidate: str) -> float:
        return max(
            difflib.SequenceMatcher(None, name, candidate).ratio(),
            difflib.SequenceMatcher(None, bare, candidate.rpartition(".")[2]).ratio(),
        )

    return f"{lacks} {name}. There are: {', '.join(sorted(names, key=likeness, reverse=True))}."
