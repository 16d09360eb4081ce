"""Rows that may not go on, each with the rule that it breaks."""

from functools import reduce
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from shared.tables import Column, Table

TABLE = Table(
    layer="bronze",
    name="quarantine",
    grain="One row per refused row and rule that it breaks",
    columns=(
        Column("table_name", "string", "the table that refused it"),
        Column("rule", "string", "name of the broken rule"),
        Column("row_id", "string", "SHA-256 of the row"),
        Column("row", "string", "the row, whole, as JSON"),
        Column("quarantined_at", "timestamp", "when it was refused"),
        Column("date", "string", "partition: UTC day of the row's receipt, else of its event, yyyy-MM-dd"),
    ),
    key=("table_name", "rule", "row_id"),
    partitions=("date",),
    bucket="table_name",
    buckets=1,
)


def kept(rows: DataFrame, table: Table) -> DataFrame:
    """The rows that keep every rule of the table."""
    return rows.filter(reduce(lambda left, right: left & right, [_holds(rule) for rule in table.rules.values()]))


def build(rows: DataFrame, table: Table) -> DataFrame:
    """A row for each rule that a row breaks."""
    broken = F.array_compact(F.array(*[F.when(~_holds(sql), F.lit(name)) for name, sql in table.rules.items()]))
    whole = F.to_json(F.struct(*[F.col(name) for name in table.column_names if name != "ingested_at"]))
    return (
        rows.select(F.explode(broken).alias("rule"), whole.alias("row"), _day())
        .withColumn("table_name", F.lit(table.full_name))
        .withColumn("row_id", F.sha2("row", 256))
        .withColumn("quarantined_at", F.current_timestamp())
        .select(TABLE.column_names)
    )


def _day() -> Any:
    """From the row, not from our clock: the same row refused again tomorrow is the same row."""
    time = F.coalesce("received_at", "event_time")
    return F.coalesce(F.date_format(time, "yyyy-MM-dd"), F.lit("unknown")).alias("date")


def _holds(rule: str) -> Any:
    """The rule is true; where it is null it is not."""
    return F.coalesce(F.expr(rule), F.lit(False))
