"""From the hub to the open pages: what changed is written once and sent to all who look at it.

A message tells how things stand, not what happened, so a page that is slow misses nothing by skipping one: for each
page at most the newest of each kind waits.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from dashboard.context import Context
from dashboard.formats import exact_text
from dashboard.hub import Key, Market
from dashboard.market import live_bar

TICK_SECONDS = 0.25
"""The price of the symbol in view moves at most so often; all else every fourth time."""
SLOW_TICKS = 4
BARS_SENT = 3

View = tuple[Key, str]
"""What a page looks at: a symbol and its timeframe."""

_encode = msgspec.json.Encoder(decimal_format="string").encode


class Page:
    """One open page: what it looks at, and what waits to be sent to it."""

    def __init__(self) -> None:
        self.view: View | None = None
        self._waiting: dict[str, bytes] = {}
        self._ready = asyncio.Event()

    def put(self, kind: str, message: bytes) -> None:
        """Have it sent; it replaces what waits of its kind."""
        self._waiting[kind] = message
        self._ready.set()

    async def next(self) -> bytes:
        """All that waits, as one JSON array."""
        await self._ready.wait()
        self._ready.clear()
        parts, self._waiting = self._waiting, {}
        return b"[" + b",".join(parts.values()) + b"]"


class Broadcast:
    """All open pages."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.pages: set[Page] = set()
        self._sent: dict[tuple[str, View | None], Any] = {}

    def show(self, page: Page, view: View | None) -> None:
        """A page looks at something else, or at no symbol: it gets how that stands at once."""
        page.view = view
        market = self._context.hub.markets.get(view[0]) if view else None
        if view is not None and market is not None:
            page.put("price", self._price(view, market))
            page.put("depth", _depth(view[0], market))
        page.put("watch", self._watch())
        page.put("alerts", self._alerts())
        page.put("state", self._state())

    async def run(self) -> None:
        """Send what changed, until it is cancelled."""
        ticks = 0
        while True:
            began = time.monotonic()
            if self.pages:
                self.tick(slow=ticks % SLOW_TICKS == 0)
            ticks += 1
            await asyncio.sleep(max(TICK_SECONDS - (time.monotonic() - began), 0.01))

    def tick(self, *, slow: bool) -> None:
        """Write each message that somebody waits for and that changed, once, and hand it to the pages."""
        watching: dict[View, list[Page]] = {}
        for page in self.pages:
            if page.view is not None:
                watching.setdefault(page.view, []).append(page)
        self._sent = {of: sent for of, sent in self._sent.items() if of[1] is None or of[1] in watching}
        for view, pages in watching.items():
            market = self._context.hub.markets.get(view[0])
            if market is None:
                continue
            if self._is_new("price", view, market.version):
                _to_all(pages, "price", self._price(view, market))
            if slow and self._is_new("depth", view, market.version):
                _to_all(pages, "depth", _depth(view[0], market))
        if slow:
            _to_all(self.pages, "state", self._state())
            for kind, message in (("watch", self._watch()), ("alerts", self._alerts())):
                if self._is_new(kind, None, message):
                    _to_all(self.pages, kind, message)

    def _is_new(self, kind: str, view: View | None, version: Any) -> bool:
        if self._sent.get((kind, view)) == version:
            return False
        self._sent[kind, view] = version
        return True

    def _price(self, view: View, market: Market) -> bytes:
        (exchange, symbol), interval = view
        return _encode(
            {
                "type": "price",
                "exchange": exchange,
                "symbol": symbol,
                "interval": interval,
                "price": exact_text(market.price) if market.price is not None else None,
                "bars": [live_bar(bar) for bar in market.bars(interval)[-BARS_SENT:]],
            }
        )

    def _watch(self) -> bytes:
        return _encode(
            {
                "type": "watch",
                "prices": {
                    f"{exchange}:{symbol}": [
                        exact_text(market.price),
                        float(market.ticker.price_change_percent) if market.ticker else None,
                    ]
                    for (exchange, symbol), market in self._context.hub.markets.items()
                    if market.price is not None
                },
            }
        )

    def _alerts(self) -> bytes:
        return _encode({"type": "alerts", **self._context.alerts.standing})

    def _state(self) -> bytes:
        context = self._context
        lake = max((market.lake.until for market in context.hub.markets.values()), default=0)
        return _encode(
            {
                "type": "state",
                "now": time.time(),
                "feed": context.feed.trouble,
                "database": context.database.trouble,
                "lake_until": lake // 1_000_000 or None,
            }
        )


def _depth(key: Key, market: Market) -> bytes:
    book, ticker = market.book, market.ticker
    return _encode(
        {
            "type": "depth",
            "exchange": key[0],
            "symbol": key[1],
            "bids": [[exact_text(price), exact_text(size)] for price, size in book.bids] if book else [],
            "asks": [[exact_text(price), exact_text(size)] for price, size in book.asks] if book else [],
            "ticker": ticker
            and {
                "high": exact_text(ticker.high_price),
                "low": exact_text(ticker.low_price),
                "volume": exact_text(ticker.volume),
                "quote_volume": exact_text(ticker.quote_volume),
                "change_percent": float(ticker.price_change_percent),
            },
            "trades": [
                [trade.trade_id, trade.event_time // 1000, exact_text(trade.price), exact_text(trade.quantity),
                 trade.is_buyer_maker]
                for trade in reversed(market.trades)
            ],
        }
    )  # fmt: skip


def _to_all(pages: Iterable[Page], kind: str, message: bytes) -> None:
    for page in pages:
        page.put(kind, message)
