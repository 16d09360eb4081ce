import json

import pytest
from typer.testing import CliRunner

from crypto_pipeline.cli import app


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
