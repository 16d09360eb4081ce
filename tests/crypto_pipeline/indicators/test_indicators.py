"""Indicators against published reference values, and over a window against the whole history."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crypto_pipeline import indicators
from crypto_pipeline.indicators import bollinger, ema, macd, rsi, sma
from crypto_pipeline.silver.indicators import over_series


@pytest.fixture(scope="module")
def bars(recorded: Path) -> pd.DataFrame:
    with (recorded / "indicators" / "quotes" / "default.csv").open() as file:
        rows = list(csv.DictReader(file))
    return pd.DataFrame(
        {name: [float(row[name]) for row in rows] for name in ("open", "high", "low", "close", "volume")}
    )


@pytest.mark.parametrize(
    ("reference", "field", "column", "warm_up"),
    [
        ("sma", "sma", "sma_20", 20),
        ("rsi", "rsi", "rsi_14", 15),
        ("macd", "macd", "macd_12_26_9", 250),
        ("macd", "signal", "macd_signal_12_26_9", 250),
        ("macd", "histogram", "macd_hist_12_26_9", 250),
        ("bb", "upperBand", "bb_upper_20_2", 20),
        ("bb", "sma", "bb_middle_20_2", 20),
        ("bb", "lowerBand", "bb_lower_20_2", 20),
    ],
)
def test_an_indicator_agrees_with_the_reference_to_the_ninth_digit(
    reference: str, field: str, column: str, warm_up: int, bars: pd.DataFrame, recorded: Path
) -> None:
    expected = json.loads((recorded / "indicators" / "results" / f"{reference}.standard.json").read_text())
    values = indicators.compute(bars)[column].to_numpy()
    compared = 0
    for ours, theirs in zip(values[warm_up:], expected[warm_up:], strict=True):
        if theirs.get(field) is not None:
            assert ours == pytest.approx(theirs[field], rel=1e-9, abs=1e-9)
            compared += 1
    assert compared > 200


def test_ema_agrees_with_the_reference_where_the_reference_has_its_period(bars: pd.DataFrame, recorded: Path) -> None:
    expected = json.loads((recorded / "indicators" / "results" / "macd.standard.json").read_text())
    values = indicators.compute(bars)
    for ours, theirs in zip(values["ema_26"][250:], expected[250:], strict=True):
        assert ours == pytest.approx(theirs["slowEma"], rel=1e-9)


@pytest.mark.parametrize("module", indicators.modules().values(), ids=lambda module: module.__name__.rpartition(".")[2])
def test_an_indicator_forgets_what_lies_before_its_look_back(module) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(3)
    history = module.LOOKBACK + 500
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.001, history)))
    candles = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": 1.0})
    whole, window = module.columns(candles), module.columns(candles.tail(module.LOOKBACK + 1))
    for name in module.COLUMNS:
        assert window[name][-1] == pytest.approx(whole[name][-1], rel=1e-9, abs=1e-9 * close[-1] * 1e-3)


@pytest.mark.parametrize("module", [sma, ema, rsi, macd, bollinger], ids=lambda m: m.__name__.rpartition(".")[2])
def test_the_warm_up_is_null(module) -> None:  # type: ignore[no-untyped-def]
    candles = pd.DataFrame({name: np.arange(1.0, 8.0) for name in ("open", "high", "low", "close", "volume")})
    assert all(np.isnan(values).all() for values in module.columns(candles).values())


def series(minutes: list[int], ids: list[tuple[int, int]], closes: list[float], wanted_from: int = 0) -> pd.DataFrame:
    """A one-minute series: minutes since a start, first and last trade id of each, and closes."""
    start = pd.Timestamp("2026-08-06 07:00")
    return pd.DataFrame(
        {
            "exchange": "binance",
            "symbol": "BTCUSDT",
            "interval": "1m",
            "interval_seconds": 60,
            "interval_start": [start + pd.Timedelta(minutes=m) for m in minutes],
            "first_trade_id": [first for first, _ in ids],
            "last_trade_id": [last for _, last in ids],
            "is_closed": True,
            **dict.fromkeys(("open", "high", "low", "close"), closes),
            "volume": 1.0,
            "wanted_from": start + pd.Timedelta(minutes=wanted_from),
        }
    )


def test_a_proven_quiet_minute_counts_as_a_flat_candle_and_gets_no_row() -> None:
    closes = [float(n) for n in range(1, 20)]
    minutes = [*range(18), 19]
    ids = [(n, n) for n in range(19)]
    rows = over_series(series(minutes, ids, closes))
    assert len(rows) == 19
    assert not rows["bridged"].any()
    assert rows["sma_20"].iloc[-1] == pytest.approx((sum(closes) + closes[-2]) / 20)


def test_an_unexplained_absence_is_bridged_and_says_so() -> None:
    ids = [*((n, n) for n in range(10)), *((n, n) for n in range(20, 31))]
    rows = over_series(series([*range(10), *range(15, 26)], ids, [float(n) for n in range(1, 22)]))
    assert rows["bridged"].tolist() == [False] * 10 + [True] * 11
    assert rows["sma_20"].iloc[-1] == pytest.approx(sum(range(2, 22)) / 20), "no candle is invented across it"


def test_only_rows_from_the_first_changed_candle_on_come_back() -> None:
    rows = over_series(series(list(range(30)), [(n, n) for n in range(30)], [1.0] * 30, wanted_from=28))
    assert rows["interval_start"].dt.minute.tolist() == [28, 29]
