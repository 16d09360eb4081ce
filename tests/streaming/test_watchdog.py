import random
import time

import pytest

from shared.events import STREAMS
from streaming.coverage import Key
from streaming.watchdog import SECOND, Watchdog

TICKER = Key("binance", "BTCUSDT", "ticker")
TRADE = Key("binance", "BTCUSDT", "trade")
START = 1_700_000_000 * SECOND


class Market:
    """A watchdog and a clock; seconds since the start."""

    def __init__(self, *keys: Key) -> None:
        self.dog = Watchdog()
        self.now = 0.0
        for key in keys:
            self.dog.cover(key, START)

    def hear(self, key: Key, at: float) -> None:
        """A message at that time; the watchdog is asked each second up to then."""
        self.wait(at)
        self.dog.heard[key] = START + int(at * SECOND)

    def wait(self, until: float) -> list[tuple[float, Key]]:
        """Let time pass; when which series was named."""
        alarms = []
        while self.now + 1 <= until:
            self.now += 1
            alarms += [(self.now, key) for key, _ in self.dog.tick(START + int(self.now * SECOND))]
        return alarms

    def regular(self, key: Key, every: float, until: float) -> float:
        """Messages at a fixed pace; the time of the last."""
        at = self.now
        while at + every <= until:
            at += every
            self.hear(key, at)
        return at


def test_a_series_that_comes_every_second_is_missed_after_ten() -> None:
    market = Market(TICKER)
    last = market.regular(TICKER, 1, until=100)
    assert [at for at, _ in market.wait(last + 15)] == [last + 11]


def test_since_when_it_is_silent_is_said() -> None:
    market = Market(TICKER)
    last = market.regular(TICKER, 1, until=100)
    market.wait(last + 10)
    assert market.dog.tick(START + int((last + 11) * SECOND)) == [(TICKER, START + int(last * SECOND))]


def test_a_series_that_is_used_to_pauses_is_given_four_times_the_longest() -> None:
    market = Market(TICKER)
    last = market.regular(TICKER, 20, until=700)
    [(at, _)] = market.wait(last + 100)
    assert 79 <= at - last <= 86


def test_a_series_that_stays_silent_is_named_after_twice_as_long_each_time() -> None:
    market = Market(TICKER)
    last = market.regular(TICKER, 1, until=100)
    assert [at - last for at, _ in market.wait(last + 200)] == [11, 21, 41, 81, 161]


def test_the_count_begins_anew_once_it_is_heard() -> None:
    market = Market(TICKER)
    market.regular(TICKER, 1, until=100)
    market.wait(130)
    last = market.regular(TICKER, 1, until=140)
    [(at, _)] = market.wait(last + 200)[:1]
    assert at - last > 100, "thirty seconds of silence on one and the same connection are its habit now"


def test_a_silence_that_a_new_connection_ends_is_not_learned() -> None:
    market = Market(TICKER)
    market.regular(TICKER, 1, until=100)
    market.wait(130)
    market.dog.cover(TICKER, START + 130 * SECOND)
    last = market.regular(TICKER, 1, until=200)
    assert market.wait(last + 15) == [(last + 11, TICKER)]


def test_a_habit_is_forgotten_after_an_hour() -> None:
    market = Market(TICKER)
    market.regular(TICKER, 1, until=100)
    market.regular(TICKER, 60, until=200)
    last = market.regular(TICKER, 1, until=200 + 3700)
    assert market.wait(last + 15) == [(last + 11, TICKER)]


def test_a_regular_series_that_never_came_is_missed_after_a_minute() -> None:
    market = Market(TICKER)
    assert [at for at, _ in market.wait(100)] == [61]


def test_trades_that_never_came_are_not_missed() -> None:
    assert Market(TRADE).wait(10_000) == []


def test_the_trades_of_a_busy_symbol_are_missed_after_half_a_minute() -> None:
    market = Market(TRADE)
    last = market.regular(TRADE, 0.3, until=60)
    [(at, _)] = market.wait(last + 40)
    assert 30 <= at - last <= 32


@pytest.mark.parametrize("mean", [0.5, 5, 30, 120, 600])
def test_random_trades_are_hardly_ever_missed(mean: float) -> None:
    chance = random.Random(7)
    alarms = 0
    for _ in range(10):
        market = Market(TRADE)
        at = 0.0
        while at < 2 * 3600:
            at += chance.expovariate(1 / mean)
            alarms += len(market.wait(at))
            market.hear(TRADE, at)
    assert alarms == 0


def test_what_nobody_carries_is_not_missed() -> None:
    market = Market(TICKER)
    last = market.regular(TICKER, 1, until=100)
    market.dog.leave(TICKER)
    assert market.wait(last + 100) == []
    market.dog.cover(TICKER, START + int((last + 100) * SECOND))
    assert market.wait(last + 115) == [(last + 111, TICKER)], "its habit is still known"


def test_while_we_stood_still_nothing_fell_silent() -> None:
    market = Market(TICKER)
    last = market.regular(TICKER, 1, until=100)
    later = START + int((last + 60) * SECOND)
    assert market.dog.tick(later) == []
    assert market.dog.tick(later + SECOND) == []


def test_a_clock_that_goes_back_by_hours_makes_no_silence_unnoticed() -> None:
    market = Market(TICKER)
    market.regular(TICKER, 1, until=3 * 3600)
    market.now = 100
    last = market.regular(TICKER, 1, until=110)
    assert [at - last for at, _ in market.wait(last + 200)] == [11, 21, 41, 81, 161]


def test_a_clock_that_goes_back_by_seconds_is_waited_for() -> None:
    market = Market(TICKER)
    market.regular(TICKER, 1, until=100)
    market.now = 95
    last = market.regular(TICKER, 1, until=110)
    assert market.wait(last + 15) == [(last + 11, TICKER)]


def test_a_look_at_four_thousand_series_takes_no_more_than_a_fraction_of_a_second() -> None:
    keys = [Key("binance", str(number), stream) for number in range(1000) for stream in STREAMS]
    market = Market(*keys)
    for key in keys:
        market.dog.heard[key] = START
    before = time.process_time()
    market.wait(10)
    assert (time.process_time() - before) / 10 < 0.1
