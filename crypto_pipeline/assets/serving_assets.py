"""The served tables: what is new in the lake, taken into PostgreSQL, one multi-asset of which any part can be made."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg
import psycopg
from pydantic import Field

from crypto_pipeline.assets import specs
from crypto_pipeline.change_feed import follow
from crypto_pipeline.lakehouse import Lakehouse
from crypto_pipeline.spark import SparkConnect, tagged
from serving.tables import Served, served
from serving.writer import ServingError, Written, connected, marks, write
from shared.settings import settings

LOOKED_AT = "looked_at"
"""Since when the rows of a materialization are: what the lake got later is not among them."""


class ServingConfig(dg.Config):
    """`reload` names tables that are filled anew from all of the lake, such as `silver.fact_ohlcv`."""

    reload: list[str] = Field(default=[])


def key(table: Served) -> dg.AssetKey:
    """`silver.fact_ohlcv` is the asset `postgres/silver/fact_ohlcv`."""
    return dg.AssetKey(["postgres", table.layer, table.name])


def _spec(table: Served) -> dg.AssetSpec:
    columns = [dg.TableColumn(column.name, column.type, column.comment) for column in table.columns]
    return dg.AssetSpec(
        key(table),
        deps=[dg.AssetKey(table.shows.split("."))],
        group_name="serving",
        kinds={"postgres"},
        description=f"**{table.grain}.**\n\nRows of `{table.shows}` in PostgreSQL.\n\nKey: `{', '.join(table.key)}`",
        metadata={
            "dagster/column_schema": dg.TableSchema(columns=columns),
            "dagster/table_name": f"{settings().serving_database}.{table.full_name}",
        },
        skippable=True,
    )


@dg.multi_asset(name="served_tables", specs=[_spec(t) for t in served().values()], can_subset=True, pool="serving")
def serving(
    context: dg.AssetExecutionContext, config: ServingConfig, spark: SparkConnect
) -> Iterator[dg.MaterializeResult[None]]:
    """Each table in a transaction of its own; where one cannot be taken in, the others are."""
    wanted = [table for table in served().values() if key(table) in context.selected_asset_keys]
    if unknown := set(config.reload) - {table.full_name for table in wanted}:
        raise dg.Failure(f"{', '.join(sorted(unknown))} is not filled by this run: see `reload`.", allow_retries=False)
    failed: dict[str, Exception] = {}
    try:
        with connected(settings()) as database, spark.lakehouse("serving", context.run_id) as lake:
            for table in wanted:
                began = datetime.now(UTC).timestamp()
                try:
                    with tagged(lake, table.full_name, context.run_id):
                        done = take_in(lake, database, table, whole=table.full_name in config.reload)
                except psycopg.OperationalError:
                    raise
                except Exception as error:  # noqa: BLE001 (the other tables are to be served too)
                    failed[table.full_name] = error
                    context.log.warning(f"{table.full_name}: {error}")
                else:
                    yield _result(table, done, began)
    except ServingError as error:
        raise dg.Failure(str(error)) from None
    if failed:
        name, first = next(iter(failed.items()))
        raise dg.Failure(f"{', '.join(failed)} could not be served; {name}: {first}") from first


def take_in(lake: Lakehouse, database: psycopg.Connection, table: Served, *, whole: bool = False) -> Written:
    """What is new in the lake since the table was last filled; with `whole` all of it, and no other row."""
    since = {} if whole else marks(database, table)
    feed = follow(lake, table, since)
    if feed.followed == since:
        return Written(0, 0)
    return write(database, table, feed.pieces, feed.followed, whole=whole)


def _result(table: Served, done: Written, began: float) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(
        asset_key=key(table),
        metadata={
            "rows_written": done.changed,
            "rows_received": done.received,
            "rows_removed": done.removed,
            "seconds": round(time.time() - began, 2),
            LOOKED_AT: dg.MetadataValue.timestamp(began),
        },
    )


def due(instance: dg.DagsterInstance) -> Sequence[dg.AssetKey]:
    """The tables of which a source was made after it was last looked at."""
    keys = {key(table): [specs.key(source) for source in table.sources] for table in served().values()}
    asked = {each for own, sources in keys.items() for each in (own, *sources)}
    entries = {r.asset_entry.asset_key: r.asset_entry for r in instance.get_asset_records(list(asked))}
    made = {each: e.last_materialization for each, e in entries.items() if e.last_materialization}
    return [own for own, sources in keys.items() if _is_due(made, own, sources)]


def _is_due(made: Mapping[dg.AssetKey, dg.EventLogEntry], own: dg.AssetKey, sources: Sequence[dg.AssetKey]) -> bool:
    materialization = made[own].asset_materialization if own in made else None
    noted = materialization.metadata.get(LOOKED_AT) if materialization else None
    looked_at = noted.value if isinstance(noted, dg.TimestampMetadataValue) else 0.0
    return any(source in made and made[source].timestamp > looked_at for source in sources)
