"""Exponential moving average."""

import math

import pandas as pd
import talib

from crypto_pipeline.indicators._series import Floats

_PERIODS = (12, 26, 50, 200)
LOOKBACK = max(_PERIODS) + math.ceil(math.log(1e-9) / math.log(1 - 2 / (max(_PERIODS) + 1)))
COLUMNS = {f"ema_{n}": f"exponential mean of close over {n} candles, seeded with their SMA" for n in _PERIODS}


def columns(candles: pd.DataFrame) -> dict[str, Floats]:
    """EMA(n) = a * close[t] + (1 - a) * EMA[t-1], a = 2 / (n + 1). Warm-up: n - 1 candles. Source: TA-Lib EMA."""
    return {f"ema_{n}": talib.EMA(candles["close"].to_numpy(), timeperiod=n) for n in _PERIODS}
