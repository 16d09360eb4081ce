"""Trades to test with."""

from collections.abc import Sequence
from decimal import Decimal

from shared.events import Trade

START = 1_795_249_800_000_000
"""A whole minute."""
SECOND = 1_000_000


def trade(number: int, price: str, at: float = 0.0, *, symbol: str = "BTCUSDT", quantity: str = "1") -> Trade:
    """A trade so many seconds after `START`."""
    amount = Decimal(price)
    return Trade(
        exchange="binance", symbol=symbol, base_asset=symbol.removesuffix("USDT"), quote_asset="USDT",
        event_time=START + round(at * SECOND), received_at=START, source="websocket", connection_id="c1",
        trade_id=number, price=amount, quantity=Decimal(quantity), quote_quantity=amount * Decimal(quantity),
        is_buyer_maker=False,
    )  # fmt: skip


def trades(*prices: int | str, every: float = 1.0, first: int = 1) -> Sequence[Trade]:
    """Trades at these prices, one each so many seconds."""
    return [trade(number, str(price), number * every) for number, price in enumerate(prices, first)]
