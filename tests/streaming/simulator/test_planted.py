"""What is planted is where it says, in every way in which the market is asked."""

from pathlib import Path

import numpy as np
import pytest

from streaming.simulator import planted
from streaming.simulator.candles import minute_candles
from streaming.simulator.checkpoint import open_market, save_market
from streaming.simulator.market import MINUTE, Market, Tape
from streaming.simulator.planted import Anomaly, anomalies

OPENING = 1_795_000_020_000_000
DAY = 1440 * MINUTE


def _tape(symbol: str, *, is_planted: bool = True, rate: float = 2.0) -> Tape:
    tape = Market(7, OPENING, rate, is_planted=is_planted).tape(symbol)
    assert tape is not None
    return tape


def _first(kind: str) -> tuple[Tape, Tape, Anomaly, int]:
    """The market with and without the first anomaly of a kind, which that is, and its minute."""
    rule = next(rule for rule in planted.RECURRING if rule.kind == kind)
    found = anomalies(7, OPENING, rule.symbol, OPENING, OPENING + rule.every * MINUTE)
    one = next(one for one in found if one.kind == kind)
    return _tape(rule.symbol), _tape(rule.symbol, is_planted=False), one, (one.start - OPENING) // MINUTE


def test_each_period_has_one_of_its_kind_and_any_part_of_time_tells_the_same() -> None:
    for rule in planted.RECURRING:
        period = rule.every * MINUTE
        whole = [one for one in anomalies(7, OPENING, rule.symbol, 0, OPENING + 9 * period) if one.kind == rule.kind]
        assert [(one.start - OPENING) // period for one in whole] == list(range(9))
        assert [(one.end - 1 - OPENING) // period for one in whole] == list(range(9))
        assert {(one.end - one.start) // MINUTE for one in whole} == {rule.minutes}
        assert len({(one.start - OPENING) % period for one in whole}) > 1
        middle = whole[4]
        for start, end in ((middle.start, middle.start + 1), (middle.end - 1, middle.end)):
            assert middle in anomalies(7, OPENING, rule.symbol, start, end)
        for start, end in ((middle.start - 1, middle.start), (middle.end, middle.end + 1)):
            assert middle not in anomalies(7, OPENING, rule.symbol, start, end)


def test_a_burst_multiplies_each_quantity_and_changes_nothing_else() -> None:
    with_it, without, burst, minute = _first("volume_burst")
    found, usual = (minute_candles(tape, minute - 2, minute + 5).values for tape in (with_it, without))
    inside = np.array([False, False, True, True, True, False, False])
    assert np.array_equal(found[:, 4], np.where(inside, usual[:, 4] * int(burst.size), usual[:, 4]))
    assert np.array_equal(found[:, [0, 1, 2, 3, 8, 9, 10]], usual[:, [0, 1, 2, 3, 8, 9, 10]])


def test_a_jump_steps_at_its_minute_and_has_gone_back_at_its_end() -> None:
    with_it, without, jump, minute = _first("price_jump")
    moments = np.array([jump.start - 1000, jump.start, (jump.start + jump.end) // 2, jump.end])
    # Where the spread is wide, it is so in the one of them alone.
    mids = [sum(quote[:2]) / 2 for quote in (with_it.quote(moments), without.quote(moments))]
    assert mids[0] / mids[1] - 1 == pytest.approx([0, jump.size, jump.size / 2, 0], abs=2e-4)
    closes = minute_candles(with_it, minute - 1, minute + 1).values[:, 3]
    assert closes[1] / closes[0] - 1 == pytest.approx(jump.size, abs=0.003)


def test_a_frozen_price_does_not_move_though_it_trades() -> None:
    with_it, _, frozen, minute = _first("frozen_price")
    values = minute_candles(with_it, minute - 1, minute + 16).values
    inside = values[1:-1]
    assert (inside[:, 1] == inside[:, 2]).all()
    assert len(set(inside[:, 3].tolist())) == 1
    assert inside[:, 8].sum() > 0
    assert values[0, 1] > values[0, 2]
    books = [with_it.book(moment, 1) for moment in (frozen.start, frozen.end - 1)]
    assert (books[0].bids[0][0], books[0].asks[0][0]) == (books[1].bids[0][0], books[1].asks[0][0])


def test_a_wide_spread_shows_in_the_book_and_in_the_trades() -> None:
    with_it, without, wide, minute = _first("wide_spread")
    added = int(wide.size * with_it.instrument.price * 10**with_it.instrument.price_decimals)
    moments = np.array([wide.start - 1000, wide.start, wide.end])
    quotes = [tape.quote(moments) for tape in (with_it, without)]
    spreads = [ask - bid for bid, ask, _ in quotes]
    assert np.subtract(*spreads).tolist() == [0, added, 0]
    candle = minute_candles(with_it, minute, minute + 1).values[0]
    assert candle[1] - candle[2] >= added


def test_in_a_planted_market_each_way_to_ask_gives_the_same_trades() -> None:
    for symbol in ("BTCUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT"):
        tape = _tape(symbol)
        whole = tape.trades_of_minutes(0, 1440)
        for begin in range(0, len(whole) - 300, len(whole) // 7):
            part = tape.trades(int(whole.id[begin]), int(whole.id[begin + 299]))
            for column in ("time", "price", "quantity", "buyer_is_maker"):
                assert np.array_equal(getattr(part, column), getattr(whole, column)[begin : begin + 300])
        for at in range(0, len(whole), len(whole) // 50):
            book = tape.book(int(whole.time[at]), 5)
            side = book.bids if whole.buyer_is_maker[at] else book.asks
            assert whole.price[at] == side[0][0]


def test_a_symbol_of_which_nothing_is_planted_is_as_ever() -> None:
    for symbol in ("ETHUSDT", "LINKUSDT"):
        left, right = (_tape(symbol, is_planted=chosen).trades(1, 500) for chosen in (True, False))
        assert np.array_equal(left.price, right.price)
        assert np.array_equal(left.quantity, right.quantity)


def test_a_new_market_is_planted_and_keeps_it_and_an_older_one_keeps_its_past(tmp_path: Path) -> None:
    made = open_market(tmp_path / "new", 7, 2.0, 1, OPENING)
    assert made.is_planted
    assert open_market(tmp_path / "new", 7, 2.0, 1, OPENING + DAY).is_planted
    save_market(tmp_path / "old", made)
    path = tmp_path / "old" / "market.json"
    path.write_text(path.read_text().replace('"planted": true, ', ""))
    assert "planted" not in path.read_text()
    assert not open_market(tmp_path / "old", 7, 2.0, 1, OPENING).is_planted


def test_correlations_are_those_of_the_factors_by_hand() -> None:
    common = 0.018**2
    btc, eth, bnb = (common * beta**2 + own**2 for beta, own in ((1.0, 0.006), (1.15, 0.012), (0.9, 0.012)))
    bnb += (0.8 * 0.012) ** 2
    assert planted.correlation("BTCUSDT", "ETHUSDT", 60) == pytest.approx(common * 1.15 / (btc * eth) ** 0.5)
    together = common * 1.15 * 0.9
    assert planted.correlation("BNBUSDT", "ETHUSDT", 60) == pytest.approx(together / (bnb * eth) ** 0.5)
    after = 0.8 * 0.012**2
    assert planted.correlation("ETHUSDT", "BNBUSDT", 60, lag=180) == pytest.approx(after / (bnb * eth) ** 0.5)
    assert planted.correlation("BNBUSDT", "ETHUSDT", 60, lag=180) == 0
    within_an_hour = together + after * 57 / 60
    assert planted.correlation("BNBUSDT", "ETHUSDT", 3600) == pytest.approx(within_an_hour / (bnb * eth) ** 0.5)
    assert planted.correlation("BNBUSDT", "BNBUSDT", 60) == pytest.approx(1)
    with pytest.raises(KeyError):
        planted.correlation("BTCUSDT", "NOPE", 60)


def test_the_market_moves_as_its_planted_correlations_say() -> None:
    """Over half a year of quotes, in which chance is small."""
    times = OPENING + np.arange(0, 180 * 1440, 60) * MINUTE
    symbols = ("BNBUSDT", "BTCUSDT", "ETHUSDT", "XRPUSDT")
    quotes = [_tape(symbol).quote(times) for symbol in symbols]
    mids = np.array([(bid + ask) / 2.0 for bid, ask, _ in quotes])
    found = np.corrcoef(np.diff(np.log(mids), axis=1))
    expected = [[planted.correlation(a, b, 3600) for b in symbols] for a in symbols]
    assert found == pytest.approx(np.array(expected), abs=0.04)
