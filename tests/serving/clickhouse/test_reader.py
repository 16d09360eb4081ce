"""SQL on a real ClickHouse, answered in Arrow as the other engines answer."""

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner

from crypto_pipeline.cli import app, query
from crypto_pipeline.lake_sql import Lake, SqlError
from crypto_pipeline.reader import LakeError, as_floats
from serving.clickhouse import reader, trades
from serving.clickhouse.writer import write
from serving.tables import Served
from shared.settings import PROJECT, Settings
from shared.tables import Table
from tests.serving.rows import EIGHTEEN, START, arrow, candle
from tests.serving.test_reader import InMemory

Ask = Callable[[str], pa.Table]


@pytest.fixture
def asked(client: Client, candles: Served, settings: Settings) -> Ask:
    """Asks a database that has five candles, one of them in two versions."""
    write(client, candles, [arrow(candles, [candle(minute) for minute in range(5)])], {"x": "1"}, whole=True)
    write(client, candles, [arrow(candles, [candle(3)])], {"x": "2"})
    return lambda sql: reader.query(sql, settings)


@pytest.mark.parametrize(
    ("columns", "exact"),
    [("*", True), ("*", False), ("symbol, interval, close, sum(trade_count) OVER () AS trades", False)],
)
def test_the_answer_is_that_of_duckdb(asked: Ask, candles: Served, columns: str, exact: bool) -> None:
    sql = f"SELECT {columns} FROM silver.fact_ohlcv ORDER BY interval_start"
    table = Table("silver", "fact_ohlcv", candles.grain, candles.columns, candles.key)
    rows = arrow(candles, [candle(minute) for minute in range(5)])
    with Lake({table.full_name: table}, {}, lambda _table: InMemory(rows), exact=exact) as lake:
        expected = lake.query(sql)
    answer = asked(sql)
    if exact:
        assert answer.schema.types == expected.schema.types
    else:
        answer, expected = as_floats(answer), as_floats(expected)
    assert answer.to_pylist() == expected.to_pylist()


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("toDecimal128('0.000000000000000001', 18)", EIGHTEEN),
        ("toDecimal256('99999999999999999999999999999999999999999', 0)", Decimal("9" * 41)),
        ("toDate32('2026-11-01')", date(2026, 11, 1)),
        ("toDateTime64('2026-10-31 23:58:00', 6, 'UTC')", START),
        ("['a', NULL]", ["a", None]),
        ("toLowCardinality('é')", "é"),
        ("NULL", None),
    ],
)
def test_every_type_comes_as_arrow_has_it(settings: Settings, sql: str, value: object) -> None:
    assert reader.query(f"SELECT {sql}", settings).column(0).to_pylist() == [value]


def test_a_table_that_is_not_served_is_told_with_those_that_are(asked: Ask) -> None:
    with pytest.raises(SqlError, match=r"^ClickHouse has no table silver.trades. There are: bronze.trades, .*silver."):
        asked("SELECT * FROM silver.trades")


@pytest.mark.parametrize(
    "sql",
    [
        "selec 1",
        "SELECT nothing FROM silver.fact_ohlcv",
        "DELETE FROM silver.fact_ohlcv WHERE true",
        "INSERT INTO silver.fact_ohlcv (symbol) VALUES ('x')",
        "DROP TABLE silver.fact_ohlcv",
        "TRUNCATE TABLE silver.fact_ohlcv",
    ],
)
def test_wrong_sql_and_all_that_writes_is_a_sentence(asked: Ask, sql: str) -> None:
    with pytest.raises(SqlError) as failure:
        asked(sql)
    assert not re.search(r"\n|Code:|DB::|version", str(failure.value))
    assert asked("SELECT count() AS n FROM silver.fact_ohlcv").to_pylist() == [{"n": 5}]


def test_a_question_that_takes_too_long_is_ended_with_a_sentence(settings: Settings) -> None:
    with pytest.raises(SqlError, match="ask for less"):
        reader.query("SELECT sum(sleepEachRow(0.05)) FROM numbers(1000) SETTINGS max_execution_time = 1, "
                     "max_block_size = 1, function_sleep_max_microseconds_per_block = 10000000", settings)  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "value"),
    [
        ("sum(close * open) / sum(open)", "101.5"),
        ("any(open / close)", "0.985221674876847290"),
        ("sum(close)", "507.5"),
        ("max(close * open * trade_count)", "71050"),
        ("toFloat64(avg(close))", "101.5"),
    ],
)
def test_prices_are_multiplied_and_divided_without_an_overflow(asked: Ask, columns: str, value: str) -> None:
    [[answer]] = [row.values() for row in asked(f"SELECT {columns} FROM silver.fact_ohlcv").to_pylist()]
    assert answer == Decimal(value)


def test_a_decimal_too_wide_for_the_lakes_type_is_still_exact_and_a_float_where_it_is_wanted(
    settings: Settings,
) -> None:
    wide = reader.query("SELECT toDecimal256('123456789012345678901234567890.5', 18) AS x", settings)
    assert wide.to_pylist() == [{"x": Decimal("123456789012345678901234567890.5")}]
    assert as_floats(wide).to_pylist() == [{"x": 123456789012345678901234567890.5}]


def test_a_database_that_is_down_is_a_sentence() -> None:
    with pytest.raises(LakeError, match=r"^ClickHouse at 127.0.0.1:1 does not answer: .* Start it with ./deploy.sh"):
        reader.query("SELECT 1", Settings(clickhouse_url="http://127.0.0.1:1"))


def test_where_it_is_off_it_says_how_to_turn_it_on() -> None:
    with pytest.raises(LakeError, match="CLICKHOUSE_URL"):
        reader.query("SELECT 1", Settings())


def test_the_command_asks_it(asked: Ask, settings: Settings, monkeypatch: Any) -> None:
    monkeypatch.setattr("shared.settings.settings", lambda: settings)
    sql = "SELECT symbol, count(*) AS n, max(close) AS highest FROM silver.fact_ohlcv GROUP BY 1"
    result = CliRunner().invoke(app, ["query", "--engine", "clickhouse", sql, "--format", "csv"])
    assert (result.exit_code, result.output) == (0, "symbol,n,highest\nBTCUSDT,5,101.5\n")


def test_the_command_does_not_ask_it_as_of_a_time() -> None:
    result = CliRunner().invoke(app, ["query", "--engine", "clickhouse", "select 1", "--as-of", "2026-11-21T10:00"])
    assert result.exit_code == 2
    assert "ClickHouse has the latest version" in " ".join(result.output.replace("│", " ").split())


RECIPE = (PROJECT / "docs/recipes/clickhouse.md").read_text()
EXAMPLES = [
    *re.findall(r'--engine clickhouse "([^"]+)"', query.query.__doc__ or ""),
    *re.findall(r'--engine clickhouse "([^"]+)"', RECIPE),
    *re.findall(r"^```sql\n(.*?)^```$", RECIPE, re.DOTALL | re.MULTILINE),
]


@pytest.mark.parametrize("sql", EXAMPLES)
def test_every_example_is_answered(asked: Ask, client: Client, sql: str) -> None:
    trades.prepare(client)
    assert asked(sql).num_columns


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4
