"""The models of the next hour, as they were trained, and how good they would have been.

For every series each day, in the job `training`, and at once for one that has no model yet and enough history: 336
hours (14 days) whose features and truth are known, after the 168 hours that the first features reach back. Before that
the row has a reason and the time at which it fills. At most 90 days are trained on, and no hour that ended after
`trained_until`.

Target `volatility` is the next hour's realised volatility: the square root of `gold.forecast_inputs.realised_variance`.
Target `direction` is whether the next hour closes above this one's close. The models:

- `last_hour` (baseline): the variance of the hour before
- `har`: least squares of ln(variance) on the logs of its means over 1, 24 and 168 hours, `exp(fit + s²/2)`, kept within
  what was seen in training (Corsi 2009, Journal of Financial Econometrics 7; here by the hour)
- `base_rate` (baseline): the share of rises, by Laplace's rule
- `logistic`: logistic regression with a ridge penalty on all features
- `boosting`: 50 trees of six leaves on all features (scikit-learn's HistGradientBoosting, seed 0, one thread), of
  variance with the gamma deviance, which is twice QLIKE, and of direction with log loss

Walk-forward validation: the later half of the hours in four parts, each forecast by models that were fitted only to
hours that had ended when the part begins. Its losses stand beside the baseline's of the same hours
(`gold.forecast_scores` says which and how they are compared); `verdict` says in a sentence whether the model beats it.

The first time, models are also trained as of seven days before, so that a week of forecasts can be scored at once: they
know nothing of that week.

Models are JSON under `gold/models/` in the bucket: coefficients and trees as numbers, never code. They are read only if
their SHA-256 is the one that stands here and `code_version` is that of the code. What another version trained is left
alone, and trained anew.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import to_pandas
from crypto_pipeline.gold import _model_store, forecast_inputs
from crypto_pipeline.gold._forecast_features import LOOKBACK, VERSION, examples
from crypto_pipeline.gold._forecast_rows import as_rows
from crypto_pipeline.gold._forecasting import FOLDS, HORIZON, MODELS, ZOO, fitted, validated, walk_forward
from crypto_pipeline.gold._losses import LOSSES
from crypto_pipeline.gold._model_store import Store
from crypto_pipeline.gold._prices import SERIES
from shared.tables import Column, Table

_LOSS_COLUMNS = tuple(name for losses in LOSSES.values() for name in losses)

TABLE = Table(
    layer="gold",
    name="forecast_models",
    grain="One row per exchange, symbol, target, horizon, model and time of training",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("target", "string", "volatility or direction"),
        Column("horizon", "string", "1h: how far ahead it forecasts"),
        Column("model", "string", "last_hour, har, base_rate, logistic or boosting"),
        Column("is_baseline", "boolean", "it is what the others must beat"),
        Column("trained_until", "timestamp", "UTC; nothing that ended later was trained on"),
        Column("trained_from", "timestamp", "start of the first hour whose truth was trained on"),
        Column("trained_at", "timestamp", "UTC; when it was trained"),
        Column("usable_from", "timestamp", "UTC; the first hour that is forecast with it"),
        Column("observations", "int", "hours trained on; their features and truth are known"),
        Column("hours_known", "int", "hours whose variance was known, of 97 days"),
        Column("features", "string", "names, comma-separated"),
        Column("folds", "int", "parts of the walk-forward validation"),
        Column("validated_from", "timestamp", "start of the first hour validated"),
        Column("validated_hours", "int", "hours forecast in the validation"),
        *(
            Column(f"{prefix}{name}", "double", f"{text} of the validation; null for the other target")
            for name in _LOSS_COLUMNS
            for prefix, text in (("", f"mean {name}"), ("baseline_", f"mean {name} of the baseline, same hours"))
        ),
        Column("difference", "double", "of qlike or log_loss to the baseline's; negative is better"),
        Column("ci_low", "double", "95 % interval of the difference, from"),
        Column("ci_high", "double", "to"),
        Column("p_value", "double", "of no difference (Diebold and Mariano)"),
        Column("beats_baseline", "boolean", "the whole interval lies below 0; null for a baseline"),
        Column("verdict", "string", "the same in a sentence"),
        Column("code_version", "string", "of features and models"),
        Column("library_versions", "string", "of numpy and scikit-learn"),
        Column("uri", "string", "where the model lies"),
        Column("sha256", "string", "of its bytes, hexadecimal"),
        Column("reason", "string", "why there is no model: too_little_history"),
        Column("fills_at", "timestamp", "UTC; when there is enough history, if every hour is known from now on"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of trained_until, yyyy-MM"),
    ),
    key=("exchange", "symbol", "target", "horizon", "model", "trained_until"),
    partitions=("month",),
    time="trained_until",
    buckets=1,
    rules={
        "null_has_a_reason": "(uri is null) = (reason is not null)",
        "it_bears_its_hash": "uri is null or length(sha256) = 64",
        "it_is_not_used_on_what_it_was_trained_on": "usable_from >= trained_until",
    },
)
SOURCES = (forecast_inputs.TABLE,)
JOB = "training"

MIN_EXAMPLES = 336
"""Hours, 14 days, that a model must at least be trained on."""
ENOUGH_HOURS = LOOKBACK + MIN_EXAMPLES + 1
"""Known hours that give so many examples, if none is missing."""
TRAINING_DAYS = 90
USABLE = pd.Timedelta(days=7)
"""After that a model is too old; and so long before the first one another is trained."""
_HOUR = pd.Timedelta(HORIZON)


def touched(changes: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The series with new hours that have no model of this code and day."""
    series = changes["gold.forecast_inputs"].filter("is_closed").select(*SERIES).distinct()
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    is_there = F.col("uri").isNotNull() & (F.col("code_version") == VERSION) & (F.col("trained_until") >= F.lit(day))
    return series.join(current.filter(is_there), on=SERIES, how="left_anti")


def needs(keys: DataFrame, now: datetime) -> DataFrame:
    """What is trained on, and the models of the last days."""
    hour = _hour_of(now)
    spans = [
        (forecast_inputs.TABLE.full_name, _first(now), hour),
        (TABLE.full_name, hour - USABLE - _HOUR, hour),
    ]
    rows = pd.DataFrame(spans, columns=["source", "start", "end"]).assign(interval=None)
    schema = "source string, interval string, start timestamp, end timestamp"
    return keys.sparkSession.createDataFrame(rows[["source", "interval", "start", "end"]], schema)


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The models of the series `keys`, trained until the hour of `now` and kept in the object store."""
    closed = sources["gold.forecast_inputs"].filter(
        F.col("is_closed") & (F.col("interval_start") >= F.lit(_first(now).tz_localize(UTC).to_pydatetime()))
    )
    hours = to_pandas(closed.join(keys, on=SERIES, how="left_semi"))
    there = current.filter(F.col("uri").isNotNull() & (F.col("code_version") == VERSION))
    earlier = to_pandas(there.select(*SERIES, "usable_from").distinct())
    return as_rows(keys.sparkSession, trained(hours, earlier, now, _model_store.Bucket()), TABLE)


def trained(hours: pd.DataFrame, earlier: pd.DataFrame, now: datetime, store: Store) -> pd.DataFrame:
    """The rows of the models of every series of `hours`, closed rows of `gold.forecast_inputs`, kept in `store`.

    `earlier`: SERIES and `usable_from` of the models of this code that there are. A series with one that may still be
    used is trained for the hours to come; another for this hour on, and as of USABLE before.
    """
    until = _hour_of(now)
    rows: list[dict[str, Any]] = []
    known = examples(hours.sort_values([*SERIES, "interval_start"]))
    for (exchange, symbol), of_series in known.groupby(SERIES):
        mine = earlier[(earlier["exchange"] == exchange) & (earlier["symbol"] == symbol)]
        is_first = not (mine["usable_from"] > until - USABLE).any()
        times = [(until - USABLE, until - USABLE), (until, until)] if is_first else [(until, until + _HOUR)]
        count = int(of_series["variance"].notna().sum()) + 1
        common = {"exchange": exchange, "symbol": symbol, "hours_known": count, "trained_at": _utc(now)}
        for trained_until, usable_from in times:
            when = {**common, "trained_until": trained_until, "usable_from": usable_from}
            chosen = training_set(of_series, trained_until)
            if len(chosen) >= MIN_EXAMPLES:
                rows += _models(chosen, when, store)
            elif trained_until == until:
                lacking = fills_at(of_series, chosen, until)
                rows += [row | {"reason": "too_little_history", "fills_at": lacking} for row in _bare(chosen, when)]
    return pd.DataFrame(rows, columns=[c for c in TABLE.column_names if c not in ("ingestion_ts", "month")])


def training_set(of_series: pd.DataFrame, until: pd.Timestamp) -> pd.DataFrame:
    """The examples of a series that may be trained on at a time: features and truth are known, and the hour is over."""
    is_known = of_series["reason"].isna() & of_series["variance"].notna() & of_series["went_up"].notna()
    ended = of_series["interval_start"] + _HOUR
    is_within = (ended <= until) & (ended > until - pd.Timedelta(days=TRAINING_DAYS))
    return of_series[is_known & is_within]


def fills_at(of_series: pd.DataFrame, chosen: pd.DataFrame, until: pd.Timestamp) -> pd.Timestamp:
    """When there are enough examples, if every hour from `until` on is known."""
    lacking = MIN_EXAMPLES - len(chosen)
    if chosen.empty:  # the first one needs its look-back
        lacking += max(LOOKBACK - int(of_series["observations"].iloc[-1]), 0) + 1
    return until + lacking * _HOUR


def due(models: pd.DataFrame, hours: pd.DataFrame, now: datetime) -> Sequence[str]:
    """The series (`binance:BTCUSDT`) that want training now: once a day, and as soon as a first model can be had.

    `models`: SERIES, `trained_until`, `hours_known`, `reason` and `code_version` of this table. `hours`: SERIES,
    `interval_start` and `realised_variance` of `gold.forecast_inputs`. Times are in UTC, with or without a zone.
    """
    today = pd.Timestamp(now.astimezone(UTC)).floor("D")
    is_of_today = pd.to_datetime(models["trained_until"], utc=True) >= today
    ours = models[(models["code_version"] == VERSION) & is_of_today]
    latest = ours.sort_values("trained_until").drop_duplicates(SERIES, keep="last")
    is_counted = hours["realised_variance"].notna() & (
        pd.to_datetime(hours["interval_start"], utc=True) >= _first(now).tz_localize(UTC)
    )
    counts = hours[is_counted].groupby(SERIES).size().rename("hours_there").reset_index()
    both = counts.merge(latest, on=SERIES, how="left")
    is_new = both["trained_until"].isna()
    has_grown = (both["hours_there"] >= ENOUGH_HOURS) & (both["hours_there"] > both["hours_known"])
    wanted = both[is_new | (both["reason"].notna() & has_grown)]
    return [f"{row.exchange}:{row.symbol}" for row in wanted.itertuples()]


def _models(chosen: pd.DataFrame, when: Mapping[str, Any], store: Store) -> list[dict[str, Any]]:
    """A row for each model, fitted to the examples, validated on their later half and stored."""
    said = walk_forward(chosen)
    comparisons = validated(chosen, said)
    document = {
        "code_version": VERSION,
        "exchange": when["exchange"],
        "symbol": when["symbol"],
        "trained_until": when["trained_until"].isoformat(),
        "models": fitted(chosen),
    }
    folder = f"exchange={when['exchange']}/symbol={when['symbol']}/{when['trained_until']:%Y-%m-%dT%H}"
    uri, sha256 = _model_store.keep(store, folder, document)
    rows = []
    for row in _bare(chosen, when):
        target, model = row["target"], row["model"]
        baseline, main = MODELS[target][0], next(iter(LOSSES[target]))
        stored = {"uri": uri, "sha256": sha256, "folds": FOLDS, "validated_hours": len(said)}
        found = {"validated_from": chosen.loc[said.index[0], "interval_start"]}
        for loss in LOSSES[target]:
            comparison = comparisons[target, model, loss]
            found |= {loss: comparison.loss, f"baseline_{loss}": comparison.baseline_loss}
        deciding = comparisons[target, model, main]
        if row["is_baseline"]:
            found["verdict"] = (
                f"{model} is the baseline: {main} {deciding.loss:.4g} over {deciding.observations} hours."
            )
        else:
            found |= {
                "difference": deciding.difference,
                "ci_low": deciding.low,
                "ci_high": deciding.high,
                "p_value": deciding.p_value,
                "beats_baseline": deciding.beats,
                "verdict": deciding.sentence(model, baseline, main),
            }
        rows.append(row | stored | found)
    return rows


def _bare(chosen: pd.DataFrame, when: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a row says of each model before it is fitted."""
    libraries = {name: version(name) for name in ("numpy", "scikit-learn")}
    return [
        {
            **when,
            "target": target,
            "horizon": HORIZON,
            "model": model,
            "is_baseline": model == names[0],
            "trained_from": chosen["interval_start"].min(),
            "observations": len(chosen),
            "features": ",".join(ZOO[target, model].features),
            "folds": 0,
            "validated_hours": 0,
            "code_version": VERSION,
            "library_versions": json.dumps(libraries),
        }
        for target, names in MODELS.items()
        for model in names
    ]


def _first(now: datetime) -> pd.Timestamp:
    """The start of the first hour that is looked at: what is trained on, and what its first features reach back."""
    return _hour_of(now) - pd.Timedelta(days=TRAINING_DAYS) - LOOKBACK * _HOUR


def _utc(now: datetime) -> datetime:
    """Without its zone, which is UTC, as pandas has times here."""
    return now.astimezone(UTC).replace(tzinfo=None)


def _hour_of(now: datetime) -> pd.Timestamp:
    return pd.Timestamp(_utc(now)).floor("h")
