"""Every trade, once."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze.common import (
    DATE,
    EVENT_COLUMNS,
    HOUR,
    ORDERING,
    events_of,
    exact,
    placed,
    preferred_source,
    shaped,
)
from shared.tables import DECIMAL, Column, Table

TABLE = Table(
    layer="bronze",
    name="trades",
    grain="One row per exchange, symbol and trade id",
    columns=(
        *EVENT_COLUMNS,
        Column("trade_id", "bigint", "the exchange's id; contiguous per symbol where the exchange's are"),
        Column("price", DECIMAL, "in the quote asset"),
        Column("quantity", DECIMAL, "in the base asset"),
        Column("quote_quantity", DECIMAL, "price * quantity, exact, in the quote asset"),
        Column("is_buyer_maker", "boolean", "the buyer's order was resting, so the taker sold"),
        ORDERING,
        DATE,
        HOUR,
    ),
    key=("exchange", "symbol", "trade_id"),
    partitions=("date", "hour"),
    time="event_time",
    ordering="ordering",
    rules={
        "price_is_positive": "price > 0",
        "quantity_is_positive": "quantity > 0",
        "trade_time_is_known": "event_time is not null",
        "source_is_known": "source in ('websocket', 'rest', 'archive')",
    },
)


def build(messages: DataFrame) -> DataFrame:
    """The trades among Kafka messages; which of two of one id stays is decided when they are written."""
    rows = events_of(
        messages,
        "trade",
        "trade_id bigint, price string, quantity string, quote_quantity string, is_buyer_maker boolean",
    )
    rows = rows.withColumns({name: exact(name) for name in ("price", "quantity", "quote_quantity")})
    return placed(rows, F.col("event_time")).withColumn("ordering", preferred_source()).transform(shaped, TABLE)
