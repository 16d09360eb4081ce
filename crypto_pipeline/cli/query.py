"""`crypto query`: SQL over the lake."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    import pyarrow as pa

    from shared.settings import Settings


def query(
    sql: Annotated[str, typer.Argument(help="One statement, in quotes.", show_default=False)],
    format: Annotated[  # noqa: A002 (the name of the option)
        Literal["table", "csv", "json"], typer.Option(help="csv and json print all rows, table what fits.")
    ] = "table",
    engine: Annotated[
        Literal["duckdb", "spark"], typer.Option(help="spark: on the Connect server, in Spark's SQL.")
    ] = "duckdb",
    exact: Annotated[bool, typer.Option("--exact", help="Keep decimals instead of making them float64.")] = False,
) -> None:
    """Ask the lake in SQL, with tables by their names: `silver.ohlcv_1m`, `bronze.trades`, `gold.market_overview`.

    DuckDB reads just the columns that are needed, straight from the lake, and needs no service but the object store.
    A condition on a partition column (`date`, `hour`, `month`, `interval`) also spares reading the other partitions.
    Times are in UTC. Prices and quantities come as float64, so that any arithmetic works; with `--exact` they are the
    exact decimals of the tables, and strings in JSON.

    Examples:

    - `crypto query "show all tables"` and `crypto query "describe silver.fact_ohlcv"`
    - `crypto query "select interval, count(*) from silver.fact_ohlcv group by 1"`
    - `crypto query "select interval_start, open, high, low, close, volume from silver.ohlcv_1m where symbol = 'BTCUSDT'
      order by 1 desc limit 10"`
    - `crypto query "select symbol, interval_start, c.close, rsi_14, macd_hist_12_26_9 from silver.fact_ohlcv c
      join silver.indicators using (exchange, symbol, interval, interval_start) where interval = '5m'
      order by interval_start desc limit 20"`
    - `crypto query "from gold.market_overview order by volume_rank" --format json`
    - `crypto query "from bronze.trades where date = '2026-11-21' and hour = '08'" --exact --format csv > trades.csv`
    """
    import contextlib
    import sys

    from crypto_pipeline.cli import _answers
    from crypto_pipeline.lake_sql import SqlError
    from crypto_pipeline.reader import LakeError
    from shared.settings import settings

    try:
        answer = (_by_spark if engine == "spark" else by_duckdb)(sql, settings(), exact)
    except (SqlError, LakeError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    if not answer.num_columns:
        return
    with contextlib.suppress(BrokenPipeError):  # as with `| head`
        if format == "csv":
            _answers.write_csv(answer, sys.stdout)
        elif format == "json":
            _answers.write_json(answer, sys.stdout)
        else:
            _answers.write_table(answer, _answers.console())
        sys.stdout.flush()


def by_duckdb(sql: str, settings: "Settings", exact: bool) -> "pa.Table":
    """The answer of DuckDB in this process. Raises `SqlError` or `LakeError`."""
    from crypto_pipeline import catalog
    from crypto_pipeline.lake_sql import Lake
    from crypto_pipeline.reader import as_floats, open_table

    with Lake(catalog.tables(), catalog.views(), lambda table: open_table(table, settings), exact=exact) as lake:
        answer = lake.query(sql)
    return answer if exact else as_floats(answer)


def _by_spark(sql: str, settings: "Settings", exact: bool) -> "pa.Table":
    import re
    import socket
    from urllib.parse import urlsplit

    from crypto_pipeline import catalog
    from crypto_pipeline.lake_sql import SqlError, no_such_table
    from crypto_pipeline.reader import LakeError, as_floats

    server = urlsplit(settings.spark_connect_url)
    try:
        socket.create_connection((server.hostname or "", server.port or 15002), timeout=2).close()
    except OSError:
        # Spark's own client would go on trying for minutes.
        raise LakeError(
            f"Spark is not running: nothing answers at {server.hostname}:{server.port}. Start it with ./deploy.sh, or "
            "ask with --engine duckdb, which needs no Spark."
        ) from None

    from pyspark.errors import PySparkException
    from pyspark.sql.connect.session import SparkSession

    session = SparkSession.builder.remote(f"{settings.spark_connect_url}/;user_id=query").create()
    try:
        # What `toPandas` does, without pandas' loss of types; PySpark 4 calls it `toArrow`.
        plan: Any = session.sql(sql)._plan
        answer, _ = session.client.to_table(plan.to_proto(session.client))
    except PySparkException as error:
        text = str(error)
        if "TABLE_OR_VIEW_NOT_FOUND" in text and (name := re.search(r"`([^`]+)`(?:\.`([^`]+)`)?", text)):
            names = [*catalog.tables(), *catalog.views()]
            raise SqlError(no_such_table(".".join(filter(None, name.groups())), names)) from None
        raise SqlError(re.split(r"\n\nJVM stacktrace|;\n'|\n\tat ", text)[0].strip()) from None
    finally:
        session.client.close()
    return answer if exact else as_floats(answer)
