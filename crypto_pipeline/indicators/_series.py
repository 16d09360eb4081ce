"""One series of candles, with what is absent from it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crypto_pipeline.indicators import compute
from crypto_pipeline.indicators._file import Plan

SERIES = ("exchange", "symbol", "interval")
_OF_CANDLE = ("interval_start", "close", "is_closed", "bridged", "rests_from")
VALUES = ("open", "high", "low", "close", "volume", "quote_volume")


Moments = NDArray[np.datetime64]


class Stretch(NamedTuple):
    """Changed candles of a series, and what is wanted of it."""

    exchange: str
    symbol: str
    interval: str
    interval_seconds: int
    interval_start: pd.Timestamp
    """Of the first changed candle."""
    last_changed: pd.Timestamp
    until: pd.Timestamp
    """Rows from then on are those of the series' next stretch; NaT where there is none."""
    lookback: int
    """Candles before a row that its values rest on."""


def over_each(
    rows: pd.DataFrame, stretches: pd.DataFrame, over: Callable[[pd.DataFrame, Stretch], pd.DataFrame]
) -> pd.DataFrame:
    """What `over` makes of the rows of each stretch, in order of time, one below the other.

    They bear the `number` of their stretch among the rows of `stretches`, which has the columns of `Stretch`.
    """
    ordered = rows.iloc[np.lexsort((rows["interval_start"].to_numpy(), rows["number"].to_numpy()))]
    numbers, starts = np.unique(ordered["number"].to_numpy(), return_index=True)
    ends = [*starts[1:], len(ordered)]
    of_each: Any = stretches[list(Stretch._fields)].iloc[numbers.tolist()].itertuples(index=False)
    spans = zip(starts, ends, of_each, strict=True)
    made = [over(ordered.iloc[start:end], Stretch(*one)) for start, end, one in spans]
    return pd.concat([part for part in made if len(part)] or made[:1], ignore_index=True)


class _Places(NamedTuple):
    """Where candles stand in the filled series: a proven quiet interval takes a place, a hole takes none."""

    of: NDArray[np.int64]
    is_after_hole: NDArray[np.bool_]


def over_series(rows: pd.DataFrame, stretch: Stretch, plan: Plan) -> pd.DataFrame:
    """The indicator rows that rest on a stretch of changed candles, given these and the `lookback` before them.

    `rows` are in order of time.

    Where nothing traded, which contiguous trade ids or the quiet intervals (`is_quiet`) among the rows prove, the
    series goes on flat at the last close, as the exchange's own charts do. Across any other absence it is bridged, and
    the rows that rest on it say so.
    """
    candles, quiet = _split(rows)
    if candles.empty:
        return pd.DataFrame(columns=[*SERIES, *_OF_CANDLE, *plan.columns])
    starts = candles["interval_start"].to_numpy()
    length = np.timedelta64(stretch.interval_seconds, "s")
    places = _places(candles, quiet, length)
    values = compute(_filled(candles, places, length), plan.of(stretch.symbol, stretch.interval))

    reach = _shows_until(places.of, starts, stretch.last_changed.to_datetime64()) + stretch.lookback
    is_wanted = (starts >= stretch.interval_start.to_datetime64()) & (places.of <= reach)
    if not pd.isna(stretch.until):
        is_wanted &= starts < stretch.until.to_datetime64()
    wanted = places.of[is_wanted]
    rests = np.searchsorted(places.of, np.maximum(wanted - stretch.lookback, 0), side="right") - 1
    holes = np.cumsum(places.is_after_hole)
    return pd.DataFrame(
        {
            "exchange": stretch.exchange,
            "symbol": stretch.symbol,
            "interval": stretch.interval,
            "interval_start": starts[is_wanted],
            "close": candles["close"].to_numpy()[is_wanted],
            "is_closed": candles["is_closed"].to_numpy()[is_wanted],
            # A hole before the candle, or the quiet interval, that the values begin with does not show in them.
            "bridged": holes[is_wanted] > holes[rests],
            "rests_from": starts[rests],
            **{name: values[name][wanted] if name in values else np.nan for name in plan.columns},
        }
    )


def places_around(rows: pd.DataFrame, stretch: Stretch) -> pd.DataFrame:
    """How many places of the filled series lie before and after a stretch, as far as its candles are given."""
    candles, quiet = _split(rows)
    if candles.empty:  # what becomes quiet changes only the candles after it: before there are such nothing is needed
        counts = {"before": stretch.lookback, "after": 0}
    else:
        starts = candles["interval_start"].to_numpy()
        places = _places(candles, quiet, np.timedelta64(stretch.interval_seconds, "s")).of
        following = int(np.searchsorted(starts, stretch.interval_start.to_datetime64(), side="right"))
        first = places[max(following - 1, 0)]
        last = _shows_until(places, starts, stretch.last_changed.to_datetime64())
        counts = {"before": first, "after": places[-1] - last}
    return pd.DataFrame([{"number": rows["number"].iloc[0], **counts}])


def _shows_until(places: NDArray[np.int64], starts: Moments, changed: np.datetime64) -> int:
    """The last place at which a changed candle itself stands: its close is that of the quiet intervals after it."""
    following = np.searchsorted(starts, changed, side="right")
    return int(places[following] - 1 if following < len(places) else places[-1])


def _split(rows: pd.DataFrame) -> tuple[pd.DataFrame, Moments]:
    """The candles, and when the quiet intervals begin, both in order of time. A candle is not quiet."""
    is_quiet = rows["is_quiet"].to_numpy(dtype=np.bool_)
    if not is_quiet.any():
        return rows, np.empty(0, dtype="datetime64[ns]")
    candles, quiet = rows[~is_quiet].reset_index(drop=True), rows["interval_start"].to_numpy()[is_quiet]
    return candles, quiet[~np.isin(quiet, candles["interval_start"].to_numpy())]


def _places(candles: pd.DataFrame, quiet: Moments, length: np.timedelta64) -> _Places:
    starts = candles["interval_start"].to_numpy()
    gap = np.diff(starts) // length
    known_quiet = np.diff(np.searchsorted(quiet, starts))
    first_id, last_id = (candles[name].to_numpy(dtype=np.float64) for name in ("first_trade_id", "last_trade_id"))
    is_quiet = (gap > 1) & ((first_id[1:] == last_id[:-1] + 1) | (known_quiet == gap - 1))
    of = np.concatenate([[0], np.cumsum(np.where(is_quiet, gap, 1))]).astype(np.int64)
    return _Places(of, np.concatenate([[False], (gap > 1) & ~is_quiet]))


def _filled(candles: pd.DataFrame, places: _Places, length: np.timedelta64) -> pd.DataFrame:
    """The series with its proven quiet intervals: flat at the last close, without volume."""
    if len(candles) == places.of[-1] + 1:
        return candles
    place = np.arange(places.of[-1] + 1)
    last = np.searchsorted(places.of, place, side="right") - 1
    quiet = place - places.of[last]
    columns = {name: candles[name].to_numpy()[last] for name in VALUES}
    for name in ("open", "high", "low"):
        columns[name] = np.where(quiet, columns["close"], columns[name])
    for name in ("volume", "quote_volume"):
        columns[name] = np.where(quiet, 0.0, columns[name])
    start = candles["interval_start"].to_numpy()[last] + quiet * length
    return pd.DataFrame({"interval_start": start, **columns})
