"""What Binance spot sends, to the field and its order: WebSocket messages and REST rows.

Sources: Binance's "WebSocket Streams" and "REST API" documents, and recorded messages.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.simulator.candles import Candle
from streaming.simulator.instruments import Instrument
from streaming.simulator.market import MINUTE, Book, Trades
from streaming.simulator.noise import Ints
from streaming.simulator.ticker import Statistics

MILLISECOND = 1_000
MICROSECOND = 1
"""Time units, in microseconds."""

STREAM_KINDS = ("trade", "ticker", "kline_1m", "depth5", "depth5@100ms")


class Form(NamedTuple):
    """How a connection wants its messages: wrapped with the stream's name or raw, and in which time unit."""

    is_combined: bool
    unit: int


def stream_name(symbol: str, kind: str) -> str:
    """`btcusdt@trade`."""
    return f"{symbol.lower()}@{kind}"


def json_text(value: object) -> str:
    """Compact JSON, non-ASCII characters as they are."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def text_frame(payload: bytes) -> bytes:
    """A whole unmasked WebSocket text frame (RFC 6455, 5.2)."""
    return _frame_head(len(payload)) + payload


def _frame_head(length: int) -> bytes:
    if length < 126:
        return b"\x81" + length.to_bytes(1, "big")
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")


_HEADS = [_frame_head(length) for length in range(4096)]


def text_frames(payloads: Iterable[bytes]) -> bytes:
    """A text frame for each, one after the other: in a third of the time that they take one by one."""
    parts = []
    for payload in payloads:
        length = len(payload)
        parts.append(_HEADS[length] if length < len(_HEADS) else _frame_head(length))
        parts.append(payload)
    return b"".join(parts)


def payload_of(frame: bytes) -> bytes:
    """The inverse of `text_frame`, for one frame."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def event_frame(stream: str, payload: str, form: Form) -> bytes:
    """The frame of one event in the form that a connection wants."""
    text = f'{{"stream":{json_text(stream)},"data":{payload}}}' if form.is_combined else payload
    return text_frame(text.encode())


# --- numbers: always eight places


def _eight(value: int, decimals: int) -> str:
    sign = "-" if value < 0 else ""
    whole, part = divmod(abs(value) * 10 ** (8 - decimals), 10**8)
    return f"{sign}{whole}.{part:08d}"


def price_text(pair: Instrument, ticks: int) -> str:
    return _eight(ticks, pair.price_decimals)


def quantity_text(pair: Instrument, steps: int) -> str:
    return _eight(steps, pair.quantity_decimals)


def quote_text(pair: Instrument, product: int) -> str:
    """A quote volume in ticks times steps: exact."""
    return _eight(product, pair.price_decimals + pair.quantity_decimals)


def _ratio(numerator: int, denominator: int, places: int) -> str:
    """Rounded half away from zero, as a decimal text; 0 where the denominator is."""
    if not denominator:
        return f"{0:.{places}f}"
    scaled, rest = divmod(abs(numerator) * 10**places, denominator)
    scaled += 2 * rest >= denominator
    whole, part = divmod(scaled, 10**places)
    return f"{'-' if numerator < 0 else ''}{whole}.{part:0{places}d}"


# --- trades


@dataclass(frozen=True)
class TradeFrames:
    """Frames of `@trade` messages that lack only the sending time, `E`.

    A frame is `before[i] + E + after[i]`; `between[i]` is `after[i] + before[i + 1]`, so a run of frames is one join.
    """

    before: list[bytes]
    between: list[bytes]
    after: list[bytes]
    unit: int

    def sent_at(self, now: int, start: int, end: int) -> bytes:
        """The frames [start, end), at least one, as one piece."""
        moment = b"%d" % (now // self.unit)
        return moment.join([self.before[start], *self.between[start : end - 1], self.after[end - 1]])


def trade_frames(pair: Instrument, trades: Trades, form: Form) -> TradeFrames:
    """`{"e":"trade","E":…,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":…,"m":true,"M":true}`."""
    stream = json_text(stream_name(pair.symbol, "trade"))
    opening = f'{{"stream":{stream},"data":{{"e":"trade","E":' if form.is_combined else '{"e":"trade","E":'
    head = opening.encode()
    symbol = json_text(pair.symbol).replace("%", "%%")
    ending = "}}" if form.is_combined else "}"
    pattern = f',"s":{symbol},"t":%d,"p":"%d.%08d","q":"%d.%08d","T":%d,"m":%s,"M":true{ending}'
    columns = zip(
        trades.id.tolist(),
        *(column.tolist() for column in _split(pair, trades)),
        (trades.time // form.unit).tolist(),
        ["true" if is_maker else "false" for is_maker in trades.buyer_is_maker.tolist()],
        strict=True,
    )  # fmt: skip
    after = [(pattern % row).encode() for row in columns]
    fixed = len(head) + (13 if form.unit == MILLISECOND else 16)  # digits of E until the year 2286
    before = [_frame_head(fixed + len(tail)) + head for tail in after]
    between = [tail + following for tail, following in zip(after, before[1:], strict=False)]
    return TradeFrames(before, between, after, form.unit)


def trade_rows(pair: Instrument, trades: Trades, unit: int) -> str:
    """The reply of `/api/v3/trades` and `/api/v3/historicalTrades`."""
    return json_text(
        [
            {
                "id": number, "price": price_text(pair, price), "qty": quantity_text(pair, quantity),
                "quoteQty": quote_text(pair, price * quantity), "time": time // unit,
                "isBuyerMaker": is_maker, "isBestMatch": True,
            }
            for number, time, price, quantity, is_maker in zip(
                trades.id.tolist(), trades.time.tolist(), trades.price.tolist(),
                trades.quantity.tolist(), trades.buyer_is_maker.tolist(), strict=True,
            )
        ]
    )  # fmt: skip


def aggregate_rows(pair: Instrument, trades: Trades, unit: int) -> str:
    """The reply of `/api/v3/aggTrades`: a taker's fills at one price as one row."""
    rows: list[dict[str, object]] = []
    quantity = 0
    for number, time, price, filled, is_maker, order in zip(
        trades.id.tolist(), trades.time.tolist(), trades.price.tolist(),
        trades.quantity.tolist(), trades.buyer_is_maker.tolist(), trades.order.tolist(), strict=True,
    ):  # fmt: skip
        if not rows or rows[-1]["a"] != order:
            quantity = 0
            rows.append(
                {
                    "a": order, "p": price_text(pair, price), "q": "", "f": number, "l": number,
                    "T": time // unit, "m": is_maker, "M": True,
                }
            )  # fmt: skip
        quantity += filled
        rows[-1]["q"] = quantity_text(pair, quantity)
        rows[-1]["l"] = number
    return json_text(rows)


_TRADE_LINE = "%d,%d.%08d,%d.%08d,%d.%08d,%d,%s,True\n"
_AGGREGATE_LINE = "%d,%d.%08d,%d.%08d,%d,%d,%d,%s,True\n"


def trade_csv(pair: Instrument, trades: Trades) -> bytes:
    """Lines of a public file of trades: id, price, qty, quoteQty, time (µs), isBuyerMaker, isBestMatch."""
    quote = trades.price * trades.quantity * 10 ** (8 - pair.price_decimals - pair.quantity_decimals)
    columns = [trades.id, *_split(pair, trades), quote // 10**8, quote % 10**8, trades.time]
    rows = zip(*(column.tolist() for column in columns), _python_words(trades.buyer_is_maker), strict=True)
    return "".join([_TRADE_LINE % row for row in rows]).encode()


def aggregate_csv(pair: Instrument, trades: Trades) -> bytes:
    """Lines of a public file of merged fills: a, p, q, f, l, T (µs), m, M."""
    if not len(trades):
        return b""
    begins = np.flatnonzero(np.diff(trades.order, prepend=-1))
    ends = np.append(begins[1:], len(trades)) - 1
    first = Trades(*(getattr(trades, column.name)[begins] for column in fields(Trades)))
    whole = replace(first, quantity=np.add.reduceat(trades.quantity, begins))
    columns = [whole.order, *_split(pair, whole), whole.id, trades.id[ends], whole.time]
    rows = zip(*(column.tolist() for column in columns), _python_words(whole.buyer_is_maker), strict=True)
    return "".join([_AGGREGATE_LINE % row for row in rows]).encode()


def _split(pair: Instrument, trades: Trades) -> tuple[Ints, Ints, Ints, Ints]:
    """Price and quantity, each before and after the point of eight places."""
    prices = trades.price * 10 ** (8 - pair.price_decimals)
    quantities = trades.quantity * 10 ** (8 - pair.quantity_decimals)
    return prices // 10**8, prices % 10**8, quantities // 10**8, quantities % 10**8


def _python_words(are_true: NDArray[np.bool_]) -> list[str]:
    return ["True" if is_true else "False" for is_true in are_true.tolist()]


# --- candles


def kline_payload(pair: Instrument, start: int, bar: Candle, now: int, unit: int, *, is_closed: bool) -> str:
    """`{"e":"kline","E":…,"s":"BTCUSDT","k":{"t":…,"T":…,"s":"BTCUSDT","i":"1m","f":100,"L":200,"o":"0.0010",…}}`."""
    return json_text(
        {
            "e": "kline", "E": now // unit, "s": pair.symbol,
            "k": {
                "t": start // unit, "T": (start + MINUTE) // unit - 1, "s": pair.symbol, "i": "1m",
                "f": bar.first_id, "L": bar.last_id,
                "o": price_text(pair, bar.open), "c": price_text(pair, bar.close),
                "h": price_text(pair, bar.high), "l": price_text(pair, bar.low),
                "v": quantity_text(pair, bar.volume), "n": bar.trades, "x": is_closed,
                "q": quote_text(pair, bar.quote), "V": quantity_text(pair, bar.taker_buy_volume),
                "Q": quote_text(pair, bar.taker_buy_quote), "B": "0",
            },
        }
    )  # fmt: skip


def kline_row(pair: Instrument, start: int, width: int, bar: Candle, unit: int) -> list[object]:
    """A row of `/api/v3/klines`."""
    return [
        start // unit,
        price_text(pair, bar.open), price_text(pair, bar.high), price_text(pair, bar.low), price_text(pair, bar.close),
        quantity_text(pair, bar.volume), (start + width) // unit - 1, quote_text(pair, bar.quote), bar.trades,
        quantity_text(pair, bar.taker_buy_volume), quote_text(pair, bar.taker_buy_quote), "0",
    ]  # fmt: skip


# --- tickers and books


def _ticker(pair: Instrument, day: Statistics) -> dict[str, str]:
    """The figures that the stream and REST share, by REST's names."""
    bar = day.candle
    scale = pair.price_decimals
    return {
        "priceChange": price_text(pair, bar.close - bar.open),
        "priceChangePercent": _ratio((bar.close - bar.open) * 100, bar.open, 3),
        "weightedAvgPrice": _ratio(bar.quote, bar.volume * 10**scale, 8),
        "prevClosePrice": price_text(pair, day.previous_close),
        "lastPrice": price_text(pair, bar.close),
        "lastQty": quantity_text(pair, day.last_quantity),
        "bidPrice": price_text(pair, day.book.bids[0][0]), "bidQty": quantity_text(pair, day.book.bids[0][1]),
        "askPrice": price_text(pair, day.book.asks[0][0]), "askQty": quantity_text(pair, day.book.asks[0][1]),
        "openPrice": price_text(pair, bar.open),
        "highPrice": price_text(pair, bar.high),
        "lowPrice": price_text(pair, bar.low),
        "volume": quantity_text(pair, bar.volume),
        "quoteVolume": quote_text(pair, bar.quote),
    }  # fmt: skip


_TICKER_LETTERS = {
    "p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice", "x": "prevClosePrice", "c": "lastPrice",
    "Q": "lastQty", "b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty", "o": "openPrice", "h": "highPrice",
    "l": "lowPrice", "v": "volume", "q": "quoteVolume",
}  # fmt: skip


def ticker_payload(pair: Instrument, day: Statistics, now: int, unit: int) -> str:
    """`{"e":"24hrTicker","E":…,"s":"ETHUSDT","p":"28.23000000","P":"1.600","w":…,"O":…,"C":…,"F":…,"L":…,"n":552479}`."""
    figures = _ticker(pair, day)
    bar = day.candle
    return json_text(
        {
            "e": "24hrTicker", "E": now // unit, "s": pair.symbol,
            **{letter: figures[name] for letter, name in _TICKER_LETTERS.items()},
            "O": day.open_time // unit, "C": day.close_time // unit,
            "F": bar.first_id, "L": bar.last_id, "n": bar.trades,
        }
    )  # fmt: skip


def ticker_row(pair: Instrument, day: Statistics, unit: int) -> dict[str, object]:
    """The reply of `/api/v3/ticker/24hr` for one symbol."""
    bar = day.candle
    return {
        "symbol": pair.symbol, **_ticker(pair, day),
        "openTime": day.open_time // unit, "closeTime": day.close_time // unit,
        "firstId": bar.first_id, "lastId": bar.last_id, "count": bar.trades,
    }  # fmt: skip


def depth_payload(pair: Instrument, book: Book) -> str:
    """`{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}`: stream and REST alike."""
    sides = {
        name: [[price_text(pair, price), quantity_text(pair, size)] for price, size in levels]
        for name, levels in (("bids", book.bids), ("asks", book.asks))
    }
    return json_text({"lastUpdateId": book.update_id, **sides})


def exchange_info_row(pair: Instrument, status: str) -> dict[str, object]:
    """One symbol of `/api/v3/exchangeInfo`."""
    tick, step = price_text(pair, 1), quantity_text(pair, 1)
    return pair_row(pair.symbol, pair.base, pair.quote, status, tick, step, "5.00000000")


def pair_row(symbol: str, base: str, quote: str, status: str, tick: str, step: str, notional: str) -> dict[str, object]:
    """The same of any pair, with its steps and the least value of an order as texts."""
    return {
        "symbol": symbol, "status": status,
        "baseAsset": base, "baseAssetPrecision": 8,
        "quoteAsset": quote, "quotePrecision": 8, "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": True, "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "10000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000000.00000000", "stepSize": step},
            {
                "filterType": "NOTIONAL", "minNotional": notional, "applyMinToMarket": True,
                "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5,
            },
        ],
        "permissions": [], "permissionSets": [["SPOT"]],
    }  # fmt: skip
