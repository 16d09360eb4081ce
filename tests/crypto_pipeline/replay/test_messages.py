"""Messages in the form that a connection wants."""

import json

import pytest

from crypto_pipeline.replay import messages
from crypto_pipeline.replay.messages import Message, frames, stream_of
from shared.symbol_manager import Symbol
from streaming.exchanges.binance import Binance
from streaming.simulator.messages import MICROSECOND, MILLISECOND, Form, payload_of
from tests.crypto_pipeline.replay.conftest import (
    body,
    book_row,
    kline_frame,
    kline_row,
    ticker_row,
    trade_frame,
    trade_row,
)

TRADE = Message(0, "btcusdt@trade", trade_frame(7))
COMBINED, RAW = Form(True, MICROSECOND), Form(False, MICROSECOND)


def frame(message: Message, form: Form) -> bytes:
    return frames([message, Message(0, "ethusdt@trade", b"{}")], {message.stream}, form)


def test_a_combined_connection_in_microseconds_gets_what_was_received_to_the_byte() -> None:
    assert payload_of(frame(TRADE, COMBINED)) == trade_frame(7)


def test_a_raw_connection_gets_the_data_alone() -> None:
    whole = payload_of(frame(TRADE, COMBINED))
    assert payload_of(frame(TRADE, RAW)) == whole.removeprefix(b'{"stream":"btcusdt@trade","data":')[:-1]
    spaced = Message(0, "btcusdt@trade", b'{"stream": "btcusdt@trade", "data": {"e": "trade"}}')
    assert payload_of(frame(spaced, RAW)) == b'{"e": "trade"}'


def test_times_are_in_milliseconds_unless_microseconds_are_asked_for() -> None:
    whole, short = (json.loads(payload_of(frame(TRADE, Form(False, unit)))) for unit in (MICROSECOND, MILLISECOND))
    assert short == whole | {name: whole[name] // 1000 for name in ("E", "T")}
    candle = Message(0, "btcusdt@kline_1m", kline_frame(3))
    whole, short = (json.loads(payload_of(frame(candle, Form(False, unit)))) for unit in (MICROSECOND, MILLISECOND))
    times = {name: whole["k"][name] // 1000 for name in ("t", "T")}
    assert short == whole | {"E": whole["E"] // 1000, "k": whole["k"] | times}


def test_a_message_of_several_lines_is_in_milliseconds_as_the_others_are() -> None:
    spread = Message(0, TRADE.stream, TRADE.body.replace(b',"E"', b',\n"E"'))
    form = Form(True, MILLISECOND)
    both = frames([spread, TRADE], {TRADE.stream}, form)
    assert both == frame(spread, form) + frame(TRADE, form)
    assert json.loads(payload_of(frame(spread, form))) == json.loads(payload_of(frame(TRADE, form)))
    assert frames([], {TRADE.stream}, form) == b""


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b'{"result":null,"id":1}', b"[" * 100_000, b'{"stream":7}'])
def test_a_frame_that_names_no_stream_is_of_none(text: bytes) -> None:
    assert stream_of(text) == ""


def test_a_frame_is_of_the_stream_that_it_names() -> None:
    for name in ("btcusdt@trade", "жusdt@kline_1m", 'a"b@trade'):
        assert stream_of(body(name)) == stream_of(body(name)) == name


def test_a_row_becomes_what_our_own_parser_reads_back() -> None:
    venue = Binance()
    venue.learn([Symbol.model_validate({"symbol": "BTCUSDT", "name": "Bitcoin"})])
    made = [
        messages.trade(trade_row(4)), messages.kline(kline_row(4)), messages.ticker(ticker_row(4)),
        messages.depth(book_row(4)),
    ]  # fmt: skip
    trade, kline, ticker, depth = (venue.parse(one.body, one.at, "c1")[0] for one in made)
    assert (trade.trade_id, trade.price, trade.quantity, trade.is_buyer_maker) == tuple(
        trade_row(4)[name] for name in ("trade_id", "price", "quantity", "is_buyer_maker")
    )
    for event, row, names in (
        (kline, kline_row(4), ("open", "high", "low", "close", "volume", "quote_volume", "trade_count", "is_closed")),
        (ticker, ticker_row(4), ("last_price", "bid_price", "ask_quantity", "price_change", "first_trade_id")),
        (depth, book_row(4), ("update_id",)),
    ):
        assert [getattr(event, name) for name in names] == [row[name] for name in names]
    assert [level[0] for level in depth.bids] == [level["price"] for level in book_row(4)["bids"]]
    assert made[0].body == trade_frame(4)
    assert made[1].body == kline_frame(4)
