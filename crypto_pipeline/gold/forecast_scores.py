"""How good the forecasts were, always beside the baseline's of the same hours.

An hour is scored when its truth is known (`gold.forecast_inputs`). Windows are the last 7 and 30 days up to the end of
the last such hour of the series (`as_of`); at least 90 % of their hours must be scored, else the figures are null and
`fills_at` says when there are as many, if every hour from then on is known. The losses, whose means stand here
(lower is better):

- `qlike` of volatility: `y / f - ln(y / f) - 1` of realised variance y and forecast variance f. It decides.
- `mse` of volatility: `(f - y)²` of variances of returns in percent. Both rank forecasts rightly although realised
  variance is a noisy proxy (Patton 2011, Journal of Econometrics 160)
- `log_loss` of direction: `-ln` of the probability given to what came. It decides.
- `brier` of direction: `(p - o)²`, o being 1 for a higher close and else 0

`difference` is the mean loss less the baseline's: negative is better. Its interval and `p_value` are Diebold and
Mariano's (1995, Journal of Business & Economic Statistics 13) with Newey and West's standard error, lags up to
`n^(1/3)`.
`beats_baseline` is true only where the whole 95 % interval lies below 0; `verdict` says it in a sentence. Two models,
two losses and two windows are tried of each target: of many such comparisons some are true by chance.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import differing
from crypto_pipeline.gold import forecast_inputs, forecasts
from crypto_pipeline.gold._forecast_features import FLOOR, SHARE
from crypto_pipeline.gold._forecast_rows import as_rows
from crypto_pipeline.gold._forecasting import HORIZON, MODELS
from crypto_pipeline.gold._losses import LOSSES, compared
from crypto_pipeline.gold._prices import SERIES
from shared.tables import Column, Table

TABLE = Table(
    layer="gold",
    name="forecast_scores",
    grain="One row per exchange, symbol, target, horizon, model, loss and window",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("target", "string", "volatility or direction"),
        Column("horizon", "string", "1h: the next hour"),
        Column("model", "string", "last_hour, har, base_rate, logistic or boosting"),
        Column("loss", "string", "qlike, mse, log_loss or brier"),
        Column("window", "string", "7d or 30d, up to as_of"),
        Column("baseline", "string", "the model that it is compared with"),
        Column("as_of", "timestamp", "end of the last hour whose truth is known, UTC"),
        Column("observations", "int", "hours scored, of both models"),
        Column("hindcasts", "int", "of these: forecast by a model that was trained after the hour had begun"),
        Column("mean_loss", "double", "of the model"),
        Column("baseline_loss", "double", "of the baseline, same hours"),
        Column("difference", "double", "mean_loss - baseline_loss; negative is better"),
        Column("ci_low", "double", "95 % interval of the difference, from; null where it never varies"),
        Column("ci_high", "double", "to"),
        Column("statistic", "double", "Diebold and Mariano's: difference / its standard error"),
        Column("p_value", "double", "of no difference, two-sided"),
        Column("beats_baseline", "boolean", "the whole interval lies below 0; null for the baseline itself"),
        Column("verdict", "string", "the same in a sentence"),
        Column("reason", "string", "why the figures are null: too_few_hours"),
        Column("fills_at", "timestamp", "UTC; when there are enough, if every hour is known from now on"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
    ),
    key=("exchange", "symbol", "target", "horizon", "model", "loss", "window"),
    buckets=1,
    rules={
        "null_has_a_reason": "(mean_loss is null) = (reason is not null)",
        "a_model_has_its_verdict": "verdict is not null",
        "only_what_is_better_beats": "not coalesce(beats_baseline, false) or difference < 0",
    },
)
SOURCES = (forecasts.TABLE, forecast_inputs.TABLE)
JOB = "analytics"

WINDOWS = {"7d": 168, "30d": 720}
"""Hours of each window."""
_HOUR = pd.Timedelta(HORIZON)


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
    """The series with new forecasts or new truths."""
    said = changes["gold.forecasts"].select(*SERIES)
    came = changes["gold.forecast_inputs"].filter("is_closed").select(*SERIES)
    return said.unionByName(came).distinct()


def needs(keys: DataFrame, now: datetime) -> DataFrame:
    """The longest window, and a day more for a series whose last hours are not known yet."""
    end = F.lit(now)
    span = [
        F.struct(
            F.lit(table.full_name).alias("source"),
            F.lit(None).cast("string").alias("interval"),
            (end - F.expr("interval 31 days")).alias("start"),
            end.alias("end"),
        )
        for table in SOURCES
    ]
    return keys.limit(1).select(F.inline(F.array(*span)))


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """The scores of the series `keys`, as far as they differ from the current ones."""
    said = (
        sources["gold.forecasts"]
        .filter("forecast is not null")
        .select(*SERIES, "target", "model", "interval_start", "forecast", "is_hindcast")
    )
    came = (
        sources["gold.forecast_inputs"]
        .filter("is_closed")
        .select(*SERIES, "interval_start", "close", "realised_variance")
    )
    rows = scored(*(each.join(keys, on=SERIES, how="left_semi").toPandas() for each in (said, came)))
    return differing(as_rows(keys.sparkSession, rows, TABLE), current, TABLE)


def scored(said: pd.DataFrame, came: pd.DataFrame) -> pd.DataFrame:
    """The scores of each series, target, model, loss and window.

    `said`: SERIES, `target`, `model`, `interval_start`, `forecast` and `is_hindcast`. `came`: SERIES, `interval_start`,
    `close` and `realised_variance` of closed hours.
    """
    truth = truths(came)
    ends: Mapping[Any, pd.Timestamp] = dict(truth.groupby(SERIES)["interval_start"].max() + _HOUR)
    rows: list[dict[str, Any]] = []
    for (exchange, symbol, of_target), mine in said.groupby([*SERIES, "target"]):
        target = str(of_target)
        if (exchange, symbol) not in ends:
            continue
        series = {"exchange": exchange, "symbol": symbol, "target": target, "horizon": HORIZON}
        as_of = ends[exchange, symbol]
        names = MODELS[target]
        forecast = mine.pivot_table(index="interval_start", columns="model", values="forecast").reindex(columns=names)
        hindcast = mine.groupby("interval_start")["is_hindcast"].any()
        of_series = truth[(truth["exchange"] == exchange) & (truth["symbol"] == symbol)]
        came_true = of_series.set_index("interval_start")[target].dropna()
        both = forecast.join(came_true.rename("truth"), how="inner").dropna(subset=["truth"]).sort_index()
        for window, hours in WINDOWS.items():
            within = both[both.index >= as_of - hours * _HOUR]
            for loss in LOSSES[target]:
                rows += [
                    series
                    | {"model": name, "loss": loss, "window": window, "baseline": names[0], "as_of": as_of}
                    | _score(within, hindcast, target, name, loss, hours, as_of)
                    for name in names
                ]
    return pd.DataFrame(rows, columns=[name for name in TABLE.column_names if name != "ingestion_ts"])


def truths(came: pd.DataFrame) -> pd.DataFrame:
    """SERIES, `interval_start`, `volatility` (the variance, at least FLOOR) and `direction` (1.0 higher, else 0.0).

    Of hours that are known; the direction only where the hour before is known too.
    """
    known = came[came["realised_variance"].notna()].sort_values([*SERIES, "interval_start"], ignore_index=True)
    before = known.groupby(SERIES)[["interval_start", "close"]].shift(1)
    is_adjacent = before["interval_start"] + _HOUR == known["interval_start"]
    rises = (known["close"] > before["close"]).astype(float).where(is_adjacent)
    variance = known["realised_variance"].clip(lower=FLOOR)
    return known[[*SERIES, "interval_start"]].assign(volatility=variance, direction=rises)


def _score(
    within: pd.DataFrame, hindcast: pd.Series, target: str, model: str, loss: str, hours: int, as_of: pd.Timestamp
) -> dict[str, Any]:
    """The figures of a model and loss over the hours of a window, or why there are none."""
    baseline = MODELS[target][0]
    pairs = within[[*dict.fromkeys([model, baseline]), "truth"]].dropna()
    needed = int(np.ceil(SHARE * hours))
    counts = {"observations": len(pairs), "hindcasts": int(hindcast.reindex(pairs.index).sum())}
    if len(pairs) < needed:
        fills_at = as_of + (needed - len(pairs)) * _HOUR
        verdict = f"{len(pairs)} hours are scored, of {hours}; it takes {needed}."
        return counts | {"reason": "too_few_hours", "fills_at": fills_at, "verdict": verdict}
    power = 2 if target == "volatility" else 1
    came = pairs["truth"].to_numpy(float)
    measure = LOSSES[target][loss]
    losses, theirs = (measure(pairs[name].pow(power).to_numpy(float), came) for name in (model, baseline))
    found = compared(losses, theirs)
    assert found  # noqa: S101 (there are more hours than two)
    figures = counts | {"mean_loss": found.loss, "baseline_loss": found.baseline_loss, "difference": found.difference}
    if model == baseline:
        return figures | {"verdict": f"{model} is the baseline: {loss} {found.loss:.4g} over {len(pairs)} hours."}
    return figures | {
        "ci_low": found.low,
        "ci_high": found.high,
        "statistic": found.statistic,
        "p_value": found.p_value,
        "beats_baseline": found.beats,
        "verdict": found.sentence(model, baseline, loss),
    }
