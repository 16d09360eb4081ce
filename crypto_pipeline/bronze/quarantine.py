"""What may not go on, each with the rule that it breaks: rows, and messages that are no event."""

from collections.abc import Iterable
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.bronze.common import CANNOT_BE_PARSED, FAULT, MESSAGE, OF_ITS_WAY
from shared.tables import Column, Table

UNKNOWN_STREAM = "unknown_stream"
KEPT = "kept"
REPEATED = "repeated"
NO_TABLE = "bronze"
"""What `table_name` says of a message that no table takes."""
TABLE = Table(
    layer="bronze",
    name="quarantine",
    grain="One row per refused row or message and rule that it breaks",
    columns=(
        Column("table_name", "string", "the table that refused it; `bronze` where no table takes it"),
        Column("rule", "string", "name of the broken rule; cannot_be_parsed and unknown_stream are of messages"),
        Column("row_id", "string", "SHA-256 of the row"),
        Column("row", "string", "the row, whole, as JSON; of a message also its topic, partition and offset"),
        Column("quarantined_at", "timestamp", "when it was refused"),
        Column("date", "string", "partition: UTC day of receipt, else of the event, yyyy-MM-dd; of a message Kafka's"),
    ),
    key=("table_name", "rule", "row_id"),
    partitions=("date",),
    bucket="table_name",
    buckets=1,
)


def kept(rows: DataFrame, table: Table) -> DataFrame:
    """The rows that are events and keep every rule of the table, as the table takes them."""
    holds = [_holds(rule) for rule in table.rules.values()]
    return rows.filter(reduce(lambda left, right: left & right, holds, F.col(FAULT).isNull())).select(
        table.column_names
    )


def build(rows: DataFrame, table: Table) -> DataFrame:
    """A row for each rule that a row breaks, or for the message that is none."""
    broken = F.array_compact(F.array(*[F.when(~_holds(sql), F.lit(name)) for name, sql in table.rules.items()]))
    is_fault = F.col(FAULT).isNotNull()
    whole = F.to_json(F.struct(*[F.col(name) for name in table.column_names if name not in OF_ITS_WAY]))
    # From the row, not from our clock: the same row refused again tomorrow is the same row.
    times = [F.col(name) for name in ("received_at", "event_time") if name in table.column_names]
    day = F.date_format(F.coalesce(*times, F.lit(None)), "yyyy-MM-dd")
    return _refused(
        rows.select(
            F.explode(F.when(is_fault, F.array(F.col(FAULT))).otherwise(broken)).alias("rule"),
            F.when(is_fault, F.to_json(MESSAGE)).otherwise(whole).alias("row"),
            F.when(is_fault, _day_of_message(F.col(f"{MESSAGE}.kafka_time"))).otherwise(day).alias("date"),
        ),
        table.full_name,
    )


def counted(rows: DataFrame, table: Table) -> dict[str, int]:
    """How many rows are `kept`, how many break each rule and mark, and how many messages cannot be parsed.

    `repeated`: how many events, kept or not, have the key of another.
    """
    is_event = F.col(FAULT).isNull()
    holds = [_holds(rule) for rule in table.rules.values()]
    wanted = {
        KEPT: reduce(lambda left, right: left & right, holds, is_event),
        CANNOT_BE_PARSED: ~is_event,
        **{name: is_event & ~_holds(sql) for name, sql in table.rules.items()},
        **{name: is_event & F.array_contains("broken_rules", name) for name in table.marks},
    }
    sums = [F.sum(condition.cast("int")).alias(name) for name, condition in wanted.items()]
    # Some thousand numbers of eight bytes, and one stage less than a distinct count of the keys themselves.
    keys = F.size(F.collect_set(F.when(is_event, F.xxhash64(*table.key))))
    found = rows.agg(*sums, (F.count_if(is_event) - keys).alias(REPEATED)).collect()[0]
    return {name: int(found[name] or 0) for name in (*wanted, REPEATED)}


def unknown(messages: DataFrame, streams: Iterable[str]) -> DataFrame:
    """A row for each message that names none of the streams, or is not even JSON with a stream."""
    is_unknown = F.col("stream").isNull() | ~F.col("stream").isin(*streams)
    rule = F.when(F.col("stream").isNull(), F.lit(CANNOT_BE_PARSED)).otherwise(F.lit(UNKNOWN_STREAM))
    whole = F.to_json(F.struct(*[name for name in messages.columns if name != "stream"]))
    rows = messages.filter(is_unknown).select(
        rule.alias("rule"), whole.alias("row"), _day_of_message(F.col("kafka_time")).alias("date")
    )
    return _refused(rows, NO_TABLE)


def _refused(rows: DataFrame, table_name: str) -> DataFrame:
    return (
        rows.withColumn("date", F.coalesce("date", F.lit("unknown")))
        .withColumn("table_name", F.lit(table_name))
        .withColumn("row_id", F.sha2("row", 256))
        .withColumn("quarantined_at", F.current_timestamp())
        .select(TABLE.column_names)
    )


def _day_of_message(time: Any) -> Any:
    return F.date_format(time, "yyyy-MM-dd")


def _holds(rule: str) -> Any:
    """The rule is true; where it is null it is not."""
    return F.coalesce(F.expr(rule), F.lit(False))
