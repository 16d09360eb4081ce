"""What the bronze tables share: columns of every event, and how a Kafka message becomes a row."""

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 (the name that all PySpark code gives it)

from shared.tables import DECIMAL, Column, Table

EVENT_COLUMNS = (
    Column("exchange", "string", "the market: binance is Binance spot"),
    Column("symbol", "string", "canonical: base and quote in upper case, joined"),
    Column("base_asset", "string", "what is traded"),
    Column("quote_asset", "string", "what it is priced in"),
    Column("event_time", "timestamp", "when it happened by the exchange's clock; null where it gives none"),
    Column("published_at", "timestamp", "when the exchange sent it, where it says so"),
    Column("received_at", "timestamp", "when we had it; null for archive and REST"),
    Column("ingested_at", "timestamp", "when the row was written"),
    Column("source", "string", "websocket, rest or archive"),
    Column("connection_id", "string", "the connection that brought it"),
)
ORDERING = Column("ordering", "bigint", "of two rows of one key the greater stays: better source, then earlier receipt")
DATE = Column("date", "string", "partition: UTC day of the event, yyyy-MM-dd")
HOUR = Column("hour", "string", "partition: UTC hour of the event, 00 to 23")
MONTH = Column("month", "string", "partition: UTC month, yyyy-MM")

_RANK_STEP = 10**18
_LATEST = 10**17
"""Microseconds far beyond any date (year 5138), so that ranks and times never mix."""


def events_of(messages: DataFrame, stream: str, fields: str) -> DataFrame:
    """The messages of one stream, parsed: the fields that all events have, and `fields` (DDL) of its own.

    `messages` has `value` (string), `stream` and `kafka_time`. Decimals stay strings here: `exact` casts them.
    """
    common = (
        "exchange string, symbol string, base_asset string, quote_asset string, event_time bigint, "
        "published_at bigint, received_at bigint, source string, connection_id string"
    )
    parsed = F.from_json("value", f"{common}, {fields}", {"mode": "FAILFAST"})
    return (
        messages.filter(F.col("stream") == stream)
        .select(parsed.alias("event"))
        .select("event.*")
        .withColumn("ingested_at", F.current_timestamp())
        .withColumns({name: moment(name) for name in ("event_time", "published_at", "received_at")})
    )


def moment(name: str) -> Expression:
    """The timestamp of a column of microseconds."""
    return F.timestamp_micros(F.col(name))


def exact(name: str) -> Expression:
    """The decimal of a string column. What does not fit fails the job: it was checked at the edge, so it is a fault."""
    value = F.col(name).cast(DECIMAL)
    fault = F.concat(F.lit(f"{name} does not fit {DECIMAL}: "), F.col(name))
    return F.when(F.col(name).isNull() | value.isNotNull(), value).otherwise(F.raise_error(fault).cast(DECIMAL))


def preferred_source() -> Expression:
    """The ordering of events of one identity: websocket before REST before archive, then the earlier receipt."""
    rank = F.when(F.col("source") == "websocket", 3).when(F.col("source") == "rest", 2).otherwise(1)
    received = F.coalesce(F.unix_micros("received_at"), F.lit(0))
    return rank * F.lit(_RANK_STEP) + F.lit(_LATEST) - received


def placed(rows: DataFrame, time: Expression) -> DataFrame:
    """With the partition columns `date` and `hour` of a time."""
    return rows.withColumn("date", F.date_format(time, "yyyy-MM-dd")).withColumn("hour", F.date_format(time, "HH"))


def shaped(rows: DataFrame, table: Table) -> DataFrame:
    """The columns that the table promises, in its order and types."""
    return rows.select([F.col(column.name).cast(column.type).alias(column.name) for column in table.columns])
