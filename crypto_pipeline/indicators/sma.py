"""Simple moving average."""

import talib

from crypto_pipeline.indicators._indicator import Candles, Floats, Period, indicator


@indicator("sma", lookback=lambda period: period, is_price=True)
def sma(candles: Candles, period: Period) -> Floats:
    """Simple moving average of close, in the quote asset.

    SMA[t] = (close[t] + ... + close[t-period+1]) / period. Warm-up: period - 1 candles. Source: TA-Lib SMA.
    """
    return talib.SMA(candles.close, timeperiod=period)
