"""Stochastic oscillator."""

import numpy as np
import pandas as pd
import talib

from crypto_pipeline.indicators._indicator import Candles, Floats, Period, Smoothing, between_0_and_100, indicator


@indicator(
    "stoch_k",
    "stoch_d",
    lookback=lambda period, smooth_k, smooth_d: period + smooth_k + smooth_d,
    rules=between_0_and_100("stoch_k"),
)
def stoch(candles: Candles, period: Period, smooth_k: Smoothing, smooth_d: Smoothing) -> tuple[Floats, ...]:
    """Stochastic oscillator, 0 to 100.

    raw = 100 * (close - lowest low) / (highest high - lowest low) over period candles; stoch_k = SMA(smooth_k) of raw;
    stoch_d = SMA(smooth_d) of stoch_k. Null where the price stood still over a raw value's candles. Warm-up:
    period + smooth_k + smooth_d - 3 candles. Source: TA-Lib STOCH; George Lane.
    """
    values = talib.STOCH(
        *(candles.high, candles.low, candles.close),
        fastk_period=period,
        slowk_period=smooth_k,
        slowd_period=smooth_d,
    )
    has_no_range = pd.Series(talib.MAX(candles.high, period) == talib.MIN(candles.low, period), dtype="float64")
    return tuple(
        np.where(has_no_range.rolling(raws, min_periods=1).max() == 0, np.clip(each, 0, 100), np.nan)
        for each, raws in zip(values, (smooth_k, smooth_k + smooth_d - 1), strict=True)
    )
