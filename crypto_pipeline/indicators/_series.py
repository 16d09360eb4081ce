"""One series of candles, with what is absent from it."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crypto_pipeline.indicators import compute
from crypto_pipeline.indicators._file import Plan

SERIES = ("exchange", "symbol", "interval")
VALUES = ("open", "high", "low", "close", "volume", "quote_volume")


class _Places(NamedTuple):
    """Where candles stand in the filled series: a proven quiet interval takes a place, a hole takes none."""

    of: NDArray[np.int64]
    is_after_hole: NDArray[np.bool_]


def over_series(candles: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The indicator rows that rest on a stretch of changed candles, given these and the `lookback` before them.

    Where nothing traded, which contiguous trade ids prove, the series goes on flat at the last close, as the exchange's
    own charts do. Across any other absence it is bridged, and the rows that rest on it say so.
    """
    candles = candles.sort_values("interval_start", ignore_index=True)
    starts = candles["interval_start"].to_numpy()
    exchange, symbol, interval, lookback, first, last, until = (
        candles[name].to_numpy()[0] for name in (*SERIES, "lookback", "wanted_from", "last_changed", "until")
    )
    places = _places(candles)
    values = compute(_filled(candles, places), plan.of(symbol, interval))

    reach = places.of[np.searchsorted(starts, last, side="right") - 1] + lookback
    is_wanted = (starts >= first) & (places.of <= reach)
    if not np.isnat(until):
        is_wanted &= starts < until
    wanted = places.of[is_wanted]
    rests = np.searchsorted(places.of, np.maximum(wanted - lookback, 0), side="right") - 1
    holes = np.cumsum(places.is_after_hole)
    return pd.DataFrame(
        {
            "exchange": exchange,
            "symbol": symbol,
            "interval": interval,
            "interval_start": starts[is_wanted],
            "close": candles["close"].to_numpy()[is_wanted],
            "is_closed": candles["is_closed"].to_numpy()[is_wanted],
            # A hole before the candle, or the quiet interval, that the values begin with does not show in them.
            "bridged": holes[is_wanted] > holes[rests],
            "rests_from": starts[rests],
            **{name: values[name][wanted] if name in values else np.nan for name in plan.columns},
        }
    )


def places_around(candles: pd.DataFrame) -> pd.DataFrame:
    """How many places of the filled series lie before and after a stretch, as far as its candles are given."""
    candles = candles.sort_values("interval_start", ignore_index=True)
    stretch = candles.iloc[0]
    places = _places(candles).of
    first, last = (
        places[candles["interval_start"].searchsorted(stretch[name], side="right") - 1]
        for name in ("wanted_from", "last_changed")
    )
    counts = {"before": first, "after": places[-1] - last}
    return pd.DataFrame([{name: stretch[name] for name in (*SERIES, "stretch")} | counts])


def _length(candles: pd.DataFrame) -> np.timedelta64:
    return np.timedelta64(int(candles["interval_seconds"].to_numpy()[0]), "s")


def _places(candles: pd.DataFrame) -> _Places:
    gap = np.diff(candles["interval_start"].to_numpy()) // _length(candles)
    first_id, last_id = (candles[name].to_numpy(dtype=np.float64) for name in ("first_trade_id", "last_trade_id"))
    is_quiet = (gap > 1) & (first_id[1:] == last_id[:-1] + 1)
    of = np.concatenate([[0], np.cumsum(np.where(is_quiet, gap, 1))]).astype(np.int64)
    return _Places(of, np.concatenate([[False], (gap > 1) & ~is_quiet]))


def _filled(candles: pd.DataFrame, places: _Places) -> pd.DataFrame:
    """The series with its proven quiet intervals: flat at the last close, without volume."""
    place = np.arange(places.of[-1] + 1)
    last = np.searchsorted(places.of, place, side="right") - 1
    quiet = place - places.of[last]
    columns = {name: candles[name].to_numpy()[last] for name in VALUES}
    for name in ("open", "high", "low"):
        columns[name] = np.where(quiet, columns["close"], columns[name])
    for name in ("volume", "quote_volume"):
        columns[name] = np.where(quiet, 0.0, columns[name])
    start = candles["interval_start"].to_numpy()[last] + quiet * _length(candles)
    return pd.DataFrame({"interval_start": start, **columns})
