import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import ConnectionReport
from shared.symbol_manager import Symbol
from streaming import connection as connections
from streaming import fleet as module
from streaming.connection import Frame
from streaming.coverage import Carried, Coverage, Key, Over
from streaming.exchanges.binance import Binance
from streaming.fleet import Fleet, backoff_seconds, shared_out

TRADE = {"stream": "btcusdt@trade", "data": {"e": "trade"}}
GOODBYE = {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1770123456789}}


class Fast(Binance):
    """Binance, in a hurry."""

    seconds_between_messages: ClassVar[float] = 0.01
    answer_seconds: ClassVar[float] = 0.3
    overlap_seconds: ClassVar[float] = 0.2


class Setup:
    """A fleet at the venue of a test, and what came of it."""

    def __init__(self, venue: Any, exchange: type[Binance], starts: bool) -> None:
        self.all: list[Any] = []
        self.queue: SimpleQueue[Any] = SimpleQueue()
        binance = exchange(venue.url, venue.http_url)
        binance.learn([Symbol(symbol="BTCUSDT", name="Bitcoin")])
        self.fleet = Fleet(binance, self.queue, lambda _name, _state: None, "Retrying")
        self.looks = 0
        tend_all = self.fleet._tend_all
        self.fleet._tend_all = lambda: (tend_all(), self._looked())  # type: ignore[method-assign]
        if starts:
            self.fleet.start()

    def _looked(self) -> None:
        self.looks += 1

    def follow(self, *channels: str, first: Sequence[str] = ()) -> None:
        self.fleet.follow(channels, first)

    def came(self, kind: type) -> list[Any]:
        while True:
            try:
                self.all.append(self.queue.get_nowait())
            except Empty:
                return [item for item in self.all if isinstance(item, kind)]

    def uncovered(self) -> list[str]:
        """Channels that no connection carried for a moment, though one had."""
        self.came(object)
        coverage = Coverage()
        names = {channel for item in self.all if isinstance(item, Carried) for channel in item.channels}
        coverage.follow("binance", [Key("binance", name, "") for name in names])
        lost = []
        for item in self.all:
            if isinstance(item, Carried):
                coverage.carry(item.connection_id, [Key("binance", name, "") for name in item.channels])
            elif isinstance(item, Over):
                lost += [key.symbol for key in coverage.end(item.connection_id)]
        return lost


@pytest.fixture
def fleet(venue: Any) -> Iterator[Callable[..., Setup]]:
    made: list[Setup] = []

    def make(exchange: type[Binance] = Fast, starts: bool = True) -> Setup:
        made.append(Setup(venue, exchange, starts))
        return made[-1]

    yield make
    for setup in made:
        setup.fleet.close()
        setup.fleet.wait_closed(10)
        assert not setup.fleet.is_alive()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "backoff_seconds", lambda _failures: 0.05)


def named(address: str) -> list[str]:
    return address.split("streams=")[1].split("&")[0].split("/")


def test_a_connection_that_was_cut_is_opened_again_under_another_name(venue: Any, fleet: Any, until: Any) -> None:
    setup = fleet()
    setup.follow("btcusdt@trade")
    until(lambda: venue.open == 1)
    venue.send(TRADE)
    until(lambda: setup.came(Frame))
    venue.cut()
    until(lambda: len(venue.addresses) == 2 and venue.open == 1)
    venue.send(TRADE)
    until(lambda: len(setup.came(Frame)) == 2)
    first, second = setup.came(Frame)
    assert first.connection_id != second.connection_id
    assert setup.uncovered() == ["btcusdt@trade"]


def test_at_a_shutdown_the_old_connection_stays_until_the_new_one_delivers(venue: Any, fleet: Any, until: Any) -> None:
    class Patient(Fast):
        answer_seconds: ClassVar[float] = 60

    setup = fleet(Patient)
    setup.follow("btcusdt@trade")
    until(lambda: venue.open == 1)
    venue.send(TRADE)
    venue.send(GOODBYE)
    until(lambda: venue.open == 2)
    venue.send(TRADE, to=slice(0, 1))  # the new one is silent still
    until(lambda: len(setup.came(Frame)) == 3)
    assert venue.open == 2
    assert setup.came(Over) == []
    venue.send(TRADE, to=slice(1, 2))
    until(lambda: setup.came(Over))
    until(lambda: venue.open == 1)
    assert [item for item in setup.all if isinstance(item, Carried | Over)][-1] == setup.came(Over)[0]
    assert setup.came(Over)[0].reason == "replaced: the exchange shuts this server down"
    assert setup.uncovered() == []


def test_connections_follow_one_another_before_they_are_too_old_and_nothing_is_uncovered(
    venue: Any, fleet: Any, until: Any
) -> None:
    class ShortLived(Fast):
        max_age_seconds: ClassVar[float] = 1
        rotate_seconds_before: ClassVar[float] = 0.5

    setup = fleet(ShortLived)
    channels = [f"s{number}usdt@trade" for number in range(150)]
    setup.follow(*channels)

    def three_rotations() -> bool:
        venue.send(TRADE)
        return len(setup.came(Over)) >= 3

    until(three_rotations, 30)
    assert setup.uncovered() == []
    assert {over.reason for over in setup.came(Over)} == {"replaced: it is nearly as old as the exchange allows"}
    for request in (request for _, request in venue.requests):
        assert request["params"] == channels[100:], "what the address does not name is subscribed"


def test_a_replacement_that_fails_is_tried_again_while_the_old_connection_lives(
    venue: Any, fleet: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    setup = fleet()
    setup.follow("btcusdt@trade")
    until(lambda: setup.came(Carried))
    venue.refuse_with = 503
    venue.send(GOODBYE)
    until(lambda: caplog.text.count("HTTP 503") >= 2)
    assert setup.came(Over) == []
    venue.refuse_with = None
    until(lambda: setup.came(Over))
    assert setup.uncovered() == []


def test_where_subscriptions_are_never_answered_the_old_connection_stays_and_the_waits_grow(
    venue: Any, fleet: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    monkeypatch.setattr(module, "backoff_seconds", lambda failures: waits.append(failures) or 0.05)
    setup = fleet()
    setup.follow("btcusdt@trade")
    until(lambda: setup.came(Carried))
    venue.answers = False
    setup.follow(*(f"s{number}usdt@trade" for number in range(150)), "btcusdt@trade")
    until(lambda: len(waits) == 3)
    assert waits == [1, 2, 3]
    first = setup.came(Carried)[0].connection_id
    assert first not in {over.connection_id for over in setup.came(Over)}
    assert "btcusdt@trade" not in setup.uncovered()


def test_a_replacement_takes_the_place_of_one_that_dies_meanwhile(venue: Any, fleet: Any, until: Any) -> None:
    class Patient(Fast):
        answer_seconds: ClassVar[float] = 60

    setup = fleet(Patient)
    setup.follow("btcusdt@trade")
    until(lambda: venue.open == 1)
    venue.send(TRADE, GOODBYE)
    until(lambda: venue.open == 2)
    venue.cut(slice(0, 1))
    until(lambda: setup.came(Over))
    venue.send(TRADE)
    until(lambda: len(setup.came(Carried)) == 2)
    assert len(venue.addresses) == 2
    assert setup.uncovered() == ["btcusdt@trade"], "there was a moment in which neither carried it"


def test_a_silent_series_gets_another_connection_but_not_at_once_again(
    venue: Any, fleet: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENT_AGAIN_SECONDS", 0.5)
    setup = fleet()
    setup.follow("btcusdt@trade")
    until(lambda: setup.came(Carried))
    setup.fleet.replace(["btcusdt@trade"], "BTCUSDT trade: nothing came for 31 s")
    until(lambda: setup.came(Over))
    assert setup.came(Over)[0].reason == "replaced: BTCUSDT trade: nothing came for 31 s"
    assert setup.uncovered() == []
    monkeypatch.setattr(module, "SILENT_AGAIN_SECONDS", 3600)
    setup.fleet.replace(["btcusdt@trade"], "again")
    setup.follow("btcusdt@trade", "ethusdt@trade")
    until(lambda: venue.requests)
    assert len(venue.addresses) == 2


def test_a_change_during_a_replacement_reaches_both(venue: Any, fleet: Any, until: Any) -> None:
    class Patient(Fast):
        answer_seconds: ClassVar[float] = 60

    setup = fleet(Patient)
    setup.follow("btcusdt@trade")
    until(lambda: venue.open == 1)
    venue.send(TRADE, GOODBYE)
    until(lambda: venue.open == 2)
    setup.follow("btcusdt@trade", "ethusdt@trade")
    until(lambda: len(venue.requests) == 2)
    venue.send(TRADE)
    until(lambda: setup.came(Over))
    assert setup.uncovered() == []


def test_no_more_connections_are_opened_than_the_exchange_allows(venue: Any, fleet: Any, until: Any) -> None:
    class Strict(Fast):
        connections_per_5_minutes: ClassVar[int] = 3

    setup = fleet(Strict)
    setup.follow("btcusdt@trade")
    for count in (1, 2, 3):
        until(lambda count=count: len(venue.addresses) == count and venue.open == 1)
        venue.cut()
    until(lambda: len(setup.came(Over)) == 3)
    looks = setup.looks
    until(lambda: setup.looks > looks + 5)
    assert len(venue.addresses) == 3
    openings = setup.fleet._openings
    assert len(openings) == 3
    openings[0] -= module.LIMIT_SECONDS  # five minutes later
    until(lambda: len(venue.addresses) == 4)
    assert len(openings) == 3


def test_the_important_symbols_are_connected_first_and_alone(venue: Any, fleet: Any, until: Any) -> None:
    class Small(Fast):
        channels_per_connection: ClassVar[int] = 4

    setup = fleet(Small)
    first = ["btcusdt@trade", "ethusdt@trade"]
    mass = [f"s{number}usdt@trade" for number in range(9)]
    setup.follow(*first, *mass, first=first)
    until(lambda: venue.open == 4)
    assert [named(address) for address in venue.addresses] == [first, mass[:4], mass[4:8], mass[8:]]


def test_while_an_important_connection_is_opening_no_other_is(venue: Any, fleet: Any, until: Any) -> None:
    gate = threading.Event()

    class Slow(Fast):
        channels_per_connection: ClassVar[int] = 2

        def address(self, channels: Sequence[str]) -> str:
            assert "btcusdt@trade" not in channels or gate.wait(10)
            return super().address(channels)

    setup = fleet(Slow)
    setup.follow("btcusdt@trade", "s1usdt@trade", "s2usdt@trade", first=["btcusdt@trade"])
    until(lambda: setup.looks > 5)
    assert venue.addresses == []
    gate.set()
    until(lambda: venue.open == 2)
    assert [named(address) for address in venue.addresses] == [["btcusdt@trade"], ["s1usdt@trade", "s2usdt@trade"]]


def test_important_symbols_that_are_added_later_are_connected_before_the_mass(
    venue: Any, fleet: Any, until: Any
) -> None:
    class Small(Fast):
        channels_per_connection: ClassVar[int] = 2

    setup = fleet(Small, starts=False)
    mass = ["s1usdt@trade", "s2usdt@trade", "s3usdt@trade"]
    setup.follow(*mass)
    setup.follow("btcusdt@trade", *mass, first=["btcusdt@trade"])
    setup.fleet.start()
    until(lambda: venue.open == 3)
    assert named(venue.addresses[0]) == ["btcusdt@trade"]


def test_for_a_while_both_the_old_and_the_new_connection_deliver(venue: Any, fleet: Any, until: Any) -> None:
    class Unhurried(Fast):
        overlap_seconds: ClassVar[float] = 1

    setup = fleet(Unhurried)
    setup.follow("btcusdt@trade")
    until(lambda: setup.came(Carried))
    venue.send(GOODBYE)
    until(lambda: len(setup.came(Carried)) == 2)
    until(lambda: setup.came(Over))
    carried = setup.came(Carried)[1].at
    [closed] = [report.closed_at for report in setup.came(ConnectionReport) if report.closed_at]
    assert closed - carried >= 1_000_000


def test_while_nobody_takes_anything_no_connection_is_opened(
    venue: Any, fleet: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "FRAMES_WAITING", 8)

    class Hasty(Fast):
        pong_seconds: ClassVar[float] = 0.5

    setup = fleet(Hasty)
    setup.follow("btcusdt@trade")
    until(lambda: venue.open == 1)
    venue.send(*[TRADE] * 20)
    until(lambda: venue.open == 0)
    assert len(venue.addresses) == 1
    assert setup.came(Over)[0].reason == connections.STOPPED_READING  # taking makes room
    until(lambda: venue.open == 1)


def test_closing_leaves_no_socket(venue: Any, fleet: Any, until: Any) -> None:
    setup = fleet()
    setup.follow("btcusdt@trade")
    until(lambda: venue.open == 1)
    setup.fleet.close()
    until(lambda: venue.open == 0)


channels = st.lists(st.integers(0, 40).map(str), unique=True)


@given(channels, channels, st.sets(st.integers(0, 40).map(str)), st.integers(1, 7))
def test_each_channel_lies_on_one_connection_that_is_not_overfull(
    old: list[str], new: list[str], first: set[str], limit: int
) -> None:
    before = shared_out(old, [], limit, first)
    after = shared_out(new, before, limit, first)
    for wanted, loads in ((old, before), (new, after)):
        assert sorted(channel for load in loads for channel in load) == sorted(wanted)
        assert all(len(load) <= limit for load in loads)
    for earlier, later in zip(before, after, strict=False):
        assert {channel for channel in earlier if channel in new} <= set(later), "a channel moved"
    for load in after[len(before) :]:
        assert load, "a connection for nothing"


@given(channels, st.sets(st.integers(0, 40).map(str)), st.integers(1, 7))
def test_important_channels_share_no_connection_with_the_mass_unless_one_is_enough(
    wanted: list[str], first: set[str], limit: int
) -> None:
    loads = shared_out(wanted, [], limit, first)
    if len(wanted) <= limit:
        assert len(loads) == bool(wanted)
    else:
        assert all(len({channel in first for channel in load}) == 1 for load in loads)
        kinds = [load[0] in first for load in loads]
        assert kinds == sorted(kinds, reverse=True), "the important ones come first"


@given(st.lists(channels, min_size=1, max_size=6), st.sets(st.integers(0, 40).map(str)), st.integers(1, 7))
def test_through_all_changes_the_mass_never_joins_important_channels(
    history: list[list[str]], first: set[str], limit: int
) -> None:
    loads: list[tuple[str, ...]] = []
    for wanted in history:
        before, loads = loads, shared_out(wanted, loads, limit, first)
        if len(wanted) > limit:
            for earlier, later in zip(before, loads, strict=False):
                stayed, joined = set(earlier) & set(later), set(later) - set(earlier)
                if stayed & first:
                    assert joined <= first


def test_a_thousand_symbols_lie_on_four_connections() -> None:
    many = [f"{number}@{stream}" for number in range(1000) for stream in ("trade", "ticker", "kline", "depth5")]
    assert [len(load) for load in shared_out(many, [], 1024)] == [1024, 1024, 1024, 928]
    assert [len(load) for load in shared_out(many, [], 1024, many[:8])] == [8, 1024, 1024, 1024, 920]


@given(st.integers(0, 10_000))
def test_the_wait_grows_with_failures_and_stays_below_half_a_minute(failures: int) -> None:
    whole = min(30, 2.0 ** min(failures, 10))
    assert whole / 2 <= backoff_seconds(failures) <= whole
