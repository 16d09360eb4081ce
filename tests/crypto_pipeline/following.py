"""A silver table of one bronze source, followed in parts as `refresh` does it, but without a lake."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from shared.events import AnyEvent

LATER = datetime(2100, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (pyspark gives naive times of the session, UTC)
Rows = dict[tuple[str, int], dict[str, Any]]
"""By symbol and the interval's start in microseconds."""


def micros(moment: datetime) -> int:
    """Of a naive time of the session."""
    return (moment - EPOCH) // timedelta(microseconds=1)


@dataclass
class Followed:
    """The table after each of several parts of its source."""

    rows: Rows = field(default_factory=dict)
    written: list[set[tuple[str, int]]] = field(default_factory=list)
    """The keys of the rows that each part wrote."""

    @property
    def says(self) -> Rows:
        """The rows without their bookkeeping."""
        return {key: {name: row[name] for name in row if name != "ingestion_ts"} for key, row in self.rows.items()}


@dataclass(frozen=True)
class Follower:
    """Follows what comes into `bronze` into the table of `silver`."""

    spark: SparkSession
    as_messages: Callable[[Iterable[AnyEvent]], DataFrame]
    bronze: ModuleType
    silver: ModuleType

    def follow(self, *parts: Sequence[AnyEvent], nows: Sequence[datetime] = ()) -> Followed:
        """The table after these parts, each followed as it came, at its time of `nows`; without these, long after."""
        table = Followed()
        there: dict[tuple[Any, ...], AnyEvent] = {}
        for part, now in zip(parts, nows or [LATER] * len(parts), strict=True):
            there |= {tuple(getattr(one, name) for name in self.bronze.TABLE.key): one for one in part}
            name, current = self.bronze.TABLE.full_name, self.frame(table.rows)
            keys = self.silver.touched({name: self._rows(part)}, current, now)
            made = self.silver.build(keys, {name: self._rows(there.values())}, current, now)
            assert made.columns == self.silver.TABLE.column_names
            assert [kind for _, kind in made.dtypes] == [column.type for column in self.silver.TABLE.columns]
            new = {(row.symbol, micros(row.interval_start)): row.asDict() for row in made.collect()}
            table.rows |= new
            table.written.append(set(new))
        return table

    def frame(self, rows: Rows) -> DataFrame:
        """The rows as Spark reads them."""
        schema = ", ".join(f"{column.name} {column.type}" for column in self.silver.TABLE.columns)
        return self.spark.createDataFrame([tuple(row.values()) for row in rows.values()], schema)

    def _rows(self, events: Iterable[AnyEvent]) -> DataFrame:
        rows: DataFrame = self.bronze.build(self.as_messages(events))
        return rows
