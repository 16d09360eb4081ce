"""Volume-weighted average price."""

import numpy as np
import pandas as pd

from crypto_pipeline.indicators._indicator import Candles, Floats, indicator


@indicator("vwap_session", lookback=None, is_price=True)
def vwap_session(candles: Candles) -> Floats:
    """Volume-weighted average price since 00:00 UTC, in the quote asset.

    Sum of quote_volume / sum of volume, of the day's candles up to and with this one: of the trades themselves, not of
    typical prices. Warm-up: none. Source: quote volume and volume of the candles.
    """
    volume, quote_volume = (
        pd.Series(each).groupby(candles.day).cumsum().to_numpy() for each in (candles.volume, candles.quote_volume)
    )
    return np.divide(quote_volume, volume, out=np.full(len(volume), np.nan), where=volume > 0)
