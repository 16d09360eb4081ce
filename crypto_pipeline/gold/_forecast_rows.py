"""From pandas into a table of forecasts."""

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from crypto_pipeline.frames import added, framed
from shared.tables import Table


def as_rows(spark: SparkSession, rows: pd.DataFrame, table: Table) -> DataFrame:
    """Rows with the contract's columns, NaN as null; `ingestion_ts` and `month` (of `table.time`) are added."""
    columns = [column for column in table.columns if column.name not in ("ingestion_ts", "month")]
    dated = added(framed(spark, rows, columns), ingestion_ts=F.current_timestamp())
    if table.time:
        dated = added(dated, month=F.date_format(table.time, "yyyy-MM"))
    return dated.select(table.column_names)
