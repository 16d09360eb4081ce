"""What streams, in memory."""

import tracemalloc
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from dashboard.bars import MINUTE, Bar, length
from dashboard.hub import MINUTES_KEPT, TRADES_SHOWN, Hub, LakeDay
from tests.dashboard.made_market import kline, minute_bar, trade

KEY = ("binance", "BTCUSDT")
DAY = 1_795_249_800_000_000 // length("1d") * length("1d")
NOON = DAY + 12 * 60 * MINUTE


def bar(start: int, price: str = "100", volume: str = "1", *, is_closed: bool = True) -> Bar:
    paid, size = Decimal(price), Decimal(volume)
    return Bar(start, paid, paid, paid, paid, size, paid * size, 1, is_closed)


def test_a_trade_newer_than_the_kline_moves_the_candle_and_one_that_it_has_does_not() -> None:
    hub = Hub()
    hub.take([kline("BTCUSDT", bar(NOON, is_closed=False), 50)])
    hub.take([trade("BTCUSDT", NOON + 1, 50, "900"), trade("BTCUSDT", NOON + 2, 51, "101", "0.5")])
    [made] = hub.bars(KEY, "1m")
    assert (made.open, made.high, made.close, made.volume) == (100, 101, 101, Decimal("1.5"))


def test_the_closed_kline_replaces_what_trades_said_and_late_states_change_nothing() -> None:
    hub = Hub()
    hub.take([trade("BTCUSDT", NOON + 1, 51, "101")])
    hub.take([kline("BTCUSDT", bar(NOON, "100", "7"), 51), kline("BTCUSDT", bar(NOON, "3", is_closed=False), 40)])
    [made] = hub.bars(KEY, "1m")
    assert (made.close, made.volume, made.is_closed) == (100, 7, True)


def test_trades_alone_make_the_candle_where_no_kline_comes() -> None:
    hub = Hub()
    hub.take([trade("BTCUSDT", NOON + place, place, str(100 + place % 3)) for place in range(1, 9000)])
    [made] = hub.bars(KEY, "1m")
    assert (made.trade_count, made.open, made.high, made.low) == (8999, 101, 102, 100)


def test_without_klines_too_what_is_held_does_not_grow_with_the_trades_of_minutes_that_are_over() -> None:
    hub, a_minute = Hub(), 1000
    tracemalloc.start()
    held = []
    for minute in range(30):
        at = NOON + minute * MINUTE
        ids = range(minute * a_minute, (minute + 1) * a_minute)
        hub.take(trade("BTCUSDT", at + place, place, str(100 + place % 3)) for place in ids)
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert [made.trade_count for made in hub.bars(KEY, "1m")] == [a_minute] * 30
    assert held[-1] < 2 * held[2]


def test_a_quiet_minute_has_no_candle() -> None:
    hub = Hub()
    nothing = bar(NOON, "0", "0")._replace(trade_count=0)
    hub.take([kline("BTCUSDT", nothing, 50), kline("BTCUSDT", bar(NOON + MINUTE), 51)])
    assert [made.start for made in hub.bars(KEY, "1m")] == [NOON + MINUTE]


def test_a_day_goes_on_from_the_hours_and_minutes_of_the_lake() -> None:
    hub = Hub()
    hub.take([kline("BTCUSDT", bar(NOON + place * MINUTE, "100", "2"), 50 + place) for place in range(5)])
    hours = tuple(bar(DAY + hour * 60 * MINUTE, "90", "60") for hour in range(12))
    lake = tuple(bar(NOON + place * MINUTE, "100", "1") for place in range(3))
    hub.know({KEY: LakeDay(hours, lake, NOON, NOON + 3 * MINUTE)})
    [day] = hub.bars(KEY, "1d")
    assert (day.start, day.open, day.close) == (DAY, 90, 100)
    assert day.volume == 12 * 60 + 3 * 1 + 2 * 2  # the lake's minutes count as the lake has them
    assert [made.start for made in hub.bars(KEY, "5m")] == [NOON]
    assert hub.bars(KEY, "5m")[0].is_closed


def test_a_longer_bar_with_minutes_that_nobody_has_is_left_out() -> None:
    hub = Hub()
    hub.take([kline("BTCUSDT", bar(NOON + place * MINUTE), 50 + place) for place in range(7, 12)])
    hub.know({KEY: LakeDay((), (), DAY, NOON + 2 * MINUTE)})
    assert [made.start for made in hub.bars(KEY, "5m")] == [NOON + 10 * MINUTE]
    assert hub.bars(KEY, "1h") == []


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), min_size=1, max_size=300))
def test_memory_holds_the_last_minutes_in_order_each_once_whatever_comes(events: list[tuple[int, bool]]) -> None:
    hub = Hub()
    for number, (place, is_trade) in enumerate(events):
        start = NOON + place * MINUTE
        hub.take(
            [
                trade("BTCUSDT", start, number, "5")
                if is_trade
                else kline("BTCUSDT", minute_bar("BTCUSDT", start), number)
            ]
        )
    starts = [made.start for made in hub.bars(KEY, "1m")]
    assert starts == sorted(set(starts))
    assert len(starts) <= MINUTES_KEPT
    assert len(hub.markets[KEY].trades) <= TRADES_SHOWN
