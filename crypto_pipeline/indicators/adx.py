"""Average directional index."""

import numpy as np
import talib

from crypto_pipeline.indicators._indicator import (
    STILL,
    Candles,
    Floats,
    Period,
    between_0_and_100,
    forgotten,
    forgotten_ratio,
    indicator,
    since,
    wilder,
)


def _lookback(period: int) -> int:
    """DX is a ratio of ratios, and ADX a mean of it: each forgets after the one before it."""
    return 2 * forgotten_ratio(period) + period + forgotten(1 / period)


@indicator("adx", "plus_di", "minus_di", lookback=_lookback, rules=between_0_and_100("adx"))
def adx(candles: Candles, period: Period) -> tuple[Floats, ...]:
    """Average directional index and its directional indicators, each 0 to 100.

    plus_di = 100 * +DM / TR, minus_di = 100 * -DM / TR, of Wilder's sums of directional movement and true range; null
    where nothing has moved for 10 periods. adx = Wilder's mean of 100 * |plus_di - minus_di| / (plus_di + minus_di),
    which is 0 where there was no direction for 10 periods. Warm-up: period candles, of adx 2 * period - 1.
    Source: TA-Lib PLUS_DI, MINUS_DI and ADX; J. Welles Wilder, New Concepts in Technical Trading Systems (1978).
    """
    prices = (candles.high, candles.low, candles.close)
    plus, minus = talib.PLUS_DI(*prices, timeperiod=period), talib.MINUS_DI(*prices, timeperiod=period)
    rises = np.diff(candles.high, prepend=np.nan)
    falls = -np.diff(candles.low, prepend=np.nan)
    has_direction = (np.fmax(rises, falls) > 0) & (rises != falls)
    # TA-Lib's ADX keeps its value where nothing moves, however long: it would never forget.
    is_directed = (since(has_direction) < STILL * period) & (plus + minus > 0)
    total = np.where(is_directed, plus + minus, 1.0)
    index = np.where(is_directed, 100 * np.abs(plus - minus) / total, 0.0)
    average = wilder(np.where(np.isnan(plus), np.nan, index), period)
    is_moving = since(talib.TRANGE(*prices) > 0) < STILL * period
    return np.clip(average, 0, 100), *(np.where(is_moving, di, np.nan) for di in (plus, minus))
