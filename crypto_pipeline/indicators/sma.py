"""Simple moving average."""

import pandas as pd
import talib

from crypto_pipeline.indicators._series import Floats

_PERIODS = (20, 50, 200)
LOOKBACK = max(_PERIODS)
COLUMNS = {f"sma_{n}": f"mean close of the last {n} candles, in the quote asset" for n in _PERIODS}


def columns(candles: pd.DataFrame) -> dict[str, Floats]:
    """SMA(n) = (close[t] + ... + close[t-n+1]) / n. Warm-up: n - 1 candles. Source: TA-Lib SMA."""
    return {f"sma_{n}": talib.SMA(candles["close"].to_numpy(), timeperiod=n) for n in _PERIODS}
