"""Gold on the deployed system."""

import pytest

from crypto_pipeline.catalog import table_modules, tables
from tests.system import SYMBOLS, System, wait_for

ANALYTICS = [name for name, module in table_modules().items() if getattr(module, "JOB", "") == "analytics"]


@pytest.fixture(scope="module", autouse=True)
def _made(system: System) -> None:
    """Gold is made once hours and candles are there."""
    wait_for(
        "a closed candle",
        lambda: system.query("select count(*) as n from silver.indicators where is_closed")[0]["n"],
    )
    with system.no_new_minute():
        system.run("analytics", {}, {})


@pytest.mark.parametrize("table", ANALYTICS)
def test_every_table_of_gold_is_made_with_the_columns_of_its_contract(system: System, table: str) -> None:
    described = system.query(f"select column_name as name from (describe select * from {table})")
    assert [row["name"] for row in described] == tables()[table].column_names


def test_what_cannot_be_told_yet_says_why(system: System) -> None:
    rows = system.query("select symbol, change_7d_percent, reason from gold.market_overview")
    assert {row["symbol"] for row in rows} >= set(SYMBOLS)
    assert all(row["reason"] for row in rows if row["change_7d_percent"] is None)


def test_the_overview_ranks_every_symbol(system: System) -> None:
    ranks = [row["volume_rank"] for row in system.query("select volume_rank from gold.market_overview")]
    assert len(ranks) >= len(SYMBOLS)
    assert sorted(ranks) == list(range(1, len(ranks) + 1))
