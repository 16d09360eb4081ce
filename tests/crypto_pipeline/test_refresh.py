"""What is touched, as it stands in the plans that rest on it."""

from datetime import UTC, datetime

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline import refresh
from crypto_pipeline.lakehouse import Lakehouse


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
