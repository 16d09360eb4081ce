"""The served tables in ClickHouse, of a deployment that has it: one multi-asset of which any part can be made."""

from collections.abc import Iterator

import dagster as dg
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import OperationalError

from crypto_pipeline.assets.served import ServingConfig, asset_specs, taken_in, wanted
from crypto_pipeline.change_feed import follow
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.spark import SparkConnect, tagged
from serving.clickhouse.server import ServingError, connected
from serving.clickhouse.writer import marks, write
from serving.tables import Served
from serving.writer import Written
from shared.settings import settings

_SPECS = asset_specs("clickhouse", "ClickHouse", lambda table: table.full_name)


@dg.multi_asset(name="clickhouse_tables", specs=_SPECS, can_subset=True, pool="clickhouse")
def clickhouse(
    context: dg.AssetExecutionContext, config: ServingConfig, spark: SparkConnect
) -> Iterator[dg.MaterializeResult[None]]:
    """Each table by itself; where one cannot be taken in, the others are."""
    tables = wanted(context, config, "clickhouse")
    try:
        with connected(settings()) as client, spark.lakehouse("clickhouse", context.run_id) as lake:

            def of(table: Served) -> Written:
                with tagged(lake, table.full_name, context.run_id):
                    return take_in(lake, client, table, whole=table.full_name in config.reload)

            yield from taken_in(context, "clickhouse", tables, of, OperationalError)
    except ServingError as error:
        raise dg.Failure(str(error)) from None


def take_in(lake: Lakehouse, client: Client, table: Served, *, whole: bool = False) -> Written:
    """What is new in the lake since the table was last filled; with `whole`, and the first time, all of it."""
    since = {} if whole else marks(client, table)
    feed = follow(lake, table, since)
    if feed.followed == since:
        return Written(0, 0)
    return write(client, table, feed.pieces, feed.followed, whole=not since)
