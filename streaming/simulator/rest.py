"""Binance spot's public REST calls, with its weights, limits, error bodies and way of choosing rows.

Source: Binance's "REST API" and "Error codes" documents. Times in requests may be milliseconds or microseconds.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable

import numpy as np
from aiohttp import web

from streaming.simulator import instruments
from streaming.simulator.calendar import TRADING
from streaming.simulator.candles import Candle, Candles, TradeTape, minute_candles, open_candle, spans
from streaming.simulator.clock import Clock
from streaming.simulator.market import MINUTE, Market, Tape
from streaming.simulator.messages import (
    MILLISECOND,
    aggregate_rows,
    depth_payload,
    exchange_info_row,
    json_text,
    kline_row,
    ticker_row,
    trade_rows,
)
from streaming.simulator.stage import RestFaults
from streaming.simulator.ticker import RollingDay
from streaming.simulator.websocket import TIME_UNITS

WEIGHT_A_MINUTE = 6_000
BOOK_LEVELS = 100
INTERVALS = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30,
    "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480, "12h": 720, "1d": 1440,
}  # fmt: skip
"""Minutes."""

INFO_PARAMETERS = ("symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus")
"""Of `exchangeInfo`."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RequestError(Exception):
    """A request that Binance refuses: its error code and words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Weights:
    """What each address has used in this minute of the exchange's clock."""

    def __init__(self, seconds: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._minute = 0
        self._used: dict[str, int] = {}

    def use(self, address: str, weight: int) -> int:
        """Adds to an address's use; gives the sum of this minute."""
        minute = int(self._seconds() // 60)
        if minute != self._minute:
            self._minute = minute
            self._used.clear()
        self._used[address] = self._used.get(address, 0) + weight
        return self._used[address]

    def seconds_left(self) -> int:
        """Until the next minute."""
        return 60 - int(self._seconds() % 60)


WEIGHTS = {
    "/api/v3/ping": 1, "/api/v3/time": 1, "/api/v3/exchangeInfo": 20, "/api/v3/klines": 2, "/api/v3/trades": 25,
    "/api/v3/historicalTrades": 25, "/api/v3/aggTrades": 4, "/api/v3/ticker/price": 4, "/api/v3/ticker/bookTicker": 4,
}  # fmt: skip


def _weight(request: web.Request) -> int:
    if request.path == "/api/v3/depth":
        limit = request.query.get("limit", "100")
        size = int(limit) if re.fullmatch(r"[0-9]{1,20}", limit) else 100
        return next((weight for most, weight in ((100, 5), (500, 25), (1000, 50)) if size <= most), 250)
    if request.path == "/api/v3/ticker/24hr":
        count = request.query.get("symbols", "").count('"') // 2 or (1 if "symbol" in request.query else 101)
        return next((weight for most, weight in ((20, 2), (100, 40)) if count <= most), 80)
    return WEIGHTS.get(request.path, 0)


@web.middleware
async def as_binance(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Counts the weight, and words errors as Binance does."""
    if not request.path.startswith("/api/"):
        return await handler(request)
    used = request.app[WEIGHTS_KEY].use(request.remote or "", _weight(request))
    refusal = request.app[FAULTS_KEY].refusal(request.path)
    if refusal:
        reply = _refused(*refusal)
    elif used > WEIGHT_A_MINUTE:
        reply = _error(
            429, -1003,
            f"Too much request weight used; current limit is {WEIGHT_A_MINUTE} request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API.",
        )  # fmt: skip
        reply.headers["Retry-After"] = str(request.app[WEIGHTS_KEY].seconds_left())
    else:
        try:
            reply = await handler(request)  # type: ignore[assignment]
        except RequestError as error:
            reply = _error(400, error.code, str(error))
    reply.headers["X-MBX-USED-WEIGHT"] = reply.headers["X-MBX-USED-WEIGHT-1M"] = str(used)
    return reply


WEIGHTS_KEY = web.AppKey("weights", Weights)
FAULTS_KEY = web.AppKey("faults", RestFaults)


def _refused(status: int, retry_after: int) -> web.Response:
    """As a fault asks for: the firewall's 403 and a gateway's 5xx are pages, the others speak Binance's JSON."""
    if status in (418, 429):
        reply = _error(status, -1003, "Way too much request weight used; IP banned. Please use WebSocket Streams.")
    elif status == 500:
        reply = _error(status, -1000, "An unknown error occurred while processing the request.")
    else:
        page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
        reply = web.Response(status=status, text=page, content_type="text/html")
    if retry_after:
        reply.headers["Retry-After"] = str(retry_after)
    return reply


def _error(status: int, code: int, text: str) -> web.Response:
    return web.json_response({"code": code, "msg": text}, status=status)


def json_reply(text: str) -> web.Response:
    """A reply of JSON that is already text."""
    return web.Response(text=text, content_type="application/json")


# --- parameters


def check_names(request: web.Request, *allowed: str) -> None:
    """Raises `RequestError` where other parameters are given than these and the time unit."""
    allowed = (*allowed, "timeUnit")
    given = [name for name in request.query if name in allowed]
    if len(given) < len(request.query):
        raise RequestError(-1101, f"Too many parameters; expected '{len(given)}' and received '{len(request.query)}'.")
    if len(set(given)) < len(given):
        raise RequestError(-1101, "Duplicate values for a parameter detected.")


def integer_of(request: web.Request, name: str) -> int | None:
    """A parameter that is a number; none where it is not given. Raises `RequestError` where it is none."""
    text = request.query.get(name)
    if text is None:
        return None
    if not text:
        raise RequestError(-1105, f"Parameter '{name}' was empty.")
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise RequestError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    value = int(text)
    if value >= 2**63:
        raise RequestError(-1108, f"Parameter '{name}' overflowed.")
    return value


def limit_of(request: web.Request, usual: int, most: int) -> int:
    """The `limit` parameter, cut to `most`. Raises `RequestError` where it is no positive number."""
    limit = integer_of(request, "limit")
    if limit == 0:
        raise RequestError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(usual if limit is None else limit, most)


def time_of(request: web.Request, name: str) -> int | None:
    """A time parameter in microseconds; Binance tells the unit by the size."""
    value = integer_of(request, name)
    return value if value is None or value >= 10**14 else value * MILLISECOND


def last_moment_of(request: web.Request, name: str) -> int | None:
    """The last microsecond that an end time includes: a millisecond is included whole."""
    value = integer_of(request, name)
    return value if value is None or value >= 10**14 else value * MILLISECOND + MILLISECOND - 1


def unit_of(request: web.Request) -> int:
    """The time unit that the reply is wanted in, unless a fault says another."""
    asked = request.headers.get("X-MBX-TIME-UNIT") or request.query.get("timeUnit") or "MILLISECOND"
    unit = TIME_UNITS.get(asked.upper())
    if unit is None:
        raise RequestError(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
    return MILLISECOND if request.app[FAULTS_KEY].is_in_milliseconds else unit


def symbol_of(request: web.Request) -> str:
    """The `symbol` parameter. Raises `RequestError` where it is missing or malformed."""
    symbol = request.query.get("symbol")
    if symbol is None:
        raise RequestError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    if not symbol:
        raise RequestError(-1105, "Parameter 'symbol' was empty.")
    return _legal(symbol)


def _legal(symbol: str) -> str:
    if not re.fullmatch(r"(?:[^\Wa-z]|[-.]){1,50}", symbol):
        raise RequestError(
            -1100, r"Illegal characters found in parameter 'symbol'; legal range is '^[\w\-._&&[^a-z]]{1,50}$'."
        )
    return symbol


def symbols_of(request: web.Request) -> list[str] | None:
    """The `symbol` or `symbols` parameter; none where neither is given."""
    if "symbol" in request.query and "symbols" in request.query:
        raise RequestError(-1128, "Combination of optional parameters invalid.")
    if "symbols" not in request.query:
        return [symbol_of(request)] if "symbol" in request.query else None
    try:
        symbols = json.loads(request.query["symbols"])
    except (ValueError, RecursionError):
        symbols = None
    if not isinstance(symbols, list) or not symbols or not all(isinstance(symbol, str) for symbol in symbols):
        raise RequestError(-1135, "JSON sent for parameter 'symbols' is not valid")
    if len(set(symbols)) < len(symbols):
        raise RequestError(-1151, "Symbol is present multiple times in the list.")
    return [_legal(symbol) for symbol in symbols]


# --- what needs no market


def clock_routes(clock: Clock) -> list[web.RouteDef]:
    """`ping` and `time`."""

    async def ping(request: web.Request) -> web.Response:
        check_names(request)
        return json_reply("{}")

    async def server_time(request: web.Request) -> web.Response:
        check_names(request)
        return json_reply(json_text({"serverTime": clock() // unit_of(request)}))

    return [web.get("/api/v3/ping", ping), web.get("/api/v3/time", server_time)]


def exchange_info_reply(request: web.Request, now: int, rows: list[dict[str, object]]) -> web.Response:
    """The reply of `exchangeInfo` with these rows of symbols."""
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_A_MINUTE}
    info = {
        "timezone": "UTC",
        "serverTime": now // unit_of(request),
        "rateLimits": [limit],
        "exchangeFilters": [],
        "symbols": rows,
    }
    return json_reply(json_text(info))


def common_routes(clock: Clock, listed: Callable[[], dict[str, str]]) -> list[web.RouteDef]:
    """The calls about no trades; `listed` gives the status of each symbol that is listed now, and no others are."""

    async def exchange_info(request: web.Request) -> web.Response:
        """Any pair with a known quote asset is traded here; without a parameter, the usual ones are named."""
        check_names(request, *INFO_PARAMETERS)
        statuses = listed()
        asked = symbols_of(request) or [symbol for symbol, status in statuses.items() if status]
        pairs = [(instruments.instrument(symbol), statuses.get(symbol, TRADING)) for symbol in asked]
        if not all(pair and status for pair, status in pairs):
            raise RequestError(-1121, "Invalid symbol.")
        rows = [exchange_info_row(pair, status) for pair, status in pairs if pair]
        return exchange_info_reply(request, clock(), rows)

    return [*clock_routes(clock), web.get("/api/v3/exchangeInfo", exchange_info)]


# --- the market


def trade_routes(tape_of: Callable[[str], TradeTape | None], clock: Clock, *, has_open: bool) -> list[web.RouteDef]:
    """The calls about trades and candles, until the moment of asking; `has_open`: with the unfinished candle."""
    rest = _TradeCalls(tape_of, clock, has_open)
    return [
        web.get("/api/v3/klines", rest.klines),
        web.get("/api/v3/trades", rest.trades),
        web.get("/api/v3/historicalTrades", rest.historical_trades),
        web.get("/api/v3/aggTrades", rest.aggregate_trades),
    ]


def market_routes(market: Market, clock: Clock) -> list[web.RouteDef]:
    """All calls about the made market."""
    rest = _MarketCalls(market, clock)
    return [
        *common_routes(clock, lambda: market.statuses(clock())),
        *trade_routes(market.tape, clock, has_open=True),
        web.get("/api/v3/depth", rest.depth),
        web.get("/api/v3/ticker/24hr", rest.ticker),
    ]


async def closed_candles(tape: TradeTape, start: int, end: int) -> Candles:
    """The candles of the minutes [start, end), computed in parts that let others run between them."""
    candles = minute_candles(tape, start, start)
    for begin, until in spans(tape, start, end):
        candles = candles.then(minute_candles(tape, begin, until))
        await asyncio.sleep(0)
    return candles


class _TradeCalls:
    def __init__(self, tape_of: Callable[[str], TradeTape | None], clock: Clock, has_open: bool) -> None:
        self._tape_of = tape_of
        self._clock = clock
        self._has_open = has_open

    def _tape(self, symbol: str) -> TradeTape:
        tape = self._tape_of(symbol)
        if tape is None:
            raise RequestError(-1121, "Invalid symbol.")
        return tape

    async def trades(self, request: web.Request) -> web.Response:
        check_names(request, "symbol", "limit")
        tape = self._tape(symbol_of(request))
        limit, last = limit_of(request, 500, 1000), tape.id_at(self._clock() + 1) - 1
        return json_reply(trade_rows(tape.instrument, tape.trades(last - limit + 1, last), unit_of(request)))

    async def historical_trades(self, request: web.Request) -> web.Response:
        check_names(request, "symbol", "limit", "fromId")
        tape = self._tape(symbol_of(request))
        limit, first, last = (
            limit_of(request, 500, 1000),
            integer_of(request, "fromId"),
            tape.id_at(self._clock() + 1) - 1,
        )
        first = last - limit + 1 if first is None else min(first, last + 1)
        found = tape.trades_from(max(first, 1), limit)
        found = found[: int(np.searchsorted(found.id, last + 1))]
        return json_reply(trade_rows(tape.instrument, found, unit_of(request)))

    async def aggregate_trades(self, request: web.Request) -> web.Response:
        check_names(request, "symbol", "fromId", "startTime", "endTime", "limit")
        tape = self._tape(symbol_of(request))
        limit, first = limit_of(request, 500, 1000), integer_of(request, "fromId")
        start, until = time_of(request, "startTime"), last_moment_of(request, "endTime")
        if first is not None and (start is not None or until is not None):
            raise RequestError(-1128, "Combination of optional parameters invalid.")
        end = tape.order_at(min(self._clock() if until is None else until, self._clock()) + 1)
        if start is not None:
            first = tape.order_at(start)
        first = max(end - limit, 0) if first is None else first
        found = tape.trades_of_orders(first, min(first + limit, end))
        return json_reply(aggregate_rows(tape.instrument, found, unit_of(request)))

    async def klines(self, request: web.Request) -> web.Response:
        """With a start the first rows from it, otherwise the last ones; the last row may be unfinished."""
        check_names(request, "symbol", "interval", "startTime", "endTime", "timeZone", "limit")
        tape, unit, limit = self._tape(symbol_of(request)), unit_of(request), limit_of(request, 500, 1000)
        if "interval" not in request.query:
            raise RequestError(-1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
        if request.query["interval"] not in INTERVALS:
            raise RequestError(-1120, "Invalid interval.")
        width = INTERVALS[request.query["interval"]] * MINUTE
        now = self._clock()
        start, until = time_of(request, "startTime"), time_of(request, "endTime")
        begin = tape.opening // width
        end = min(now if until is None else until, now) // width + 1
        begin = max(begin, end - limit) if start is None else max(begin, -(-start // width))
        rows: list[tuple[int, Candle]] = []
        while begin < end and len(rows) < limit:
            begin = max(begin, tape.minute_start(tape.next_open(tape.minute_of(begin * width))) // width)
            part = min(end, begin + limit - len(rows))
            rows += await self._kline_rows(tape, begin * width, part * width, width, now)
            begin = part
        return json_reply(json_text([kline_row(tape.instrument, moment, width, bar, unit) for moment, bar in rows]))

    async def _kline_rows(
        self, tape: TradeTape, start: int, end: int, width: int, now: int
    ) -> list[tuple[int, Candle]]:
        first, current = max(tape.minute_of(start), 0), tape.minute_of(now)
        candles = await closed_candles(tape, first, max(min(tape.minute_of(end), current), first))
        if self._has_open and current >= 0 and tape.minute_start(current) < end:
            candles = candles.then(Candles.of(current, open_candle(tape, current, now)))
        is_open = tape.is_open(candles.minute)  # a minute in which trading halted has no candle at all
        rows = []
        for moment in range(start, end, width):
            low = max(tape.minute_of(moment) - first, 0)
            part = candles[low : tape.minute_of(moment + width) - first]
            part = part[is_open[low : low + len(part)]]
            if len(part):
                rows.append((moment, part.whole()))
        return rows


class _MarketCalls:
    def __init__(self, market: Market, clock: Clock) -> None:
        self._market = market
        self._clock = clock
        self._days: dict[str, RollingDay] = {}

    def _tape(self, symbol: str) -> Tape:
        tape = self._market.tape(symbol)
        if tape is None:
            raise RequestError(-1121, "Invalid symbol.")
        return tape

    async def depth(self, request: web.Request) -> web.Response:
        check_names(request, "symbol", "limit")
        tape, limit = self._tape(symbol_of(request)), limit_of(request, 100, 5000)
        return json_reply(depth_payload(tape.instrument, tape.book(self._clock(), min(limit, BOOK_LEVELS))))

    async def ticker(self, request: web.Request) -> web.Response:
        check_names(request, "symbol", "symbols", "type")
        unit, symbols = unit_of(request), symbols_of(request)
        rows = []
        for tape in [self._tape(symbol) for symbol in symbols or self._market.listed(self._clock())]:
            day = self._days.setdefault(tape.instrument.symbol, RollingDay(tape))
            await day.warm(self._clock())
            now = self._clock()
            rows.append(
                ticker_row(tape.instrument, day.statistics(now, open_candle(tape, tape.minute_of(now), now)), unit)
            )
        return json_reply(json_text(rows[0] if "symbol" in request.query else rows))
