"""Moving average convergence and divergence."""

import math

import pandas as pd
import talib

from crypto_pipeline.indicators._series import Floats

_FAST, _SLOW, _SIGNAL = 12, 26, 9
# The signal is a mean of differences of means: both forget at their own pace, so their look-backs add up.
LOOKBACK = sum(n + math.ceil(math.log(1e-10) / math.log(1 - 2 / (n + 1))) for n in (_SLOW, _SIGNAL))
_NAME = f"{_FAST}_{_SLOW}_{_SIGNAL}"
COLUMNS = {
    f"macd_{_NAME}": f"EMA({_FAST}) - EMA({_SLOW}) of close",
    f"macd_signal_{_NAME}": f"EMA({_SIGNAL}) of macd_{_NAME}",
    f"macd_hist_{_NAME}": f"macd_{_NAME} - macd_signal_{_NAME}",
}


def columns(candles: pd.DataFrame) -> dict[str, Floats]:
    """MACD line, signal and histogram. Warm-up: 33 candles. Source: TA-Lib MACD."""
    results = talib.MACD(candles["close"].to_numpy(), fastperiod=_FAST, slowperiod=_SLOW, signalperiod=_SIGNAL)
    return dict(zip(COLUMNS, results, strict=True))
