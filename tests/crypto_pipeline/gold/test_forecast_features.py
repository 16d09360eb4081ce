"""What is known at the end of each hour, against pandas, by hand, and with the future cut off."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from crypto_pipeline.gold._forecast_features import FEATURES, FLOOR, LOOKBACK, examples, trailing_mean, trailing_sum
from tests.crypto_pipeline.gold.forecasting import FIRST, HOUR, market


def row(rows: pd.DataFrame, hour: int) -> pd.Series:
    """Of the forecast of the hour so many after FIRST."""
    return rows[rows["interval_start"] == FIRST + hour * HOUR].iloc[0]


def test_features_are_those_of_pandas_rolling_windows() -> None:
    hours = market(300)
    found = row(examples(hours), 250)
    before = hours.iloc[:250]
    variance, returns = before["realised_variance"], np.log(before["close"]).diff()
    deviation = np.sqrt(variance.tail(24).mean())
    expected = {
        "log_variance_1h": np.log(variance.iloc[-1]),
        "log_variance_24h": np.log(variance.tail(24).mean()),
        "log_variance_168h": np.log(variance.tail(168).mean()),
        "variance_4h_to_24h": np.log(variance.tail(4).mean() / variance.tail(24).mean()),
        "return_1h": returns.iloc[-1] / deviation,
        "return_4h": returns.tail(4).sum() / (2 * deviation),
        "return_24h": returns.tail(24).sum() / (np.sqrt(24) * deviation),
        "range_1h": np.log(before["high"].iloc[-1] / before["low"].iloc[-1]) / deviation,
        "volume_to_24h": np.log1p(before["quote_volume"].iloc[-1] / before["quote_volume"].tail(24).mean()),
        "taker_share": before["taker_buy_quote_volume"].iloc[-1] / before["quote_volume"].iloc[-1] - 0.5,
        "hour_cos": np.cos(2 * np.pi * (250 % 24) / 24),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_truth_is_of_the_hour_after_the_features() -> None:
    hours = market(300)
    found, came = row(examples(hours), 250), hours.iloc[250]
    assert found["variance"] == came["realised_variance"]
    assert found["went_up"] == float(came["close"] > hours.iloc[249]["close"])


@pytest.mark.parametrize("cut", [200, 201, 250, 299])
def test_cutting_off_the_future_leaves_all_features_as_they_were(cut: int) -> None:
    hours = market(300)
    whole, part = examples(hours), examples(hours.iloc[:cut])
    columns = ["interval_start", *FEATURES, "observations", "reason"]
    before = whole[whole["interval_start"] <= FIRST + cut * HOUR]
    assert_frame_equal(before[columns].reset_index(drop=True), part[columns], check_exact=True)


def test_a_row_rests_on_169_hours_and_comes_out_the_same_to_the_last_bit_wherever_the_series_begins() -> None:
    hours = pd.concat([market(400), market(400, "ETHUSDT", seed=1)])
    whole = examples(hours)
    last = FIRST + 400 * HOUR
    short = examples(hours[hours["interval_start"] >= last - (LOOKBACK + 1) * HOUR])
    expected, found = (each[each["interval_start"] == last].reset_index(drop=True) for each in (whole, short))
    assert len(found) == 2
    assert_frame_equal(found, expected, check_exact=True)


def test_the_first_row_with_all_features_has_nine_tenths_of_the_hours_it_looks_back_on() -> None:
    rows = examples(market(300))
    complete = rows[rows["reason"].isna()]
    assert complete["interval_start"].iloc[0] == FIRST + 152 * HOUR
    assert complete["observations"].iloc[0] == 152
    assert set(rows["reason"].dropna()) == {"too_little_history"}


def test_after_a_missing_hour_there_is_no_forecast_and_its_neighbours_have_no_return_over_it() -> None:
    hours = market(300).drop(index=250)
    rows = examples(hours)
    assert row(rows, 251)["reason"] == "last_hour_unknown"
    assert np.isnan(row(rows, 250)["variance"])
    assert np.isnan(row(rows, 251)["went_up"]), "the close before it is not known"
    assert np.isnan(row(rows, 252)["return_1h"])
    assert row(rows, 256)["reason"] is None


def test_a_price_that_never_moves_has_the_least_variance_and_does_not_rise() -> None:
    hours = market(300).assign(close=100.0, high=100.0, low=100.0, realised_variance=0.0)
    found = row(examples(hours), 250)
    assert found["log_variance_1h"] == pytest.approx(np.log(FLOOR))
    assert (found["variance"], found["went_up"], found["return_1h"], found["range_1h"]) == (FLOOR, 0, 0, 0)
    assert found["reason"] is None


def test_an_hour_in_which_nothing_traded_has_no_takers_share_of_its_own() -> None:
    hours = market(300)
    hours.loc[249, ["quote_volume", "taker_buy_quote_volume", "trade_count"]] = 0
    found = row(examples(hours), 250)
    assert (found["taker_share"], found["volume_to_24h"], found["trades_to_24h"]) == (0, 0, 0)


def test_of_nothing_there_is_nothing_and_of_one_hour_one_row_that_says_why() -> None:
    assert examples(market(0)).empty
    rows = examples(market(1))
    assert rows["reason"].tolist() == ["too_little_history"]
    assert rows["interval_start"].tolist() == [FIRST + HOUR]


def test_trailing_sums_and_means_are_those_of_pandas() -> None:
    values = np.random.default_rng(5).normal(size=(60, 2))
    values[[3, 40, 41, 42], 0] = np.nan
    frame = pd.DataFrame(values)
    np.testing.assert_allclose(trailing_sum(values, 7), frame.fillna(0).rolling(7, min_periods=1).sum(), atol=1e-12)
    np.testing.assert_allclose(trailing_mean(values, 10), frame.rolling(10, min_periods=9).mean(), atol=1e-12)
