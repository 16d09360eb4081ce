"""Candles of a market at random."""

import numpy as np
import pandas as pd


def market(count: int, seed: int = 3, price: float = 100.0, seconds: int = 60) -> pd.DataFrame:
    """Candles of a market at random, with stretches that stand still."""
    random = np.random.default_rng(seed)
    moves = random.normal(0, 0.001, count) * (random.random(count) < 0.9)
    close = price * np.exp(np.cumsum(moves))
    opened = np.concatenate([[price], close[:-1]])
    spread = np.abs(random.normal(0, 0.0005, count)) * (moves != 0)
    volume = random.exponential(5, count)
    high, low = np.maximum(opened, close) * (1 + spread), np.minimum(opened, close) * (1 - spread)
    return pd.DataFrame(
        {
            "interval_start": pd.Timestamp("2026-08-01") + pd.to_timedelta(np.arange(count) * seconds, unit="s"),
            "open": opened,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "quote_volume": volume * (high + low) / 2,
        }
    )
