"""What the ticker said by the end of a minute."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs
from pyspark.sql import DataFrame, SparkSession

from crypto_pipeline import refresh
from crypto_pipeline.bronze import tickers
from crypto_pipeline.silver import ticker_1m
from shared.events import AnyEvent, Ticker
from tests.crypto_pipeline.conftest import MINUTE, START
from tests.crypto_pipeline.following import EPOCH, Follower, micros
from tests.events import ticker_event

Messages = Callable[[Iterable[AnyEvent]], DataFrame]
SECOND = 1_000_000
HELD = 10 * SECOND
FEW = settings(
    max_examples=2,  # each is several Spark jobs over many cases
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def said(at: int, symbol: str = "BTCUSDT", bid: str = "99", ask: str = "101", last: str = "100") -> Ticker:
    """A ticker of `at` microseconds after START."""
    quoted = {"bid_price": Decimal(bid), "ask_price": Decimal(ask), "last_price": Decimal(last)}
    return structs.replace(ticker_event(START + at), symbol=symbol, **quoted)


@pytest.fixture(scope="module")
def ticking(spark: SparkSession, as_messages: Messages) -> Follower:
    """Follows tickers."""
    return Follower(spark, as_messages, tickers, ticker_1m)


def by_hand(tape: list[Ticker], start: int) -> dict[str, Any] | None:
    """What the last ticker by the minute's end says, and how many came in it; none where none came or held."""
    by_its_end = [one for one in tape if start - HELD < one.event_time < start + MINUTE]
    if not by_its_end:
        return None
    last = max(by_its_end, key=lambda one: one.event_time)
    return {
        "as_of": EPOCH + timedelta(microseconds=last.event_time),
        "last_price": last.last_price,
        "tickers": sum(one.event_time >= start for one in by_its_end),
    }


times = st.one_of(st.integers(-20, 80).map(lambda s: s * SECOND), st.integers(-20 * SECOND, 80 * SECOND))
cases = st.lists(
    st.lists(
        st.tuples(times, st.integers(1, 99), st.integers(0, 2), st.booleans()),
        min_size=1,
        max_size=8,
        unique_by=lambda one: one[0],
    ),
    min_size=25,
    max_size=35,
)


@FEW
@given(cases, st.randoms(use_true_random=False))
def test_in_any_order_parts_and_repetition_it_is_what_a_plain_loop_makes_of_the_whole(
    ticking: Follower, made: list[list[Any]], random: Any
) -> None:
    tape: list[Ticker] = []
    parts: list[list[Ticker]] = [[], [], []]
    for number, case in enumerate(made):
        for at, last, part, comes_again in case:
            one = said(at, symbol=str(number), last=str(last))
            tape.append(one)
            for n in {part, 2} if comes_again else {part}:
                parts[n].append(one)
    for part in parts:
        random.shuffle(part)
    whole = ticking.follow(tape)
    assert ticking.follow(*parts).says == whole.says

    expected = {
        (str(number), START + minute * MINUTE): row
        for number in range(len(made))
        for minute in (-1, 0, 1)
        if (row := by_hand([one for one in tape if one.symbol == str(number)], START + minute * MINUTE))
    }
    assert whole.rows.keys() == expected.keys()
    for key, row in expected.items():
        assert {name: whole.rows[key][name] for name in row} == row, key
    assert refresh._checked(ticking.frame(whole.rows), ticker_1m.TABLE).is_sound


def test_a_minute_says_what_its_last_ticker_says_how_many_came_and_how_well_they_cover_it(ticking: Follower) -> None:
    tape = [said(at * SECOND) for at in range(30)] + [said(30 * SECOND, last="1.000000000000000001")]
    quoted = [said(0, "crossed", bid="101", ask="100"), said(0, "empty", bid="0"), said(0, "other", ask="102")]
    rows = ticking.follow([*tape, *quoted, said(58 * SECOND, "holds on")]).rows
    row = rows["BTCUSDT", START]
    assert row["last_price"] == Decimal("1.000000000000000001")
    assert (row["tickers"], row["seconds_covered"], row["longest_silence_ms"]) == (31, 40, 30_000)
    assert row["spread_bps"] == pytest.approx(200)
    assert rows["other", START]["spread_bps"] == pytest.approx(3 / 100.5 * 10_000)
    assert (rows["crossed", START]["spread_bps"], rows["empty", START]["spread_bps"]) == (None, None)
    carried = rows["holds on", START + MINUTE]
    assert (carried["tickers"], carried["seconds_covered"], carried["longest_silence_ms"]) == (0, 8, 60_000)
    assert micros(carried["as_of"]) == START + 58 * SECOND


def test_the_rolling_day_is_that_of_the_last_ticker(ticking: Follower) -> None:
    day = {source: Decimal(n) for n, (source, _) in enumerate(ticker_1m._ROLLING.values(), start=1)}
    counts = {source: n for n, (source, _) in enumerate(ticker_1m._COUNTS.values(), start=1)}
    row = ticking.follow([structs.replace(said(SECOND), **day, **counts), said(0)]).rows["BTCUSDT", START]
    assert {name: row[name] for name in ticker_1m._ROLLING} == dict(zip(ticker_1m._ROLLING, day.values(), strict=True))
    assert {name: row[name] for name in ticker_1m._COUNTS} == dict(zip(ticker_1m._COUNTS, counts.values(), strict=True))
