"""The rolling 24-hour statistics that the exchange sends each second."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze.common import (
    BROKEN_RULES,
    DATE,
    EVENT_COLUMNS,
    HOUR,
    NOT_IN_THE_FUTURE,
    ORDERING,
    TIMELY,
    events_of,
    placed,
    preferred_source,
    shaped,
)
from shared.events import Ticker
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

EVENT = Ticker
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
        BROKEN_RULES,
    ),
    key=("exchange", "symbol", "event_time"),
    partitions=("date", "hour"),
    ordering="ordering",
    rules={"prices_are_positive": "trade_count = 0 or least(last_price, high_price, low_price) > 0"}
    | NOT_IN_THE_FUTURE,
    marks={
        "book_is_not_crossed": "bid_price < ask_price",
        "sizes_are_positive": "least(bid_quantity, ask_quantity) > 0",
        "high_is_not_below_low": "high_price >= low_price",
        "price_is_within_the_day": "trade_count = 0 or last_price between low_price and high_price",
    }
    | TIMELY,
)


def build(messages: DataFrame) -> DataFrame:
    """The tickers among Kafka messages."""
    rows = placed(events_of(messages, EVENT), F.col("event_time"))
    return rows.withColumn("ordering", preferred_source()).transform(shaped, TABLE)
