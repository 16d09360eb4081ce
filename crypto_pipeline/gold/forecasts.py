"""What each model says of each hour, from nothing that came after the hour before it.

A forecast is made when an hour is over, for the next one: with the latest model of this code that is usable by then
(`gold.forecast_models.usable_from`) and at most seven days old, from the 169 hours of `gold.forecast_inputs` before.
`forecast` is the hour's realised volatility, a fraction and not annualised, where the target is `volatility`; where
it is `direction`, the probability that the hour closes above the close of the hour before. The baseline's stands beside
each (`is_baseline`), and `gold.forecast_scores` says how good they were.

`is_hindcast`: the model was trained after the hour had begun, on hours that were over before it; so is the week before
the first training.

Late data makes the forecasts anew that rest on it, with the model that was used before. Null, with `reason`:

- `too_little_history`: there is no model yet (`fills_at` says when), or less than 90 % of what it rests on is known
- `last_hour_unknown`: the hour before has no candle, or less than 54 of its minutes are known
- `model_unreadable`: the stored model is gone, or is not what was stored; the next training mends it
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import differing, framed, to_pandas
from crypto_pipeline.gold import _model_store, forecast_inputs, forecast_models
from crypto_pipeline.gold._forecast_features import LOOKBACK, VERSION, examples
from crypto_pipeline.gold._forecast_rows import as_rows
from crypto_pipeline.gold._forecasting import HORIZON, MODELS, forecast
from crypto_pipeline.gold._model_store import ModelError, Store
from crypto_pipeline.gold._prices import SERIES
from crypto_pipeline.gold.forecast_models import USABLE
from shared.tables import Column, Table

log = logging.getLogger(__name__)

TABLE = Table(
    layer="gold",
    name="forecasts",
    grain="One row per exchange, symbol, target, horizon, model and hour that is forecast",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("target", "string", "volatility or direction"),
        Column("horizon", "string", "1h: the next hour"),
        Column("model", "string", "last_hour, har, base_rate, logistic or boosting"),
        Column("is_baseline", "boolean", "it is what the others must beat"),
        Column("interval_start", "timestamp", "start of the hour that is forecast, UTC; all it rests on is older"),
        Column(
            "forecast",
            "double",
            "volatility: realised volatility of the hour, a fraction; direction: probability of a higher close",
        ),
        Column("trained_until", "timestamp", "UTC; names the model's row in gold.forecast_models"),
        Column("is_hindcast", "boolean", "the model was trained after the hour had begun, on what was over before it"),
        Column("observations", "int", "hours known, of the 168 before"),
        Column("reason", "string", "why there is none: too_little_history, last_hour_unknown, model_unreadable"),
        Column("fills_at", "timestamp", "UTC; when there will be a model, where there is none"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of interval_start, yyyy-MM"),
    ),
    key=("exchange", "symbol", "target", "horizon", "model", "interval_start"),
    partitions=("month",),
    time="interval_start",
    rules={
        "null_has_a_reason": "(forecast is null) = (reason is not null)",
        "volatility_is_positive": "target != 'volatility' or forecast is null or forecast > 0",
        "a_probability_lies_between_0_and_1": "target != 'direction' or forecast is null or forecast between 0 and 1",
        "nothing_of_the_hour_was_trained_on": "trained_until <= interval_start",
    },
)
SOURCES = (forecast_inputs.TABLE, forecast_models.TABLE)
JOB = "analytics"

_REACH = LOOKBACK + 1
"""Hours before the forecast one that its features rest on: of the first of 168 returns the close before it, too."""
_HOUR = pd.Timedelta(HORIZON)


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, now: datetime) -> DataFrame:
    """The hours up to this one that rest on changed closed hours, or that new models are used for."""
    rows = changes["gold.forecast_inputs"].filter("is_closed").select(*SERIES, "interval_start")
    models = changes["gold.forecast_models"].select(*SERIES, "usable_from").distinct()
    hours = hours_reached(to_pandas(rows), to_pandas(models), now)
    return framed(rows.sparkSession, hours, [c for c in TABLE.columns if c.name in (*SERIES, "interval_start")])


def hours_reached(inputs: pd.DataFrame, models: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """SERIES and `interval_start` of the hours that changed `inputs` and new `models` reach, up to that of `now`."""
    this = pd.Timestamp(now.astimezone(UTC).replace(tzinfo=None)).floor("h")
    changed, usable = pd.to_datetime(inputs["interval_start"]), pd.to_datetime(models["usable_from"])
    starts = inputs[SERIES].assign(first=changed + _HOUR, last=changed + _REACH * _HOUR)
    used = models[SERIES].assign(first=usable, last=usable + USABLE - _HOUR)
    spans = pd.concat([each for each in (starts, used) if len(each)] or [starts])
    spans = spans[spans["first"] <= this]
    found = []
    for series, mine in spans.groupby(SERIES):
        grid = pd.date_range(mine["first"].min(), min(mine["last"].max(), this), freq="h")
        begins = grid.get_indexer(pd.DatetimeIndex(mine["first"]))
        ends = grid.searchsorted(pd.DatetimeIndex(mine["last"]), side="right")
        steps = np.zeros(len(grid) + 1, dtype=int)
        np.add.at(steps, begins, 1)
        np.add.at(steps, ends, -1)
        hours = grid[np.cumsum(steps)[:-1] > 0]
        found.append(pd.DataFrame({"exchange": series[0], "symbol": series[1], "interval_start": hours}))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[*SERIES, "interval_start"])


def needs(keys: DataFrame, now: datetime) -> DataFrame:
    """The hours that the forecasts rest on, and the models that may be used."""
    first, last = F.min("interval_start"), F.max("interval_start")
    # A model may have been trained up to an hour before it is used, and be used for seven days.
    reaches = {
        forecast_inputs.TABLE.full_name: (first - F.expr(f"interval {_REACH} hours"), last),
        forecast_models.TABLE.full_name: (first - F.expr("interval 8 days"), F.lit(now)),
        TABLE.full_name: (first, last),
    }
    spans = [
        F.struct(
            F.lit(name).alias("source"),
            F.lit(None).cast("string").alias("interval"),
            start.alias("start"),
            end.alias("end"),
        )
        for name, (start, end) in reaches.items()
    ]
    return keys.agg(F.array(*spans).alias("spans")).select(F.inline("spans"))


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """The forecasts of the hours `keys`, as far as they differ from the current ones."""
    hours = (
        sources["gold.forecast_inputs"]
        .filter("is_closed")
        .join(keys.select(*SERIES).distinct(), on=SERIES, how="left_semi")
    )
    models = sources["gold.forecast_models"].filter(F.col("code_version") == VERSION)
    chosen = models.select(*SERIES, "trained_until", "trained_at", "usable_from", "uri", "sha256", "reason", "fills_at")
    rows = made(to_pandas(keys), to_pandas(hours), to_pandas(chosen.distinct()), _model_store.Bucket())
    return differing(as_rows(keys.sparkSession, rows, TABLE), current, TABLE)


def made(keys: pd.DataFrame, hours: pd.DataFrame, models: pd.DataFrame, store: Store) -> pd.DataFrame:
    """The rows of the forecasts of `keys` (SERIES and `interval_start`).

    `hours` are closed rows of `gold.forecast_inputs`, `models` the trainings of `gold.forecast_models`: SERIES,
    `trained_until`, `trained_at`, `usable_from`, `uri`, `sha256`, `reason`, `fills_at`. An hour for which there is none
    has no row.
    """
    with_models = used(keys, models)
    if with_models.empty:
        return pd.DataFrame(columns=TABLE.column_names)
    wanted = with_models.merge(examples(hours), on=[*SERIES, "interval_start"], how="left", suffixes=("", "_then"))
    wanted["why"] = wanted["reason"].where(wanted["reason"].notna(), wanted["reason_then"])
    wanted["why"] = wanted["why"].where(wanted["log_variance_1h"].notna() | wanted["why"].notna(), "last_hour_unknown")
    wanted["observations"] = wanted["observations"].astype(float).fillna(0).astype(int)
    columns = [(target, name) for target, names in MODELS.items() for name in names]
    said = pd.DataFrame(np.nan, index=wanted.index, columns=pd.MultiIndex.from_tuples(columns))
    for names, rows in wanted[wanted["why"].isna()].groupby(["uri", "sha256"]):
        try:
            document = _model_store.fetch(store, *map(str, names))
        except ModelError as error:
            log.warning("%s", error)
            wanted.loc[rows.index, "why"] = "model_unreadable"
        else:
            said.loc[rows.index] = forecast(document["models"], rows)[columns]
    parts = [_rows(wanted, said[target, name], target, name) for target, name in columns]
    return pd.concat(parts, ignore_index=True)


def used(keys: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """The hours, each with its training: the latest usable one, else one that says why there is no model."""
    in_time = keys.sort_values("interval_start", ignore_index=True)
    found = []
    for has_model in (True, False):
        offered = models[models["uri"].notna() == has_model].sort_values(["usable_from", "trained_until"])
        if offered.empty:
            continue
        offered = offered.drop_duplicates([*SERIES, "usable_from"], keep="last")
        joined = pd.merge_asof(
            in_time,
            offered,
            left_on="interval_start",
            right_on="usable_from",
            by=SERIES,
            tolerance=USABLE - pd.Timedelta(microseconds=1),
        )
        found.append(joined[joined["trained_until"].notna()])
        in_time = joined.loc[joined["trained_until"].isna(), [*SERIES, "interval_start"]]
    there = [each for each in found if len(each)]
    return pd.concat(there, ignore_index=True) if there else in_time.head(0)


def _rows(wanted: pd.DataFrame, said: pd.Series, target: str, model: str) -> pd.DataFrame:
    """The rows of one model."""
    values = np.sqrt(said) if target == "volatility" else said
    facts: dict[str, Any] = {
        "target": target,
        "horizon": HORIZON,
        "model": model,
        "is_baseline": model == MODELS[target][0],
        "forecast": values,
        "is_hindcast": wanted["trained_at"] > wanted["interval_start"],
        "reason": wanted["why"],
    }
    return wanted.assign(**facts)
