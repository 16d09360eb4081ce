import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import AnyEvent, ConnectionReport, DeadLetter, DepthSnapshot, Trade, encode
from shared.settings import Settings
from shared.symbol_manager import Symbol, SymbolsFileError
from streaming import connection as connections
from streaming import fleet as fleets
from streaming.connection import Frame
from streaming.coverage import Outage, Restored
from streaming.exchanges.binance import Binance
from streaming.feed import Feed, addresses, dead_letter, hint
from streaming.simulator.server import Options, running

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
    made = Feed(Settings(binance_ws_url=venue.url, binance_rest_url=venue.http_url))
    yield made
    made.close()


def taken(feed: Feed, count: int) -> list[list[AnyEvent] | DeadLetter]:
    """What the next `count` frames say."""
    parsed: list[list[AnyEvent] | DeadLetter] = []
    while len(parsed) < count:
        received = feed.take(timeout=10)
        assert received, "it did not come in time"
        if isinstance(received, Frame):
            parsed.append(feed.events(received))
    return parsed


def awaited(feed: Feed, kind: type, tick: Callable[[], int] = lambda: 0) -> Any:
    """The next item of a kind; frames on the way are read, and the watchdog is asked with the time of `tick`."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        received = feed.take(timeout=0.05)
        if isinstance(received, kind):
            return received
        if isinstance(received, Frame):
            feed.events(received)
        feed.tick(tick())
    raise AssertionError("it did not come in time")


def series(item: Outage | Restored) -> list[tuple[str, str]]:
    return [(symbol.symbol, stream) for symbol, stream in item.series]


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
    monkeypatch.setattr(connections, "FRAMES_WAITING", 8)
    feed.follow([BTC])
    until(lambda: venue.open == 1)
    venue.send(*(trade("BTCUSDT", number) for number in range(20)))
    until(lambda: feed._queue.qsize() == 8)
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


@pytest.mark.parametrize("body", [b"\0" * 3_000_000, b"\xff" * 3_000_000, "€".encode() * 1_000_000, b"[" * 3_000_000])
def test_a_dead_letter_of_whatever_frame_is_one_that_kafka_takes_and_says_what_it_leaves_out(body: bytes) -> None:
    refused = dead_letter(Frame(Binance(), body, 1, "c"), "why" * 1_000_000)
    assert len(encode(refused)) < 1_000_000
    assert body.decode(errors="backslashreplace").startswith(refused.frame.removesuffix("\\xe2").removesuffix("\\x82"))
    assert "of 3000000 bytes these are the first" in refused.error


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


def test_a_demo_streams_from_the_simulator_and_live_from_the_exchange() -> None:
    demo = Settings(CRYPTO_MODE="demo", simulator_port=8123)
    assert addresses(demo, "binance") == ("ws://127.0.0.1:8123", "http://127.0.0.1:8123", "http://127.0.0.1:8123")
    assert "crypto simulate" in hint(demo)
    live = Settings(CRYPTO_MODE="live", binance_ws_url="", binance_rest_url="")
    assert addresses(live, "binance") == ("", "", "")
    assert "--demo" in hint(live)


def test_books_that_begin_to_count_anew_go_on_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = Binance()
    exchange.learn([BTC])
    feed = Feed(Settings())

    def sent(seconds: float, number: int) -> bool:
        body = f'{{"stream":"btcusdt@depth5","data":{{"lastUpdateId":{number},"bids":[],"asks":[]}}}}'.encode()
        return bool(feed.events(Frame(exchange, body, int(seconds * 1_000_000), "c")))

    assert [sent(at, 1000 + at) for at in range(100, 103)] == [True, True, True]
    assert [sent(at, at) for at in range(103, 112)] == [False] * 9
    assert [sent(at, at) for at in (112, 113, 113)] == [True, True, False]
    assert not any(sent(at, 113) for at in range(114, 140)), "a book that stands still"
    assert not sent(141, 112), "an old one of the other connection"
    assert sent(142, 114)


def test_an_outage_names_what_was_carried_alone_and_it_is_restored_before_its_next_event(
    venue: Any, feed: Feed, until: Any
) -> None:
    feed.follow([BTC, ETH])
    until(lambda: venue.open == 1)
    venue.send(trade("BTCUSDT", 1), trade("ETHUSDT", 1))
    taken(feed, 1)
    last = feed.take(timeout=10)
    assert isinstance(last, Frame)
    venue.cut()
    outage = awaited(feed, Outage)
    assert (outage.exchange, outage.cause, outage.at) == ("binance", "disconnect", last.received_at)
    assert outage.reason == "the exchange closed the connection (gone)"
    assert series(outage) == [("BTCUSDT", "depth5"), ("BTCUSDT", "trade"), ("ETHUSDT", "trade")]
    until(lambda: venue.open == 1)
    venue.send(trade("BTCUSDT", 5))
    restored = awaited(feed, Restored)
    assert series(restored) == series(outage)
    frame = awaited(feed, Frame)
    assert restored.at == frame.received_at


def test_what_is_taken_out_of_the_file_is_no_outage_and_is_none_when_the_connection_ends(
    venue: Any, feed: Feed, until: Any
) -> None:
    feed.follow([BTC, ETH])
    until(lambda: venue.open == 1)
    venue.send(trade("BTCUSDT", 1))
    taken(feed, 1)
    feed.follow([ETH])
    until(lambda: venue.requests)
    venue.cut()
    assert series(awaited(feed, Outage)) == [("ETHUSDT", "trade")]


def test_closing_is_no_outage(venue: Any, feed: Feed, until: Any) -> None:
    feed.follow([BTC])
    until(lambda: venue.open == 1)
    venue.send(trade("BTCUSDT", 1))
    taken(feed, 1)
    feed.close()
    left = []
    while (item := feed.take(timeout=0)) is not None:
        left.append(item)
    assert not [item for item in left if isinstance(item, Outage)]
    assert [item.reason for item in left if isinstance(item, ConnectionReport)][-1] == "streaming stops"


def test_each_connection_is_reported_when_it_opens_when_its_clock_is_known_and_when_it_ends(
    venue: Any, feed: Feed, until: Any
) -> None:
    venue.clock_ahead = -5.0
    feed.follow([BTC, ETH])
    opened, measured = awaited(feed, ConnectionReport), awaited(feed, ConnectionReport)
    assert (opened.exchange, opened.channels, opened.clock_offset, opened.closed_at) == ("binance", 3, None, None)
    assert measured.clock_offset == pytest.approx(-5_000_000, abs=500_000)
    venue.cut()
    ended = awaited(feed, ConnectionReport)
    assert ended.connection_id == opened.connection_id == measured.connection_id
    assert ended.reason == "the exchange closed the connection (gone)"
    assert opened.updated_at <= measured.updated_at <= ended.updated_at


def test_a_series_that_falls_silent_gets_another_connection_and_is_restored(
    venue: Any, feed: Feed, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "SILENT_AGAIN_SECONDS", 0)
    monkeypatch.setattr(Binance, "overlap_seconds", 0.1)
    feed.follow([BTC])
    until(lambda: venue.open == 1)
    venue.send(trade("BTCUSDT", 1), depth("BTCUSDT", 1))
    taken(feed, 2)
    began = time.time_ns() // 1000
    heard = feed._watchdog.heard["binance", "BTCUSDT", "depth5"]
    later = iter(range(began, began + 80_000_000, 1_000_000))

    outage = awaited(feed, Outage, tick=lambda: next(later, 0))
    assert (outage.cause, series(outage), outage.at) == ("silence", [("BTCUSDT", "depth5")], heard)
    assert "nothing came for 6" in outage.reason
    until(lambda: venue.open == 2)
    venue.send(trade("BTCUSDT", 2), to=slice(1, 2))
    assert series(awaited(feed, Restored)) == [("BTCUSDT", "depth5")]
    until(lambda: venue.open == 1)
    assert len(venue.addresses) == 2


def test_a_silent_series_that_comes_again_by_itself_is_restored(venue: Any, feed: Feed, until: Any) -> None:
    feed.follow([BTC])
    until(lambda: venue.open == 1)
    venue.send(depth("BTCUSDT", 1))
    taken(feed, 1)
    began = time.time_ns() // 1000
    later = iter(range(began, began + 80_000_000, 1_000_000))
    awaited(feed, Outage, tick=lambda: next(later, 0))
    venue.send(depth("BTCUSDT", 2))
    [_] = taken(feed, 1)
    restored = awaited(feed, Restored, tick=lambda: next(later, 0))
    assert series(restored) == [("BTCUSDT", "depth5")]
    assert restored.at == feed._watchdog.heard["binance", "BTCUSDT", "depth5"]
    assert len(venue.addresses) == 1, "the connection is too young to be replaced"


def test_a_series_that_fell_silent_before_our_clock_went_back_is_restored(venue: Any, feed: Feed, until: Any) -> None:
    feed.follow([BTC])
    until(lambda: venue.open == 1)
    venue.send(depth("BTCUSDT", 1))
    frame = awaited(feed, Frame)
    began = time.time_ns() // 1000
    ahead = began + 3 * 3_600_000_000
    feed.events(frame._replace(received_at=ahead))
    later = iter(range(ahead, ahead + 80_000_000, 1_000_000))
    assert awaited(feed, Outage, tick=lambda: next(later, 0)).at == ahead
    feed.tick(began)
    venue.send(depth("BTCUSDT", 2))
    taken(feed, 1)
    assert series(awaited(feed, Restored, tick=lambda: began + 60_000_000)) == [("BTCUSDT", "depth5")]


def test_what_waits_in_the_queue_is_not_silent(venue: Any, feed: Feed, until: Any) -> None:
    feed.follow([BTC])
    until(lambda: venue.open == 1)
    venue.send(depth("BTCUSDT", 1))
    taken(feed, 1)
    venue.send(depth("BTCUSDT", 2))
    until(lambda: not feed._queue.empty())
    now = time.time_ns() // 1000
    for second in range(100):
        feed.tick(now + second * 1_000_000)
    assert not feed._ready


def test_symbols_in_any_script_are_followed(venue: Any, feed: Feed, until: Any) -> None:
    coin = Symbol(symbol="币安人生USDT", name="币安人生", streams=("trade",))
    feed.follow([coin])
    until(lambda: venue.open == 1)
    assert "币安人生usdt@trade" in venue.addresses[0] or "%E5%B8%81" in venue.addresses[0]
    feed.follow([coin, Symbol(symbol="ÑUSDT", name="Ñ", streams=("trade",))])
    until(lambda: venue.requests)
    assert venue.requests[0][1]["params"] == ["ñusdt@trade"]
    venue.send(trade("币安人生USDT", 1), trade("ÑUSDT", 2))
    [[first], [second]] = [parsed for parsed in taken(feed, 3) if parsed]  # one frame is the answer
    assert (first.symbol, second.symbol) == ("币安人生USDT", "ÑUSDT")


def test_important_symbols_have_a_connection_of_their_own(
    venue: Any, feed: Feed, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Binance, "channels_per_connection", 3)
    mass = [Symbol(symbol=f"{name}USDT", name=name, streams=("trade", "ticker")) for name in ("AAA", "BBB")]
    feed.follow([BTC.model_copy(update={"priority": 1}), *mass])
    until(lambda: venue.open == 3)
    assert [sorted(named(address)) for address in venue.addresses] == [
        ["btcusdt@depth5", "btcusdt@trade"],
        ["aaausdt@ticker", "aaausdt@trade", "bbbusdt@trade"],
        ["bbbusdt@ticker"],
    ]


def named(address: str) -> list[str]:
    return address.split("streams=")[1].split("&")[0].split("/")


class Simulated:
    """The simulated exchange, in a thread."""

    def __init__(self, options: Options) -> None:
        self.address = ""
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(options),))
        self._thread.start()
        assert self._started.wait(60)

    async def _run(self, options: Options) -> None:
        async with running(options) as self.address:
            self._started.set()
            await self._ended.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)
        self._loop.close()


def test_over_many_rotations_no_trade_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Binance, "max_age_seconds", 1.5)
    monkeypatch.setattr(Binance, "rotate_seconds_before", 0.5)
    monkeypatch.setattr(Binance, "overlap_seconds", 0.3)
    exchange = Simulated(Options(port=0, rate=50, history_hours=0))
    feed = Feed(Settings(binance_ws_url=f"ws://{exchange.address}", binance_rest_url=f"http://{exchange.address}"))
    try:
        feed.follow([Symbol(symbol="BTCUSDT", name="Bitcoin")])
        ids: list[int] = []
        reports: list[ConnectionReport] = []
        deadline = time.monotonic() + 60
        while len([report for report in reports if report.closed_at]) < 5:
            assert time.monotonic() < deadline
            received = feed.take(timeout=1)
            assert not isinstance(received, Outage), received
            if isinstance(received, ConnectionReport):
                reports.append(received)
            elif isinstance(received, Frame):
                parsed = feed.events(received)
                assert isinstance(parsed, list), parsed
                ids += [event.trade_id for event in parsed if isinstance(event, Trade)]
    finally:
        feed.close()
        exchange.stop()
    assert all(report.reason.startswith("replaced: ") for report in reports if report.closed_at)
    assert len(set(ids)) > 100
    assert len(ids) > len(set(ids)), "for a moment both deliver"
    assert all(later == earlier + 1 for earlier, later in pairwise(sorted(set(ids))))
    assert any(abs(report.clock_offset) < 100_000 for report in reports if report.clock_offset is not None)


def test_where_nothing_is_taken_for_long_the_end_of_reading_is_an_outage(
    venue: Any, feed: Feed, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "FRAMES_WAITING", 10)
    monkeypatch.setattr(Binance, "pong_seconds", 1)
    feed.follow([BTC])
    until(lambda: venue.open == 1)
    venue.send(*(trade("BTCUSDT", number) for number in range(30)))
    until(lambda: venue.open == 0)
    outage = awaited(feed, Outage)
    assert (outage.cause, outage.reason) == ("disconnect", "we stopped reading: memory and spool are full")
    assert outage.at == feed._last_received, "everything that was read is handed on"
    until(lambda: venue.open == 1)
    venue.send(trade("BTCUSDT", 40))
    assert series(awaited(feed, Restored)) == series(outage)
