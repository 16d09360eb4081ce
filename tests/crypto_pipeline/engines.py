"""The two engines that read the lake's SQL, over rows in memory: a test asks both the same."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from crypto_pipeline import as_of
from crypto_pipeline.lake_sql import Lake
from crypto_pipeline.reader import Filter, arrow_schema
from crypto_pipeline.silver import ohlcv, ohlcv_1m
from crypto_pipeline.silver.candles import INTERVALS, PRICES_AND_VOLUMES, VERSION
from shared.tables import Table, View

START = datetime(2026, 8, 6, tzinfo=UTC)
Row = dict[str, Any]


def minute(number: int) -> datetime:
    """So many minutes after midnight."""
    return START + timedelta(minutes=number)


def micros(number: int) -> int:
    """The same in microseconds since 1970."""
    return (minute(number) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def candle(at: int, price: int, interval: str = "1m", known_at: int = 1, **changes: Any) -> Row:
    """A closed candle of one price that starts at minute `at`, known since minute `known_at`."""
    seconds = INTERVALS[interval]
    values: Row = {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "interval": interval,
        "interval_seconds": seconds,
        "interval_start": minute(at),
        "interval_end": minute(at + seconds // 60),
        **dict.fromkeys((*PRICES_AND_VOLUMES, "vwap"), Decimal(price)),
        "trade_count": 1,
        "is_closed": True,
        "status": "complete",
        "proof": "trade_ids",
        "source": "websocket",
        "minutes_present": 1,
        "minutes_expected": seconds // 60,
        "month": "2026-08",
        "known_at": minute(known_at),
        "ingestion_ts": minute(known_at),
    }
    superseded = changes.get("superseded")
    return values | {"revision": len(superseded or ()) + 1} | changes


def version(revision: int, price: int, known_from: int, known_to: int, **changes: Any) -> Row:
    """A version that was superseded."""
    values: Row = {
        **dict.fromkeys((*PRICES_AND_VOLUMES, "vwap"), Decimal(price)),
        "trade_count": 1,
        "first_trade_id": None,
        "last_trade_id": None,
        "status": "complete",
        "proof": "trade_ids",
        "source": "websocket",
        "minutes_present": 1,
        "revision": revision,
        "known_at": micros(known_from),
        "ingestion_ts": micros(known_from),
        "known_to": micros(known_to),
    }
    return {name: {**values, **changes}[name] for name in VERSION}


@dataclass
class Stored:
    """A table of the lake as DuckDB is given it."""

    table: Table
    rows: Sequence[Row]

    def read(self, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()) -> pa.Table:
        whole = [{name: row.get(name) for name in self.table.column_names} for row in self.rows]
        values = pa.Table.from_pylist(whole, arrow_schema(self.table))
        for name, _, wanted in filters:
            values = values.filter(pc.field(name).isin(wanted.split(",")))
        return values.select(columns or self.table.column_names)

    def partitions(self) -> list[dict[str, str]]:
        return [{name: row[name] for name in self.table.partitions} for row in self.rows]


@dataclass
class Engine:
    """What a test puts in, and what it is answered: exact decimals, times in UTC."""

    tables: dict[str, Table] = field(default_factory=lambda: {t.full_name: t for t in (ohlcv_1m.TABLE, ohlcv.TABLE)})
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def has(self, table: Table, rows: Iterable[Row]) -> None:
        """The rows that the table has; without, none."""
        self.tables[table.full_name] = table
        self.rows[table.full_name] = list(rows)

    def stored(self, table: Table) -> Stored:
        return Stored(table, self.rows.get(table.full_name, []))

    def ask(self, sql: str, *views: View) -> list[Row]:
        raise NotImplementedError

    def ask_as_of(self, sql: str, moment: int, *, assume_live: bool = False) -> list[Row]:
        raise NotImplementedError


class DuckDb(Engine):
    """As `crypto query` asks."""

    def ask(self, sql: str, *views: View) -> list[Row]:
        called = {view.full_name: view for view in views}
        functions = dict([as_of.function()])
        return self._asked(sql, Lake(self.tables, called, self.stored, functions=functions, exact=True))

    def ask_as_of(self, sql: str, moment: int, *, assume_live: bool = False) -> list[Row]:
        views = as_of.views(moment, assume_live=assume_live)
        return self._asked(sql, Lake(as_of.STORED, views, self.stored, lacks=as_of.LACKS, exact=True))

    def _asked(self, sql: str, session: Lake) -> list[Row]:
        with session as lake:
            rows: list[Row] = lake.query(sql).to_pylist()
            return rows


@dataclass
class Spark(Engine):
    """As the Connect server answers, but for the names: a temporary view has no database."""

    spark: SparkSession | None = None

    def ask(self, sql: str, *views: View) -> list[Row]:
        names = self._tables() | {view.full_name: view.full_name.replace(".", "_") for view in views}
        made = [
            f"CREATE OR REPLACE TEMPORARY VIEW {names[v.full_name]} AS {as_of.renamed(v.sql, names)}" for v in views
        ]
        return self._asked([*made, as_of.renamed(sql, names)])

    def ask_as_of(self, sql: str, moment: int, *, assume_live: bool = False) -> list[Row]:
        statements = as_of.in_spark(sql, moment, assume_live=assume_live)
        names = self._tables()
        return self._asked([as_of.renamed(statement, names) for statement in statements])

    def _tables(self) -> Mapping[str, str]:
        assert self.spark
        names = {}
        for name, table in self.tables.items():
            rows = [tuple(row.get(column) for column in table.column_names) for row in self.rows.get(name, [])]
            schema = ", ".join(f"`{c.name}` {c.type}" for c in table.columns)
            names[name] = name.replace(".", "_")
            self.spark.createDataFrame(rows, schema).createOrReplaceTempView(names[name])
        return names

    def _asked(self, statements: Iterable[str]) -> list[Row]:
        assert self.spark
        answer = [self.spark.sql(statement) for statement in statements][-1].collect()
        return [{name: _in_utc(value) for name, value in row.asDict().items()} for row in answer]


def _in_utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
