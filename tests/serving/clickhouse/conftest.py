"""ClickHouse as its embedded form, chDB, in a folder of the test; the code reaches it by the same client."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from serving.clickhouse.server import connected, reading
from serving.tables import Served, served
from shared.settings import Settings

pytest.importorskip("chdb", reason="chDB is not installed: ./test.sh does it")

Rows = Callable[[Served], list[dict[str, Any]]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of a deployment whose ClickHouse is empty."""
    return Settings(clickhouse_url=f"chdb://{tmp_path}/clickhouse")


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """The writer's."""
    with connected(settings) as made:
        yield made


@pytest.fixture
def candles() -> Served:
    return served()["silver.fact_ohlcv"]


def there(settings: Settings, table: Served) -> list[dict[str, Any]]:
    """The rows of a table as a reader sees them, all columns, by key."""
    names = ", ".join(f"`{name}`" for name in table.column_names)
    order = ", ".join(f"`{name}`" for name in table.key)
    with reading(settings) as reader:
        found: list[dict[str, Any]] = reader.query_arrow(
            f"SELECT {names} FROM {table.full_name} ORDER BY {order}", use_strings=True
        ).to_pylist()
    return found
