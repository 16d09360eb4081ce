"""Every WebSocket that we held, with the offset of the exchange's clock as it was measured on it."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze.common import events_of, shaped
from shared.events import ConnectionReport
from shared.symbol_manager import REFERENCE
from shared.tables import Column, Table

EVENT = ConnectionReport
TOPIC = REFERENCE
TABLE = Table(
    layer="bronze",
    name="connections",
    grain="One row per exchange and connection: its latest state",
    columns=(
        Column("exchange", "string", "the market: binance is Binance spot"),
        Column("connection_id", "string", "as in the rows that it brought"),
        Column("opened_at", "timestamp", "when it was open"),
        Column("closed_at", "timestamp", "when it ended; null while it lives"),
        Column("reason", "string", "why it ended; empty while it lives"),
        Column("channels", "bigint", "streams that it carries"),
        Column(
            "clock_offset",
            "bigint",
            "microseconds by which the exchange's clock is ahead of ours; measured, never corrected away",
        ),
        Column("updated_at", "timestamp", "when this was reported; of two rows of one connection the later stays"),
        Column("ingested_at", "timestamp", "when the row was written"),
        Column("date", "string", "partition: UTC day of opened_at, yyyy-MM-dd"),
    ),
    key=("exchange", "connection_id"),
    partitions=("date",),
    time="opened_at",
    ordering="updated_at",
    bucket="connection_id",
    buckets=1,
)


def build(messages: DataFrame) -> DataFrame:
    """The reports of connections among Kafka messages."""
    rows = events_of(messages, EVENT)
    return rows.withColumn("date", F.date_format("opened_at", "yyyy-MM-dd")).transform(shaped, TABLE)
