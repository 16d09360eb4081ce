"""The served tables: what is new in the lake, taken into PostgreSQL, one multi-asset of which any part can be made."""

from collections.abc import Iterator

import dagster as dg
import psycopg

from crypto_pipeline.assets.served import ServingConfig, asset_specs, taken_in, wanted
from crypto_pipeline.change_feed import follow
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.spark import SparkConnect, tagged
from serving.tables import Served
from serving.writer import ServingError, Written, connected, marks, write
from shared.settings import settings

_SPECS = asset_specs("postgres", "PostgreSQL", lambda table: f"{settings().serving_database}.{table.full_name}")


@dg.multi_asset(name="served_tables", specs=_SPECS, can_subset=True, pool="serving")
def serving(
    context: dg.AssetExecutionContext, config: ServingConfig, spark: SparkConnect
) -> Iterator[dg.MaterializeResult[None]]:
    """Each table in a transaction of its own; where one cannot be taken in, the others are."""
    tables = wanted(context, config, "postgres")
    try:
        with connected(settings()) as database, spark.lakehouse("serving", context.run_id) as lake:

            def of(table: Served) -> Written:
                with tagged(lake, table.full_name, context.run_id):
                    return take_in(lake, database, table, whole=table.full_name in config.reload)

            yield from taken_in(context, "postgres", tables, of, psycopg.OperationalError)
    except ServingError as error:
        raise dg.Failure(str(error)) from None


def take_in(lake: Lakehouse, database: psycopg.Connection, table: Served, *, whole: bool = False) -> Written:
    """What is new in the lake since the table was last filled; with `whole` all of it, and no other row."""
    since = {} if whole else marks(database, table)
    feed = follow(lake, table, since)
    if feed.followed == since:
        return Written(0, 0)
    return write(database, table, feed.pieces, feed.followed, whole=whole)
