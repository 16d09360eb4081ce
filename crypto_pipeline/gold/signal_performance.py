"""How good each rule's signals were, beside always having been long.

Of `gold.signal_outcomes`: the signals that stand (one that late data overturned is counted in `retracted`, and nowhere
else) and whose return after the horizon is known. Returns are simple, after half the spread and the fee of the entry.

**Means and hit rates** from 30 returns on: the hit rate is the part of the returns above 0.

**Intervals** at 95 %, for the mean and for the hit rate, by a circular block bootstrap (D. N. Politis and J. P. Romano,
A circular block-resampling procedure for stationary data, 1992): returns of signals that follow each other within the
horizon overlap, and are drawn together. A block has as many signals as begin within the horizon of any one, and at
least the cube root of their number; with less than 10 blocks there is no interval. The bounds are the 2.5th and 97.5th
percentile of the means of 1000 resamples of as many whole blocks as cover the returns. They are drawn from a seed that
follows from the row's key, so that they do not change from run to run.

**Always long** is the mean of the returns of buying at each full hour from the first to the last of the signals, with
the same costs, over the same horizon. What a rule adds is the difference.

**Rules tried.** Of 20 rules that know nothing, one has a mean outside its interval by chance. `rules_tried` is how many
rules the file had when the row was made; each is tried on every symbol, interval and horizon.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import differing, to_pandas
from crypto_pipeline.gold import signal_outcomes, signals
from crypto_pipeline.gold._rules import ALWAYS_LONG, Rule
from crypto_pipeline.gold.signal_outcomes import HORIZONS
from crypto_pipeline.silver.candles import INTERVALS
from shared.tables import Column, Table

TABLE = Table(
    layer="gold",
    name="signal_performance",
    grain="One row per exchange, symbol, interval, rule, horizon and confidence",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("interval", "string", "of the signals' candles"),
        Column("rule", "string", "its name in config/signals.yaml"),
        Column("horizon", "string", "how long after the entry: 15m, 1h, 4h or 1d"),
        Column("confidence", "double", "of the intervals: 0.95"),
        Column("side", "string", "buy or sell"),
        Column("signals", "bigint", "that stand"),
        Column("retracted", "bigint", "that late data, or another rule of the name, overturned; not counted elsewhere"),
        Column("bridged", "bigint", "of signals: resting on candles with an unexplained absence among them"),
        Column("observations", "bigint", "of signals: those whose return is known"),
        Column("spreads_known", "bigint", "of observations: with the spread of the minute, not the configured one"),
        Column("first_signal", "timestamp", "interval_end of the first of the observations"),
        Column("last_signal", "timestamp", "interval_end of the last of them"),
        Column("mean_return", "double", "simple, after the costs of the entry; a fraction"),
        Column("mean_return_low", "double", "lower bound of its interval"),
        Column("mean_return_high", "double", "upper bound of its interval"),
        Column("median_return", "double", "a fraction"),
        Column("hit_rate", "double", "part of the returns above 0"),
        Column("hit_rate_low", "double", "lower bound of its interval"),
        Column("hit_rate_high", "double", "upper bound of its interval"),
        Column("block_length", "bigint", "signals that are drawn together"),
        Column("always_long_return", "double", "mean return of buying at each full hour of the time; a fraction"),
        Column("always_long_hit_rate", "double", "part of these above 0"),
        Column("always_long_observations", "bigint", "how many these are"),
        Column("rules_tried", "bigint", "rules of the file when the row was made"),
        Column(
            "reason",
            "string",
            "why values are null: no_signals, too_few_signals (less than 30), too_few_blocks (less than 10; only the "
            "intervals) or no_always_long; else null",
        ),
        Column("ingestion_ts", "timestamp", "when the row was written"),
    ),
    key=("exchange", "symbol", "interval", "rule", "horizon", "confidence"),
    buckets=1,
    rules={
        "observations_are_of_signals": "observations between 0 and signals and spreads_known <= observations",
        "hit_rate_is_a_part": "hit_rate is null or hit_rate between 0 and 1",
        "bounds_are_in_order": "mean_return_low is null or (mean_return_low <= mean_return_high)",
        "what_is_null_has_a_reason": "mean_return_low is not null or reason is not null",
    },
)
SOURCES = (signal_outcomes.TABLE,)
JOB = "analytics"

CONFIDENCE = 0.95
FEWEST = 30
"""Returns that a mean rests on."""
FEWEST_BLOCKS = 10
RESAMPLES = 1000
_GROUP = ["exchange", "symbol", "interval", "rule"]
_FIRST = datetime(2009, 1, 1, tzinfo=UTC)
"""The month of the first Bitcoin block: no signal is older."""
_SETTLED = timedelta(days=2)
"""An always_long that is older has been compared with: its longest horizon is over."""


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, now: datetime) -> DataFrame:
    """The rules of each series with new outcomes; `rule` and `interval` are null for all rules of a symbol.

    The latter where an always_long from before has changed, and once a day.
    """
    changed = changes["gold.signal_outcomes"]
    is_baseline = F.col("rule") == ALWAYS_LONG
    is_old = F.col("interval_end") < F.lit(now - _SETTLED)
    nothing = F.lit(None).cast("string")
    every = changed.filter(is_baseline & (is_old | (F.hour("interval_end") == 0)))
    return (
        changed.filter(~is_baseline)
        .select(*_GROUP)
        .unionByName(every.select("exchange", "symbol", nothing.alias("interval"), nothing.alias("rule")))
        .distinct()
    )


def needs(keys: DataFrame, now: datetime) -> DataFrame:
    """All that there is."""
    return keys.limit(1).select(
        F.lit(signal_outcomes.TABLE.full_name).alias("source"),
        F.lit(None).cast("string").alias("interval"),
        F.lit(_FIRST).alias("start"),
        F.lit(now).alias("end"),
    )


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, _now: datetime) -> DataFrame:
    """The rules `keys`, judged anew, as far as they differ from the current rows."""
    wanted = to_pandas(keys)
    rows = sources["gold.signal_outcomes"].join(
        F.broadcast(keys.select("exchange", "symbol").distinct()), on=["exchange", "symbol"], how="left_semi"
    )
    if wanted["rule"].notna().all():
        rows = rows.filter(F.col("rule").isin([*wanted["rule"].unique(), ALWAYS_LONG]))
    returns = [f"return_{name}" for name in HORIZONS]
    columns = [*_GROUP, "interval_end", "side", "is_retracted", "bridged", "spread_source", *returns]
    made = list(judged(to_pandas(rows.select(*columns)), wanted, signals.chosen().rules))
    written = [column for column in TABLE.columns if column.name != "ingestion_ts"]
    schema = ", ".join(f"{column.name} {column.type}" for column in written)
    tuples = [tuple(row[column.name] for column in written) for row in made]
    return differing(keys.sparkSession.createDataFrame(tuples, schema), current, TABLE)


def judged(outcomes: pd.DataFrame, wanted: pd.DataFrame, rules: tuple[Rule, ...]) -> Iterator[dict[str, Any]]:
    """A row of the table for each horizon of each rule that is wanted.

    `outcomes`: _GROUP, `interval_end`, `side`, `is_retracted`, `bridged`, `spread_source` and the returns, those of
    always_long too. `wanted`: _GROUP, rule and interval null for all of the symbol: then also for rules of the file
    that have no signals there.
    """
    outcomes = outcomes.sort_values("interval_end")
    is_baseline = outcomes["rule"] == ALWAYS_LONG
    market = ["exchange", "symbol"]
    nothing = _Series.of(outcomes.iloc[:0])
    baselines = {key: _Series.of(each) for key, each in outcomes[is_baseline].groupby(market)}
    groups = {key: _Series.of(each) for key, each in outcomes[~is_baseline].groupby(_GROUP)}
    keys = {tuple(key) for key in wanted.loc[wanted["rule"].notna(), _GROUP].itertuples(index=False)}
    sides = {rule.name: rule.side for rule in rules}
    for exchange, symbol in wanted.loc[wanted["rule"].isna(), market].itertuples(index=False):
        keys |= {key for key in groups if key[:2] == (exchange, symbol)}
        keys |= {
            (exchange, symbol, interval, rule.name)
            for rule in rules
            for interval in rule.intervals or INTERVALS
            if rule.looks_at(symbol, interval)
        }
    for key in sorted(keys):
        group, baseline = groups.get(key, nothing), baselines.get(key[:2], nothing)
        side = group.side[-1] if len(group.side) else sides[key[3]]
        named = dict(zip(_GROUP, key, strict=True)) | {"side": side, "confidence": CONFIDENCE}
        for horizon in HORIZONS:
            measured = _measured(group, horizon, baseline, "|".join((*key, horizon)))
            yield named | {"horizon": horizon, "rules_tried": len(rules)} | measured


class _Series(NamedTuple):
    """The outcomes of one rule, or of always_long, on one series, in order of time."""

    at: NDArray[np.datetime64]
    side: NDArray[np.object_]
    stands: NDArray[np.bool_]
    bridged: NDArray[np.bool_]
    is_spread_known: NDArray[np.bool_]
    returns: Mapping[str, NDArray[np.float64]]

    @classmethod
    def of(cls, rows: pd.DataFrame) -> "_Series":
        return cls(
            rows["interval_end"].to_numpy(),
            rows["side"].to_numpy(),
            ~rows["is_retracted"].to_numpy(dtype=np.bool_),
            rows["bridged"].to_numpy(dtype=np.bool_),
            (rows["spread_source"] != "configured").to_numpy(),
            {name: rows[f"return_{name}"].to_numpy(dtype=np.float64) for name in HORIZONS},
        )

    def between(self, first: np.datetime64, last: np.datetime64, horizon: str) -> NDArray[np.float64]:
        """The returns that are known of entries from the first to the last moment."""
        begin, end = np.searchsorted(self.at, first, side="left"), np.searchsorted(self.at, last, side="right")
        found = self.returns[horizon][begin:end]
        known: NDArray[np.float64] = found[~np.isnan(found)]
        return known


def _measured(group: _Series, horizon: str, baseline: _Series, seed: str) -> dict[str, Any]:
    """What the table says of one horizon of one rule's outcomes."""
    is_known = group.stands & ~np.isnan(group.returns[horizon])
    times, returns = group.at[is_known], group.returns[horizon][is_known]
    count, standing = len(returns), int(group.stands.sum())
    row: dict[str, Any] = dict.fromkeys(_VALUES) | {
        "signals": standing,
        "retracted": len(group.stands) - standing,
        "bridged": int(group.bridged[group.stands].sum()),
        "observations": count,
        "spreads_known": int(group.is_spread_known[is_known].sum()),
        "always_long_observations": 0,
    }
    if count:
        row |= {"first_signal": _moment(times[0]), "last_signal": _moment(times[-1])}
    if count < FEWEST:
        return row | {"reason": "too_few_signals" if standing else "no_signals"}
    hits = (returns > 0).astype(np.float64)
    row |= {
        "mean_return": float(returns.mean()),
        "median_return": float(np.median(returns)),
        "hit_rate": float(hits.mean()),
    }
    always = baseline.between(times[0], times[-1], horizon)
    row["always_long_observations"] = len(always)
    if len(always):
        row |= {"always_long_return": float(always.mean()), "always_long_hit_rate": float((always > 0).mean())}
    else:
        row["reason"] = "no_always_long"
    length = block_length(times, np.timedelta64(HORIZONS[horizon], "m"))
    row["block_length"] = length
    if count < FEWEST_BLOCKS * length:
        return row | {"reason": "too_few_blocks"}
    bounds = block_bootstrap(np.stack([returns, hits]), length, _seed(seed))
    for name, (low, high) in zip(("mean_return", "hit_rate"), bounds, strict=True):
        row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return row


def _moment(time: np.datetime64) -> datetime:
    """With its zone: without one it would be of the zone of this machine."""
    return pd.Timestamp(time, tz="UTC").to_pydatetime()


def block_length(times: NDArray[np.datetime64], horizon: np.timedelta64) -> int:
    """How many signals (in order of time) are drawn together.

    As many as begin within the horizon of any one, itself too, since their returns overlap; at least the cube root of
    their number, rounded up.
    """
    overlapping = np.searchsorted(times, times + horizon, side="left") - np.arange(len(times))
    return int(max(overlapping.max(), np.ceil(np.cbrt(len(times)) - 1e-9)))


def block_bootstrap(values: NDArray[np.float64], length: int, seed: int) -> NDArray[np.float64]:
    """The bounds of the means at `CONFIDENCE`: a row (low, high) for each row of values, resampled alike.

    Circular blocks, as many whole ones as cover the values (Politis and Romano, 1992); percentiles of the means.
    """
    count = values.shape[1]
    blocks = -(-count // length)
    starts = np.random.default_rng(seed).integers(0, count, (RESAMPLES, blocks))
    around = np.concatenate([np.zeros((len(values), 1)), values, values[:, : length - 1]], axis=1).cumsum(axis=1)
    of_block = around[:, length : length + count] - around[:, :count]
    means = of_block[:, starts].sum(axis=2) / (blocks * length)
    tail = (1 - CONFIDENCE) / 2 * 100
    bounds: NDArray[np.float64] = np.percentile(means, [tail, 100 - tail], axis=1).T
    return bounds


def _seed(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big")


_VALUES = [
    column.name for column in TABLE.columns if column.name not in (*TABLE.key, "side", "rules_tried", "ingestion_ts")
]
