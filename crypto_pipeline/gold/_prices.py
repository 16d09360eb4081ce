"""Closes on an even grid of time and the returns between neighbours: what every table of gold means by a return."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import to_pandas

SERIES = ["exchange", "symbol"]


def candles(
    sources: Mapping[str, DataFrame], interval: str, columns: Sequence[str] = ("close",), *, closed: bool = True
) -> pd.DataFrame:
    """The candles of an interval that a window of `silver.ohlcv_1m` and `silver.ohlcv` holds, in order of time.

    Columns: exchange, symbol, interval_start (UTC, without a zone, as pandas has times here) and `columns`, decimals as
    float64. `closed`: those that may still change are left out.
    """
    if interval == "1m":
        rows = sources["silver.ohlcv_1m"]
    else:
        rows = sources["silver.ohlcv"].filter(F.col("interval") == interval)
    if closed:
        rows = rows.filter("is_closed")
    decimals = {name for name, kind in rows.dtypes if kind.startswith("decimal")}
    chosen = [F.col(name).cast("double").alias(name) if name in decimals else F.col(name) for name in columns]
    return to_pandas(rows.select(*SERIES, "interval_start", *chosen)).sort_values(
        [*SERIES, "interval_start"], ignore_index=True
    )  # fmt: skip


def quiet_minutes(sources: Mapping[str, DataFrame]) -> pd.DataFrame:
    """The minutes of a window of `silver.completeness` in which proven nothing traded: SERIES and `interval_start`."""
    quiet = sources["silver.completeness"].filter("reason = 'no_trades' and proof != 'none'")
    return to_pandas(quiet.select(*SERIES, "interval_start"))


def grid(closes: pd.DataFrame, quiet: pd.DataFrame | None, seconds: int) -> pd.DataFrame:
    """The close of every series (column: exchange, symbol) at every `seconds` from the first candle to the last.

    `closes` has the SERIES, `interval_start` and `close`. A close is carried over intervals that are `quiet` (SERIES
    and `interval_start`) and over nothing else: NaN is what is not known.
    """
    if closes.empty:
        return pd.DataFrame(columns=pd.MultiIndex.from_arrays([[], []], names=SERIES), dtype=float)
    known = closes.pivot_table(index="interval_start", columns=SERIES, values="close", aggfunc="last")
    step = pd.Timedelta(seconds=seconds)
    times = pd.date_range(known.index.min(), known.index.max(), freq=step, name="interval_start")
    known = known.reindex(times)
    if quiet is None or quiet.empty:
        return known
    marked = quiet.assign(is_quiet=True).pivot_table(
        index="interval_start", columns=SERIES, values="is_quiet", aggfunc="any"
    )
    is_quiet = marked.reindex(index=times, columns=known.columns).eq(True)
    has_candle = known.notna()
    breaks = (~has_candle & ~is_quiet).cumsum()
    return known.ffill().where(breaks == breaks.where(has_candle).ffill())


def log_returns(prices: pd.DataFrame) -> pd.DataFrame:
    """ln(p_t / p_(t-1)) between neighbours of the grid; NaN where either is not known. The first row has none."""
    return prices.apply(np.log).diff()


def simple_returns(prices: pd.DataFrame) -> pd.DataFrame:
    """p_t / p_(t-1) - 1 between neighbours of the grid; NaN where either is not known. The first row has none."""
    return prices / prices.shift(1) - 1
