"""The longer candles, strictly from the one-minute ones."""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added
from crypto_pipeline.silver import ohlcv_1m, quiet_intervals
from crypto_pipeline.silver.candle_frames import every_source, finished, in_every_interval, revised
from crypto_pipeline.silver.candles import CANDLE_COLUMNS, PRICES_AND_VOLUMES, RULES, SERIES, STATUSES, SUPERSEDED
from shared.tables import Table

TABLE = Table(
    layer="silver",
    name="ohlcv",
    grain="One row per exchange, symbol, interval (5m, 15m, 1h, 4h, 1d) and start in which something traded",
    columns=(*CANDLE_COLUMNS, SUPERSEDED),
    key=("exchange", "symbol", "interval", "interval_start"),
    partitions=("interval", "month"),
    time="interval_start",
    rules=RULES,
)
SOURCES = (ohlcv_1m.TABLE, quiet_intervals.TABLE)

SUMMED = (*SERIES, *PRICES_AND_VOLUMES, "trade_count", "first_trade_id", "last_trade_id", "status", "proof", "source")
"""What of a minute goes into a longer candle."""
_WORST_LAST = {
    "status": STATUSES,
    "proof": ("trade_ids", "agg", "exchange_kline", "none"),
    "source": ("websocket", "trades", "rest", "archive"),
}


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The intervals that changed or proven quiet minutes fall into, and those that ended since they were written."""
    ended = current.filter(~F.col("is_closed") & (F.col("interval_end") <= F.lit(now))).select(*TABLE.key)
    minutes = changes["silver.ohlcv_1m"].select("exchange", "symbol", "interval_start")
    quiet = changes["silver.quiet_intervals"].filter("interval = '1m'")
    minutes = minutes.unionByName(quiet.select("exchange", "symbol", "interval_start"))
    longer = in_every_interval(minutes).select(*TABLE.key)
    return longer.unionByName(ended).distinct()


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The days of minutes that the intervals `keys` lie in: none is longer than a day."""
    day = F.date_trunc("day", F.col("interval_start"))
    last_hour = (day + F.expr("interval 23 hours")).alias("end")
    days = keys.select(day.alias("start"), last_hour).distinct()
    minutes = F.when(F.col("source") == quiet_intervals.TABLE.full_name, F.lit("1m"))
    return every_source(days, SOURCES).select("source", minutes.alias("interval"), "start", "end")


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The candles of the intervals `keys`, as far as they differ from the current ones."""
    minutes = in_every_interval(sources["silver.ohlcv_1m"], SUMMED).join(keys, on=list(TABLE.key), how="left_semi")
    quiet = in_every_interval(sources["silver.quiet_intervals"]).join(keys, on=list(TABLE.key), how="left_semi")
    return revised(from_minutes(minutes, quiet, now), current, TABLE.key).select(TABLE.column_names)


def from_minutes(minutes: DataFrame, quiet: DataFrame, now: datetime) -> DataFrame:
    """Candles of the minutes (`minute`) by `interval` and `interval_start`.

    An interval is as good as its worst minute. It is partial where ids are missing between its minutes, and where a
    minute has neither a candle nor a kline that says that it was quiet (`quiet`): trades could be missing at its edges.
    """
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
        F.min_by(F.struct("first_trade_id"), "minute").getField("first_trade_id").alias("first_trade_id"),
        F.max_by(F.struct("last_trade_id"), "minute").getField("last_trade_id").alias("last_trade_id"),
        F.count("*").cast("int").alias("minutes_present"),
        F.count(F.col("first_trade_id") + F.col("last_trade_id")).alias("minutes_with_ids"),
        _worst("status").alias("worst_status"),
        _worst("proof").alias("weakest_proof"),
        _worst("source").alias("source"),
    )
    candles = finished(candles, F.col("interval_seconds"))
    is_closed = F.col("interval_end") <= F.lit(now)
    quiet_count = quiet.groupBy(*TABLE.key).agg(F.count("*").alias("minutes_quiet"))
    minutes_known = F.col("minutes_present") + F.coalesce(F.col("minutes_quiet"), F.lit(0))
    is_contiguous = F.col("last_trade_id") - F.col("first_trade_id") + 1 == F.col("trade_count")
    some_lack_ids = F.col("minutes_with_ids") < F.col("minutes_present")
    is_whole = (minutes_known >= F.col("minutes_expected")) & (some_lack_ids | is_contiguous)
    is_proven = F.col("status").isin("complete", "repaired")
    judged = F.when(~is_closed, F.lit("pending")).when(is_whole, F.col("worst_status")).otherwise(F.lit("partial"))
    counted = added(candles.join(quiet_count, on=list(TABLE.key), how="left"), is_closed=is_closed, status=judged)
    return added(counted, proof=F.when(is_proven, F.col("weakest_proof")).otherwise(F.lit("none")))


def _worst(name: str) -> Expression:
    """Of several minutes' values the one that stands last in its order."""
    order = ", ".join(map(repr, _WORST_LAST[name]))
    return F.max_by(name, F.expr(f"array_position(array({order}), {name})"))
