"""Columns added to a frame without an analysis of it."""

from pyspark.sql import Column, DataFrame


def added(rows: DataFrame, **columns: Column) -> DataFrame:
    """The rows with these columns behind theirs; none of the names may be there already.

    Spark Connect analyses the whole plan beneath a `withColumn`, `withColumnRenamed`, `drop` or `distinct` before it
    goes on, so that a chain of them costs the square of its length. A `select` is only written down.
    """
    return rows.select("*", *[column.alias(name) for name, column in columns.items()])
