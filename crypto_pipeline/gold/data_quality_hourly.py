"""What came into a table in each hour of the market, counted: what `gold.data_quality` adds up to days.

The hour is that of the row in its table: of the event (`event_time`, else `received_at`; of a kline its `open_time`),
or of the minute. An hour is counted anew, whole, when a row of it is new; so a run costs the hours that are touched.

- `duplicates`: rows less distinct keys of the table. It must be 0.
- `late`: in bronze rows that came more than 10 seconds after the exchange sent them (the mark `is_not_late`); in
  `silver.ohlcv_1m` closed candles that were revised.
- The latencies are histograms, because those of hours can be added and percentiles cannot: bucket 0 counts up to 1 ms
  (also where clocks disagree and it is below 0), bucket b from 1.05^(b-1) to 1.05^b ms (as DDSketch, Masson et al.,
  VLDB 2019). Only what was streamed counts: REST and archives are no measure of latency.
  - `to_received`: from when the exchange sent a message (`published_at`, else `event_time`) to `received_at`
  - `to_kafka`: from then (from `received_at` where the exchange gives no time) to `kafka_time`. That is when it was in
    Kafka's log (`message.timestamp.type=LogAppendTime`, as our broker has it; another's topics may keep the sender's)
  - `to_bronze`: from then (from `received_at` where the exchange gives no time) to `ingested_at`
  - `to_silver`: from the end of a minute to when its row was written: of a candle of the WebSocket's kline that was
    never revised `known_at`, of books and tickers `ingestion_ts` of the closed row as it is now
  - `to_gold`: from the end of such a candle's minute to `known_at` of the first signal on it (`gold.signals`, of any
    interval that ends with the minute), whose rows are never written over as the others of gold are. A signal that is
    found a day later or more, by a rule that was new, is none

What a replay brings again was in Kafka and in bronze when it came again.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import reduce
from math import log

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import depth, klines, tickers, trades
from crypto_pipeline.frames import added, differing
from crypto_pipeline.gold import signals
from crypto_pipeline.silver import ohlcv_1m, order_book_1m, ticker_1m
from shared.tables import Column
from shared.tables import Table as Contract

GROWTH = 1.05
"""Each bucket's upper bound is so many times the one before."""
STAGES = ("received", "kafka", "bronze", "silver", "gold")
_HISTOGRAM = "array<struct<bucket:int,count:bigint>>"
_SERIES = ("table_name", "exchange", "symbol")
_ITSELF = "row"
"""Stands in the place of a stage where a row is counted by itself."""

TABLE = Contract(
    layer="gold",
    name="data_quality_hourly",
    grain="One row per table, exchange, symbol and UTC hour of which it has rows",
    columns=(
        Column("table_name", "string", "the table that is described, with its layer: bronze.trades"),
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("hour_start", "timestamp", "UTC, inclusive"),
        Column("rows", "bigint", "in the hour"),
        Column("duplicates", "bigint", "rows less distinct keys; must be 0"),
        Column("late", "bigint", "came over 10 s after they were sent; of candles: revised after they were closed"),
        *(Column(f"to_{stage}", _HISTOGRAM, f"latency from the exchange to {stage}, by bucket") for stage in STAGES),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of hour_start, yyyy-MM"),
    ),
    key=(*_SERIES, "hour_start"),
    partitions=("month",),
    time="hour_start",
    rules={
        "it_starts_on_its_grid": "unix_micros(hour_start) % 3600000000 = 0",
        "no_more_are_late_than_came": "rows > 0 and late between 0 and rows and duplicates between 0 and rows",
    },
)
_BRONZE = (trades.TABLE, tickers.TABLE, depth.TABLE, klines.TABLE)
_SILVER = (ohlcv_1m.TABLE, order_book_1m.TABLE, ticker_1m.TABLE)
MEASURED = (*_BRONZE, *_SILVER)
"""The tables that are described."""
SOURCES = (*MEASURED, signals.TABLE)
JOB = "analytics"

_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
    """The hours of each table in which rows are new; of the candles also those with a new signal."""
    new = [(source, changes[source.full_name]) for source in MEASURED]
    new.append((ohlcv_1m.TABLE, _signalled(changes["gold.signals"])))
    hours = [rows.select(F.lit(source.full_name).alias("table_name"), _hour(source)) for source, rows in new]
    return reduce(lambda left, right: left.unionByName(right), hours).distinct()


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """These hours of each table, and the signals on candles that end in those of the candles."""
    hour, none = F.col("hour_start"), F.lit(None).cast("string").alias("interval")
    hours = keys.select(F.col("table_name").alias("source"), none, hour.alias("start"), hour.alias("end"))
    on_candles = keys.filter(F.col("table_name") == ohlcv_1m.TABLE.full_name).select(
        F.lit(signals.TABLE.full_name).alias("source"), none, (hour - F.lit(_DAY)).alias("start"), hour.alias("end")
    )
    return hours.unionByName(on_candles)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """The hours `keys`, counted anew, as far as they differ from the current ones."""
    signalled = _signalled(sources["gold.signals"])
    candles = sources[ohlcv_1m.TABLE.full_name].join(signalled, on=[*_SERIES[1:], "interval_start"], how="left")
    each = [
        _measured(candles if source is ohlcv_1m.TABLE else sources[source.full_name], source) for source in MEASURED
    ]
    rows = reduce(lambda left, right: left.unionByName(right), each).join(
        F.broadcast(keys), on=["table_name", "hour_start"], how="left_semi"
    )
    # Each row is counted once by itself and once for each of its latencies, so that the sources are read once.
    is_row = F.col("stage") == _ITSELF
    measured = {_ITSELF: F.lit(0.0), **{stage: F.col(stage) for stage in STAGES}}
    each_stage = F.array(*[F.struct(F.lit(stage).alias("stage"), ms.alias("ms")) for stage, ms in measured.items()])
    seen = rows.select(*TABLE.key, "row_key", "is_late", F.inline(each_stage)).filter("ms is not null")
    counts = (
        added(seen, bucket=_bucket(F.col("ms")))
        .groupBy(*TABLE.key, "stage", "bucket")
        .agg(
            F.count("*").alias("count"),
            F.countDistinct(F.when(is_row, F.col("row_key"))).alias("distinct"),
            F.count_if("is_late").alias("late"),
        )
    )
    of_stage = {stage: F.collect_list(F.when(F.col("stage") == stage, F.struct("bucket", "count"))) for stage in STAGES}
    built = (
        counts.groupBy(*TABLE.key)
        .agg(
            F.max(F.when(is_row, F.col("count"))).alias("rows"),
            F.max(F.when(is_row, F.col("count") - F.col("distinct"))).alias("duplicates"),
            F.max(F.when(is_row, F.col("late"))).alias("late"),
            *[F.array_sort(listed).alias(f"to_{stage}") for stage, listed in of_stage.items()],
        )
        .select("*", F.date_format("hour_start", "yyyy-MM").alias("month"))
    )
    return differing(built, current, TABLE)


def _hour(source: Contract) -> Expression:
    time = F.col(source.time) if source.time else F.coalesce("event_time", "received_at")
    return F.date_trunc("hour", time).alias("hour_start")


def _bucket(ms: Expression) -> Expression:
    return F.ceil(F.log(F.greatest(ms, F.lit(1.0))) / F.lit(log(GROWTH))).cast("int")


def _measured(rows: DataFrame, source: Contract) -> DataFrame:
    """Each row of a table with its `row_key`, whether it `is_late`, and its latency to each stage in milliseconds."""
    measure = _of_bronze() if source in _BRONZE else _of_silver(source)
    nothing = {stage: F.lit(None).cast("double") for stage in STAGES}
    shown = {"is_late": F.lit(False), **nothing, **measure}
    return rows.select(
        F.lit(source.full_name).alias("table_name"),
        "exchange",
        "symbol",
        _hour(source),
        F.xxhash64(*[name for name in source.key if name not in _SERIES]).alias("row_key"),
        *[value.alias(name) for name, value in shown.items()],
    )


def _of_bronze() -> dict[str, Expression]:
    is_streamed = F.col("source") == "websocket"
    sent = F.coalesce("published_at", "event_time")
    return {
        "is_late": F.coalesce(F.array_contains("broken_rules", "is_not_late"), F.lit(False)),
        "received": F.when(is_streamed, _ms(sent, F.col("received_at"))),
        "kafka": F.when(is_streamed, _ms(F.coalesce(sent, "received_at"), F.col("kafka_time"))),
        "bronze": F.when(is_streamed, _ms(F.coalesce(sent, "received_at"), F.col("ingested_at"))),
    }


def _of_silver(source: Contract) -> dict[str, Expression]:
    end = F.col("interval_start") + F.lit(_MINUTE)
    if source is not ohlcv_1m.TABLE:
        return {"silver": F.when(F.col("is_closed"), _ms(end, F.col("ingestion_ts")))}
    is_first = F.col("is_closed") & (F.col("source") == "websocket") & (F.col("revision") == 1)
    return {
        "is_late": F.coalesce(F.col("revision") > 1, F.lit(False)),
        "silver": F.when(is_first, _ms(end, F.col("known_at"))),
        "gold": F.when(is_first & (F.col("signalled_at") < end + F.lit(_DAY)), _ms(end, F.col("signalled_at"))),
    }


def _signalled(rows: DataFrame) -> DataFrame:
    """By market and minute (`interval_start`), when the first signal on a candle that ends with it was known."""
    return (
        rows.filter("revision = 1")
        .groupBy(*_SERIES[1:], (F.col("interval_end") - F.lit(_MINUTE)).alias("interval_start"))
        .agg(F.min("known_at").alias("signalled_at"))
    )


def _ms(start: Expression, end: Expression) -> Expression:
    return (F.unix_micros(end) - F.unix_micros(start)) / 1000
