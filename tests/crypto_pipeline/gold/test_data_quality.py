"""How good a day's data is: the arithmetic by hand, and both tables as they are followed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import ceil, log
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import Row, SparkSession

from crypto_pipeline.bronze import gaps, quarantine, tickers, trades
from crypto_pipeline.gold import data_quality, data_quality_hourly, signals
from crypto_pipeline.gold.data_quality_hourly import GROWTH
from crypto_pipeline.refresh import refresh
from crypto_pipeline.silver import completeness, ohlcv_1m
from tests.crypto_pipeline.memory_lake import MemoryLake

DAY = datetime(2026, 11, 20)  # noqa: DTZ001 (Spark gives naive times of the session, UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
MILLISECOND = timedelta(milliseconds=1)
BTC = {"exchange": "binance", "symbol": "BTCUSDT"}
KEY = {"table_name": "bronze.trades", **BTC, "day": DAY}
WITHIN = 2 / (1 + GROWTH) * GROWTH - 1
"""How far a percentile may be from the true one, as a fraction."""


def histogram(latencies: list[float], stage: str = "received", **key: Any) -> pd.DataFrame:
    placed = pd.Series([max(0, ceil(log(max(ms, 1)) / log(GROWTH))) for ms in latencies])
    counts = placed.value_counts()
    return pd.DataFrame({"bucket": counts.index, "count": counts.to_numpy(), "stage": stage}).assign(**{**KEY, **key})


class TestLatencies:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.floats(1.5, 1e6), min_size=1, max_size=300))
    def test_a_percentile_is_that_of_the_rows_within_what_is_promised(self, ms: list[float]) -> None:
        row = data_quality.latencies(histogram(ms)).iloc[0]
        assert row["observations_received"] == len(ms)
        for percent in data_quality.PERCENTILES:
            true = np.percentile(ms, percent, method="inverted_cdf")
            assert row[f"latency_received_p{percent}_ms"] == pytest.approx(true, rel=WITHIN + 1e-9)
        assert WITHIN < 0.025

    def test_hours_add_up_to_what_all_their_rows_give(self) -> None:
        morning, evening = [3.0, 40.0, 41.0], [5.0, 900.0]
        both = pd.concat([histogram(morning), histogram(evening)])
        added = both.groupby([*KEY, "stage", "bucket"], as_index=False)["count"].sum()
        whole = data_quality.latencies(histogram(morning + evening))
        pd.testing.assert_frame_equal(data_quality.latencies(added), whole)

    def test_up_to_a_millisecond_and_below_0_is_1(self) -> None:
        row = data_quality.latencies(histogram([-5, 0, 1])).iloc[0]
        assert (row["latency_received_p50_ms"], row["latency_received_p99_ms"]) == (1, 1)

    def test_each_stage_and_key_has_its_own(self) -> None:
        both = pd.concat([histogram([10]), histogram([1000], "bronze"), histogram([20], symbol="ETHUSDT")])
        first, second = (row for _, row in data_quality.latencies(both).sort_values("symbol").iterrows())
        assert first["latency_received_p50_ms"] == pytest.approx(10, rel=WITHIN)
        assert first["latency_bronze_p50_ms"] == pytest.approx(1000, rel=WITHIN)
        assert second["latency_received_p50_ms"] == pytest.approx(20, rel=WITHIN)
        assert np.isnan(second["latency_bronze_p50_ms"])

    def test_of_nothing_there_is_nothing(self) -> None:
        assert data_quality.latencies(histogram([1]).iloc[:0]).empty


COUNTS = pd.DataFrame([{**KEY, "rows": 10, "duplicates": 0, "late": 1}])
NO_REFUSED = pd.DataFrame(columns=[*KEY, "quarantined"]).astype({"day": "datetime64[ns]"})
NO_HOLES = pd.DataFrame(columns=[*KEY, "gaps_open", "gaps_lost"]).astype({"day": "datetime64[ns]"})
EVIDENCE = {
    **{name: KEY[name] for name in ("exchange", "symbol", "day")},
    "proven_condition": "pending",
    "percent_received": 90.0,
    "percent_proven": 80.0,
    "percent_klines": 100.0,
    "percent_depth": 0.0,
    "percent_ticker": 98.9,
}


def judged(
    table: str = "bronze.trades", evidence: Mapping[str, Any] | None = EVIDENCE, **frames: pd.DataFrame
) -> dict[str, Any]:
    told = pd.DataFrame([evidence or EVIDENCE]).iloc[: 1 if evidence else 0]
    rows = data_quality.quality(
        COUNTS.assign(table_name=table),
        frames.get("buckets", histogram([10]).iloc[:0]),
        frames.get("refused", NO_REFUSED),
        frames.get("holes", NO_HOLES),
        told,
    )
    return {str(name): value for name, value in rows.iloc[0].items()}


@pytest.mark.parametrize(
    ("table", "percent", "condition"),
    [
        ("bronze.trades", 90, "pending"),
        ("silver.ohlcv_1m", 80, "pending"),
        ("bronze.klines", 100, "available"),
        ("bronze.depth", 0, "missing"),
        ("silver.order_book_1m", 0, "missing"),
        ("bronze.tickers", 98.9, "degraded"),
        ("silver.ticker_1m", 98.9, "degraded"),
    ],
)
def test_completeness_and_condition_are_of_what_the_table_holds(table: str, percent: float, condition: str) -> None:
    row = judged(table)
    assert (row["completeness_percent"], row["condition"]) == (percent, condition)


def test_what_is_not_known_is_null_and_says_why() -> None:
    row = judged(evidence=None)
    assert (row["condition"], row["reason"]) == (None, "completeness: no_evidence; latency: no_streamed_rows")
    assert np.isnan(row["completeness_percent"])
    assert judged(buckets=histogram([10], "bronze"))["reason"] == "latency_received: no_time_of_the_exchange"
    streamed = pd.concat([histogram([10], "bronze"), histogram([10])])
    assert (judged(buckets=streamed)["reason"], judged(buckets=streamed)["observations"]) == (None, 1)


def test_a_table_of_which_nothing_came_but_a_gap_or_a_refused_row_has_its_row() -> None:
    other = {**KEY, "table_name": "bronze.depth"}
    refused = pd.DataFrame([{**other, "symbol": "unknown", "quarantined": 2}])
    holes = pd.DataFrame([{**other, "gaps_open": 1, "gaps_lost": 3}])
    none = histogram([1]).iloc[:0]
    rows = data_quality.quality(COUNTS, none, refused, holes, pd.DataFrame([EVIDENCE]))
    found = {(row["table_name"], row["symbol"]): row for row in rows.to_dict("records")}
    assert len(found) == 3
    gap = found["bronze.depth", "BTCUSDT"]
    assert (gap["rows"], gap["gaps_open"], gap["gaps_lost"], gap["condition"]) == (0, 1, 3, "missing")
    assert found["bronze.depth", "unknown"]["quarantined"] == 2


def trade(number: int, at: datetime, **changes: Any) -> dict[str, Any]:
    times = {"event_time": at, "received_at": at + 20 * MILLISECOND, "kafka_time": at + 120 * MILLISECOND}
    times |= {"ingested_at": at + 2000 * MILLISECOND}
    placed = {"date": f"{at:%Y-%m-%d}", "hour": f"{at:%H}", "ordering": 1}
    return {**BTC, **times, **placed, "source": "websocket", "trade_id": number, "broken_rules": [], **changes}


def minute(at: datetime, **changes: Any) -> dict[str, Any]:
    said = {"interval_start": at, "source": "websocket", "is_closed": True, "revision": 1, "month": f"{at:%Y-%m}"}
    return {**BTC, **said, "known_at": at + MINUTE + 3000 * MILLISECOND, **changes}


def signal(end: datetime, known_after: timedelta, **changes: Any) -> dict[str, Any]:
    said = {"interval": "15m", "interval_start": end - 15 * MINUTE, "interval_end": end, "rule": "up", "revision": 1}
    return {**BTC, **said, "known_at": end + known_after, "month": f"{end:%Y-%m}", **changes}


def proof(at: datetime, **changes: Any) -> dict[str, Any]:
    counts = {
        "trades_expected": 4,
        "trades_received": 3,
        "trades_missing": 1,
        "depth_seconds": 60,
        "ticker_seconds": 30,
    }
    said = {"interval_start": at, "status": "partial", "proof": "none", "month": f"{at:%Y-%m}"}
    return {**BTC, **said, **counts, **changes}


def follow(lake: MemoryLake, *modules: ModuleType, from_scratch: bool = False) -> list[Row]:
    """The rows that a run writes to the tables, the hours first."""
    before = len(lake.written)
    for module in modules or (data_quality_hourly, data_quality):
        done = refresh(lake, module, (DAY + 30 * HOUR).replace(tzinfo=UTC), from_scratch=from_scratch)
        assert done.is_sound, done
    return [row for _, rows in lake.written[before:] for row in rows]


def says(lake: MemoryLake) -> list[dict[str, Any]]:
    rows = [row.asDict() for module in (data_quality_hourly, data_quality) for row in lake.rows(module.TABLE)]
    return [{name: value for name, value in row.items() if name != "ingestion_ts"} for row in rows]


def test_hours_and_days_are_counted_and_only_what_is_new_is_counted_again(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    late = trade(3, DAY + HOUR, received_at=DAY + HOUR + 11 * timedelta(seconds=1), broken_rules=["is_not_late"])
    rest = trade(4, DAY + HOUR, source="rest", received_at=None)
    lake.put(trades.TABLE, [trade(1, DAY), trade(2, DAY), late, rest, trade(5, DAY + 25 * HOUR)])
    lake.put(ohlcv_1m.TABLE, [minute(DAY), minute(DAY + MINUTE, revision=2)])
    lake.put(completeness.TABLE, [proof(DAY)])
    lake.put(
        quarantine.TABLE,
        [
            {"table_name": "bronze.trades", "rule": rule, "row_id": row_id, "row": row, "date": "2026-11-20"}
            for rule, row_id, row in (
                ("price_is_positive", "a", '{"exchange":"binance","symbol":"BTCUSDT"}'),
                ("quantity_is_positive", "a", '{"exchange":"binance","symbol":"BTCUSDT"}'),
                ("cannot_be_parsed", "b", '{"value":"{"}'),
            )
        ],
    )
    hole = {**BTC, "event_time": DAY + HOUR, "gap_stream": "depth5", "status": "open", "date": "2026-11-20"}
    lake.put(gaps.TABLE, [{**hole, "first_missing": number} for number in (1, 2)])
    follow(lake)

    hours = {(row.table_name, row.hour_start): row for row in lake.rows(data_quality_hourly.TABLE)}
    assert len(hours) == 4
    second = hours["bronze.trades", DAY + HOUR]
    assert (second.rows, second.duplicates, second.late) == (2, 0, 1)
    assert [bucket["count"] for bucket in second.to_received] == [1]
    days = {(row.table_name, row.symbol, row.day): row for row in lake.rows(data_quality.TABLE)}
    assert len(days) == 5
    first = days["bronze.trades", "BTCUSDT", DAY]
    assert (first.rows, first.late, first.quarantined, first.observations) == (4, 1, 1, 3)
    assert (first.completeness_percent, first.condition, first.reason) == (75.0, "degraded", None)
    assert first.latency_received_p50_ms == pytest.approx(20, rel=WITHIN)
    assert first.latency_received_p99_ms == pytest.approx(11_000, rel=WITHIN)
    assert first.latency_kafka_p50_ms == pytest.approx(120, rel=WITHIN)
    assert first.latency_bronze_p50_ms == pytest.approx(2000, rel=WITHIN)
    candles = days["silver.ohlcv_1m", "BTCUSDT", DAY]
    assert (candles.rows, candles.late, candles.observations) == (2, 1, 1)
    assert candles.latency_silver_p50_ms == pytest.approx(3000, rel=WITHIN)
    assert days["bronze.trades", "unknown", DAY].quarantined == 1
    assert days["bronze.depth", "BTCUSDT", DAY].gaps_open == 2
    assert days["bronze.depth", "BTCUSDT", DAY].completeness_percent == 100

    assert follow(lake) == []
    lake.put(tickers.TABLE, [trade(0, DAY + 26 * HOUR)])
    new = [(row.table_name, getattr(row, "hour_start", None) or row.day) for row in follow(lake)]
    assert new == [("bronze.tickers", DAY + 26 * HOUR), ("bronze.tickers", DAY + 24 * HOUR)]
    lake.put(trades.TABLE, [trade(6, DAY + HOUR)])
    assert [(row.table_name, row.rows) for row in follow(lake)] == [("bronze.trades", 3), ("bronze.trades", 5)]

    anew = MemoryLake(spark)
    anew.like(lake, [*data_quality_hourly.SOURCES, *data_quality.SOURCES[1:]])
    follow(anew, from_scratch=True)
    assert says(anew) == says(lake)


def test_the_way_to_gold_is_to_the_first_signal_on_a_minute_that_was_streamed(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    ends = [DAY + number * MINUTE for number in (15, 30, 45, 60, 75)]
    told = [{}, {"revision": 2}, {"source": "rest"}, {}, {}]
    lake.put(ohlcv_1m.TABLE, [minute(end - MINUTE, **said) for end, said in zip(ends, told, strict=True)])
    follow(lake)
    assert [row.observations for row in lake.rows(data_quality.TABLE)] == [3]
    assert [row.latency_gold_p50_ms for row in lake.rows(data_quality.TABLE)] == [None]

    seconds = timedelta(seconds=1)
    first, later, again = ({"rule": "down"}, {}, {"revision": 2})
    on_the_first = [
        signal(ends[0], number * seconds, **said) for number, said in ((40, first), (70, later), (10, again))
    ]
    late = signal(ends[3], timedelta(days=1))
    lake.put(signals.TABLE, [*on_the_first, signal(ends[1], seconds), signal(ends[2], seconds), late])
    follow(lake)
    [row] = lake.rows(data_quality.TABLE)
    assert row.latency_gold_p50_ms == row.latency_gold_p99_ms == pytest.approx(40_000, rel=WITHIN)
    assert (row.rows, row.observations) == (5, 3)

    hours = [row.to_gold for row in lake.rows(data_quality_hourly.TABLE)]
    assert sorted(sum(bucket["count"] for bucket in each) for each in hours) == [0, 1]
    assert follow(lake) == []


def test_messages_that_were_not_kept_with_kafkas_time_count_for_the_other_stages(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    lake.put(trades.TABLE, [trade(1, DAY, kafka_time=None), trade(2, DAY)])
    follow(lake)
    [row] = lake.rows(data_quality_hourly.TABLE)
    assert [sum(bucket["count"] for bucket in each) for each in (row.to_kafka, row.to_bronze)] == [1, 2]


def test_a_key_that_stands_in_an_hour_twice_is_a_duplicate(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    names = trades.TABLE.column_names
    schema = ", ".join(f"{column.name} {column.type}" for column in trades.TABLE.columns)
    twice = [Row(**{name: trade(number, DAY).get(name) for name in names}) for number in (1, 1, 2)]
    sources = {source.full_name: lake.no_rows(source) for source in data_quality_hourly.SOURCES}
    sources["bronze.trades"] = spark.createDataFrame(twice, schema)
    keys = spark.createDataFrame([("bronze.trades", DAY)], "table_name string, hour_start timestamp")
    now = DAY.replace(tzinfo=UTC)
    made = data_quality_hourly.build(keys, sources, lake.no_rows(data_quality_hourly.TABLE), now).collect()
    assert [(row.rows, row.duplicates) for row in made] == [(3, 1)]
