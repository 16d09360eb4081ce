"""Bollinger bands."""

import pandas as pd
import talib

from crypto_pipeline.indicators._series import Floats

_PERIOD, _WIDTH = 20, 2
LOOKBACK = _PERIOD
COLUMNS = {
    f"bb_upper_{_PERIOD}_{_WIDTH}": f"SMA({_PERIOD}) of close + {_WIDTH} population standard deviations",
    f"bb_middle_{_PERIOD}_{_WIDTH}": f"SMA({_PERIOD}) of close",
    f"bb_lower_{_PERIOD}_{_WIDTH}": f"SMA({_PERIOD}) of close - {_WIDTH} population standard deviations",
}


def columns(candles: pd.DataFrame) -> dict[str, Floats]:
    """The mean of close and the band of two standard deviations. Warm-up: 19 candles. Source: TA-Lib BBANDS."""
    results = talib.BBANDS(candles["close"].to_numpy(), timeperiod=_PERIOD, nbdevup=_WIDTH, nbdevdn=_WIDTH)
    return dict(zip(COLUMNS, results, strict=True))
