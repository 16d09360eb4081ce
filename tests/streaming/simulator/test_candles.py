"""Candles and the rolling day are what their trades say."""

import asyncio
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.simulator.candles import Candle, Candles, candle, flat, merged, minute_candles, open_candle, spans
from streaming.simulator.market import MINUTE, Market, Tape
from streaming.simulator.ticker import DAY, RollingDay

OPENING = 1_795_000_020_000_000
symbols = st.sampled_from(("BTCUSDT", "LINKUSDT", "QWERTYBTC"))


def _tape(symbol: str, seed: int = 7, rate: float = 2.0) -> Tape:
    tape = Market(seed, OPENING, rate).tape(symbol)
    assert tape is not None
    return tape


def _by_hand(tape: Tape, first: int, last: int) -> Candle:
    """The plain loop."""
    trades = tape.trades(first, last)
    if not len(trades):
        return flat(tape.price_before(first))
    prices, quantities = trades.price.tolist(), trades.quantity.tolist()
    takers = [
        quantity * (not maker) for quantity, maker in zip(quantities, trades.buyer_is_maker.tolist(), strict=True)
    ]
    return Candle(
        prices[0], max(prices), min(prices), prices[-1],
        sum(quantities), sum(p * q for p, q in zip(prices, quantities, strict=True)),
        sum(takers), sum(p * q for p, q in zip(prices, takers, strict=True)),
        len(prices), int(trades.id[0]), int(trades.id[-1]),
    )  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(symbol=symbols, seed=st.integers(0, 2**32), start=st.integers(0, 4_000))
def test_minute_candles_equal_the_plain_loop_over_their_trades(symbol: str, seed: int, start: int) -> None:
    tape = _tape(symbol, seed, rate=0.5)
    for minute, bar in enumerate(minute_candles(tape, start, start + 30).rows(), start=start):
        first, end = tape.first_ids(minute, minute + 1).tolist()
        assert bar == _by_hand(tape, first, end - 1)
        assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.last_id - bar.first_id + 1 == bar.trades or (bar.trades, bar.first_id, bar.last_id) == (0, -1, -1)


def test_a_quiet_minute_has_the_previous_close_and_no_ids() -> None:
    candles = minute_candles(_tape("QWERTYBTC"), 0, 600).rows()
    quiet = [(before, bar) for before, bar in itertools.pairwise(candles) if not bar.trades]
    assert quiet
    for before, bar in quiet:
        assert bar == flat(before.close)
        assert (bar.first_id, bar.last_id) == (-1, -1)


@settings(deadline=None, max_examples=25)
@given(symbol=symbols, start=st.integers(0, 500), width=st.integers(1, 90))
def test_a_longer_candle_of_minutes_equals_the_one_of_its_trades(symbol: str, start: int, width: int) -> None:
    tape = _tape(symbol)
    minutes = minute_candles(tape, start, start + width)
    first, end = int(tape.first_ids(start, start)[0]), int(tape.first_ids(start + width, start + width)[0])
    assert minutes.whole() == merged(minutes.rows()) == _by_hand(tape, first, end - 1)


def test_parts_of_a_long_span_join_to_the_whole() -> None:
    tape = _tape("BTCUSDT", rate=30.0)
    parts = list(spans(tape, 5, 205))
    assert len(parts) > 2
    joined = minute_candles(tape, 5, 5)
    for begin, until in parts:
        joined = joined.then(minute_candles(tape, begin, until))
    assert joined.rows() == minute_candles(tape, 5, 205).rows()


def test_an_unfinished_candle_grows_into_the_closed_one() -> None:
    tape = _tape("BTCUSDT")
    end = tape.minute_start(8)
    assert open_candle(tape, 7, end - 1) == minute_candles(tape, 7, 8).rows()[0]
    half = open_candle(tape, 7, end - MINUTE // 2)
    assert half.trades < open_candle(tape, 7, end - 1).trades


@settings(deadline=None, max_examples=20)
@given(symbol=symbols, moment=st.integers(0, 3 * DAY))
def test_the_rolling_day_is_exact_to_the_trade(symbol: str, moment: int) -> None:
    tape, now = _tape(symbol, rate=0.3), OPENING + moment
    day = RollingDay(tape)
    statistics = day.statistics(now, open_candle(tape, tape.minute_of(now), now))
    first, last = tape.id_at(now - DAY), tape.id_at(now + 1) - 1
    assert statistics.candle == _by_hand(tape, first, last)
    assert statistics.previous_close == tape.price_before(first)


def test_a_day_that_rolls_on_equals_one_computed_afresh() -> None:
    tape = _tape("LINKUSDT")
    rolling = RollingDay(tape)
    start = OPENING + DAY - 5 * MINUTE
    asyncio.run(rolling.warm(start))
    assert rolling.is_warm(start)
    for now in range(start, start + 12 * MINUTE, 7_300_000):
        current = open_candle(tape, tape.minute_of(now), now)
        assert rolling.statistics(now, current) == RollingDay(tape).statistics(now, current)


def test_a_closed_candle_that_is_handed_over_is_not_computed_again() -> None:
    tape = _tape("LINKUSDT")
    rolling = RollingDay(tape)
    asyncio.run(rolling.warm(OPENING + 10 * MINUTE))
    known = Candle(*[5] * 11)
    rolling.add(10, known)
    whole = rolling.statistics(OPENING + 11 * MINUTE, flat(1)).candle
    assert whole.close == 5


def test_a_single_candle_is_a_column_of_one() -> None:
    bar = candle(_tape("BTCUSDT").trades(1, 50))
    assert Candles.of(3, bar).rows() == [bar]
