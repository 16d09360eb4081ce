"""The made market keeps its promises at every seed, rate and point in time."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.simulator.instruments import instrument, listed
from streaming.simulator.market import BOOK_CLOCK, MINUTE, Market, Tape, Trades

OPENING = 1_795_000_020_000_000
SYMBOLS = ("BTCUSDT", "XRPUSDT", "LINKUSDT", "QWERTYBTC", "币安人生USDT")

tapes = st.builds(
    lambda seed, rate, symbol: _tape(symbol, seed, rate),
    st.integers(0, 2**63),
    st.floats(0.05, 300.0),
    st.sampled_from(SYMBOLS),
)


def _tape(symbol: str, seed: int = 7, rate: float = 2.0, opening: int = OPENING) -> Tape:
    tape = Market(seed, opening, rate).tape(symbol)
    assert tape is not None
    return tape


def _is_same(left: Trades, right: Trades) -> bool:
    return all(np.array_equal(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(Trades))


@settings(deadline=None, max_examples=60)
@given(tape=tapes, start=st.integers(0, 500_000))
def test_ids_are_contiguous_and_times_never_go_back(tape: Tape, start: int) -> None:
    trades = tape.trades_of_orders(start, start + 700)
    assert np.array_equal(trades.id, np.arange(trades.id[0], trades.id[0] + len(trades)))
    assert (np.diff(trades.time) >= 0).all()
    assert (np.diff(trades.order) >= 0).all()
    assert set(trades.order.tolist()) == set(range(start, start + 700))
    assert trades.quantity.min() >= 1
    assert trades.price.min() >= 1


def test_the_first_trade_has_id_1_and_comes_after_the_opening() -> None:
    for symbol in SYMBOLS:
        first = _tape(symbol).trades(-5, 1)
        assert first.id.tolist() == [1]
        assert first.time[0] >= OPENING


@settings(deadline=None, max_examples=60)
@given(tape=tapes, first=st.integers(1, 3_000), count=st.integers(0, 400))
def test_any_trades_computed_alone_equal_the_same_trades_in_sequence(tape: Tape, first: int, count: int) -> None:
    sequence = tape.trades(1, 3_500)
    assert _is_same(tape.trades(first, first + count - 1), sequence[first - 1 : first + count - 1])


def test_a_long_run_equals_its_parts() -> None:
    tape = _tape("BTCUSDT", rate=500.0)
    whole = tape.trades(1, 60_000)
    assert _is_same(whole[44_000:45_000], tape.trades(44_001, 45_000))


@settings(deadline=None, max_examples=60)
@given(tape=tapes, index=st.integers(0, 2_999), shift=st.integers(-2, 2))
def test_the_id_at_a_time_is_the_first_one_not_before_it(tape: Tape, index: int, shift: int) -> None:
    trades = tape.trades(1, 3_500)
    moment = int(trades.time[index]) + shift
    assert tape.id_at(moment) == int(np.searchsorted(trades.time, moment)) + 1


def test_the_id_at_a_time_is_right_in_a_minute_of_many_trades() -> None:
    tape = _tape("BTCUSDT", rate=20_000.0)
    for second in range(0, 120, 7):
        moment = OPENING + second * 1_000_000 + 123_456
        first = tape.id_at(moment)
        around = tape.trades(first - 1, first)
        assert first == 1 or around.time[0] < moment
        assert around.time[-1] >= moment


@settings(deadline=None, max_examples=30)
@given(tape=tapes, minute=st.integers(0, 5_000))
def test_trades_lie_in_the_minute_that_their_ids_say(tape: Tape, minute: int) -> None:
    first, end = tape.first_ids(minute, minute + 1).tolist()
    trades = tape.trades(first, end - 1)
    assert len(trades) == end - first
    if len(trades):
        assert tape.minute_start(minute) <= trades.time[0]
        assert trades.time[-1] < tape.minute_start(minute + 1)


def test_quiet_minutes_and_bursts_exist() -> None:
    for symbol in ("BTCUSDT", "LINKUSDT"):
        counts = np.diff(_tape(symbol).first_ids(0, 3_000))
        assert 0 < (counts == 0).sum() < 300
        assert counts.max() > 1.6 * counts.mean()


def test_the_rate_is_kept_and_others_are_quieter_than_the_busiest() -> None:
    hourly = {symbol: _tape(symbol, rate=2.0).id_at(OPENING + 60 * MINUTE) for symbol in listed()}
    assert hourly["BTCUSDT"] == max(hourly.values())
    assert hourly["BTCUSDT"] == pytest.approx(7_200, rel=0.05)


@settings(deadline=None, max_examples=40)
@given(tape=tapes, first=st.integers(1, 20_000))
def test_takers_buy_at_the_best_ask_and_sell_at_the_best_bid(tape: Tape, first: int) -> None:
    for number in range(first, first + 5):
        trade = tape.trades(number, number)
        book = tape.book(int(trade.time[0]), 5)
        side = book.bids if trade.buyer_is_maker[0] else book.asks
        assert trade.price[0] == side[0][0]


@settings(deadline=None, max_examples=60)
@given(tape=tapes, offset=st.integers(0, 10 * 86_400_000_000), levels=st.integers(1, 100))
def test_a_book_is_sorted_and_never_crossed(tape: Tape, offset: int, levels: int) -> None:
    book = tape.book(OPENING + offset, levels)
    bids, asks = [price for price, _ in book.bids], [price for price, _ in book.asks]
    assert len(asks) == levels
    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(set(asks))
    assert 0 < bids[-1] <= bids[0] < asks[0]
    assert min(size for _, size in book.bids + book.asks) > 0


@settings(deadline=None, max_examples=60)
@given(tape=tapes, offset=st.integers(0, 10 * 86_400_000_000), later=st.integers(0, 3_000))
def test_the_update_id_rises_with_the_book(tape: Tape, offset: int, later: int) -> None:
    moment = OPENING + offset
    before, after = tape.book(moment, 1), tape.book(moment + later, 1)
    assert after.update_id >= before.update_id
    if after.update_id == before.update_id:
        assert (after.bids[0][0], after.asks[0][0]) == (before.bids[0][0], before.asks[0][0])
    else:
        assert later >= 1
        assert tape.update_id(moment + BOOK_CLOCK) == before.update_id + 1


def test_prices_of_two_symbols_move_together() -> None:
    times = OPENING + np.arange(0, 20 * 1440) * MINUTE
    moves = [np.diff(np.log(_tape(symbol).quote(times)[0].astype(float))[::60]) for symbol in ("BTCUSDT", "ETHUSDT")]
    assert 0.4 < np.corrcoef(moves)[0, 1] < 0.99


def test_prices_drift_believably() -> None:
    times = OPENING + np.arange(0, 30) * 1440 * MINUTE
    for symbol in listed():
        daily = np.abs(np.diff(np.log(_tape(symbol).quote(times)[0].astype(float))))
        assert 0.003 < daily.mean() < 0.12


def test_another_seed_is_another_market_and_the_same_one_is_the_same() -> None:
    assert _is_same(_tape("BTCUSDT", seed=1).trades(1, 500), _tape("BTCUSDT", seed=1).trades(1, 500))
    assert not _is_same(_tape("BTCUSDT", seed=1).trades(1, 500), _tape("BTCUSDT", seed=2).trades(1, 500))


def test_a_trade_of_a_known_seed_never_changes() -> None:
    """A golden value: a change of the market's formulas would give every kept checkpoint another past."""
    trade = _tape("BTCUSDT").trades(1_000, 1_000)
    found = [int(column[0]) for column in (trade.time - OPENING, trade.price, trade.quantity, trade.order)]
    assert found == [466_669_034, 9_998_742, 55, 454]


@given(st.text(alphabet="ABCXYZ019币", min_size=1, max_size=20))
def test_any_pair_of_a_known_quote_asset_is_traded(base: str) -> None:
    pair = instrument(base + "USDT")
    assert pair is not None
    assert pair == instrument(base + "USDT")
    assert pair.base + pair.quote == pair.symbol
    assert pair.price_decimals + pair.quantity_decimals <= 8
    assert pair.price * 10**pair.price_decimals > 500


@pytest.mark.parametrize("symbol", ["", "USDT", "btcusdt", "NOPE", "BTC USDT", "BTC-USDT"])
def test_what_is_no_pair_is_not_traded(symbol: str) -> None:
    assert instrument(symbol) is None
