"""The longer candles, strictly from the one-minute ones."""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import klines
from crypto_pipeline.silver import ohlcv_1m
from crypto_pipeline.silver.candles import (
    CANDLE_COLUMNS,
    INTERVALS,
    RULES,
    SERIES,
    every_source,
    finished,
    ids_are_contiguous,
    interval_start,
    revised,
)
from shared.tables import Table

TABLE = Table(
    layer="silver",
    name="ohlcv",
    grain="One row per exchange, symbol, interval (5m, 15m, 1h, 4h, 1d) and start in which something traded",
    columns=CANDLE_COLUMNS,
    key=("exchange", "symbol", "interval", "interval_start"),
    partitions=("interval", "month"),
    time="interval_start",
    buckets=2,
    rules=RULES,
)
SOURCES = (ohlcv_1m.TABLE, klines.TABLE)

LONGER = {name: seconds for name, seconds in INTERVALS.items() if name != "1m"}
_WORST_LAST = ("complete", "repaired", "pending", "partial")


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The intervals that changed or proven quiet minutes fall into, and those that ended since they were written."""
    ended = current.filter(~F.col("is_closed") & (F.col("interval_end") <= F.lit(now))).select(*TABLE.key)
    minutes = changes["silver.ohlcv_1m"].select("exchange", "symbol", "interval_start")
    minutes = minutes.unionByName(quiet_minutes(changes["bronze.klines"]))
    return in_every_interval(minutes).select(*TABLE.key).unionByName(ended).distinct()


def in_every_interval(minutes: DataFrame) -> DataFrame:
    """Each minute once for every longer interval, its `interval` and `interval_start` replaced by that one's."""
    start = F.col("interval_start")
    one_each = [
        F.struct(
            F.lit(name).alias("interval"),
            F.lit(seconds).alias("interval_seconds"),
            interval_start(start, seconds).alias("interval_start"),
        )
        for name, seconds in LONGER.items()
    ]
    return (
        minutes.withColumn("longer", F.explode(F.array(*one_each)))
        .withColumn("minute", start)
        .withColumn("interval", F.col("longer.interval"))
        .withColumn("interval_seconds", F.col("longer.interval_seconds"))
        .withColumn("interval_start", F.col("longer.interval_start"))
        .drop("longer")
    )


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The days of minutes that the intervals `keys` lie in: none is longer than a day."""
    day = F.date_trunc("day", F.col("interval_start"))
    last_hour = (day + F.expr("interval 23 hours")).alias("end")
    return every_source(keys.select(day.alias("start"), last_hour).distinct(), SOURCES)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The candles of the intervals `keys`, as far as they differ from the current ones."""
    minutes = in_every_interval(sources["silver.ohlcv_1m"]).join(keys, on=list(TABLE.key), how="left_semi")
    quiet = in_every_interval(quiet_minutes(sources["bronze.klines"])).join(keys, on=list(TABLE.key), how="left_semi")
    return revised(from_minutes(minutes, quiet, now), current, TABLE.key).select(TABLE.column_names)


def quiet_minutes(klines: DataFrame) -> DataFrame:
    """The minutes of which the exchange's closed kline says that nothing traded."""
    closed = ohlcv_1m.closed_minutes(klines).filter(F.col("trade_count") == 0)
    return closed.select("exchange", "symbol", "interval_start").distinct()


def from_minutes(minutes: DataFrame, quiet: DataFrame, now: datetime) -> DataFrame:
    """Candles of the minutes (`minute`) by `interval` and `interval_start`.

    An interval is as good as its worst minute. It is partial where ids are missing between its minutes, and where a
    minute has neither a candle nor a kline that says that it was quiet (`quiet`): trades could be missing at its edges.
    """
    rank = F.expr(f"array_position(array({', '.join(map(repr, _WORST_LAST))}), status)")
    candles = minutes.groupBy(*SERIES, "interval", "interval_seconds", "interval_start").agg(
        F.min_by("open", "minute").alias("open"),
        F.max("high").alias("high"),
        F.min("low").alias("low"),
        F.max_by("close", "minute").alias("close"),
        F.sum("volume").alias("volume"),
        F.sum("quote_volume").alias("quote_volume"),
        F.sum("trade_count").alias("trade_count"),
        F.sum("taker_buy_volume").alias("taker_buy_volume"),
        F.sum("taker_buy_quote_volume").alias("taker_buy_quote_volume"),
        F.min("first_trade_id").alias("first_trade_id"),
        F.max("last_trade_id").alias("last_trade_id"),
        F.count("*").cast("int").alias("minutes_present"),
        F.max_by("status", rank).alias("worst"),
    )
    candles = finished(candles.withColumn("source", F.lit("trades")), F.col("interval_seconds"))
    is_closed = F.col("interval_end") <= F.lit(now)
    quiet_count = quiet.groupBy(*TABLE.key).agg(F.count("*").alias("minutes_quiet"))
    minutes_known = F.col("minutes_present") + F.coalesce(F.col("minutes_quiet"), F.lit(0))
    is_whole = ids_are_contiguous() & (minutes_known >= F.col("minutes_expected"))
    return (
        candles.join(quiet_count, on=list(TABLE.key), how="left")
        .withColumn("is_closed", is_closed)
        .withColumn(
            "status",
            F.when(~is_closed, F.lit("pending")).when(is_whole, F.col("worst")).otherwise(F.lit("partial")),
        )
        .withColumn("proof", F.when(F.col("status") == "complete", F.lit("trade_ids")).otherwise(F.lit("none")))
        .drop("worst", "minutes_quiet")
    )
