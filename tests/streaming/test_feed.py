from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import AnyEvent, DeadLetter, DepthSnapshot, Trade
from shared.settings import Settings
from shared.symbol_manager import Symbol, SymbolsFileError
from streaming import feed as module
from streaming.connection import Frame
from streaming.exchanges.binance import Binance
from streaming.feed import Feed, addresses, dead_letter, hint, shared_out

BTC = Symbol(symbol="BTCUSDT", name="Bitcoin", streams=("trade", "depth5"))
ETH = Symbol(symbol="ETHUSDT", name="Ether", streams=("trade",))


def trade(symbol: str, number: int) -> dict[str, Any]:
    data = {
        "e": "trade",
        "E": 1672515782136,
        "s": symbol,
        "t": number,
        "p": "1",
        "q": "2",
        "T": 1672515782136,
        "m": True,
    }
    return {"stream": f"{symbol.lower()}@trade", "data": data}


def depth(symbol: str, number: int) -> dict[str, Any]:
    return {"stream": f"{symbol.lower()}@depth5", "data": {"lastUpdateId": number, "bids": [["1", "1"]], "asks": []}}


@pytest.fixture
def feed(venue: Any) -> Iterator[Feed]:
    made = Feed(Settings(binance_ws_url=venue.url))
    yield made
    made.close()


def taken(feed: Feed, count: int) -> list[list[AnyEvent] | DeadLetter]:
    frames = [feed.take(timeout=10) for _ in range(count)]
    return [feed.events(frame) for frame in frames if frame]


def test_the_events_of_the_followed_symbols_come(venue: Any, feed: Feed, until: Callable[..., None]) -> None:
    feed.follow([BTC, ETH])
    until(lambda: venue.open == 1)
    venue.send(trade("BTCUSDT", 1), trade("ETHUSDT", 2))
    [[first], [second]] = taken(feed, 2)
    assert isinstance(first, Trade)
    assert isinstance(second, Trade)
    assert (first.symbol, first.trade_id, second.symbol, second.trade_id) == ("BTCUSDT", 1, "ETHUSDT", 2)
    assert "btcusdt@trade/btcusdt@depth5/ethusdt@trade" in venue.addresses[0]


def test_a_change_leaves_the_connection_open_and_asks_for_the_difference(venue: Any, feed: Feed, until: Any) -> None:
    feed.follow([BTC])
    until(lambda: venue.open == 1)
    feed.follow([ETH, BTC])
    until(lambda: len(venue.requests) == 1)
    feed.follow([ETH])
    until(lambda: len(venue.requests) == 2)
    asked = [(request["method"], request["params"]) for _, request in venue.requests]
    assert asked == [("SUBSCRIBE", ["ethusdt@trade"]), ("UNSUBSCRIBE", ["btcusdt@depth5", "btcusdt@trade"])]
    assert len(venue.addresses) == 1


def test_following_the_same_again_asks_for_nothing(venue: Any, feed: Feed, until: Any) -> None:
    feed.follow([BTC])
    until(lambda: venue.open == 1)
    feed.follow([BTC])
    feed.follow([BTC, ETH])
    until(lambda: len(venue.requests) == 1)
    assert venue.requests[0][1]["params"] == ["ethusdt@trade"]


def test_the_last_message_of_a_symbol_that_was_taken_out_can_still_be_read(venue: Any, feed: Feed, until: Any) -> None:
    feed.follow([BTC, ETH])
    until(lambda: venue.open == 1)
    feed.follow([BTC])
    venue.send(trade("ETHUSDT", 7))
    while True:
        [parsed] = taken(feed, 1)
        if parsed:
            break
    assert [event.symbol for event in parsed] == ["ETHUSDT"] if isinstance(parsed, list) else False


def test_of_each_book_only_a_newer_one_goes_on(venue: Any, feed: Feed, until: Any) -> None:
    feed.follow([BTC, Symbol(symbol="ETHUSDT", name="Ether", streams=("depth5",))])
    until(lambda: venue.open == 1)
    numbers = [5, 5, 4, 6, 3, 7]
    venue.send(*(depth("BTCUSDT", number) for number in numbers), depth("ETHUSDT", 1))
    events = [event for parsed in taken(feed, 7) for event in parsed if isinstance(event, DepthSnapshot)]
    assert [(event.symbol, event.update_id) for event in events] == [
        ("BTCUSDT", 5), ("BTCUSDT", 6), ("BTCUSDT", 7), ("ETHUSDT", 1),
    ]  # fmt: skip


def test_an_exchange_that_there_is_not_changes_nothing(venue: Any, feed: Feed, until: Any) -> None:
    feed.follow([BTC])
    until(lambda: venue.open == 1)
    with pytest.raises(SymbolsFileError):
        feed.follow([ETH, Symbol(symbol="SOLUSDT", name="Solana", exchanges=("mtgox",))])
    venue.send(trade("BTCUSDT", 1))
    assert isinstance(taken(feed, 1)[0], list)
    assert venue.requests == []


def test_when_nobody_takes_frames_reading_stops(
    venue: Any, feed: Feed, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRAMES_WAITING", 3)
    feed.follow([BTC])
    until(lambda: venue.open == 1)
    venue.send(*(trade("BTCUSDT", number) for number in range(20)))
    until(lambda: feed._frames.qsize() == 3)
    events = [event for parsed in taken(feed, 20) for event in parsed]
    assert [event.trade_id for event in events] == list(range(20))


@given(st.binary(max_size=100))
def test_a_message_that_cannot_be_read_becomes_a_dead_letter_whole(body: bytes) -> None:
    feed = Feed(Settings())
    parsed = feed.events(Frame(Binance(), body, 123, "binance-9"))
    assert isinstance(parsed, DeadLetter)
    assert (parsed.exchange, parsed.connection_id, parsed.received_at) == ("binance", "binance-9", 123)
    assert parsed.frame == body.decode(errors="backslashreplace")
    assert parsed.error


def test_a_dead_letter_keeps_bytes_that_are_no_text() -> None:
    assert dead_letter(Frame(Binance(), b"a\xffb", 1, "c"), "why").frame == "a\\xffb"


channels = st.lists(st.integers(0, 40).map(str), unique=True)


@given(channels, channels, st.integers(1, 7))
def test_each_channel_lies_on_one_connection_that_is_not_overfull(old: list[str], new: list[str], limit: int) -> None:
    before = shared_out(old, [], limit)
    after = shared_out(new, before, limit)
    placed = [channel for load in after for channel in load]
    assert sorted(placed) == sorted(new)
    assert all(len(load) <= limit for load in after)
    for earlier, later in zip(before, after, strict=False):
        assert {channel for channel in earlier if channel in new} <= set(later), "a channel moved"


def test_a_connection_that_is_no_longer_needed_is_closed_and_the_others_stay(
    venue: Any, feed: Feed, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Binance, "channels_per_connection", 2)
    feed.follow([BTC, ETH])
    until(lambda: venue.open == 2)
    feed.follow([ETH])
    until(lambda: venue.open == 1)
    feed.follow([ETH, Symbol(symbol="SOLUSDT", name="Solana", streams=("trade",))])
    until(lambda: venue.requests and venue.requests[-1][1]["params"] == ["solusdt@trade"])
    assert len(venue.addresses) == 2


def test_a_thousand_symbols_lie_on_four_connections() -> None:
    many = [f"{number}@{stream}" for number in range(1000) for stream in ("trade", "ticker", "kline", "depth5")]
    assert [len(load) for load in shared_out(many, [], 1024)] == [1024, 1024, 1024, 928]


def test_a_demo_streams_from_the_simulator_and_live_from_the_exchange() -> None:
    demo = Settings(CRYPTO_MODE="demo", simulator_port=8123)
    assert addresses(demo, "binance") == ("ws://127.0.0.1:8123", "http://127.0.0.1:8123", "http://127.0.0.1:8123")
    assert "crypto simulate" in hint(demo)
    live = Settings(CRYPTO_MODE="live", binance_ws_url="", binance_rest_url="")
    assert addresses(live, "binance") == ("", "", "")
    assert "--demo" in hint(live)
