"""One series of candles, with what is absent from it."""

import pandas as pd

from crypto_pipeline.indicators import compute
from crypto_pipeline.indicators._file import Plan

SERIES = ("exchange", "symbol", "interval")
VALUES = ("open", "high", "low", "close", "volume", "quote_volume")


def over_series(candles: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The indicator rows that rest on a stretch of changed candles, given these and the `lookback` before them.

    Where nothing traded, which contiguous trade ids prove, the series goes on flat at the last close, as the exchange's
    own charts do. Across any other absence it is bridged, and the rows that rest on it say so.
    """
    candles = candles.sort_values("interval_start", ignore_index=True)
    stretch = candles.iloc[0]
    lookback = int(stretch["lookback"])
    filled = _filled(candles, lookback)
    values = compute(filled, plan.of(stretch["symbol"], stretch["interval"]))
    rows = pd.concat([filled[["interval_start", "rests_from", "bridged", "close", "is_closed"]], values], axis=1)
    start = filled["interval_start"]
    last_changed = int((start <= stretch["last_changed"]).sum()) - 1
    is_wanted = filled["is_candle"] & (start >= stretch["wanted_from"]) & (filled.index <= last_changed + lookback)
    if not pd.isna(stretch["until"]):
        is_wanted &= start < stretch["until"]
    wanted: pd.DataFrame = rows[is_wanted]
    columns = [name for name in plan.comments() if name not in values]
    return wanted.assign(
        is_closed=wanted["is_closed"].astype(bool),
        **dict.fromkeys(columns, float("nan")),
        **{name: stretch[name] for name in SERIES},
    )


def places_around(candles: pd.DataFrame) -> pd.DataFrame:
    """How many places of the filled series lie before and after a stretch, as far as its candles are given."""
    candles = candles.sort_values("interval_start", ignore_index=True)
    stretch = candles.iloc[0]
    places = _steps(candles)["step"]
    is_before = candles["interval_start"] <= stretch["wanted_from"]
    is_after = candles["interval_start"] > stretch["last_changed"]
    counts = {"before": places[is_before].sum() - 1, "after": places[is_after].sum()}
    return pd.DataFrame([{name: stretch[name] for name in (*SERIES, "stretch")} | counts])


def _steps(candles: pd.DataFrame) -> pd.DataFrame:
    """How many places each candle lies after the one before it (`step`), and whether a hole is between (`is_hole`).

    A proven quiet interval takes a place, a hole takes none.
    """
    length = pd.Timedelta(seconds=int(candles["interval_seconds"].iloc[0]))
    gap = (candles["interval_start"].diff() // length).fillna(1).astype("int64")
    is_quiet = (gap > 1) & (candles["first_trade_id"] == candles["last_trade_id"].shift() + 1)
    return pd.DataFrame({"step": gap.where(is_quiet, 1), "is_hole": (gap > 1) & ~is_quiet})


def _filled(candles: pd.DataFrame, lookback: int) -> pd.DataFrame:
    steps = _steps(candles)
    place = steps["step"].cumsum() - 1
    filled = candles.set_index(place)[[*VALUES, "interval_start", "is_closed"]].reindex(range(int(place.iloc[-1]) + 1))
    filled["is_candle"] = filled["close"].notna()
    filled["close"] = filled["close"].ffill()
    for name in ("open", "high", "low"):
        filled[name] = filled[name].fillna(filled["close"])
    for name in ("volume", "quote_volume"):
        filled[name] = filled[name].fillna(0.0)
    last_candle = filled["interval_start"].ffill()
    filled["rests_from"] = last_candle.shift(lookback).fillna(last_candle.iloc[0])
    quiet_since = filled.groupby(filled["is_candle"].cumsum()).cumcount()
    filled["interval_start"] = last_candle + quiet_since * pd.Timedelta(
        seconds=int(candles["interval_seconds"].iloc[0])
    )
    holes = pd.Series(0, index=filled.index)
    holes.loc[place[steps["is_hole"]]] = 1
    filled["bridged"] = holes.rolling(lookback, min_periods=1).max().astype(bool)
    return filled
