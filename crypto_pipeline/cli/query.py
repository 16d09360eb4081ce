"""`crypto query`: SQL over the lake."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from crypto_pipeline.lake_part import Known
    from shared.settings import Settings


def query(
    sql: Annotated[str, typer.Argument(help="One statement, in quotes.", show_default=False)],
    format: Annotated[  # noqa: A002 (the name of the option)
        Literal["table", "csv", "json"], typer.Option(help="csv and json print all rows, table what fits.")
    ] = "table",
    engine: Annotated[
        Literal["duckdb", "spark", "postgres", "clickhouse"],
        typer.Option(
            help="spark: on the Connect server, in Spark's SQL; postgres and clickhouse: the tables that are served "
            "there."
        ),
    ] = "duckdb",
    exact: Annotated[bool, typer.Option("--exact", help="Keep decimals instead of making them float64.")] = False,
    as_of: Annotated[
        str,
        typer.Option("--as-of", metavar="TIME", help="The candles as they were known then; UTC.", show_default=False),
    ] = "",
    assume_live: Annotated[
        bool, typer.Option("--assume-live", help="With --as-of: what was imported was known when its interval ended.")
    ] = False,
) -> None:
    """Ask the lake in SQL, with tables by their names: `silver.ohlcv_1m`, `bronze.trades`, `gold.market_overview`.

    DuckDB reads just the columns that are needed, straight from the lake, and needs no service but the object store.
    A condition on the time of trades or candles (`event_time`, `interval_start`), or on a partition column (`date`,
    `hour`, `month`, `interval`), also spares reading the other partitions.
    Times are in UTC. Prices and quantities come as float64, so that any arithmetic works; with `--exact` they are the
    exact decimals of the tables, and strings in JSON.

    `--engine postgres` asks the copies in PostgreSQL, by its read-only role, in its SQL: `silver.fact_ohlcv`,
    `silver.indicators`, all of gold and some more, a minute or two behind. What takes longer than a minute is ended.

    `--engine clickhouse` asks those in ClickHouse in the same way, where `CLICKHOUSE` or `CLICKHOUSE_URL` turned it on:
    the same tables, and `bronze.trades` two seconds behind the exchange.

    With `--as-of` a back-test sees no more than was known: `silver.fact_ohlcv`, `silver.ohlcv_1m` and `silver.ohlcv`
    have the candles that had closed by then, each in the version of then (`silver.ohlcv_revisions` has all versions).
    Other tables keep no earlier rows and cannot be asked. Imported history is known from its import; with
    `--assume-live` the first version of every candle from the end of its interval. In DuckDB
    `silver.fact_ohlcv_as_of(TIME, assume_live := true)` gives the same, beside the tables of today.

    Examples:

    - `crypto query "show all tables"` and `crypto query "describe silver.fact_ohlcv"`
    - `crypto query "select interval, count(*) from silver.fact_ohlcv group by 1"`
    - `crypto query "select interval_start, open, high, low, close, volume from silver.ohlcv_1m where symbol = 'BTCUSDT'
      order by 1 desc limit 10"`
    - `crypto query "select symbol, interval_start, c.close, rsi_14, macd_hist_12_26_9 from silver.fact_ohlcv c
      join silver.indicators using (exchange, symbol, interval, interval_start) where interval = '5m'
      order by interval_start desc limit 20"`
    - `crypto query --engine postgres "select table_schema, table_name from information_schema.tables"`
    - `crypto query --engine clickhouse "select toStartOfSecond(event_time), count() from bronze.trades group by 1"`
    - `crypto query "from gold.market_overview order by volume_rank" --format json`
    - `crypto query "from bronze.trades where date = '2026-11-21' and hour = '08'" --exact --format csv > trades.csv`
    - `crypto query "select symbol, max(interval_end) from silver.fact_ohlcv group by 1" --as-of 2026-11-21T10:00`
    """
    import contextlib
    import sys

    from crypto_pipeline.cli import _answers
    from crypto_pipeline.lake_sql import SqlError
    from crypto_pipeline.reader import LakeError
    from shared.settings import settings

    known = _known(as_of, assume_live=assume_live)
    try:
        engines = {"duckdb": _by_duckdb, "spark": _by_spark, "postgres": _by_postgres, "clickhouse": _by_clickhouse}
        answer = engines[engine](sql, settings(), exact, known)
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


def _known(as_of: str, *, assume_live: bool) -> "Known | None":
    """What the two options say; none where it is now. Raises `BadParameter`."""
    from crypto_pipeline.cli import _times
    from crypto_pipeline.lake_part import Known

    if as_of:
        return Known(_times.micros("--as-of", as_of), assume_live)
    if assume_live:
        raise typer.BadParameter("--assume-live says what --as-of TIME shows: give both.")
    return None


def _by_duckdb(sql: str, settings: "Settings", exact: bool, known: "Known | None") -> "pa.Table":
    from crypto_pipeline import lake

    return lake.query(sql, settings, exact=exact, known=known)


def _by_postgres(sql: str, settings: "Settings", exact: bool, known: "Known | None") -> "pa.Table":
    from serving import reader

    return _served("PostgreSQL", reader.query, sql, settings, exact, known)


def _by_clickhouse(sql: str, settings: "Settings", exact: bool, known: "Known | None") -> "pa.Table":
    from serving.clickhouse import reader

    return _served("ClickHouse", reader.query, sql, settings, exact, known)


def _served(
    called: str,
    query: "Callable[[str, Settings], pa.Table]",
    sql: str,
    settings: "Settings",
    exact: bool,
    known: "Known | None",
) -> "pa.Table":
    from crypto_pipeline.reader import as_floats

    if known:
        raise typer.BadParameter(f"--as-of is for duckdb and spark: {called} has the latest version of a candle alone.")
    answer = query(sql, settings)
    return answer if exact else as_floats(answer)


def _by_spark(sql: str, settings: "Settings", exact: bool, known: "Known | None") -> "pa.Table":
    import re
    import socket
    from urllib.parse import urlsplit

    from crypto_pipeline import as_of, catalog
    from crypto_pipeline.lake_sql import SqlError, no_such_table
    from crypto_pipeline.reader import LakeError, as_floats

    statements = as_of.in_spark(sql, known.micros, assume_live=known.assume_live) if known else [sql]
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
        plan: Any = [session.sql(statement) for statement in statements][-1]._plan
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
