"""The minutes of an hour with what is known of each, read from the lake itself, without Spark."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline import reader
from crypto_pipeline.catalog import tables
from shared.settings import Settings
from shared.tables import Column

TABLE = tables("silver")["silver.completeness"]
Rows = tuple[Sequence[Column], list[tuple[Any, ...]]]
"""Columns, and the rows in their order."""
HourOf = Callable[[Settings, str, str, datetime, datetime], Rows]
SHOWN = [name for name in TABLE.column_names if name not in ("exchange", "symbol", "first_minute", "month")]


def of_an_hour(settings: Settings, exchange: str, symbol: str, start: datetime, end: datetime) -> Rows:
    """The minutes of a symbol in order. Raises `LakeError`."""
    months = sorted({f"{at.astimezone(UTC):%Y-%m}" for at in (start, end)})
    pieces = reader.open_table(TABLE, settings).batches(
        ["exchange", "symbol", *SHOWN], [("month", "IN", ",".join(months))]
    )
    wanted = (
        (pc.field("exchange") == exchange)
        & (pc.field("symbol") == symbol)
        & (pc.field("interval_start") >= pa.scalar(start, pa.timestamp("us", "UTC")))
        & (pc.field("interval_start") < pa.scalar(end, pa.timestamp("us", "UTC")))
    )
    found = [row for piece in pieces for row in pa.Table.from_batches([piece]).filter(wanted).to_pylist()]
    kept = {column.name: column for column in TABLE.columns}
    rows = [tuple(row[name] for name in SHOWN) for row in sorted(found, key=lambda row: row["interval_start"])]
    return [kept[name] for name in SHOWN], rows
