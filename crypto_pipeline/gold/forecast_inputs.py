"""What the models of the next hour rest on: each hour of a market, reduced from its minutes.

`realised_variance` is the sum of the squared log returns of close over the hour's minutes (Andersen, Bollerslev,
Diebold and Labys 2003, Econometrica 71). A return is known between adjacent minutes: one of which it is proven that
nothing traded (`silver.completeness`) is a return of 0, and one that is missing has none, nor has the minute after it.
The last close is looked for up to an hour before the hour. Where 54 to 59 of the 60 returns are known the sum is scaled
by 60 over their number; where fewer are, the hour is not known and the variance null.

Squares are rounded to 24 places before they are summed, so that their order does not matter.
"""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, differing
from crypto_pipeline.silver import completeness, ohlcv_1m
from crypto_pipeline.silver.candle_frames import every_source, interval_start
from shared.tables import Column, Table

MIN_MINUTES = 54
"""So many of the 60 returns must be known."""

TABLE = Table(
    layer="gold",
    name="forecast_inputs",
    grain="One row per exchange, symbol and hour in which something traded",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("interval_start", "timestamp", "the hour, UTC, inclusive"),
        Column("close", "double", "price of the hour's last trade, in the quote asset"),
        Column("high", "double", "highest price, in the quote asset"),
        Column("low", "double", "lowest price, in the quote asset"),
        Column("realised_variance", "double", "of one-minute log returns, of the hour; a fraction squared"),
        Column("observations", "int", "one-minute returns known, of 60"),
        Column("quote_volume", "double", "traded, in the quote asset"),
        Column("taker_buy_quote_volume", "double", "bought by takers, in the quote asset"),
        Column("trade_count", "bigint", "trades"),
        Column("is_closed", "boolean", "the hour is over"),
        Column("reason", "string", "why the variance is null: hour_is_open, too_few_minutes"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of interval_start, yyyy-MM"),
    ),
    key=("exchange", "symbol", "interval_start"),
    partitions=("month",),
    time="interval_start",
    rules={
        "it_starts_on_its_grid": "unix_seconds(interval_start) % 3600 = 0",
        "variance_is_not_negative": "realised_variance is null or realised_variance >= 0",
        "null_has_a_reason": "(realised_variance is null) = (reason is not null)",
        "an_hour_has_60_minutes": "observations between 0 and 60",
    },
)
SOURCES = (ohlcv_1m.TABLE, completeness.TABLE)
JOB = "analytics"

_HOUR = 3600
_SQUARES = "decimal(38,24)"
_SUMMED = ("quote_volume", "taker_buy_quote_volume", "trade_count")


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The hours that changed minutes lie in, or just before, and those that ended since they were written."""
    minutes = changes["silver.ohlcv_1m"].select("exchange", "symbol", "interval_start")
    minutes = minutes.unionByName(changes["silver.completeness"].select("exchange", "symbol", "interval_start"))
    own = interval_start(F.col("interval_start"), _HOUR)
    # A minute's close is what the first return of the next hour starts from.
    both = F.explode(F.array(own, own + F.expr("interval 1 hour"))).alias("interval_start")
    hours = minutes.select("exchange", "symbol", both).distinct().filter(F.col("interval_start") <= F.lit(now))
    is_over = F.col("interval_start") + F.expr("interval 1 hour") <= F.lit(now)
    ended = current.filter(~F.col("is_closed") & is_over).select("exchange", "symbol", "interval_start")
    return hours.unionByName(ended).distinct()


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The minutes of the hours and of the hour before each."""
    before = (F.col("interval_start") - F.expr("interval 1 hour")).alias("start")
    spans = keys.select(before, F.col("interval_start").alias("end")).distinct()
    return every_source(spans, SOURCES)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The hours `keys`, made anew from their minutes, as far as they differ from the current ones."""
    prices = {name: F.col(name).cast("double").alias(name) for name in ("close", "high", "low")}
    candles = sources["silver.ohlcv_1m"].select(
        "exchange", "symbol", "interval_start", F.lit(False).alias("is_quiet"), *prices.values(), *_SUMMED
    )
    quiet = sources["silver.completeness"].filter("reason = 'no_trades' and proof != 'none'")
    nothing = [F.lit(None).cast("double").alias(name) for name in prices]
    zero = [F.lit(0).cast(kind).alias(name) for name, kind in candles.dtypes if name in _SUMMED]
    quiet = quiet.select("exchange", "symbol", "interval_start", F.lit(True).alias("is_quiet"), *nothing, *zero)
    every = with_returns(around(candles.unionByName(quiet), keys))
    columns = [name for name in every.columns if name not in ("interval_start", "hour")]
    in_hours = every.select(*columns, F.col("interval_start").alias("minute"), F.col("hour").alias("interval_start"))
    minutes = in_hours.join(keys, on=list(TABLE.key), how="left_semi")
    is_over = F.col("interval_start") + F.expr("interval 1 hour") <= F.lit(now)
    is_known = is_over & (F.col("observations") >= MIN_MINUTES)
    hours = (
        minutes.groupBy("exchange", "symbol", "interval_start")
        .agg(
            F.max_by("close", F.when(~F.col("is_quiet"), F.col("minute"))).alias("close"),
            F.max("high").alias("high"),
            F.min("low").alias("low"),
            F.sum((F.col("log_return") * F.col("log_return")).cast(_SQUARES)).cast("double").alias("squares"),
            F.count("log_return").cast("int").alias("observations"),
            *[F.sum(name).cast("double").alias(name) for name in _SUMMED[:2]],
            F.sum("trade_count").alias("trade_count"),
        )
        .filter("trade_count > 0")
    )
    built = added(
        hours,
        realised_variance=F.when(is_known, F.col("squares") * 60 / F.col("observations")),
        is_closed=is_over,
        reason=F.when(~is_over, F.lit("hour_is_open")).when(~is_known, F.lit("too_few_minutes")),
        month=F.date_format("interval_start", "yyyy-MM"),
        ingestion_ts=F.current_timestamp(),
    ).select(TABLE.column_names)
    return differing(built, current, TABLE)


def around(minutes: DataFrame, keys: DataFrame) -> DataFrame:
    """The minutes of the hours `keys` and of the hour before each, with their `hour`."""
    before = F.explode(F.array(F.col("interval_start"), F.col("interval_start") - F.expr("interval 1 hour")))
    wanted = keys.select("exchange", "symbol", before.alias("hour"))
    dated = added(minutes, hour=interval_start(F.col("interval_start"), _HOUR))
    return dated.join(wanted, on=["exchange", "symbol", "hour"], how="left_semi")


def with_returns(minutes: DataFrame) -> DataFrame:
    """Each minute with its `log_return` from the last close, of its hour or the one before; null where none is known.

    Minutes that follow each other without a hole bear the same `run`: their number since 1970 less their place. A
    minute that was quiet until its candle came late is that candle, also before `silver.completeness` knows it.
    """
    in_time = Window.partitionBy("exchange", "symbol").orderBy("interval_start", "is_quiet")
    is_there = F.coalesce(F.lag("interval_start").over(in_time) == F.col("interval_start"), F.lit(False))
    minutes = added(minutes, is_there=is_there).filter(~F.col("is_there"))
    run = F.unix_seconds("interval_start") / 60 - F.row_number().over(in_time)
    so_far = (
        Window.partitionBy("exchange", "symbol", "run")
        .orderBy("interval_start")
        .rowsBetween(Window.unboundedPreceding, -1)
    )
    candle = F.when(~F.col("is_quiet"), F.struct(F.col("close").alias("price"), F.col("interval_start").alias("at")))
    placed = added(added(minutes, run=run), before=F.last(candle, ignorenulls=True).over(so_far))
    is_near = F.col("before.at") >= F.col("hour") - F.expr("interval 1 hour")
    log_return = F.coalesce(F.log(F.col("close") / F.col("before.price")), F.lit(0.0))
    return added(placed, log_return=F.when(is_near, log_return))
