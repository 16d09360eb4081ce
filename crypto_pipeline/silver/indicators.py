"""Every indicator of `config/indicators.yaml` on every candle."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, GroupedData, Row, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, to_pandas
from crypto_pipeline.indicators._file import plan
from crypto_pipeline.indicators._series import SERIES, VALUES, Stretch, over_each, over_series, places_around
from crypto_pipeline.memory import AtHand
from crypto_pipeline.silver import ohlcv, ohlcv_1m, quiet_intervals
from crypto_pipeline.silver.candles import CANDLE_COLUMNS, INTERVALS
from crypto_pipeline.silver.recent_candles import CANDLE, SPARE, RecentCandles
from shared.tables import Column, Table

_NAMING = tuple(c for c in CANDLE_COLUMNS if c.name in ("exchange", "symbol", "interval", "interval_start"))

TABLE = Table(
    layer="silver",
    name="indicators",
    grain="One row per exchange, symbol, interval and start: the indicators of that candle's series up to it",
    columns=(
        *_NAMING,
        Column("close", "double", "the candle's close"),
        Column("is_closed", "boolean", "the interval is over; until then the values move"),
        Column("bridged", "boolean", "an unexplained absence lies within the candles that the values rest on"),
        Column(
            "rests_from", "timestamp", "start of the first candle that the values rest on; one before shows in none"
        ),
        *(Column(name, "double", text) for name, text in plan().comments().items()),
        Column("ingestion_ts", "timestamp", "when the row was written"),
        Column("month", "string", "partition: UTC month of interval_start, yyyy-MM"),
    ),
    key=("exchange", "symbol", "interval", "interval_start"),
    partitions=("interval", "month"),
    time="interval_start",
    rules={name: rule for study in plan().studies for name, rule in study.rules.items()},
)
SOURCES = (ohlcv_1m.TABLE, ohlcv.TABLE, quiet_intervals.TABLE)

_COMPUTED = ", ".join(f"{c.name} {c.type}" for c in TABLE.columns if c.name not in ("ingestion_ts", "month"))
_FAR = max(study.lookback(min(INTERVALS.values())) for study in plan().studies)
"""Changes that are further apart, in intervals, are stretches of their own."""
_WIDER = 30
"""How many times longer a span is looked at where absences leave too few candles in it."""
_FIRST = pd.Timestamp("2009-01-03")
"""The day of the first Bitcoin block: no candle is older."""
_AGES = 50 * 365 * 86400
_COUNTS = "number bigint, before bigint, after bigint"
_FEW = 10_000
"""So many changed candles at most are computed in this process."""
_AT_HAND = 400_000
"""Candles at most that it reads and keeps for that: some 35 MB, the whole look-back of thirty symbols."""
_MANY = 2
"""So many stretches of a series at most are computed from what is kept."""
_PART = 20_000
"""Candles that go to Python together, of one series or of several: each trip costs a hundredth of a second."""


Look = Callable[[Sequence[Row]], Mapping[str, DataFrame]]
"""The rows of the sources in some spans."""


def touched(changes: Mapping[str, DataFrame], _current: DataFrame, _now: datetime) -> DataFrame:
    """The stretches of each series in which candles changed, from the first (`interval_start`) to the `last_changed`.

    An interval of which it became known that nothing traded is one of them.
    Changes that lie further apart than a change reaches are stretches of their own: old history that comes in beside
    the present minute does not make all between them be computed again.
    """
    keys = [*SERIES, "interval_seconds", "interval_start"]
    candles = changes["silver.ohlcv_1m"].select(*keys).unionByName(changes["silver.ohlcv"].select(*keys))
    lengths = F.create_map(*[F.lit(each) for pair in INTERVALS.items() for each in pair])
    seconds = F.element_at(lengths, F.col("interval"))
    candles = candles.unionByName(added(changes["silver.quiet_intervals"], interval_seconds=seconds).select(*keys))
    in_time = Window.partitionBy(*SERIES).orderBy("interval_start")
    since_last = F.unix_seconds("interval_start") - F.lag(F.unix_seconds("interval_start")).over(in_time)
    is_far = F.coalesce(since_last > F.col("interval_seconds") * F.lit(_FAR), F.lit(False))
    stretch = F.sum(F.col("is_far").cast("int")).over(in_time)
    return (
        added(added(candles, is_far=is_far), stretch=stretch)
        .groupBy(*SERIES, "interval_seconds", "stretch")
        .agg(F.min("interval_start").alias("interval_start"), F.max("interval_start").alias("last_changed"))
    )


def reached(keys: DataFrame, own: Sequence[DataFrame], look: Look, now: datetime) -> DataFrame:
    """The stretches with their `lookback`, and from when (`needed_from`) to when (`reaches_to`) candles are needed.

    Both are counted in candles, so how far they lie in time depends on what is absent. The row before a stretch knows
    what it rests on. Only where none is in `own`, or where a stretch does not reach the present, are candles counted,
    in longer and longer spans. Rows from `until` on are those of the series' next stretch.
    """
    spark = keys.sparkSession
    return spark.createDataFrame(_reached(spark, _looking_back(to_pandas(keys)), own, look, now))


def _looking_back(stretches: pd.DataFrame) -> pd.DataFrame:
    """In order, with their `lookback`, and `until` where the series' next stretch begins."""
    ordered = stretches.sort_values([*SERIES, "interval_start"], ignore_index=True)
    of_which = ordered[["symbol", "interval", "interval_seconds"]].itertuples(index=False)
    until = ordered.groupby(list(SERIES))["interval_start"].shift(-1)
    return ordered.assign(until=until, lookback=[plan().lookback(*of) for of in of_which])


def _reached(
    spark: SparkSession, stretches: pd.DataFrame, own: Sequence[DataFrame], look: Look, now: datetime
) -> pd.DataFrame:
    present = _naive(now)
    stretches = stretches.copy()
    is_alone = stretches.groupby(list(SERIES))["stretch"].transform("size") == 1
    rests_from = _rests_from(stretches[is_alone], own).reindex(stretches.index)
    is_known = rests_from.notna()
    stretches["needed_from"] = rests_from.where(is_known, _before(stretches, 1))
    stretches["reaches_to"] = _after(stretches, 1)
    is_asked, factor = ~is_known | (stretches["reaches_to"] < present), 1
    seen = pd.Series(float("nan"), stretches.index)
    while is_asked.any():
        uncounted = stretches[is_asked]
        asked = spark.createDataFrame(uncounted)
        spans = _spans(asked, "needed_from", "interval_start", now).collect()
        spans += _spans(asked.filter(F.col("reaches_to") < F.lit(now)), "last_changed", "reaches_to", now).collect()
        parts = _around(spark, uncounted, look(spans), now)
        counts = to_pandas(parts.applyInPandas(_of_each(uncounted, places_around), _COUNTS))
        places = counts.set_index(uncounted.index[counts["number"]]).reindex(stretches.index)
        factor *= _WIDER
        lookback, before, after = stretches["lookback"], places["before"], places["after"]
        lacks_before = ~is_known & (before < lookback) & (stretches["needed_from"] > _FIRST)
        lacks_after = (after < lookback) & (stretches["reaches_to"] < present)
        earlier = _before(stretches, factor).mask(before == seen, _FIRST)
        stretches["needed_from"] = earlier.where(lacks_before, stretches["needed_from"])
        stretches["reaches_to"] = _after(stretches, factor).where(lacks_after, stretches["reaches_to"])
        # Of all there is nothing is left to be counted.
        is_asked = lacks_before & (stretches["needed_from"] > _FIRST) | lacks_after & (
            stretches["reaches_to"] < present
        )
        seen = before
    return stretches


def _naive(now: datetime) -> pd.Timestamp:
    """In UTC without saying so, as pandas has times here."""
    return pd.Timestamp(now.astimezone(UTC).replace(tzinfo=None))


def _rests_from(stretches: pd.DataFrame, own: Sequence[DataFrame]) -> pd.Series:
    """What the last row at or before each stretch's beginning rests on; null where there is none.

    Of all but the last of `own` a row counts if no other can lie between it and the stretch: in nearly each minute
    these are enough.
    """
    found = pd.Series(pd.NaT, stretches.index)
    for rows in own:
        asked = stretches.loc[found.isna(), [*SERIES, "interval_seconds", "stretch", "interval_start"]]
        if asked.empty:
            break
        last = asked.merge(_last_before(rows, asked), how="left", on=[*SERIES, "stretch"]).set_index(asked.index)
        since = last["interval_start"] - last["row_start"]
        is_next = since <= pd.to_timedelta(last["interval_seconds"], unit="s")
        found = found.fillna(last["rests_from"] if rows is own[-1] else last["rests_from"].where(is_next))
    return found


def _last_before(rows: DataFrame, stretches: pd.DataFrame) -> pd.DataFrame:
    """When the last row at or before each stretch's beginning starts, and what it rests on."""
    keys = rows.sparkSession.createDataFrame(stretches[[*SERIES, "stretch", "interval_start"]])
    starts = rows.select(*SERIES, F.col("interval_start").alias("row_start"), "rests_from")
    before = starts.join(F.broadcast(keys), on=list(SERIES), how="inner").filter("row_start <= interval_start")
    last = F.max("row_start").alias("row_start"), F.max_by("rests_from", "row_start").alias("rests_from")
    return to_pandas(before.groupBy(*SERIES, "stretch").agg(*last))


def _before(stretches: pd.DataFrame, factor: int) -> pd.Series:
    earlier = stretches["interval_start"] - _length(stretches, factor)
    return earlier.where(earlier > _FIRST, _FIRST)


def _after(stretches: pd.DataFrame, factor: int) -> pd.Series:
    return stretches["last_changed"] + _length(stretches, factor)


def _length(stretches: pd.DataFrame, factor: int) -> pd.Series:
    """How long the look-back lasts, or so many times that, where nothing is absent; what pandas can add, at most."""
    seconds = stretches["lookback"] * stretches["interval_seconds"] * factor
    return pd.to_timedelta(seconds.clip(upper=_AGES), unit="s")


def needs(keys: DataFrame, now: datetime) -> DataFrame:
    """The candles of each stretch, from the look-back before it to as far as it reaches."""
    return _spans(keys, "needed_from", "reaches_to", now)


def _spans(keys: DataFrame, start: str, end: str, now: datetime) -> DataFrame:
    is_minutes = F.col("interval") == "1m"
    candles = F.struct(
        F.when(is_minutes, F.lit("silver.ohlcv_1m")).otherwise(F.lit("silver.ohlcv")).alias("source"),
        F.when(~is_minutes, F.col("interval")).alias("interval"),
    )
    quiet = F.struct(F.lit(quiet_intervals.TABLE.full_name).alias("source"), F.col("interval"))
    return keys.select(
        F.inline(F.array(candles, quiet)),
        F.date_trunc("hour", start).alias("start"),
        F.least(F.col(end), F.lit(now)).alias("end"),
    ).distinct()


def build(keys: DataFrame, sources: Mapping[str, DataFrame], _current: DataFrame, now: datetime) -> DataFrame:
    """The indicators of every candle that rests on a changed one."""
    chosen, stretches = plan(), to_pandas(keys)
    # The plan goes along: the worker that computes reads no file, which may say something else by then.
    values = _of_each(stretches, lambda candles, stretch: over_series(candles, stretch, chosen))
    return _dated(_around(keys.sparkSession, stretches, sources, now).applyInPandas(values, _COMPUTED))


def _dated(computed: DataFrame) -> DataFrame:
    dated = added(computed, ingestion_ts=F.current_timestamp(), month=F.date_format("interval_start", "yyyy-MM"))
    return dated.select(TABLE.column_names)


def at_hand(changes: Mapping[str, DataFrame], kept: pa.Table | None, look: Look, now: datetime) -> AtHand | None:
    """What `build` would make where few candles changed, computed in this process from those that are `kept`.

    Only of a series of which too little is kept are candles read, as `build` reads them. None where much changed, or
    where too much would have to be read and kept.
    """
    spark = changes["silver.ohlcv"].sparkSession
    changed = to_pandas(_rows(changes).limit(_FEW + 1))
    if len(changed) > _FEW:
        return None
    recent = RecentCandles.nothing() if kept is None else RecentCandles.from_arrow(kept)
    recent = recent.with_changes(changed)
    stretches = _looking_back(_stretches(changed))
    known = _known(recent, stretches)
    is_known = stretches.index.isin(known["number"].unique())
    made = [_computed(known, stretches)]
    if not is_known.all():
        unknown = stretches[~is_known].reset_index(drop=True)
        lasts = (unknown["last_changed"] - unknown["interval_start"]).dt.total_seconds()
        to_read = (unknown["lookback"] + lasts / unknown["interval_seconds"]).sum()
        if len(recent.without(unknown).rows) + to_read > _AT_HAND:
            return None
        # What the table's rows say that they rest on is not asked: it is of the look-back with which they were made.
        unknown = _reached(spark, unknown, [], look, now)
        windows = look(_spans(spark.createDataFrame(unknown), "needed_from", "reaches_to", now).collect())
        read = to_pandas(_within(spark, unknown, windows, now).limit(_AT_HAND + 1))
        if len(read) > _AT_HAND:  # it lay further apart than the look-back says
            return None
        made.append(_computed(read, unknown))
        # A candle after `now` has changed, and was not read.
        recent = _with_read(recent, read, unknown, now).with_changes(changed)
    rows = pd.concat([part for part in made if len(part)] or made[:1], ignore_index=True)
    return AtHand(
        _dated(spark.createDataFrame(rows, _COMPUTED)) if len(rows) else None, _trimmed(recent, now).to_arrow()
    )


def _stretches(changed: pd.DataFrame) -> pd.DataFrame:
    """What `touched` gives."""
    ordered = changed[[*SERIES, "interval_start"]].drop_duplicates().sort_values([*SERIES, "interval_start"])
    seconds = ordered["interval"].map(INTERVALS)
    since_last = ordered.groupby(list(SERIES))["interval_start"].diff().dt.total_seconds()
    is_far = since_last > seconds * _FAR
    stretch = is_far.astype("int64").groupby([ordered[name] for name in SERIES]).cumsum()
    of_each = ordered.assign(interval_seconds=seconds, stretch=stretch).groupby(
        [*SERIES, "interval_seconds", "stretch"], as_index=False
    )
    return of_each.agg(interval_start=("interval_start", "min"), last_changed=("interval_start", "max"))


def _known(recent: RecentCandles, stretches: pd.DataFrame) -> pd.DataFrame:
    """The kept rows of the stretches, by `number`, of which all that they rest on is kept.

    Of a series with one of which it is not so none is here: where one ends and the next begins is known of all or none.
    """
    of_series = [stretches[name] for name in SERIES]
    of = recent.numbers(stretches)
    is_whole = of.map(recent.series["is_whole"]).eq(True)
    begins_there = is_whole | (stretches["interval_start"] >= of.map(recent.rows.groupby("of")["interval_start"].min()))
    # Each stretch has its series' rows for itself: of a series of many that would be more than there are.
    is_there = begins_there.groupby(of_series).transform("all") & (of.groupby(of_series).transform("size") <= _MANY)
    numbered = of[is_there].astype("int64").rename("of").rename_axis("number").reset_index()
    rows = recent.rows.merge(numbered, on="of")
    before = _places(rows, stretches)["before"].reindex(stretches.index)
    is_enough = is_there & (is_whole | (before >= stretches["lookback"]))
    is_known = is_enough.groupby(of_series).transform("all")
    return rows[rows["number"].isin(stretches.index[is_known])]


def _places(rows: pd.DataFrame, stretches: pd.DataFrame) -> pd.DataFrame:
    """`places_around`, by the number of the stretch."""
    if rows.empty:
        return pd.DataFrame(columns=["before", "after"])
    return over_each(rows, stretches, places_around).set_index("number")


def _computed(rows: pd.DataFrame, stretches: pd.DataFrame) -> pd.DataFrame:
    return over_each(rows, stretches, lambda of, one: over_series(of, one, plan())) if len(rows) else pd.DataFrame()


def _with_read(recent: RecentCandles, read: pd.DataFrame, every: pd.DataFrame, now: datetime) -> RecentCandles:
    """With what was read for those stretches behind which nothing lies that was not."""
    stretches = every[every["until"].isna() & (every["reaches_to"] >= _naive(now))]
    rows = read[read["number"].isin(stretches.index)]
    before = _places(rows, every)["before"].reindex(stretches.index)
    named = stretches.assign(is_whole=before < stretches["lookback"])[before.notna()]
    return recent.with_series(named, rows.rename(columns={"number": "of"}))


def _trimmed(recent: RecentCandles, now: datetime) -> RecentCandles:
    """As much as a minute more may ask for: nothing of a series without a candle for as long as it looks back."""
    lengths = recent.series["interval"].map(INTERVALS)
    of_which = zip(recent.series["symbol"], recent.series["interval"], lengths, strict=True)
    lookback = pd.Series([plan().lookback(*one) for one in of_which], dtype="int64")
    lasts = recent.rows.groupby("of")["interval_start"].max()
    is_over = lasts + pd.to_timedelta((lookback * lengths).clip(upper=_AGES), unit="s") < _naive(now)
    return recent.trimmed((lookback + SPARE).mask(is_over, 0))


def _of_each(
    stretches: pd.DataFrame, over: Callable[[pd.DataFrame, Stretch], pd.DataFrame]
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """What is made of the candles of each of these stretches, for a group of `_around`."""
    return lambda rows: over_each(rows, stretches, over)


def _around(
    spark: SparkSession, stretches: pd.DataFrame, sources: Mapping[str, DataFrame], now: datetime
) -> GroupedData:
    """The candles from each stretch's `needed_from` to its `reaches_to`, and the quiet intervals, with its `number`.

    They are grouped in parts, so that many short series go together: a part is its first stretch and _PART more.
    """
    return _within(spark, stretches, sources, now).groupBy("part")


def _within(spark: SparkSession, stretches: pd.DataFrame, sources: Mapping[str, DataFrame], now: datetime) -> DataFrame:
    ends = stretches["reaches_to"].where(stretches["reaches_to"] < _naive(now), _naive(now))
    lasts = (ends - stretches["needed_from"]).dt.total_seconds()
    candles_so_far = (lasts / stretches["interval_seconds"]).cumsum()
    numbered = stretches[[*SERIES, "needed_from", "reaches_to"]].assign(
        number=range(len(stretches)), part=(candles_so_far // _PART).astype("int64")
    )
    lies_within = (F.col("interval_start") >= F.col("needed_from")) & (F.col("interval_start") <= F.col("reaches_to"))
    in_spans = _rows(sources).join(F.broadcast(spark.createDataFrame(numbered)), on=list(SERIES), how="inner")
    return in_spans.filter(lies_within).select("part", "number", *CANDLE)


def _rows(sources: Mapping[str, DataFrame]) -> DataFrame:
    """The candles and the quiet intervals, with what is computed from."""
    named = [*SERIES, "interval_start", "first_trade_id", "last_trade_id", "is_closed"]
    values = [F.col(name).cast("double").alias(name) for name in VALUES]
    candles = sources["silver.ohlcv_1m"].select(*named, *values)
    candles = candles.unionByName(sources["silver.ohlcv"].select(*named, *values))
    quiet = sources["silver.quiet_intervals"].select(*SERIES, "interval_start")
    return added(candles, is_quiet=F.lit(False)).unionByName(added(quiet, is_quiet=F.lit(True)), True)
