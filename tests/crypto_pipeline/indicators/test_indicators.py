"""Indicators against published reference values and plain loops, and over a window against the whole history."""

import csv
import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib

from crypto_pipeline import indicators
from crypto_pipeline.indicators import study
from crypto_pipeline.indicators._file import plan
from crypto_pipeline.silver.candles import INTERVALS
from tests.crypto_pipeline.market import market

STUDIES = plan().studies
NAMES = ("open", "high", "low", "close", "volume")


def computed(candles: pd.DataFrame, studies: Iterable[indicators.Study]) -> pd.DataFrame:
    return pd.DataFrame(indicators.compute(candles, studies))


def a_study_of_each() -> list[indicators.Study]:
    """The first study of every indicator that there is: one that no file names is not tested, and so is refused."""
    return [next(each for each in STUDIES if each.indicator == name) for name in indicators.found()]


@pytest.fixture(scope="module")
def bars(recorded: Path) -> pd.DataFrame:
    """The reference's 502 bars, as the minutes of one day: one session."""
    with (recorded / "indicators" / "quotes" / "default.csv").open() as file:
        rows = list(csv.DictReader(file))
    values = {name: [float(row[name]) for row in rows] for name in NAMES}
    frame = pd.DataFrame(values)
    typical = (frame["high"] + frame["low"] + frame["close"]) / 3
    start = pd.Timestamp("2026-08-01") + pd.to_timedelta(np.arange(len(rows)), unit="min")
    return frame.assign(interval_start=start, quote_volume=typical * frame["volume"])


@pytest.mark.parametrize(
    ("reference", "field", "column", "warm_up"),
    [
        ("sma", "sma", "sma_20", 20),
        ("ema", "ema", "ema_20", 20),
        ("rsi", "rsi", "rsi_14", 15),
        # The reference seeds each mean of its own; TA-Lib starts both at the same candle.
        ("macd", "macd", "macd_12_26_9", 250),
        ("macd", "signal", "macd_signal_12_26_9", 250),
        ("macd", "histogram", "macd_hist_12_26_9", 250),
        ("macd", "slowEma", "ema_26", 26),
        ("macd", "fastEma", "ema_12", 12),
        ("bb", "upperBand", "bb_upper_20_2", 20),
        ("bb", "sma", "bb_middle_20_2", 20),
        ("bb", "lowerBand", "bb_lower_20_2", 20),
        ("atr", "atr", "atr_14", 15),
        # Its volume-weighted mean is of typical prices; ours of what was paid, which the bars are made to be here.
        ("vwap", "vwap", "vwap_session", 0),
    ],
)
def test_an_indicator_agrees_with_the_reference_to_the_ninth_digit(
    reference: str, field: str, column: str, warm_up: int, bars: pd.DataFrame, recorded: Path
) -> None:
    expected = json.loads((recorded / "indicators" / "results" / f"{reference}.standard.json").read_text())
    values = computed(bars, [*STUDIES, study("ema_20")])[column].to_numpy()
    compared = 0
    for ours, theirs in zip(values[warm_up:], expected[warm_up:], strict=True):
        if theirs.get(field) is not None:
            assert ours == pytest.approx(theirs[field], rel=1e-9, abs=1e-9)
            compared += 1
    assert compared > 200


def plain_stochastic(candles: pd.DataFrame) -> dict[str, list[float]]:
    high, low, close = (candles[name].tolist() for name in ("high", "low", "close"))
    raw, k = [math.nan] * 13, [math.nan] * 15
    for t in range(13, len(close)):
        lowest, highest = min(low[t - 13 : t + 1]), max(high[t - 13 : t + 1])
        raw.append(100 * (close[t] - lowest) / (highest - lowest) if highest > lowest else math.nan)
    k += [sum(raw[t - 2 : t + 1]) / 3 for t in range(15, len(close))]
    d = [math.nan] * 17 + [sum(k[t - 2 : t + 1]) / 3 for t in range(17, len(close))]
    return {"stoch_k_14_3_3": [math.nan] * 17 + k[17:], "stoch_d_14_3_3": d}


def plain_adx(candles: pd.DataFrame) -> dict[str, list[float]]:
    high, low, close = (candles[name].tolist() for name in ("high", "low", "close"))
    plus_sum = minus_sum = range_sum = 0.0
    columns: dict[str, list[float]] = {"plus_di_14": [], "minus_di_14": [], "adx_14": []}
    indexes: list[float] = []
    average = math.nan
    for t in range(len(close)):
        if t:
            rise, fall = high[t] - high[t - 1], low[t - 1] - low[t]
            plus, minus = rise if rise > max(fall, 0) else 0.0, fall if fall > max(rise, 0) else 0.0
            reach = max(high[t] - low[t], abs(high[t] - close[t - 1]), abs(low[t] - close[t - 1]))
            # The first sum is of 13 candles; then each sheds a fourteenth of itself.
            keep = 1.0 if t < 14 else 13 / 14
            plus_sum, minus_sum, range_sum = (
                keep * plus_sum + plus,
                keep * minus_sum + minus,
                keep * range_sum + reach,
            )
        if t < 14:
            di = (math.nan, math.nan)
        else:
            di = (100 * plus_sum / range_sum, 100 * minus_sum / range_sum)
            total = di[0] + di[1]
            indexes.append(100 * abs(di[0] - di[1]) / total if total else 0.0)
            if len(indexes) == 14:
                average = sum(indexes) / 14
            elif len(indexes) > 14:
                average = (13 * average + indexes[-1]) / 14
        for name, value in zip(columns, (*di, average), strict=True):
            columns[name].append(value)
    return columns


def plain_sessions(candles: pd.DataFrame) -> dict[str, list[float]]:
    day, balance, spent, traded, before = None, math.nan, 0.0, 0.0, math.nan
    columns: dict[str, list[float]] = {"vwap_session": [], "obv_session": []}
    for row in candles.itertuples():
        if row.interval_start.date() != day:
            day, balance, spent, traded = row.interval_start.date(), 0.0, 0.0, 0.0
        spent, traded = spent + row.quote_volume, traded + row.volume
        balance += row.volume * ((row.close > before) - (row.close < before))
        columns["vwap_session"].append(spent / traded)
        columns["obv_session"].append(math.nan if math.isnan(before) else balance)
        before = row.close
    return columns


@pytest.mark.parametrize("plain", [plain_stochastic, plain_adx, plain_sessions])
def test_an_indicator_equals_its_plain_loop(plain) -> None:  # type: ignore[no-untyped-def]
    candles = market(3000)
    values = computed(candles, STUDIES)
    for name, expected in plain(candles).items():
        np.testing.assert_allclose(values[name], expected, rtol=1e-9, atol=1e-9, err_msg=name)


def test_adx_and_the_bands_are_ta_lib_s_where_the_market_moves() -> None:
    candles = market(3000).query("open != close")
    values = computed(candles, STUDIES)
    high, low, close = (candles[name].to_numpy() for name in ("high", "low", "close"))
    np.testing.assert_allclose(values["adx_14"], talib.ADX(high, low, close, timeperiod=14), rtol=1e-9)
    bands = talib.BBANDS(close, timeperiod=20, nbdevup=2, nbdevdn=2)
    for name, band in zip(("bb_upper_20_2", "bb_middle_20_2", "bb_lower_20_2"), bands, strict=True):
        np.testing.assert_allclose(values[name], band, rtol=1e-9)


@pytest.mark.parametrize("each", a_study_of_each(), ids=str)
@pytest.mark.parametrize("still", [0, 100, 1000], ids=["moving", "still for long", "still for longer"])
@pytest.mark.parametrize("interval", ["1m", "1d"])
def test_an_indicator_forgets_what_lies_before_its_look_back(each: indicators.Study, still: int, interval: str) -> None:
    seconds = INTERVALS[interval]
    reach = each.lookback(seconds)
    candles = market(reach + 2000, seconds=seconds)
    flat = slice(len(candles) - still - 1, len(candles) - 2)
    candles.loc[flat, ["open", "high", "low", "close"]] = candles["close"].iloc[len(candles) - still - 2]
    whole = computed(candles, [each])
    window = computed(candles.tail(reach + 1), [each])
    for name in each.columns:
        assert window[name].iloc[-1] == pytest.approx(whole[name].iloc[-1], rel=1e-9, abs=1e-7, nan_ok=True), name


@pytest.mark.parametrize("each", a_study_of_each(), ids=str)
def test_the_warm_up_is_null_and_then_every_candle_of_a_moving_market_has_a_value(each: indicators.Study) -> None:
    values = computed(market(1500).query("open != close"), [each])
    for name in each.columns:
        known = values[name].notna().to_numpy()
        assert known.any()
        assert known[known.argmax() :].all(), name
    warm_up = {"sma": 19, "ema": 11, "rsi": 14, "macd": 33, "bb": 19, "atr": 14, "stoch": 17, "adx": 27}
    warm_up |= {"vwap_session": 0, "obv_session": 1}
    assert values[each.columns[0]].notna().argmax() == warm_up[each.indicator]


@pytest.mark.parametrize("each", a_study_of_each(), ids=str)
@pytest.mark.parametrize("price", [1e-12, 1e12])
def test_the_unit_of_a_price_changes_no_digit(each: indicators.Study, price: float) -> None:
    candles = market(500)
    values = computed(candles, [each])
    prices = ["open", "high", "low", "close", "quote_volume"]
    scaled = computed(candles.assign(**(candles[prices] * price)), [each])
    unit = price if indicators.found()[each.indicator].is_price else 1.0
    for name in each.columns:
        np.testing.assert_allclose(scaled[name] / unit, values[name], rtol=1e-7, atol=1e-6, err_msg=name)


def test_bands_of_a_price_that_hardly_moves_hold_nine_digits_and_more() -> None:
    close = 50_000 + np.arange(3000) % 7 * 0.01
    frame = market(3000).assign(**dict.fromkeys(("open", "high", "low", "close"), close))
    values = computed(frame, [study("bb_20_2")])
    half = values["bb_upper_20_2"].iloc[-1] - values["bb_middle_20_2"].iloc[-1]
    assert half == pytest.approx(2 * np.std(close[-20:] - 50_000), rel=1e-6)


@pytest.mark.parametrize("each", STUDIES, ids=str)
def test_a_column_says_formula_warm_up_source_and_unit(each: indicators.Study) -> None:
    text = each.comment
    assert "=" in text or "Sum" in text
    assert "Warm-up: " in text
    assert "Source: " in text
    assert "asset" in text or "0 to 100" in text
    assert all(name.startswith(tuple(indicators.found()[each.indicator].columns)) for name in each.columns)


def test_a_session_s_sums_begin_anew_at_midnight_utc() -> None:
    candles = market(2000)
    values = computed(candles, STUDIES)
    midnight = candles.index[candles["interval_start"] == datetime(2026, 8, 2, tzinfo=UTC).replace(tzinfo=None)][0]
    row = candles.loc[midnight]
    assert values.loc[midnight, "vwap_session"] == pytest.approx(row["quote_volume"] / row["volume"], rel=1e-12)
    assert abs(values.loc[midnight, "obv_session"]) in (0.0, pytest.approx(row["volume"], rel=1e-12))
