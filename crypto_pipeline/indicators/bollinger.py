"""Bollinger bands."""

from typing import Annotated

import pandas as pd
import talib
from pydantic import Field

from crypto_pipeline.indicators._indicator import Candles, Floats, Period, indicator

Width = Annotated[float, Field(gt=0, le=10)]


@indicator(
    "bb_upper",
    "bb_middle",
    "bb_lower",
    lookback=lambda period, width: period,  # noqa: ARG005
    is_price=True,
    rules={"{bb_upper}_is_not_below_its_lower_band": "{bb_upper} is null or {bb_upper} >= {bb_lower}"},
)
def bb(candles: Candles, period: Period, width: Width) -> tuple[Floats, ...]:
    """Bollinger bands of close, in the quote asset.

    bb_middle = SMA(period); bb_upper and bb_lower = bb_middle + and - width population standard deviations of the same
    candles. Warm-up: period - 1 candles. Source: TA-Lib BBANDS; John Bollinger, Bollinger on Bollinger Bands (2001).
    """
    middle = talib.SMA(candles.close, timeperiod=period)
    # TA-Lib's deviation is the difference of two sums of squares: of a price that hardly moves nothing is left of it.
    half = width * pd.Series(candles.close).rolling(period).std(ddof=0).to_numpy()
    return middle + half, middle, middle - half
