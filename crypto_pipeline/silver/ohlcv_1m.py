"""One candle a minute, made from our own trades, with what proves it."""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import klines, trades
from crypto_pipeline.silver.candles import (
    CANDLE_COLUMNS,
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
    name="ohlcv_1m",
    grain="One row per exchange, symbol and minute in which something traded",
    columns=CANDLE_COLUMNS,
    key=("exchange", "symbol", "interval_start"),
    partitions=("month",),
    time="interval_start",
    rules=RULES,
)
SOURCES = (trades.TABLE, klines.TABLE)

_SECONDS = 60


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The minutes that new trades or closed klines fall into, and those that ended since they were written."""
    minute = interval_start(F.col("event_time"), _SECONDS).alias("interval_start")
    traded = changes["bronze.trades"].select("exchange", "symbol", minute)
    closed = closed_minutes(changes["bronze.klines"]).select(*TABLE.key)
    ended = current.filter(~F.col("is_closed") & (F.col("interval_end") <= F.lit(now))).select(*TABLE.key)
    return traded.unionByName(closed).unionByName(ended).distinct()


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The hours of the tape and of the klines that the minutes `keys` lie in."""
    hour = F.date_trunc("hour", F.col("interval_start"))
    hours = keys.select(hour.alias("start"), hour.alias("end")).distinct()
    return every_source(hours, SOURCES)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The candles of the minutes `keys`, as far as they differ from the current ones."""
    tape = sources["bronze.trades"].withColumn("interval_start", interval_start(F.col("event_time"), _SECONDS))
    candles = from_trades(tape.join(keys, on=list(TABLE.key), how="left_semi"))
    exchange_view = closed_minutes(sources["bronze.klines"]).join(keys, on=list(TABLE.key), how="left_semi")
    return revised(proven(candles, exchange_view, now), current, TABLE.key).select(TABLE.column_names)


def closed_minutes(klines: DataFrame) -> DataFrame:
    """The exchange's finished one-minute candles, by `interval_start`."""
    is_closed_minute = F.col("is_closed") & (F.col("interval") == "1m")
    return klines.filter(is_closed_minute).withColumnRenamed("open_time", "interval_start")


def from_trades(tape: DataFrame) -> DataFrame:
    """Candles of the trades by `interval_start`. Order is the trade id's: Binance's are sequential."""
    taker_bought = ~F.col("is_buyer_maker")
    nothing = F.lit(0).cast("decimal(38,18)")
    candles = tape.groupBy(*SERIES, "interval_start").agg(
        F.min_by("price", "trade_id").alias("open"),
        F.max("price").alias("high"),
        F.min("price").alias("low"),
        F.max_by("price", "trade_id").alias("close"),
        F.sum("quantity").alias("volume"),
        F.sum("quote_quantity").alias("quote_volume"),
        F.count("*").alias("trade_count"),
        F.sum(F.when(taker_bought, F.col("quantity")).otherwise(nothing)).alias("taker_buy_volume"),
        F.sum(F.when(taker_bought, F.col("quote_quantity")).otherwise(nothing)).alias("taker_buy_quote_volume"),
        F.min("trade_id").alias("first_trade_id"),
        F.max("trade_id").alias("last_trade_id"),
    )
    return finished(
        candles.withColumn("interval", F.lit("1m"))
        .withColumn("minutes_present", F.lit(1))
        .withColumn("source", F.lit("trades")),
        F.lit(_SECONDS),
    )


def proven(candles: DataFrame, klines: DataFrame, now: datetime) -> DataFrame:
    """With `is_closed`, `status` and `proof`: complete when all ids of the exchange's closed kline are there.

    `klines` are `closed_minutes`. Until one is there the minute is pending; where it counts other trades
    than ours, partial.
    """
    exchange_view = klines.groupBy("exchange", "symbol", "interval_start").agg(
        F.max_by(F.struct("trade_count", "first_trade_id", "last_trade_id"), "ordering").alias("kline")
    )
    has_all_ids = (
        ids_are_contiguous()
        & (F.col("kline.first_trade_id") == F.col("first_trade_id"))
        & (F.col("kline.last_trade_id") == F.col("last_trade_id"))
    )
    has_kline = F.col("kline").isNotNull()
    return (
        candles.join(exchange_view, on=list(TABLE.key), how="left")
        .withColumn("is_closed", has_kline | (F.col("interval_end") <= F.lit(now)))
        .withColumn(
            "status",
            F.when(~has_kline, F.lit("pending")).when(has_all_ids, F.lit("complete")).otherwise(F.lit("partial")),
        )
        .withColumn("proof", F.when(has_kline & has_all_ids, F.lit("trade_ids")).otherwise(F.lit("none")))
        .drop("kline")
    )
