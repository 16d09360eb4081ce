"""Hours and days counted by both engines, and the condition of a day."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from crypto_pipeline.lake_sql import Lake
from crypto_pipeline.reader import arrow_schema
from crypto_pipeline.silver import completeness, completeness_daily, completeness_hourly
from crypto_pipeline.silver.rollup import conditions
from shared.tables import Table, View

TABLE = completeness.TABLE
MIDNIGHT = datetime(2026, 3, 5, tzinfo=UTC)
VIEWS = {view.full_name: view for view in (completeness_hourly.VIEW, completeness_daily.VIEW)}

COMPLETE = {"status": "complete", "trades_expected": 3, "trades_received": 3, "trades_missing": 0, "depth_seconds": 60}
QUIET = {"status": "complete", "reason": "no_trades", "trades_expected": 0, "trades_received": 0, "trades_missing": 0}
REPAIRED = {"status": "repaired", "reason": "our_outage", "trades_expected": 4, "trades_received": 4, "trades_rest": 4}
PENDING = {"status": "pending", "trades_received": 1, "depth_longest_silence_ms": 60_000}
PARTIAL = {"status": "partial", "reason": "our_outage", "trades_received": 1}
MISSING = {"status": "missing", "reason": "not_collected", "trades_received": 0}
HALTED = {"status": "not_expected", "reason": "halt", "trades_expected": 0, "trades_received": 0}

Minutes = Sequence[Mapping[str, Any]]


def minutes(symbol: str, says: Minutes, start: datetime = MIDNIGHT) -> list[dict[str, Any]]:
    """A row for each minute from `start` on."""
    usual = {"exchange": "binance", "symbol": symbol, "depth_seconds": 0, "depth_longest_silence_ms": 1000}
    return [
        {**usual, "interval_start": moment, "month": f"{moment:%Y-%m}", **one}
        for moment, one in ((start + number * timedelta(minutes=1), one) for number, one in enumerate(says))
    ]


class InMemory:
    def __init__(self, values: pa.Table) -> None:
        self._values = values

    def read(self, columns: Sequence[str] | None = None, filters: Sequence[Any] = ()) -> pa.Table:
        return self._values.select(columns or self._values.column_names)

    def partitions(self) -> list[dict[str, str]]:
        return [{"month": "2026-03"}]


def by_duckdb(rows: list[dict[str, Any]], view: View) -> list[dict[str, Any]]:
    stored = InMemory(pa.Table.from_pylist(rows, arrow_schema(TABLE)))

    def opened(_table: Table) -> InMemory:
        return stored

    with Lake({TABLE.full_name: TABLE}, VIEWS, opened) as lake:
        found: list[dict[str, Any]] = lake.query(f"from {view.full_name}").to_pylist()
    return found


def by_spark(rows: list[dict[str, Any]], view: View, spark: SparkSession) -> list[dict[str, Any]]:
    schema = ", ".join(f"{column.name} {column.type}" for column in TABLE.columns)
    values = [tuple(row.get(name) for name in TABLE.column_names) for row in rows]
    spark.createDataFrame(values, schema).createOrReplaceTempView("minutes")
    found = spark.sql(view.sql.replace(TABLE.full_name, "minutes")).collect()
    return [row.asDict() for row in found]


def placed(rows: list[dict[str, Any]], start: str) -> list[dict[str, Any]]:
    """Rows by symbol and start; Spark gives times without a zone."""
    naive = [
        {name: value.replace(tzinfo=None) if isinstance(value, datetime) else value for name, value in row.items()}
        for row in rows
    ]
    return sorted(naive, key=lambda row: (row["symbol"], row[start]))


@pytest.mark.parametrize(
    ("view", "start"), [(completeness_hourly.VIEW, "hour_start"), (completeness_daily.VIEW, "day")]
)
def test_both_engines_count_the_same(view: View, start: str, spark: SparkSession) -> None:
    late = MIDNIGHT + timedelta(hours=23, minutes=58)
    says = [COMPLETE, QUIET, REPAIRED, PENDING, PARTIAL, MISSING, HALTED]
    rows = [*minutes("A", says), *minutes("A", says, late), *minutes("B", [COMPLETE, HALTED])]
    theirs = placed(by_duckdb(rows, view), start)
    assert theirs == placed(by_spark(rows, view, spark), start)
    assert len(theirs) == {"hour_start": 4, "day": 3}[start]


def test_a_day_says_what_its_minutes_are_and_why(spark: SparkSession) -> None:
    rows = minutes("A", [COMPLETE, COMPLETE, QUIET, REPAIRED, PENDING, PARTIAL, MISSING, HALTED])
    [day] = by_spark(rows, completeness_daily.VIEW, spark)
    expected = {
        "day": date(2026, 3, 5),
        "minutes": 8,
        "minutes_expected": 7,
        "minutes_complete": 3,
        "minutes_repaired": 1,
        "minutes_pending": 1,
        "minutes_partial": 1,
        "minutes_missing": 1,
        "minutes_no_trades": 1,
        "minutes_our_outage": 2,
        "minutes_not_collected": 1,
        "minutes_halt": 1,
        "trades_expected": 10,
        "trades_received": 12,
        "trades_rest": 4,
        "depth_seconds": 120,
        "depth_longest_silence_ms": 60_000,
        "percent_proven": pytest.approx(400 / 7),
        "condition": "degraded",
    }
    assert {name: day[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("available", [COMPLETE, QUIET, REPAIRED]),
        ("available", [COMPLETE, HALTED]),
        ("available", [HALTED]),
        ("pending", [COMPLETE, PENDING]),
        ("pending", [PENDING]),
        ("degraded", [COMPLETE, PENDING, PARTIAL]),
        ("degraded", [COMPLETE, MISSING]),
        ("degraded", [PARTIAL]),
        ("degraded", [PENDING, MISSING]),
        ("missing", [MISSING, MISSING]),
        ("missing", [MISSING, HALTED]),
    ],
)
def test_the_condition_of_a_day_is_that_of_its_worst_minutes(
    condition: str, says: Minutes, spark: SparkSession
) -> None:
    rows = minutes("A", says)
    [by_view] = by_duckdb(rows, completeness_daily.VIEW)
    assert by_view["condition"] == condition
    schema = ", ".join(f"{column.name} {column.type}" for column in TABLE.columns)
    frame = spark.createDataFrame([tuple(row.get(name) for name in TABLE.column_names) for row in rows], schema)
    [by_frame] = conditions(frame).collect()
    assert (by_frame.condition, by_frame.minutes_expected) == (condition, by_view["minutes_expected"])
