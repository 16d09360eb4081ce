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

from crypto_pipeline.frames import differing, to_pandas
from crypto_pipeline.gold import forecast_inputs, forecasts
from crypto_pipeline.gold._forecast_features import FLOOR, SHARE
from crypto_pipeline.gold._forecast_rows import as_rows
from crypto_pipeline.gold._forecasting import HORIZON, MODELS
from crypto_pipeline.gold._losses import LOSSES, Values, compared
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
        Column("window_days", "int", "7 or 30: days up to as_of"),
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
    key=("exchange", "symbol", "target", "horizon", "model", "loss", "window_days"),
    buckets=1,
    rules={
        "null_has_a_reason": "(mean_loss is null) = (reason is not null)",
        "a_model_has_its_verdict": "verdict is not null",
        "only_what_is_better_beats": "not coalesce(beats_baseline, false) or difference < 0",
    },
)
SOURCES = (forecasts.TABLE, forecast_inputs.TABLE)
JOB = "analytics"

WINDOWS = {7: 168, 30: 720}
"""Hours of each window, by its days."""
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
    rows = scored(*(to_pandas(each.join(keys, on=SERIES, how="left_semi")) for each in (said, came)))
    return differing(as_rows(keys.sparkSession, rows, TABLE), current, TABLE)


def scored(said: pd.DataFrame, came: pd.DataFrame) -> pd.DataFrame:
    """The scores of each series, target, model, loss and window.

    `said`: SERIES, `target`, `model`, `interval_start`, `forecast` and `is_hindcast`. `came`: SERIES, `interval_start`,
    `close` and `realised_variance` of closed hours.
    """
    rows: list[dict[str, Any]] = []
    ours = said.drop_duplicates([*SERIES, "target", "model", "interval_start"])
    wide = ours.set_index([*SERIES, "interval_start", "target", "model"])["forecast"].unstack(["target", "model"])
    hindcasts = (
        ours.drop_duplicates([*SERIES, "interval_start"])
        .set_index([*SERIES, "interval_start"])["is_hindcast"]
        .sort_index()
    )
    for series, truth in truths(came).groupby(SERIES):
        exchange, symbol = map(str, series)
        if (exchange, symbol) not in wide.index:
            continue
        hours = pd.DatetimeIndex(truth["interval_start"])
        as_of = hours[-1] + _HOUR
        of_series = pd.DataFrame(wide.xs((exchange, symbol))).reindex(hours)
        late = pd.Series(hindcasts.xs((exchange, symbol))).reindex(hours).eq(True).to_numpy(bool)
        for target, names in MODELS.items():
            said_of = of_series.reindex(columns=pd.MultiIndex.from_tuples([(target, name) for name in names]))
            spoken = dict(zip(names, said_of.to_numpy(float).T, strict=True))
            true = truth[target].to_numpy(float)
            for window, span in WINDOWS.items():
                within = np.asarray(hours >= as_of - span * _HOUR)
                common: dict[str, Any] = {"exchange": exchange, "symbol": symbol, "target": target, "horizon": HORIZON}
                common |= {"window_days": window, "baseline": names[0], "as_of": as_of}
                for name in names:
                    pairs = within & np.isfinite(spoken[name]) & np.isfinite(spoken[names[0]]) & np.isfinite(true)
                    counts = {"observations": int(pairs.sum()), "hindcasts": int((pairs & late).sum())}
                    for loss in LOSSES[target]:
                        facts = common | counts | {"model": name, "loss": loss}
                        rows.append(facts | _score(facts, spoken[name][pairs], spoken[names[0]][pairs], true[pairs]))
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


def _score(facts: Mapping[str, Any], spoken: Values, by_baseline: Values, true: Values) -> dict[str, Any]:
    """The figures of what a model and the baseline said of the hours of a window, or why there are none."""
    target, model, loss, baseline = (facts[name] for name in ("target", "model", "loss", "baseline"))
    hours = WINDOWS[facts["window_days"]]
    needed = int(np.ceil(SHARE * hours))
    if len(true) < needed:
        fills_at = facts["as_of"] + (needed - len(true)) * _HOUR
        verdict = f"{len(true)} hours are scored, of {hours}; it takes {needed}."
        return {"reason": "too_few_hours", "fills_at": fills_at, "verdict": verdict}
    power = 2 if target == "volatility" else 1
    losses, theirs = (LOSSES[target][loss](each**power, true) for each in (spoken, by_baseline))
    found = compared(losses, theirs)
    assert found  # noqa: S101 (there are more hours than two)
    figures = {"mean_loss": found.loss, "baseline_loss": found.baseline_loss, "difference": found.difference}
    if model == baseline:
        return figures | {"verdict": f"{model} is the baseline: {loss} {found.loss:.4g} over {len(true)} hours."}
    return figures | {
        "ci_low": found.low,
        "ci_high": found.high,
        "statistic": found.statistic,
        "p_value": found.p_value,
        "beats_baseline": found.beats,
        "verdict": found.sentence(model, baseline, loss),
    }
