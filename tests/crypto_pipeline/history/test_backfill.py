"""Which days are there, and so are not fetched again."""

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_pipeline.history.backfill import Day, runs, whole
from crypto_pipeline.history.fetch import days_of, periods

DAYS = days_of(date(2026, 11, 18), date(2026, 11, 21))
FULL = Day(minutes=1440, traded=10)


def test_a_day_of_klines_is_there_when_each_minute_has_one() -> None:
    found = {DAYS[0]: FULL, DAYS[1]: Day(minutes=1439)}
    assert whole(found, "klines", DAYS) == {DAYS[0]}


def test_a_day_of_trades_is_there_when_its_klines_count_as_many() -> None:
    found = {DAYS[0]: FULL._replace(trades=10, first_id=5, last_id=14)}
    assert whole(found, "trades", DAYS) == {DAYS[0]}
    assert whole({DAYS[0]: found[DAYS[0]]._replace(traded=11)}, "trades", DAYS) == set()


def test_a_day_of_trades_is_there_when_the_ids_of_its_neighbours_join() -> None:
    found = {day: Day(trades=10, first_id=10 * n, last_id=10 * n + 9) for n, day in enumerate(DAYS)}
    assert whole(found, "trades", DAYS) == {DAYS[1]}


def test_a_missing_id_within_the_day_is_seen() -> None:
    found = {DAYS[0]: FULL._replace(trades=10, first_id=5, last_id=15)}
    assert whole(found, "trades", DAYS) == set()


@settings(deadline=None)
@given(st.sets(st.dates(date(2026, 1, 1), date(2026, 3, 1))))
def test_runs_hold_every_day_once_and_have_no_holes(days: set[date]) -> None:
    found = list(runs(sorted(days)))
    assert [day for run in found for day in run] == sorted(days)
    for run in found:
        assert run[-1] - run[0] == timedelta(days=len(run) - 1)
    for left, right in pairwise(found):
        assert right[0] - left[-1] > timedelta(days=1)


def test_whole_months_that_are_over_are_one_file_and_the_others_a_file_a_day() -> None:
    found = list(periods(date(2026, 8, 31), date(2026, 11, 3), date(2026, 11, 21)))
    assert found == ["2026-08-31", "2026-09", "2026-10", "2026-11-01", "2026-11-02"]
    assert next(periods(date(2026, 11, 1), date(2026, 12, 1), date(2026, 11, 21))) == "2026-11-01"
