"""Where nothing traded, as the exchange's closed klines say."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import DataFrame, SparkSession

from crypto_pipeline.bronze import klines
from crypto_pipeline.refresh import refresh
from crypto_pipeline.silver import quiet_intervals
from shared.events import AnyEvent
from tests.crypto_pipeline.conftest import MINUTE, START, kline
from tests.crypto_pipeline.memory_lake import MemoryLake

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (pyspark gives naive times of the session, UTC)
NOW = datetime.fromtimestamp(START / 1e6, UTC) + timedelta(days=1)
QUARTER = START - START % (15 * MINUTE)


@pytest.fixture
def follow(spark: SparkSession, as_messages: Callable[[Iterable[AnyEvent]], DataFrame]) -> Callable[..., object]:
    """Takes the trades that each minute's closed kline counts, by minute; gives what one run writes."""
    lake = MemoryLake(spark)

    def run(counts: dict[int, int] | None = None, **changes: object) -> set[tuple[str, int]]:
        closed = [kline(QUARTER + minute * MINUTE, None, None, n, **changes) for minute, n in (counts or {}).items()]
        if closed:
            lake.write(klines.TABLE, klines.build(as_messages(closed)), {})
        before = len(lake.written)
        assert refresh(lake, quiet_intervals, NOW).is_sound
        return {
            (row.interval, (row.interval_start - EPOCH) // timedelta(minutes=1) - QUARTER // MINUTE)
            for _, rows in lake.written[before:]
            for row in rows
        }

    return run


def test_a_minute_without_a_trade_is_quiet_and_a_longer_interval_when_its_last_minute_is(
    follow: Callable[..., object],
) -> None:
    assert follow({0: 0, 1: 5, 2: 0}) == {("1m", 0), ("1m", 2)}
    assert follow({5: 0, 6: 0, 7: 0, 8: 0}) == {("1m", minute) for minute in (5, 6, 7, 8)}
    assert follow({9: 0}) == {("1m", 9), ("5m", 5)}
    assert follow() == set(), "nothing is new"
    assert follow({9: 0}, source="rest") == set(), "it is known"


def test_a_kline_that_is_still_open_makes_no_minute_quiet(follow: Callable[..., object]) -> None:
    assert follow({0: 0}, is_closed=False) == set()
