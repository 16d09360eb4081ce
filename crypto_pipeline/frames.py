"""Frames of rows that are in this process, columns added without an analysis, and rows that say something new."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.reader import arrow_type
from shared import tables
from shared.tables import Table

BULK = 20_000
"""So many rows do not go by way of Spark's driver."""
_stage: ContextVar[Callable[[pa.Table], str] | None] = ContextVar("stage", default=None)


@contextmanager
def staged_by(stage: Callable[[pa.Table], str]) -> Iterator[None]:
    """Inside the block bulky rows are laid where this puts them: it says at which path Spark finds them as Parquet."""
    token = _stage.set(stage)
    try:
        yield
    finally:
        _stage.reset(token)


def to_pandas(rows: DataFrame) -> pd.DataFrame:
    """The rows in this process, as `DataFrame.toPandas` gives them, without the plan's metrics.

    Over Spark Connect these come along as `attrs`, some thousand objects, and pandas copies them all with each column
    that is taken: of 52 s in which `gold.signal_performance` was made under a profiler, that was 43.
    """
    made: pd.DataFrame = rows.toPandas()
    made.attrs.clear()
    return made


def framed(spark: SparkSession, rows: pd.DataFrame, columns: Sequence[tables.Column]) -> DataFrame:
    """Rows of this process as Spark has them: the columns in their order, with their types; NaN is null.

    The server's driver holds what comes with a plan as objects, some 2 kB a row and for each use of it: the 262,325
    rows of the risk metrics of fifty symbols and thirty days ended it (896 MB of heap). So many come by a file.
    """
    schema = ", ".join(f"`{column.name}` {column.type}" for column in columns)
    if rows.empty:
        return spark.createDataFrame([], schema)
    # A column of which nothing is known has no type: as float64 it could not be a time.
    nothing = {column.name: None for column in columns if rows[column.name].isna().all()}
    wanted = rows[[column.name for column in columns]].assign(**nothing)
    stage = _stage.get()
    if len(wanted) < BULK or stage is None:
        return spark.createDataFrame(wanted, schema)
    types = pa.schema([(column.name, arrow_type(column.type)) for column in columns])
    return spark.read.schema(schema).parquet(stage(pa.Table.from_pandas(wanted, types, preserve_index=False)))


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
