"""Against messages from the wire: recordings in `../shared/data`, and those that Binance's documents show."""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import AnyEvent, DepthSnapshot, Kline, Ticker, Trade, decode, encode
from shared.symbol_manager import Symbol
from streaming.exchange import HIGHEST_ID, Answer, UnparsableMessage
from streaming.exchanges.binance import Binance

RECEIVED = 1_795_249_793_614_275


def venue(*symbols: str) -> Binance:
    exchange = Binance()
    exchange.learn(Symbol(symbol=symbol, name=symbol) for symbol in symbols)
    return exchange


BINANCE = venue("BTCUSDT", "ETHUSDT")


def parse(message: dict[str, Any] | str | bytes, exchange: Binance = BINANCE) -> list[AnyEvent]:
    frame = (
        message
        if isinstance(message, bytes)
        else (message if isinstance(message, str) else json.dumps(message)).encode()
    )
    return exchange.parse(frame, RECEIVED, "binance-1")


def trade(**changes: Any) -> dict[str, Any]:
    """The message in Binance's document, but for the changes."""
    data = {
        "e": "trade", "E": 1672515782136123, "s": "BTCUSDT", "t": 12345, "p": "0.001", "q": "100",
        "T": 1672515782136045, "m": True, "M": True,
    }  # fmt: skip
    return {"stream": "btcusdt@trade", "data": {**data, **changes}}


def candle(**changes: Any) -> dict[str, Any]:
    data = {
        "t": 1672515780000000, "T": 1672515839999999, "s": "BTCUSDT", "i": "1m", "f": 100, "L": 199, "o": "0.0010",
        "c": "0.0020", "h": "0.0025", "l": "0.0015", "v": "1000", "n": 100, "x": False, "q": "1.0000", "V": "500",
        "Q": "0.500", "B": "123456",
    }  # fmt: skip
    k = {**data, **changes}
    return {"stream": "btcusdt@kline_1m", "data": {"e": "kline", "E": 1672515782136000, "s": "BTCUSDT", "k": k}}


def depth(**changes: Any) -> dict[str, Any]:
    data = {"lastUpdateId": 160, "bids": [["0.0024", "10"], ["0.0022", "5"]], "asks": [["0.0026", "100"]]}
    return {"stream": "btcusdt@depth5", "data": {**data, **changes}}


def exactly(price: str, quantity: str) -> Decimal:
    """The product of two numbers of eight places, by whole numbers."""
    return Decimal(f"{int(price.replace('.', '')) * int(quantity.replace('.', ''))}E-16")


def test_a_trade_is_read_whole() -> None:
    assert parse(trade()) == [
        Trade(
            exchange="binance", symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT", event_time=1672515782136045,
            published_at=1672515782136123, received_at=RECEIVED, source="websocket", connection_id="binance-1",
            trade_id=12345, price=Decimal("0.001"), quantity=Decimal(100), quote_quantity=Decimal("0.1"),
            is_buyer_maker=True,
        )
    ]  # fmt: skip


def test_a_candle_is_read_whole() -> None:
    [event] = parse(candle())
    assert isinstance(event, Kline)
    assert (event.open_time, event.close_time, event.interval) == (1672515780000000, 1672515839999999, "1m")
    assert (event.open, event.high, event.low, event.close) == (
        Decimal("0.0010"), Decimal("0.0025"), Decimal("0.0015"), Decimal("0.0020"),
    )  # fmt: skip
    assert (event.volume, event.quote_volume, event.trade_count) == (1000, 1, 100)
    assert (event.taker_buy_volume, event.taker_buy_quote_volume) == (500, Decimal("0.5"))
    assert (event.first_trade_id, event.last_trade_id, event.is_closed) == (100, 199, False)


def test_a_minute_without_trades_is_a_candle_too() -> None:
    [event] = parse(candle(n=0, f=-1, L=-1, v="0.00000000", q="0.00000000", V="0", Q="0"))
    assert isinstance(event, Kline)
    assert (event.first_trade_id, event.trade_count, event.volume) == (-1, 0, 0)


def test_a_book_takes_its_identity_from_the_stream_and_its_time_from_us() -> None:
    [event] = parse(depth())
    assert isinstance(event, DepthSnapshot)
    assert (event.symbol, event.event_time, event.received_at) == ("BTCUSDT", None, RECEIVED)
    assert (event.update_id, event.levels) == (160, 5)
    assert event.bids == ((Decimal("0.0024"), Decimal(10)), (Decimal("0.0022"), Decimal(5)))


def test_a_book_with_an_empty_side_is_a_book() -> None:
    [event] = parse(depth(bids=[]))
    assert isinstance(event, DepthSnapshot)
    assert event.bids == ()


def test_milliseconds_and_microseconds_give_the_same_time() -> None:
    [event] = parse(trade(T=1672515782136, E=1672515782137))
    assert (event.event_time, event.published_at) == (1672515782136000, 1672515782137000)


@pytest.mark.parametrize(
    "message",
    [
        {"result": None, "id": 1},
        {"result": ["btcusdt@trade"], "id": 3},
        {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1770123456789}},
        {"e": "serverShutdown", "E": 1770123456789},
    ],
)
def test_an_answer_or_an_announcement_is_no_event(message: dict[str, Any]) -> None:
    assert parse(message) == []


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ({"result": None, "id": 7}, Answer("7")),
        ({"id": 7, "result": None}, Answer("7")),
        (
            {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": 7},
            Answer("7", "Invalid request: invalid stream"),
        ),
        ({"error": {"code": 2}, "id": 7}, Answer("7", "{'code': 2}")),
        ({"error": {"code": 2, "msg": "Invalid request"}, "id": None}, None),
        ({"stream": "btcusdt@trade", "data": {"e": "trade", "id": 7, "result": None}}, None),
        ({"e": "serverShutdown", "E": 1770123456789}, None),
        ("garbage", None),
    ],
)
def test_an_answer_names_the_request_and_a_refusal_its_reason(message: Any, answer: Answer | None) -> None:
    assert BINANCE.answer(json.dumps(message).encode()) == answer


def test_what_is_no_json_answers_nothing() -> None:
    for frame in (b"", b"\xff\x00", b"{", b"[" * 100_000):
        assert BINANCE.answer(frame) is None


def test_the_announcement_of_a_shutdown_is_recognised_and_a_trade_is_none() -> None:
    assert BINANCE.says_goodbye(b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}')
    assert BINANCE.says_goodbye(b'{"e":"serverShutdown","E":1770123456789}')
    assert not BINANCE.says_goodbye(json.dumps(trade()).encode())


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (trade(p="0.00000000"), "not above zero"),
        (trade(p="-1"), "not above zero"),
        (trade(q="0"), "not above zero"),
        (trade(p="NaN"), "not a finite number"),
        (trade(p="1" + "0" * 20), "not below 10"),
        (trade(q="0.0000000000000000001"), "decimal places"),
        (trade(p="1234567890123.12345678", q="12345678901.12345678"), "not below 10"),
        (trade(p=1.5), "Expected `str`, got `float`"),
        (trade(t=2**63 - 1), "<= 999999999999999"),
        (candle(L=10**15), "<= 999999999999999"),
        (depth(lastUpdateId=10**15), "<= 999999999999999"),
        (trade(t=-1), ">= 0"),
        (trade(T=0), ">= 1"),
        (trade(T=10**18), "<= 99999999999999999"),
        (trade(s="ETHUSDT"), "its stream about 'BTCUSDT'"),
        (trade(e="aggTrade"), "Invalid value 'aggTrade'"),
        ({"stream": "btcusdt@trade"}, "truncated"),
        ({"stream": "btcusdt@trade", "data": None}, "Expected `object`"),
        ({"stream": "solusdt@trade", "data": trade()["data"]}, "unknown stream 'solusdt@trade'"),
        ({"stream": "btcusdt@aggTrade", "data": {}}, "unknown stream"),
        (trade()["data"], "no stream is named"),
        (candle(i="5m"), "a candle of '5m'"),
        (candle(o="0"), "not above zero"),
        (candle(v="-1"), "below zero"),
        (depth(bids=[["0", "1"]]), "not above zero"),
        (depth(asks=[["1", "0"]]), "not above zero"),
        (depth(asks=[["1", "1"]] * 6), "length <= 5"),
        (depth(asks=[["1"]]), "length"),
        ({"error": {"code": 2, "msg": "Invalid request: too many parameters"}, "id": 1}, "too many parameters"),
        ("", "truncated"),
        ("[]", "Expected `object`"),
        ("not json", "malformed"),
        (b"\xff\xfe", "malformed"),
        ('{"stream":"btcusdt@trade","data":' + "[" * 5000, "recursion"),
    ],
)
def test_what_may_not_be_believed_is_refused_with_the_reason(
    message: dict[str, Any] | str | bytes, reason: str
) -> None:
    with pytest.raises(UnparsableMessage) as refusal:
        parse(message)
    assert reason in str(refusal.value)


@given(st.binary())
def test_any_bytes_are_refused_by_name_or_say_nothing(frame: bytes) -> None:
    try:
        events = BINANCE.parse(frame, RECEIVED, "c")
    except UnparsableMessage:
        return
    assert events == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("eEstpqTmMk"), inner, max_size=6),
        max_leaves=12,
    ),
    st.sampled_from(sorted(BINANCE.channels)),
)
def test_any_data_in_a_known_stream_is_refused_by_name(data: Any, stream: str) -> None:
    with pytest.raises(UnparsableMessage):
        parse({"stream": stream, "data": data})


numbers = st.decimals("0.00000001", "99999999", places=8).map(lambda value: f"{value:f}")


@given(
    numbers,
    numbers,
    st.integers(0, HIGHEST_ID),
    st.integers(1_500_000_000_000_000, 2_500_000_000_000_000),
    st.booleans(),
)
def test_every_trade_keeps_its_numbers_all_the_way(
    price: str, quantity: str, number: int, time: int, maker: bool
) -> None:
    [event] = parse(trade(p=price, q=quantity, t=number, T=time, m=maker))
    kept = decode(encode(event))
    assert isinstance(kept, Trade)
    assert (kept.price, kept.quantity, kept.trade_id) == (Decimal(price), Decimal(quantity), number)
    assert (kept.event_time, kept.is_buyer_maker) == (time, maker)
    assert kept.quote_quantity == exactly(price, quantity)


def test_a_pair_outside_ascii_is_asked_for_and_read() -> None:
    exchange = venue("币安USDT")
    assert "%E5%B8%81%E5%AE%89usdt@trade" in exchange.address(["币安usdt@trade"])
    message = {"stream": "币安usdt@trade", "data": trade(s="币安USDT")["data"]}
    assert [event.symbol for event in parse(message, exchange)] == ["币安USDT"]
    raw = json.dumps(message, ensure_ascii=False).encode()
    assert [event.symbol for event in parse(raw, exchange)] == ["币安USDT"]


def test_the_address_asks_for_microseconds_and_names_no_more_streams_than_fit() -> None:
    channels = [f"s{number}usdt@trade" for number in range(1024)]
    address = BINANCE.address(channels)
    assert address.startswith("wss://data-stream.binance.vision/stream?streams=s0usdt@trade/")
    assert address.endswith("&timeUnit=MICROSECOND")
    assert len(address) < 4096
    asked = address.split("streams=")[1].split("&")[0].split("/")
    for ask in BINANCE.greeting(channels):
        request = json.loads(ask.text)
        assert (request["method"], request["params"]) == ("SUBSCRIBE", list(ask.channels))
        asked += ask.channels
    assert asked == channels


def test_requests_carry_rising_numbers() -> None:
    asks = [*BINANCE.subscribe(["a@trade"]), *BINANCE.unsubscribe(["a@trade"])]
    requests = [json.loads(ask.text) for ask in asks]
    assert [str(request["id"]) for request in requests] == [ask.id for ask in asks]
    assert [request["method"] for request in requests] == ["SUBSCRIBE", "UNSUBSCRIBE"]
    assert requests[0]["id"] < requests[1]["id"]


def test_the_exchange_s_clock_is_read_in_microseconds() -> None:
    assert BINANCE.clock(b'{"serverTime":1499827319559}') == 1499827319559000
    with pytest.raises(UnparsableMessage):
        BINANCE.clock(b"<html>")


def raw_messages(recorded: Path) -> Iterator[dict[str, Any]]:
    with (recorded / "raw-messages" / "raw_messages.jsonl").open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines)


def is_ours(entry: dict[str, Any]) -> bool:
    stream = json.loads(entry["raw"]).get("stream", "") if entry["exchange"] == "binance" else ""
    return entry["test"] == "spot" and stream in BINANCE.channels


def test_recorded_tickers_and_candles_are_read(recorded: Path) -> None:
    found: dict[str, int] = {}
    for entry in raw_messages(recorded):
        if is_ours(entry):
            message = json.loads(entry["raw"])
            [event] = parse(entry["raw"])
            found[entry["mod"]] = found.get(entry["mod"], 0) + 1
            if isinstance(event, Ticker):
                data = message["data"]
                assert (str(event.last_price), str(event.quote_volume)) == (data["c"], data["q"])
                assert (event.open_time, event.close_time) == (data["O"] * 1000, data["C"] * 1000)
                assert (event.first_trade_id, event.last_trade_id) == (data["F"], data["L"])
            else:
                assert isinstance(event, Kline)
                assert event.last_trade_id - event.first_trade_id + 1 == event.trade_count
    assert found == {"ticker": 1, "candlestick": 1}


def test_recorded_messages_of_other_streams_and_venues_are_refused(recorded: Path) -> None:
    for entry in raw_messages(recorded):
        if not is_ours(entry):
            with pytest.raises(UnparsableMessage):
                parse(entry["raw"])


def test_recorded_candles_of_a_session_are_read(recorded: Path) -> None:
    exchange = venue("NKNUSDT", "LRCBTC", "BLZETH", "RUNEEUR")
    found = 0
    with gzip.open(recorded / "venue-recordings" / "BINANCE.ws.1.0.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            time, _, message = line.partition(": ")
            if not message or line.startswith("wss://"):
                continue
            if "@kline_1m" in message[:60]:
                [event] = exchange.parse(message.encode(), int(float(time) * 1_000_000), "c")
                assert isinstance(event, Kline)
                found += 1
            else:
                with pytest.raises(UnparsableMessage, match="unknown stream"):
                    parse(message, exchange)
    assert found == 2


@pytest.mark.parametrize(("symbol", "count"), [("BTCUSDT", 9_757), ("ETHUSDT", 6_106)])
def test_every_recorded_trade_is_read_and_their_ids_have_no_hole(recorded: Path, symbol: str, count: int) -> None:
    ids = []
    with gzip.open(recorded / "binance-spot-recording" / f"spot_{symbol.lower()}_20240808.gz", "rb") as lines:
        for line in lines:
            received, _, message = line.partition(b" ")
            if b'@trade"' not in message[:40]:
                continue
            [event] = BINANCE.parse(message, int(received) // 1000, "recording")
            data = json.loads(message)["data"]
            assert isinstance(event, Trade)
            assert (str(event.price), str(event.quantity)) == (data["p"], data["q"])
            assert event.quote_quantity == exactly(data["p"], data["q"])
            ids.append(event.trade_id)
    assert len(ids) == count
    assert ids == list(range(ids[0], ids[0] + count))
