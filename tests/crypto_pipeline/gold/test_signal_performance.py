"""How good rules were: means, intervals, and always having been long beside."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import CircularBlockBootstrap
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.gold._rules import ALWAYS_LONG, Known, Rule
from crypto_pipeline.gold.signal_outcomes import HORIZONS
from crypto_pipeline.gold.signal_performance import (
    FEWEST,
    FEWEST_BLOCKS,
    TABLE,
    block_bootstrap,
    block_length,
    judged,
)
from crypto_pipeline.indicators._file import plan

FIRST = pd.Timestamp("2026-08-01")
WHEN = {"crosses_above": ["ema_12", "ema_26"]}
RULES = tuple(
    Rule.model_validate({"name": name, "side": side, "intervals": ["1h"], "when": WHEN}, context=Known.of(plan()))
    for name, side in (("cross", "buy"), ("other", "sell"))
)


def outcomes(
    returns: Sequence[float], rule: str = "cross", hours: int = 48, symbol: str = "BTCUSDT", **more: object
) -> pd.DataFrame:
    """Signals every so many hours; the same return after each horizon."""
    end = FIRST + pd.to_timedelta(np.arange(len(returns)) * hours, unit="h")
    of = {"exchange": "binance", "symbol": symbol, "interval": "1h", "rule": rule, "interval_end": end, "side": "buy"}
    said = {"is_retracted": False, "bridged": False, "spread_source": "configured"}
    return pd.DataFrame(of | said | {f"return_{name}": np.array(returns, dtype=float) for name in HORIZONS} | more)


def of_rule(*parts: pd.DataFrame, rule: str = "cross", horizon: str = "1h") -> dict[str, Any]:
    wanted = pd.DataFrame([{"exchange": "binance", "symbol": "BTCUSDT", "interval": "1h", "rule": rule}])
    rows = list(judged(pd.concat(parts, ignore_index=True), wanted, RULES))
    assert [row["horizon"] for row in rows] == list(HORIZONS)
    return next(row for row in rows if row["horizon"] == horizon)


ALTERNATING = [0.02, -0.01] * 50


def test_means_and_hit_rates_are_those_by_hand() -> None:
    row = of_rule(outcomes([*ALTERNATING, 0.5]))
    assert row["observations"] == row["signals"] == 101
    assert row["mean_return"] == pytest.approx((50 * 0.01 + 0.5) / 101)
    assert row["median_return"] == 0.02
    assert row["hit_rate"] == pytest.approx(51 / 101)
    assert row["mean_return_low"] < row["mean_return"] < row["mean_return_high"]
    assert row["hit_rate_low"] <= row["hit_rate"] <= row["hit_rate_high"]
    first = FIRST.tz_localize("UTC")
    assert (row["first_signal"], row["last_signal"]) == (first, first + pd.Timedelta(hours=4800))
    assert row["rules_tried"] == 2
    assert row["confidence"] == 0.95


def test_a_return_of_nothing_is_no_hit_and_a_constant_one_has_an_interval_of_no_width() -> None:
    row = of_rule(outcomes([0.0] * 100))
    assert (row["hit_rate"], row["mean_return_low"], row["mean_return_high"]) == (0, 0, 0)


@pytest.mark.parametrize(("count", "reason"), [(FEWEST - 1, "too_few_signals"), (FEWEST + 10, None)])
def test_too_few_signals_have_no_mean_and_say_why(count: int, reason: str | None) -> None:
    row = of_rule(outcomes([0.01] * count), outcomes([0.0] * 2000, ALWAYS_LONG, 1))
    assert row["reason"] == reason
    assert (row["mean_return"] is None) == (reason is not None)
    assert (row["mean_return_low"] is None) == (reason is not None)
    assert row["observations"] == count


def test_signals_that_overlap_are_drawn_together_and_too_few_blocks_have_no_interval() -> None:
    every_hour = outcomes([0.01] * 100, hours=1)
    assert of_rule(every_hour, horizon="15m")["block_length"] == 5, "the cube root of 100"
    row = of_rule(every_hour, horizon="1d")
    assert (row["block_length"], row["reason"]) == (24, "too_few_blocks")
    assert row["mean_return"] == pytest.approx(0.01)
    assert row["mean_return_low"] is None
    assert of_rule(outcomes([0.01] * 240, hours=1), horizon="1d")["mean_return_low"] == pytest.approx(0.01)


def test_the_length_of_a_block_is_the_most_that_begin_within_a_horizon() -> None:
    times = (FIRST + pd.to_timedelta([0, 60, 61, 62, 121, 500], unit="min")).to_numpy()
    assert block_length(times, np.timedelta64(60, "m")) == 3, "from 60 on; 121 begins later than that"
    assert block_length(times, np.timedelta64(1, "m")) == 2, "the cube root of 6"
    assert block_length(times[:1], np.timedelta64(60, "m")) == 1


def test_always_long_is_that_of_the_time_of_the_signals() -> None:
    signals = outcomes([0.01] * 40, hours=2)
    always = outcomes([*([-1.0] * 1), *([0.03] * 80), *([-1.0] * 50)], ALWAYS_LONG, 1)
    always["interval_end"] -= pd.Timedelta(hours=1)
    always.loc[5, "return_1h"] = np.nan
    row = of_rule(signals, always)
    assert row["always_long_observations"] == 78, "from 0 to 78 hours, but one"
    assert row["always_long_return"] == pytest.approx(0.03)
    assert row["always_long_hit_rate"] == 1
    assert of_rule(signals)["reason"] == "no_always_long"


def test_what_is_retracted_counts_nowhere_else_and_what_is_not_known_is_no_observation() -> None:
    signals = outcomes([0.01] * 60)
    signals.loc[:9, "is_retracted"] = True
    signals.loc[:9, [f"return_{name}" for name in HORIZONS]] = 9.0
    signals.loc[20:24, "return_1h"] = np.nan
    signals.loc[:29, "bridged"] = True
    signals.loc[50:, "spread_source"] = "ticker_1m"
    row = of_rule(signals)
    assert (row["signals"], row["retracted"], row["observations"]) == (50, 10, 45)
    assert (row["bridged"], row["spreads_known"]) == (20, 10)
    assert row["mean_return"] == pytest.approx(0.01)


def test_a_row_is_the_same_each_time_whatever_stands_beside_it_and_in_whatever_order() -> None:
    random = np.random.default_rng(1)
    signals = outcomes(random.normal(0, 0.01, 100).tolist())
    others = outcomes(random.normal(0, 0.01, 100).tolist(), "other")
    alone = of_rule(signals)
    assert of_rule(others, signals.sample(frac=1, random_state=2)) == alone
    assert of_rule(signals, others, rule="other")["mean_return_low"] != alone["mean_return_low"]


def test_all_of_a_symbol_has_each_rule_of_the_file_also_one_without_signals() -> None:
    wanted = pd.DataFrame([{"exchange": "binance", "symbol": "BTCUSDT", "interval": None, "rule": None}])
    parts = [outcomes([0.01] * 3), outcomes([0.01] * 3, "gone"), outcomes([0.01], symbol="ETHUSDT")]
    rows = list(judged(pd.concat(parts, ignore_index=True), wanted, RULES))
    assert {row["symbol"] for row in rows} == {"BTCUSDT"}
    said = {row["rule"]: row["reason"] for row in rows}
    assert said == {"cross": "too_few_signals", "gone": "too_few_signals", "other": "no_signals"}
    assert {row["side"] for row in rows if row["rule"] == "other"} == {"sell"}
    names = {*TABLE.column_names} - {"ingestion_ts"}
    assert all(row.keys() == names for row in rows)
    assert all(row["mean_return"] is None for row in rows)


def test_of_nothing_there_is_nothing() -> None:
    nothing = outcomes([])
    wanted = pd.DataFrame({"exchange": [], "symbol": [], "interval": [], "rule": []}, dtype=object)
    assert list(judged(nothing, wanted, RULES)) == []


@pytest.mark.parametrize("length", [1, 5, 20])
def test_the_bounds_are_those_of_arch(length: int) -> None:
    random = np.random.default_rng(4)
    noise = random.normal(0.001, 0.02, 400)
    values = np.convolve(noise, np.ones(5) / 5, mode="same")  # neighbours that overlap
    theirs = CircularBlockBootstrap(length, values, seed=1).conf_int(
        lambda each: each.mean(), reps=1000, method="percentile", size=0.95
    )
    [ours] = block_bootstrap(values[None, :], length, 1)
    width = theirs[1, 0] - theirs[0, 0]
    assert ours == pytest.approx(theirs[:, 0], abs=0.1 * width)


def test_of_independent_returns_19_of_20_intervals_hold_the_truth() -> None:
    random = np.random.default_rng(5)
    held = 0
    for seed in range(200):
        [(low, high)] = block_bootstrap(random.normal(0.5, 1, (1, 125)), 5, seed)
        held += low <= 0.5 <= high
    assert 180 <= held <= 198


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40), st.integers(1, 12))
def test_bounds_are_in_order_and_within_the_values(values: list[float], length: int) -> None:
    length = min(length, len(values))
    [(low, high)] = block_bootstrap(np.array([values]), length, 1)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert FEWEST_BLOCKS > 1
