"""The writer on a real PostgreSQL: what is there afterwards, whatever came and whatever ended it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from serving.tables import Served, served
from serving.writer import ServingError, Written, connected, marks, write
from shared.settings import PROJECT, Settings
from tests.serving.rows import EIGHTEEN, START, arrow, candle, expected, there

MARKS = {"silver.ohlcv_1m": "20261101000000000", "silver.ohlcv": "20261101000000001"}


def test_what_came_is_there_in_its_months(database: psycopg.Connection, candles: Served) -> None:
    rows = [candle(minute) for minute in range(5)]
    assert write(database, candles, [arrow(candles, rows)], MARKS) == Written(5, 5)
    assert there(database, candles) == expected(candles, rows)
    parts = "SELECT tableoid::regclass::text, count(*) FROM silver.fact_ohlcv GROUP BY 1 ORDER BY 1"
    assert database.execute(parts).fetchall() == [("silver.fact_ohlcv_2026_10", 2), ("silver.fact_ohlcv_2026_11", 3)]
    assert marks(database, candles) == MARKS


def test_the_same_rows_again_change_nothing(database: psycopg.Connection, candles: Served) -> None:
    rows = arrow(candles, [candle(minute) for minute in range(5)])
    write(database, candles, [rows], MARKS)
    assert write(database, candles, [rows], MARKS) == Written(5, 0)


def test_late_data_replaces_just_the_rows_that_differ(database: psycopg.Connection, candles: Served) -> None:
    write(database, candles, [arrow(candles, [candle(minute) for minute in range(5)])], MARKS)
    late = [candle(1), candle(2, close="99.000000000000000001", revision=2), candle(7)]
    assert write(database, candles, [arrow(candles, late)], MARKS) == Written(3, 2)
    assert there(database, candles) == expected(candles, [candle(0), *late, candle(3), candle(4)])


def test_a_value_that_became_null_is_null(database: psycopg.Connection, candles: Served) -> None:
    write(database, candles, [arrow(candles, [candle(0, vwap=Decimal(1))])], MARKS)
    assert write(database, candles, [arrow(candles, [candle(0, vwap=None)])], MARKS) == Written(1, 1)
    assert there(database, candles)[0]["vwap"] is None


def test_pieces_are_one_transaction(database: psycopg.Connection, candles: Served) -> None:
    def pieces() -> Iterator[pa.Table]:
        yield arrow(candles, [candle(0)])
        raise ConnectionError("Spark is gone")

    with pytest.raises(ConnectionError):
        write(database, candles, pieces(), MARKS)
    assert there(database, candles) == []
    assert marks(database, candles) == {}


def test_a_full_reload_removes_what_the_lake_has_no_longer(database: psycopg.Connection, candles: Served) -> None:
    write(database, candles, [arrow(candles, [candle(minute) for minute in range(5)])], MARKS)
    pieces = [arrow(candles, [candle(0)]), arrow(candles, [candle(3, close="1"), candle(9)])]
    assert write(database, candles, pieces, MARKS, whole=True) == Written(3, 2, removed=3)
    assert there(database, candles) == expected(candles, [candle(0), candle(3, close="1"), candle(9)])


def test_readers_never_see_a_table_that_is_reloaded_empty(
    database: psycopg.Connection, candles: Served, migrated: Settings
) -> None:
    write(database, candles, [arrow(candles, [candle(minute) for minute in range(5)])], MARKS)
    seen = []
    with psycopg.connect(migrated.serving_reader_url, autocommit=True) as reader:

        def pieces() -> Iterator[pa.Table]:
            for minute in range(10, 12):
                yield arrow(candles, [candle(minute)])
                seen.append(reader.execute("SELECT count(*) FROM silver.fact_ohlcv").fetchone())

        write(database, candles, pieces(), MARKS, whole=True)
        seen.append(reader.execute("SELECT count(*) FROM silver.fact_ohlcv").fetchone())
    assert seen == [(5,), (5,), (2,)]


def test_a_new_month_waits_for_no_reader_and_holds_none_up(
    database: psycopg.Connection, candles: Served, migrated: Settings
) -> None:
    with psycopg.connect(migrated.serving_reader_url) as reader:
        reader.execute("SELECT count(*) FROM silver.fact_ohlcv")  # its transaction stays open
        database.execute("SET lock_timeout = '2s'")
        far = datetime(2031, 5, 1, tzinfo=UTC)
        row = candle(0, interval_start=far)

        def pieces() -> Iterator[pa.Table]:
            yield arrow(candles, [row])
            with psycopg.connect(migrated.serving_reader_url, options="-c statement_timeout=2s") as other:
                other.execute("SELECT count(*) FROM silver.fact_ohlcv")

        assert write(database, candles, pieces(), MARKS).changed == 1
    assert there(database, candles) == expected(candles, [row])


KILLED = """
import os, signal, sys
from serving.tables import served
from serving.writer import connected, write
from shared.settings import settings
from tests.serving.rows import arrow, candle

candles = served()["silver.fact_ohlcv"]
def pieces():
    yield arrow(candles, [candle(0, close="1")])
    yield arrow(candles, [candle(9)])
    os.kill(os.getpid(), signal.SIGKILL)  # one piece at least is copied, and nothing is committed

with connected(settings()) as database:
    write(database, candles, pieces(), {"silver.ohlcv_1m": "9"})
"""


@pytest.mark.parametrize("is_first", [True, False])
def test_a_run_killed_between_copy_and_commit_leaves_all_as_it_was_and_the_next_makes_it_good(
    database: psycopg.Connection, candles: Served, migrated: Settings, is_first: bool
) -> None:
    before = [] if is_first else [candle(0), candle(1)]
    if before:
        write(database, candles, [arrow(candles, before)], MARKS)
    environment = {
        **os.environ,
        "POSTGRES_PORT": str(migrated.postgres_port),
        "SERVING_WRITER_PASSWORD": migrated.serving_writer_password.get_secret_value(),
    }
    killed = subprocess.run([sys.executable, "-c", KILLED], env=environment, cwd=PROJECT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert there(database, candles) == expected(candles, before)
    assert marks(database, candles) == (MARKS if before else {})
    again = [candle(0, close="1"), candle(9)]
    write(database, candles, [arrow(candles, again)], MARKS)
    assert there(database, candles) == expected(candles, [*again, *before[1:]])


def kline(source: str, close: str, ordering: int, **others: Any) -> dict[str, Any]:
    return {
        "exchange": "binance", "symbol": "BTCUSDT", "interval": "1m", "open_time": START, "source": source,
        "close": Decimal(close), "ordering": ordering, "is_closed": True, **others,
    }  # fmt: skip


@hypothesis_settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations([("websocket", 5), ("websocket", 9), ("rest", 10), ("archive", 20)]), st.integers(1, 4))
def test_of_the_klines_of_a_minute_the_best_source_stays_whatever_came_first(
    database: psycopg.Connection, came: list[tuple[str, int]], together: int
) -> None:
    native = served()["bronze.bronze_ohlcv_native"]
    database.execute("DELETE FROM bronze.bronze_ohlcv_native")
    for at in range(0, len(came), together):
        rows = [kline(source, str(ordering), ordering) for source, ordering in came[at : at + together]]
        write(database, native, [arrow(native, rows)], {})
    best = kline("websocket", "9", 9)
    assert there(database, native) == expected(native, [best])


@pytest.mark.parametrize(
    "value",
    [EIGHTEEN, -EIGHTEEN, Decimal("1e19"), Decimal("99999999999999999999.999999999999999999"), Decimal(0), None],
)
def test_decimals_are_exact_to_their_ends(database: psycopg.Connection, candles: Served, value: Decimal | None) -> None:
    rows = [candle(0, volume=value)]
    write(database, candles, [arrow(candles, rows)], MARKS)
    assert there(database, candles)[0]["volume"] == value


@pytest.mark.parametrize("value", [5e-324, 1.7976931348623157e308, 0.1 + 0.2, float("inf"), -0.0, None])
def test_doubles_come_out_as_they_went_in(database: psycopg.Connection, value: float | None) -> None:
    table = served()["silver.order_book_1m"]
    row = {"exchange": "binance", "symbol": "BTCUSDT", "interval_start": START, "mid_price": value}
    write(database, table, [arrow(table, [row])], {})
    assert there(database, table)[0]["mid_price"] == value


@pytest.mark.parametrize(
    "broken",
    [None, [], ["is_not_late"], ['say "no"', "back\\slash", "com,ma", "{brace}", "", "line\nbreak", "NULL", "é"]],
)
def test_texts_and_lists_of_them_come_out_as_they_went_in(
    database: psycopg.Connection, broken: list[str] | None
) -> None:
    table = served()["bronze.gaps"]
    row = {
        "exchange": "binance", "symbol": "BTCUSDT", "gap_stream": "trade", "first_missing": -(2**63),
        "detail": "".join(broken) if broken is not None else None, "broken_rules": broken,
    }  # fmt: skip
    write(database, table, [arrow(table, [row])], {})
    assert there(database, table) == expected(table, [row])


def test_what_is_nested_is_jsonb_with_every_digit(database: psycopg.Connection) -> None:
    table = served()["gold.portfolio_performance"]
    lots = [{"acquired_at": 2**53 + 1, "units": EIGHTEEN, "cost": Decimal("12345678901234567890.5")}]
    row = {"portfolio": "p", "day": date(2026, 11, 1), "asset": "TOTAL", "lots": lots}
    days = {c.name: c.type for c in table.columns}
    row["day"] = START if days["day"] == "timestamp" else "2026-11-01" if days["day"] == "string" else row["day"]
    write(database, table, [arrow(table, [row])], {})
    asked = (
        "SELECT lots->0->>'units', lots->0->>'cost', (lots->0->>'acquired_at')::bigint FROM gold.portfolio_performance"
    )
    units, cost, acquired = database.execute(asked).fetchone() or ()
    assert (Decimal(units), Decimal(cost), acquired) == (lots[0]["units"], lots[0]["cost"], 2**53 + 1)


@pytest.mark.parametrize("name", served())
def test_every_table_takes_its_rows_and_gives_them_back(database: psycopg.Connection, name: str) -> None:
    table = served()[name]
    types = {column.name: column.type for column in table.columns}
    one = {
        "string": "x", "timestamp": START, "date": START.date(), "int": 1, "bigint": 1, "double": 0.5, "boolean": True,
        "decimal(38,18)": EIGHTEEN,
    }  # fmt: skip
    rows = [{column: one[types[column]] for column in table.key}]
    write(database, table, [arrow(table, rows)], {source.full_name: "1" for source in table.sources})
    write(database, table, [arrow(table, rows)], {source.full_name: "2" for source in table.sources})
    assert there(database, table) == expected(table, rows)


def test_a_postgresql_that_is_down_is_told_in_a_sentence(migrated: Settings) -> None:
    away = migrated.model_copy(update={"postgres_port": 1})
    with (
        pytest.raises(ServingError, match=r"PostgreSQL does not take the tables: .*the next run takes in"),
        connected(away),
    ):
        pass
