"""Hours reduced from minutes, against the returns of gold's grid, and what new and late minutes touch."""

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import Row, SparkSession

from crypto_pipeline.gold import forecast_inputs
from crypto_pipeline.gold._prices import SERIES, grid, log_returns
from crypto_pipeline.gold.forecast_inputs import TABLE
from crypto_pipeline.refresh import refresh
from crypto_pipeline.silver import completeness, ohlcv_1m
from tests.crypto_pipeline.gold.forecasting import FIRST
from tests.crypto_pipeline.gold.test_forecast_models import at
from tests.crypto_pipeline.memory_lake import MemoryLake

MINUTES = 300
QUIET = {*range(61, 65), 119, 120, 180}
"""Proven to be without a trade: within an hour, over its end, and at its beginning."""
MISSING = {130, 131, *range(190, 200)}
"""Two minutes of the third hour, and ten of the fourth."""


def candle(minute: int, close: float, symbol: str = "BTCUSDT") -> dict[str, Any]:
    start = (FIRST + pd.Timedelta(minutes=minute)).to_pydatetime()
    price = Decimal(str(round(close, 8)))
    return {
        "exchange": "binance",
        "symbol": symbol,
        "interval_start": start,
        "close": price,
        "high": price + 1,
        "low": price - 1,
        "quote_volume": Decimal(10),
        "taker_buy_quote_volume": Decimal(4),
        "trade_count": 2,
        "month": f"{start:%Y-%m}",
    }


def quiet(minute: int, proof: str = "exchange_kline", symbol: str = "BTCUSDT") -> dict[str, Any]:
    start = (FIRST + pd.Timedelta(minutes=minute)).to_pydatetime()
    named = {"exchange": "binance", "symbol": symbol, "interval_start": start, "month": f"{start:%Y-%m}"}
    return named | {"reason": "no_trades", "proof": proof}


def tape(seed: int = 0) -> dict[int, float]:
    """The close of each minute that has a candle."""
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(size=MINUTES) * 1e-3))
    return {minute: float(closes[minute]) for minute in range(MINUTES) if minute not in QUIET | MISSING}


@pytest.fixture
def lake(spark: SparkSession) -> MemoryLake:
    """Five hours of two symbols, of which one never rests, and the first minutes of quiet are not proven elsewhere."""
    lake = MemoryLake(spark)
    closes = tape(1)
    lake.put(ohlcv_1m.TABLE, [candle(minute, close) for minute, close in tape().items()])
    lake.put(ohlcv_1m.TABLE, [candle(minute, close, "ETHUSDT") for minute, close in closes.items()])
    lake.put(completeness.TABLE, [*map(quiet, sorted(QUIET)), quiet(61, "none", "ETHUSDT")])
    return lake


def by_grid(closes: dict[int, float], silent: set[int]) -> pd.Series:
    """The one-minute log returns of gold's grid, by number of the minute."""
    frame = pd.DataFrame([candle(minute, close) for minute, close in closes.items()])
    frame["close"] = frame["close"].astype(float)
    rests = pd.DataFrame([quiet(minute) for minute in sorted(silent)], columns=[*SERIES, "interval_start"])
    return log_returns(grid(frame, rests, 60)).iloc[:, 0].reset_index(drop=True)


def run(lake: MemoryLake, minutes: float, **how: bool) -> list[Row]:
    """The rows that a run writes, when so many minutes of the market are over."""
    now = at(0) + pd.Timedelta(minutes=minutes - 5).to_pytimedelta()
    before = len(lake.written)
    lake.set_clock(now)
    assert refresh(lake, forecast_inputs, now, **how).is_sound
    return [row for _, rows in lake.written[before:] for row in rows]


def says(rows: list[Row]) -> list[dict[str, Any]]:
    return [{**row.asDict(), "ingestion_ts": None} for row in rows]


def test_the_hours_of_minutes_new_repeated_and_late(lake: MemoryLake) -> None:
    run(lake, MINUTES - 10)
    rows = {(row.symbol, (row.interval_start - FIRST).total_seconds() / 3600): row for row in lake.rows(TABLE)}
    assert len(rows) == 10
    for symbol, seed, silent in (("BTCUSDT", 0, QUIET), ("ETHUSDT", 1, set())):
        returns = by_grid(tape(seed), silent)
        for hour in range(5):
            row, mine = rows[symbol, hour], returns[60 * hour : 60 * hour + 60]
            assert row.observations == mine.count(), (symbol, hour)
            if row.realised_variance is not None:
                expected = (mine**2).sum() * 60 / mine.count()
                assert row.realised_variance == pytest.approx(expected, rel=1e-9)
    of_bitcoin = [rows["BTCUSDT", hour] for hour in range(5)]
    assert [row.observations for row in of_bitcoin] == [59, 60, 57, 49, 60]
    assert [row.reason for row in of_bitcoin] == [None, None, None, "too_few_minutes", "hour_is_open"]
    assert rows["ETHUSDT", 1].observations == 54, "what is not proven to be quiet is missing"
    assert (of_bitcoin[1].quote_volume, of_bitcoin[1].taker_buy_quote_volume) == (550, 220)
    assert of_bitcoin[1].close == pytest.approx(tape()[118], abs=1e-8)
    assert of_bitcoin[1].high == pytest.approx(max(v for m, v in tape().items() if 60 <= m < 120) + 1, abs=1e-8)

    assert run(lake, MINUTES - 10) == [], "nothing was new"
    closed = run(lake, MINUTES + 1)
    assert {(row.symbol, row.interval_start, row.reason) for row in closed} == {
        (symbol, (FIRST + pd.Timedelta(hours=4)).to_pydatetime(), None) for symbol in ("BTCUSDT", "ETHUSDT")
    }

    lake.put(ohlcv_1m.TABLE, [candle(minute, 100) for minute in range(190, 200)])
    mended = run(lake, MINUTES + 2)
    assert [(row.symbol, row.interval_start.hour, row.reason) for row in mended] == [("BTCUSDT", 3, None)]

    assert run(lake, MINUTES + 2, from_scratch=True) == []
    anew = MemoryLake(lake.spark)
    anew.like(lake, [ohlcv_1m.TABLE, completeness.TABLE])
    run(anew, MINUTES + 2)
    assert says(anew.rows(TABLE)) == says(lake.rows(TABLE))


def test_the_last_minute_of_an_hour_is_where_the_next_one_starts_from(spark: SparkSession) -> None:
    lake = MemoryLake(spark)
    flat = [candle(minute, 100) for minute in range(120)]
    lake.put(ohlcv_1m.TABLE, flat)
    run(lake, 121)
    assert [row.realised_variance for row in lake.rows(TABLE)] == [0, 0]
    lake.put(ohlcv_1m.TABLE, [candle(59, 110)])
    assert [row.interval_start.hour for row in run(lake, 121)] == [0, 1]
    lake.put(completeness.TABLE, [quiet(70)])  # as it was believed before the candle came
    assert run(lake, 121) == []
    jump = float(np.log(1.1) ** 2)
    first, second = lake.rows(TABLE)
    assert first.realised_variance == pytest.approx(jump * 60 / 59)
    assert second.realised_variance == pytest.approx(jump)
