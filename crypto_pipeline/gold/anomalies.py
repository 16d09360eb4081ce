"""Minutes unlike what is usual for their market and hour, each with a score, the yardstick, and a sentence.

`kind` and what its `score` is; a row stands where it reaches `threshold`:

- `return`, `volume`, `trade_size`, `spread`, `imbalance`: the robust z-score (x - median) / scale of the minute by the
  market's row of `gold.anomaly_baselines`. Its sign says on which side. A return is the log return of close between
  adjacent minutes; volume, trade size (volume by trades) and spread are compared as logarithms.
- `away`: the same of ln(close in USDT / median of the closes of all markets of the base asset), where there are others;
  another quote asset is converted by the closes of that minute. Of two markets that part, both are named.
- `isolation_forest`: the score of scikit-learn's isolation forest (Liu, Ting and Zhou, 2008), 0 to 1, over the z-scores
  of the first five together, where at least two of them are 3 or more. Each UTC day has a forest, grown with a fixed
  random state of the `gold.anomaly_samples` of the 7 days before it.
- `frozen_price`: -log10 of the probability that the price stands in so many minutes with trades, if each changed it as
  often as the baseline's share says, independently.
- `no_trades`: the same of minutes in which nothing traded, which silver.completeness proves. What it explains by an
  outage, a halt or a delisting is not unusual here.

A stand has a row where it passes the threshold, and one at each full hour while it lasts; it is followed for 6 hours.

A minute is judged only by what lay before its hour. Where late data changes that, it is judged again, and what does not
hold any more stays with `is_retracted`. Made from scratch, the rows are those that are not retracted.

The thresholds: robust z-scores of Gaussian noise never reach 6 in practice, and those of returns with the tail of
Student's t with 3 degrees of freedom reach 10 some two times a day and market. See docs/decisions/anomalies.md.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, differing
from crypto_pipeline.gold import _measures, _unusual, anomaly_baselines, anomaly_samples
from crypto_pipeline.gold._days import by_day, hours_of, parts_of, reached_hours
from crypto_pipeline.gold._prices import SERIES
from crypto_pipeline.silver.candle_frames import every_source
from shared.tables import Column, Table

TABLE = Table(
    layer="gold",
    name="anomalies",
    grain="One row per exchange, symbol, interval, start and kind of what was unusual",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("base_asset", "string", "what is traded"),
        Column("interval", "string", "1m"),
        Column("interval_start", "timestamp", "the minute, UTC, inclusive"),
        Column("kind", "string", "return, volume, trade_size, spread, imbalance, away, isolation_forest, frozen_price "
               "or no_trades"),
        Column("score", "double", "how unusual: a robust z-score with its sign, the forest's score (0 to 1), or -log10 "
               "of the probability of a stand"),
        Column("threshold", "double", "from which on (the score without its sign) a row stands"),
        Column("value", "double", "what was measured, in `unit`; null for the forest"),
        Column("unit", "string", "of value and median: %, bps, minutes, the base asset, or nothing for an imbalance"),
        Column("median", "double", "of the baseline; null for the forest and for stands"),
        Column("mad", "double", "median absolute deviation of the baseline; of volume, trade_size and spread a factor"),
        Column("baseline", "string", "hour_of_week, hour_of_day or all_hours, as in gold.anomaly_baselines; "
               "isolation_forest: the samples of all markets in the 7 days before the day"),
        Column("rests_from", "timestamp", "begin of the earliest hour of the baseline"),
        Column("observations", "int", "minutes that the baseline rests on"),
        Column("explanation", "string", "the sentence that says why"),
        Column("is_retracted", "boolean", "late data overturned it: it does not hold any more"),
        Column("reason", "string", "why value, median or mad is null: of_many_measures, or of_a_share for a stand"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of interval_start, yyyy-MM"),
    ),
    key=("exchange", "symbol", "interval", "interval_start", "kind"),
    partitions=("month",),
    time="interval_start",
    rules={
        "it_reaches_its_threshold": "abs(score) >= threshold",
        "it_says_why": "explanation <> '' and baseline is not null and observations > 0",
        "a_null_has_a_reason": "(value is not null and median is not null and mad is not null) = (reason is null)",
        "it_rests_on_what_lay_before": "rests_from < interval_start",
    },
)  # fmt: skip
SOURCES = (*_measures.SOURCES, anomaly_baselines.TABLE, anomaly_samples.TABLE)
JOB = "analytics"

_FOUND = ", ".join(
    f"{column.name} {column.type}" for name in _unusual.COLUMNS for column in TABLE.columns if column.name == name
)


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, now: datetime) -> DataFrame:
    """The hours that rest on new minutes or baselines, and those of days whose forest has new samples."""
    day = F.date_trunc("day", F.col("interval_start"))
    sampled = changes["gold.anomaly_samples"].select(day.alias("sampled")).distinct()
    hours = F.explode(F.sequence(F.lit(24), F.lit(24 * (_unusual.DAYS + 1) - 1)))
    of_forests = sampled.select("sampled", hours.alias("offset")).select(
        F.timestamp_seconds(F.unix_seconds("sampled") + F.col("offset") * 3600).alias("interval_start")
    )
    reached = reached_hours(changes, _unusual.BEFORE, now)
    return reached.unionByName(of_forests.filter(F.col("interval_start") <= F.lit(now))).distinct()


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The hours and those before that tell of them, the samples of the days before, and its own rows of the hours."""
    first, last = F.min("interval_start"), F.max("interval_start")
    spans = keys.agg(first.alias("first"), last.alias("end")).filter(F.col("first").isNotNull())
    before = F.col("first") - F.lit(timedelta(hours=_unusual.BEFORE))
    days_before = F.date_trunc("day", "first") - F.lit(timedelta(days=_unusual.DAYS))
    return (
        every_source(spans.select(before.alias("start"), "end"), (*_measures.SOURCES, anomaly_baselines.TABLE))
        .unionByName(every_source(spans.select(days_before.alias("start"), "end"), (anomaly_samples.TABLE,)))
        .unionByName(every_source(spans.select(F.col("first").alias("start"), "end"), (TABLE,)))
    )


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """What is unusual in the hours `keys`, and what was and is not any more, as far as it differs from the current."""
    hours = hours_of(keys)

    def unusual(part: pd.DataFrame) -> pd.DataFrame:
        minutes, baselines, samples = parts_of(part)
        day = part["day"].iloc[0]
        bases = _measures.bases(minutes)
        mine = {hour for hour in hours if day <= hour < day + timedelta(days=1)}
        return _unusual.found(_measures.measured(minutes), baselines, _unusual.forest_of(samples), bases, mine)

    days = F.explode(F.sequence(F.lit(1), F.lit(_unusual.DAYS)))
    day = F.unix_seconds(F.date_trunc("day", "interval_start"))
    samples = sources["gold.anomaly_samples"].select("*", days.alias("later")).select(
        *SERIES, "interval_start", *_unusual.FEATURES,
        F.timestamp_seconds(day + F.col("later") * 86400).alias("day"),
    )  # fmt: skip
    found = by_day(sources, hours, _unusual.BEFORE, samples).groupBy("day").applyInPandas(unusual, _FOUND)
    made = added(
        found,
        interval=F.lit("1m"),
        is_retracted=F.lit(False),
        month=F.date_format("interval_start", "yyyy-MM"),
        ingestion_ts=F.current_timestamp(),
    ).select(TABLE.column_names)
    mine = current.filter("not is_retracted").filter(_measures.in_hours("interval_start", hours))
    return differing(_with_retracted(made, mine), current, TABLE)


def _with_retracted(made: DataFrame, before: DataFrame) -> DataFrame:
    """The rows made, and those of before that nothing makes any more, marked."""
    names = [name for name in TABLE.column_names if name not in TABLE.key]
    new = made.select(*TABLE.key, F.struct(*names).alias("new"))
    old = [F.lit(True).alias(name) if name == "is_retracted" else F.col(name) for name in names]
    both = new.join(before.select(*TABLE.key, F.struct(*old).alias("old")), on=list(TABLE.key), how="full")
    row = F.coalesce("new", "old").alias("row")
    return both.select(*TABLE.key, row).select(*TABLE.key, "row.*").select(TABLE.column_names)
