import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import websocket
from hypothesis import given
from hypothesis import strategies as st

from shared.symbol_manager import Symbol
from streaming import connection as module
from streaming.connection import Connection, Frame, backoff_seconds, explained
from streaming.exchanges.binance import Binance

TRADE = {"stream": "btcusdt@trade", "data": {"e": "trade"}}


class Setup:
    """A connection to the venue of a test, and what came of it."""

    def __init__(
        self, venue: Any, channels: Sequence[str], exchange: type[Binance] = Binance, holding: float = 0
    ) -> None:
        self.frames: list[Frame] = []
        self._holding = holding
        self.states: list[bool] = []
        binance = exchange(venue.url)
        binance.learn([Symbol(symbol="BTCUSDT", name="Bitcoin")])
        self.connection = Connection(
            binance, channels, self._take, lambda _name, state: self.states.append(state), "Retrying"
        )
        self.connection.start()

    def _take(self, frame: Frame) -> None:
        time.sleep(self._holding)
        self.frames.append(frame)

    def stop(self) -> None:
        self.connection.stop()
        self.connection.join(10)
        assert not self.connection.is_alive()


@pytest.fixture
def connect(venue: Any, until: Callable[..., None]) -> Iterator[Callable[..., Setup]]:
    made: list[Setup] = []

    def make(*channels: str, exchange: type[Binance] = Binance, holding: float = 0) -> Setup:
        made.append(Setup(venue, channels, exchange, holding))
        until(lambda: venue.open == 1)
        return made[-1]

    yield make
    for setup in made:
        setup.stop()


def test_a_message_is_handed_on_as_it_came_with_the_time(venue: Any, connect: Any, until: Any) -> None:
    before = time.time_ns() // 1000
    setup = connect("btcusdt@trade")
    venue.send(TRADE)
    until(lambda: setup.frames)
    frame = setup.frames[0]
    assert json.loads(frame.body) == TRADE
    assert before <= frame.received_at <= time.time_ns() // 1000
    assert frame.connection_id.startswith("binance-")
    assert frame.exchange.name == "binance"


def test_messages_of_any_size_come_whole_and_in_order(venue: Any, connect: Any, until: Any) -> None:
    setup = connect("btcusdt@trade")
    sizes = [1, 125, 126, 300, 65_535, 65_536, 200_000, 5]
    texts = [json.dumps({"n": number, "pad": "é" * size}) for number, size in enumerate(sizes)]
    venue.send(*texts)
    until(lambda: len(setup.frames) == len(sizes))
    assert [frame.body.decode() for frame in setup.frames] == texts


def test_a_ping_is_answered_with_its_payload(venue: Any, connect: Any, until: Any) -> None:
    connect("btcusdt@trade")
    venue.ping(b"1700000000")
    until(lambda: venue.pongs == [b"1700000000"])


def test_a_connection_that_was_cut_is_opened_again_under_another_name(venue: Any, connect: Any, until: Any) -> None:
    setup = connect("btcusdt@trade")
    venue.send(TRADE)
    until(lambda: setup.frames)
    venue.cut()
    until(lambda: len(venue.addresses) == 2)
    until(lambda: venue.open == 1)
    venue.send(TRADE)
    until(lambda: len(setup.frames) == 2)
    assert setup.frames[0].connection_id != setup.frames[1].connection_id
    assert setup.states == [True, False, True]


def test_a_shutdown_that_was_announced_is_followed_by_a_new_connection_at_once(
    venue: Any, connect: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "backoff_seconds", lambda _failures: 3600)
    connect("btcusdt@trade")
    venue.send({"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1770123456789}})
    until(lambda: len(venue.addresses) == 2)


def test_a_change_is_subscribed_on_the_live_connection_at_the_pace_that_is_allowed(
    venue: Any, connect: Any, until: Any
) -> None:
    setup = connect("btcusdt@trade", "ethusdt@trade")
    many = tuple(f"s{number}usdt@trade" for number in range(450))
    setup.connection.channels = ("btcusdt@trade", *many)
    until(lambda: len(venue.requests) == 4)
    times = [at for at, _ in venue.requests]
    assert all(later - earlier > 0.25 for earlier, later in pairwise(times))
    requests = [request for _, request in venue.requests]
    assert requests[0]["method"] == "UNSUBSCRIBE"
    assert requests[0]["params"] == ["ethusdt@trade"]
    assert [name for request in requests[1:] for name in request["params"]] == list(many)
    assert len(venue.addresses) == 1


def test_a_silent_connection_is_given_up(venue: Any, connect: Any, until: Any) -> None:
    class Impatient(Binance):
        silence_seconds: ClassVar[int] = 0

    connect("btcusdt@trade", exchange=Impatient)
    until(lambda: len(venue.addresses) >= 2)


def test_a_connection_ends_before_the_exchange_would_cut_it(venue: Any, connect: Any, until: Any) -> None:
    class ShortLived(Binance):
        max_age_seconds: ClassVar[int] = module.ROTATE_SECONDS_BEFORE

    connect("btcusdt@trade", exchange=ShortLived)
    until(lambda: len(venue.addresses) >= 2)


def test_a_venue_that_wants_to_be_pinged_is(venue: Any, connect: Any, until: Any) -> None:
    class Pinged(Binance):
        keep_alive_seconds: ClassVar[float] = 0.05

        def keep_alive(self) -> str:
            return '{"id":"7","type":"ping"}'

    connect("btcusdt@trade", exchange=Pinged)
    until(lambda: [request for _, request in venue.requests][:2] == [{"id": "7", "type": "ping"}] * 2)


def test_what_was_held_too_long_is_not_dated_now(
    venue: Any, connect: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALE_SECONDS", 0.05)
    connect("btcusdt@trade", holding=0.2)
    venue.send(TRADE, TRADE, TRADE)
    until(lambda: len(venue.addresses) >= 2)


def test_an_exchange_that_refuses_is_asked_again(venue: Any, connect: Any, until: Any) -> None:
    venue.refuse_with = 451
    setup = Setup(venue, ["btcusdt@trade"])
    try:
        venue.refuse_with = None
        until(lambda: venue.open == 1)
    finally:
        setup.stop()


def test_stopping_closes_the_socket(venue: Any, connect: Any, until: Any) -> None:
    setup = connect("btcusdt@trade")
    setup.stop()
    until(lambda: venue.open == 0)


@given(st.integers(0, 10_000))
def test_the_wait_grows_with_failures_and_stays_below_half_a_minute(failures: int) -> None:
    whole = min(30, 2.0 ** min(failures, 10))
    assert whole / 2 <= backoff_seconds(failures) <= whole


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (websocket.WebSocketBadStatusException("%s %s", 451), "refuses this place (HTTP 451)"),
        (websocket.WebSocketBadStatusException("%s %s", 403), "refuses this place (HTTP 403)"),
        (websocket.WebSocketBadStatusException("%s %s", 502), "answered HTTP 502"),
        (websocket.WebSocketAddressException("unknown"), "the name host.test cannot be resolved"),
        (socket.gaierror(-2, "Name or service not known"), "the name host.test cannot be resolved"),
        (ConnectionRefusedError(), "nothing listens at host.test:9"),
        (TimeoutError(), "does not answer"),
        (OSError(101, "Network is unreachable"), "no network"),
        (ssl.SSLCertVerificationError("certificate verify failed"), "certificate verify failed"),
        (ConnectionResetError(), "broke (ConnectionResetError)"),
    ],
)
def test_each_failure_is_said_in_words(error: Exception, reason: str) -> None:
    assert reason in explained(error, "wss://host.test:9/stream")
