"""The best levels of the order book, as often as the exchange sends them."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze.common import (
    DATE,
    EVENT_COLUMNS,
    HOUR,
    ORDERING,
    events_of,
    placed,
    preferred_source,
    shaped,
)
from shared.tables import DECIMAL, Column, Table

_LEVELS = f"array<struct<price:{DECIMAL},quantity:{DECIMAL}>>"

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
    ),
    key=("exchange", "symbol", "update_id", "levels"),
    partitions=("date", "hour"),
    ordering="ordering",
    rules={"it_has_a_time": "coalesce(event_time, received_at) is not null"},
)


def build(messages: DataFrame) -> DataFrame:
    """The book snapshots among Kafka messages, placed by the exchange's time, else by our receipt."""
    rows = events_of(
        messages,
        "depth5",
        "update_id bigint, levels int, bids array<array<string>>, asks array<array<string>>",
    )
    rows = rows.withColumns({side: _levels(side) for side in ("bids", "asks")})
    time = F.coalesce("event_time", "received_at")
    return placed(rows, time).withColumn("ordering", preferred_source()).transform(shaped, TABLE)


def _levels(side: str):  # type: ignore[no-untyped-def] # pyspark's Column has two classes, one for Connect
    return F.transform(
        side,
        lambda level: F.struct(level[0].cast(DECIMAL).alias("price"), level[1].cast(DECIMAL).alias("quantity")),
    )
