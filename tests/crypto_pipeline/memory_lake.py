"""A lake in memory, for tests of what a table's refresh reads and writes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame

from crypto_pipeline.lakehouse import Changes, Lakehouse, of_hours
from shared.tables import Table

Row = tuple[Any, ...]


@dataclass(frozen=True)
class MemoryLake(Lakehouse):
    """Keeps each table's rows by key, with the commit that wrote them. A commit takes a millisecond from `start` on."""

    bucket: str = "memory"
    buckets: int = 1
    start: datetime = datetime(2026, 8, 6, 12, tzinfo=UTC)
    rows: dict[str, dict[Row, tuple[str, Row]]] = field(default_factory=dict)
    noted: dict[str, dict[str, str]] = field(default_factory=dict)
    written: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list)
    """Each commit: the table's name and the rows, as they were given."""

    def frame(self, table: Table, rows: Iterable[Row]) -> DataFrame:
        """The rows as the table has them."""
        return self.spark.createDataFrame(list(rows), ", ".join(f"`{c.name}` {c.type}" for c in table.columns))

    def read(self, table: Table, hours: Iterable[datetime] | None = None) -> DataFrame:
        rows = self.frame(table, [row for _, row in self.rows.get(table.full_name, {}).values()])
        return rows if hours is None else rows.filter(of_hours(table, list(hours)))

    def note(self, table: Table, name: str) -> str | None:
        return self.noted.get(table.full_name, {}).get(name)

    def changes(self, table: Table, since: str) -> Changes:
        stored = self.rows.get(table.full_name, {}).values()
        new = [row for commit, row in stored if commit > since]
        return Changes(self.frame(table, new), max((commit for commit, _ in stored), default=since))

    def write(self, table: Table, rows: DataFrame, notes: Mapping[str, str], *, into_empty: bool = False) -> None:
        del into_empty
        commit = (self.start + timedelta(milliseconds=len(self.written))).strftime("%Y%m%d%H%M%S%f")[:-3]
        stored = self.rows.setdefault(table.full_name, {})
        given = rows.select(table.column_names).collect()
        for row in given:
            key = tuple(row[name] for name in table.key)
            if table.ordering and key in stored:
                place = table.column_names.index(table.ordering)
                if stored[key][1][place] > row[place]:
                    continue
            stored[key] = (commit, tuple(row))
        self.noted.setdefault(table.full_name, {}).update(notes)
        self.written.append((table.full_name, [row.asDict(recursive=True) for row in given]))

    def compact_after_bulk(self, table: Table, rows: int, now: datetime) -> None:
        pass
