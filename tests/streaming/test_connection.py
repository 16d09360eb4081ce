import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

import pytest
import websocket

from shared.events import ConnectionReport
from shared.symbol_manager import Symbol
from streaming import connection as module
from streaming.connection import STOPPED_READING, Connection, Frame, explained
from streaming.coverage import Carried, Dropped, Over
from streaming.exchanges.binance import Binance

TRADE = {"stream": "btcusdt@trade", "data": {"e": "trade"}}


class Fast(Binance):
    """Binance, in a hurry."""

    seconds_between_messages: ClassVar[float] = 0.01
    answer_seconds: ClassVar[float] = 0.3


class Setup:
    """A connection to the venue of a test, and what came of it."""

    def __init__(self, venue: Any, channels: Sequence[str], exchange: type[Binance]) -> None:
        self.all: list[Any] = []
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.states: list[bool] = []
        self.wake = threading.Event()
        binance = exchange(venue.url, venue.http_url)
        binance.learn([Symbol(symbol="BTCUSDT", name="Bitcoin")])
        self.connection = Connection(
            binance, channels, self.queue, lambda _name, state: self.states.append(state), "Retrying", self.wake
        )
        self.connection.start()

    def came(self, kind: type) -> list[Any]:
        """Everything of a kind that came so far."""
        while True:
            try:
                self.all.append(self.queue.get_nowait())
            except Empty:
                return [item for item in self.all if isinstance(item, kind)]

    @property
    def frames(self) -> list[Frame]:
        return self.came(Frame)

    @property
    def carried(self) -> list[str]:
        return [channel for notice in self.came(Carried) for channel in notice.channels]

    def stop(self) -> None:
        self.connection.stop("the test is over")
        self.connection.join(10)
        assert not self.connection.is_alive()


@pytest.fixture
def connect(venue: Any, until: Callable[..., None]) -> Iterator[Callable[..., Setup]]:
    made: list[Setup] = []

    def make(*channels: str, exchange: type[Binance] = Binance) -> Setup:
        made.append(Setup(venue, channels, exchange))
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


def test_the_channels_of_the_address_are_carried_when_the_first_message_comes(
    venue: Any, connect: Any, until: Any
) -> None:
    setup = connect("btcusdt@trade", "ethusdt@trade")
    venue.send(TRADE)
    until(lambda: setup.frames)
    notice, frame = setup.came(Carried)[0], setup.frames[0]
    assert notice.channels == ("btcusdt@trade", "ethusdt@trade")
    assert notice.at == frame.received_at
    assert setup.all.index(notice) < setup.all.index(frame)
    until(lambda: setup.connection.settled is not None)


def test_the_channels_of_a_quiet_address_are_carried_after_a_while(venue: Any, connect: Any, until: Any) -> None:
    setup = connect("btcusdt@trade", exchange=Fast)
    until(lambda: setup.carried == ["btcusdt@trade"])
    assert setup.frames == []


def test_a_subscribed_channel_is_carried_when_the_exchange_has_said_so(venue: Any, connect: Any, until: Any) -> None:
    setup = connect("btcusdt@trade", exchange=Fast)
    until(lambda: setup.carried)
    venue.answers = False
    setup.connection.channels = ("btcusdt@trade", "ethusdt@trade")
    until(lambda: venue.requests)
    assert setup.carried == ["btcusdt@trade"]
    venue.send({"result": None, "id": venue.requests[0][1]["id"]})
    until(lambda: setup.carried == ["btcusdt@trade", "ethusdt@trade"])


def test_what_is_unsubscribed_is_dropped(venue: Any, connect: Any, until: Any) -> None:
    setup = connect("btcusdt@trade", "ethusdt@trade", exchange=Fast)
    setup.connection.channels = ("btcusdt@trade",)
    until(lambda: [notice.channels for notice in setup.came(Dropped)] == [("ethusdt@trade",)])


def test_a_subscription_that_is_not_answered_asks_for_another_connection(venue: Any, connect: Any, until: Any) -> None:
    setup = connect("btcusdt@trade", exchange=Fast)
    venue.answers = False
    setup.connection.channels = ("btcusdt@trade", "ethusdt@trade")
    until(lambda: "not answered" in setup.connection.replace_because)
    assert not setup.connection.ended.is_set()


def test_of_a_refused_subscription_all_but_the_wrong_channel_is_carried_and_that_is_asked_for_again(
    venue: Any, connect: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.2)
    setup = connect("btcusdt@trade", exchange=Fast)
    names = [f"s{number}usdt@trade" for number in range(9)]
    venue.refused = {names[4]}
    setup.connection.channels = ("btcusdt@trade", *names)
    right = {name for name in names if name != names[4]}
    until(lambda: right <= set(setup.carried))
    until(lambda: [request["params"] for _, request in venue.requests].count([names[4]]) >= 3)
    assert names[4] not in setup.carried
    until(lambda: setup.connection.settled is not None)
    venue.refused = set()
    until(lambda: names[4] in setup.carried)
    assert any(b"invalid stream" in frame.body for frame in setup.frames), "the refusal itself is handed on"


def test_the_end_says_why_and_when_the_last_message_came(venue: Any, connect: Any, until: Any) -> None:
    setup = connect("btcusdt@trade")
    venue.send(TRADE, TRADE)
    until(lambda: len(setup.frames) == 2)
    venue.cut()
    until(lambda: setup.came(Over))
    [over] = setup.came(Over)
    assert (over.connection_id, over.at) == (setup.connection.id, setup.frames[1].received_at)
    assert over.reason == "the exchange closed the connection (gone)"
    until(lambda: setup.connection.ended.is_set())
    assert setup.states == [True, False]
    reports = setup.came(ConnectionReport)
    assert (reports[0].closed_at, reports[0].reason, reports[0].channels) == (None, "", 1)
    assert (reports[-1].reason, reports[-1].connection_id) == (over.reason, setup.connection.id)
    assert reports[-1].closed_at >= over.at >= reports[-1].opened_at


def test_the_clock_of_the_exchange_is_measured(venue: Any, connect: Any, until: Any) -> None:
    venue.clock_ahead = 100.0
    setup = connect("btcusdt@trade")
    until(lambda: any(report.clock_offset is not None for report in setup.came(ConnectionReport)))
    assert setup.came(ConnectionReport)[-1].clock_offset == pytest.approx(100_000_000, abs=500_000)
    setup.stop()
    assert setup.came(ConnectionReport)[-1].clock_offset == pytest.approx(100_000_000, abs=500_000)
    assert setup.came(ConnectionReport)[-1].reason == "the test is over"


@pytest.mark.parametrize(
    "message",
    [{"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1}}, {"e": "serverShutdown", "E": 1}],
)
def test_a_shutdown_that_was_announced_asks_for_another_connection_and_reads_on(
    message: dict[str, Any], venue: Any, connect: Any, until: Any
) -> None:
    setup = connect("btcusdt@trade")
    venue.send(message)
    until(lambda: setup.connection.replace_because)
    assert setup.wake.is_set()
    venue.send(TRADE)
    until(lambda: len(setup.frames) == 2)


def test_an_old_connection_asks_for_another(venue: Any, connect: Any, until: Any) -> None:
    class ShortLived(Binance):
        max_age_seconds: ClassVar[float] = Binance.rotate_seconds_before

    setup = connect("btcusdt@trade", exchange=ShortLived)
    until(lambda: "old" in setup.connection.replace_because)


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
        silence_seconds: ClassVar[float] = 0

    setup = connect("btcusdt@trade", exchange=Impatient)
    until(lambda: [over.reason for over in setup.came(Over)] == ["nothing was heard for 0 s"])


def test_a_venue_that_wants_to_be_pinged_is(venue: Any, connect: Any, until: Any) -> None:
    class Pinged(Binance):
        keep_alive_seconds: ClassVar[float] = 0.05

        def keep_alive(self) -> str:
            return '{"id":"7","type":"ping"}'

    connect("btcusdt@trade", exchange=Pinged)
    until(lambda: [request for _, request in venue.requests][:2] == [{"id": "7", "type": "ping"}] * 2)


class Hasty(Binance):
    """Wants its pongs within a second."""

    pong_seconds: ClassVar[float] = 1


def test_while_nothing_is_taken_the_connection_is_ended_before_a_pong_would_be_late(
    venue: Any, connect: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRAMES_WAITING", 5)
    setup = connect("btcusdt@trade", exchange=Hasty)
    sent_at = time.monotonic()
    venue.send(*[TRADE] * 20)
    until(lambda: setup.connection.ended.is_set())
    assert time.monotonic() - sent_at < Hasty.pong_seconds
    [over] = setup.came(Over)
    assert over.reason == STOPPED_READING
    assert over.at == setup.frames[-1].received_at
    assert len(setup.frames) <= 5


def test_a_stop_that_is_over_in_time_loses_nothing(
    venue: Any, connect: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRAMES_WAITING", 5)
    setup = connect("btcusdt@trade")
    venue.send(*[{"n": number} for number in range(20)])
    venue.ping(b"late")
    until(lambda: setup.queue.qsize() >= 5)
    until(lambda: len(setup.frames) == 20)
    until(lambda: venue.pongs == [b"late"])
    assert [json.loads(frame.body)["n"] for frame in setup.frames] == list(range(20))


def test_of_large_messages_only_a_few_wait(
    venue: Any, connect: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = connect("btcusdt@trade")
    until(lambda: setup.came(ConnectionReport))
    waits = threading.Event()
    wait = module.Connection._wait_for_room
    monkeypatch.setattr(module.Connection, "_wait_for_room", lambda *given: waits.set() or wait(*given))
    texts = [json.dumps({"n": number, "pad": "x" * module.LARGE_BYTES}) for number in range(40)]
    venue.send(*texts)
    assert waits.wait(10)
    assert setup.queue.qsize() <= module.LARGE_WAITING + 2  # and what it says of itself
    until(lambda: len(setup.frames) == len(texts))
    assert [frame.body.decode() for frame in setup.frames] == texts


def test_a_message_without_an_end_ends_the_connection(
    venue: Any, connect: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1_000_000)
    setup = connect("btcusdt@trade")
    venue.send("x" * 900_000)
    until(lambda: setup.frames)
    venue.send("x" * 3_000_000)
    until(lambda: setup.came(Over))
    assert setup.came(Over)[0].reason.startswith("a message is longer than")
    assert len(setup.frames) == 1


def test_a_reader_that_keeps_up_is_never_ended_for_being_busy(venue: Any, connect: Any, until: Any) -> None:
    setup = connect("btcusdt@trade", exchange=Hasty)
    started = time.monotonic()
    sent = 0
    while time.monotonic() - started < 2 * Hasty.pong_seconds:
        venue.send(*[TRADE] * 20)
        sent += 20
        assert setup.came(Over) == []
    until(lambda: len(setup.frames) == sent)
    assert not setup.connection.ended.is_set()


def test_an_exchange_that_refuses_ends_the_connection(venue: Any, until: Any) -> None:
    venue.refuse_with = 451
    setup = Setup(venue, ["btcusdt@trade"], Binance)
    until(lambda: setup.connection.ended.is_set())
    assert setup.came(object) == []
    assert setup.states == []


def test_stopping_closes_the_socket(venue: Any, connect: Any, until: Any) -> None:
    setup = connect("btcusdt@trade")
    setup.stop()
    until(lambda: venue.open == 0)


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
