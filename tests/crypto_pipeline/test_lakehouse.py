"""The pure parts of the lakehouse; the rest is tested on the real one in tests/integration."""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from crypto_pipeline import contracts
from crypto_pipeline.bronze import klines, trades
from crypto_pipeline.lakehouse import _partition_filter, _what_is_over, hours_between, lies_by_time
from crypto_pipeline.silver import ohlcv
from shared.tables import Table

NEW_YEAR = hours_between(datetime(2025, 12, 31, 23, 30, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=UTC))


def test_spark_connect_is_not_there_before_the_logs_are_set_up() -> None:
    told = "import sys, crypto_pipeline.definitions; print([name for name in sys.modules if 'sql.connect' in name])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", "its logger would tell all plans in a text of its own"


def test_hours_between_are_all_hours_that_the_span_touches() -> None:
    assert [hour.strftime("%d %H") for hour in NEW_YEAR] == ["31 23", "01 00", "01 01"]


@given(
    start=st.datetimes(datetime(2020, 1, 1), datetime(2021, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    length=st.timedeltas(timedelta(0), timedelta(days=90)),
)
def test_an_hour_of_each_day_is_of_every_day_that_the_span_touches_with_its_first_and_last_hour(
    start: datetime, length: timedelta
) -> None:
    every, few = hours_between(start, start + length), hours_between(start, start + length, 24)
    assert {hour.date() for hour in few} == {hour.date() for hour in every}
    assert (min(few), max(few)) == (min(every), max(every))
    assert set(few) <= set(every)
    assert len(few) <= length / timedelta(days=1) + 2


def kept(spark: SparkSession, condition: object, columns: str, rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    frame = spark.createDataFrame(rows, columns).filter(condition)  # type: ignore[arg-type]
    return [tuple(row) for row in frame.collect()]


def test_only_the_partitions_of_the_hours_are_read(spark: SparkSession) -> None:
    rows = [("2025-12-31", "22"), ("2025-12-31", "23"), ("2026-01-01", "00"), ("2026-01-01", "23")]
    found = kept(spark, _partition_filter(trades.TABLE, NEW_YEAR), "date string, hour string", rows)
    assert found == [("2025-12-31", "23"), ("2026-01-01", "00")]


def test_a_table_by_month_is_read_by_month_whatever_its_other_partitions(spark: SparkSession) -> None:
    months = [("2025-11",), ("2025-12",), ("2026-01",), ("2026-02",)]
    assert kept(spark, _partition_filter(klines.TABLE, NEW_YEAR), "month string", months) == months[1:3]
    assert kept(spark, _partition_filter(ohlcv.TABLE, NEW_YEAR), "month string", months) == months[1:3]


def test_no_hours_are_no_rows(spark: SparkSession) -> None:
    assert kept(spark, _partition_filter(klines.TABLE, []), "month string", [("2026-01",)]) == []


@pytest.mark.parametrize(
    "table", [one for one in contracts.tables().values() if lies_by_time(one)], ids=lambda one: one.full_name
)
def test_what_is_over_is_every_time_but_that_of_now_and_the_next(table: Table) -> None:
    now = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    pattern = re.compile(_what_is_over(table, now))

    def partition(at: datetime) -> str:
        times = {"date": f"{at:%Y-%m-%d}", "hour": f"{at:%H}", "month": f"{at:%Y-%m}"}
        return "/".join(f"{name}={times.get(name, '5m')}" for name in table.partitions)

    assert not pattern.search(partition(now))
    assert not pattern.search(partition(now + timedelta(hours=1)))
    assert pattern.search(partition(now - timedelta(days=31)))
    assert not {",", "="} & set(pattern.pattern), "Hudi would cut it there"
