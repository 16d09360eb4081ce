"""Minutes of made markets, as `_measures.observed` gives them and as silver has them, to plant the unusual in."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

FIRST = pd.Timestamp("2026-10-05")
"""A Monday."""


def minutes(count: int, symbol: str = "BTCUSDT", seed: int = 1, tail: int | None = None) -> pd.DataFrame:
    """Minutes that are all usual: returns of 5 bp, volumes of a deviation of 0.4 in the logarithm, with a book.

    `tail`: of Student's t with so many degrees of freedom, in units of its standard deviation; none: Gaussian.
    """
    random = np.random.default_rng(seed)

    def noise() -> np.ndarray[Any, np.dtype[np.float64]]:
        if tail is None:
            return random.normal(size=count)
        return random.standard_t(tail, size=count) * np.sqrt((tail - 2) / tail)

    close = 100 * np.exp(np.cumsum(noise() * 5e-4))
    opened = np.concatenate([[100.0], close[:-1]])
    return pd.DataFrame(
        {
            "exchange": "binance",
            "symbol": symbol,
            "interval_start": FIRST + pd.to_timedelta(np.arange(count), unit="min"),
            "base_asset": symbol[:3],
            "close": close,
            "high": np.maximum(close, opened) * 1.0001,
            "low": np.minimum(close, opened) * 0.9999,
            "volume": np.exp(noise() * 0.4) * 2,
            "trade_count": np.maximum(1.0, np.round(30 * np.exp(random.normal(size=count) * 0.2))),
            "usdt_price": close,
            "is_quiet": pd.Series([None] * count, dtype="boolean"),
            "spread_bps": np.exp(noise() * 0.2),
            "imbalance": np.clip(noise() * 0.2, -1, 1),
        }
    )


def quiet(rows: pd.DataFrame, where: slice) -> pd.DataFrame:
    """The same with some minutes in which proven nothing traded."""
    changed = rows.copy()
    changed.loc[changed.index[where], ["close", "high", "low", "volume", "trade_count", "usdt_price"]] = np.nan
    changed.loc[changed.index[where], "is_quiet"] = True
    return changed


def in_silver(rows: pd.DataFrame) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of `silver.ohlcv_1m`, `silver.order_book_1m` and `silver.completeness` that say the same.

    Without an imbalance there was no book.
    """
    made: dict[str, list[Mapping[str, Any]]] = {"ohlcv_1m": [], "order_book_1m": [], "completeness": []}
    for one in rows.to_dict("records"):
        start = one["interval_start"].to_pydatetime()
        names = {"exchange": one["exchange"], "symbol": one["symbol"], "interval_start": start}
        pair = {"base_asset": one["base_asset"], "quote_asset": one["symbol"][3:]}
        month = {"month": f"{start:%Y-%m}"}
        if one["is_quiet"] is True:
            made["completeness"].append({**names, **month, "reason": "no_trades", "proof": "trade_ids"})
        else:
            values = {name: Decimal(f"{one[name]:.12f}") for name in ("close", "high", "low", "volume")}
            count = {"trade_count": int(one["trade_count"]), "is_closed": True}
            ends = {"interval_end": start + timedelta(minutes=1)}
            made["ohlcv_1m"].append({**names, **pair, **month, **ends, **values, **count})
        book = {name: one[name] for name in ("spread_bps", "imbalance")}
        if not np.isnan(one["imbalance"]):
            made["order_book_1m"].append({**names, **pair, **book, "is_closed": True, "date": f"{start:%Y-%m-%d}"})
    return made
