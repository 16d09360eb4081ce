"""Signals: which there are, and what becomes of them when data comes late."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import Row, SparkSession

from crypto_pipeline.gold import signals
from crypto_pipeline.gold._rules import Known, Rule
from crypto_pipeline.gold.signals import SERIES, SIGNAL, further, latest, reopened, signals_of
from crypto_pipeline.indicators import compute, study
from crypto_pipeline.indicators._file import plan
from crypto_pipeline.refresh import refresh
from crypto_pipeline.silver import indicators
from crypto_pipeline.silver.candles import INTERVALS
from tests.crypto_pipeline.market import market
from tests.crypto_pipeline.memory_lake import MemoryLake

KNOWN = Known.of(plan())
FIRST = pd.Timestamp("2026-08-01")
NOW = pd.Timestamp("2026-09-01")
CROSS = {"crosses_above": ["ema_12", "ema_26"]}
NAN = float("nan")


def rule(when: dict[str, Any], name: str = "cross", side: str = "buy", **more: object) -> Rule:
    return Rule.model_validate({"name": name, "side": side, "when": when, **more}, context=KNOWN)


def series(symbol: str = "BTCUSDT", interval: str = "1h", start: pd.Timestamp = FIRST, **columns: Any) -> pd.DataFrame:
    """Candles one behind the other; a column of a series or one value for all."""
    count = max(len(each) for each in columns.values() if isinstance(each, list))
    times = start + pd.to_timedelta(np.arange(count) * INTERVALS[interval], unit="s")
    of = {"exchange": "binance", "symbol": symbol, "interval": interval, "interval_start": times, "bridged": False}
    return pd.DataFrame(of | {"close": 100.0} | columns)


def of_market(count: int, *rules: Rule, seed: int = 3) -> pd.DataFrame:
    """Candles of a market at random with the rules' indicators."""
    candles = market(count, seed=seed, seconds=3600)
    columns = {name for each in rules for name in each.when.columns}
    studies = [each for each in plan().studies if columns & set(each.columns)]
    values = compute(candles, studies)
    of = series(ema_12=[0.0] * count).assign(close=candles["close"])
    return of.assign(**{name: values[name] for name in columns if name != "close"})


RULES = [
    rule(CROSS),
    rule({"below": ["rsi_14", 40]}, "low"),
    rule({"crosses_below": ["close", "bb_lower_20_2"]}, "broke", "sell"),
    rule({"any": [{"crosses_above": ["macd_hist_12_26_9", 0]}, {"above": ["rsi_14", 60]}]}, "either"),
    rule({"all": [{"crosses_above": ["macd_hist_12_26_9", 0]}, {"above": ["rsi_14", 45]}]}, "both"),
]
MARKET = of_market(400, *RULES)


def starts(candles: pd.DataFrame, *rules: Rule) -> list[int]:
    """On which hours there is a signal."""
    found = signals_of(candles, rules, KNOWN)
    return ((found["interval_start"] - FIRST) // pd.Timedelta(hours=1)).tolist()


def test_a_signal_says_what_caused_it_and_which_candle_closed_it() -> None:
    [row] = signals_of(series(ema_12=[1.0, 3.0], ema_26=[2.0, 2.5]), [rule(CROSS)], KNOWN).to_dict("records")
    hour = pd.Timedelta(hours=1)
    assert row["interval_start"] == FIRST + hour
    assert row["interval_end"] == FIRST + 2 * hour
    assert row["previous_start"] == FIRST
    assert json.loads(row["caused_by"]) == {"ema_12": [1.0, 3.0], "ema_26": [2.0, 2.5]}
    assert (row["rule"], row["side"], row["close"]) == ("cross", "buy", 100.0)
    assert row["definition"] == "buy when crosses_above(ema_12, ema_26)"
    assert row["strength"] == pytest.approx(0.5 / 100)


def test_a_row_says_that_it_is_bridged() -> None:
    found = signals_of(series(ema_12=[1.0, 3.0], ema_26=2.0, bridged=[False, True]), [rule(CROSS)], KNOWN)
    assert found["bridged"].tolist() == [True]


def test_known_series_have_the_signals_one_would_draw() -> None:
    flat, rising = [100.0] * 60, list(np.linspace(100, 200, 60))
    jump, down_up = [100.0] * 30 + [110.0] * 30, list(np.linspace(200, 100, 60)) + list(np.linspace(100, 200, 60))

    def crossings(closes: list[float]) -> list[int]:
        candles = market(len(closes)).assign(open=closes, high=closes, low=closes, close=closes)
        values = compute(candles, [study("ema_12"), study("ema_26")])
        return starts(series(close=closes, **{name: list(each) for name, each in values.items()}), rule(CROSS))

    assert crossings(flat) == []
    assert crossings(rising) == [], "the faster mean was never below"
    assert crossings(jump) == [30], "on the jump, not before"
    [turn] = crossings(down_up)
    assert 60 < turn < 90


def test_series_do_not_show_in_each_other() -> None:
    one, other = series("AAA", ema_12=[1.0, 1.0], ema_26=2.0), series("BBB", ema_12=[3.0, 3.0], ema_26=2.0)
    assert starts(pd.concat([one, other], ignore_index=True), rule(CROSS)) == []


@pytest.mark.parametrize(("absent", "expected"), [(signals.APART - 1, 1), (signals.APART, 0)])
def test_a_candle_too_far_from_the_one_before_is_not_compared_with_it(absent: int, expected: int) -> None:
    later = FIRST + pd.Timedelta(hours=1 + absent)
    parts = [series(ema_12=[1.0], ema_26=2.0), series(start=later, ema_12=[3.0], ema_26=2.0)]
    assert len(starts(pd.concat(parts, ignore_index=True), rule(CROSS))) == expected


def test_a_rule_looks_at_its_own_candles_alone() -> None:
    hours, minutes = series(ema_12=[1.0, 3.0], ema_26=2.0), series(interval="1m", ema_12=[1.0, 3.0], ema_26=2.0)
    both = pd.concat([hours, minutes], ignore_index=True)
    assert signals_of(both, [rule(CROSS, intervals=["1m"])], KNOWN)["interval"].tolist() == ["1m"]
    assert signals_of(both, [rule(CROSS, symbols=["ETHUSDT"])], KNOWN).empty


def test_of_nothing_and_of_one_candle_there_are_no_signals() -> None:
    one = series(ema_12=[3.0], ema_26=2.0)
    assert signals_of(one, [rule(CROSS)], KNOWN).empty
    assert signals_of(one.iloc[:0], [rule(CROSS)], KNOWN).empty
    assert signals_of(one, [], KNOWN).empty


def test_every_rule_finds_something_in_a_market_at_random() -> None:
    assert set(signals_of(MARKET, RULES, KNOWN)["rule"]) == {each.name for each in RULES}


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 399))
def test_what_comes_later_changes_no_signal(cut: int) -> None:
    whole = signals_of(MARKET, RULES, KNOWN)
    until = signals_of(MARKET.iloc[:cut], RULES, KNOWN)
    expected = whole[whole["interval_start"] < MARKET["interval_start"].iloc[cut]]
    pd.testing.assert_frame_equal(until.reset_index(drop=True), expected.reset_index(drop=True))


def test_bar_by_bar_they_are_those_computed_at_once() -> None:
    candles = MARKET.iloc[:120]
    parts = [signals_of(candles.iloc[max(0, n - 2) : n + 1], RULES, KNOWN) for n in range(len(candles))]
    bar_by_bar = both(
        *[part[part["interval_start"] == candles["interval_start"].iloc[n]] for n, part in enumerate(parts)]
    )
    pd.testing.assert_frame_equal(
        bar_by_bar.sort_values(SIGNAL, ignore_index=True),
        signals_of(candles, RULES, KNOWN).sort_values(SIGNAL, ignore_index=True),
    )


def test_a_changed_candle_opens_itself_and_the_two_after_it() -> None:
    candles = pd.concat([series("AAA", ema_12=[1.0] * 9), series("BBB", ema_12=[1.0] * 9)], ignore_index=True)
    hour = pd.Timedelta(hours=1)
    chunk = {"exchange": "binance", "symbol": "AAA", "interval": "1h"}
    chunks = pd.DataFrame([chunk | {"interval_start": FIRST + 3 * hour, "last_changed": FIRST + 4 * hour}])
    assert np.flatnonzero(reopened(candles, chunks)).tolist() == [3, 4, 5, 6]
    chunks = pd.DataFrame([chunk | {"interval_start": FIRST + 8 * hour, "last_changed": FIRST + 8 * hour}])
    assert np.flatnonzero(reopened(candles, chunks)).tolist() == [8], "the next series is another"


def test_a_change_is_not_felt_behind_a_hole_that_no_rule_looks_over() -> None:
    candles = both(*(series("AAA", start=FIRST + pd.Timedelta(days=days), close=[1.0] * 3) for days in (0, 30)))
    chunk = {"exchange": "binance", "symbol": "AAA", "interval": "1h", "interval_start": FIRST, "last_changed": FIRST}
    assert np.flatnonzero(reopened(candles, pd.DataFrame([chunk]))).tolist() == [0, 1, 2]
    last = chunk | dict.fromkeys(("interval_start", "last_changed"), FIRST + pd.Timedelta(hours=2))
    assert np.flatnonzero(reopened(candles, pd.DataFrame([last]))).tolist() == [2]
    near = candles.assign(interval_start=[FIRST + pd.Timedelta(hours=hour) for hour in (0, 1, 2, 62, 63, 124)])
    assert np.flatnonzero(reopened(near, pd.DataFrame([last]))).tolist() == [2, 3, 4], "sixty hours are looked over"


NO_ROWS = pd.DataFrame(columns=signals.TABLE.column_names).astype(
    {
        **dict.fromkeys(("interval_start", "interval_end", "previous_start", "known_at"), "datetime64[ns]"),
        **dict.fromkeys(("strength", "close"), float),
        "revision": "int32",
    }
)


def revised(
    candles: pd.DataFrame, rows: pd.DataFrame = NO_ROWS, rules: Iterable[Rule] = RULES, known_at: pd.Timestamp = NOW
) -> pd.DataFrame:
    """The further rows where all candles are looked at again."""
    found = signals_of(candles, list(rules), KNOWN)
    evaluated = candles[[*SERIES, "interval_start"]]
    return further(found, evaluated, latest(rows), list(rules), KNOWN.prices, known_at)


def both(*parts: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True)


def test_a_signal_that_late_data_overturns_is_retracted_and_one_that_holds_again_is_a_further_row() -> None:
    up, not_up = series(ema_12=[1.0, 3.0], ema_26=2.0), series(ema_12=[1.0, 1.5], ema_26=2.0)
    rules = [rule(CROSS)]
    first = revised(up, rules=rules)
    retraction = revised(not_up, first, rules, NOW + pd.Timedelta(hours=1))
    again = revised(up, both(first, retraction), rules, NOW + pd.Timedelta(hours=2))
    rows = both(first, retraction, again)
    assert rows["revision"].tolist() == [1, 2, 3]
    assert rows["is_retraction"].tolist() == [False, True, False]
    assert rows["reason"].tolist() == [None, "late_data", None]
    assert (rows["known_at"] - NOW).dt.total_seconds().tolist() == [0, 3600, 7200]
    assert rows[SIGNAL].drop_duplicates().shape[0] == 1
    assert retraction["caused_by"].tolist() == first["caused_by"].tolist(), "it says what it retracts"
    assert revised(not_up, both(first, retraction), rules).empty, "what is retracted is not retracted again"
    assert revised(up, rows, rules).empty


def test_a_signal_that_rests_on_something_else_now_is_a_further_row_and_one_that_moved_by_nothing_is_not() -> None:
    rules = [rule(CROSS)]
    first = revised(series(ema_12=[1.0, 3.0], ema_26=2.0), rules=rules)
    assert revised(series(ema_12=[1.0, 3.0 + 1e-7], ema_26=2.0), first, rules).empty
    [row] = revised(series(ema_12=[1.0, 3.1], ema_26=2.0), first, rules).to_dict("records")
    assert (row["revision"], row["is_retraction"], row["reason"]) == (2, False, None)
    assert json.loads(row["caused_by"])["ema_12"] == [1.0, 3.1]
    assert not revised(series(ema_12=[1.0, 3.0], ema_26=2.0, close=[100.0, 101.0]), first, rules).empty
    assert not revised(series(ema_12=[1.0, 3.0], ema_26=2.0, bridged=[False, True]), first, rules).empty


def test_another_rule_of_the_same_name_retracts_what_it_does_not_say_and_one_that_is_gone_retracts_nothing() -> None:
    up = series(ema_12=[1.0, 3.0], ema_26=2.0)
    first = revised(up, rules=[rule(CROSS)])
    [row] = revised(up, first, [rule({"crosses_below": ["ema_12", "ema_26"]})]).to_dict("records")
    assert (row["is_retraction"], row["reason"]) == (True, "rule_changed")
    assert row["definition"] == "buy when crosses_above(ema_12, ema_26)"
    [row] = revised(up, first, [rule(CROSS, side="sell")]).to_dict("records")
    assert (row["revision"], row["is_retraction"], row["side"]) == (2, False, "sell")
    assert revised(up, first, [rule({"below": ["ema_12", 1]}, "another")]).empty


def test_signals_of_candles_that_were_not_looked_at_are_left_alone() -> None:
    up = series(ema_12=[1.0, 3.0, 3.0], ema_26=2.0)
    first = revised(up, rules=[rule(CROSS)])
    later = up.iloc[2:]
    found = signals_of(later, [rule(CROSS)], KNOWN)
    evaluated = later[[*SERIES, "interval_start"]]
    assert further(found, evaluated, first, [rule(CROSS)], KNOWN.prices, NOW).empty


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(0, 10), min_size=1, max_size=4), st.integers(5, 120))
def test_however_data_came_what_counts_is_what_is_computed_at_once(seeds: list[int], count: int) -> None:
    rows = NO_ROWS
    for seed in seeds:  # each time another market was there: late data at its most
        candles = of_market(count, *RULES, seed=seed)
        new = revised(candles, rows)
        assert not new.duplicated(list(signals.TABLE.key)).any()
        rows = both(*[each for each in (rows, new) if len(each)]) if len(rows) + len(new) else NO_ROWS
    assert not rows.duplicated(list(signals.TABLE.key)).any()
    counts = latest(rows)
    counts = counts[~counts["is_retraction"].astype(bool)].sort_values(SIGNAL)[[*SIGNAL, "side", "caused_by"]]
    expected = signals_of(candles, RULES, KNOWN).sort_values(SIGNAL)[[*SIGNAL, "side", "caused_by"]]
    pd.testing.assert_frame_equal(counts.reset_index(drop=True), expected.reset_index(drop=True), check_dtype=False)


def put(lake: MemoryLake, candles: pd.DataFrame, *, is_closed: bool = True) -> None:
    """Rows of the indicators, as they come."""
    rows = candles.astype(object).where(candles.notna(), None).to_dict("records")
    for row in rows:
        row["interval_start"] = row["interval_start"].to_pydatetime()
    month = candles["interval_start"].dt.strftime("%Y-%m")
    more = [{"is_closed": is_closed, "month": each} for each in month]
    lake.put(indicators.TABLE, [row | of for row, of in zip(rows, more, strict=True)])


def standing(lake: MemoryLake) -> list[Row]:
    """Of each signal the row that counts, where it is none that retracts."""
    last = {tuple(row[name] for name in SIGNAL): row for row in lake.rows(signals.TABLE)}
    return [row for row in last.values() if not row.is_retraction]


def test_runs_write_what_is_new_and_from_scratch_what_counts_is_the_same(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rules = tmp_path / "signals.yaml"
    rules.write_text(
        "costs: {fee_bps: 10, spread_bps: 2}\nrules:\n"
        "  - {name: cross, side: buy, intervals: [1h], when: {crosses_above: [ema_12, ema_26]}}\n"
        "  - {name: low, side: buy, intervals: [1h], when: {below: [rsi_14, 40]}}\n"
        "  - {name: wrong, side: buy, when: {below: [rsi_15, 40]}}\n"
    )
    monkeypatch.setattr(signals, "chosen", lambda: signals.load(rules, plan()))
    lake, now = MemoryLake(spark), datetime(2026, 8, 8, 8, tzinfo=UTC)

    def run(at: datetime, *, from_scratch: bool = False, of: MemoryLake = lake) -> list[Row]:
        of.set_clock(at)
        before = len(of.written)
        assert refresh(of, signals, at, from_scratch=from_scratch).is_sound
        return [row for name, rows in of.written[before:] for row in rows if name == "gold.signals"]

    assert run(now) == [], "of nothing there is nothing"
    candles = MARKET.iloc[:176]
    other = candles.assign(symbol="ETHUSDT")
    put(lake, both(candles.iloc[:170], other.iloc[:170]))
    first = run(now)
    assert {row.rule for row in first} == {"cross", "low"}
    assert {row.month for row in first} == {"2026-08"}
    assert len(signals.refusals(lake, now)) == 1
    assert run(now) == [], "nothing is new"

    put(lake, candles.iloc[170:175], is_closed=False)
    assert run(now + timedelta(minutes=1)) == [], "what may still move is not looked at"
    put(lake, candles.iloc[170:])
    new = run(now + timedelta(minutes=2))
    assert all(row.interval_start >= candles["interval_start"].iloc[170] for row in new)
    assert len(standing(lake)) == len(first) + len(new)

    crossing = next(row for row in first if row.rule == "cross" and row.symbol == "ETHUSDT")
    late = other[other["interval_start"] == crossing.interval_start].assign(ema_12=0.0, rsi_14=50.0)
    put(lake, late)
    changed = run(now + timedelta(minutes=3))
    assert next(row.is_retraction for row in changed if row.rule == "cross"), "it does not hold any more"
    assert {row.symbol for row in changed} == {"ETHUSDT"}
    hours = {(row.interval_start - crossing.interval_start) // timedelta(hours=1) for row in changed}
    assert hours <= {0, 1, 2}, "only what rests on the late candle"

    again = MemoryLake(spark)
    again.like(lake, [indicators.TABLE])
    run(now + timedelta(minutes=4), of=again)
    passed_over = {"revision", "known_at", "ingestion_ts"}

    def says(of: MemoryLake) -> list[dict[str, Any]]:
        return [
            {name: row[name] for name in signals.TABLE.column_names if name not in passed_over} for row in standing(of)
        ]

    assert says(again) == says(lake)
    assert run(now + timedelta(minutes=5), from_scratch=True) == [], "all is said"
