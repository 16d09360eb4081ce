"""On-balance volume."""

import numpy as np
import pandas as pd

from crypto_pipeline.indicators._indicator import Candles, Floats, indicator


@indicator("obv_session", lookback=None)
def obv_session(candles: Candles) -> Floats:
    """On-balance volume since 00:00 UTC, in the base asset.

    Sum over the day's candles up to and with this one of volume where close rose against the candle before, -volume
    where it fell; the day's first candle is held against the last one of the day before. Warm-up: 1 candle. Source:
    Joseph Granville (1963).
    """
    direction = np.sign(np.diff(candles.close, prepend=np.nan))
    return pd.Series(direction * candles.volume).groupby(candles.day).cumsum().to_numpy()
