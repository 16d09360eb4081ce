"""What faults change in a market is a shift of its numbers, and nothing that was told before."""

import dataclasses
import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.simulator.calendar import NEVER, TRADING, Calendar, Closure, Relisting, Skip
from streaming.simulator.candles import minute_candles
from streaming.simulator.market import MINUTE, Market, Tape, Trades

OPENING = 1_795_000_020_000_000


def _closures(steps: list[tuple[int, int]]) -> list[Closure]:
    """From how long the market is open, and then closed."""
    edges = list(itertools.accumulate(itertools.chain.from_iterable(steps)))
    return [Closure(start, end, "HALT") for start, end in zip(edges[::2], edges[1::2], strict=True)]


closures = st.lists(st.tuples(st.integers(0, 80), st.integers(1, 40)), max_size=4).map(_closures)
skips = st.lists(st.tuples(st.integers(1, 400), st.integers(1, 50)), max_size=3, unique_by=lambda one: one[0]).map(
    lambda rows: [Skip(*row) for row in sorted(rows)]
)


def _tape(calendar: Calendar, rate: float = 2.0, started: int = OPENING) -> Tape:
    tape = Market(7, OPENING, rate, started, {"LINKUSDT": calendar}).tape("LINKUSDT")
    assert tape is not None
    return tape


def _is_same(left: Trades, right: Trades) -> bool:
    return all(np.array_equal(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(Trades))


@settings(deadline=None, max_examples=60)
@given(closed=closures, left_out=skips)
def test_a_changed_market_keeps_its_promises(closed: list[Closure], left_out: list[Skip]) -> None:
    calendar = Calendar(closed, left_out)
    tape = _tape(calendar)
    trades = tape.trades_of_minutes(0, 300)
    minutes = (trades.time - OPENING) // MINUTE
    assert (np.diff(trades.time) >= 0).all()
    assert calendar.is_open(minutes).all()
    jumps = {int(at): int(by) - 1 for at, by in zip(trades.order[1:], np.diff(trades.id), strict=True) if by > 1}
    assert jumps == {one.order: one.ids for one in left_out if 0 < one.order <= trades.order[-1]}
    for minute in range(0, 300, 7):
        part = tape.trades_of_minutes(minute, minute + 1)
        assert _is_same(part, trades[int((minutes < minute).sum()) : int((minutes <= minute).sum())])
        assert not len(part) or tape.minute_of_order(int(part.order[0])) == minute
    assert int(minute_candles(tape, 0, 300).values[:, 8].sum()) == len(trades)


@settings(deadline=None, max_examples=40)
@given(left_out=skips, first=st.integers(1, 900), count=st.integers(1, 100))
def test_trades_are_found_by_id_across_ids_never_issued(left_out: list[Skip], first: int, count: int) -> None:
    tape = _tape(Calendar([], left_out))
    every = tape.trades_of_orders(0, 1_000)
    place = int(np.searchsorted(every.id, first))
    assert _is_same(tape.trades_from(first, count), every[place : place + count])
    until = int(np.searchsorted(every.id, first + count))
    assert _is_same(tape.trades(first, first + count - 1), every[place:until])
    if place:
        assert tape.price_before(int(every.id[place])) == every.price[place - 1]


def test_a_change_leaves_what_was_before_it() -> None:
    untouched = _tape(Calendar()).trades_of_minutes(0, 50)
    order = int(untouched.order[-1]) + 1
    changed = _tape(Calendar([Closure(50, 60, "HALT")], [Skip(order, 9)], [Relisting(60, 0.1)]))
    assert _is_same(changed.trades_of_minutes(0, 50), untouched)
    later = changed.trades_of_minutes(60, 70)
    assert later.id[0] == untouched.id[-1] + 10
    assert later.price[0] < untouched.price[-1] / 5


def test_a_calendar_survives_its_text() -> None:
    calendar = Calendar([Closure(1, 5, "HALT"), Closure(9, NEVER, "")], [Skip(7, 3)], [Relisting(9, 0.5)])
    assert Calendar.of(calendar.content()) == calendar
    assert [calendar.status(minute) for minute in (0, 1, 5, 100)] == [TRADING, "HALT", TRADING, ""]


def test_a_busy_market_was_quiet_before_its_first_start() -> None:
    started = OPENING + 1_000 * MINUTE
    tape = _tape(Calendar(), rate=2_000.0, started=started)
    ids = tape.first_ids(900, 1_100)
    before, after = int(ids[100] - ids[0]), int(ids[200] - ids[100])
    assert 800 * before < 800 * after < 1_200 * 1_000 * before
    trades = tape.trades(int(ids[100]) - 50, int(ids[100]) + 50)
    assert len(trades) == 101
    assert (trades.time[:50] < started).all()
    assert (trades.time[50:] >= started).all()
