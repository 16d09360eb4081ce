"""From pandas into a table of forecasts."""

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added
from shared.tables import Table


def frame(spark: SparkSession, rows: pd.DataFrame, schema: str) -> DataFrame:
    """Rows as Spark has them. A column of which nothing is known has no type: as float64 it could not be a time."""
    if rows.empty:
        return spark.createDataFrame([], schema)
    unknown = {str(name): None for name in rows.columns if rows[name].isna().all()}
    return spark.createDataFrame(rows.assign(**unknown), schema)


def as_rows(spark: SparkSession, rows: pd.DataFrame, table: Table) -> DataFrame:
    """Rows with the contract's columns, NaN as null; `ingestion_ts` and `month` (of `table.time`) are added."""
    columns = [column for column in table.columns if column.name not in ("ingestion_ts", "month")]
    schema = ", ".join(f"{column.name} {column.type}" for column in columns)
    made = frame(spark, rows[[column.name for column in columns]], schema)
    dated = added(made, ingestion_ts=F.current_timestamp())
    if table.time:
        dated = added(dated, month=F.date_format(table.time, "yyyy-MM"))
    return dated.select(table.column_names)
