"""Which indicators are computed again when candles change."""

from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import DataFrame, SparkSession

from crypto_pipeline import indicators as functions
from crypto_pipeline.silver import indicators
from crypto_pipeline.silver.candles import CANDLE_COLUMNS

START = datetime(2026, 8, 1, tzinfo=UTC)
FAR = 3 * functions.lookback()
NAMES = ("exchange", "symbol", "interval", "interval_seconds", "interval_start", "first_trade_id", "last_trade_id")
PRICES = ("open", "high", "low", "close", "volume")


def candles(spark: SparkSession, minutes: list[int], interval: str = "1m", price: float = 100.0) -> DataFrame:
    """Candles of BTCUSDT at these minutes, each with one trade whose id is its minute."""
    types = {c.name: c.type for c in CANDLE_COLUMNS}
    schema = ", ".join(f"{name} {types[name]}" for name in NAMES)
    rows = [("binance", "BTCUSDT", interval, 60, START + timedelta(minutes=m), m, m) for m in minutes]
    frame = spark.createDataFrame(rows, schema).selectExpr("*", "true as is_closed")
    for name in PRICES:
        frame = frame.selectExpr("*", f"cast({price} + first_trade_id % 7 as decimal(38,18)) as {name}")
    return frame


def changed(spark: SparkSession, minutes: list[int]) -> DataFrame:
    changes = {"silver.ohlcv_1m": candles(spark, minutes), "silver.ohlcv": candles(spark, [])}
    return indicators.touched(changes, candles(spark, []), START)


def minute(moment: datetime) -> int:
    return (moment.replace(tzinfo=UTC) - START) // timedelta(minutes=1)


def test_changes_far_apart_are_stretches_of_their_own_and_near_ones_are_one(spark: SparkSession) -> None:
    rows = changed(spark, [0, 5, FAR, FAR + 1]).orderBy("interval_start").collect()
    minute = [
        tuple((moment.replace(tzinfo=UTC) - START) // timedelta(minutes=1) for moment in (row[5], row[6]))
        for row in rows
    ]
    assert minute == [(0, 5), (FAR, FAR + 1)]


@pytest.mark.parametrize("at", [0, FAR])
def test_what_is_computed_again_equals_what_is_computed_from_scratch(spark: SparkSession, at: int) -> None:
    minutes = list(range(FAR + 50))
    sources = {"silver.ohlcv_1m": candles(spark, minutes), "silver.ohlcv": candles(spark, [])}
    nothing = candles(spark, [])
    again = indicators.build(changed(spark, [at]), sources, nothing, START).toPandas()
    whole = indicators.build(changed(spark, minutes), sources, nothing, START).toPandas()
    values = ["interval_start", *functions.describe()]
    again = again[values].sort_values("interval_start", ignore_index=True)
    expected = whole[whole["interval_start"].isin(again["interval_start"])][values]
    expected = expected.sort_values("interval_start", ignore_index=True)
    first = START + timedelta(minutes=at)
    assert again["interval_start"].min() == first.replace(tzinfo=None)
    assert len(again) == min(2 * functions.lookback(), len(minutes) - 1 - at) + 1
    assert (again.drop(columns="interval_start") - expected.drop(columns="interval_start")).abs().max().max() < 1e-9
