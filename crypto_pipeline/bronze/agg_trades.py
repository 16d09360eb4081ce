"""Fills that the exchange merged, only where single trades could not be had. They prove ids, and are no trades."""

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
    with_day,
)
from shared.events import AggTrade
from shared.tables import DECIMAL, Column, Table

EVENT = AggTrade
TABLE = Table(
    layer="bronze",
    name="agg_trades",
    grain="One row per exchange, symbol and agg trade id",
    columns=(
        *EVENT_COLUMNS,
        Column("agg_trade_id", "bigint", "the exchange's id of the merged fill"),
        Column("price", DECIMAL, "in the quote asset"),
        Column("quantity", DECIMAL, "of all its trades, in the base asset"),
        Column("quote_quantity", DECIMAL, "price * quantity, exact, in the quote asset"),
        Column("first_trade_id", "bigint", "id of its first trade"),
        Column("last_trade_id", "bigint", "id of its last trade"),
        Column("is_buyer_maker", "boolean", "the buyer's order was resting, so the taker sold"),
        ORDERING,
        DATE,
        HOUR,
        BROKEN_RULES,
    ),
    key=("exchange", "symbol", "agg_trade_id"),
    partitions=("date", "hour"),
    time="event_time",
    ordering="ordering",
    rules={"price_is_positive": "price > 0", "quantity_is_positive": "quantity > 0"} | NOT_IN_THE_FUTURE,
    marks={
        "ids_are_in_order": "first_trade_id <= last_trade_id",
        "price_is_within_the_day": "price between day_low and day_high",
    }
    | TIMELY,
)


def build(messages: DataFrame) -> DataFrame:
    """The merged fills among Kafka messages."""
    rows = with_day(events_of(messages, EVENT), messages, "event_time", "event_time")
    return placed(rows, F.col("event_time")).withColumn("ordering", preferred_source()).transform(shaped, TABLE)
