"""Average true range."""

import talib

from crypto_pipeline.indicators._indicator import Candles, Floats, Period, forgotten, indicator


@indicator("atr", lookback=lambda period: period + forgotten(1 / period), is_price=True)
def atr(candles: Candles, period: Period) -> Floats:
    """Average true range, in the quote asset.

    TR = the greatest of high - low, |high - close[t-1]| and |low - close[t-1]|; ATR = Wilder's mean of TR, which gives
    the newest 1 / period. Warm-up: period candles. Source: TA-Lib ATR; J. Welles Wilder, New Concepts in Technical
    Trading Systems (1978).
    """
    return talib.ATR(candles.high, candles.low, candles.close, timeperiod=period)
