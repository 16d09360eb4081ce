"""The rolling 24-hour statistics that the exchange sends each second."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze.common import (
    DATE,
    EVENT_COLUMNS,
    HOUR,
    ORDERING,
    events_of,
    exact,
    moment,
    placed,
    preferred_source,
    shaped,
)
from shared.tables import DECIMAL, Column, Table

_DECIMALS = {
    "last_price": "price of the last trade",
    "last_quantity": "quantity of the last trade",
    "open_price": "price 24 hours before",
    "high_price": "highest price of the 24 hours",
    "low_price": "lowest price of the 24 hours",
    "price_change": "last_price - open_price",
    "price_change_percent": "price change in percent of open_price",
    "weighted_average_price": "quote_volume / volume, as the exchange rounds it",
    "volume": "traded in 24 hours, in the base asset",
    "quote_volume": "traded in 24 hours, in the quote asset",
    "bid_price": "best bid",
    "bid_quantity": "quantity at the best bid",
    "ask_price": "best ask",
    "ask_quantity": "quantity at the best ask",
}

TABLE = Table(
    layer="bronze",
    name="tickers",
    grain="One row per exchange, symbol and event time",
    columns=(
        *EVENT_COLUMNS,
        *(Column(name, DECIMAL, comment) for name, comment in _DECIMALS.items()),
        Column("open_time", "timestamp", "start of the 24 hours"),
        Column("close_time", "timestamp", "end of the 24 hours"),
        Column("first_trade_id", "bigint", "first trade of the 24 hours"),
        Column("last_trade_id", "bigint", "last trade of the 24 hours"),
        Column("trade_count", "bigint", "trades in the 24 hours"),
        ORDERING,
        DATE,
        HOUR,
    ),
    key=("exchange", "symbol", "event_time"),
    partitions=("date", "hour"),
    ordering="ordering",
    rules={
        "ticker_time_is_known": "event_time is not null",
        "high_is_not_below_low": "high_price >= low_price",
    },
)


def build(messages: DataFrame) -> DataFrame:
    """The tickers among Kafka messages."""
    strings = ", ".join(f"{name} string" for name in _DECIMALS)
    rows = events_of(
        messages,
        "ticker",
        f"{strings}, open_time bigint, close_time bigint, first_trade_id bigint, last_trade_id bigint, "
        "trade_count bigint",
    )
    rows = rows.withColumns({name: exact(name) for name in _DECIMALS})
    rows = rows.withColumns({name: moment(name) for name in ("open_time", "close_time")})
    return placed(rows, F.col("event_time")).withColumn("ordering", preferred_source()).transform(shaped, TABLE)
