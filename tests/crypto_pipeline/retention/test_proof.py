"""What of the raw archive must stay, on a lake in memory: what silver cannot vouch for."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import SparkSession

from crypto_pipeline.reader import WRITTEN_BY
from crypto_pipeline.retention.decision import Unit
from crypto_pipeline.retention.proof import incomplete, raw_unproven
from crypto_pipeline.silver import completeness, ohlcv_1m
from tests.crypto_pipeline.conftest import START
from tests.crypto_pipeline.verify.conftest import EARLY, MemoryTables, Messages, healthy, stored

BEGIN = datetime.fromtimestamp(START / 1e6, UTC)
TWO_DAYS_BEFORE, DAY = date(2026, 8, 4), date(2026, 8, 6)
UNITS = [Unit("raw", "binance", "BTCUSDT", day) for day in (TWO_DAYS_BEFORE, DAY)]


def minute(number: int, status: str) -> dict[str, Any]:
    """So many minutes after the begin of the first day."""
    start = datetime(2026, 8, 4, tzinfo=UTC) + timedelta(minutes=number)
    of = {"exchange": "binance", "symbol": "BTCUSDT", "month": "2026-08", WRITTEN_BY.name: EARLY}
    return of | {"interval_start": start, "status": status}


@pytest.fixture(scope="module")
def lake(spark: SparkSession, as_messages: Messages) -> MemoryTables:
    """Of two days with one between, of which silver says that all is there."""
    found = stored(spark, as_messages, healthy())
    statuses = ("complete", "repaired", "not_expected")
    minutes = [minute(number, statuses[number % 3]) for number in range(3 * 1440)]
    return replace(found, rows={**found.rows, completeness.TABLE.full_name: minutes})


def test_days_that_are_whole_and_equal_may_go(lake: MemoryTables) -> None:
    assert raw_unproven(lake, UNITS) == {}


@pytest.mark.parametrize("status", ["pending", "partial", "missing"])
def test_a_day_with_a_minute_that_is_not_proven_stays(lake: MemoryTables, status: str) -> None:
    last = minute(3 * 1440 - 1, status)
    worse = lake.but(completeness.TABLE, lambda rows: [*rows[:-1], last])
    assert raw_unproven(worse, UNITS) == {UNITS[1]: f"of its minutes 1 are {status}"}


def test_a_symbol_of_which_silver_says_nothing_stays(lake: MemoryTables) -> None:
    other = UNITS[1]._replace(symbol="ETHUSDT")
    assert raw_unproven(lake, [other]) == {other: "silver.completeness has no word on it"}
    assert incomplete({}) == "silver.completeness has no word on it"


def test_a_day_whose_candles_are_not_what_bronze_gives_stays_and_the_other_goes(lake: MemoryTables) -> None:
    def other(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "close": row["close"] + Decimal(1)} if row["interval_start"] == BEGIN else row for row in rows]

    why = raw_unproven(lake.but(ohlcv_1m.TABLE, other), UNITS)
    assert list(why) == [UNITS[1]]
    assert why[UNITS[1]].startswith("crypto verify: ")
    assert "BTCUSDT" in why[UNITS[1]]
