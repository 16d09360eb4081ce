"""Gold on the deployed system."""

import pytest

from crypto_pipeline.catalog import table_modules
from tests.system import System, wait_for

ANALYTICS = [name for name, module in table_modules().items() if getattr(module, "JOB", "") == "analytics"]


@pytest.fixture(scope="module", autouse=True)
def _made(system: System) -> None:
    """Gold is made once hours and candles are there."""
    wait_for(
        "a closed candle",
        lambda: system.query("select count(*) as n from silver.indicators where is_closed")[0]["n"],
        seconds=300,
    )
    system.launch("analytics", {}, {})


@pytest.mark.parametrize("table", ANALYTICS)
def test_every_table_of_gold_is_made(system: System, table: str) -> None:
    def made() -> bool:
        [asset] = [asset for asset in system.status()["assets"] if asset["asset"] == table]
        return asset["materialized_at"] is not None

    wait_for(f"{table}, made", made, seconds=900, every=5)
    assert system.query(f"select count(*) as n from {table}")[0]["n"] >= 0


def test_what_cannot_be_told_yet_says_why(system: System) -> None:
    sql = "select count(*) as n, count_if((value is null) = (reason is null)) as wrong from gold.risk_metrics"
    assert system.query(sql)[0]["wrong"] == 0
    sql = "select count(*) as n, count_if(change_24h_percent is null and reason is null) as wrong from {}"
    found = system.query(sql.format("gold.market_overview"))[0]
    assert found["n"] >= 5
    assert found["wrong"] == 0
