"""What of a lake in memory a served table is given."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from crypto_pipeline import change_feed
from crypto_pipeline.bronze import klines
from crypto_pipeline.change_feed import follow, spans
from crypto_pipeline.lake_sql import Lake
from crypto_pipeline.reader import arrow_schema
from crypto_pipeline.silver import completeness, completeness_daily, completeness_hourly, ohlcv, ohlcv_1m
from serving.tables import served
from tests.crypto_pipeline.memory_lake import MemoryLake

DAY = datetime(2026, 3, 5)  # noqa: DTZ001 (as Spark gives it to a process in UTC)
SERIES = {"exchange": "binance", "symbol": "BTCUSDT"}
CANDLES = served()["silver.fact_ohlcv"]


@pytest.fixture
def lake(spark: SparkSession) -> MemoryLake:
    return MemoryLake(spark)


def candle(minute: int, close: int = 1, interval: str = "1m") -> dict[str, object]:
    start = DAY + timedelta(minutes=minute)
    return {**SERIES, "interval": interval, "interval_start": start, "close": Decimal(close), "month": f"{start:%Y-%m}"}


def came(pieces: object) -> list[tuple[object, ...]]:
    rows = [row for piece in pieces for row in piece.to_pylist()]  # type: ignore[attr-defined]
    return sorted((row["interval"], row["interval_start"].replace(tzinfo=None), row["close"]) for row in rows)


def test_candles_come_from_both_tables_and_then_only_those_that_changed(lake: MemoryLake) -> None:
    lake.put(ohlcv_1m.TABLE, [candle(0), candle(1)])
    lake.put(ohlcv.TABLE, [candle(0, interval="5m")])
    first = follow(lake, CANDLES, {})
    assert len(came(first.pieces)) == 3
    lake.put(ohlcv_1m.TABLE, [candle(1, close=2)])
    second = follow(lake, CANDLES, first.followed)
    assert came(second.pieces) == [("1m", DAY + timedelta(minutes=1), Decimal(2))]
    third = follow(lake, CANDLES, second.followed)
    assert third.followed == second.followed
    assert came(third.pieces) == []


def test_rows_have_the_columns_of_the_table_in_arrow(lake: MemoryLake) -> None:
    lake.put(ohlcv_1m.TABLE, [candle(0)])
    [piece] = follow(lake, CANDLES, {}).pieces
    assert piece.schema.names == CANDLES.column_names
    assert piece.schema.field("close").type == pa.decimal128(38, 18)


def test_many_rows_come_in_spans_of_days_each_row_once(lake: MemoryLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_feed, "MANY", 3)
    rows = [candle(minute) for minute in (0, 1, 1439, 1440, 2880, 100_000)]
    lake.put(ohlcv_1m.TABLE, rows)
    pieces = list(follow(lake, CANDLES, {}).pieces)
    assert [piece.num_rows for piece in pieces] == [3, 3]
    assert came(pieces) == sorted(("1m", row["interval_start"], row["close"]) for row in rows)


def test_of_klines_only_closed_ones_are_served(lake: MemoryLake) -> None:
    one = {**SERIES, "interval": "1m", "source": "rest", "month": "2026-03", "ordering": 1}
    lake.put(klines.TABLE, [{**one, "open_time": DAY + timedelta(minutes=n), "is_closed": n == 0} for n in range(2)])
    [piece] = follow(lake, served()["bronze.bronze_ohlcv_native"], {}).pieces
    assert [row["open_time"].replace(tzinfo=None) for row in piece.to_pylist()] == [DAY]


@pytest.mark.parametrize("view", [completeness_hourly.VIEW, completeness_daily.VIEW], ids=lambda view: view.name)
def test_the_hours_and_days_of_changed_minutes_are_those_of_the_lakes_view(lake: MemoryLake, view: object) -> None:
    def minute(number: int, status: str = "complete") -> dict[str, object]:
        start = DAY + timedelta(minutes=number)
        says = {"status": status, "trades_expected": 4, "trades_received": 3, "depth_seconds": 60}
        return {**SERIES, "interval_start": start, "month": f"{start:%Y-%m}", **says}

    rows = {number: minute(number) for number in (0, 59, 60, 1439, 1440)}
    lake.put(completeness.TABLE, rows.values())
    table = served()[view.full_name]  # type: ignore[attr-defined]
    followed = follow(lake, table, {}).followed
    rows[59] = minute(59, "missing")
    lake.put(completeness.TABLE, [rows[59]])

    class InMemory:
        def read(self, columns: list[str] | None = None, filters: object = ()) -> pa.Table:
            stored = [{**row, "interval_start": row["interval_start"].replace(tzinfo=UTC)} for row in rows.values()]  # type: ignore[attr-defined]
            whole = pa.Table.from_pylist(stored, arrow_schema(completeness.TABLE))
            return whole.select(columns or whole.column_names)

        def partitions(self) -> list[dict[str, str]]:
            return [{"month": "2026-03"}]

    name = "hour_start" if view is completeness_hourly.VIEW else "day"
    with Lake(
        {completeness.TABLE.full_name: completeness.TABLE}, {table.full_name: view}, lambda _t: InMemory()
    ) as duck:  # type: ignore[dict-item]
        asked = f"from {table.full_name} where {name} < timestamptz '2026-03-06' order by {name}"
        expected = duck.query(asked).select(table.column_names).to_pylist()
    found = [row for piece in follow(lake, table, followed).pieces for row in piece.to_pylist()]
    assert len(found) == (3 if name == "hour_start" else 1)
    for got, wanted in zip(sorted(found, key=lambda row: str(row[name])), expected, strict=True):
        assert {k: str(v)[:19] for k, v in got.items()} == {k: str(v)[:19] for k, v in wanted.items()}


def test_days_are_joined_to_spans_of_at_most_so_many_rows() -> None:
    days = [datetime(2026, 3, number, tzinfo=UTC) for number in (1, 2, 3, 9)]
    counts = dict(zip(days, (2, 1, 5, 1), strict=True))
    one = timedelta(days=1)
    assert spans(counts, 3) == [(days[0], days[1] + one), (days[2], days[2] + one), (days[3], days[3] + one)]
    assert spans({}, 3) == []
