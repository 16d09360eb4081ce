"""Minutes and their baselines brought together by the UTC day, each with what lies shortly before it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import to_pandas
from crypto_pipeline.gold import _measures
from crypto_pipeline.gold._prices import SERIES
from crypto_pipeline.silver.candle_frames import every_source
from shared.tables import Table

_BASELINE = ("measure", "baseline", "rests_from", "observations", "median", "mad", "scale", "share")
_MINUTE, _YARDSTICK, _SAMPLE = "minute", "baseline", "sample"


def reached_hours(changes: Mapping[str, DataFrame], before: int, now: datetime) -> DataFrame:
    """The begins (`interval_start`) of the hours up to now that rest on changed hours, themselves or `before` them."""
    baselines = changes["gold.anomaly_baselines"].select(F.col("hour_start").alias("hour"))
    hours = _measures.changed_hours(changes).unionByName(baselines).distinct()
    later = F.explode(F.sequence(F.lit(0), F.lit(before)))
    reached = hours.select("hour", later.alias("offset")).select(
        F.timestamp_seconds(F.unix_seconds("hour") + F.col("offset") * 3600).alias("interval_start")
    )
    return reached.filter(F.col("interval_start") <= F.lit(now)).distinct()


def spans_of(keys: DataFrame, sources: Sequence[Table], table: Table, before: int) -> DataFrame:
    """From `before` hours before the first of the hours to the last, of the sources; these hours, of its own rows."""
    first, last = F.min("interval_start"), F.max("interval_start")
    spans = keys.agg(first.alias("first"), last.alias("end")).filter(F.col("first").isNotNull())
    wide = spans.select((F.col("first") - F.lit(timedelta(hours=before))).alias("start"), "end")
    return every_source(wide, sources).unionByName(
        every_source(spans.select(F.col("first").alias("start"), "end"), (table,))
    )


def hours_of(keys: DataFrame) -> set[datetime]:
    """The begins of the hours, UTC, without a zone."""
    return {hour.to_pydatetime() for hour in to_pandas(keys.select("interval_start"))["interval_start"]}


def by_day(
    sources: Mapping[str, DataFrame], hours: Collection[datetime], before: int, samples: DataFrame | None = None
) -> DataFrame:
    """The `observed` minutes and the baselines of these hours and of those `before` each, with the `day` of the hour.

    A row may stand for two days. `samples` have their `day` already. `parts_of` takes a day's rows apart again.
    """
    needed = {hour - timedelta(hours=ago) for hour in hours for ago in range(before + 1)}
    minutes = _measures.observed(sources, needed).select("*", F.lit(_MINUTE).alias("part"))
    baselines = sources["gold.anomaly_baselines"].select(
        *SERIES, F.col("hour_start").alias("interval_start"), *_BASELINE, F.lit(_YARDSTICK).alias("part")
    )
    both = minutes.unionByName(
        baselines.filter(_measures.in_hours("interval_start", needed) & F.col("baseline").isNotNull()),
        allowMissingColumns=True,
    )
    at = F.col("interval_start")
    days = F.array_distinct(F.array(F.date_trunc("day", at), F.date_trunc("day", at + F.lit(timedelta(hours=before)))))
    dated = both.select("*", F.explode(days).alias("day"))
    if samples is not None:
        dated = dated.unionByName(samples.select("*", F.lit(_SAMPLE).alias("part")), allowMissingColumns=True)
    return dated.filter(_measures.in_hours("day", {hour.replace(hour=0) for hour in hours}))


def parts_of(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A day's minutes, baselines and samples."""
    minutes = rows[rows["part"] == _MINUTE]
    baselines = rows.loc[rows["part"] == _YARDSTICK, [*SERIES, "interval_start", *_BASELINE]]
    samples = rows[rows["part"] == _SAMPLE]
    return minutes, baselines.rename(columns={"interval_start": "hour_start"}), samples
