"""What is touched, as it stands in the plans that rest on it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline import refresh
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.silver import ohlcv
from tests.crypto_pipeline.memory_lake import MemoryLake


@pytest.mark.parametrize("few", [0, 3, 10], ids=["none are few", "as many as are few", "all are few"])
def test_touched_rows_are_the_same_however_many_are_few(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(refresh, "_FEW", few)
    touched = spark.range(3).select(
        F.lit("binance").alias("exchange"),
        F.concat(F.lit("币安"), F.col("id").cast("string")).alias("symbol"),
        F.timestamp_micros(F.lit(1_795_000_000_000_001) + F.col("id")).alias("interval_start"),
        F.col("id").cast("int").alias("interval_seconds"),
        F.col("id").alias("stretch"),
    )
    with refresh._keys(Lakehouse(spark, "none", 1), touched) as keys:
        assert keys is not None
        assert keys.schema.simpleString() == touched.schema.simpleString()
        assert sorted(keys.collect()) == sorted(touched.collect())
    with refresh._keys(Lakehouse(spark, "none", 1), touched.limit(0)) as keys:
        assert keys is None


def test_the_hours_of_open_candles_reach_from_a_day_before_the_earliest_mark_to_a_day_from_now() -> None:
    now = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
    hours = refresh.recent(["20261121115959999", refresh.BEGINNING, "20261121100000000"], now)
    assert (hours[0], hours[-1]) == (datetime(2026, 11, 20, 10, tzinfo=UTC), datetime(2026, 11, 22, 12, tzinfo=UTC))
    assert refresh.recent([refresh.BEGINNING], now) == []


def candle(interval: str, start: datetime) -> dict[str, Any]:
    known = {"exchange": "binance", "symbol": "BTCUSDT", "interval": interval, "interval_start": start}
    return {**known, "month": f"{start:%Y-%m}"}


@pytest.mark.parametrize("are_whole", [(), ("5m", "1d")], ids=["by interval", "two spans are of all intervals"])
def test_a_window_has_each_row_of_its_spans_once_however_many_scans_it_takes(
    spark: SparkSession, are_whole: tuple[str, ...]
) -> None:
    lake, end = MemoryLake(spark), datetime(2026, 11, 20, 12, tzinfo=UTC)
    starts = [end - timedelta(hours=6 * back) for back in range(1, 200)]
    lake.put(ohlcv.TABLE, [candle(interval, start) for interval in ("5m", "1h", "1d") for start in starts])
    days = {"5m": 2, "1h": 3, "1d": 40}
    spans = [
        Row(source=source, interval=None if name in are_whole else name, start=end - timedelta(days=reach), end=end)
        for name, reach in days.items()
        for source in (ohlcv.TABLE.full_name, "silver.of_another")
    ]
    found = refresh._window(lake, ohlcv.TABLE, spans).select("interval", "interval_start").collect()
    whole = max((days[name] for name in are_whole), default=0)
    expected = [
        (name, start)
        for name, reach in days.items()
        for start in starts
        if start >= end - timedelta(days=whole or reach)
    ]
    assert sorted((row.interval, row.interval_start.replace(tzinfo=UTC)) for row in found) == sorted(expected)
