"""What is built again when data comes in another order, twice, in other parts, or late."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Row, SparkSession

from crypto_pipeline.bronze import klines, trades
from crypto_pipeline.refresh import refresh
from crypto_pipeline.silver import ohlcv, ohlcv_1m, ohlcv_1m_reconciliation, quiet_intervals
from crypto_pipeline.silver.candles import INTERVALS, PRICES_AND_VOLUMES, VALUES
from shared.events import AnyEvent, Kline, Trade
from tests.crypto_pipeline.conftest import MINUTE, START, by_hand, kline, trade
from tests.crypto_pipeline.memory_lake import MemoryLake

Messages = Callable[[Iterable[AnyEvent]], DataFrame]
MOMENT = datetime.fromtimestamp(START / 1e6, UTC)
HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (pyspark gives naive times of the session, UTC)
FOLLOWED = (ohlcv_1m, quiet_intervals, ohlcv)


class Following:
    """Bronze tables that events come into, and the candles that follow them."""

    def __init__(self, spark: SparkSession, as_messages: Messages) -> None:
        self.lake = MemoryLake(spark)
        self._as_messages = as_messages

    def come(self, tape: Iterable[Trade] = (), view: Iterable[Kline] = ()) -> None:
        for module, events in ((trades, list(tape)), (klines, list(view))):
            if events:
                self.lake.write(module.TABLE, module.build(self._as_messages(events)), {})

    def follow(self, now: datetime, *modules: Any, from_scratch: bool = False) -> list[list[Row]]:
        """The rows that a run writes to each table."""
        self.lake.set_clock(now)
        written = []
        for module in modules or FOLLOWED:
            before = len(self.lake.written)
            assert refresh(self.lake, module, now, from_scratch=from_scratch).is_sound
            written.append([row for _, rows in self.lake.written[before:] for row in rows])
        return written

    def candles(self, interval: str) -> dict[int, Row]:
        """By start in microseconds."""
        table = ohlcv_1m.TABLE if interval == "1m" else ohlcv.TABLE
        stored = [row for row in self.lake.rows(table) if row.interval == interval]
        return {(row.interval_start - EPOCH) // timedelta(microseconds=1): row for row in stored}


@pytest.fixture
def following(spark: SparkSession, as_messages: Messages) -> Following:
    return Following(spark, as_messages)


prices = st.decimals(min_value="0.000000000001", max_value="1000000", places=12)
sizes = st.decimals(min_value="0.000001", max_value="1000000000000", places=6)
tapes = st.lists(
    st.tuples(st.integers(0, 6 * 3_600_000_000), prices, sizes), min_size=4, max_size=20, unique_by=lambda one: one[0]
)


@settings(
    max_examples=2,  # each is some dozen Spark jobs
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tapes, st.randoms(use_true_random=False))
def test_candles_are_the_same_in_whatever_order_and_parts_trades_come_and_however_often(
    spark: SparkSession,
    as_messages: Messages,
    made,  # type: ignore[no-untyped-def]
    random,
) -> None:
    tape = [trade(i, START + at, str(p), str(q)) for i, (at, p, q) in enumerate(sorted(made), start=1)]
    arrivals = random.sample(tape, len(tape)) + random.sample(tape, len(tape) // 2)
    cut = random.randint(1, len(arrivals) - 1)
    following = Following(spark, as_messages)
    for part, days in ((arrivals[:cut], 1), (arrivals[cut:], 5)):
        following.come(part)
        following.follow(MOMENT + timedelta(days=days))
    for interval, seconds in INTERVALS.items():
        expected = by_hand(tape, seconds)
        found = following.candles(interval)
        assert {start: {name: row[name] for name in VALUES} for start, row in found.items()} == expected, interval
        for row in found.values():
            versions = row.superseded or []
            assert [version.revision for version in versions] == list(range(1, row.revision))
            begins = [version.known_at for version in versions[1:]]
            assert [version.known_to for version in versions[:-1]] == begins, "one version follows the other"
    assert following.follow(MOMENT + timedelta(days=5)) == [[], [], []], "nothing is new"
    assert following.follow(MOMENT + timedelta(days=5), from_scratch=True) == [[], [], []], "nor when all is made again"


MINUTES = [START + n * MINUTE for n in (0, 1, 70, 2 * 1440)]
"""The minute that the late trade belongs to, the next, one in another hour, and one two days later."""


def whole(start: int, first: int) -> tuple[list[Trade], Kline]:
    """Two trades of a minute, and the kline that counts them."""
    tape = [trade(first, start, "2", "1"), trade(first + 1, start + 9, "2", "1")]
    values = next(iter(by_hand(tape, 60).values()))
    return tape, kline(start, first, first + 1, 2, **{name: values[name] for name in PRICES_AND_VOLUMES})


@pytest.mark.parametrize("delay", [HOUR, timedelta(days=3)], ids=["an hour", "three days"])
def test_a_late_trade_opens_its_minute_the_five_intervals_above_and_nothing_else(
    following: Following, delay: timedelta
) -> None:
    """Without a kline its candle rests on the trades."""
    partial = [trade(1, START, "1", "1"), trade(3, START + 2, "1", "1")]
    others = [whole(start, 10 * n) for n, start in enumerate(MINUTES[1:], start=1)]
    following.come([*partial, *(one for tape, _ in others for one in tape)], [view for _, view in others])
    now = MOMENT + delay
    following.follow(now)
    before = {name: following.candles(name) for name in INTERVALS}

    following.come([trade(2, START + 1, "9", "1", source="rest", received_at=None)])
    [minutes], _, longer = following.follow(now + timedelta(minutes=1))
    reopened = {row.interval: row for row in (minutes, *longer)}
    assert len(longer) == len(reopened) - 1
    assert set(reopened) == set(INTERVALS)
    for name, row in reopened.items():
        seconds = INTERVALS[name]
        start = START // 1_000_000 // seconds * seconds * 1_000_000
        assert row.interval_start == EPOCH + timedelta(microseconds=start)
        was = before[name][start]
        assert (row.high, row.trade_count) == (9, was.trade_count + 1)
        if was.is_closed:
            [version] = row.superseded
            assert (row.revision, version.revision, version.high) == (2, 1, was.high), name
            assert (version.known_at, version.known_to) == (_micros(was.known_at), _micros(row.known_at))
        else:
            assert (row.revision, row.superseded) == (1, None), "what is not over has no versions"


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize("source", ["websocket", "trades", "rest", "archive"])
def test_late_trades_open_no_streamed_candle_and_take_the_place_of_a_kline_that_was_not_streamed(
    following: Following, source: str
) -> None:
    tape, view = whole(START, 1)
    given = {
        "websocket": ([], [view]),
        "trades": (tape, []),
        "rest": ([], [_without_ids(view, "rest")]),
        "archive": ([], [_without_ids(view, "archive")]),
    }
    following.come(*given[source])
    following.follow(MOMENT + HOUR)
    row = following.candles("1m")[START]
    assert (row.source, row.revision) == (source, 1)
    following.come(tape)
    following.follow(MOMENT + timedelta(days=3))
    again = following.candles("1m")[START]
    assert again.source == ("websocket" if source == "websocket" else "trades")
    # What was not streamed says no ids: these are new.
    assert (again.revision, again.superseded is None) == ((2, False) if source in ("rest", "archive") else (1, True))
    assert {name: again[name] for name in PRICES_AND_VOLUMES} == {name: row[name] for name in PRICES_AND_VOLUMES}


def _without_ids(view: Kline, source: str) -> Kline:
    values = {name: getattr(view, name) for name in view.__struct_fields__}
    values |= {"source": source, "received_at": None, "first_trade_id": None, "last_trade_id": None}
    return Kline(**values)


def test_a_late_trade_of_a_streamed_candle_changes_its_reconciliation_alone(following: Following) -> None:
    tape, view = whole(START, 1)
    beside, beside_view = whole(START + MINUTE, 3)
    following.come([tape[0], *beside], [view, beside_view])
    following.follow(MOMENT + HOUR, ohlcv_1m, ohlcv_1m_reconciliation)
    following.come([tape[1]])
    [candle], [row] = following.follow(MOMENT + timedelta(days=3), ohlcv_1m, ohlcv_1m_reconciliation)
    assert (candle.proof, candle.revision, candle.superseded) == ("trade_ids", 1, None)
    assert (row.interval_start, row.agrees) == (candle.interval_start, True)


def test_a_run_that_dies_and_is_repeated_leaves_the_same_versions(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    following.come([trade(1, START, "1", "1"), trade(3, START + 2, "1", "1")])
    following.follow(MOMENT + HOUR)
    following.come([trade(2, START + 1, "9", "1")])

    class Killed(Exception):  # noqa: N818
        pass

    def dies(*_arguments: object, **_options: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(MemoryLake, "write", dies)
        with pytest.raises(Killed):
            following.follow(MOMENT + 2 * HOUR, ohlcv_1m)
    following.follow(MOMENT + 2 * HOUR, ohlcv_1m)
    row = following.candles("1m")[START]
    assert (row.revision, [version.high for version in row.superseded]) == (2, [1])
