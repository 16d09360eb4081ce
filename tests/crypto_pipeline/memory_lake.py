"""A lake in this process's memory, so that tables can be followed, commit after commit, without Hudi."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession

from crypto_pipeline.lakehouse import BEGINNING, Changes, Lakehouse, of_hours
from shared.tables import Table

START = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryLake(Lakehouse):
    """Tables as the rows of their latest state, each with the commit that wrote it; marks are made as Hudi's are."""

    def __init__(self, spark: SparkSession) -> None:
        super().__init__(spark, "memory", 1)
        state: Mapping[str, Any] = {"rows": {}, "notes_of": {}, "now": START, "written": [], "commits_of": []}
        self.__dict__.update(state)

    rows: dict[str, dict[tuple[Any, ...], tuple[str, Row]]]
    notes_of: dict[str, Mapping[str, str]]
    now: datetime
    """When the next commit is done."""
    written: list[tuple[str, int]]
    """How many rows each write had."""
    commits_of: list[tuple[str, list[Row]]]
    """The rows of each write."""

    def at(self, now: datetime) -> "MemoryLake":
        """The lake at a time: commits are made then."""
        self.__dict__["now"] = now
        return self

    def put(self, table: Table, values: Iterable[Mapping[str, Any]]) -> None:
        """Rows of which only some columns are given, in one commit; the others are null."""
        self._commit(table, [Row(**{name: value.get(name) for name in table.column_names}) for value in values])

    def stored(self, table: Table) -> list[Row]:
        """The rows as they are now."""
        return [row for _, row in self.rows.get(table.full_name, {}).values()]

    def _commit(self, table: Table, rows: Iterable[Row]) -> None:
        self.__dict__["now"] = self.now + timedelta(milliseconds=1)
        mark = self.now.strftime("%Y%m%d%H%M%S%f")[:-3]
        there = self.rows.setdefault(table.full_name, {})
        for row in rows:
            key = tuple(row[name] for name in table.key)
            if table.ordering is None or key not in there or there[key][1][table.ordering] <= row[table.ordering]:
                there[key] = (mark, row)

    def frame(self, table: Table, rows: Iterable[Row]) -> DataFrame:
        schema = ", ".join(f"`{column.name}` {column.type}" for column in table.columns)
        return self.spark.createDataFrame(list(rows), schema)

    def read(self, table: Table, hours: Iterable[datetime] | None = None) -> DataFrame:
        rows = self.frame(table, self.stored(table))
        return rows if hours is None else rows.filter(of_hours(table, list(hours)))

    def changes(self, table: Table, since: str) -> Changes:
        there = self.rows.get(table.full_name, {})
        new = [row for mark, row in there.values() if mark > since]
        return Changes(self.frame(table, new), max((mark for mark, _ in there.values()), default=BEGINNING))

    def note(self, table: Table, name: str) -> str | None:
        return self.notes_of.get(table.full_name, {}).get(name)

    def write(self, table: Table, rows: DataFrame, notes: Mapping[str, str], *, into_empty: bool = False) -> None:
        new = rows.select(table.column_names).collect()
        self._commit(table, new)
        self.written.append((table.full_name, len(new)))
        self.commits_of.append((table.full_name, new))
        self.notes_of[table.full_name] = notes

    def compact_after_bulk(self, table: Table, rows: int, now: datetime) -> None:
        pass

    @contextmanager
    def pinned(self, rows: DataFrame, *, at_once: bool = False) -> Iterator[DataFrame]:
        kept = rows.cache()
        yield kept
        kept.unpersist()
