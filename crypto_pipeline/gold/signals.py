"""What the rules of `config/signals.yaml` say: buy or sell, on the candle whose close made a rule's condition true.

**Signal.** A condition that is true on a closed candle and was known to be false on the candle before. `A crosses above
B` is: A > B, and A <= B on the candle before (as TradingView's `ta.crossover`). Two values that differ by less than a
billionth of the greater, or of the price, are equal: an indicator is not known more exactly, and a price that stands
still makes no signals. What rests on a value that is not known (an indicator's warm-up, the first candle) is neither
true nor false (Kleene's logic) and makes none.

**The candle before** is the one before in `silver.indicators`, `previous_start`, at most 60 intervals earlier; what
lies further back is not compared. Where it is not the interval right before, either nothing traded between, or
`bridged` says that something is absent that nobody can explain.

**No look-ahead.** A candle that may still move is never looked at. A row rests on its candle and those before, so it
may be acted on from `interval_end` on; `known_at` is when we knew.

**Never changed.** A row stays as it was written. What late data (or another rule of the same name) makes of a signal is
a further row with the next `revision`: a retraction where it does not hold any more; where it does, again or still, a
row with what it rests on now, if a value differs by more than a millionth of itself or of the price. Of a signal the
row of the highest revision counts, and where that is a retraction there is none. A new or changed rule looks at the
candles that come, and at all those that were with `from_scratch: true`.

**Strength.** |A - B| / max(|A|, |B|, the close where A or B is a price); of `all` the least, of `any` the greatest of
those that are true.
"""

import json
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, framed, to_pandas
from crypto_pipeline.gold._rules import Candles, Known, Rule, Rules, becomes_true, load
from crypto_pipeline.indicators._file import plan
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.silver import indicators
from crypto_pipeline.silver.candles import INTERVALS
from shared.settings import settings
from shared.tables import Column, Table

TABLE = Table(
    layer="gold",
    name="signals",
    grain="One row per exchange, symbol, interval, candle, rule and revision: a signal, or its retraction",
    columns=(
        Column("exchange", "string", "the market"),
        Column("symbol", "string", "canonical"),
        Column("interval", "string", "1m, 5m, 15m, 1h, 4h or 1d"),
        Column("interval_start", "timestamp", "of the candle that closed it, UTC, inclusive"),
        Column("interval_end", "timestamp", "its close, exclusive: from then on the signal may be acted on"),
        Column("rule", "string", "its name in config/signals.yaml"),
        Column("revision", "int", "1 at first; the row of the highest one counts"),
        Column("is_retraction", "boolean", "the signal of the revision before does not hold any more"),
        Column("definition", "string", "what the rule said when it found the signal"),
        Column("side", "string", "buy or sell"),
        Column(
            "strength", "double", "how far beyond equality the condition is, as a part of the values or of the price"
        ),
        Column("close", "double", "the candle's close, in the quote asset"),
        Column(
            "caused_by",
            "string",
            "the values that the condition is of, as JSON: each column with [on the candle before, on this one]",
        ),
        Column("previous_start", "timestamp", "start of the candle before, with which it was compared"),
        Column("bridged", "boolean", "an unexplained absence lies within the candles that the values rest on"),
        Column(
            "reason", "string", "why it is retracted: late_data, or rule_changed since that row was written; else null"
        ),
        Column("known_at", "timestamp", "when we knew it: the time of the run that wrote the row"),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of interval_start, yyyy-MM"),
    ),
    key=("exchange", "symbol", "interval", "interval_start", "rule", "revision"),
    partitions=("month",),
    time="interval_start",
    rules={
        "its_candle_is_over": "known_at >= interval_end",
        "side_is_buy_or_sell": "side in ('buy', 'sell')",
        "a_retraction_says_why": "is_retraction = (reason is not null)",
        "a_retraction_is_not_the_first": "revision >= 1 and (revision > 1 or not is_retraction)",
        "strength_is_positive": "strength > 0",
        "the_candle_before_lies_before": "previous_start < interval_start",
    },
)
SOURCES = (indicators.TABLE,)
BOOKKEEPING = tuple(name for name in TABLE.column_names if name not in TABLE.key)
"""A first row stays as it was written. Made anew, it says what is known today: what is compared is that it is there."""

SERIES = ["exchange", "symbol", "interval"]
SIGNAL = [*SERIES, "interval_start", "rule"]
APART = 60
"""Intervals to the candle before, at most: an hour of minutes, ten days of four hours."""
SAME = 1e-6
"""What a signal rests on is the same where it differs by no more, as a part."""
_BEHIND = 2
"""Candles before that a signal rests on, and after a changed one that rest on it."""


def chosen() -> Rules:
    """The rules as the file says now."""
    return load(settings().signals_file, plan())


def refusals(_lake: Lakehouse, _now: datetime) -> Sequence[str]:
    """Why rules are refused: file, line and cure."""
    return chosen().refused


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
    """From the first to the last closed candle of each series and month whose indicators changed."""
    changed = changes["silver.indicators"].filter("is_closed")
    chunks = changed.filter(F.col("interval").isin(_intervals(chosen().rules))).groupBy(*SERIES, "month")
    return chunks.agg(F.min("interval_start").alias("interval_start"), F.max("interval_start").alias("last_changed"))


def _intervals(rules: Iterable[Rule]) -> list[str]:
    looked_at = {interval for rule in rules for interval in rule.intervals or INTERVALS}
    return [interval for interval in INTERVALS if interval in looked_at]


def needs(keys: DataFrame, now: datetime) -> DataFrame:
    """The candles of each month from those before the first changed one, and its own rows, to those after the last."""
    lengths = F.create_map(*[F.lit(each) for pair in INTERVALS.items() for each in pair])
    seconds = F.element_at(lengths, F.col("interval"))
    reach = F.make_interval(secs=seconds * F.lit(_BEHIND * APART))
    first, last = F.min("interval_start").alias("first"), F.max("last_changed").alias("last")
    spans = added(keys.groupBy("interval", "month").agg(first, last), reach=reach)
    end = F.least(F.col("last") + F.col("reach"), F.lit(now)).alias("end")
    return spans.select(
        F.explode(
            F.array(
                F.struct(
                    F.lit(indicators.TABLE.full_name).alias("source"),
                    F.col("interval"),
                    (F.col("first") - F.col("reach")).alias("start"),
                    end,
                ),
                F.struct(
                    F.lit(TABLE.full_name).alias("source"),
                    F.lit(None).cast("string").alias("interval"),
                    F.col("first").alias("start"),
                    end,
                ),
            )
        ).alias("span")
    ).select("span.*")


def build(keys: DataFrame, sources: Mapping[str, DataFrame], current: DataFrame, now: datetime) -> DataFrame:
    """The further rows of all signals whose candles `keys` touch."""
    rules = chosen().rules
    chunks = to_pandas(keys)
    columns = sorted({"close", *(name for rule in rules for name in rule.when.columns)})
    candles = to_pandas(
        sources["silver.indicators"]
        .filter("is_closed")
        .join(F.broadcast(keys.select(*SERIES).distinct()), on=SERIES, how="left_semi")
        .select(*SERIES, "interval_start", "bridged", *columns)
    ).sort_values([*SERIES, "interval_start"], ignore_index=True)
    is_open = reopened(candles, chunks)
    known_at = pd.Timestamp(now.astimezone(UTC).replace(tzinfo=None))
    known = Known.of(plan())
    events = signals_of(candles, rules, known)
    rows = further(
        events[is_open.reindex(events.index)],
        candles.loc[is_open, [*SERIES, "interval_start"]],
        latest(to_pandas(current)),
        rules,
        known.prices,
        known_at,
    )
    made = framed(keys.sparkSession, rows, [c for c in TABLE.columns if c.name not in ("ingestion_ts", "month")])
    return added(
        made, ingestion_ts=F.current_timestamp(), month=F.date_format("interval_start", "yyyy-MM")
    ).select(TABLE.column_names)  # fmt: skip


def latest(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each signal the row that counts, a retraction too."""
    return rows.sort_values("revision").drop_duplicates(SIGNAL, keep="last")


def reopened(candles: pd.DataFrame, chunks: pd.DataFrame) -> pd.Series:
    """Which candles (by series and time) changed, or rest on one that did.

    `chunks`: of each series and month from when (`interval_start`) to when (`last_changed`) candles changed.
    """
    months = chunks.assign(month=chunks["interval_start"].dt.to_period("M"))
    there = candles[[*SERIES, "interval_start"]].assign(month=candles["interval_start"].dt.to_period("M"))
    spans = months.rename(columns={"interval_start": "first_changed"})
    found = there.merge(spans, how="left", on=[*SERIES, "month"])
    start = found["interval_start"]
    is_changed = (start >= found["first_changed"]) & (start <= found["last_changed"])
    series = [found[name] for name in SERIES]
    length = pd.to_timedelta(found["interval"].map(INTERVALS).astype(float), unit="s")
    is_open = is_changed.copy()
    for behind in range(1, _BEHIND + 1):
        since = start - start.groupby(series, sort=False).shift(behind)
        # No further than a rule looks: behind a hole begins what was not read whole.
        is_near = since <= length * (APART * behind)
        is_open |= is_changed.groupby(series, sort=False).shift(behind, fill_value=False) & is_near
    return is_open


def signals_of(candles: pd.DataFrame, rules: Sequence[Rule], known: Known) -> pd.DataFrame:
    """Every signal of the rules on these closed candles; its index is the candle's.

    `candles`: SERIES, `interval_start`, `bridged`, `close` and the rules' columns (float64, NaN where not known), by
    series and time. Gives the table's columns from `exchange` to `bridged`, but `revision` and `is_retraction`.
    """
    candles = candles.reset_index(drop=True)
    length = pd.to_timedelta(candles["interval"].map(INTERVALS).astype(float), unit="s")
    previous = candles.groupby(SERIES, sort=False)["interval_start"].shift()
    is_near = candles["interval_start"] - previous <= length * APART
    values = {name: candles[name].to_numpy(dtype=np.float64) for name in candles.columns if name in known.columns}
    series = Candles(values, is_near.to_numpy(), known.prices)
    places, strengths, causes = [np.empty(0, dtype=np.int64)], [np.empty(0)], []
    for rule in rules:
        happens, strength = becomes_true(rule.when, series)
        for key, wanted in (("interval", rule.intervals), ("symbol", rule.symbols)):
            happens &= candles[key].isin(wanted).to_numpy() if wanted else np.True_
        place = np.flatnonzero(happens)
        places.append(place)
        strengths.append(strength[place])
        causes += _caused_by(rule, values, place)
    which = np.repeat(np.arange(len(rules)), [len(place) for place in places[1:]])
    place = np.concatenate(places)
    of_rule = {name: np.array([getattr(rule, name) for rule in rules], dtype=object)[which] for name in _OF_RULE}
    return candles.iloc[place].assign(
        interval_end=(candles["interval_start"] + length).iloc[place],
        rule=of_rule["name"],
        definition=of_rule["definition"],
        side=of_rule["side"],
        strength=np.concatenate(strengths),
        caused_by=np.array(causes, dtype=object),
        previous_start=previous.iloc[place],
    )[_OF_SIGNAL]


def _caused_by(rule: Rule, values: Mapping[str, Any], place: NDArray[np.int64]) -> list[str]:
    """For each place the values of the rule's columns on the candle before and on this one."""
    names = rule.when.columns
    pairs = np.stack([np.stack([values[name][place - 1], values[name][place]], axis=-1) for name in names], axis=1)
    known = [[[None if np.isnan(v) else v for v in pair] for pair in row] for row in pairs.tolist()]
    return [json.dumps(dict(zip(names, row, strict=True))) for row in known]


def further(
    events: pd.DataFrame,
    evaluated: pd.DataFrame,
    standing: pd.DataFrame,
    rules: Sequence[Rule],
    prices: Collection[str],
    known_at: pd.Timestamp,
) -> pd.DataFrame:
    """The rows that say what is new: signals, retractions, and signals that hold again or rest on something else.

    `events`: signals as they are now on the `evaluated` candles (SERIES, `interval_start`). `standing`: of each signal
    that there was the row that counts. Signals of other candles, and of rules that there are not, are left alone.
    `prices`: the columns whose values are measured by the price.
    """
    now = {rule.name: rule.definition for rule in rules}
    # A rule that is refused, or gone, says nothing of what it said before.
    mine = standing[standing["rule"].isin(list(now))].merge(evaluated, on=[*SERIES, "interval_start"])
    both = events.merge(mine, how="outer", on=SIGNAL, suffixes=("", "_old"), indicator="where")
    is_there, was_there = both["where"] != "right_only", both["is_retraction"].eq(False)
    is_over = was_there & ~is_there
    is_new = is_there & ~(was_there & _says_the_same(both, prices))
    rows, over = both[is_new | is_over].copy(), is_over[is_new | is_over]
    for name in _OF_SIGNAL:
        if name not in SIGNAL:
            rows[name] = rows[name].where(~over, rows[f"{name}_old"])
    changed = rows["definition_old"] != rows["rule"].map(now)
    rows["reason"] = changed.map({True: "rule_changed", False: "late_data"}).where(over, None)
    rows["is_retraction"] = over
    rows["revision"] = rows["revision"].fillna(0).astype("int32") + 1
    rows["known_at"] = known_at
    written = [name for name in TABLE.column_names if name not in ("ingestion_ts", "month")]
    return rows[written].astype(_TYPES).reset_index(drop=True)


def _says_the_same(both: pd.DataFrame, prices: Collection[str]) -> NDArray[np.bool_]:
    """Whether the signal that there was is the one that there is, and rests on the same."""
    alike = [both[name] == both[f"{name}_old"] for name in ("definition", "bridged", "previous_start")]
    same = (alike[0] & alike[1] & alike[2]).to_numpy(dtype=np.bool_, copy=True)
    place = np.flatnonzero(same)
    names = ("caused_by", "caused_by_old", "close", "close_old")
    pairs = zip(*(both[name].iloc[place] for name in names), strict=True)
    same[place] = [
        (new == old or _near(json.loads(new), json.loads(old), close, prices))
        and bool(np.isclose(close, was, rtol=SAME, atol=0))
        for new, old, close, was in pairs
    ]
    return same


def _near(new: Mapping[str, Any], old: Mapping[str, Any], close: float, prices: Collection[str]) -> bool:
    for name in new:
        ours, theirs = (np.array(values[name], dtype=np.float64) for values in (new, old))
        scale = max(np.nanmax(np.abs(ours)), close if name in prices else 0.0)
        if not np.allclose(ours, theirs, rtol=0, atol=SAME * scale, equal_nan=True):
            return False
    return True


_OF_RULE = ("name", "definition", "side")
_TYPES: Mapping[Hashable, Any] = {
    **dict.fromkeys(("strength", "close"), float),
    **dict.fromkeys(("bridged", "is_retraction"), bool),
}
_OF_SIGNAL = [
    name
    for name in TABLE.column_names
    if name not in ("revision", "is_retraction", "reason", "known_at", "ingestion_ts", "month")
]
