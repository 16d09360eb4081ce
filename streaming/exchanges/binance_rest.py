"""What Binance spot answers by REST, read into events.

https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
"""

import logging
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from shared.events import AggTrade, Instrument, Kline, StreamName, Trade, UnfitDecimal, exact_product
from shared.symbol_manager import Symbol
from streaming.exchange import Request, UnparsableMessage
from streaming.exchanges.binance_values import Count, Id, Time, micros, not_negative, positive

log = logging.getLogger(__name__)

LIMIT = 1000
"""The most rows of one reply."""
MINUTE = 60_000_000
SOURCE: dict[str, Any] = {"source": "rest", "connection_id": "rest"}
SHOWN = 200
"""How much of a bad row the log shows, in bytes."""

_Read = TypeVar("_Read")
_BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, UnfitDecimal, UnparsableMessage)


class _Trade(msgspec.Struct):
    id: Count
    price: str
    qty: str
    time: Time
    isBuyerMaker: bool  # noqa: N815 (Binance's name)


class _AggTrade(msgspec.Struct):
    a: Count
    p: str
    q: str
    f: Id
    l: Id  # noqa: E741
    T: Time
    m: bool


class _Filter(msgspec.Struct):
    filterType: str  # noqa: N815
    tickSize: str | None = None  # noqa: N815
    stepSize: str | None = None  # noqa: N815
    minNotional: str | None = None  # noqa: N815


class _Pair(msgspec.Struct):
    symbol: str
    status: str
    baseAsset: str  # noqa: N815
    quoteAsset: str  # noqa: N815
    filters: list[_Filter]


class _ExchangeInfo(msgspec.Struct):
    serverTime: Time  # noqa: N815
    symbols: msgspec.Raw


class _Turnover(msgspec.Struct):
    symbol: str
    quoteVolume: str  # noqa: N815


class _KlineRow(msgspec.Struct, array_like=True):
    """Further columns are left aside: `[…, "0"]`."""

    open_time: Time
    open: str
    high: str
    low: str
    close: str
    volume: str
    close_time: Time
    quote_volume: str
    trade_count: Count
    taker_buy_volume: str
    taker_buy_quote_volume: str


class _KlinePlace(msgspec.Struct, array_like=True):
    open_time: Time


class _TradePlace(msgspec.Struct):
    id: Count


class _PairName(msgspec.Struct):
    symbol: str


_exchange_info = msgspec.json.Decoder(_ExchangeInfo)
_raws = msgspec.json.Decoder(list[msgspec.Raw])


@lru_cache(maxsize=16)
def _decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(kind)


def _rows(reply: bytes | msgspec.Raw, what: str, kind: Any, read: Callable[[Any], _Read]) -> list[_Read]:
    """What the rows of a reply say. Bad ones among good ones are left out, and named in the log.

    Raises `UnparsableMessage` where the reply is no list, or all its rows are bad.
    """
    try:
        return [read(row) for row in _decoder(list[kind]).decode(reply)]
    except _BAD as error:
        fault = str(error)
    good = []
    bad = []
    for raw in _raw_rows(reply):
        try:
            good.append(read(_decoder(kind).decode(raw)))
        except _BAD as error:
            bad.append((raw, str(error)))
    if not good:
        raise UnparsableMessage(fault)
    for raw, why in bad:
        _tell_bad(what, bytes(raw)[:SHOWN], why)
    return good


def _raw_rows(reply: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return _raws.decode(reply)
    except _BAD as error:
        raise UnparsableMessage(str(error)) from None


@lru_cache(maxsize=4096)
def _tell_bad(what: str, row: bytes, why: str) -> None:
    """Once for each row, however often it is asked for."""
    text = row.decode(errors="backslashreplace")
    log.warning("a row of the %s is not understood and left out (%s): %s", what, why, text)


def request(base: str, path: str, weight: int, **parameters: str | int) -> Request:
    """A GET of `/api/v3/<path>`."""
    query = f"?{urlencode(parameters)}" if parameters else ""
    return Request(f"{base}/api/v3/{path}{query}", weight)


def trades(reply: bytes, symbol: Symbol, exchange: str) -> list[Trade]:
    """`/api/v3/trades` and `/api/v3/historicalTrades`. `quoteQty` is cut to eight places, so the product is made anew.

    [{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012","time":1499865549590,
      "isBuyerMaker":true,"isBestMatch":true}]
    """
    events = _rows(reply, f"trades of {symbol.symbol}", _Trade, lambda row: _trade(row, symbol, exchange))
    return sorted(events, key=lambda event: event.trade_id)


def _trade(row: _Trade, symbol: Symbol, exchange: str) -> Trade:
    price, quantity = positive(row.price), positive(row.qty)
    return Trade(
        **_common(symbol, exchange),
        event_time=micros(row.time),
        trade_id=row.id,
        price=price,
        quantity=quantity,
        quote_quantity=exact_product(price, quantity),
        is_buyer_maker=row.isBuyerMaker,
    )


def agg_trades(reply: bytes, symbol: Symbol, exchange: str) -> list[AggTrade]:
    """`/api/v3/aggTrades`; the trades `f` to `l` are in it.

    [{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true,"M":true}]
    """
    events = _rows(reply, f"merged fills of {symbol.symbol}", _AggTrade, lambda row: _agg_trade(row, symbol, exchange))
    return sorted(events, key=lambda event: event.agg_trade_id)


def _agg_trade(row: _AggTrade, symbol: Symbol, exchange: str) -> AggTrade:
    price, quantity = positive(row.p), positive(row.q)
    if row.l < row.f:
        raise UnparsableMessage(f"the merged fill {row.a} ends with trade {row.l} before it begins with {row.f}")
    return AggTrade(
        **_common(symbol, exchange),
        event_time=micros(row.T),
        agg_trade_id=row.a,
        price=price,
        quantity=quantity,
        quote_quantity=exact_product(price, quantity),
        first_trade_id=row.f,
        last_trade_id=row.l,
        is_buyer_maker=row.m,
    )


def klines(reply: bytes, symbol: Symbol, exchange: str, now: int) -> list[Kline]:
    """`/api/v3/klines` of one minute, without the last row where it is still open. They do not name their trades.

    [[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499040059999,
      "2434.19055334",308,"1756.87402397","28.46694368","0"]]
    """
    events = _rows(reply, f"klines of {symbol.symbol}", _KlineRow, lambda row: _kline(row, symbol, exchange))
    return sorted((event for event in events if event.close_time < now), key=lambda event: event.open_time)


def _kline(row: _KlineRow, symbol: Symbol, exchange: str) -> Kline:
    close_time = micros(row.close_time)
    if close_time != row.close_time:
        close_time += 999  # the last microsecond of the last millisecond
    return Kline(
        **_common(symbol, exchange),
        event_time=close_time,
        interval="1m",
        open_time=micros(row.open_time),
        close_time=close_time,
        open=positive(row.open),
        high=positive(row.high),
        low=positive(row.low),
        close=positive(row.close),
        volume=not_negative(row.volume),
        quote_volume=not_negative(row.quote_volume),
        trade_count=row.trade_count,
        taker_buy_volume=not_negative(row.taker_buy_volume),
        taker_buy_quote_volume=not_negative(row.taker_buy_quote_volume),
        first_trade_id=None,
        last_trade_id=None,
        is_closed=True,
    )


def instruments(reply: bytes, exchange: str) -> list[Instrument]:
    """`/api/v3/exchangeInfo`: steps and smallest sizes are in filters, some of which a pair may lack.

    {"serverTime":1565246363776,"symbols":[{"symbol":"ETHBTC","status":"TRADING","baseAsset":"ETH","quoteAsset":"BTC",
     "filters":[{"filterType":"PRICE_FILTER","minPrice":"…","maxPrice":"…","tickSize":"0.00000100"},
                {"filterType":"LOT_SIZE","minQty":"…","maxQty":"…","stepSize":"0.00100000"},
                {"filterType":"NOTIONAL","minNotional":"0.00010000"}]}]}
    """
    try:
        info = _exchange_info.decode(reply)
        told_at = micros(info.serverTime)
    except _BAD as error:
        raise UnparsableMessage(str(error)) from None
    return _rows(info.symbols, f"pairs of {exchange}", _Pair, lambda pair: _instrument(pair, told_at, exchange))


def _instrument(pair: _Pair, told_at: int, exchange: str) -> Instrument:
    filters = {entry.filterType: entry for entry in pair.filters}
    none = _Filter(filterType="")
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or none
    base, quote = pair.baseAsset.upper(), pair.quoteAsset.upper()
    return Instrument(
        exchange=exchange,
        symbol=base + quote,
        base_asset=base,
        quote_asset=quote,
        event_time=told_at,
        **SOURCE,
        status=pair.status,
        tick_size=_size(filters.get("PRICE_FILTER", none).tickSize),
        step_size=_size(filters.get("LOT_SIZE", none).stepSize),
        min_notional=_size(notional.minNotional),
    )


def _size(text: str | None) -> Decimal | None:
    return None if text is None else not_negative(text)


def volumes(reply: bytes) -> dict[str, Decimal]:
    """`/api/v3/ticker/24hr`: the turnover of each pair in its quote asset.

    [{"symbol":"BNBBTC","volume":"8913.30000000","quoteVolume":"15.30000000",…}]
    """
    return dict(_rows(reply, "turnovers", _Turnover, lambda row: (row.symbol, not_negative(row.quoteVolume))))


def unread_places(reply: bytes, stream: StreamName, symbol: Symbol) -> dict[int, str]:
    """The ids or minutes of a reply's bad rows, and why; -1 for those that name none."""
    bad: dict[int, str] = {}
    for raw in _raw_rows(reply):
        try:
            if stream == "trade":
                _trade(_decoder(_Trade).decode(raw), symbol, "")
            else:
                _kline(_decoder(_KlineRow).decode(raw), symbol, "")
        except _BAD as error:
            bad[_place(raw, stream)] = str(error)
    return bad


def _place(raw: msgspec.Raw, stream: StreamName) -> int:
    try:
        if stream == "trade":
            return int(_decoder(_TradePlace).decode(raw).id)
        return micros(_decoder(_KlinePlace).decode(raw).open_time)
    except _BAD:
        return -1


def unread_pairs(reply: bytes) -> set[str]:
    """The pairs of a reply's bad rows; an empty name for those that name none."""
    bad = set()
    for raw in _raw_rows(_exchange_info.decode(reply).symbols):
        try:
            _instrument(_decoder(_Pair).decode(raw), 1, "")
        except _BAD:
            try:
                bad.add(_decoder(_PairName).decode(raw).symbol)
            except _BAD:
                bad.add("")
    return bad


def _common(symbol: Symbol, exchange: str) -> dict[str, Any]:
    return {
        "exchange": exchange,
        "symbol": symbol.symbol,
        "base_asset": symbol.base,
        "quote_asset": symbol.quote,
        **SOURCE,
    }
