"""Moving average convergence and divergence."""

import talib

from crypto_pipeline.indicators._indicator import Candles, Floats, Period, ema_weight, forgotten, indicator


def _lookback(fast: int, slow: int, signal: int) -> int:
    """The signal is a mean of differences of means: both forget at their own pace, so their look-backs add up."""
    if fast >= slow:
        raise ValueError("fast must be less than slow")
    return sum(n + forgotten(ema_weight(n), 1e-10) for n in (slow, signal))


@indicator("macd", "macd_signal", "macd_hist", lookback=_lookback, is_price=True)
def macd(candles: Candles, fast: Period, slow: Period, signal: Period) -> tuple[Floats, ...]:
    """Moving average convergence and divergence of close, in the quote asset.

    macd = EMA(fast) - EMA(slow); macd_signal = EMA(signal) of macd; macd_hist = macd - macd_signal.
    Warm-up: slow + signal - 2 candles. Source: TA-Lib MACD; Gerald Appel (1979).
    """
    return talib.MACD(candles.close, fastperiod=fast, slowperiod=slow, signalperiod=signal)
