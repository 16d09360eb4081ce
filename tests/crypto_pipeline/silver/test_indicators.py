"""Which indicators are computed again when candles change, and from which candles."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.indicators._file import Plan, plan
from crypto_pipeline.indicators._series import VALUES, Stretch, over_each, over_series
from crypto_pipeline.refresh import refresh
from crypto_pipeline.silver import indicators, ohlcv_1m
from crypto_pipeline.silver.candles import CANDLE_COLUMNS, INTERVALS
from crypto_pipeline.silver.recent_candles import SPARE, RecentCandles
from tests.crypto_pipeline.market import market
from tests.crypto_pipeline.memory_lake import MemoryLake

START = datetime(2026, 8, 1, tzinfo=UTC)
REACH = plan().lookback("BTCUSDT", "1m", 60)
FAR = 3 * REACH
COLUMNS = list(plan().comments())
NAMES = {"exchange": "binance", "symbol": "BTCUSDT"}
KEYS = ("exchange", "symbol", "interval", "interval_seconds", "interval_start", "first_trade_id", "last_trade_id")


def series(count: int, absent: Sequence[tuple[int, int, bool]] = (), interval: str = "1m") -> pd.DataFrame:
    """Candles of BTCUSDT, each with two trades. `absent`: before which one, for how many intervals, proven quiet?"""
    seconds = INTERVALS[interval]
    candles = market(count, seconds=seconds)
    shift, unknown = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for before, length, is_quiet in absent:
        shift[before:] += length
        unknown[before:] += 0 if is_quiet else 2 * length
    first = 2 * np.arange(count) + unknown
    return candles.assign(
        interval_start=candles["interval_start"] + pd.to_timedelta(shift * seconds, unit="s"),
        exchange="binance",
        symbol="BTCUSDT",
        interval=interval,
        interval_seconds=seconds,
        first_trade_id=first,
        last_trade_id=first + 1,
        is_closed=True,
        is_quiet=False,
    )


def quiet_between(candles: pd.DataFrame) -> pd.DataFrame:
    """A row for each interval between two candles that has none."""
    seconds = INTERVALS[candles["interval"].iloc[0]]
    starts = candles["interval_start"]
    every = pd.date_range(starts.iloc[0], starts.iloc[-1], freq=f"{seconds}s")
    absent = every.difference(pd.DatetimeIndex(starts))
    names = candles[["exchange", "symbol", "interval"]].iloc[0].to_dict()
    return pd.DataFrame(names | {"interval_start": absent, "is_quiet": True})


def stretch(candles: pd.DataFrame, first: int, last: int | None = None) -> Stretch:
    """The stretch whose changed candles are those from `first` to `last`."""
    start, (_, *series, seconds) = candles["interval_start"], candles[list(KEYS[:4])].iloc[0]
    changed = start.iloc[first], start.iloc[len(candles) - 1 if last is None else last]
    return Stretch("binance", *series, int(seconds), *changed, pd.NaT, plan().lookback(*series, int(seconds)))  # type: ignore[arg-type]


def of_all(rows: pd.DataFrame) -> pd.DataFrame:
    """The indicators as if all candles had changed, and the quiet intervals among them."""
    ordered = rows.sort_values("interval_start", ignore_index=True)
    start = ordered["interval_start"]
    every = Stretch("binance", "BTCUSDT", "1m", 60, start.iloc[0], start.iloc[-1], pd.NaT, REACH)  # type: ignore[arg-type]
    return over_series(ordered, every, plan())


def computed(candles: pd.DataFrame, first: int, last: int | None = None) -> pd.DataFrame:
    return over_series(candles, stretch(candles, first, last), plan()).set_index("interval_start")


def assert_equal(rows: pd.DataFrame, expected: pd.DataFrame) -> None:
    """To 1e-9 relative: of a price, or of the 100 of a percentage."""
    pd.testing.assert_index_equal(rows.index, expected.index)
    assert rows["bridged"].tolist() == expected["bridged"].tolist()
    prices = expected["close"].abs().max()
    for name in COLUMNS:
        np.testing.assert_allclose(rows[name], expected[name], rtol=1e-9, atol=1e-9 * prices, err_msg=name)


def test_a_proven_quiet_minute_counts_as_a_flat_candle_and_gets_no_row() -> None:
    candles = series(24, [(20, 1, True), (23, 2, True)])
    rows = computed(candles, 0)
    assert len(rows) == 24
    assert not rows["bridged"].any()
    closes = candles["close"].tolist()
    filled = [*closes[:20], closes[19], *closes[20:23], closes[22], closes[22], closes[23]]
    assert rows["sma_20"].iloc[-1] == pytest.approx(sum(filled[-20:]) / 20, rel=1e-12)
    assert rows["vwap_session"].iloc[-1] == pytest.approx(
        candles["quote_volume"].sum() / candles["volume"].sum(), rel=1e-12
    )


def test_a_quiet_minute_that_only_the_exchange_s_kline_proves_is_a_flat_candle_too() -> None:
    absent = [(20, 1), (23, 2), (60, 300)]
    without_ids = series(400, [(*one, True) for one in absent]).assign(first_trade_id=np.nan, last_trade_id=np.nan)
    proven = pd.concat([without_ids, quiet_between(without_ids)], ignore_index=True)
    expected = computed(series(400, [(*one, True) for one in absent]), 0)
    assert_equal(of_all(proven).set_index("interval_start"), expected)


def test_an_absence_of_which_one_minute_is_not_proven_quiet_is_bridged() -> None:
    candles = series(30, [(10, 5, False)])
    most = quiet_between(candles).iloc[1:]
    rows = of_all(pd.concat([candles, most], ignore_index=True))
    assert rows["bridged"].tolist() == [False] * 10 + [True] * 20


def test_quiet_minutes_alone_give_no_row() -> None:
    quiet = quiet_between(series(3, [(1, 10, False)]))
    assert of_all(quiet).empty


def test_an_unexplained_absence_is_bridged_and_says_so() -> None:
    candles = series(30, [(10, 5, False)])
    rows = computed(candles, 0)
    assert rows["bridged"].tolist() == [False] * 10 + [True] * 20
    expected = candles["close"].iloc[10:30].mean()
    assert rows["sma_20"].iloc[-1] == pytest.approx(expected, rel=1e-12), "no candle is invented across it"


def test_a_row_is_bridged_no_longer_than_its_values_rest_on_the_absence() -> None:
    candles = series(REACH + 30, [(10, 5, False)])
    rows = computed(candles, 0)
    assert rows["bridged"].sum() == REACH
    starts = candles["interval_start"].tolist()
    assert rows["rests_from"].tolist() == [starts[max(0, place - REACH)] for place in range(len(candles))]


def test_stretches_that_are_computed_together_come_out_as_each_by_itself() -> None:
    bitcoin, ether = series(400, [(30, 5, True), (200, 3, False)]), series(300).assign(symbol="ETHUSDT")
    each = [(bitcoin, stretch(bitcoin, 350)), (ether, stretch(ether, 10, 20)), (bitcoin, stretch(bitcoin, 40, 60))]
    apart = [over_series(candles, one, plan()) for candles, one in each]
    together = pd.concat([candles.assign(number=number) for number, (candles, _) in enumerate(each)])
    shuffled = together.sample(frac=1, random_state=1)
    rows = over_each(shuffled, pd.DataFrame([one for _, one in each]), lambda of, one: over_series(of, one, plan()))
    pd.testing.assert_frame_equal(rows, pd.concat(apart, ignore_index=True))


def test_of_stretches_without_a_candle_no_row_comes_back() -> None:
    quiet = quiet_between(series(3, [(1, 10, False)])).assign(number=0)
    one = stretch(series(3), 0)
    assert over_each(quiet, pd.DataFrame([one]), lambda of, it: over_series(of, it, plan())).empty


def test_rows_come_back_from_the_first_changed_candle_to_the_last_that_rests_on_a_changed_one() -> None:
    candles = series(2 * REACH)
    rows = computed(candles, 28, 30)
    starts = candles["interval_start"]
    assert (rows.index[0], rows.index[-1]) == (starts[28], starts[30 + REACH])


@pytest.mark.parametrize("interval", INTERVALS)
def test_session_sums_hold_the_day_from_midnight_on_every_interval(interval: str) -> None:
    candles = series(3000, interval=interval)
    row = computed(candles, len(candles) - 1).iloc[-1]
    day = candles[candles["interval_start"].dt.date == candles["interval_start"].iloc[-1].date()]
    assert row["vwap_session"] == pytest.approx(day["quote_volume"].sum() / day["volume"].sum(), rel=1e-12)
    before = candles["close"].shift()[day.index]
    assert row["obv_session"] == pytest.approx((np.sign(day["close"] - before) * day["volume"]).sum(), rel=1e-12)


def test_what_does_not_stand_on_a_series_is_null_in_it() -> None:
    only = plan()._replace(sets=(plan().sets[0].model_copy(update={"symbols": ("ETHUSDT",)}),))
    rows = over_series(series(300), stretch(series(300), 0), only)
    assert len(rows) == 300
    assert rows[COLUMNS].isna().all().all()


ABSENCES = st.lists(
    st.tuples(st.integers(1, REACH + 900), st.sampled_from([1, 2, 30, 200, 3 * REACH]), st.booleans()), max_size=6
)


@settings(max_examples=25, deadline=None)
@given(absent=ABSENCES, splits=st.sets(st.integers(1, REACH + 900), min_size=1, max_size=4))
def test_computed_piece_by_piece_they_equal_those_of_the_whole_history(
    absent: list[tuple[int, int, bool]], splits: set[int]
) -> None:
    candles = series(REACH + 1000, absent)
    whole = computed(candles, 0)
    pieces = []
    for first, end in zip([0, *sorted(splits)], [*sorted(splits), len(candles)], strict=True):
        rests_from = pieces[-1]["rests_from"].iloc[-1] if pieces else candles["interval_start"].iloc[0]
        window = candles.iloc[:end]
        window = window[window["interval_start"] >= rests_from].reset_index(drop=True)
        pieces.append(computed(window, len(window) - (end - first)))
    rows = pd.concat(pieces)
    assert_equal(rows, whole)
    pd.testing.assert_series_equal(rows["rests_from"], whole["rests_from"])


@settings(max_examples=25, deadline=None)
@given(absent=ABSENCES, first=st.integers(0, REACH + 900), count=st.integers(1, 100))
@example(absent=[(1, 3 * REACH, True)], first=0, count=1)  # what is flat for long at a close that changed
def test_late_candles_change_just_the_rows_that_rest_on_them(
    absent: list[tuple[int, int, bool]], first: int, count: int
) -> None:
    late = slice(first, first + count)
    candles = series(2 * REACH + 1000, absent)
    before = candles.copy()
    before.loc[first : first + count - 1, list(VALUES)] *= 1.01
    rows = computed(before, 0)
    again = computed(candles, first, first + count - 1)
    rows.loc[again.index] = again
    assert_equal(rows, computed(candles, 0))
    assert set(candles["interval_start"][late]) <= set(again.index)


def frame(spark: SparkSession, candles: pd.DataFrame) -> DataFrame:
    types = {c.name: c.type for c in CANDLE_COLUMNS}
    decimals = candles.assign(**{name: [Decimal(f"{value:.18f}") for value in candles[name]] for name in VALUES})
    names = [*KEYS, "is_closed", *VALUES]
    rows = spark.createDataFrame(decimals[names])
    return rows.select(*[F.col(name).cast(types[name]).alias(name) for name in names])


QUIET = "exchange string, symbol string, interval string, interval_start timestamp"


def sources(spark: SparkSession, candles: pd.DataFrame, quiet: pd.DataFrame | None = None) -> dict[str, DataFrame]:
    rows = frame(spark, candles)
    is_minutes = candles["interval"].iloc[0] == "1m"
    none = rows.limit(0)
    none_quiet = quiet is None or quiet.empty
    return {
        "silver.ohlcv_1m": rows if is_minutes else none,
        "silver.ohlcv": none if is_minutes else rows,
        "silver.quiet_intervals": spark.createDataFrame([] if none_quiet else quiet[QUIET.split()[::2]], QUIET),
    }


def refreshed(
    spark: SparkSession,
    candles: pd.DataFrame,
    changed: Sequence[int],
    current: pd.DataFrame | None = None,
    quiet: pd.DataFrame | None = None,
    latest: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, list[int]]:
    """The rows of one refresh after these candles changed, and how many candles each look and the read held.

    `quiet`: intervals that became known to be so. `latest`: those of the `current` rows that the latest commit wrote.
    """
    there = sources(spark, candles, quiet)
    now = candles["interval_start"].iloc[-1].to_pydatetime().replace(tzinfo=UTC) + timedelta(seconds=30)
    schema = "exchange string, symbol string, interval string, interval_start timestamp, rests_from timestamp"
    known, new_ones = (
        spark.createDataFrame([] if rows is None else rows[schema.split()[::2]], schema) for rows in (current, latest)
    )
    held = []

    def look(spans: Sequence[Row]) -> Mapping[str, DataFrame]:
        wanted = F.lit(False)
        for span in spans:
            wanted = wanted | F.col("interval_start").between(F.lit(span.start), F.lit(span.end))
        seen = {name: rows.filter(wanted) for name, rows in there.items()}
        held.append(sum(rows.count() for rows in seen.values()))
        return seen

    new = sources(spark, candles.iloc[list(changed)], quiet) if changed else {}
    changes = {name: rows.limit(0) for name, rows in there.items()} | new
    changes["silver.quiet_intervals"] = there["silver.quiet_intervals"]
    keys = indicators.touched(changes, known, now)
    keys = indicators.reached(keys, [new_ones, known], look, now)
    built = indicators.build(keys, look(indicators.needs(keys, now).collect()), known, now)
    assert built.columns == indicators.TABLE.column_names
    rows = built.toPandas().astype({"interval_start": "datetime64[ns]"})
    return rows.sort_values("interval_start").set_index("interval_start"), held


def test_changes_far_apart_are_stretches_of_their_own_and_near_ones_are_one(spark: SparkSession) -> None:
    candles = series(FAR + 2)
    changes = sources(spark, candles.iloc[[0, 5, FAR, FAR + 1]])
    rows = indicators.touched(changes, changes["silver.ohlcv"], START).orderBy("interval_start").collect()
    minutes = [
        tuple((moment.replace(tzinfo=UTC) - START) // timedelta(minutes=1) for moment in (row[5], row[6]))
        for row in rows
    ]
    assert minutes == [(0, 5), (FAR, FAR + 1)]


@pytest.mark.parametrize(
    ("absent", "changed"),
    [
        ([], [0]),
        ([], [FAR]),
        ([], [0, 1, FAR]),
        ([(FAR - 100, 5 * 1440, False)], [FAR]),
        ([(FAR - 100, 5 * 1440, True)], [FAR]),
        ([(200, 5 * 1440, False)], [100]),
        ([(200, 5 * 1440, False)], [100, 250]),
        ([(place, 60, True) for place in range(FAR - 60, FAR)], [FAR]),
    ],
    ids=[
        "the first",
        "the newest",
        "both",
        "after a hole of days",
        "after days without a trade",
        "before a hole of days",
        "on both sides of a hole of days",
        "of a symbol that trades once an hour",
    ],
)
def test_what_is_computed_again_equals_what_is_computed_from_scratch(
    spark: SparkSession, absent: list[tuple[int, int, bool]], changed: list[int]
) -> None:
    candles = series(FAR + 50, absent)
    whole = computed(candles, 0)
    again, _ = refreshed(spark, candles, changed)
    assert_equal(again, whole.loc[again.index])
    starts = candles["interval_start"]
    rests = [
        start
        for start, rests_from in whole["rests_from"].items()
        if any(rests_from <= starts[place] <= start for place in changed)
    ]
    assert again.index.tolist() == rests, "just the rows that rest on a changed candle"


@pytest.mark.parametrize("known", ["of all candles", "of none"])
def test_minutes_that_turn_out_quiet_change_just_the_rows_that_rest_on_them(spark: SparkSession, known: str) -> None:
    candles = series(FAR + 50, [(FAR - 100, 20, False)])
    before, after = computed(candles, 0), computed(series(FAR + 50, [(FAR - 100, 20, True)]), 0)
    current = before.reset_index() if known == "of all candles" else None
    again, _ = refreshed(spark, candles, [], current, quiet_between(candles))
    assert_equal(again, after.loc[again.index])
    assert again.index.tolist() == candles["interval_start"].tolist()[FAR - 100 :]


def test_quiet_minutes_after_the_last_candle_change_nothing(spark: SparkSession) -> None:
    candles = series(300)
    quiet = quiet_between(series(301, [(300, 5, False)]))
    assert refreshed(spark, candles, [], computed(candles, 0).reset_index(), quiet)[0].empty


def test_a_row_before_the_new_candle_spares_every_look(spark: SparkSession) -> None:
    candles = series(REACH + 3000, [(REACH + 2900, 5 * 1440, False)])
    whole = computed(candles, 0)
    current = computed(candles, len(candles) - 2).head(1).reset_index()
    rows, held = refreshed(spark, candles, [len(candles) - 1], current)
    assert len(held) == 1
    assert held[0] <= REACH + 1 + 1440
    assert_equal(rows, whole.tail(1))


def test_what_the_latest_commit_wrote_is_enough_where_it_wrote_the_row_before(spark: SparkSession) -> None:
    candles = series(REACH + 100)
    latest = computed(candles.head(len(candles) - 1), REACH + 96).reset_index()
    rows, held = refreshed(spark, candles, [len(candles) - 1], None, None, latest)
    assert len(held) == 1
    assert_equal(rows, computed(candles, 0).tail(1))


def test_an_older_row_of_the_latest_commit_does_not_stand_for_the_row_before(spark: SparkSession) -> None:
    candles = series(REACH + 3000, [(REACH + 2900, 5 * 1440, False)])
    current = computed(candles, len(candles) - 3).head(2).reset_index()
    older = current.head(1).assign(rests_from=candles["interval_start"].iloc[0])
    rows, held = refreshed(spark, candles, [len(candles) - 1], current, None, older)
    assert len(held) == 1
    assert held[0] <= REACH + 1 + 1440
    assert_equal(rows, computed(candles, 0).tail(1))


def test_a_young_series_is_looked_for_to_its_beginning_once_and_then_no_more(spark: SparkSession) -> None:
    candles = series(400, interval="1d")
    first, looks = refreshed(spark, candles.head(399), range(399))
    rows, held = refreshed(spark, candles, [399], first.tail(2).reset_index())
    assert len(looks) <= 4
    assert held == [400]
    assert_equal(rows, computed(candles, 0).tail(1))


def test_a_table_that_was_there_before_rows_knew_what_they_rest_on_goes_on(spark: SparkSession) -> None:
    candles = series(REACH + 100)
    current = computed(candles, len(candles) - 2).head(1).reset_index().assign(rests_from=pd.NaT)
    rows, _ = refreshed(spark, candles, [len(candles) - 1], current)
    assert_equal(rows, computed(candles, 0).tail(1))


class Following:
    """A series whose indicators are brought up to date, change after change, from what the time before kept."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self.kept: pa.Table | None = None
        self.rows = pd.DataFrame()
        """All that were written so far, in their latest state, by start."""

    def come(
        self, candles: pd.DataFrame, changed: Sequence[int], quiet: pd.DataFrame | None = None
    ) -> tuple[pd.DataFrame, int]:
        """The rows that are made where these of the candles changed, and how many looks it took.

        `quiet`: all quiet intervals, of which those of the latest hour became known just now.
        """
        there = sources(self._spark, candles, quiet)
        end = candles["interval_start"].iloc[-1]
        now = end.to_pydatetime().replace(tzinfo=UTC) + timedelta(seconds=30)
        new = None if quiet is None else quiet[quiet["interval_start"] > end - pd.Timedelta("1h")]
        changes = sources(self._spark, candles.iloc[list(changed)] if changed else candles.head(1), new)
        if not changed:
            changes |= {name: changes[name].limit(0) for name in ("silver.ohlcv_1m", "silver.ohlcv")}
        looks = []

        def look(spans: Sequence[Row]) -> Mapping[str, DataFrame]:
            looks.append(spans)
            wanted = F.lit(False)
            for span in spans:
                wanted = wanted | F.col("interval_start").between(F.lit(span.start), F.lit(span.end))
            return {name: rows.filter(wanted) for name, rows in there.items()}

        made = indicators.at_hand(changes, self.kept, look, now)
        assert made is not None
        self.kept = made.kept
        if made.rows is None:
            return pd.DataFrame(), len(looks)
        assert made.rows.columns == indicators.TABLE.column_names
        rows = made.rows.toPandas().astype({"interval_start": "datetime64[ns]", "rests_from": "datetime64[ns]"})
        rows = rows.sort_values("interval_start").set_index("interval_start")
        assert rows.index.is_unique
        before = self.rows[~self.rows.index.isin(rows.index)] if len(self.rows) else self.rows
        self.rows = pd.concat([before, rows]).sort_index()
        return rows, len(looks)


def test_a_minute_more_is_computed_from_what_was_kept_and_nothing_is_read(spark: SparkSession) -> None:
    candles = series(REACH + 400, [(REACH + 100, 3, True), (REACH + 150, 9, False)])
    following, whole = Following(spark), computed(candles, 0)
    count = len(candles)
    assert following.come(candles.head(count - 10), [count - 11])[1] > 0, "at first nothing is kept"
    for end in (count - 9, count - 8):
        rows, looks = following.come(candles.head(end), [end - 1])
        assert looks == 0
        assert_equal(rows, whole.iloc[[end - 1]])
        assert rows["rests_from"].tolist() == whole["rests_from"].iloc[[end - 1]].tolist()
    rows, looks = following.come(candles, [count - 60, count - 1, *range(count - 8, count - 1)])
    assert looks == 0, "what comes an hour late is at hand too"
    assert_equal(rows, whole.tail(60))
    assert following.kept is not None
    assert following.kept.num_rows == REACH + SPARE


def test_a_late_candle_of_long_ago_is_read_for_and_what_is_kept_stays_right(spark: SparkSession) -> None:
    candles = series(FAR + 50)
    before = candles.copy()
    before.loc[100, list(VALUES)] *= 1.01
    following = Following(spark)
    following.come(before.head(FAR + 40), [FAR + 39])
    rows, looks = following.come(candles.head(FAR + 41), [100, FAR + 40])
    assert looks > 0
    whole = computed(candles, 0)
    assert rows.index.tolist() == whole.index[[*range(100, 100 + REACH + 1), FAR + 40]].tolist()
    assert_equal(rows, whole.loc[rows.index])
    assert following.come(candles.head(FAR + 41), [200])[1] > 0
    rows, looks = following.come(candles, list(range(FAR + 41, FAR + 50)))
    assert looks == 0
    assert_equal(rows, whole.tail(9))


def test_of_a_young_series_all_is_kept_until_it_is_long_enough(spark: SparkSession) -> None:
    candles = series(300, interval="1d")
    following = Following(spark)
    following.come(candles.iloc[20:280].reset_index(drop=True), list(range(260)))
    rows, looks = following.come(candles.head(281), [*range(20), 280])
    assert looks == 0, "what comes before its first candle is before all of them"
    assert_equal(following.rows, computed(candles.head(281), 0))
    assert len(rows) == 281


def test_minutes_that_turn_out_quiet_are_at_hand_too(spark: SparkSession) -> None:
    candles = series(REACH + 300, [(REACH + 290, 20, False)])
    proven = computed(series(REACH + 300, [(REACH + 290, 20, True)]), 0)
    following = Following(spark)
    following.come(candles, list(range(REACH + 250, REACH + 300)))
    rows, looks = following.come(candles, [], quiet_between(candles))
    assert looks == 0
    assert_equal(rows, proven.tail(10))


def test_of_nothing_new_comes_nothing_and_what_was_kept_stays(spark: SparkSession) -> None:
    candles = series(REACH + 200)
    following = Following(spark)
    following.come(candles, [REACH + 199])
    kept = following.kept
    assert following.come(candles, [])[0].empty
    assert following.kept is not None
    assert following.kept.equals(kept)


def test_with_a_longer_look_back_what_was_kept_is_read_again(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles, following, shorter = series(REACH + 900), Following(spark), Plan.lookback
    following.come(candles.head(REACH + 898), [REACH + 897])
    monkeypatch.setattr(Plan, "lookback", lambda *of: shorter(*of) + 700)
    whole = computed(candles, 0)
    for end, is_read in ((REACH + 899, True), (REACH + 900, False)):
        rows, looks = following.come(candles.head(end), [end - 1])
        assert (looks > 0) == is_read
        assert_equal(rows, whole.iloc[[end - 1]])
        assert rows["rests_from"].tolist() == whole["rests_from"].iloc[[end - 1]].tolist()


def test_a_candle_that_came_while_others_were_read_is_kept(spark: SparkSession) -> None:
    """Those of the hour after `now` are not read, but they are among the changes."""
    count = 60 * 10 + 2
    candles = series(count)
    whole, hour = computed(candles, 0), pd.Timestamp(START.replace(tzinfo=None)) + pd.Timedelta("10h")

    def look(_spans: Sequence[Row]) -> Mapping[str, DataFrame]:
        return sources(spark, candles[candles["interval_start"] < hour])

    first = indicators.at_hand(
        sources(spark, candles.iloc[-3:-1]), None, look, START + timedelta(hours=10, seconds=-30)
    )
    assert first is not None
    made = indicators.at_hand(sources(spark, candles.tail(1)), first.kept, look, START + timedelta(hours=10, minutes=1))
    assert made is not None
    assert made.rows is not None
    rows = made.rows.toPandas().astype({"interval_start": "datetime64[ns]"}).set_index("interval_start")
    assert_equal(rows, whole.tail(1))


def test_of_several_series_only_those_are_read_of_which_too_little_is_kept(spark: SparkSession) -> None:
    bitcoin = series(REACH + 300)
    ether = bitcoin.assign(symbol="ETHUSDT", close=bitcoin["low"])
    both = pd.concat([bitcoin, ether], ignore_index=True)
    now = START + timedelta(minutes=REACH + 300)
    asked = []

    def look(spans: Sequence[Row]) -> Mapping[str, DataFrame]:
        asked.append(spans)
        return sources(spark, both)

    last = bitcoin.tail(1)
    first = indicators.at_hand(sources(spark, last), None, look, now)
    assert first is not None
    looks = len(asked)
    old = bitcoin.iloc[[10]].assign(symbol="ETHUSDT")
    new = pd.concat([last, ether.tail(1), old])
    second = indicators.at_hand(sources(spark, new), first.kept, look, now)
    assert second is not None
    assert second.rows is not None
    assert len(asked) > looks
    rows = second.rows.toPandas().astype({"interval_start": "datetime64[ns]"})
    assert not rows.duplicated(["symbol", "interval_start"]).any()
    for symbol, candles in (("BTCUSDT", bitcoin), ("ETHUSDT", ether)):
        mine = rows[rows["symbol"] == symbol].sort_values("interval_start").set_index("interval_start")
        expected = computed(candles.assign(symbol="BTCUSDT"), 0)
        assert_equal(mine, expected.loc[mine.index])
        assert len(mine) == {"BTCUSDT": 1, "ETHUSDT": REACH + 2}[symbol]
    looks = len(asked)
    assert indicators.at_hand(sources(spark, pd.concat([last, ether.tail(1)])), second.kept, look, now) is not None
    assert len(asked) == looks, "both are kept now"


def test_of_a_series_that_changed_in_many_places_nothing_is_copied_for_each(spark: SparkSession) -> None:
    following, candles = Following(spark), series(REACH + 50)
    following.come(candles, [REACH + 49])
    recent = RecentCandles.from_arrow(following.kept)
    starts = [pd.Timestamp("2015-01-01") + timedelta(minutes=place * FAR) for place in range(400)]
    starts.append(candles["interval_start"].iloc[-1])
    stretches = indicators._looking_back(
        indicators._stretches(pd.DataFrame({**NAMES, "interval": "1m", "interval_start": starts}))
    )
    assert len(stretches) == 401
    assert indicators._known(recent, stretches).empty
    whole = RecentCandles(recent.series.assign(is_whole=True), recent.rows)
    assert indicators._known(whole, stretches).empty


def test_what_other_code_kept_is_read_again(spark: SparkSession) -> None:
    following, candles = Following(spark), series(300)
    following.come(candles, [299])
    assert following.kept is not None
    assert following.come(candles, [299])[1] == 0
    metadata = following.kept.schema.metadata
    following.kept = following.kept.drop_columns("quote_volume").replace_schema_metadata(
        metadata | {b"format": b"0 {}"}
    )
    assert following.come(candles, [299])[1] > 0


def test_where_nothing_can_be_read_no_row_is_made_and_the_next_run_reads_again(spark: SparkSession) -> None:
    candles = series(300, interval="5m")
    changes = sources(spark, candles.tail(1))
    now = candles["interval_start"].iloc[-2].to_pydatetime().replace(tzinfo=UTC)
    nothing = {name: rows.limit(0) for name, rows in changes.items()}
    made = indicators.at_hand(changes, None, lambda _spans: nothing, now)
    assert made is not None
    assert made.rows is None
    again = indicators.at_hand(changes, made.kept, lambda _spans: sources(spark, candles), now)
    assert again is not None
    assert again.rows is not None
    rows = again.rows.toPandas().astype({"interval_start": "datetime64[ns]"}).set_index("interval_start")
    assert_equal(rows, computed(candles, 299))


def test_nothing_is_kept_of_a_series_that_has_ended(spark: SparkSession) -> None:
    following, candles = Following(spark), series(REACH + 50)
    following.come(candles, [REACH + 49])
    assert following.kept is not None
    now = candles["interval_start"].iloc[-1].to_pydatetime().replace(tzinfo=UTC) + timedelta(minutes=REACH)
    nothing = {name: rows.limit(0) for name, rows in sources(spark, candles.tail(1)).items()}
    for later, count in ((timedelta(), following.kept.num_rows), (timedelta(minutes=1), 0)):
        made = indicators.at_hand(nothing, following.kept, lambda _spans: nothing, now + later)
        assert made is not None
        assert made.kept.num_rows == count


def test_too_much_is_not_computed_at_hand(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    candles = series(REACH + 200)
    also_quiet = candles.assign(is_quiet=True)
    changes = sources(spark, candles.tail(5))
    now = START + timedelta(days=10)

    def made() -> object:
        return indicators.at_hand(changes, None, lambda _spans: sources(spark, candles, also_quiet), now)

    with monkeypatch.context() as patch:
        patch.setattr(indicators, "_FEW", 4)
        assert made() is None
    with monkeypatch.context() as patch:
        patch.setattr(indicators, "_AT_HAND", REACH)
        assert made() is None, "it is known before anything is read"
        patch.setattr(indicators, "_AT_HAND", REACH + 100)
        assert made() is None, "it shows when it is read"
    assert made() is not None


@settings(deadline=None)
@given(st.lists(st.integers(0, 5 * FAR), min_size=1, max_size=30), st.sampled_from([60, 300, 86400]))
def test_stretches_are_the_same_wherever_they_are_found(places: list[int], seconds: int) -> None:
    starts = [pd.Timestamp("2010-01-01") + timedelta(seconds=seconds * place) for place in places]
    interval = next(name for name, length in INTERVALS.items() if length == seconds)
    found = indicators._stretches(pd.DataFrame({**NAMES, "interval": interval, "interval_start": starts}))
    expected = []
    for start in sorted(set(starts)):
        if not expected or start - expected[-1][1] > timedelta(seconds=seconds * indicators._FAR):
            expected.append((start, start))
        expected[-1] = (expected[-1][0], start)
    assert list(found[["interval_start", "last_changed"]].itertuples(index=False, name=None)) == expected
    assert found["stretch"].tolist() == list(range(len(expected)))


def test_a_run_that_remembers_writes_what_one_without_memory_does(spark: SparkSession, tmp_path: Path) -> None:
    candles = series(REACH + 310)
    types = {column.name: column.type for column in CANDLE_COLUMNS}
    values = [
        {name: Decimal(f"{row[name]:.18f}") if types.get(name, "").startswith("decimal") else row[name] for name in row}
        | {"month": "2026-08", "interval_start": row["interval_start"].to_pydatetime()}
        for row in candles.to_dict("records")
    ]
    lakes = {memory: MemoryLake(spark) for memory in (None, tmp_path)}
    count = len(candles)
    late = count - 60
    steps = [(0, count - 9), (count - 9, count - 8), (count - 8, count - 6), (count - 6, count - 5), (late, late + 1)]
    steps += [(count - 5, count - 2), (count - 2, count)]
    for number, (first, end) in enumerate(steps):
        for memory, lake in lakes.items():
            other = {"close": values[first]["low"]} if first == late else {}
            lake.put(ohlcv_1m.TABLE, [value | other for value in values[first:end]])
            now = START + timedelta(minutes=end if first != late else count - 5, seconds=30)
            # One run knows nothing of the memory, as one on another machine: then it is not that of these marks.
            remembers = memory if number != 2 else None
            assert refresh(lake, indicators, now, memory=remembers).is_sound
    rows = {
        memory: pd.DataFrame([row.asDict() for row in lake.rows(indicators.TABLE)]).set_index("interval_start")
        for memory, lake in lakes.items()
    }
    assert_equal(rows[tmp_path], rows[None])
    written = {memory: [len(made) for _, made in lake.written] for memory, lake in lakes.items()}
    assert written[tmp_path] == written[None]
    assert [one.name for one in tmp_path.glob("*.arrow")] == ["silver.indicators.arrow"]
    assert refresh(lakes[tmp_path], indicators, now, from_scratch=True, memory=tmp_path).is_sound
    assert list(tmp_path.glob("*.arrow")) == [], "who makes all again trusts nothing that was there"
