"""The best levels of the order book, as often as the exchange sends them."""

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
from shared.events import DepthSnapshot
from shared.tables import DECIMAL, Column, Table

_LEVELS = f"array<struct<price:{DECIMAL},quantity:{DECIMAL}>>"

EVENT = DepthSnapshot
TABLE = Table(
    layer="bronze",
    name="depth",
    grain="One row per exchange, symbol, update id and number of levels",
    columns=(
        *EVENT_COLUMNS,
        Column("update_id", "bigint", "the exchange's id of the last change in this book"),
        Column("levels", "int", "how many levels a side the stream carries at most"),
        Column("bids", _LEVELS, "best first"),
        Column("asks", _LEVELS, "best first"),
        ORDERING,
        DATE,
        HOUR,
        BROKEN_RULES,
    ),
    key=("exchange", "symbol", "update_id", "levels"),
    partitions=("date", "hour"),
    ordering="ordering",
    rules={
        "it_has_a_time": "coalesce(event_time, received_at) is not null",
        "prices_are_positive": "forall(bids, level -> level.price > 0) and forall(asks, level -> level.price > 0)",
    }
    | NOT_IN_THE_FUTURE,
    marks={
        "book_is_not_crossed": "bids[0].price < asks[0].price",
        "sizes_are_positive": (
            "forall(bids, level -> level.quantity > 0) and forall(asks, level -> level.quantity > 0)"
        ),
    }
    | TIMELY,
)


def build(messages: DataFrame) -> DataFrame:
    """The book snapshots among Kafka messages, placed by the exchange's time, else by our receipt."""
    rows = placed(events_of(messages, EVENT), F.coalesce("event_time", "received_at"))
    return rows.withColumn("ordering", preferred_source()).transform(shaped, TABLE)
