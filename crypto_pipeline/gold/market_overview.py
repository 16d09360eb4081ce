"""How each market stands now, against 24 hours ago."""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added
from crypto_pipeline.silver import ohlcv_1m
from crypto_pipeline.silver.candles import every_source
from shared.tables import DECIMAL, Column, Table

TABLE = Table(
    layer="gold",
    name="market_overview",
    grain="One row per exchange and symbol: the 24 hours up to its latest minute",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("base_asset", "string", "what is traded"),
        Column("quote_asset", "string", "what it is priced in"),
        Column("as_of", "timestamp", "end of the latest minute with a trade"),
        Column("last_price", DECIMAL, "close of the latest minute"),
        Column("open_24h", DECIMAL, "open of the first minute of the 24 hours"),
        Column("high_24h", DECIMAL, "highest price in 24 hours"),
        Column("low_24h", DECIMAL, "lowest price in 24 hours"),
        Column("change_24h", DECIMAL, "last_price - open_24h"),
        Column("change_24h_percent", "double", "simple return over the 24 hours, in percent"),
        Column("volume_24h", DECIMAL, "in the base asset"),
        Column("quote_volume_24h", DECIMAL, "in the quote asset"),
        Column("trade_count_24h", "bigint", "trades"),
        Column(
            "volatility_24h",
            "double",
            "realised volatility of the 24 hours: square root of the sum of squared one-minute log returns of close, "
            "between adjacent minutes; a fraction, not annualised",
        ),
        Column("observations", "bigint", "returns that the volatility rests on"),
        Column("minutes_24h", "bigint", "minutes of the 24 hours with a candle; less than 24 hours of data shows here"),
        Column(
            "volume_rank", "int", "1 for the greatest quote_volume_24h among the exchange's symbols in this quote asset"
        ),
        Column("change_rank", "int", "1 for the greatest change_24h_percent among the same"),
        Column("reason", "string", "why a figure is null: too_few_minutes"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
    ),
    key=("exchange", "symbol"),
    buckets=1,
    rules={
        "last_price_lies_in_the_range": "last_price between low_24h and high_24h",
        "volume_is_positive": "quote_volume_24h > 0",
    },
)
SOURCES = (ohlcv_1m.TABLE,)
JOB = "analytics"


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
    """The changed minutes. One is enough to make all rows anew, because ranks depend on each other."""
    return changes["silver.ohlcv_1m"].select("interval_start").distinct()


def needs(keys: DataFrame, now: datetime) -> DataFrame:
    """Two days: a symbol whose last trade is up to a day old still has its 24 hours."""
    start = (F.max("interval_start") - F.expr("interval 48 hours")).alias("start")
    span = keys.agg(start).filter(F.col("start").isNotNull()).withColumn("end", F.lit(now))
    return every_source(span, SOURCES)


def build(_keys: DataFrame, sources: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
    """The overview of every symbol that traded in the 24 hours before its own latest minute."""
    of_symbol = Window.partitionBy("exchange", "symbol")
    in_order = of_symbol.orderBy("interval_start")
    minutes = added(sources["silver.ohlcv_1m"], as_of=F.max("interval_end").over(of_symbol)).filter(
        F.col("interval_start") >= F.col("as_of") - F.expr("interval 24 hours")
    )
    is_adjacent = F.col("interval_start") == F.lag("interval_end").over(in_order)
    log_return = F.log(F.col("close").cast("double") / F.lag("close").over(in_order).cast("double"))
    minutes = added(minutes, log_return=F.when(is_adjacent, log_return))
    overview = minutes.groupBy("exchange", "symbol", "base_asset", "quote_asset", "as_of").agg(
        F.max_by("close", "interval_start").alias("last_price"),
        F.min_by("open", "interval_start").alias("open_24h"),
        F.max("high").alias("high_24h"),
        F.min("low").alias("low_24h"),
        F.sum("volume").alias("volume_24h"),
        F.sum("quote_volume").alias("quote_volume_24h"),
        F.sum("trade_count").alias("trade_count_24h"),
        F.sqrt(F.sum(F.col("log_return") * F.col("log_return"))).alias("volatility_24h"),
        F.count("log_return").alias("observations"),
        F.count("*").alias("minutes_24h"),
    )
    among = Window.partitionBy("exchange", "quote_asset")
    change = F.col("last_price") - F.col("open_24h")
    percent = (F.col("last_price").cast("double") / F.col("open_24h").cast("double") - 1) * 100
    ranked = added(
        added(overview, change_24h=change.cast(DECIMAL), change_24h_percent=percent),
        volume_rank=F.rank().over(among.orderBy(F.desc("quote_volume_24h"))),
        change_rank=F.rank().over(among.orderBy(F.desc("change_24h_percent"))),
        reason=F.when(F.col("volatility_24h").isNull(), F.lit("too_few_minutes")),
        ingestion_ts=F.current_timestamp(),
    )
    return ranked.select(TABLE.column_names)
