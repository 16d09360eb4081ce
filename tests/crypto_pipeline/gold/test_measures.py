"""What a minute of a market is measured by."""

import numpy as np
import pandas as pd
import pytest

from crypto_pipeline.gold._measures import CARRIED, MEASURES, SHARES, measured
from tests.crypto_pipeline.gold.minutes import minutes, quiet

BTC = ("binance", "BTCUSDT")


def test_each_measure_is_what_its_comment_says() -> None:
    rows = minutes(3)
    values = {name: float(frame[BTC].iloc[2]) for name, frame in measured(rows).items()}
    last, before = rows.iloc[2], rows.iloc[1]
    assert values["return"] == pytest.approx(np.log(last["close"] / before["close"]), rel=1e-12)
    assert np.exp(values["volume"]) == pytest.approx(last["volume"])
    assert np.exp(values["trade_size"]) == pytest.approx(last["volume"] / last["trade_count"])
    assert np.exp(values["spread"]) == pytest.approx(last["spread_bps"])
    assert values["imbalance"] == last["imbalance"]
    assert np.isnan(values["away"]), "there is no other market"
    assert (values["trades"], values["changes"]) == (1, 1)


def test_a_quiet_minute_has_no_volume_and_a_return_of_0_and_a_missing_one_has_nothing() -> None:
    rows = quiet(minutes(6), slice(2, 3)).drop(index=4)
    measures = measured(rows)
    assert measures["return"][BTC].iloc[2] == 0
    assert np.isnan(measures["volume"][BTC].iloc[2])
    assert measures["trades"][BTC].tolist()[:4] == [1, 1, 0, 1]
    assert measures["return"][BTC].isna().tolist() == [True, False, False, False, True, True]
    assert np.isnan(measures["trades"][BTC].iloc[4])


def test_a_price_that_stands_changes_in_no_minute() -> None:
    rows = minutes(4)
    rows.loc[2, ["close", "high", "low"]] = rows.loc[1, "close"]
    assert measured(rows)["changes"][BTC].tolist()[1:] == [1, 0, 1]


def test_a_market_is_measured_for_an_hour_after_its_last_trade() -> None:
    measures = measured(quiet(minutes(200), slice(10, 200)))
    known = {name: np.flatnonzero(measures[name][BTC].notna()).max() for name in ("return", "spread", "trades")}
    assert set(known.values()) == {9 + CARRIED}


def test_it_lies_as_far_away_as_from_the_median_of_the_markets_and_of_two_from_the_other() -> None:
    one = minutes(1)
    two = [one.assign(usdt_price=100.0), one.assign(exchange="b", usdt_price=101.0), minutes(1, "ETHUSDT")]
    of_two = measured(pd.concat(two, ignore_index=True))["away"]
    assert of_two[BTC].iloc[0] == pytest.approx(np.log(100 / 101))
    assert of_two["b", "BTCUSDT"].iloc[0] == pytest.approx(np.log(101 / 100))
    assert of_two["binance", "ETHUSDT"].isna().all()
    of_three = measured(pd.concat([*two, one.assign(exchange="c", usdt_price=110.0)], ignore_index=True))["away"]
    assert of_three.xs("BTCUSDT", axis=1, level="symbol").iloc[0].tolist() == pytest.approx(
        [0, np.log(100 / 101), np.log(110 / 101)]
    ), "b, binance, c"


def test_of_nothing_there_is_nothing() -> None:
    measures = measured(minutes(1).iloc[:0])
    assert set(measures) > {*MEASURES, *SHARES}
    assert all(frame.empty for frame in measures.values())


def test_a_minute_comes_out_the_same_in_a_small_window_and_in_a_large_one() -> None:
    rows = quiet(quiet(minutes(600), slice(380, 400)), slice(100, 340)).drop(index=[405, 406])
    whole = measured(rows)
    part = measured(rows[rows.index >= 420 - 120])
    for name in (*MEASURES, *SHARES):
        pd.testing.assert_frame_equal(part[name].iloc[120:], whole[name].iloc[420:], check_freq=False, rtol=0, atol=0)
