"""What is usual for each market, measure and hour, by what lay before that hour: the yardstick of `gold.anomalies`.

The centre is the median, the scale 1.4826 times the median absolute deviation (MAD), which is the standard deviation
where the noise is Gaussian; neither moves with some outliers (Iglewicz and Hoaglin, How to Detect and Handle Outliers,
1993). Where more than half of the values are the same the MAD is 0: then the scale is 1.2533 times the mean absolute
deviation from the median, as they say. A scale has a floor for each measure, below which nothing is unusual. Volume,
trade size and spread are compared as logarithms.

The first of these that has enough of both, in whole hours before this one:

- `hour_of_week`: the same hour of the week in the 4 weeks before; of at least 3 weeks, and 120 minutes
- `hour_of_day`: the same hour of the day in the 7 days before; of at least 4 days, and 120 minutes
- `all_hours`: the 24 hours before; of at least 120 minutes

`trades` and `changes` are shares of minutes, with their own row an hour and no scale.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, differing, to_pandas
from crypto_pipeline.gold import _measures
from crypto_pipeline.gold._measures import BEFORE, MEASURES, SHARES
from crypto_pipeline.gold._prices import SERIES
from crypto_pipeline.silver.candle_frames import every_source
from shared.tables import Column, Table

_SAID = "; ".join(
    f"{name}: {text}" for name, text in {**{m.name: m.comment for m in MEASURES.values()}, **SHARES}.items()
)


class Basis(NamedTuple):
    """A choice of earlier hours: how many hours ago they lie, and of how many of them something must be known."""

    name: str
    hours_ago: Sequence[int]
    least_hours: int


BASES = (
    Basis("hour_of_week", [168 * weeks for weeks in range(1, 5)], 3),
    Basis("hour_of_day", [24 * days for days in range(1, 8)], 4),
    Basis("all_hours", range(1, 25), 2),
)
LEAST = 120
"""Minutes: the median of so many Gaussian values is known to 0.11 of their deviation, the MAD to 11 %."""
SCALE_OF_MAD, SCALE_OF_MEAN = 1.4826, 1.2533
TOO_FEW = "too_little_history"

TABLE = Table(
    layer="gold",
    name="anomaly_baselines",
    grain="One row per exchange, symbol, measure and hour: what is usual then, from what lay before it",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("measure", "string", _SAID),
        Column("hour_start", "timestamp", "the hour for which it is the yardstick, UTC; all of it lies before"),
        Column("baseline", "string", "hour_of_week, hour_of_day or all_hours; null where none has enough"),
        Column("observations", "int", "minutes that it rests on; where none has enough, those of all_hours"),
        Column("hours", "int", "hours of which these are"),
        Column("rests_from", "timestamp", "start of the earliest of these hours"),
        Column("median", "double", "of the measure, or its logarithm (volume, trade_size, spread); null for a share"),
        Column("mad", "double", "median absolute deviation from it"),
        Column("scale", "double", "what a robust z-score is counted in: 1.4826 MAD, or where that is 0 "
               "1.2533 mean absolute deviations, and the measure's floor at least"),
        Column("share", "double", "of the minutes; null for what has a median"),
        Column("reason", "string", "why it is null: too_little_history"),
        Column("fills_at", "timestamp", "then there is enough, if each minute until then has an observation"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of hour_start, yyyy-MM"),
    ),
    key=("exchange", "symbol", "measure", "hour_start"),
    partitions=("month",),
    time="hour_start",
    rules={
        "enough_or_a_reason": "(baseline is null) = (reason is not null) "
        f"and (baseline is null or observations >= {LEAST})",
        "a_scale_is_positive": "median is null or scale > 0",
        "a_share_is_a_share": "share is null or share between 0 and 1",
        "it_rests_on_what_lay_before": "rests_from < hour_start",
    },
)  # fmt: skip
SOURCES = _measures.SOURCES
JOB = "analytics"

_FAR = max(BASES[0].hours_ago) + BEFORE
_OFFSETS = sorted({ago + later for basis in BASES for ago in basis.hours_ago for later in range(BEFORE + 1)})
"""How many hours after one its minutes still count."""
_SCHEMA = ", ".join(f"{c.name} {c.type}" for c in TABLE.columns if c.name not in ("ingestion_ts", "month"))
_COLUMNS = [c.name for c in TABLE.columns if c.name not in ("ingestion_ts", "month")]


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The hours in which something is observed for the first time, and those whose past changed."""
    known = current.select("hour_start", F.lit(True).alias("is_known")).distinct()
    later = F.explode(F.array(*[F.lit(offset) for offset in (0, *_OFFSETS)]))
    hours = _measures.changed_hours(changes).select(later.alias("offset"), "hour").select(
        F.timestamp_seconds(F.unix_seconds("hour") + F.col("offset") * 3600).alias("hour_start"), "offset"
    )  # fmt: skip
    is_new = (F.col("offset") == 0) & F.col("is_known").isNull()
    is_after = (F.col("offset") > 0) & (F.col("hour_start") <= F.lit(now))
    return hours.join(known, on="hour_start", how="left").filter(is_new | is_after).select("hour_start").distinct()


def needs(keys: DataFrame, _now: datetime) -> DataFrame:
    """The four weeks before the hours, of the sources; the hours themselves, of its own rows."""
    spans = keys.agg(F.min("hour_start").alias("first"), F.max("hour_start").alias("end"))
    sources = every_source(spans.select((F.col("first") - F.lit(timedelta(hours=_FAR))).alias("start"), "end"), SOURCES)
    return sources.unionByName(every_source(spans.select(F.col("first").alias("start"), "end"), (TABLE,)))


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """The baselines of the hours `keys`, as far as they differ from the current ones."""
    wanted = [hour.to_pydatetime() for hour in to_pandas(keys.select("hour_start"))["hour_start"]]
    needed = {hour - timedelta(hours=offset) for hour in wanted for offset in _OFFSETS}
    rows = _measures.observed(sources, needed)

    def of_base(part: pd.DataFrame) -> pd.DataFrame:
        return baselines(_measures.measured(part), wanted)

    made = rows.groupBy("base_asset").applyInPandas(of_base, _SCHEMA)
    return differing(added(made, month=F.date_format("hour_start", "yyyy-MM")), current, TABLE)


def baselines(measures: _measures.Wide, hours: Sequence[datetime]) -> pd.DataFrame:
    """The baselines of some hours (UTC, without a zone) by the `measured` minutes, of which those before each count.

    Columns: those of the table but its bookkeeping. Markets and measures of which nothing is known give no row.
    """
    starts = pd.DatetimeIndex(sorted(hours))
    parts = [
        _of_series(name, market, series.to_numpy(dtype=float), pd.DatetimeIndex(measures[name].index), starts)
        for name in (*MEASURES, *SHARES)
        for market, series in measures[name].items()
        if series.notna().any()
    ]
    if not parts:
        return pd.DataFrame(columns=_COLUMNS)
    found = pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    is_share, is_short = found["measure"].isin(list(SHARES)), found["baseline"].isna()
    lacking = np.ceil((LEAST - found["observations"]).clip(lower=1) / 60)
    made = found.assign(
        rests_from=found["hour_start"] - pd.to_timedelta(found["hours_ago"], unit="h"),
        median=found["centre"].where(~is_share),
        share=found["centre"].where(is_share),
        reason=pd.Series(TOO_FEW, index=found.index).where(is_short, None),
        fills_at=(found["hour_start"] + pd.to_timedelta(lacking, unit="h")).where(is_short),
    )
    return made[_COLUMNS]


def _of_series(
    name: str, market: Any, values: NDArray[np.float64], times: pd.DatetimeIndex, starts: pd.DatetimeIndex
) -> dict[str, NDArray[Any]]:
    """One measure of one market: a column each, of the hours of which something is known."""
    first = times[0].floor("h")
    by_hour = _by_hour(values, times, first)
    place = ((starts - first) // pd.Timedelta(hours=1)).to_numpy()
    count_by_hour = (~np.isnan(by_hour)).sum(axis=1)
    numbers = {column: np.zeros(len(starts), dtype=np.int32) for column in ("observations", "hours", "hours_ago")}
    figures = {column: np.full(len(starts), np.nan) for column in ("centre", "mad", "scale")}
    baseline = np.full(len(starts), None, dtype=object)
    for basis in BASES:
        rows = np.flatnonzero(baseline == None)  # noqa: E711 (of an array)
        ago = np.array(sorted(basis.hours_ago, reverse=True))
        places = _within(by_hour, place[rows, None] - ago)
        counts = count_by_hour[places]
        count, known_hours = counts.sum(axis=1), (counts > 0).sum(axis=1)
        is_enough = (count >= LEAST) & (known_hours >= basis.least_hours)
        is_told = is_enough if basis is not BASES[-1] else count > 0
        for column, said in (
            ("observations", count),
            ("hours", known_hours),
            ("hours_ago", ago[(counts > 0).argmax(axis=1)]),
        ):
            numbers[column][rows[is_told]] = said[is_told]
        taken = rows[is_enough]
        baseline[taken] = basis.name
        stack = by_hour[places[is_enough]].reshape(len(taken), 60 * len(ago))
        if name in SHARES:
            figures["centre"][taken] = np.nansum(stack, axis=1) / count[is_enough]
        else:
            for column, said in zip(figures, robust(stack, MEASURES[name].floor), strict=True):
                figures[column][taken] = said
    columns = {"hour_start": starts.to_numpy(), "baseline": baseline, **numbers, **figures}
    names = dict(zip((*SERIES, "measure"), (*market, name), strict=True))
    is_known = numbers["observations"] > 0
    same = {column: np.full(int(is_known.sum()), value, dtype=object) for column, value in names.items()}
    return {**same, **{column: said[is_known] for column, said in columns.items()}}


def robust(
    values: NDArray[np.float64], floor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Median, MAD and scale of each row; NaN does not count, and no row may be of it alone."""
    centre = _median(values)
    deviations = np.abs(values - centre[:, None])
    mad = _median(deviations)
    mean = np.nanmean(deviations, axis=1) if len(values) else mad
    return centre, mad, np.maximum(np.where(mad > 0, SCALE_OF_MAD * mad, SCALE_OF_MEAN * mean), floor)


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `np.nanmedian`, which goes row by row."""
    count = (~np.isnan(values)).sum(axis=1)
    middle = np.empty(len(values))
    for known in np.unique(count):  # in most rows nothing is missing
        rows = count == known
        places = [(known - 1) // 2, known // 2]
        middle[rows] = np.partition(values[rows], places, axis=1)[:, places].mean(axis=1)  # NaN comes last
    return middle


def _by_hour(values: NDArray[np.float64], times: pd.DatetimeIndex, first: pd.Timestamp) -> NDArray[np.float64]:
    """A row an hour of its 60 minutes; and one of NaN at the end, for the hours that are not there."""
    lead = int((times[0] - first) // pd.Timedelta(minutes=1))
    count = -(-(lead + len(values)) // 60) + 1
    flat = np.full(count * 60, np.nan)
    flat[lead : lead + len(values)] = values
    return flat.reshape(count, 60)


def _within(by_hour: NDArray[np.float64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places, of what is not there the last, which is empty."""
    missing = len(by_hour) - 1
    within: NDArray[np.int64] = np.where((places < 0) | (places > missing), missing, places)
    return within
