"""Events to test with: one of each kind, of BTCUSDT at Binance."""

from decimal import Decimal
from typing import Any

from shared.events import DepthSnapshot, Gap, Kline, Ticker, Trade

ONE = Decimal(1)
START = 1_795_249_800_000_000
"""A whole minute."""
MINUTE = 60_000_000


def _common(at: int | None, source: str, **more: Any) -> dict[str, Any]:
    return {
        "exchange": "binance", "symbol": "BTCUSDT", "base_asset": "BTC", "quote_asset": "USDT", "event_time": at,
        "source": source, "connection_id": "c1", "received_at": at if source == "websocket" else None, **more,
    }  # fmt: skip


def trade_event(number: int, source: str = "websocket", at: int = START) -> Trade:
    """Its time follows its id."""
    return Trade(
        **_common(at + number, source), trade_id=number, price=ONE, quantity=ONE, quote_quantity=ONE,
        is_buyer_maker=False,
    )  # fmt: skip


def kline_event(opens: int, *, is_closed: bool = True, source: str = "websocket", lag: int = 0) -> Kline:
    """Told just after its end, and received `lag` microseconds later."""
    told = opens + MINUTE + 10_000
    return Kline(
        **_common(told, source, published_at=told) | {"received_at": told + lag}, interval="1m", open_time=opens,
        close_time=opens + MINUTE - 1, open=ONE, high=ONE, low=ONE, close=ONE, volume=ONE, quote_volume=ONE,
        trade_count=1, taker_buy_volume=ONE, taker_buy_quote_volume=ONE, first_trade_id=1, last_trade_id=1,
        is_closed=is_closed,
    )  # fmt: skip


def ticker_event(at: int) -> Ticker:
    numbers = dict.fromkeys((name for name in Ticker.__struct_fields__ if _is_decimal(name)), ONE)
    return Ticker(
        **_common(at, "websocket"), **numbers, open_time=1, close_time=2, first_trade_id=1, last_trade_id=1,
        trade_count=1,
    )  # fmt: skip


def _is_decimal(name: str) -> bool:
    return Ticker.__annotations__.get(name) is Decimal


def depth_event(at: int) -> DepthSnapshot:
    fields = _common(None, "websocket") | {"received_at": at}
    return DepthSnapshot(**fields, update_id=1, levels=5, bids=(), asks=())


def gap_event(first: int, last: int | None, **changes: Any) -> Gap:
    """A hole of trades that was just found."""
    fields = {
        "gap_stream": "trade", "first_missing": first, "last_missing": last,
        "missing": None if last is None else last - first + 1, "cause": "id_jump", "status": "open",
        "repaired_from": "", "detail": "", "updated_at": START, **changes,
    }  # fmt: skip
    return Gap(**_common(START, "websocket") | fields | {"received_at": None})
