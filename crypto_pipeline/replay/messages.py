"""Binance's stream messages as they were stored, or made of bronze's rows, in the form that a connection wants."""

import re
from collections.abc import Container, Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from crypto_pipeline import utc
from streaming.simulator.messages import MICROSECOND, Form, json_text, text_frames

Row = Mapping[str, Any]
TIMES = ("received_at", "published_at", "event_time")
"""The columns that place a row of bronze, of which the first that is not null does: a row that came by REST or from an
archive stands where the exchange sent it, or where it happened."""


class Message(msgspec.Struct, gc=False):
    """A message of a combined stream."""

    at: int
    """When it was received, in microseconds."""
    stream: str
    body: bytes
    """`{"stream":"btcusdt@trade","data":{…}}`, times in microseconds."""


class _Envelope(msgspec.Struct):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


_HEAD = b'{"stream":"'
_DATA = b'","data":'
_envelope = msgspec.json.Decoder(_Envelope)
_names: dict[bytes, str] = {}
_MICROSECONDS = re.compile(rb'(":1\d{12})(?<=[ETtOC]":\d{13})\d{3}(?=[,}])')
"""Times of 16 digits; no id is as long. They begin with 1 until 2033: such a pattern is found in three quarters of the
time that one takes which begins with a quote and any letter."""


def stream_of(body: bytes) -> str:
    """The stream that a frame names; empty where it names none."""
    if body.startswith(_HEAD):
        name = body[len(_HEAD) : body.find(b'"', len(_HEAD))]
        known = _names.get(name)
        if known is not None:
            return known
    try:
        stream = _envelope.decode(body).stream
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    if body.startswith(_HEAD + stream.encode() + b'"'):
        _names[stream.encode()] = stream
    return stream


def frames(messages: Iterable[Message], streams: Container[str], form: Form) -> bytes:
    """The WebSocket frames of those messages that are of these streams.

    Combined and in microseconds each is, to the byte, as it was received.
    """
    wanted = [message for message in messages if message.stream in streams]
    bodies = [message.body if form.is_combined else _data(message) for message in wanted]
    if form.unit != MICROSECOND:
        bodies = _in_milliseconds(bodies)
    return text_frames(bodies)


def _data(message: Message) -> bytes:
    head = _HEAD + message.stream.encode() + _DATA
    if message.body.startswith(head):
        return message.body[len(head) : -1]
    return bytes(_envelope.decode(message.body).data)


def _in_milliseconds(bodies: list[bytes]) -> list[bytes]:
    """All at once, which takes three quarters of the time: no time runs over the end of a line."""
    made = b"".join(_MICROSECONDS.split(b"\n".join(bodies))).split(b"\n")
    if len(made) == len(bodies):
        return made
    return [b"".join(_MICROSECONDS.split(body)) for body in bodies]  # one has several lines, or there is none


# --- of rows


def places(value: Decimal) -> str:
    """A price or quantity as Binance writes it, with eight places."""
    return f"{value:.8f}"


def _received(row: Row) -> int:
    return utc.micros(next(row[name] for name in TIMES if row[name]))


def trade(row: Row) -> Message:
    """Of a row of `bronze.trades`."""
    return _message(
        _received(row), row, "trade",
        {
            "e": "trade", "E": utc.micros(row["published_at"] or row["event_time"]), "s": row["symbol"],
            "t": row["trade_id"], "p": places(row["price"]), "q": places(row["quantity"]),
            "T": utc.micros(row["event_time"]), "m": row["is_buyer_maker"], "M": True,
        },
    )  # fmt: skip


def agg_trade(row: Row) -> Message:
    """Of a row of `bronze.agg_trades`."""
    return _message(
        _received(row), row, "aggTrade",
        {
            "e": "aggTrade", "E": utc.micros(row["published_at"] or row["event_time"]), "s": row["symbol"],
            "a": row["agg_trade_id"], "p": places(row["price"]), "q": places(row["quantity"]),
            "f": row["first_trade_id"], "l": row["last_trade_id"], "T": utc.micros(row["event_time"]),
            "m": row["is_buyer_maker"], "M": True,
        },
    )  # fmt: skip


def kline(row: Row) -> Message:
    """Of a row of `bronze.klines`: its latest state."""
    closes = utc.micros(row["close_time"])
    at = utc.micros(row["received_at"]) if row["received_at"] else closes + 1
    sent = row["published_at"] or row["event_time"] if row["received_at"] else None
    ids = [-1 if row[name] is None else row[name] for name in ("first_trade_id", "last_trade_id")]
    return _message(
        at, row, f"kline_{row['interval']}",
        {
            "e": "kline", "E": utc.micros(sent) if sent else at, "s": row["symbol"],
            "k": {
                "t": utc.micros(row["open_time"]), "T": closes, "s": row["symbol"], "i": row["interval"],
                "f": ids[0], "L": ids[1], "o": places(row["open"]), "c": places(row["close"]),
                "h": places(row["high"]), "l": places(row["low"]), "v": places(row["volume"]),
                "n": row["trade_count"], "x": row["is_closed"], "q": places(row["quote_volume"]),
                "V": places(row["taker_buy_volume"]), "Q": places(row["taker_buy_quote_volume"]), "B": "0",
            },
        },
    )  # fmt: skip


_TICKER = {
    "p": "price_change", "P": "price_change_percent", "w": "weighted_average_price", "c": "last_price",
    "Q": "last_quantity", "b": "bid_price", "B": "bid_quantity", "a": "ask_price", "A": "ask_quantity",
    "o": "open_price", "h": "high_price", "l": "low_price", "v": "volume", "q": "quote_volume",
}  # fmt: skip


def ticker(row: Row) -> Message:
    """Of a row of `bronze.tickers`. What bronze does not keep, the close before the 24 hours (`x`), is not there."""
    return _message(
        _received(row), row, "ticker",
        {
            "e": "24hrTicker", "E": utc.micros(row["event_time"]), "s": row["symbol"],
            **{letter: places(row[name]) for letter, name in _TICKER.items()},
            "P": f"{row['price_change_percent']:.3f}",
            "O": utc.micros(row["open_time"]), "C": utc.micros(row["close_time"]),
            "F": row["first_trade_id"], "L": row["last_trade_id"], "n": row["trade_count"],
        },
    )  # fmt: skip


def depth(row: Row) -> Message:
    """Of a row of `bronze.depth`."""
    return _message(_received(row), row, f"depth{row['levels']}", book(row))


def book(row: Row, limit: int | None = None) -> dict[str, object]:
    """The best levels of a row of `bronze.depth`, as stream and REST write them."""
    sides = {
        side: [[places(level["price"]), places(level["quantity"])] for level in row[side][:limit]]
        for side in ("bids", "asks")
    }
    return {"lastUpdateId": row["update_id"], **sides}


def _message(at: int, row: Row, kind: str, data: dict[str, object]) -> Message:
    stream = f"{row['symbol'].lower()}@{kind}"
    return Message(at, stream, f'{{"stream":{json_text(stream)},"data":{json_text(data)}}}'.encode())
