"""Where nothing traded, as the exchange's own closed klines say.

It is how indicators and longer candles know a quiet interval from a missing one where candles bear no trade ids, as
those of the exchange's REST interface and archives do not. A longer interval is quiet when each of its minutes is.
"""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import klines
from crypto_pipeline.frames import added, differing
from crypto_pipeline.silver import ohlcv_1m
from crypto_pipeline.silver.candle_frames import every_source, in_every_interval
from shared.tables import Column, Table

TABLE = Table(
    layer="silver",
    name="quiet_intervals",
    grain="One row per exchange, symbol, interval (1m, 5m, 15m, 1h, 4h, 1d) and start in which nothing traded",
    columns=(
        Column("exchange", "string", "the market: binance is Binance spot"),
        Column("symbol", "string", "canonical: base and quote in upper case, joined"),
        Column("interval", "string", "1m, 5m, 15m, 1h, 4h or 1d"),
        Column("interval_start", "timestamp", "UTC, inclusive"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of interval_start, yyyy-MM"),
    ),
    key=("exchange", "symbol", "interval", "interval_start"),
    partitions=("interval", "month"),
    time="interval_start",
    rules={"it_starts_on_its_grid": "unix_micros(interval_start) % 60000000 = 0"},
)
SOURCES = (klines.TABLE,)


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
    """Quiet minutes, and the longer intervals that they lie in."""
    minutes = _minutes(changes["bronze.klines"])
    longer = in_every_interval(minutes).select(*TABLE.key)
    return minutes.unionByName(longer).distinct()


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The days of minutes that they lie in: no interval is longer than a day."""
    day = F.date_trunc("day", F.col("interval_start"))
    last_hour = (day + F.expr("interval 23 hours")).alias("end")
    return every_source(keys.select(day.alias("start"), last_hour).distinct(), SOURCES)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """Those of `keys` of whose every minute the exchange says that nothing traded, as far as they are new."""
    minutes = _minutes(sources["bronze.klines"])
    counted = in_every_interval(minutes).groupBy(*TABLE.key, "interval_seconds").agg(
        F.count("*").alias("minutes")
    )  # fmt: skip
    longer = counted.filter("minutes * 60 = interval_seconds").select(*TABLE.key)
    quiet = minutes.unionByName(longer).join(keys.select(*TABLE.key), on=list(TABLE.key), how="left_semi")
    dated = added(quiet, ingestion_ts=F.current_timestamp(), month=F.date_format("interval_start", "yyyy-MM"))
    return differing(dated, current, TABLE)


def _minutes(rows: DataFrame) -> DataFrame:
    """The minutes of which the exchange's closed kline says that nothing traded."""
    closed = ohlcv_1m.closed_minutes(rows).filter(F.col("trade_count") == 0)
    return closed.select("exchange", "symbol", "interval", "interval_start").distinct()
