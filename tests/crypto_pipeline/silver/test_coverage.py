"""How well messages cover a minute, against a plain loop and by eye."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze import depth
from crypto_pipeline.silver import coverage
from streaming import watchdog
from tests.crypto_pipeline.conftest import MINUTE, START

SECOND = 1_000_000
MINUTE_OF = datetime.fromtimestamp(START / SECOND, UTC)
Message = tuple[int, bool]
"""Microseconds after the minute's start, and whether it is valid."""
FEW = settings(
    max_examples=2,  # each is a Spark job over many cases
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def messages_of(spark: SparkSession, cases: list[list[Message]]) -> DataFrame:
    """The messages of each case, whose number is its symbol."""
    rows = [("binance", str(n), START + at, valid) for n, case in enumerate(cases) for at, valid in case]
    frame = spark.createDataFrame(rows, "exchange string, symbol string, micros bigint, is_valid boolean")
    return frame.select("*", F.timestamp_micros("micros").alias("time"))


def covered(spark: SparkSession, cases: list[list[Message]]) -> dict[int, tuple[int, int]]:
    """Seconds covered and the longest silence of the minute at START, by case; nothing where it has no row."""
    rows = coverage.in_minutes(messages_of(spark, cases)).filter(F.unix_micros("interval_start") == START)
    minutes = coverage.held(rows, coverage.in_time()).groupBy(*coverage.KEY).agg(*coverage.covered())
    return {int(row.symbol): (row.seconds_covered, row.longest_silence_ms) for row in minutes.collect()}


def by_hand(case: list[Message]) -> tuple[int, int]:
    """The same by looking at each second."""
    case = sorted(case)
    ends = [at for at, _ in case[1:]] + [10**12]
    spans = [(at, min(end, at + 10 * SECOND)) for (at, valid), end in zip(case, ends, strict=True) if valid]
    seconds = [
        any(at // SECOND == s or (at < (s + 1) * SECOND and end > s * SECOND) for at, end in spans) for s in range(60)
    ]
    edges = [0, *(at for at, _ in case if 0 <= at < MINUTE), MINUTE]
    return sum(seconds), max(b - a for a, b in pairwise(edges)) // 1000


times = st.one_of(st.integers(-20, 65).map(lambda s: s * SECOND), st.integers(-20 * SECOND, 65 * SECOND))
cases = st.lists(
    st.lists(st.tuples(times, st.booleans()), min_size=1, max_size=15, unique_by=lambda one: one[0]),
    min_size=40,
    max_size=60,
)


@FEW
@given(cases)
def test_seconds_and_silence_equal_a_plain_loop(spark: SparkSession, made: list[list[Message]]) -> None:
    reaches = [any(-10 * SECOND < at < MINUTE for at, _ in case) for case in made]
    expected = {n: by_hand(case) for n, case in enumerate(made) if reaches[n]}
    assert covered(spark, made) == expected


EXAMPLES: dict[str, tuple[list[Message], tuple[int, int]]] = {
    "one each second": ([(s * SECOND, True) for s in range(60)], (60, 1000)),
    "one each second, and the first second has none": ([(s * SECOND, True) for s in range(1, 60)], (59, 1000)),
    "one holds for ten seconds": ([(5 * SECOND, True)], (10, 55_000)),
    "one holds for ten seconds, begun and ended within a second": ([(5 * SECOND + 1, True)], (11, 54_999)),
    "one comes in the last microsecond": ([(MINUTE - 1, True)], (1, 59_999)),
    "one from before holds into it": ([(-4 * SECOND, True)], (6, 60_000)),
    "one from before holds into it until the next, that is not valid": (
        [(-4 * SECOND, True), (2 * SECOND, False)],
        (2, 58_000),
    ),
    "one from before could, and was ended before": ([(-4 * SECOND, True), (-3 * SECOND, False)], (0, 60_000)),
    "what is not valid covers nothing, and is not silence": ([(30 * SECOND, False)], (0, 30_000)),
}


def test_seconds_and_silence_are_what_one_counts_by_eye(spark: SparkSession) -> None:
    found = covered(spark, [case for case, _ in EXAMPLES.values()])
    assert {name: found[n] for n, name in enumerate(EXAMPLES)} == {name: said for name, (_, said) in EXAMPLES.items()}


def test_what_held_for_ten_seconds_when_the_minute_begins_is_not_of_it(spark: SparkSession) -> None:
    assert covered(spark, [[(-10 * SECOND, True)], [(MINUTE, True)]]) == {}


@pytest.mark.parametrize("stream", ["depth5", "ticker"])
def test_nothing_holds_for_longer_than_the_shortest_silence_that_streaming_calls_one(stream: str) -> None:
    assert timedelta(seconds=watchdog.FLOOR_SECONDS[stream]) == coverage.HOLDS


def test_touched_are_the_minutes_of_what_is_new_the_next_one_where_it_holds_and_what_has_ended(
    spark: SparkSession,
) -> None:
    changed = messages_of(spark, [[(0, True), (50 * SECOND, True)], [(50 * SECOND + 1, False)]])
    rows = [
        ("binance", "ended", MINUTE_OF - timedelta(minutes=5), False),
        ("binance", "written when it had ended", MINUTE_OF - timedelta(minutes=5), True),
        ("binance", "goes on", MINUTE_OF, False),
    ]
    current = spark.createDataFrame(rows, "exchange string, symbol string, interval_start timestamp, is_closed boolean")
    now = MINUTE_OF + timedelta(seconds=59)
    found = coverage.touched(changed, current, now).collect()
    starts = [(row.symbol, row.interval_start.replace(tzinfo=UTC) - MINUTE_OF) for row in found]
    minutes = sorted((symbol, after // timedelta(minutes=1)) for symbol, after in starts)
    assert minutes == [("0", 0), ("1", 0), ("1", 1), ("ended", -5)]


def test_needed_are_the_hours_of_the_minutes_and_of_what_holds_into_them(spark: SparkSession) -> None:
    noon = datetime(2026, 8, 6, 12, tzinfo=UTC)
    rows = [("binance", "a", noon), ("binance", "b", noon + timedelta(minutes=1))]
    keys = spark.createDataFrame(rows, "exchange string, symbol string, interval_start timestamp")
    found = {(row.source, row.start.hour, row.end.hour) for row in coverage.needs(keys, (depth.TABLE,)).collect()}
    assert found == {("bronze.depth", 11, 11), ("bronze.depth", 12, 12)}
