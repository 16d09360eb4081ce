"""Binance spot. Market data needs no key.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import count
from typing import Annotated, Any, ClassVar
from urllib.parse import quote as percent_encoded

import msgspec

from shared.events import (
    AggTrade,
    DepthSnapshot,
    Instrument,
    Kline,
    LiveEvent,
    StreamName,
    Ticker,
    Trade,
    UnfitDecimal,
    exact_decimal,
    exact_product,
)
from shared.symbol_manager import Symbol
from streaming.exchange import Answer, Ask, Exchange, Request, UnparsableMessage
from streaming.exchanges import binance_rest
from streaming.exchanges.binance_values import Count, Id, Time, micros, not_negative, positive

SUFFIXES = {"trade": "trade", "ticker": "ticker", "kline_1m": "kline_1m", "depth5": "depth5"}
IN_ADDRESS = 100
"""Channels that the address names; longer addresses are refused by servers on the way."""
IN_MESSAGE = 200


class Binance(Exchange):
    """Binance writes a pair in one word, and its streams in lower case: `btcusdt@trade`."""

    name = "binance"
    ws_url = "wss://data-stream.binance.vision"
    rest_url = "https://data-api.binance.vision"
    archive_url = "https://data.binance.vision"
    history_url = "https://api.binance.com"
    """Where single trades of the past are; `rest_url` does not have them."""
    rest_headers: ClassVar[dict[str, str]] = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    used_weight_header = "X-MBX-USED-WEIGHT-1M"
    trade_ids_are_contiguous = True

    def __init__(self, ws_url: str = "", rest_url: str = "", archive_url: str = "") -> None:
        super().__init__(ws_url, rest_url, archive_url)
        self.base_history_url = rest_url or self.history_url
        self._ids = count(1)

    def native(self, base: str, quote: str) -> str:
        return base + quote

    def channel(self, symbol: Symbol, stream: str) -> str:
        return f"{self.native(symbol.base, symbol.quote).lower()}@{SUFFIXES[stream]}"

    def address(self, channels: Sequence[str]) -> str:
        names = percent_encoded("/".join(channels[:IN_ADDRESS]), safe="/@")
        return f"{self.base_ws_url}/stream?streams={names}&timeUnit=MICROSECOND"

    def greeting(self, channels: Sequence[str]) -> list[Ask]:
        return self.subscribe(channels[IN_ADDRESS:])

    def subscribe(self, channels: Sequence[str]) -> list[Ask]:
        return list(self._asks("SUBSCRIBE", channels))

    def unsubscribe(self, channels: Sequence[str]) -> list[Ask]:
        return list(self._asks("UNSUBSCRIBE", channels))

    def _asks(self, method: str, channels: Sequence[str]) -> Iterator[Ask]:
        for start in range(0, len(channels), IN_MESSAGE):
            params = tuple(channels[start : start + IN_MESSAGE])
            number = next(self._ids)
            text = msgspec.json.encode({"method": method, "params": params, "id": number}).decode()
            yield Ask(text, params, str(number))

    def answer(self, frame: bytes) -> Answer | None:
        if frame.startswith(b'{"stream"'):
            return None
        try:
            message = _envelope.decode(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if message.id is None or not (message.result or message.error):
            return None
        return Answer(str(message.id), str(message.error.get("msg", message.error)) if message.error else "")

    def clock_address(self) -> str:
        return f"{self.base_rest_url}/api/v3/time"

    def clock(self, reply: bytes) -> int:
        """Milliseconds: `{"serverTime":1499827319559}`."""
        try:
            return micros(_clock.decode(reply).serverTime)
        except msgspec.MsgspecError as error:
            raise UnparsableMessage(str(error)) from None

    def trades_request(self, symbol: Symbol, from_id: int) -> Request:
        return self._about(symbol, "historicalTrades", 25, self.base_history_url, fromId=from_id)

    def recent_trades_request(self, symbol: Symbol) -> Request:
        return self._about(symbol, "trades", 25)

    def agg_trades_request(self, symbol: Symbol, from_time: int) -> Request:
        return self._about(symbol, "aggTrades", 4, startTime=from_time // 1000)

    def klines_request(self, symbol: Symbol, start: int, end: int) -> Request:
        return self._about(symbol, "klines", 2, interval="1m", startTime=start // 1000, endTime=end // 1000 - 1)

    def instruments_request(self) -> Request:
        return binance_rest.request(self.base_rest_url, "exchangeInfo", 20)

    def volumes_request(self) -> Request:
        return binance_rest.request(self.base_rest_url, "ticker/24hr", 80)

    def _about(self, symbol: Symbol, path: str, weight: int, base: str = "", **parameters: str | int) -> Request:
        native = self.native(symbol.base, symbol.quote)
        return binance_rest.request(
            base or self.base_rest_url, path, weight, symbol=native, limit=binance_rest.LIMIT, **parameters
        )

    def trades(self, reply: bytes, symbol: Symbol) -> list[Trade]:
        return binance_rest.trades(reply, symbol, self.name)

    def agg_trades(self, reply: bytes, symbol: Symbol) -> list[AggTrade]:
        return binance_rest.agg_trades(reply, symbol, self.name)

    def klines(self, reply: bytes, symbol: Symbol, now: int) -> list[Kline]:
        return binance_rest.klines(reply, symbol, self.name, now)

    def instruments(self, reply: bytes) -> list[Instrument]:
        return binance_rest.instruments(reply, self.name)

    def volumes(self, reply: bytes) -> dict[str, Decimal]:
        return binance_rest.volumes(reply)

    def unread_places(self, reply: bytes, stream: StreamName, symbol: Symbol) -> dict[int, str]:
        return binance_rest.unread_places(reply, stream, symbol)

    def unread_pairs(self, reply: bytes) -> set[str]:
        return binance_rest.unread_pairs(reply)

    def says_goodbye(self, frame: bytes) -> bool:
        return b"serverShutdown" in frame[:60]

    def parse(self, frame: bytes, received_at: int, connection_id: str) -> list[LiveEvent]:
        """Combined streams, answers to our requests, and the announcement of a shutdown.

        {"stream":"btcusdt@trade","data":{...}}
        {"result":null,"id":1}
        {"error":{"code":2,"msg":"Invalid request"},"id":1}
        {"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}
        """
        try:
            message = _envelope.decode(frame)
            if message.stream not in self.channels:
                return self._other(message)
            stream, symbol = self.channels[message.stream]
            return [_readers[stream](message.data, symbol, received_at, connection_id)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, UnfitDecimal) as error:
            raise UnparsableMessage(str(error)) from None

    def _other(self, message: "_Envelope") -> list[LiveEvent]:
        if message.error is not None:
            raise UnparsableMessage(f"the exchange refused our request: {message.error.get('msg', message.error)}")
        if message.stream == "!serverShutdown" or message.e == "serverShutdown":
            return []
        if not message.stream and message.result and message.id is not None:
            return []
        raise UnparsableMessage(f"unknown stream {message.stream!r}" if message.stream else "no stream is named")


_Levels = Annotated[list[tuple[str, str]], msgspec.Meta(max_length=5)]


class _Envelope(msgspec.Struct):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    """Where an answer has one it is never empty: `null` is four bytes."""
    error: dict[str, Any] | None = None
    e: str = ""


class _Trade(msgspec.Struct, tag_field="e", tag="trade"):
    E: Time
    s: str
    t: Count
    p: str
    q: str
    T: Time
    m: bool


class _Ticker(msgspec.Struct, tag_field="e", tag="24hrTicker"):
    E: Time
    s: str
    p: str
    P: str
    w: str
    c: str
    Q: str
    b: str
    B: str
    a: str
    A: str
    o: str
    h: str
    l: str  # noqa: E741 (Binance's name)
    v: str
    q: str
    O: Time  # noqa: E741
    C: Time
    F: Id
    L: Id
    n: Count


class _Candle(msgspec.Struct):
    t: Time
    T: Time
    s: str
    i: str
    f: Id
    L: Id
    o: str
    c: str
    h: str
    l: str  # noqa: E741
    v: str
    n: Count
    x: bool
    q: str
    V: str
    Q: str


class _Kline(msgspec.Struct, tag_field="e", tag="kline"):
    E: Time
    k: _Candle


class _Depth(msgspec.Struct):
    lastUpdateId: Count  # noqa: N815 (Binance's name)
    bids: _Levels
    asks: _Levels


class _Clock(msgspec.Struct):
    serverTime: Time  # noqa: N815


_clock = msgspec.json.Decoder(_Clock)
_envelope = msgspec.json.Decoder(_Envelope)
_trade_data = msgspec.json.Decoder(_Trade)
_ticker_data = msgspec.json.Decoder(_Ticker)
_kline_data = msgspec.json.Decoder(_Kline)
_depth_data = msgspec.json.Decoder(_Depth)


def _trade(data: msgspec.Raw, symbol: Symbol, received_at: int, connection_id: str) -> Trade:
    """`m` true: the buyer is the maker, so the taker sold. `t` is contiguous for each symbol.

    {"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",
     "T":1723161255342,"m":true,"M":true}
    """
    message = _trade_data.decode(data)
    _same(message.s, symbol)
    price, quantity = positive(message.p), positive(message.q)
    return Trade(
        exchange=Binance.name,
        symbol=symbol.symbol,
        base_asset=symbol.base,
        quote_asset=symbol.quote,
        event_time=micros(message.T),
        published_at=micros(message.E),
        received_at=received_at,
        source="websocket",
        connection_id=connection_id,
        trade_id=message.t,
        price=price,
        quantity=quantity,
        quote_quantity=exact_product(price, quantity),
        is_buyer_maker=message.m,
    )


def _ticker(data: msgspec.Raw, symbol: Symbol, received_at: int, connection_id: str) -> Ticker:
    """The last 24 hours, every second.

    {"e":"24hrTicker","E":1653812650349,"s":"ETHUSDT","p":"28.23000000","P":"1.600","w":"1781.16275609",
     "x":"1764.61000000","c":"1792.84000000","Q":"0.55720000","b":"1792.83000000","B":"1.62740000",
     "a":"1792.84000000","A":"20.29140000","o":"1764.61000000","h":"1808.98000000","l":"1748.94000000",
     "v":"471703.53110000","q":"840180761.51358100","O":1653726250344,"C":1653812650344,"F":841094172,
     "L":841646650,"n":552479}
    """
    message = _ticker_data.decode(data)
    _same(message.s, symbol)
    published_at = micros(message.E)
    return Ticker(
        exchange=Binance.name,
        symbol=symbol.symbol,
        base_asset=symbol.base,
        quote_asset=symbol.quote,
        event_time=published_at,
        published_at=published_at,
        received_at=received_at,
        source="websocket",
        connection_id=connection_id,
        last_price=positive(message.c),
        last_quantity=not_negative(message.Q),
        open_price=not_negative(message.o),
        high_price=not_negative(message.h),
        low_price=not_negative(message.l),
        price_change=exact_decimal(message.p),
        price_change_percent=exact_decimal(message.P),
        weighted_average_price=not_negative(message.w),
        volume=not_negative(message.v),
        quote_volume=not_negative(message.q),
        bid_price=not_negative(message.b),
        bid_quantity=not_negative(message.B),
        ask_price=not_negative(message.a),
        ask_quantity=not_negative(message.A),
        open_time=micros(message.O),
        close_time=micros(message.C),
        first_trade_id=message.F,
        last_trade_id=message.L,
        trade_count=message.n,
    )


def _kline(data: msgspec.Raw, symbol: Symbol, received_at: int, connection_id: str) -> Kline:
    """The candle of the minute, every two seconds; `x` true when it is finished.

    Without trades `n` is 0, `f` and `L` are -1.

        {"e":"kline","E":1653818762502,"s":"BTCUSDT","k":{"t":1653818760000,"T":1653818819999,"s":"BTCUSDT","i":"1m",
         "f":1384844002,"L":1384844032,"o":"29038.46000000","c":"29038.47000000","h":"29038.47000000",
         "l":"29038.46000000","v":"0.20926000","n":31,"x":false,"q":"6076.58918320","V":"0.10436000",
         "Q":"3030.45472920","B":"0"}}
    """
    message = _kline_data.decode(data)
    candle = message.k
    _same(candle.s, symbol)
    if candle.i != "1m":
        raise UnparsableMessage(f"a candle of {candle.i!r} in the stream of 1m")
    published_at = micros(message.E)
    return Kline(
        exchange=Binance.name,
        symbol=symbol.symbol,
        base_asset=symbol.base,
        quote_asset=symbol.quote,
        event_time=published_at,
        published_at=published_at,
        received_at=received_at,
        source="websocket",
        connection_id=connection_id,
        interval=candle.i,
        open_time=micros(candle.t),
        close_time=micros(candle.T),
        open=positive(candle.o),
        high=positive(candle.h),
        low=positive(candle.l),
        close=positive(candle.c),
        volume=not_negative(candle.v),
        quote_volume=not_negative(candle.q),
        trade_count=candle.n,
        taker_buy_volume=not_negative(candle.V),
        taker_buy_quote_volume=not_negative(candle.Q),
        first_trade_id=candle.f,
        last_trade_id=candle.L,
        is_closed=candle.x,
    )


def _depth5(data: msgspec.Raw, symbol: Symbol, received_at: int, connection_id: str) -> DepthSnapshot:
    """The best five levels, every second.

    It names neither symbol nor time: the stream's name and our clock stand for them.

        {"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}
    """
    message = _depth_data.decode(data)
    return DepthSnapshot(
        exchange=Binance.name,
        symbol=symbol.symbol,
        base_asset=symbol.base,
        quote_asset=symbol.quote,
        event_time=None,
        received_at=received_at,
        source="websocket",
        connection_id=connection_id,
        update_id=message.lastUpdateId,
        levels=5,
        bids=tuple((positive(price), positive(quantity)) for price, quantity in message.bids),
        asks=tuple((positive(price), positive(quantity)) for price, quantity in message.asks),
    )


_readers: dict[str, Callable[[msgspec.Raw, Symbol, int, str], LiveEvent]] = {
    "trade": _trade,
    "ticker": _ticker,
    "kline_1m": _kline,
    "depth5": _depth5,
}


def _same(native: str, symbol: Symbol) -> None:
    if native != symbol.symbol:
        raise UnparsableMessage(f"the message is about {native!r}, its stream about {symbol.symbol!r}")
