"""SQL on a real PostgreSQL, answered in Arrow as the other engines answer."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from crypto_pipeline.cli import app, query
from crypto_pipeline.lake_sql import Lake, SqlError
from crypto_pipeline.reader import LakeError, as_floats
from serving import reader
from serving.tables import Served, served
from serving.writer import write
from shared.settings import Settings
from shared.tables import Table
from tests.serving.rows import EIGHTEEN, START, arrow, candle


@pytest.fixture
def asked(database: psycopg.Connection, candles: Served, migrated: Settings) -> Callable[[str], pa.Table]:
    """Asks a database that has five candles."""
    write(database, candles, [arrow(candles, [candle(minute) for minute in range(5)])], {})
    return lambda sql: reader.query(sql, migrated)


class InMemory:
    """The same rows, as DuckDB is given them."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows

    def read(self, columns: Any = None, filters: Any = ()) -> pa.Table:
        return self._rows.select(columns or self._rows.column_names)

    def partitions(self) -> list[dict[str, str]]:
        return []


@pytest.mark.parametrize(
    ("columns", "exact"),
    [("*", True), ("*", False), ("close * 2 AS twice, vwap, sum(close) OVER () AS total", False)],
)
def test_the_answer_is_that_of_duckdb(
    asked: Callable[[str], pa.Table], candles: Served, columns: str, exact: bool
) -> None:
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
        ("1e-18::numeric(38,18)", EIGHTEEN),
        ("99999999999999999999999999999999999999999::numeric(41,0)", Decimal("9" * 41)),
        ("sum(x) FROM (VALUES (1::bigint), (2)) v (x)", Decimal(3)),
        ("'NaN'::numeric", "NaN"),
        ("date '2026-11-01'", date(2026, 11, 1)),
        ("timestamptz '2026-10-31 23:58Z'", START),
        ("ARRAY['a', NULL]", ["a", None]),
        ("""'[{"price": 1.1, "count": 2}]'::jsonb""", [{"price": Decimal("1.1"), "count": 2}]),
        ("""'{"a": [1, "x"]}'::jsonb""", "{'a': [1, 'x']}"),
        ("interval '90 minutes'", "1:30:00"),
        ("NULL", None),
    ],
)
def test_every_type_comes_as_arrow_has_it(migrated: Settings, sql: str, value: object) -> None:
    assert reader.query(f"SELECT {sql}", migrated).column(0).to_pylist() == [value]


def test_a_table_that_is_not_served_is_told_with_those_that_are(asked: Callable[[str], pa.Table]) -> None:
    with pytest.raises(SqlError, match=r"^PostgreSQL has no table silver.trades. There are: .*silver.fact_ohlcv"):
        asked("SELECT * FROM silver.trades")


@pytest.mark.parametrize("sql", ["selec 1", "SELECT nothing FROM silver.fact_ohlcv", "DELETE FROM silver.fact_ohlcv"])
def test_wrong_sql_is_a_sentence(asked: Callable[[str], pa.Table], sql: str) -> None:
    with pytest.raises(SqlError) as failure:
        asked(sql)
    assert "\n" not in str(failure.value)


def test_a_question_that_takes_too_long_is_ended_with_a_sentence(migrated: Settings) -> None:
    with pytest.raises(SqlError, match=r"statement timeout: ask for less"):
        reader.query("SET statement_timeout = '50ms'; SELECT pg_sleep(10)", migrated)


def test_a_database_that_is_down_is_a_sentence(migrated: Settings) -> None:
    with pytest.raises(LakeError, match=r"PostgreSQL does not answer: .* Start it with ./deploy.sh"):
        reader.query("SELECT 1", migrated.model_copy(update={"postgres_port": 1}))


def test_the_command_asks_it(asked: Callable[[str], pa.Table], migrated: Settings, monkeypatch: Any) -> None:
    monkeypatch.setattr("shared.settings.settings", lambda: migrated)
    sql = "SELECT symbol, count(*) AS n, max(close) AS highest FROM silver.fact_ohlcv GROUP BY 1"
    result = CliRunner().invoke(app, ["query", "--engine", "postgres", sql, "--format", "csv"])
    assert (result.exit_code, result.output) == (0, "symbol,n,highest\nBTCUSDT,5,101.5\n")


def test_the_command_does_not_ask_it_as_of_a_time() -> None:
    result = CliRunner().invoke(app, ["query", "--engine", "postgres", "select 1", "--as-of", "2026-11-21T10:00"])
    assert result.exit_code == 2
    assert "PostgreSQL has the latest version" in " ".join(result.output.replace("│", " ").split())


def test_the_example_of_the_help_names_the_served_tables(migrated: Settings) -> None:
    [line] = [line for line in (query.query.__doc__ or "").splitlines() if '--engine postgres "' in line]
    sql = line.split('"')[1] + " where table_schema in ('bronze', 'silver', 'gold')"
    names = {f"{row['table_schema']}.{row['table_name']}" for row in reader.query(sql, migrated).to_pylist()}
    assert set(served()) <= names
