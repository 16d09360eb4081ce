"""How good each day's data is, table by table and symbol by symbol: what came, what is missing, and how late it was.

Of the tables that the market's messages fill (`bronze.trades`, `tickers`, `depth`, `klines`) and the minutes made of
them (`silver.ohlcv_1m`, `order_book_1m`, `ticker_1m`). A day is UTC, by the time of the event or the minute. The
present day is as far as it is known; a day of the past changes only where something of it does.

- `rows`, `duplicates` (rows less distinct keys of an hour; must be 0), `late`: as `gold.data_quality_hourly` counts
  them.
- `quarantined`: rows and messages that the table refused (`bronze.quarantine`), each once; those that bear no exchange
  or symbol, because they could not be parsed, are of `unknown`. Those that bear no time either are of no day.
- `completeness_percent`, from `silver.completeness`, of the day's minutes up to now in which the exchange traded the
  pair:
  - `bronze.trades`: trades received of those that the exchange counted
  - `bronze.klines`: minutes with a closed kline
  - `silver.ohlcv_1m`: minutes that are proven complete, also as quiet
  - of books and tickers, in both layers: seconds in which they are known, of those of all minutes
- `condition`: of trades and candles as in `silver.completeness_daily`: `available` where every minute is proven;
  `pending` where something may still come; `degraded` where something is missing; `missing` where all is. Of the
  others, which nothing proves, `available` from 99 % on, `missing` at 0, else `degraded`.
- `gaps_open`, `gaps_lost`: holes on record (`bronze.gaps`) that begin on the day and still mend, or that nobody can
  fill.
- `latency_*_ms`: percentiles of the streamed rows' way from the exchange, within 2.5 % of the true one: to where we
  received it, to Kafka, to bronze, and, of minutes, from their end to silver and to gold (to the first signal on them,
  so null where there was none); 1 means 1 ms or less. The stages that a table does not measure are null.
  `observations` are the rows that the latency to the table's own layer rests on.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import reduce

import numpy as np
import pandas as pd
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import gaps, quarantine
from crypto_pipeline.frames import differing, framed, to_pandas
from crypto_pipeline.gold import data_quality_hourly
from crypto_pipeline.gold.data_quality_hourly import GROWTH, STAGES
from crypto_pipeline.silver import completeness
from crypto_pipeline.silver.candle_frames import every_source
from crypto_pipeline.silver.rollup import CONDITION, CONDITIONS, MEASURES
from shared.tables import Column, Table

PERCENTILES = (50, 95, 99)
_SINCE = {"silver": "the end of the minute", "gold": "the end of the minute"}
_LATENCIES = [f"latency_{stage}_p{percent}_ms" for stage in STAGES for percent in PERCENTILES]

TABLE = Table(
    layer="gold",
    name="data_quality",
    grain="One row per table, exchange, symbol and UTC day of which there is a row, a refused one or a gap",
    columns=(
        Column("table_name", "string", "the table that is described, with its layer: bronze.trades"),
        Column("exchange", "string", "the market; unknown: of refused messages that do not say it"),
        Column("symbol", "string", "canonical; unknown: of refused messages that do not say it"),
        Column("day", "timestamp", "start of the UTC day"),
        Column("rows", "bigint", "of the day"),
        Column("duplicates", "bigint", "rows less distinct keys; must be 0"),
        Column("quarantined", "bigint", "rows and messages that were refused"),
        Column("late", "bigint", "came over 10 s after they were sent; of candles: revised after they were closed"),
        Column("completeness_percent", "double", "of what should be there, 0 to 100"),
        Column("condition", "string", "available, pending, degraded or missing"),
        Column("gaps_open", "bigint", "holes that begin on the day and still mend"),
        Column("gaps_lost", "bigint", "holes that begin on the day and that nobody can fill"),
        *(
            Column(
                f"latency_{stage}_p{percent}_ms",
                "double",
                f"percentile {percent} from {_SINCE.get(stage, 'the exchange')} to {stage}",
            )
            for stage in STAGES
            for percent in PERCENTILES
        ),
        Column("observations", "bigint", "streamed rows that the latency to the table's own layer rests on"),
        Column("reason", "string", "why a figure is null: no_evidence, no_streamed_rows, no_time_of_the_exchange"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of day, yyyy-MM"),
    ),
    key=("table_name", "exchange", "symbol", "day"),
    partitions=("month",),
    time="day",
    rules={
        "it_starts_on_its_grid": "unix_micros(day) % 86400000000 = 0",
        "condition_is_known": f"condition is null or condition in ({', '.join(repr(each) for each in CONDITIONS)})",
        "what_is_null_has_a_reason": "reason is not null or completeness_percent is not null",
    },
)
SOURCES = (data_quality_hourly.TABLE, quarantine.TABLE, gaps.TABLE, completeness.TABLE)
JOB = "analytics"

_OF_STREAM = {
    "trade": "bronze.trades",
    "ticker": "bronze.tickers",
    "depth5": "bronze.depth",
    "kline_1m": "bronze.klines",
}
"""The table that a stream fills."""
_PROVEN = ("bronze.trades", "silver.ohlcv_1m")
_COVERAGE = {
    "bronze.trades": "percent_received",
    "bronze.klines": "percent_klines",
    "silver.ohlcv_1m": "percent_proven",
    "bronze.depth": "percent_depth",
    "silver.order_book_1m": "percent_depth",
    "bronze.tickers": "percent_ticker",
    "silver.ticker_1m": "percent_ticker",
}
"""What each table's completeness is, of what is known of a day's minutes."""
_AVAILABLE = 99.0
_COUNTS = ("rows", "duplicates", "late", "quarantined", "gaps_open", "gaps_lost")


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
    """The days of which an hour, a refused row, a gap or a minute's evidence is new."""
    days = [
        changes[source.full_name].select(F.date_trunc("day", F.expr(time)).alias("day"))
        for source, time in (
            (data_quality_hourly.TABLE, "hour_start"),
            (quarantine.TABLE, "to_timestamp(date)"),
            (gaps.TABLE, "event_time"),
            (completeness.TABLE, "interval_start"),
        )
    ]
    return reduce(lambda left, right: left.unionByName(right), days).filter("day is not null").distinct()


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """These days of every source."""
    day = F.col("day")
    return every_source(keys.select(day.alias("start"), (day + F.expr("interval 23 hours")).alias("end")), SOURCES)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """The days `keys`, made anew, as far as they differ from the current ones."""
    hours = _of_days(sources["gold.data_quality_hourly"], keys, "hour_start")
    counts = hours.groupBy(*TABLE.key).agg(*[F.sum(name).alias(name) for name in ("rows", "duplicates", "late")])
    stages = F.array(*[F.struct(F.lit(stage).alias("stage"), F.col(f"to_{stage}").alias("listed")) for stage in STAGES])
    buckets = (
        hours.select(*TABLE.key, F.inline(stages))
        .select(*TABLE.key, "stage", F.inline("listed"))
        .groupBy(*TABLE.key, "stage", "bucket")
        .agg(F.sum("count").alias("count"))
    )
    refused = (
        _of_days(sources["bronze.quarantine"], keys, "to_timestamp(date)")
        .select(
            "table_name",
            *[
                F.coalesce(F.get_json_object("row", f"$.{name}"), F.lit("unknown")).alias(name)
                for name in TABLE.key[1:3]
            ],
            "day",
            "row_id",
        )
        .groupBy(*TABLE.key)
        .agg(F.countDistinct("row_id").alias("quarantined"))
    )
    table_of = F.coalesce(*[F.when(F.col("gap_stream") == name, F.lit(table)) for name, table in _OF_STREAM.items()])
    holes = (
        _of_days(sources["bronze.gaps"], keys, "event_time")
        .groupBy(table_of.alias("table_name"), "exchange", "symbol", "day")
        .agg(*[F.count_if(F.col("status") == status).alias(f"gaps_{status}") for status in ("open", "lost")])
    )
    minutes = _of_days(sources["silver.completeness"], keys, "interval_start").groupBy("exchange", "symbol", "day")
    evidence = minutes.agg(
        *[F.expr(sql).alias(name) for name, sql in MEASURES.items()],
        F.expr("count_if(status <> 'not_expected' and kline_source is not null)").alias("minutes_with_kline"),
    ).select("exchange", "symbol", "day", F.expr(CONDITION).alias("proven_condition"), *_percents())
    made = quality(*(to_pandas(each) for each in (counts, buckets, refused, holes, evidence)))
    written = [column for column in TABLE.columns if column.name not in ("ingestion_ts", "month")]
    rows = framed(keys.sparkSession, made, written)
    dated = rows.select("*", F.date_format("day", "yyyy-MM").alias("month"))
    return differing(dated, current, TABLE)


def _of_days(rows: DataFrame, keys: DataFrame, time: str) -> DataFrame:
    """The rows of the days `keys`, with `day`."""
    dated = rows.select("*", F.date_trunc("day", F.expr(time)).alias("day"))
    return dated.join(F.broadcast(keys), on="day", how="left_semi")


def _percents() -> list[Expression]:
    parts = {
        "percent_received": "100D * trades_received / nullif(trades_expected, 0)",
        "percent_proven": "100D * (minutes_complete + minutes_repaired) / nullif(minutes_expected, 0)",
        "percent_klines": "100D * minutes_with_kline / nullif(minutes_expected, 0)",
        "percent_depth": "100D * depth_seconds / nullif(60 * minutes, 0)",
        "percent_ticker": "100D * ticker_seconds / nullif(60 * minutes, 0)",
    }
    return [F.expr(sql).alias(name) for name, sql in parts.items()]


def quality(
    counts: pd.DataFrame, buckets: pd.DataFrame, refused: pd.DataFrame, holes: pd.DataFrame, evidence: pd.DataFrame
) -> pd.DataFrame:
    """A row for each key in `counts`, `refused` and `holes`, with the columns of the table.

    `buckets` are the day's histograms of latency: `stage`, `bucket`, `count`. `evidence` is of exchange, symbol and
    day: the condition by proven minutes, and what each kind of completeness is in percent.
    """
    key = list(TABLE.key)
    rows = counts.merge(refused, how="outer", on=key).merge(holes, how="outer", on=key)
    rows = rows.merge(evidence, how="left", on=key[1:]).merge(latencies(buckets), how="left", on=key)
    for name in _COUNTS:
        rows[name] = rows[name].astype("float64").fillna(0).astype("int64")
    percent = pd.Series(np.nan, index=rows.index)
    for table, name in _COVERAGE.items():
        is_of_it = rows["table_name"] == table
        percent[is_of_it] = rows.loc[is_of_it, name].astype("float64")
    rows["completeness_percent"] = percent
    is_proven = rows["table_name"].isin(_PROVEN)
    graded = np.select([percent.isna(), percent >= _AVAILABLE, percent == 0], ["", "available", "missing"], "degraded")
    named = pd.Series(graded, index=rows.index).mask(is_proven, rows["proven_condition"])
    rows["condition"] = named.replace("", None).where(named.notna(), None)
    own = rows["table_name"].str.split(".").str[0]
    seen = pd.Series(0, index=rows.index, dtype="int64")
    for stage in STAGES:
        seen = seen.mask(own == stage, rows[f"observations_{stage}"].astype("float64").fillna(0).astype("int64"))
    rows["observations"] = seen
    unreceived = (own == "bronze") & rows["latency_received_p50_ms"].isna() & (seen > 0)
    whys = {
        "completeness: no_evidence": percent.isna(),
        "latency: no_streamed_rows": seen == 0,
        "latency_received: no_time_of_the_exchange": unreceived,
    }
    told = [
        "; ".join(text for text, holds in zip(whys, flags, strict=True) if holds) or None
        for flags in zip(*(each.tolist() for each in whys.values()), strict=True)
    ]
    rows["reason"] = pd.Series(told, index=rows.index, dtype=object)
    return rows


def latencies(buckets: pd.DataFrame) -> pd.DataFrame:
    """The percentiles of each key and stage, in columns, and `observations_...`: how many they rest on.

    A percentile is the middle of the first bucket by whose end so many are counted: `2 * 1.05^b / 2.05`, which is
    as far from both its ends in proportion.
    """
    key = list(TABLE.key)
    columns = [*key, *_LATENCIES, *(f"observations_{stage}" for stage in STAGES)]
    if buckets.empty:
        empty = buckets[key].reindex(columns=columns)
        return empty.astype(dict.fromkeys(columns[len(key) :], float))
    ordered = buckets.sort_values([*key, "stage", "bucket"], ignore_index=True)
    of_stage = ordered.groupby([*key, "stage"])
    ordered["so_far"], ordered["total"] = of_stage["count"].cumsum(), of_stage["count"].transform("sum")
    middle = 2 * GROWTH ** ordered["bucket"] / (1 + GROWTH)
    ordered["ms"] = middle.where(ordered["bucket"] > 0, 1.0)
    found = []
    for percent in PERCENTILES:
        reached = ordered[ordered["so_far"] * 100 >= ordered["total"] * percent]
        first = reached.groupby([*key, "stage"])["ms"].first().unstack("stage")
        found.append(first.rename(columns={stage: f"latency_{stage}_p{percent}_ms" for stage in STAGES}))
    totals = of_stage["count"].sum().unstack("stage")
    found.append(totals.rename(columns={stage: f"observations_{stage}" for stage in STAGES}))
    return pd.concat(found, axis=1).reset_index().reindex(columns=columns)
