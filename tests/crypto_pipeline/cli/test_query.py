import json

import pytest
from typer.testing import CliRunner

from crypto_pipeline.cli import _times, app


def test_an_answer_that_needs_no_table_needs_no_lake() -> None:
    result = CliRunner().invoke(app, ["query", "select 1.50 as price, 'x' as name", "--format", "json"])
    assert (result.exit_code, json.loads(result.output)) == (0, [{"price": 1.5, "name": "x"}])


def test_exact_keeps_the_decimal() -> None:
    result = CliRunner().invoke(app, ["query", "select 1.50 as price", "--format", "csv", "--exact"])
    assert result.output == "price\n1.50\n"


@pytest.mark.parametrize(
    ("sql", "message"),
    [("selec 1", "syntax error"), ("from ohlcv_1m", "There is no table ohlcv_1m. There are: silver.ohlcv_1m, ")],
)
def test_wrong_sql_ends_with_1_and_a_sentence(sql: str, message: str) -> None:
    result = CliRunner().invoke(app, ["query", sql])
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_every_table_and_view_is_there_by_its_name() -> None:
    result = CliRunner().invoke(app, ["query", "show all tables", "--format", "csv"])
    assert result.exit_code == 0
    assert "silver,fact_ohlcv," in result.output
    assert "gold,market_overview," in result.output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--as-of", "yesterday"], "--as-of 'yesterday' is no time: write 2026-11-21T10:00, in UTC."),
        (["--assume-live"], "--assume-live says what --as-of TIME shows: give both."),
    ],
)
def test_a_wrong_as_of_ends_with_2_and_a_sentence(options: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["query", "select 1", *options])
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_as_of_a_time_a_table_without_earlier_rows_is_refused(engine: str) -> None:
    result = CliRunner().invoke(
        app, ["query", "from gold.market_overview", "--as-of", "2026-11-21T10:00", "--engine", engine]
    )
    assert result.exit_code == 1
    assert result.output.startswith("As of a time there is no table gold.market_overview. There are: silver.")


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:01.700001", 1_700_001),
        ("1970-01-02", 86_400_000_000),
        ("1970-01-01T02:00:01+02:00", 1_000_000),
        (" 1970-01-01 00:00:01Z", 1_000_000),
    ],
)
def test_a_time_is_in_utc_where_it_names_no_zone_and_exact_to_the_microsecond(text: str, micros: int) -> None:
    assert _times.micros("--as-of", text) == micros
