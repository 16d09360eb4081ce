"""Minutes unlike what is usual for their market and hour: found, scored, and explained in a sentence."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crypto_pipeline.gold._measures import AWAY, CARRIED, MEASURES, RETURN, TRADED, WINDOW, Measure, Wide
from crypto_pipeline.gold._prices import SERIES

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest

THRESHOLDS = {"return": 10.0, "volume": 6.0, "trade_size": 6.0, "spread": 6.0, "imbalance": 6.0, "away": 10.0}
"""Robust z-scores from which on a minute is unusual. docs/decisions/anomalies.md has the measurements behind them."""
FEATURES = ("return", "volume", "trade_size", "spread", "imbalance")
"""What the forest sees."""
NEEDED = FEATURES[:3]
"""Without these it says nothing of a minute; an unknown one of the others counts as usual."""
FOREST = "isolation_forest"
FROZEN, SILENT = "frozen_price", "no_trades"

RARE = 9.0
"""A stand is unusual where the habit makes it rarer than one in 10^9."""
SHORTEST = 5
"""Minutes that a stand lasts at least."""
BEFORE = -(-(WINDOW + 1 + CARRIED + 1) // 60)
"""Hours before the one of a minute in which all lies that tells whether it is unusual."""

TOGETHER, NOTABLE = 2, 3.0
"""The forest is asked where so many of the measures have at least this z-score: what is unusual together."""
DAYS = 7
"""Days before its own of which samples the forest is grown."""
LEAST, MOST = 256, 4096
"""Sampled minutes that a forest is grown of; of more every n-th."""
_RANDOM_STATE, _TREES = 20260101, 100
_QUANTILE, _MARGIN = 0.999, 0.03
"""A forest's threshold lies so far above this quantile of the scores of its own sample."""

COLUMNS = (
    *SERIES, "base_asset", "interval_start", "kind", "score", "threshold", "value", "unit", "median", "mad",
    "baseline", "rests_from", "observations", "explanation", "reason",
)  # fmt: skip
OF_MANY, OF_A_SHARE = "of_many_measures", "of_a_share"


@dataclass(frozen=True)
class Forest:
    """An isolation forest and the score from which on it finds a minute unusual."""

    trees: "IsolationForest"
    threshold: float
    ordinary: float
    observations: int


def z_scores(measures: Wide, baselines: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The robust z-score of each measure, minute and market: (x - median) / scale; NaN where there is no baseline.

    `baselines` has rows of `gold.anomaly_baselines`.
    """
    return {
        name: (measures[name] - _at(baselines, name, "median", measures[name]))
        / _at(baselines, name, "scale", measures[name])
        for name in MEASURES
    }


def _at(baselines: pd.DataFrame, measure: str, column: str, like: pd.DataFrame) -> pd.DataFrame:
    """A column of the baselines of each minute's hour."""
    mine = baselines[baselines["measure"] == measure]
    by_hour = mine.pivot(index="hour_start", columns=SERIES, values=column)
    values = by_hour.reindex(index=pd.DatetimeIndex(like.index).floor("h"), columns=like.columns).to_numpy(dtype=float)
    return pd.DataFrame(values, index=like.index, columns=like.columns)


def features(scores: Wide) -> pd.DataFrame:
    """A row for each exchange, symbol and minute of which enough is known for the forest, a column for each feature.

    asinh(z): near 0 the score itself, far out its logarithm, so that one outlier does not fill the forest's range.
    """
    stacked = {name: scores[name].to_numpy() for name in FEATURES}
    like = scores["return"]
    minute, market = np.nonzero(np.logical_and.reduce([~np.isnan(stacked[name]) for name in NEEDED]))
    rows = {name: np.arcsinh(np.nan_to_num(stacked[name][minute, market])) for name in FEATURES}
    return pd.DataFrame({**_names(like, market), "interval_start": like.index[minute], **rows})


def _names(like: pd.DataFrame, market: NDArray[np.int64]) -> dict[str, NDArray[np.object_]]:
    """The exchange and symbol of columns by their place."""
    return {level: like.columns.get_level_values(level).to_numpy()[market] for level in SERIES}


def forest_of(sample: pd.DataFrame) -> Forest | None:
    """The forest grown of sampled minutes (`features`), the same of the same in any order; none of too few.

    Liu, Ting and Zhou, Isolation Forest, 2008: 100 trees of 256 minutes each; a score is 2^(-mean depth / expected).
    """
    if len(sample) < LEAST:
        return None
    from sklearn.ensemble import IsolationForest

    ordered = sample.sort_values([*SERIES, "interval_start"])[list(FEATURES)].to_numpy(dtype=float)
    chosen = ordered[:: -(-len(ordered) // MOST)]
    trees = IsolationForest(n_estimators=_TREES, max_samples=LEAST, random_state=_RANDOM_STATE).fit(chosen)
    scores = -trees.score_samples(chosen)
    return Forest(trees, float(np.quantile(scores, _QUANTILE)) + _MARGIN, float(np.median(scores)), len(chosen))


def found(
    measures: Wide,
    baselines: pd.DataFrame,
    forest: Forest | None,
    bases: Mapping[tuple[str, str], str],
    hours: Collection[datetime],
) -> pd.DataFrame:
    """What is unusual in some hours (UTC, without a zone): COLUMNS, a row for each market, minute and kind.

    `bases`: the base asset of each market. The measures must reach `BEFORE` hours further back than the hours.
    """
    if measures["return"].empty:
        return pd.DataFrame(columns=list(COLUMNS))
    scores = z_scores(measures, baselines)
    is_wanted = pd.DatetimeIndex(measures["return"].index).floor("h").isin(list(hours))
    parts = [
        *(_outliers(MEASURES[name], measures[name], scores[name], is_wanted) for name in MEASURES),
        *_stands(measures, baselines, is_wanted),
    ]
    made = [_explained(_joined(parts), baselines, bases)]
    if forest:
        made.append(_together(measures, scores, forest, bases, is_wanted))
    return _joined(made).reindex(columns=list(COLUMNS))


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One below the other; empty ones would change the others' types."""
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _outliers(
    measure: Measure, values: pd.DataFrame, scores: pd.DataFrame, is_wanted: NDArray[np.bool_]
) -> pd.DataFrame:
    threshold = THRESHOLDS[measure.name]
    with np.errstate(invalid="ignore"):
        is_far = (scores.abs().to_numpy() >= threshold) & is_wanted[:, None]
    return _rows(measure.name, measure.name, is_far, scores, values, threshold)


def _rows(
    kind: str, measure: str, is_found: NDArray[np.bool_], scores: pd.DataFrame, values: pd.DataFrame, threshold: float
) -> pd.DataFrame:
    minute, market = np.nonzero(is_found)
    return pd.DataFrame(
        {
            **_names(values, market),
            "interval_start": values.index[minute],
            "kind": kind,
            "measure": measure,
            "score": scores.to_numpy()[minute, market],
            "threshold": threshold,
            "figure": values.to_numpy()[minute, market],
        }
    )


def _stands(measures: Wide, baselines: pd.DataFrame, is_wanted: NDArray[np.bool_]) -> list[pd.DataFrame]:
    """Prices that stand although it trades, and markets in which proven nothing trades, for longer than is habit.

    A row where the stand becomes unusual, and one at each full hour that it lasts on.
    """
    trades, changes = measures[TRADED], measures["changes"]
    is_quiet, is_same = (trades == 0).to_numpy(), (changes == 0).to_numpy()
    is_full_hour = (pd.DatetimeIndex(trades.index).minute == 0)[:, None]
    result = []
    for kind, measure, is_step, holds in (
        (FROZEN, "changes", is_same, is_same | is_quiet),
        (SILENT, "trades", is_quiet, is_quiet),
    ):
        share = _at(baselines, measure, "share", trades).to_numpy()
        count = _at(baselines, measure, "observations", trades).to_numpy()
        # By Laplace's rule, so that what never happened yet is not impossible.
        decades = -np.log10(((1 - share) * count + 1) / (count + 2))
        score, length = run_lengths(is_step, ~holds | (is_step & np.isnan(decades)), decades)
        is_long = (score >= RARE) & (length >= SHORTEST)
        was_long = np.vstack([np.zeros((1, is_long.shape[1]), dtype=bool), is_long[:-1]])
        is_told = is_long & (~was_long | is_full_hour) & is_wanted[:, None]
        scores, lengths = (pd.DataFrame(v, index=trades.index, columns=trades.columns) for v in (score, length))
        result.append(_rows(kind, measure, is_told, scores, lengths, RARE))
    return result


def run_lengths(
    is_step: NDArray[np.bool_], is_end: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By column: the sum of the steps' weights since the last end, and how many they are; 0 where there is no step.

    Of the last WINDOW rows at most.
    """
    number = np.arange(len(is_step))[:, None]
    last = np.maximum.accumulate(np.where(is_end, number, -1), axis=0)
    since = np.maximum(last, number - WINDOW)
    results = []
    for values in (np.where(is_step & ~is_end, weights, 0.0), (is_step & ~is_end).astype(float)):
        total = np.vstack([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
        sums = total[1:] - np.take_along_axis(total, np.maximum(since + 1, 0), axis=0)
        results.append(np.where(is_step & ~is_end, np.round(sums, 9), 0.0))
    return results[0], results[1]


def _explained(rows: pd.DataFrame, baselines: pd.DataFrame, bases: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """With what each rests on, in its own unit, and the sentence."""
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    hours = rows["interval_start"].dt.floor("h")
    joined = rows.assign(hour_start=hours).merge(baselines, how="left", on=[*SERIES, "measure", "hour_start"])
    told = []
    for one in _records(joined):
        base = bases[one["exchange"], one["symbol"]]
        says = _stand(one) if one["kind"] in (FROZEN, SILENT) else _outlier(one, base)
        told.append({**one, "score": round(one["score"], 6), "base_asset": base, **says})
    return pd.DataFrame(told, columns=list(COLUMNS))


def _outlier(one: Mapping[str, Any], base: str) -> dict[str, object]:
    measure = MEASURES[one["measure"]]
    value, median = _in_unit(measure, one["figure"]), _in_unit(measure, one["median"])
    unit = base if measure.unit == "base" else measure.unit
    if measure.is_log:
        mad, times = float(np.exp(one["mad"])), float(np.exp(one["figure"] - one["median"]))
        far = f"{times:,.3g} times" if times >= 1 else f"1/{1 / times:,.3g} of"
        noise = f"MAD a factor of {mad:.3g}"
    else:
        mad = _in_unit(measure, one["mad"])
        far = f"{abs(one['score']):,.3g} robust deviations from"
        noise = f"MAD {_figure(mad, unit)}"
    what = {"trade_size": "mean trade size", "away": "close in USDT"}.get(measure.name, measure.name)
    place = " from the base asset's other markets" if measure is AWAY else " in the minute"
    sign = "+" if not measure.is_log and value > 0 else ""
    sentence = (
        f"{what} {sign}{_figure(value, unit)}{place}, {far} the median of {_figure(median, unit)} for {_hours(one)} "
        f"({noise}, {one['observations']:.0f} minutes; robust z {one['score']:+,.1f})"
    )
    return {"value": value, "unit": unit, "median": median, "mad": mad, "explanation": sentence, "reason": None}


def _stand(one: Mapping[str, Any]) -> dict[str, object]:
    length = int(one["figure"])
    least = "at least " if length >= WINDOW else ""
    what, habit = {
        FROZEN: (f"price unchanged in {least}{length} minutes with trades", "it changes in {:.1%} of the minutes"),
        SILENT: (f"proven no trade for {least}{length} minutes", "there is one in {:.1%} of the minutes"),
    }[one["kind"]]
    sentence = (
        f"{what}, where {habit.format(one['share'])} for {_hours(one)} ({one['observations']:.0f} minutes): by chance "
        f"one in 10^{one['score']:.0f}"
    )
    unknown = {"median": np.nan, "mad": np.nan, "reason": OF_A_SHARE}
    return {"value": float(length), "unit": "minutes", "explanation": sentence, **unknown}


def _together(
    measures: Wide, scores: Wide, forest: Forest, bases: Mapping[tuple[str, str], str], is_wanted: NDArray[np.bool_]
) -> pd.DataFrame:
    """The minutes of which several measures are notable and that the forest finds easy to isolate."""
    with np.errstate(invalid="ignore"):
        is_notable = np.stack([np.abs(scores[name].to_numpy()) >= NOTABLE for name in FEATURES])
    is_asked = (is_notable.sum(axis=0) >= TOGETHER) & is_wanted[:, None]
    rows = features({name: scores[name].where(is_asked) for name in FEATURES})
    if rows.empty:
        return rows
    score = -forest.trees.score_samples(rows[list(FEATURES)].to_numpy())
    rows = rows.assign(score=score.round(6))[score >= forest.threshold]
    told = []
    for one in _records(rows):
        market, minute = (one["exchange"], one["symbol"]), one["interval_start"]
        base = bases[market]
        z = {name: np.sinh(one[name]) for name in FEATURES}
        notable = sorted((name for name in FEATURES if abs(z[name]) >= NOTABLE), key=lambda name: -abs(z[name]))
        each = [
            f"{name.replace('_', ' ')} {_of(name, float(measures[name][market][minute]), base)} (z {z[name]:+,.1f})"
            for name in notable
        ]
        sentence = (
            f"unusual together: {', '.join(each)}; isolation score {one['score']:.3f}, where {forest.ordinary:.2f} is "
            f"ordinary, of {forest.observations} minutes of all markets in the {DAYS} days before"
        )
        told.append({**one, "base_asset": base, "explanation": sentence})
    rests_from = rows["interval_start"].dt.normalize() - pd.Timedelta(days=DAYS)
    made = pd.DataFrame(told, columns=list(COLUMNS), index=rows.index)
    return made.assign(
        kind=FOREST,
        threshold=round(forest.threshold, 6),
        baseline=FOREST,
        rests_from=rests_from,
        observations=forest.observations,
        reason=OF_MANY,
    )


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(rows.columns, one, strict=True)) for one in rows.itertuples(index=False)]


def _of(name: str, figure: float, base: str) -> str:
    measure = MEASURES[name]
    return _figure(_in_unit(measure, figure), base if measure.unit == "base" else measure.unit)


def _in_unit(measure: Measure, figure: float) -> float:
    """A measured figure as it is told: percent, basis points, or what a logarithm is of."""
    if measure is RETURN:
        return float(np.expm1(figure)) * 100
    if measure is AWAY:
        return float(np.expm1(figure)) * 10_000
    return float(np.exp(figure)) if measure.is_log else float(figure)


def _figure(value: float, unit: str) -> str:
    text = f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{text} {unit}".strip()


def _hours(one: Mapping[str, Any]) -> str:
    start: pd.Timestamp = one["hour_start"]
    hours = f"{start:%H:%M}-{start + pd.Timedelta(hours=1):%H:%M} UTC"
    return {
        "hour_of_week": f"{start:%A}s {hours}",
        "hour_of_day": f"{hours} of the 7 days before",
        "all_hours": "the 24 hours before",
    }[one["baseline"]]
