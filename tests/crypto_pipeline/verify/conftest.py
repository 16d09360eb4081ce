"""A lake in memory, healthy: what bronze got, and what the code of silver makes of it."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import DataFrame, SparkSession

from crypto_pipeline.bronze import agg_trades, connections, depth, gaps, klines, tickers, trades
from crypto_pipeline.catalog import tables
from crypto_pipeline.reader import WRITTEN_BY, Filter, arrow_schema
from crypto_pipeline.refresh import MARKS
from crypto_pipeline.silver import ohlcv, ohlcv_1m, quiet_intervals
from shared.events import AnyEvent, ConnectionReport, DepthSnapshot, Gap, Ticker
from shared.tables import OFFSETS, Notes, Table
from tests.crypto_pipeline.conftest import MINUTE, START, agg_trade, kline, trade

Messages = Callable[[Iterable[AnyEvent]], DataFrame]
NOW = datetime.fromtimestamp(START / 1e6, UTC) + timedelta(minutes=20)
"""When silver was made last."""
EARLY, LATE = "20260806072000000", "20260806072500000"
"""The commit that silver has followed, and one that was done since."""

SILVER = (ohlcv_1m, quiet_intervals, ohlcv)
"""Each after what it is made from."""


@dataclass(frozen=True)
class Opened:
    """A table of `MemoryTables`."""

    table: Table
    stored: pa.Table
    logs: int = 1

    def batches(self, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()) -> Iterator[pa.RecordBatch]:
        rows = self.stored
        for name, operator, wanted in filters:
            assert operator in ("=", "IN")
            rows = rows.filter(pc.field(name).isin(wanted.split(",")))
        yield from rows.select(columns or rows.column_names).to_batches(max_chunksize=3)

    def partitions(self) -> list[dict[str, str]]:
        found = {tuple((name, row[name]) for name in self.table.partitions) for row in self.stored.to_pylist()}
        return [dict(one) for one in sorted(found)]

    def log_files(self) -> list[int]:
        return [self.logs] if self.stored.num_rows else []


@dataclass(frozen=True)
class MemoryTables:
    """Each table's rows with the commit that wrote them; `LATE` has not been followed by silver."""

    rows: Mapping[str, list[dict[str, Any]]]
    noted: Mapping[str, dict[str, str]]
    logs: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, Table] = field(default_factory=dict)
    """Contracts that are not in the catalog."""

    def opened(self, table: Table) -> Opened:
        contract = self.others.get(table.full_name) or tables()[table.full_name]
        whole = replace(contract, columns=(*contract.columns, WRITTEN_BY))
        stored = pa.Table.from_pylist(self.rows.get(table.full_name, []), arrow_schema(whole))
        return Opened(contract, stored, self.logs.get(table.full_name, 1))

    def notes(self, table: Table, name: str) -> Notes | None:
        values = self.noted.get(table.full_name, {})
        return Notes(EARLY, values) if name in values else None

    def done_after(self, table: Table, mark: str) -> Collection[str]:
        return [commit for commit in (EARLY, LATE) if commit > mark]

    def but(self, table: Table, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> "MemoryTables":
        """The same with other rows in one table."""
        rows = [dict(row) for row in self.rows[table.full_name]]
        return replace(self, rows={**self.rows, table.full_name: change(rows)})


def utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def stored(spark: SparkSession, as_messages: Messages, events: Sequence[Any], now: datetime = NOW) -> MemoryTables:
    """The lake in which these events have arrived and silver's candles were made at `now`."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for module in (trades, agg_trades, klines, gaps, depth, tickers, connections):
        mine = [event for event in events if isinstance(event, module.EVENT)]
        rows[module.TABLE.full_name] = collected(module.build(as_messages(mine)), module.TABLE) if mine else []
    for module in SILVER:
        rows[module.TABLE.full_name] = made(spark, module, rows, now)
    marks = {
        module.TABLE.full_name: {MARKS: json.dumps({source.full_name: EARLY for source in module.SOURCES})}
        for module in SILVER
    }
    offsets = {name: {OFFSETS: "{}"} for name in rows if name.startswith("bronze.")}
    written = {name: [{**row, WRITTEN_BY.name: EARLY} for row in found] for name, found in rows.items()}
    return MemoryTables(written, {**marks, **offsets})


def made(
    spark: SparkSession, module: ModuleType, rows: Mapping[str, list[dict[str, Any]]], now: datetime
) -> list[dict[str, Any]]:
    """The table of a module, from nothing. What was made before is a leaf of the plan, as in a run."""
    nothing = frame(spark, module.TABLE, [])
    sources = {source.full_name: frame(spark, source, rows.get(source.full_name, [])) for source in module.SOURCES}
    touched = module.touched(sources, nothing, now)
    keys = spark.createDataFrame(touched.collect(), touched.schema)
    return collected(module.build(keys, sources, nothing, now), module.TABLE)


def frame(spark: SparkSession, table: Table, rows: Iterable[Mapping[str, Any]]) -> DataFrame:
    """Rows as Spark has the table."""
    schema = ", ".join(f"{column.name} {column.type}" for column in table.columns)
    return spark.createDataFrame([tuple(row[name] for name in table.column_names) for row in rows], schema)


def collected(rows: DataFrame, table: Table) -> list[dict[str, Any]]:
    """What Spark made, by key."""
    found = [
        {name: utc(value) for name, value in row.asDict(recursive=True).items()}
        for row in rows.select(table.column_names).collect()
    ]
    return sorted(found, key=lambda row: [row[name] for name in table.key])


def gap(stream: str, first: int, last: int, status: str, at: int, **changes: Any) -> Gap:
    """A hole of BTCUSDT that begins at `at`."""
    values = {
        "exchange": "binance", "symbol": "BTCUSDT", "base_asset": "BTC", "quote_asset": "USDT", "event_time": at,
        "source": "websocket", "connection_id": "a", "gap_stream": stream, "first_missing": first,
        "last_missing": last, "missing": 0, "cause": "id_jump", "status": status, "repaired_from": "rest",
        "detail": "one was missing", "updated_at": at + 2 * MINUTE,
    }  # fmt: skip
    return Gap(**{**values, **changes})


def connection(name: str, opened: int, closed: int | None, reason: str = "") -> ConnectionReport:
    """A connection to Binance."""
    return ConnectionReport(
        exchange="binance",
        connection_id=name,
        opened_at=opened,
        closed_at=closed,
        reason=reason,
        channels=4,
        clock_offset=0,
        updated_at=closed or opened,
    )


def snapshot(update: int, at: int) -> DepthSnapshot:
    """A book of BTCUSDT."""
    side = ((Decimal(1), Decimal(1)),)
    return DepthSnapshot(
        exchange="binance", symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT", event_time=None, received_at=at,
        source="websocket", connection_id="a", update_id=update, levels=5, bids=side, asks=side,
    )  # fmt: skip


def ticker(at: int) -> Ticker:
    """A ticker of BTCUSDT."""
    one = Decimal(1)
    decimals = (
        "last_price", "last_quantity", "open_price", "high_price", "low_price", "price_change",
        "price_change_percent", "weighted_average_price", "volume", "quote_volume", "bid_price", "bid_quantity",
        "ask_price", "ask_quantity",
    )  # fmt: skip
    return Ticker(
        exchange="binance", symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT", event_time=at, received_at=at,
        source="websocket", connection_id="a", open_time=at, close_time=at, first_trade_id=1, last_trade_id=2,
        trade_count=2, **dict.fromkeys(decimals, one),
    )  # fmt: skip


def at(minute: int, second: float = 0) -> int:
    """Microseconds of a moment after START."""
    return START + minute * MINUTE + int(second * 1_000_000)


def matching(tape: Sequence[Any], minute: int, **changes: Any) -> Any:
    """The closed kline that the exchange makes of these trades."""
    decimals = {
        "open": tape[0].price, "close": tape[-1].price, "high": max(one.price for one in tape),
        "low": min(one.price for one in tape), "volume": sum(one.quantity for one in tape),
        "quote_volume": sum(one.quote_quantity for one in tape),
        "taker_buy_volume": sum((one.quantity for one in tape if not one.is_buyer_maker), Decimal(0)),
        "taker_buy_quote_volume": sum((one.quote_quantity for one in tape if not one.is_buyer_maker), Decimal(0)),
    }  # fmt: skip
    ids = {"first": tape[0].trade_id, "last": tape[-1].trade_id}
    if changes.get("source", "websocket") != "websocket":
        ids = dict.fromkeys(ids)
        changes = {"received_at": None, "published_at": None, **changes}
    return kline(at(minute), ids["first"], ids["last"], len(tape), **{**decimals, **changes})


def healthy() -> list[Any]:
    """A bit of everything: see the comments."""

    def one(number: int, minute: int, second: float, **changes: Any) -> Any:
        return trade(number, at(minute, second), str(1 + number % 5), "2.5", **{"connection_id": "a", **changes})

    by_rest = {"source": "rest", "received_at": None, "published_at": None}
    first = [one(5, 0, 1), one(6, 0, 2), one(7, 0, 59.999)]
    mended = [one(10, 3, 1), one(11, 3, 2, **by_rest), one(12, 3, 3)]
    unknown = [one(16, 5, 1), one(17, 5, 2)]
    return [
        # two days before: one trade, of which nothing proves that it was alone
        trade(1, at(-2 * 1440), "1", "1", connection_id="z"),
        # a minute with its kline
        *first, matching(first, 0),
        # one without, proven by the ids around it
        one(8, 1, 0), one(9, 1, 30),
        gap("kline_1m", at(1), at(1), "venue_gap", at(1), repaired_from=""),
        # one in which nothing traded
        kline(at(2), -1, -1, 0, **dict.fromkeys(("volume", "quote_volume"), Decimal(0))),
        # one that was mended, its kline too
        *mended, matching(mended, 3), gap("trade", 11, 11, "repaired", at(3, 1)),
        gap("kline_1m", at(3), at(3), "repaired", at(3)),
        # one of which REST gave merged fills alone
        one(13, 4, 1), agg_trade(1, at(4, 2), 14, 15, price=Decimal(3), quote_quantity=Decimal(6)),
        kline(at(4), 13, 15, 3, **dict.fromkeys(("open", "high", "low", "close"), Decimal(4)), volume=Decimal(4),
              quote_volume=Decimal(16)),
        # one that only the exchange knows
        matching(unknown, 5, source="rest"), gap("trade", 14, 17, "open", at(4, 1)),
        # one of which nothing is proven, beside the hole
        one(18, 6, 0, connection_id="b"), one(19, 6, 1, connection_id="b"),
        # a connection that was replaced
        connection("a", at(-10), at(4, 30), "replaced: it is 24 hours old"), connection("b", at(4, 20), None),
        snapshot(1, at(0, 1)), snapshot(2, at(0, 2)), ticker(at(0, 1)), ticker(at(0, 2)),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def lake(spark: SparkSession, as_messages: Messages) -> MemoryTables:
    """The healthy lake."""
    return stored(spark, as_messages, healthy())
