"""What is said of what has expired."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.expired import Expired, midnight, told

FIRST = date(2026, 8, 1)
DAYS = st.sets(st.integers(0, 9).map(lambda n: FIRST + timedelta(days=n)), max_size=6)
TIMES = st.integers(0, 10 * 24 * 60).map(lambda n: midnight(FIRST) + timedelta(minutes=n))


@given(DAYS, TIMES, TIMES)
def test_a_range_is_told_of_exactly_where_some_of_it_has_expired(
    days: set[date], one: datetime, other: datetime
) -> None:
    start, end = min(one, other), max(one, other) + timedelta(minutes=1)
    is_touched = any(midnight(day) < end and start < midnight(day) + timedelta(days=1) for day in days)
    assert bool(told("x", days, start, end)) == is_touched


def test_what_is_still_there_is_named() -> None:
    start = datetime(2026, 8, 1, 12, tzinfo=UTC)
    said = told("bronze.depth", {FIRST, date(2026, 8, 2)}, start, datetime(2026, 8, 4, 6, tzinfo=UTC))
    assert said == (
        "Of bronze.depth, 2026-08-01T12:00:00Z to 2026-08-03T00:00:00Z has expired by config/retention.yaml; of what "
        "was asked for, 2026-08-03T00:00:00Z to 2026-08-04T06:00:00Z is still kept."
    )
    said = told("bronze.depth", {FIRST, date(2026, 8, 2)}, start, start + timedelta(hours=1))
    assert said.endswith("; what is kept begins at 2026-08-03T00:00:00Z.")


def test_the_record_is_of_tables_and_of_the_raw_archive_by_symbol() -> None:
    record = Expired.of(
        [
            ("bronze.depth", "", "", "2026-08-01"),
            ("raw", "binance", "BTCUSDT", "2026-08-02"),
            ("raw", "kraken", "ETHUSDT", "2026-08-03"),
        ]
    )
    assert record.of_table("bronze.depth") == {FIRST}
    assert record.of_table("bronze.tickers") == set()
    assert record.of_raw() == {date(2026, 8, 2), date(2026, 8, 3)}
    assert record.of_raw("binance") == record.of_raw(None, ["BTCUSDT"]) == {date(2026, 8, 2)}
    assert record.since(["bronze.depth", "bronze.trades"]) == datetime(2026, 8, 2, 1, tzinfo=UTC)
    assert record.since(["bronze.trades"]) is None
