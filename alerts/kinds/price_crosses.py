"""`price_crosses`: the price reaches a level from the other side."""

from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alerts.kinds._kind import TradeRule, TradeState, plain
from shared.events import Trade
from shared.symbol_manager import Asset

Level = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]


class Side(TradeState):
    """Where the price was."""

    was_short_of_it: bool = False
    """The price was seen on the other side of the level: to be beyond it from the first is no crossing."""


class PriceCrosses(TradeRule[Side]):
    """Fires with the first trade at `above` or higher after one below it (`below`: at it or lower, after one above).

    Resolves with the first trade that is back. Give one of the two, and the symbols: a level is that of a market.
    """

    kind: Literal["price_crosses"]
    symbols: Annotated[tuple[Asset, ...], Field(min_length=1)]
    above: Level | None = None
    below: Level | None = None

    remembers: ClassVar[type[TradeState]] = Side

    @model_validator(mode="after")
    def _one_level(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("give one of above and below")
        return self

    def see(self, state: Side, trade: Trade) -> bool | None:
        if self.above is not None:
            is_beyond = trade.price >= self.above
        else:
            is_beyond = self.below is not None and trade.price <= self.below
        state.was_short_of_it |= not is_beyond
        return is_beyond if state.was_short_of_it else None

    def value(self, state: Side, trade: Trade) -> float:  # noqa: ARG002 (the kind's signature)
        return float(trade.price)

    def text(self, state: Side, trade: Trade) -> str:  # noqa: ARG002
        where = f"above: {plain(self.above)}" if self.above is not None else f"below: {plain(self.below or 0)}"
        return f"{trade.symbol} trades at {plain(trade.price)} {trade.quote_asset} ({where})."
