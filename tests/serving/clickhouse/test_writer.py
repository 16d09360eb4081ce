"""The writer on a real ClickHouse: what a reader sees afterwards, whatever came and whatever ended it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import permutations
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from serving.clickhouse import writer
from serving.clickhouse.server import ServingError, connected
from serving.clickhouse.writer import marks, write
from serving.tables import Served, served
from serving.writer import Written
from shared.settings import PROJECT, Settings
from shared.tables import Column
from tests.serving.clickhouse.conftest import there
from tests.serving.rows import EIGHTEEN, START, arrow, candle, expected

MARKS = {"silver.ohlcv_1m": "20261101000000000", "silver.ohlcv": "20261101000000001"}
LATER = {"silver.ohlcv_1m": "20261101000100000", "silver.ohlcv": "20261101000000001"}


def fill(client: Client, table: Served, rows: list[dict[str, Any]], followed: dict[str, str] = MARKS) -> Written:
    return write(client, table, [arrow(table, rows)], followed, whole=not marks(client, table))


def test_what_came_is_there_in_its_months(client: Client, settings: Settings, candles: Served) -> None:
    rows = [candle(minute) for minute in range(5)]
    assert fill(client, candles, rows) == Written(5, 5)
    assert there(settings, candles) == expected(candles, rows)
    asked = "SELECT partition, sum(rows) FROM system.parts WHERE table = 'fact_ohlcv' AND active GROUP BY 1 ORDER BY 1"
    assert client.query(asked).result_rows == [("202610", 2), ("202611", 3)]
    assert marks(client, candles) == MARKS


def test_the_same_rows_again_change_nothing(client: Client, settings: Settings, candles: Served) -> None:
    rows = [candle(minute) for minute in range(5)]
    for _ in range(3):
        fill(client, candles, rows)
    assert there(settings, candles) == expected(candles, rows)


def test_late_data_replaces_its_rows(client: Client, settings: Settings, candles: Served) -> None:
    fill(client, candles, [candle(minute) for minute in range(5)])
    late = [candle(1), candle(2, close="99.000000000000000001", revision=2, vwap=None), candle(7)]
    fill(client, candles, late, LATER)
    assert there(settings, candles) == expected(candles, [candle(0), *late, candle(3), candle(4)])
    assert marks(client, candles) == LATER


def test_of_two_batches_that_of_the_later_commit_stays_though_it_was_attached_first(
    client: Client, settings: Settings, candles: Served
) -> None:
    """A killed run's last statement may be carried out when the next run has already written."""
    fill(client, candles, [candle(0, close="1")])
    fill(client, candles, [candle(0, close="3")], LATER)
    fill(client, candles, [candle(0, close="2")])
    assert [row["close"] for row in there(settings, candles)] == [Decimal(3)]


def test_rows_are_merged_without_a_change_for_readers(client: Client, settings: Settings, candles: Served) -> None:
    fill(client, candles, [candle(0, close="1")])
    fill(client, candles, [candle(0, close="2")], LATER)
    client.command("OPTIMIZE TABLE silver.fact_ohlcv FINAL")
    assert [row["close"] for row in there(settings, candles)] == [Decimal(2)]
    assert client.query("SELECT count() FROM silver.fact_ohlcv").result_rows == [(1,)]


def test_many_pieces_become_visible_together(
    client: Client, settings: Settings, candles: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "ROWS_AT_ONCE", 2)
    fill(client, candles, [candle(0)])
    seen = []

    def pieces() -> Iterator[pa.Table]:
        for minute in range(1, 6):
            yield arrow(candles, [candle(minute)])
            seen.append(len(there(settings, candles)))

    write(client, candles, pieces(), LATER)
    assert seen == [1] * 5
    assert len(there(settings, candles)) == 6


def test_a_run_that_fails_half_way_leaves_all_as_it_was_and_the_next_is_not_disturbed(
    client: Client, settings: Settings, candles: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "ROWS_AT_ONCE", 1)
    fill(client, candles, [candle(0)])

    def pieces() -> Iterator[pa.Table]:
        yield arrow(candles, [candle(1)])
        raise ConnectionError("Spark is gone")

    with pytest.raises(ConnectionError):
        write(client, candles, pieces(), LATER)
    assert there(settings, candles) == expected(candles, [candle(0)])
    assert marks(client, candles) == MARKS
    fill(client, candles, [candle(2)], LATER)
    assert there(settings, candles) == expected(candles, [candle(0), candle(2)])


def test_a_full_reload_removes_what_the_lake_has_no_longer_and_until_then_readers_see_the_old(
    client: Client, settings: Settings, candles: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "ROWS_AT_ONCE", 1)
    fill(client, candles, [candle(minute) for minute in range(5)])
    wanted = [candle(0), candle(3, close="1"), candle(9)]
    seen = []

    def pieces() -> Iterator[pa.Table]:
        for row in wanted:
            yield arrow(candles, [row])
            seen.append(len(there(settings, candles)))

    write(client, candles, pieces(), MARKS, whole=True)
    assert seen == [5, 5, 5]
    assert there(settings, candles) == expected(candles, wanted)


def test_a_table_whose_contract_changed_is_to_be_filled_anew(client: Client, settings: Settings) -> None:
    table = served()["silver.indicators"]
    row = {"exchange": "binance", "symbol": "BTCUSDT", "interval": "1m", "interval_start": START}
    fill(client, table, [row])
    assert marks(client, table) == MARKS
    wider = replace(table, columns=(*table.columns, Column("rsi_99", "double", "of the file")))
    assert marks(client, wider) == {}
    fill(client, wider, [{**row, "rsi_99": 50.0}])
    assert there(settings, wider) == expected(wider, [{**row, "rsi_99": 50.0}])
    assert marks(client, wider) == MARKS


KILLED = """
import os, signal
from serving.clickhouse import writer
from serving.clickhouse.server import connected
from serving.tables import served
from shared.settings import settings
from tests.serving.rows import arrow, candle

writer.ROWS_AT_ONCE = 1
candles = served()["silver.fact_ohlcv"]

def pieces():
    yield arrow(candles, [candle(0, close="1")])
    yield arrow(candles, [candle(9)])
    if not {after}:
        os.kill(os.getpid(), signal.SIGKILL)

with connected(settings()) as client:
    def insert(*_):
        os.kill(os.getpid(), signal.SIGKILL)  # all is attached, and not yet noted
    client.insert = insert
    writer.write(client, candles, pieces(), {later}, whole=not writer.marks(client, candles))
"""


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("after", [False, True], ids=["before it is visible", "before it is noted"])
def test_a_run_that_is_killed_leaves_a_whole_batch_or_none_and_the_next_makes_it_good(
    settings: Settings, candles: Served, is_first: bool, after: bool
) -> None:
    before = [] if is_first else [candle(0), candle(1)]
    if before:
        with connected(settings) as client:
            fill(client, candles, before)
    code = KILLED.format(after=after, later=LATER)
    environment = {**os.environ, "CLICKHOUSE_URL": settings.clickhouse_url}
    killed = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=PROJECT, check=False, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    came = [candle(0, close="1"), candle(9)]
    with connected(settings) as client:
        assert marks(client, candles) == (MARKS if before else {})
        if before or after:
            assert there(settings, candles) == expected(candles, [*came, *before[1:]] if after else before)
        fill(client, candles, came, LATER)
        assert there(settings, candles) == expected(candles, [*came, *before[1:]])
        assert marks(client, candles) == LATER


def kline(source: str, close: str, ordering: int) -> dict[str, Any]:
    return {
        "exchange": "binance", "symbol": "BTCUSDT", "interval": "1m", "open_time": START, "source": source,
        "close": Decimal(close), "ordering": ordering, "is_closed": True,
    }  # fmt: skip


KLINES = [("websocket", 10**18 + 5), ("websocket", 10**18 + 9), ("rest", 10**18 + 10), ("archive", 2 * 10**18)]


@pytest.mark.parametrize("came", list(permutations(KLINES))[::5])
def test_of_the_klines_of_a_minute_the_best_source_stays_whatever_came_first(
    client: Client, settings: Settings, came: tuple[tuple[str, int], ...]
) -> None:
    native = served()["bronze.bronze_ohlcv_native"]
    for number, (source, ordering) in enumerate(came):
        fill(client, native, [kline(source, str(ordering), ordering)], {"bronze.klines": str(number)})
    assert there(settings, native) == expected(native, [kline("websocket", str(10**18 + 9), 10**18 + 9)])


@hypothesis_settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.dictionaries(st.integers(0, 4), st.integers(1, 9), min_size=1), min_size=1, max_size=4),
    st.sets(st.integers(0, 3)),
)
def test_whatever_is_repeated_the_rows_are_the_latest_of_each_key(
    client: Client, settings: Settings, candles: Served, batches: list[dict[int, int]], repeated: set[int]
) -> None:
    latest: dict[int, int] = {}
    client.command("DROP TABLE IF EXISTS silver.fact_ohlcv SYNC")
    for number, batch in enumerate(batches):
        for _ in range(2 if number in repeated else 1):
            fill(client, candles, [candle(minute, close=str(close)) for minute, close in batch.items()],
                 {"silver.ohlcv_1m": str(number + 1)})  # fmt: skip
        latest |= batch
    wanted = [candle(minute, close=str(close)) for minute, close in latest.items()]
    assert there(settings, candles) == expected(candles, wanted)


@pytest.mark.parametrize(
    "value",
    [EIGHTEEN, -EIGHTEEN, Decimal("1e19"), Decimal("99999999999999999999.999999999999999999"), Decimal(0), None],
)
def test_decimals_are_exact_to_their_ends(
    client: Client, settings: Settings, candles: Served, value: Decimal | None
) -> None:
    fill(client, candles, [candle(0, volume=value)])
    assert there(settings, candles)[0]["volume"] == value


@pytest.mark.parametrize("value", [5e-324, 1.7976931348623157e308, 0.1 + 0.2, float("inf"), -0.0, None])
def test_doubles_come_out_as_they_went_in(client: Client, settings: Settings, value: float | None) -> None:
    table = served()["silver.order_book_1m"]
    row = {"exchange": "binance", "symbol": "BTCUSDT", "interval_start": START, "mid_price": value}
    fill(client, table, [row])
    assert there(settings, table)[0]["mid_price"] == value


@pytest.mark.parametrize("at", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 11, 1, 1, 2, 3, 456789, tzinfo=UTC)])
def test_times_are_exact_to_the_microsecond(client: Client, settings: Settings, candles: Served, at: datetime) -> None:
    fill(client, candles, [candle(0, known_at=at, interval_start=at)])
    assert there(settings, candles) == expected(candles, [candle(0, known_at=at, interval_start=at)])


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (None, None),
        ([], "[]"),
        (["is_not_late"], '["is_not_late"]'),
        (['say "no"', "é\n"], '["say \\"no\\"","\\u00e9\\n"]'),
    ],
)
def test_lists_come_out_as_their_json(
    client: Client, settings: Settings, broken: list[str] | None, text: str | None
) -> None:
    table = served()["bronze.gaps"]
    row = {"exchange": "binance", "symbol": "BTCUSDT", "gap_stream": "trade", "first_missing": -(2**63),
           "broken_rules": broken, "detail": "tab\tand 'quote'"}  # fmt: skip
    fill(client, table, [row])
    [found] = there(settings, table)
    assert (found["broken_rules"], found["first_missing"], found["detail"]) == (text, -(2**63), row["detail"])


def test_what_is_nested_has_every_digit(client: Client, settings: Settings) -> None:
    table = served()["gold.portfolio_performance"]
    lots = [{"acquired_at": 2**53 + 1, "units": EIGHTEEN, "cost": Decimal("12345678901234567890.5")}]
    fill(client, table, [{"portfolio": "p", "day": START, "asset": "TOTAL", "lots": lots}])
    [found] = there(settings, table)
    assert found["lots"] == '[{"acquired_at":9007199254740993,"units":0.000000000000000001,"cost":12345678901234567890.500000000000000000}]'  # fmt: skip  # noqa: E501
    lot = "Tuple(acquired_at Int64, units Decimal(38, 18), cost Decimal(38, 18))"
    asked = f"SELECT JSONExtract(assumeNotNull(lots), 'Array({lot})')[1].units FROM gold.portfolio_performance"
    assert client.query(asked).result_rows == [(EIGHTEEN,)]


def test_a_null_in_the_key_is_refused_and_changes_nothing(client: Client, settings: Settings, candles: Served) -> None:
    fill(client, candles, [candle(0)])
    with pytest.raises(DatabaseError):
        fill(client, candles, [candle(1), candle(2, symbol="X", interval=None)], LATER)
    assert there(settings, candles) == expected(candles, [candle(0)])


@pytest.mark.parametrize("name", served())
def test_every_table_takes_its_rows_and_gives_them_back(client: Client, settings: Settings, name: str) -> None:
    table = served()[name]
    types = {column.name: column.type for column in table.columns}
    one = {
        "string": "x", "timestamp": START, "date": START.date(), "int": 1, "bigint": 1, "double": 0.5, "boolean": True,
        "decimal(38,18)": EIGHTEEN,
    }  # fmt: skip
    rows = [{column: one.get(types[column]) for column in table.column_names}]
    for mark in "12":
        fill(client, table, rows, {source.full_name: mark for source in table.sources})
    assert there(settings, table) == expected(table, rows)


def test_a_clickhouse_that_is_down_is_told_in_a_sentence() -> None:
    with (
        pytest.raises(ServingError, match=r"^ClickHouse at 127.0.0.1:1 does not answer: Connection refused. What it"),
        connected(Settings(clickhouse_url=f"http://someone:{'secret'}@127.0.0.1:1")),
    ):
        pass


def test_the_tables_of_the_other_mode_are_left_alone(settings: Settings) -> None:
    with connected(settings):
        pass
    demo = Settings(CRYPTO_MODE="demo", clickhouse_url=settings.clickhouse_url)
    with pytest.raises(ServingError, match="of the mode live, and this deployment is demo"), connected(demo):
        pass
