"""Columns added to a frame without an analysis of it, and rows that say something new."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from shared.tables import Table


def added(rows: DataFrame, **columns: Column) -> DataFrame:
    """The rows with these columns behind theirs; none of the names may be there already.

    Spark Connect analyses the whole plan beneath a `withColumn`, `withColumnRenamed`, `drop` or `distinct` before it
    goes on, so that a chain of them costs the square of its length. A `select` is only written down.
    """
    return rows.select("*", *[column.alias(name) for name, column in columns.items()])


def differing(built: DataFrame, current: DataFrame, table: Table) -> DataFrame:
    """The built rows that are not among the current ones, as the table takes them; `ingestion_ts` is now."""
    says = [name for name in table.column_names if name not in (*table.key, "ingestion_ts")]
    new = built.select(*table.key, F.struct(*says).alias("new"))
    old = current.select(*table.key, F.struct(*says).alias("old"))
    return (
        added(
            new.join(old, on=list(table.key), how="left").filter(~F.col("new").eqNullSafe(F.col("old"))),
            ingestion_ts=F.current_timestamp(),
        )
        .select(*table.key, "new.*", "ingestion_ts")
        .select(table.column_names)
    )
