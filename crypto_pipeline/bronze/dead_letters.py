"""Frames that the exchange's module could not parse, whole, with the reason."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze.common import events_of, shaped
from shared.events import DeadLetter
from shared.symbol_manager import DEAD_LETTERS
from shared.tables import Column, Table

EVENT = DeadLetter
TOPIC = DEAD_LETTERS
TABLE = Table(
    layer="bronze",
    name="dead_letters",
    grain="One row per frame that was refused at the edge",
    columns=(
        Column("exchange", "string", "the market that sent it"),
        Column("connection_id", "string", "the connection that brought it"),
        Column("received_at", "timestamp", "when we had it"),
        Column("frame_hash", "string", "SHA-256 of the frame"),
        Column("error", "string", "why it could not be parsed"),
        Column("frame", "string", "as it came"),
        Column("ingested_at", "timestamp", "when the row was written"),
        Column("date", "string", "partition: UTC day of receipt, yyyy-MM-dd"),
    ),
    key=("exchange", "connection_id", "received_at", "frame_hash"),
    partitions=("date",),
    time="received_at",
    bucket="exchange",
    buckets=1,
)


def build(messages: DataFrame) -> DataFrame:
    """The dead letters among Kafka messages."""
    rows = events_of(messages, EVENT).withColumn("frame_hash", F.sha2("frame", 256))
    return rows.withColumn("date", F.date_format("received_at", "yyyy-MM-dd")).transform(shaped, TABLE)
