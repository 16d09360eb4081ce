"""Every 19th minute of each market in robust z-scores: what the isolation forests of `gold.anomalies` are grown of.

A score is (x - median) / scale by the row of `gold.anomaly_baselines` of the minute's hour. 19 and 60 have no common
divisor, so that all minutes of the hour come in turn. The forest of a day is grown of the samples of the 7 days before
it, always the same of the same rows; a minute whose return, volume and trade size are not all known is left out, and an
unknown spread or imbalance counts as usual, 0.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, differing
from crypto_pipeline.gold import _measures, _unusual, anomaly_baselines
from crypto_pipeline.gold._days import by_day, hours_of, parts_of, reached_hours, spans_of
from shared.tables import Column, Table

EVERY = 19
"""Minutes, counted from 1970."""

TABLE = Table(
    layer="gold",
    name="anomaly_samples",
    grain="One row per exchange, symbol and sampled minute, every 19th, of which enough is known",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("interval_start", "timestamp", "the minute, UTC, inclusive"),
        *(
            Column(name, "double", f"asinh of the robust z-score: {_measures.MEASURES[name].comment}")
            for name in _unusual.FEATURES
        ),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of interval_start, yyyy-MM"),
    ),
    key=("exchange", "symbol", "interval_start"),
    partitions=("month",),
    time="interval_start",
    rules={"every_score_is_finite": " and ".join(f"abs({name}) < 1000" for name in _unusual.FEATURES)},
)
SOURCES = (*_measures.SOURCES, anomaly_baselines.TABLE)
JOB = "analytics"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCHEMA = ", ".join(f"{c.name} {c.type}" for c in TABLE.columns if c.name not in ("ingestion_ts", "month"))


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, now: datetime) -> DataFrame:
    """The hours of which samples are measured anew: `interval_start`, their begin.

    What came between the last minute that is sampled and now changes none.
    """
    step = timedelta(minutes=EVERY)
    last = _EPOCH + (now - _EPOCH) // step * step
    times = {**dict.fromkeys(changes, "interval_start"), anomaly_baselines.TABLE.full_name: "hour_start"}
    # What is read later than `now` was taken may hold the next one that is sampled.
    told = {
        name: rows.filter((F.col(times[name]) <= F.lit(last)) | (F.col(times[name]) > F.lit(now)))
        for name, rows in changes.items()
    }
    return reached_hours(told, _measures.BEFORE, now)


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The hours, with those before that their measures rest on."""
    return spans_of(keys, SOURCES, TABLE, _measures.BEFORE)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """The samples of the hours `keys`, as far as they differ from the current ones."""
    hours = hours_of(keys)

    def sampled(part: pd.DataFrame) -> pd.DataFrame:
        minutes, baselines, _ = parts_of(part)
        measures = _measures.measured(minutes)
        if measures["return"].empty:
            return pd.DataFrame(columns=[c.name for c in TABLE.columns][:-2])
        return sample(_unusual.z_scores(measures, baselines), hours, part["day"].iloc[0])

    rows = by_day(sources, hours, _measures.BEFORE).groupBy("day").applyInPandas(sampled, _SCHEMA)
    return differing(added(rows, month=F.date_format("interval_start", "yyyy-MM")), current, TABLE)


def sample(scores: _measures.Wide, hours: set[datetime], day: pd.Timestamp) -> pd.DataFrame:
    """The `features` of the sampled minutes of these hours of a day."""
    times = pd.DatetimeIndex(scores["return"].index)
    number = times.astype("datetime64[s]").astype("int64") // 60
    is_mine = (number % EVERY == 0) & times.floor("h").isin(list(hours)) & (times >= day)
    is_mine &= times < day + timedelta(days=1)
    return _unusual.features({name: scores[name][is_mine] for name in _unusual.FEATURES})
