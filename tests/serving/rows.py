"""Rows of served tables, as Arrow brings them from Spark."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.rows import dict_row

from crypto_pipeline.reader import arrow_type
from serving.tables import Served

MINUTE = timedelta(minutes=1)
START = datetime(2026, 10, 31, 23, 58, tzinfo=UTC)
"""So that a few minutes lie in two months."""
EIGHTEEN = Decimal(1).scaleb(-18)


def arrow(table: Served, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows with the types of the contract; columns that are not given are null."""
    types = [(c.name, pa.date32() if c.type == "date" else arrow_type(c.type)) for c in table.columns]
    return pa.Table.from_pylist([dict(row) for row in rows], pa.schema(types))


def candle(minute: int, close: str = "101.5", symbol: str = "BTCUSDT", **others: Any) -> dict[str, Any]:
    """A candle of one minute, some of whose columns are null."""
    return {
        "exchange": "binance",
        "symbol": symbol,
        "base_asset": symbol.removesuffix("USDT"),
        "quote_asset": "USDT",
        "interval": "1m",
        "interval_seconds": 60,
        "interval_start": START + minute * MINUTE,
        "interval_end": START + (minute + 1) * MINUTE,
        "open": Decimal("100"),
        "close": Decimal(close),
        "trade_count": 7,
        "is_closed": True,
        "status": "complete",
        "revision": 1,
        "ingestion_ts": START + (minute + 2) * MINUTE,
        **others,
    }


def there(database: psycopg.Connection, table: Served) -> list[dict[str, Any]]:
    """The rows of a table, all columns, by key."""
    asked = f"SELECT {', '.join(table.column_names)} FROM {table.full_name} ORDER BY {', '.join(table.key)}"
    with database.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(asked.encode()).fetchall()


def expected(table: Served, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What `there` gives when the table holds these rows."""
    whole = arrow(table, rows).to_pylist()
    return sorted(whole, key=lambda row: tuple(row[name] for name in table.key))
