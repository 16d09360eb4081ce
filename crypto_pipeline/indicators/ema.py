"""Exponential moving average."""

import talib

from crypto_pipeline.indicators._indicator import Candles, Floats, Period, ema_weight, forgotten, indicator


@indicator("ema", lookback=lambda period: period + forgotten(ema_weight(period)), is_price=True)
def ema(candles: Candles, period: Period) -> Floats:
    """Exponential moving average of close, in the quote asset.

    EMA[t] = a * close[t] + (1 - a) * EMA[t-1], a = 2 / (period + 1), seeded with the SMA. Warm-up: period - 1 candles.
    Source: TA-Lib EMA.
    """
    return talib.EMA(candles.close, timeperiod=period)
