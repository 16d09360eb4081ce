"""Relative strength index."""

import math

import pandas as pd
import talib

from crypto_pipeline.indicators._series import Floats

_PERIOD = 14
LOOKBACK = _PERIOD + math.ceil(math.log(1e-9) / math.log(1 - 1 / _PERIOD))
COLUMNS = {f"rsi_{_PERIOD}": f"Wilder's relative strength index over {_PERIOD} candles, 0 to 100"}


def columns(candles: pd.DataFrame) -> dict[str, Floats]:
    """RSI = 100 - 100 / (1 + average gain / average loss), averages smoothed by Wilder's 1/n.

    Warm-up: n candles. Source: TA-Lib RSI; J. Welles Wilder, New Concepts in Technical Trading Systems (1978).
    """
    return {f"rsi_{_PERIOD}": talib.RSI(candles["close"].to_numpy(), timeperiod=_PERIOD)}
