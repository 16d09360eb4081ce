"""Binance's public REST calls, answered of the lake as of the replay's clock.

Symbols that are not played do not exist. What it cannot say of a moment it refuses in words of its own (-1000).
"""

import asyncio
from collections.abc import Callable
from decimal import Decimal

from aiohttp import web

from crypto_pipeline import utc
from crypto_pipeline.reader import LakeError
from crypto_pipeline.replay.market import Candle, Market, fills_of_takers, folded
from crypto_pipeline.replay.messages import Row, book, places
from crypto_pipeline.replay.stored import MINUTE
from streaming.simulator.clock import Clock
from streaming.simulator.messages import json_text, pair_row
from streaming.simulator.rest import (
    INFO_PARAMETERS,
    INTERVALS,
    Handler,
    RequestError,
    check_names,
    clock_routes,
    exchange_info_reply,
    integer_of,
    json_reply,
    last_moment_of,
    limit_of,
    symbol_of,
    symbols_of,
    time_of,
    unit_of,
)

DAY = 86_400_000_000
_FILLS_A_ROW = 5
"""So many trades are read for each merged one that is asked for from the end."""


def routes(market: Market, clock: Clock) -> list[web.RouteDef]:
    """All calls, of a market as it was at the clock."""
    rest = _Calls(market, clock)
    calls = {
        "exchangeInfo": rest.exchange_info, "klines": rest.klines, "trades": rest.trades,
        "historicalTrades": rest.historical_trades, "aggTrades": rest.aggregate_trades, "depth": rest.depth,
        "ticker/24hr": rest.day, "ticker/price": rest.price, "ticker/bookTicker": rest.book_ticker,
    }  # fmt: skip
    return [*clock_routes(clock), *(web.get(f"/api/v3/{name}", _aside(call)) for name, call in calls.items())]


Call = Callable[[web.Request], web.Response]


def _aside(call: Call) -> Handler:
    """A call in a thread, so that what is played does not wait while the lake is read."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return await asyncio.to_thread(call, request)
        except LakeError as error:
            raise RequestError(-1000, str(error)) from None

    return answer


class _Calls:
    def __init__(self, market: Market, clock: Clock) -> None:
        self._market = market
        self._clock = clock

    def _symbol(self, request: web.Request) -> str:
        return self._known(symbol_of(request))

    def _known(self, symbol: str) -> str:
        if symbol not in self._market.symbols:
            raise RequestError(-1121, "Invalid symbol.")
        return symbol

    def exchange_info(self, request: web.Request) -> web.Response:
        check_names(request, *INFO_PARAMETERS)
        now, rows = self._clock(), []
        for symbol in symbols_of(request) or self._market.symbols:
            pair = self._market.pair(self._known(symbol), now)
            steps = map(places, (pair.tick_size, pair.step_size, pair.min_notional))
            rows.append(pair_row(symbol, pair.base, pair.quote, pair.status, *steps))
        return exchange_info_reply(request, now, rows)

    def trades(self, request: web.Request) -> web.Response:
        check_names(request, "symbol", "limit")
        found = self._market.last_trades(self._symbol(request), self._clock(), limit_of(request, 500, 1000))
        return _trades(found, unit_of(request))

    def historical_trades(self, request: web.Request) -> web.Response:
        check_names(request, "symbol", "limit", "fromId")
        symbol, limit, first = self._symbol(request), limit_of(request, 500, 1000), integer_of(request, "fromId")
        now = self._clock()
        if first is None:
            return _trades(self._market.last_trades(symbol, now, limit), unit_of(request))
        return _trades(self._market.trades_from(symbol, first, now, limit), unit_of(request))

    def aggregate_trades(self, request: web.Request) -> web.Response:
        """Their numbers are those of their first trades, as Binance's own are not stored."""
        check_names(request, "symbol", "fromId", "startTime", "endTime", "limit")
        symbol, limit, first = self._symbol(request), limit_of(request, 500, 1000), integer_of(request, "fromId")
        start, until = time_of(request, "startTime"), last_moment_of(request, "endTime")
        if first is not None and (start is not None or until is not None):
            raise RequestError(-1128, "Combination of optional parameters invalid.")
        now = self._clock() if until is None else min(until, self._clock())
        if start is not None:
            first = self._market.first_id(symbol, start, now)
            merged = [] if first is None else self._merged_from(symbol, first, now, limit)
        elif first is not None:
            merged = self._merged_from(symbol, first, now, limit)
        else:
            fills = self._market.last_trades(symbol, now, limit * _FILLS_A_ROW)
            merged = fills_of_takers(fills)[-limit:]
        unit = unit_of(request)
        rows = [
            {
                "a": fills[0]["trade_id"], "p": places(fills[0]["price"]),
                "q": places(sum((fill["quantity"] for fill in fills), Decimal(0))),
                "f": fills[0]["trade_id"], "l": fills[-1]["trade_id"],
                "T": utc.micros(fills[0]["event_time"]) // unit, "m": fills[0]["is_buyer_maker"], "M": True,
            }
            for fills in merged
        ]  # fmt: skip
        return json_reply(json_text(rows))

    def _merged_from(self, symbol: str, first: int, now: int, limit: int) -> list[list[Row]]:
        fills: list[Row] = []
        while True:
            more = self._market.trades_from(symbol, first, now, limit)
            fills += more
            merged = fills_of_takers(fills)
            if len(merged) > limit or len(more) < limit:
                return merged[:limit]
            first = fills[-1]["trade_id"] + 1

    def klines(self, request: web.Request) -> web.Response:
        """With a start the first rows from it, otherwise the last ones; the last row may be unfinished."""
        check_names(request, "symbol", "interval", "startTime", "endTime", "timeZone", "limit")
        symbol, unit, limit = self._symbol(request), unit_of(request), limit_of(request, 500, 1000)
        if "interval" not in request.query:
            raise RequestError(-1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
        if request.query["interval"] not in INTERVALS:
            raise RequestError(-1120, "Invalid interval.")
        width = INTERVALS[request.query["interval"]] * MINUTE
        now = self._clock()
        start, until = time_of(request, "startTime"), time_of(request, "endTime")
        opening = self._market.opening(symbol) // width
        end = min(now if until is None else until, now) // width + 1
        begin = max(opening, end - limit) if start is None else max(opening, -(-start // width))
        rows: list[Candle] = []
        while begin < end and len(rows) < limit:
            part = min(end, begin + limit - len(rows))
            rows += self._market.candles(symbol, width, begin * width, part * width, now)
            begin = part
        return json_reply(json_text([_kline(row, width, unit) for row in rows]))

    def depth(self, request: web.Request) -> web.Response:
        check_names(request, "symbol", "limit")
        symbol, limit = self._symbol(request), limit_of(request, 100, 5000)
        row = self._market.latest("bronze.depth", symbol, self._clock())
        if row is None:
            raise self._unknown("order book", symbol)
        return json_reply(json_text(book(row, limit)))

    def price(self, request: web.Request) -> web.Response:
        check_names(request, "symbol", "symbols")
        return self._each(request, self._price)

    def book_ticker(self, request: web.Request) -> web.Response:
        check_names(request, "symbol", "symbols")
        return self._each(request, self._book_ticker)

    def day(self, request: web.Request) -> web.Response:
        check_names(request, "symbol", "symbols", "type")
        unit = unit_of(request)
        return self._each(request, lambda symbol, now: self._day(symbol, now, unit))

    def _each(self, request: web.Request, row_of: Callable[[str, int], dict[str, object]]) -> web.Response:
        """A row of the symbol, or a list of those asked for. Of all, those without an answer are left out."""
        asked, now = symbols_of(request), self._clock()
        rows = []
        for symbol in asked or self._market.symbols:
            try:
                rows.append(row_of(self._known(symbol), now))
            except RequestError:
                if asked:
                    raise
        return json_reply(json_text(rows[0] if "symbol" in request.query else rows))

    def _price(self, symbol: str, now: int) -> dict[str, object]:
        last = self._market.last_trades(symbol, now, 1)
        if last:
            return {"symbol": symbol, "price": places(last[0]["price"])}
        candles = self._market.candles(symbol, MINUTE, now - DAY, now, now)
        if not candles:
            raise self._unknown("price", symbol)
        return {"symbol": symbol, "price": places(candles[-1].close)}

    def _book_ticker(self, symbol: str, now: int) -> dict[str, object]:
        best = self._best(symbol, now)
        if not best:
            raise self._unknown("order book", symbol)
        return {"symbol": symbol, **best}

    def _best(self, symbol: str, now: int) -> dict[str, object]:
        """The best bid and ask; empty where they are not known."""
        row = self._market.latest("bronze.depth", symbol, now)
        if row and row["bids"] and row["asks"]:
            sides = {"bid": row["bids"][0], "ask": row["asks"][0]}
            return {
                f"{side}{name}": places(level[key])
                for side, level in sides.items()
                for name, key in (("Price", "price"), ("Qty", "quantity"))
            }
        row = self._market.latest("bronze.tickers", symbol, now)
        return {name: places(row[key]) for name, key in _BEST.items()} if row else {}

    def _day(self, symbol: str, now: int, unit: int) -> dict[str, object]:
        """As the ticker said it last; where none is stored, of the candles of the 24 hours."""
        row = self._market.latest("bronze.tickers", symbol, now)
        if row:
            figures = {name: places(row[key]) for name, key in _DAY.items()}
            figures["priceChangePercent"] = f"{row['price_change_percent']:.3f}"
            span = (utc.micros(row["open_time"]), utc.micros(row["close_time"]))
            ids = (row["first_trade_id"], row["last_trade_id"], row["trade_count"])
        else:
            candles = self._market.candles(symbol, MINUTE, now // MINUTE * MINUTE - DAY, now + 1, now)
            if not candles:
                raise self._unknown("ticker", symbol)
            day = folded(candles, candles[0].start)
            figures = {
                "priceChange": places(day.close - day.open),
                "priceChangePercent": f"{(day.close - day.open) / day.open * 100:.3f}",
                "weightedAvgPrice": places(day.quote_volume / day.volume if day.volume else day.close),
                "lastPrice": places(day.close), "openPrice": places(day.open), "highPrice": places(day.high),
                "lowPrice": places(day.low), "volume": places(day.volume), "quoteVolume": places(day.quote_volume),
            }  # fmt: skip
            span = (now - DAY, now)
            ids = (-1, -1, day.trade_count)
        return {
            "symbol": symbol, **figures, **self._best(symbol, now),
            "openTime": span[0] // unit, "closeTime": span[1] // unit,
            "firstId": ids[0], "lastId": ids[1], "count": ids[2],
        }  # fmt: skip

    def _unknown(self, what: str, symbol: str) -> RequestError:
        return RequestError(-1000, f"The {what} of {symbol} is not stored at this time of the replay.")


_BEST = {"bidPrice": "bid_price", "bidQty": "bid_quantity", "askPrice": "ask_price", "askQty": "ask_quantity"}
_DAY = {
    "priceChange": "price_change", "weightedAvgPrice": "weighted_average_price", "lastPrice": "last_price",
    "lastQty": "last_quantity", "openPrice": "open_price", "highPrice": "high_price", "lowPrice": "low_price",
    "volume": "volume", "quoteVolume": "quote_volume",
}  # fmt: skip


def _trades(rows: list[Row], unit: int) -> web.Response:
    found = [
        {
            "id": row["trade_id"], "price": places(row["price"]), "qty": places(row["quantity"]),
            "quoteQty": places(row["quote_quantity"]), "time": utc.micros(row["event_time"]) // unit,
            "isBuyerMaker": row["is_buyer_maker"], "isBestMatch": True,
        }
        for row in rows
    ]  # fmt: skip
    return json_reply(json_text(found))


def _kline(row: Candle, width: int, unit: int) -> list[object]:
    prices = [places(value) for value in (row.open, row.high, row.low, row.close, row.volume)]
    bought = [places(row.taker_buy_volume), places(row.taker_buy_quote_volume)]
    closes = (row.start + width) // unit - 1
    return [row.start // unit, *prices, closes, places(row.quote_volume), row.trade_count, *bought, "0"]
