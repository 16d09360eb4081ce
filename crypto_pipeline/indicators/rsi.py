"""Relative strength index."""

import numpy as np
import talib

from crypto_pipeline.indicators._indicator import (
    STILL,
    Candles,
    Floats,
    Period,
    between_0_and_100,
    forgotten_ratio,
    indicator,
    since,
)


@indicator("rsi", lookback=forgotten_ratio, rules=between_0_and_100("rsi"))
def rsi(candles: Candles, period: Period) -> Floats:
    """Relative strength index of close, 0 to 100.

    RSI = 100 - 100 / (1 + mean gain / mean loss), Wilder's means, which give the newest 1 / period. Null where close
    has not moved for 10 periods. Warm-up: period candles. Source: TA-Lib RSI; J. Welles Wilder, New Concepts in
    Technical Trading Systems (1978).
    """
    moved = np.diff(candles.close, prepend=np.nan) != 0
    moved[:1] = False
    return np.where(since(moved) < STILL * period, talib.RSI(candles.close, timeperiod=period), np.nan)
