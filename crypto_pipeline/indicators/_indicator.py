"""What an indicator is: a function over one series of candles, and what stands around it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

Floats: TypeAlias = NDArray[np.float64]
"""One value a candle; NaN during the warm-up."""

Period = Annotated[int, Field(ge=2, le=1000)]
"""A number of candles."""
Smoothing = Annotated[int, Field(ge=1, le=1000)]
"""A number of candles; 1 smooths nothing."""

_SEED = 1e-9
"""The weight below which what lies before a series' start no longer shows."""


class Candles(NamedTuple):
    """One series, oldest first."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    """In the base asset."""
    quote_volume: Floats
    """In the quote asset."""
    day: NDArray[np.int64]
    """The UTC day that each candle starts in: a session."""


@dataclass(frozen=True, eq=False)
class Indicator:
    """A function of this package; its docstring is the comment of its columns."""

    function: Callable[..., Floats | tuple[Floats, ...]]
    columns: tuple[str, ...]
    """What it gives, in this order. The parameters are added to the names."""
    lookback: Callable[..., int] | None
    """Candles after which the start of the series no longer shows, by parameters; none: the session's beginning.

    Raises `ValueError` for parameters that do not go together."""
    is_price: bool
    """Its values are in the quote asset and grow with the price; others do not change with the price's unit."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """What holds for every row, as in a table's contract; `{column}` stands for a column's whole name."""

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def text(self) -> str:
        """The docstring in one line."""
        return " ".join((self.function.__doc__ or "").split())


def indicator(
    *columns: str,
    lookback: Callable[..., int] | None,
    is_price: bool = False,
    rules: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Floats | tuple[Floats, ...]]], Indicator]:
    """Make a function of candles and parameters an indicator."""
    return lambda function: Indicator(function, columns, lookback, is_price, rules or {})


def between_0_and_100(column: str) -> Mapping[str, str]:
    """The rule of a percentage."""
    name = "{" + column + "}"
    return {f"{name}_lies_between_0_and_100": f"{name} is null or {name} between 0 and 100"}


def forgotten(weight: float, seed: float = _SEED) -> int:
    """Candles until what a mean that gives the newest this weight knew before weighs less than `seed`."""
    return math.ceil(math.log(seed) / math.log1p(-weight))


def ema_weight(period: int) -> float:
    """The weight of the newest value in an exponential mean."""
    return 2 / (period + 1)


STILL = 10
"""So many periods without a move, and a ratio of Wilder's means of moves says nothing: both have all but gone to 0."""


def forgotten_ratio(period: int) -> int:
    """As `forgotten`, of a ratio of Wilder's means of moves, which may have stood still meanwhile.

    Then both means go to 0 alike, and so does what outweighs the seed; and the last moves before may have been 100,000
    times smaller than the earlier ones.
    """
    return (STILL + 1) * period + forgotten(1 / period, _SEED * 1e-5)


def since(happened: NDArray[np.bool_]) -> Floats:
    """Candles since the last for which it is true, 0 for such a one; without end before the first."""
    place = np.arange(len(happened), dtype=np.float64)
    last: Floats = np.maximum.accumulate(np.where(happened, place, -np.inf))
    return place - last


def wilder(values: Floats, period: int) -> Floats:
    """Wilder's mean, which gives the newest 1 / period, from the first value on; seeded with a plain mean."""
    first = int(np.argmax(~np.isnan(values)))
    seeded = values.copy()
    seeded[: first + period - 1] = np.nan
    seeded[first + period - 1 : first + period] = values[first : first + period].mean() if len(values) else np.nan
    return pd.Series(seeded).ewm(alpha=1 / period, adjust=False).mean().to_numpy()
