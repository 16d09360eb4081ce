"""`move`: the price moves by x % within y minutes."""

from math import inf
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from alerts.kinds._kind import MINUTE, Percent, TradeRule, TradeState, minutes
from shared.events import Trade

PARTS = 60
"""The window moves on by a sixtieth of itself: what is remembered of a market does not grow with its trades."""


class Window(TradeState):
    """The lowest and the highest price of each part of the window in which something traded, and of all of it."""

    parts: list[tuple[int, float, float]] = []  # noqa: RUF012 (msgspec copies it)
    low: float = inf
    high: float = 0.0


class Move(TradeRule[Window]):
    """Fires where the price lies `percent` above the lowest, or below the highest, of the last `minutes`.

    Resolves with the first trade of which that is not so.
    """

    kind: Literal["move"]
    percent: Percent
    minutes: Annotated[int, Field(ge=1, le=1440)]
    direction: Literal["up", "down", "any"] = "any"

    remembers: ClassVar[type[TradeState]] = Window

    def see(self, state: Window, trade: Trade) -> bool:
        price, parts = float(trade.price), state.parts
        now = trade.event_time // (self.minutes * MINUTE // PARTS)
        if parts and parts[-1][0] == now:
            _, low, high = parts[-1]
            parts[-1] = (now, min(low, price), max(high, price))
        else:
            parts[:] = [part for part in parts if part[0] > now - PARTS]
            parts.append((now, price, price))
            state.low, state.high = min(part[1] for part in parts), max(part[2] for part in parts)
        state.low, state.high = min(state.low, price), max(state.high, price)
        return abs(self.value(state, trade)) >= self.percent

    def value(self, state: Window, trade: Trade) -> float:
        """In percent, with its sign; 0 where the price went the way that does not count."""
        price = float(trade.price)
        rise = (price / state.low - 1) * 100 if self.direction != "down" else 0.0
        fall = (price / state.high - 1) * 100 if self.direction != "up" else 0.0
        return rise if rise >= -fall else fall

    def text(self, state: Window, trade: Trade) -> str:
        moved = self.value(state, trade)
        return f"{trade.symbol} moved by {moved:+.2f} % within {minutes(self.minutes)}, to {trade.price.normalize():f}."
