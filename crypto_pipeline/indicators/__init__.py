"""Indicators, one function a file, found by looking.

A module of this package states `COLUMNS` (each column's name and what it is), `LOOKBACK` (candles after which the start
of the series no longer shows: its weight is below 1e-9) and `columns(candles)`, which gives each column's values.
"""

import importlib
import pkgutil
from functools import lru_cache
from types import ModuleType

import pandas as pd


@lru_cache(maxsize=1)
def modules() -> dict[str, ModuleType]:
    """Each indicator's module by its name."""
    return {
        found.name: importlib.import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
        if not found.name.startswith("_")
    }


def lookback() -> int:
    """How many candles before the first wanted one a series must reach back."""
    return max(int(module.LOOKBACK) for module in modules().values())


def describe() -> dict[str, str]:
    """Every indicator column with what it is."""
    return {name: text for module in modules().values() for name, text in module.COLUMNS.items()}


def compute(candles: pd.DataFrame) -> pd.DataFrame:
    """All indicator columns over one series of candles, oldest first: float64, null (NaN) during the warm-up.

    `candles` has the float64 columns open, high, low, close and volume.
    """
    results = {name: values for module in modules().values() for name, values in module.columns(candles).items()}
    return pd.DataFrame(results, index=candles.index)
