"""What every table of gold means by a price on a grid and by a return."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.gold._prices import SERIES, grid, log_returns, simple_returns

FIRST = pd.Timestamp("2026-11-20")


def at(minutes: dict[int, float] | list[int], symbol: str = "BTCUSDT") -> pd.DataFrame:
    closes = minutes if isinstance(minutes, dict) else dict.fromkeys(minutes, 0.0)
    return pd.DataFrame(
        {
            "exchange": "binance",
            "symbol": symbol,
            "interval_start": [FIRST + pd.Timedelta(minutes=minute) for minute in closes],
            "close": list(closes.values()),
        }
    )


def on_grid(candles: dict[int, float], quiet: list[int]) -> list[float]:
    return grid(at(candles), at(quiet)[[*SERIES, "interval_start"]], 60)["binance", "BTCUSDT"].tolist()


def test_a_quiet_minute_carries_the_close_and_its_return_is_zero() -> None:
    assert on_grid({0: 10, 2: 11}, quiet=[1]) == [10, 10, 11]
    assert log_returns(grid(at({0: 10, 2: 11}), at([1]), 60)).iloc[1].tolist() == [0]


def test_a_minute_that_is_missing_has_neither_price_nor_return() -> None:
    prices = grid(at({0: 10, 2: 11, 3: 22}), None, 60)
    assert np.isnan(prices.iloc[1, 0])
    assert simple_returns(prices)["binance", "BTCUSDT"].isna().tolist() == [True, True, True, False]
    assert simple_returns(prices).iloc[3, 0] == pytest.approx(1.0)


def test_nothing_is_carried_over_a_minute_that_is_missing() -> None:
    values = on_grid({0: 10, 4: 11}, quiet=[2, 3])
    assert values[0] == 10
    assert np.isnan(values[1:4]).all()


def test_a_series_that_begins_later_is_not_known_before() -> None:
    both = pd.concat([at({0: 1, 1: 2}), at({1: 5}, "ETHUSDT")])
    assert np.isnan(grid(both, None, 60)["binance", "ETHUSDT"].iloc[0])


def test_of_nothing_there_is_nothing() -> None:
    assert grid(at({}), None, 60).empty


@given(st.lists(st.sampled_from(["candle", "quiet", "missing"]), min_size=1, max_size=30))
def test_a_price_is_the_last_candle_s_with_only_quiet_minutes_since(kinds: list[str]) -> None:
    candles = {minute: float(minute + 1) for minute, kind in enumerate(kinds) if kind == "candle"}
    if not candles:
        return
    expected: list[float] = []
    last = np.nan
    for minute, kind in enumerate(kinds):
        last = candles.get(minute, last if kind == "quiet" else np.nan)
        expected.append(last)
    wanted = expected[min(candles) : max(candles) + 1]
    quiet = [minute for minute, kind in enumerate(kinds) if kind == "quiet"]
    np.testing.assert_array_equal(on_grid(candles, quiet), wanted)
