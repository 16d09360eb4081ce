"""What a fault changed in one symbol's market: minutes without trading, ids never issued, a ticker used again.

Changes lie in the future when they are made, so nothing that was ever told changes.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.simulator.noise import Floats, Ints

NEVER = 2**40
"""The end, in minutes, of a closure whose end is not known yet."""
TRADING = "TRADING"


class Closure(NamedTuple):
    """The minutes `[start, end)` since the market's opening, in which nothing trades and no candle exists."""

    start: int
    end: int
    status: str
    """What `exchangeInfo` says of it (`HALT`, `BREAK`); empty where the symbol is not listed at all."""


class Skip(NamedTuple):
    """Trade ids that the exchange never issued."""

    order: int
    """The taker order whose first trade comes after them."""
    ids: int


class Relisting(NamedTuple):
    """From a minute on, the ticker names another asset."""

    minute: int
    price_factor: float


@dataclass
class Calendar:
    """The changes of one symbol, each list in the order of time."""

    closures: list[Closure] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    relistings: list[Relisting] = field(default_factory=list)

    @classmethod
    def of(cls, kept: dict[str, Any]) -> "Calendar":
        """The inverse of `content`."""
        return cls(
            [Closure(*row) for row in kept["closures"]],
            [Skip(*row) for row in kept["skips"]],
            [Relisting(*row) for row in kept["relistings"]],
        )

    def content(self) -> dict[str, Any]:
        """As JSON."""
        return {"closures": self.closures, "skips": self.skips, "relistings": self.relistings}

    def closure(self, minute: int) -> Closure | None:
        """The closure that a minute is in."""
        return next((one for one in self.closures if one.start <= minute < one.end), None)

    def status(self, minute: int) -> str:
        """What `exchangeInfo` says in a minute; empty where the symbol is not listed."""
        closure = self.closure(minute)
        return closure.status if closure else TRADING

    def is_open(self, minutes: Ints) -> NDArray[np.bool_]:
        """Whether each minute is in no closure."""
        open_ones = np.ones(len(minutes), dtype=np.bool_)
        for start, end, _ in self.closures:
            open_ones &= (minutes < start) | (minutes >= end)
        return open_ones

    def close(self, start: int, end: int, status: str) -> None:
        """Adds a closure. Raises `ValueError` where it meets another."""
        if any(one.start < end and start < one.end for one in self.closures):
            raise ValueError("it is halted or not listed in a part of that time already")
        self.closures = sorted([*self.closures, Closure(start, end, status)])

    def reopen(self, minute: int) -> None:
        """Ends the closure that `minute` is in, at that minute."""
        self.closures = [one._replace(end=minute) if one.start <= minute < one.end else one for one in self.closures]

    def trading(self, minutes: Ints) -> Ints:
        """How many minutes of trading came before each minute: the minute by the market's own count."""
        closed = np.zeros_like(minutes)
        for start, end, _ in self.closures:
            closed = closed + np.clip(minutes - start, 0, end - start)
        return minutes - closed

    def minute(self, trading: int) -> int:
        """The minute of trading number `trading`: the inverse of `trading` where it is open."""
        for start, end, _ in self.closures:
            if trading >= start:
                trading += end - start
        return trading

    def skipped(self, orders: Ints) -> Ints:
        """How many ids were left out before the trades of each taker order."""
        left_out = np.zeros_like(orders)
        for order, ids in self.skips:
            left_out = left_out + np.where(orders >= order, ids, 0)
        return left_out

    def price_factor(self, minutes: Ints) -> Floats:
        """By how much the prices differ from those of the first asset of this name."""
        factor = np.ones(len(minutes))
        for minute, value in self.relistings:
            factor = np.where(minutes >= minute, value, factor)
        return factor
