"""One series of candles, with what is absent from it."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crypto_pipeline.indicators import compute
from crypto_pipeline.indicators._file import Plan

SERIES = ("exchange", "symbol", "interval")
_OF_CANDLE = ("interval_start", "close", "is_closed", "bridged", "rests_from")
VALUES = ("open", "high", "low", "close", "volume", "quote_volume")


Moments = NDArray[np.datetime64]


class _Places(NamedTuple):
    """Where candles stand in the filled series: a proven quiet interval takes a place, a hole takes none."""

    of: NDArray[np.int64]
    is_after_hole: NDArray[np.bool_]


def over_series(rows: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The indicator rows that rest on a stretch of changed candles, given these and the `lookback` before them.

    Where nothing traded, which contiguous trade ids or the quiet intervals (`is_quiet`) among the rows prove, the
    series goes on flat at the last close, as the exchange's own charts do. Across any other absence it is bridged, and
    the rows that rest on it say so.
    """
    candles, quiet = _split(rows)
    if candles.empty:
        return pd.DataFrame(columns=[*SERIES, *_OF_CANDLE, *plan.columns])
    starts = candles["interval_start"].to_numpy()
    exchange, symbol, interval, lookback, first, last, until = (
        candles[name].to_numpy()[0] for name in (*SERIES, "lookback", "wanted_from", "last_changed", "until")
    )
    places = _places(candles, quiet)
    values = compute(_filled(candles, places), plan.of(symbol, interval))

    reach = _shows_until(places.of, starts, last) + lookback
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


def places_around(rows: pd.DataFrame) -> pd.DataFrame:
    """How many places of the filled series lie before and after a stretch, as far as its candles are given."""
    candles, quiet = _split(rows)
    stretch = rows.iloc[0]
    if candles.empty:  # what becomes quiet changes only the candles after it: before there are such nothing is needed
        counts = {"before": stretch["lookback"], "after": 0}
    else:
        places, starts = _places(candles, quiet).of, candles["interval_start"]
        first = places[max(starts.searchsorted(stretch["wanted_from"], side="right") - 1, 0)]
        last = _shows_until(places, starts.to_numpy(), stretch["last_changed"].to_datetime64())
        counts = {"before": first, "after": places[-1] - last}
    return pd.DataFrame([{name: stretch[name] for name in (*SERIES, "stretch")} | counts])


def _shows_until(places: NDArray[np.int64], starts: Moments, changed: np.datetime64) -> int:
    """The last place at which a changed candle itself stands: its close is that of the quiet intervals after it."""
    following = np.searchsorted(starts, changed, side="right")
    return int(places[following] - 1 if following < len(places) else places[-1])


def _split(rows: pd.DataFrame) -> tuple[pd.DataFrame, Moments]:
    """The candles in order of time, and when the quiet intervals begin, in order too. A candle is not quiet."""
    rows = rows.sort_values("interval_start", ignore_index=True)
    is_quiet = rows["is_quiet"].to_numpy(dtype=np.bool_)
    candles, quiet = rows[~is_quiet].reset_index(drop=True), rows["interval_start"].to_numpy()[is_quiet]
    return candles, quiet[~np.isin(quiet, candles["interval_start"].to_numpy())]


def _length(candles: pd.DataFrame) -> np.timedelta64:
    return np.timedelta64(int(candles["interval_seconds"].to_numpy()[0]), "s")


def _places(candles: pd.DataFrame, quiet: Moments) -> _Places:
    starts = candles["interval_start"].to_numpy()
    gap = np.diff(starts) // _length(candles)
    known_quiet = np.diff(np.searchsorted(quiet, starts))
    first_id, last_id = (candles[name].to_numpy(dtype=np.float64) for name in ("first_trade_id", "last_trade_id"))
    is_quiet = (gap > 1) & ((first_id[1:] == last_id[:-1] + 1) | (known_quiet == gap - 1))
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
