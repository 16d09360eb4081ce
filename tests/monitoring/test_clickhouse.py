"""How fresh ClickHouse's tables are, as a real one tells it."""

import time
from pathlib import Path

import pytest

from alerts.kinds._kind import SourceError
from monitoring.sources.clickhouse import TAKEN, ClickHouseSource
from serving.clickhouse.schema import MARKS
from serving.clickhouse.server import connected
from shared.settings import Settings


def test_when_each_table_was_filled_last_is_told(tmp_path: Path) -> None:
    pytest.importorskip("chdb", reason="chDB is not installed: ./test.sh does it")
    settings = Settings(clickhouse_url=f"chdb://{tmp_path}/clickhouse")
    with connected(settings) as client:
        for table, source in (("silver.fact_ohlcv", "a"), ("silver.fact_ohlcv", "b"), ("gold.signals", "c")):
            client.insert(MARKS, [[table, source, "1"]], ["table_name", "source", "mark"])
    [family] = ClickHouseSource(settings).ask()
    assert family.name == TAKEN
    told = {sample.labels["table"]: sample.value for sample in family.samples}
    assert told == {name: pytest.approx(time.time(), abs=60) for name in ("silver.fact_ohlcv", "gold.signals")}


def test_a_clickhouse_that_is_away_is_told() -> None:
    with pytest.raises(SourceError, match="ClickHouse: Connection refused"):
        list(ClickHouseSource(Settings(clickhouse_url="http://127.0.0.1:1")).ask())
