"""What a minute's book was, against a plain loop, by eye, and against itself on another way."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs
from pyspark.sql import DataFrame, SparkSession

from crypto_pipeline import refresh
from crypto_pipeline.bronze import depth
from crypto_pipeline.silver import order_book_1m
from shared.events import AnyEvent, DepthSnapshot
from tests.crypto_pipeline.conftest import MINUTE, START
from tests.crypto_pipeline.following import EPOCH, Follower, Rows, micros

Messages = Callable[[Iterable[AnyEvent]], DataFrame]
Levels = Sequence[tuple[str, str]]
SECOND = 1_000_000
HELD = 10 * SECOND
MEASURES = [column.name for column in order_book_1m.TABLE.columns if column.type == "double"]
FEW = settings(
    max_examples=2,  # each is several Spark jobs over many cases
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def book(at: int, bids: Levels, asks: Levels, symbol: str = "BTCUSDT", update_id: int = 0) -> DepthSnapshot:
    """A snapshot that was received `at` microseconds after START; the exchange gives no time."""
    sides = [tuple((Decimal(price), Decimal(size)) for price, size in side) for side in (bids, asks)]
    return DepthSnapshot(
        exchange="binance",
        symbol=symbol,
        base_asset="BTC",
        quote_asset="USDT",
        event_time=None,
        received_at=START + at,
        source="websocket",
        connection_id="test",
        update_id=update_id or 10**9 + at,
        levels=5,
        bids=sides[0],
        asks=sides[1],
    )


@pytest.fixture(scope="module")
def books(spark: SparkSession, as_messages: Messages) -> Follower:
    """Follows snapshots."""
    return Follower(spark, as_messages, depth, order_book_1m)


def is_valid(one: DepthSnapshot) -> bool:
    return bool(one.bids and one.asks and one.bids[0][0] < one.asks[0][0] and one.bids[0][1] > 0 and one.asks[0][1] > 0)


def measured(one: DepthSnapshot) -> dict[str, Fraction]:
    """What a valid book says, exactly."""
    bids, asks = ([(Fraction(price), Fraction(size)) for price, size in side] for side in (one.bids, one.asks))
    (bid, bid_size), (ask, ask_size) = bids[0], asks[0]
    mid = (bid + ask) / 2
    bid_sum, ask_sum = (sum((size for _, size in side), Fraction()) for side in (bids, asks))
    near = [[(p, s) for p, s in side if abs(p - mid) <= mid / 1000] for side in (bids, asks)]
    depths = [(sum((s for _, s in side), Fraction()), sum((p * s for p, s in side), Fraction())) for side in near]
    return {
        "spread_bps": (ask - bid) / mid * 10_000,
        "mid_price": mid,
        "micro_price": (bid * ask_size + ask * bid_size) / (bid_size + ask_size),
        "imbalance_best": (bid_size - ask_size) / (bid_size + ask_size),
        "imbalance": (bid_sum - ask_sum) / (bid_sum + ask_sum),
        "bid_depth_10bp": depths[0][0],
        "bid_quote_depth_10bp": depths[0][1],
        "ask_depth_10bp": depths[1][0],
        "ask_quote_depth_10bp": depths[1][1],
    }


def nearly(name: str, value: Fraction) -> Any:
    """What float64 makes of it, but for the last digits; an imbalance is a difference of what may be nearly equal."""
    return pytest.approx(float(value), rel=1e-9, abs=1e-13 if name.startswith("imbalance") else 0)


def by_hand(tape: list[DepthSnapshot], start: int) -> dict[str, Any] | None:
    """The measures and the closing of a minute, by asking at every moment at which something changes what is known."""
    tape = sorted(tape, key=lambda one: (one.received_at, one.update_id))
    at = [(one.received_at or 0) for one in tape]
    if not any(start - HELD < moment < start + MINUTE for moment in at):
        return None
    inner = {moment + more for moment in at for more in (0, HELD)}
    moments = sorted({start, start + MINUTE} | {moment for moment in inner if start < moment < start + MINUTE})
    sums, known, closing = dict.fromkeys(MEASURES, Fraction()), 0, None
    for begins, ends in pairwise(moments):
        last = max((n for n, moment in enumerate(at) if moment <= begins), default=None)
        if last is None or begins - at[last] >= HELD or not is_valid(tape[last]):
            continue
        closing, known = tape[last], known + ends - begins
        for name, value in measured(tape[last]).items():
            sums[name] += value * (ends - begins)
    mine = [one for one in tape if start <= (one.received_at or 0) < start + MINUTE]
    return {
        **{name: nearly(name, value / known) if known else None for name, value in sums.items()},
        "closing_at": closing and EPOCH + timedelta(microseconds=closing.received_at or 0),
        "closing_bid_price": closing and closing.bids[0][0],
        "closing_ask_quantity": closing and closing.asks[0][1],
        "closing_mid_price": closing and (closing.bids[0][0] + closing.asks[0][0]) / 2,
        "snapshots": len(mine),
        "snapshots_invalid": sum(not is_valid(one) for one in mine),
    }


times = st.one_of(st.integers(-20, 80).map(lambda s: s * SECOND), st.integers(-20 * SECOND, 80 * SECOND))
prices = st.sampled_from(["0.000000000001", "0.07", "99.9", "100", "100.1", "100.2", "63000.01", "63000.02"])
sizes = st.sampled_from(["0.000001", "1", "2.5", "1000000000000"])
sides = st.lists(st.tuples(prices, sizes), max_size=3).map(
    lambda side: sorted(side, key=lambda level: Decimal(level[0]))
)
snapshots = st.tuples(times, sides, sides, st.integers(0, 2), st.booleans())
"""Time, bids (worst first), asks, the part in which it comes, and whether it comes again with the last."""
cases = st.lists(st.lists(snapshots, min_size=1, max_size=8, unique_by=lambda one: one[0]), min_size=25, max_size=35)


@FEW
@given(cases, st.randoms(use_true_random=False))
def test_in_any_order_parts_and_repetition_it_is_what_a_plain_loop_makes_of_the_whole(
    books: Follower, made: list[list[Any]], random: Any
) -> None:
    tape: list[DepthSnapshot] = []
    parts: list[list[DepthSnapshot]] = [[], [], []]
    for number, case in enumerate(made):
        for at, bids, asks, part, comes_again in case:
            one = book(at, bids[::-1], asks, symbol=str(number))
            tape.append(one)
            for n in {part, 2} if comes_again else {part}:
                parts[n].append(one)
    for part in parts:
        random.shuffle(part)
    whole = books.follow(tape)
    assert books.follow(*parts).says == whole.says

    expected = {
        (str(number), START + minute * MINUTE): row
        for number in range(len(made))
        for minute in (-1, 0, 1)
        if (row := by_hand([one for one in tape if one.symbol == str(number)], START + minute * MINUTE))
    }
    assert whole.rows.keys() == expected.keys()
    for key, row in expected.items():
        assert {name: whole.rows[key][name] for name in row} == row, key
    assert refresh._checked(books.frame(whole.rows), order_book_1m.TABLE).is_sound


LOW, HIGH = [("99", "1")], [("101", "3")]
BY_EYE = {
    "two": [book(0, LOW, HIGH), book(4 * SECOND, [("100", "1")], [("102", "1")])],
    "of one time": [book(0, LOW, HIGH, update_id=7), book(0, [("98", "1")], HIGH, update_id=6)],
    "invalid": [
        book(0, LOW, LOW),
        book(SECOND, HIGH, LOW),
        book(2 * SECOND, [], HIGH),
        book(3 * SECOND, LOW, []),
        book(4 * SECOND, [("99", "0")], HIGH),
        book(5 * SECOND, LOW, [("101", "0")]),
        book(6 * SECOND, [], []),
    ],
    "ended by an invalid one": [book(0, LOW, HIGH), book(3 * SECOND, HIGH, LOW)],
    "near": [
        book(0, [("99.9", "1"), ("99.8999", "10")], [("100.1", "2"), ("100.1001", "10")]),
    ],
    "exact": [book(0, [("1.000000000000000001", "0.000000000000000001")], [("1.000000000000000002", "1E+12")])],
    "great": [book(0, [("90000000000000000000", "1")], [("90000000000000000001", "1")])],
    "timed by the exchange": [
        structs.replace(book(0, LOW, HIGH), event_time=START + 5 * SECOND, received_at=START + MINUTE)
    ],
}


@pytest.fixture(scope="module")
def seen(books: Follower) -> Rows:
    """Every example in one frame, by its name and minute."""
    return books.follow([structs.replace(one, symbol=name) for name, tape in BY_EYE.items() for one in tape]).rows


def test_a_book_weighs_as_long_as_it_holds_in_the_minute(seen: Rows) -> None:
    row = seen["two", START]  # the first for 4 s, then the second for 10 s
    assert row["mid_price"] == pytest.approx((100 * 4 + 101 * 10) / 14)
    assert row["micro_price"] == pytest.approx((99.5 * 4 + 101 * 10) / 14)
    assert row["imbalance_best"] == pytest.approx((-0.5 * 4 + 0 * 10) / 14)
    assert (row["seconds_covered"], row["longest_silence_ms"], row["snapshots"]) == (14, 56_000, 2)


def test_of_two_of_one_time_the_later_update_counts(seen: Rows) -> None:
    assert (seen["of one time", START]["closing_bid_price"], seen["of one time", START]["mid_price"]) == (99, 100)


def test_books_that_are_crossed_or_lack_a_side_or_a_quantity_count_as_invalid_and_say_nothing(seen: Rows) -> None:
    row = seen["invalid", START]
    assert (row["snapshots"], row["snapshots_invalid"], row["seconds_covered"]) == (7, 7, 0)
    empty = [name for name in order_book_1m.TABLE.column_names if name in MEASURES or name.startswith("closing")]
    assert {row[name] for name in empty} == {None}


def test_an_invalid_book_ends_what_held_before_it(seen: Rows) -> None:
    row = seen["ended by an invalid one", START]
    assert (row["seconds_covered"], row["snapshots_invalid"], row["closing_bid_price"]) == (3, 1, 99)


def test_depth_is_what_lies_within_ten_basis_points_of_mid_these_included(seen: Rows) -> None:
    row = seen["near", START]
    assert (row["bid_depth_10bp"], row["ask_depth_10bp"]) == (1, 2)
    assert (row["bid_quote_depth_10bp"], row["ask_quote_depth_10bp"]) == pytest.approx((99.9, 200.2))


def test_closing_prices_and_quantities_are_exact(seen: Rows) -> None:
    row = seen["exact", START]
    assert (row["closing_bid_price"], row["closing_bid_quantity"]) == (
        Decimal("1.000000000000000001"),
        Decimal("1e-18"),
    )
    assert (row["closing_ask_price"], row["closing_ask_quantity"]) == (Decimal("1.000000000000000002"), Decimal(10**12))
    assert row["closing_mid_price"] == Decimal("1.000000000000000002"), "half up at 18 places"
    assert seen["great", START]["closing_mid_price"] == Decimal("90000000000000000000.5")


def test_the_exchanges_time_places_a_snapshot_where_it_gives_one(seen: Rows) -> None:
    assert [start for name, start in seen if name == "timed by the exchange"] == [START]
    assert micros(seen["timed by the exchange", START]["closing_at"]) == START + 5 * SECOND


def test_a_late_snapshot_writes_its_minute_and_the_next_only_where_it_holds_into_that(books: Follower) -> None:
    names = ("early", "late")
    tape = [book(at * SECOND, LOW, HIGH, symbol=name) for name in names for at in range(2, 180, 5)]
    early = book(20 * SECOND + 1, HIGH, LOW, symbol="early")
    late = book(58 * SECOND, HIGH, LOW, symbol="late")
    table = books.follow(tape, [early, late], [early, late])
    assert table.written[0] == {(name, START + n * MINUTE) for name in names for n in range(4)}
    assert table.written[1] == {("early", START), ("late", START), ("late", START + MINUTE)}
    assert table.written[2] == set(), "what came already changes nothing"


def test_a_minute_is_marked_as_unfinished_until_it_is_over_also_where_nothing_more_comes(books: Follower) -> None:
    now = datetime.fromtimestamp(START / SECOND, UTC)
    nows = [now + timedelta(seconds=seconds) for seconds in (30, 59, 60)]
    part = [book(SECOND, LOW, HIGH)]
    assert not books.follow(part, nows=nows[:1]).rows["BTCUSDT", START]["is_closed"]
    table = books.follow(part, [], [], nows=nows)
    assert table.rows["BTCUSDT", START]["is_closed"]
    assert table.written == [{("BTCUSDT", START)}, set(), {("BTCUSDT", START)}]
