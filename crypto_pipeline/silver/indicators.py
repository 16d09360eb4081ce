"""Every indicator on every candle."""

from collections.abc import Mapping
from datetime import datetime

import pandas as pd
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline import indicators
from crypto_pipeline.frames import added
from crypto_pipeline.silver import ohlcv, ohlcv_1m
from crypto_pipeline.silver.candles import CANDLE_COLUMNS
from shared.tables import Column, Table

_NAMING = tuple(c for c in CANDLE_COLUMNS if c.name in ("exchange", "symbol", "interval", "interval_start"))

TABLE = Table(
    layer="silver",
    name="indicators",
    grain="One row per exchange, symbol, interval and start: the indicators of that candle's series up to it",
    columns=(
        *_NAMING,
        Column("close", "double", "the candle's close"),
        Column("is_closed", "boolean", "the interval is over; until then the values move"),
        Column("bridged", "boolean", "an unexplained absence lies within the candles that the values rest on"),
        *(Column(name, "double", text) for name, text in indicators.describe().items()),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of interval_start, yyyy-MM"),
    ),
    key=("exchange", "symbol", "interval", "interval_start"),
    partitions=("interval", "month"),
    time="interval_start",
    rules={
        "rsi_lies_between_0_and_100": "rsi_14 is null or rsi_14 between 0 and 100",
        "bands_are_in_order": "bb_upper_20_2 is null or bb_upper_20_2 >= bb_lower_20_2",
    },
)
SOURCES = (ohlcv_1m.TABLE, ohlcv.TABLE)

_SERIES = ("exchange", "symbol", "interval")
_REACH = 2 * indicators.lookback()
"""How many intervals after a candle its value may still matter: the look-back is in candles, and some may be absent."""
_PRICES = ("open", "high", "low", "close", "volume")


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
    """The stretches of each series in which candles changed, from the first (`interval_start`) to the `last_changed`.

    Changes that lie further apart than a change reaches are stretches of their own: old history that comes in beside
    the present minute does not make all between them be computed again.
    """
    keys = [*_SERIES, "interval_seconds", "interval_start"]
    candles = changes["silver.ohlcv_1m"].select(*keys).unionByName(changes["silver.ohlcv"].select(*keys))
    in_time = Window.partitionBy(*_SERIES).orderBy("interval_start")
    since_last = F.unix_seconds("interval_start") - F.lag(F.unix_seconds("interval_start")).over(in_time)
    is_far = F.coalesce(since_last > F.col("interval_seconds") * F.lit(_REACH), F.lit(False))
    stretch = F.sum(F.col("is_far").cast("int")).over(in_time)
    return (
        added(added(candles, is_far=is_far), stretch=stretch)
        .groupBy(*_SERIES, "interval_seconds", "stretch")
        .agg(F.min("interval_start").alias("interval_start"), F.max("interval_start").alias("last_changed"))
    )


def needs(keys: DataFrame, now: datetime) -> DataFrame:
    """The candles of each stretch, from the look-back before it to as far as it reaches."""
    is_minutes = F.col("interval") == "1m"
    return with_reach(keys).select(
        F.when(is_minutes, F.lit("silver.ohlcv_1m")).otherwise(F.lit("silver.ohlcv")).alias("source"),
        F.when(~is_minutes, F.col("interval")).alias("interval"),
        F.date_trunc("day", "needed_from").alias("start"),
        F.least(F.col("reaches_to"), F.lit(now)).alias("end"),
    )


def with_reach(keys: DataFrame) -> DataFrame:
    """With `needed_from`, the look-back before the stretch, and `reaches_to`, beyond which nothing rests on it."""
    seconds = F.col("interval_seconds")
    needed_from = F.unix_seconds("interval_start") - seconds * F.lit(indicators.lookback())
    reaches_to = F.unix_seconds("last_changed") + seconds * F.lit(_REACH)
    return added(keys, needed_from=F.timestamp_seconds(needed_from), reaches_to=F.timestamp_seconds(reaches_to))


def build(keys: DataFrame, sources: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
    """The indicators of every candle that rests on a changed one."""
    wanted_from = F.col("interval_start").alias("wanted_from")
    wanted = with_reach(keys).select(*_SERIES, "stretch", wanted_from, "needed_from", "reaches_to")
    needed = [*_SERIES, "interval_seconds", "interval_start", "first_trade_id", "last_trade_id", "is_closed"]
    prices = [F.col(name).cast("double").alias(name) for name in _PRICES]
    candles = sources["silver.ohlcv_1m"].select(*needed, *prices)
    candles = candles.unionByName(sources["silver.ohlcv"].select(*needed, *prices))
    series = candles.join(F.broadcast(wanted), on=list(_SERIES), how="inner").filter(
        (F.col("interval_start") >= F.col("needed_from")) & (F.col("interval_start") <= F.col("reaches_to"))
    )
    schema = ", ".join(f"{c.name} {c.type}" for c in TABLE.columns if c.name not in ("ingestion_ts", "month"))
    computed: DataFrame = series.groupBy(*_SERIES, "stretch").applyInPandas(over_series, schema)
    dated = added(computed, ingestion_ts=F.current_timestamp(), month=F.date_format("interval_start", "yyyy-MM"))
    return dated.select(TABLE.column_names)


def over_series(candles: pd.DataFrame) -> pd.DataFrame:
    """The indicator rows of one series from its `wanted_from` on, given its candles from the look-back on.

    Where nothing traded, which contiguous trade ids prove, the series goes on flat at the last close, as the exchange's
    own charts do. Across any other absence it is bridged, and the rows that rest on it say so.
    """
    candles = candles.sort_values("interval_start", ignore_index=True)
    filled = _filled(candles)
    values = indicators.compute(filled)
    rows = pd.concat([filled[["interval_start", "is_candle", "bridged", "close", "is_closed"]], values], axis=1)
    is_wanted = rows["is_candle"] & (rows["interval_start"] >= candles["wanted_from"].iloc[0])
    wanted: pd.DataFrame = rows[is_wanted].drop(columns="is_candle")
    return wanted.assign(
        is_closed=wanted["is_closed"].astype(bool), **{name: candles[name].iloc[0] for name in _SERIES}
    )


def _filled(candles: pd.DataFrame) -> pd.DataFrame:
    step = pd.Timedelta(seconds=int(candles["interval_seconds"].iloc[0]))
    gap = (candles["interval_start"].diff() // step).fillna(1).astype("int64")
    is_quiet = (gap > 1) & (candles["first_trade_id"] == candles["last_trade_id"].shift() + 1)
    is_hole = (gap > 1) & ~is_quiet
    # Each candle stands where its absences push it: a proven quiet interval takes a place, a hole takes none.
    place = gap.where(is_quiet, 1).cumsum() - 1
    prices = candles.set_index(place)[[*_PRICES, "interval_start", "is_closed"]]
    filled = prices.reindex(range(int(place.iloc[-1]) + 1))
    filled["is_candle"] = filled["close"].notna()
    filled["close"] = filled["close"].ffill()
    for name in ("open", "high", "low"):
        filled[name] = filled[name].fillna(filled["close"])
    filled["volume"] = filled["volume"].fillna(0.0)
    holes = pd.Series(0, index=filled.index)
    holes.loc[place[is_hole]] = 1
    filled["bridged"] = holes.rolling(indicators.lookback(), min_periods=1).max().astype(bool)
    return filled
