"""A lake in this process's memory, so that tables are followed from commit to commit without Hudi."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql.pandas.types import to_arrow_schema

from crypto_pipeline.lakehouse import BEGINNING, Changes, Commit, Lakehouse, of_hours
from shared.settings import Settings, settings
from shared.tables import Table

Stored = dict[tuple[Any, ...], tuple[str, Row]]
"""The rows of a table in their latest state, by key, each with the mark of the commit that wrote it."""


@dataclass(frozen=True)
class MemoryLake(Lakehouse):
    """What `refresh` asks of a lake. Times are naive, in UTC, as Spark gives them to a process whose zone that is."""

    settings: Settings = field(default_factory=settings)
    buckets: int = 1
    stored: dict[str, Stored] = field(default_factory=dict)
    written: list[tuple[str, list[Row]]] = field(default_factory=list)
    """The rows of each write, and the name of the table."""
    _notes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _clock: list[datetime] = field(default_factory=lambda: [datetime(2026, 1, 1, tzinfo=UTC)])

    def put(self, table: Table, values: Iterable[Mapping[str, Any]]) -> None:
        """Rows in one commit; columns that are not given are null."""
        self._commit(table, [Row(**{name: value.get(name) for name in table.column_names}) for value in values])

    def set_clock(self, now: datetime) -> None:
        """Commits are done from now on, and never before those that were."""
        self._clock[0] = max(self._clock[0], now)

    def rows(self, table: Table) -> list[Row]:
        """All rows of a table, by key."""
        there = self.stored.get(table.full_name, {})
        return [there[key][1] for key in sorted(there)]

    def like(self, other: "MemoryLake", tables: Iterable[Table]) -> None:
        """Take over these tables of another lake."""
        for table in tables:
            self.stored[table.full_name] = dict(other.stored.get(table.full_name, {}))

    def _commit(self, table: Table, rows: Iterable[Row]) -> None:
        self._clock[0] += timedelta(milliseconds=1)
        mark = self._clock[0].strftime("%Y%m%d%H%M%S%f")[:-3]
        there = self.stored.setdefault(table.full_name, {})
        for row in rows:
            key = tuple(row[name] for name in table.key)
            order = row[table.ordering] if table.ordering else None
            if order is None or key not in there or there[key][1][table.ordering] <= order:
                there[key] = (mark, row)

    def _frame(self, table: Table, rows: Iterable[Row]) -> DataFrame:
        there = list(rows)
        if not there:  # what the optimizer sees to be empty, as Connect's frames
            nothing = ", ".join(f"CAST(NULL AS {column.type}) AS `{column.name}`" for column in table.columns)
            return self.spark.sql(f"SELECT {nothing} WHERE false")
        schema = ", ".join(f"`{column.name}` {column.type}" for column in table.columns)
        return self.spark.createDataFrame(there, schema)

    def read(self, table: Table, hours: Iterable[datetime] | None = None) -> DataFrame:
        rows = self._frame(table, self.rows(table))
        return rows if hours is None else rows.filter(of_hours(table, list(hours)))

    def commits(self, table: Table) -> list[Commit]:
        marks = {mark for mark, _ in self.stored.get(table.full_name, {}).values()}
        return [Commit(mark, mark, "deltacommit") for mark in sorted(marks, reverse=True)]

    def changes(self, table: Table, since: str) -> Changes:
        new = [row for mark, row in self.stored.get(table.full_name, {}).values() if mark > since]
        commits = self.commits(table)
        until = commits[0].completed if commits else BEGINNING
        writes = tuple(one for one in commits if one.completed > since)
        known = self.kept and self.kept.of(table, [one.completed for one in reversed(writes)])
        return Changes(self._frame(table, new) if known is None else self.local(table, known), until, writes)

    def rows_written(self, table: Table, commits: Iterable[Commit]) -> int:
        done = {commit.completed for commit in commits}
        return sum(mark in done for mark, _ in self.stored.get(table.full_name, {}).values())

    def arrow(self, rows: DataFrame) -> Iterator[pa.Table]:
        batches = rows._collect_as_arrow()
        yield pa.Table.from_batches(batches) if batches else to_arrow_schema(rows.schema).empty_table()

    def local(self, table: Table, rows: pa.Table) -> DataFrame:
        return self._frame(table, [Row(**row) for row in rows.to_pylist()])

    def note(self, table: Table, name: str) -> str | None:
        return self._notes.get(table.full_name, {}).get(name)

    def write(
        self,
        table: Table,
        rows: DataFrame,
        notes: Mapping[str, str],
        *,
        is_unique: bool = False,
        into_empty: bool = False,
        count: int | None = None,
    ) -> None:
        new = rows.select(table.column_names).collect()
        assert count in (None, len(new)), "it would be written in another way than so many are"
        if is_unique or into_empty:
            assert len({tuple(row[name] for name in table.key) for row in new}) == len(new), "it would stand twice"
        self._commit(table, new)
        self.written.append((table.full_name, new))
        self._notes[table.full_name] = notes

    def compact_after_bulk(self, table: Table, rows: int, now: datetime) -> None:
        pass

    @contextmanager
    def pinned(self, rows: DataFrame, *, at_once: bool = False) -> Iterator[DataFrame]:
        yield rows.localCheckpoint()  # not cached: Spark would analyse how they came about with each step anew
