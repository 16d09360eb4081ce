"""What the simulator plants is found in its own candles, and next to nothing else is."""

from datetime import timedelta
from functools import lru_cache

import pandas as pd
import pytest

from crypto_pipeline.gold import _measures, _unusual
from crypto_pipeline.gold.anomaly_baselines import baselines
from streaming.simulator.candles import minute_candles
from streaming.simulator.market import MINUTE, Market

planted = pytest.importorskip("streaming.simulator.planted", reason="this simulator plants nothing")

SEED, OPENING = 7, 1_790_985_600_000_000
"""2026-10-03 00:00 UTC."""
DAYS = 3
LEARNED = 24 * 60
"""Minutes of usual life at first, of which baselines are made."""


@lru_cache
def found(symbol: str) -> pd.DataFrame:
    """What is unusual in the days, with the `minute` since the opening."""
    market = Market(SEED, OPENING, 2.0, is_planted=True)
    tape = market.tape(symbol)
    assert tape
    candles = minute_candles(tape, 0, DAYS * 1440)
    pair = tape.instrument
    frame = pd.DataFrame(candles.values, columns=[*list("ohlc"), "v", "q", "tv", "tq", "count", "first", "last"])
    price, size = 10.0**-pair.price_decimals, 10.0**-pair.quantity_decimals
    frame["interval_start"] = pd.Timestamp(OPENING, unit="us") + pd.to_timedelta(candles.minute, unit="min")
    traded = frame["count"] > 0
    values = {"close": frame["c"] * price, "high": frame["h"] * price, "low": frame["l"] * price}
    values |= {"volume": frame["v"] * size, "trade_count": frame["count"].astype(float)}
    rows = pd.DataFrame({name: column.where(traded) for name, column in values.items()}).assign(
        exchange="binance",
        symbol=symbol,
        base_asset=pair.base,
        interval_start=frame["interval_start"],
        usdt_price=values["close"].where(traded),
        is_quiet=~traded,
        spread_bps=float("nan"),
        imbalance=float("nan"),
    )
    measures = _measures.measured(rows)
    hours = [hour.to_pydatetime() for hour in pd.date_range(rows["interval_start"].min(), periods=DAYS * 24, freq="h")]
    made = _unusual.found(
        measures, baselines(measures, hours), None, {("binance", symbol): pair.base}, hours[LEARNED // 60 :]
    )
    minute = (made["interval_start"] - rows["interval_start"].iloc[0]) // timedelta(minutes=1)
    return made.assign(minute=minute.astype(int))


def told(symbol: str, kind: str) -> list[tuple[int, int]]:
    """The minutes `[start, end)` of what is planted after the learning."""
    end = OPENING + DAYS * 1440 * MINUTE
    every = planted.anomalies(SEED, OPENING, symbol, OPENING + LEARNED * MINUTE, end)
    spans = [((one.start - OPENING) // MINUTE, (one.end - OPENING) // MINUTE) for one in every if one.kind == kind]
    return [span for span in spans if span[0] >= LEARNED and span[1] < DAYS * 1440]


def minutes_of(symbol: str, kind: str) -> set[int]:
    rows = found(symbol)
    return set(rows.loc[rows["kind"] == kind, "minute"])


def test_every_minute_of_a_burst_is_found_by_the_size_of_its_trades_and_no_other_is() -> None:
    bursts = told("BTCUSDT", "volume_burst")
    assert len(bursts) >= 4
    # The simulator's minutes differ so much in how many trades they have that volume alone tells of some only.
    planted_in = {minute for start, end in bursts for minute in range(start, end)}
    assert minutes_of("BTCUSDT", "trade_size") == planted_in
    assert minutes_of("BTCUSDT", "volume") & planted_in


def test_a_price_that_stands_although_it_trades_is_found_within_the_stand() -> None:
    stands = told("XRPUSDT", "frozen_price")
    assert len(stands) >= 2
    places = minutes_of("XRPUSDT", "frozen_price")
    for start, end in stands:
        assert any(start < minute < end for minute in places)
    assert all(any(start < minute < end for start, end in stands) for minute in places)


def test_a_jump_of_the_price_is_found_in_its_minute() -> None:
    jumps = told("SOLUSDT", "price_jump")
    assert {start for start, _ in jumps} <= minutes_of("SOLUSDT", "return")
