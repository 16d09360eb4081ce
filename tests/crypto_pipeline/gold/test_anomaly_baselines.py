"""What is usual rests on whole hours before, in the stated steps, and on enough of them."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crypto_pipeline.gold._measures import measured
from crypto_pipeline.gold.anomaly_baselines import LEAST, SCALE_OF_MAD, SCALE_OF_MEAN, TOO_FEW, baselines, robust
from tests.crypto_pipeline.gold.minutes import FIRST, minutes

BTC = ("binance", "BTCUSDT")
ROWS = minutes(30 * 1440)
MEASURES = measured(ROWS)


def hour(number: int) -> datetime:
    return (FIRST + pd.Timedelta(hours=number)).to_pydatetime()


def of(measure: str, number: int, measures: dict[str, pd.DataFrame] = MEASURES) -> pd.Series:
    rows = baselines(measures, [hour(number)])
    return rows[rows["measure"] == measure].iloc[0]


def by_hand(measure: str, hours: list[int]) -> pd.Series:
    values = MEASURES[measure][BTC]
    return pd.concat([values.iloc[60 * number : 60 * number + 60] for number in hours]).dropna()


@pytest.mark.parametrize(
    ("number", "name", "hours"),
    [
        (29 * 24 + 10, "hour_of_week", [29 * 24 + 10 - 168 * weeks for weeks in (1, 2, 3, 4)]),
        (21 * 24 + 3, "hour_of_week", [21 * 24 + 3 - 168 * weeks for weeks in (1, 2, 3)]),
        (20 * 24 + 3, "hour_of_day", [20 * 24 + 3 - 24 * days for days in range(1, 8)]),
        (4 * 24 + 3, "hour_of_day", [3 + 24 * days for days in range(4)]),
        (3 * 24 + 3, "all_hours", list(range(2 * 24 + 3, 3 * 24 + 3))),
        (3, "all_hours", [0, 1, 2]),
    ],
)
def test_it_is_median_and_mad_of_the_first_of_the_steps_that_has_enough(
    number: int, name: str, hours: list[int]
) -> None:
    row, values = of("volume", number), by_hand("volume", hours)
    assert (row["baseline"], row["observations"], row["hours"]) == (name, len(values), len(hours))
    assert row["rests_from"] == hour(min(hours))
    assert row["median"] == pytest.approx(np.median(values), rel=1e-12)
    assert row["mad"] == pytest.approx(stats.median_abs_deviation(values), rel=1e-12)
    assert row["scale"] == pytest.approx(stats.median_abs_deviation(values, scale="normal"), rel=1e-4)


def test_of_too_little_history_it_says_so_and_when_there_will_be_enough() -> None:
    row = of("volume", 1)
    assert (row["baseline"], row["reason"], row["observations"]) == (None, TOO_FEW, 60)
    assert np.isnan(row["median"])
    assert row["fills_at"] == hour(2)
    assert of("volume", 2)["baseline"] == "all_hours"


def test_the_minutes_of_the_hour_itself_and_after_do_not_count() -> None:
    whole = baselines(MEASURES, [hour(number) for number in range(700, 720)])
    for number in (700, 711):
        part = baselines(measured(ROWS.iloc[: number * 60 + 17]), [hour(number)])
        there = whole[whole["hour_start"] == hour(number)]
        pd.testing.assert_frame_equal(part.reset_index(drop=True), there.reset_index(drop=True))


def test_a_share_is_of_the_minutes_of_which_it_is_known() -> None:
    rows = ROWS.iloc[:240].copy()
    rows.loc[180:209, ["close", "high", "low"]] = rows.loc[180, "close"]
    row = of("changes", 4, measured(rows))
    assert row["share"] == pytest.approx((239 - 29) / 239)
    assert np.isnan(row["median"])
    assert np.isnan(row["scale"])


def test_one_outlier_in_ten_hardly_moves_it() -> None:
    random = np.random.default_rng(5)
    values = random.normal(size=(1, 400))
    values[0, :40] = 1e6
    centre, _, scale = robust(values, 0.0)
    assert abs(centre[0]) < 0.3
    assert scale[0] == pytest.approx(1, abs=0.3)


def test_of_values_that_are_mostly_the_same_the_scale_is_of_the_mean_deviation_and_never_below_the_floor() -> None:
    values = np.array([[0.0] * 7 + [1.0, 2.0, 3.0], [5.0] * 10])
    centre, mad, scale = robust(values, 0.1)
    assert (centre.tolist(), mad.tolist()) == ([0, 5], [0, 0])
    assert scale.tolist() == pytest.approx([SCALE_OF_MEAN * 0.6, 0.1])


@settings(deadline=None)
@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=60), st.integers(0, 9))
def test_median_and_mad_are_numpy_s_and_scipy_s(values: list[float], missing: int) -> None:
    rows = np.array([[1.0, *values], [2.0, *values[::-1]]])
    rows[1, 1 : 1 + missing] = np.nan
    centre, mad, scale = robust(rows, 0.5)
    np.testing.assert_allclose(centre, np.nanmedian(rows, axis=1))
    np.testing.assert_allclose(mad, stats.median_abs_deviation(rows, axis=1, nan_policy="omit"), rtol=1e-9, atol=1e-9)
    assert (scale >= np.maximum(SCALE_OF_MAD * mad * (1 - 1e-12), 0.5)).all()


def test_a_market_without_a_book_has_no_row_of_its_spread() -> None:
    rows = baselines(measured(ROWS.iloc[:300].assign(spread_bps=np.nan, imbalance=np.nan)), [hour(4)])
    assert set(rows["measure"]) == {"return", "volume", "trade_size", "trades", "changes"}


def test_hours_long_before_and_after_all_that_is_known_have_none() -> None:
    measures = measured(ROWS.iloc[:300])
    assert baselines(measures, [hour(-2000), hour(0), hour(5000)]).empty
    assert LEAST == 120
