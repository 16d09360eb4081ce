"""What the served tables of every database have in common: their assets, when they are due, and a run of them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import dagster as dg
from pydantic import Field

from crypto_pipeline.assets import specs
from serving.tables import CANDLES, Served, served
from serving.writer import Written

Database = Literal["postgres", "clickhouse"]
_AWAITED = (CANDLES, "gold.signals", "gold.anomalies")
"""Served first: alerts wait for them, after a run of gold before all its other tables."""
LOOKED_AT = "looked_at"
"""Since when the rows of a materialization are: what the lake got later is not among them."""


class ServingConfig(dg.Config):
    """`reload` names tables that are filled anew from all of the lake, such as `silver.fact_ohlcv`."""

    reload: list[str] = Field(default=[])


def key(table: Served, database: Database = "postgres") -> dg.AssetKey:
    """`silver.fact_ohlcv` is the asset `postgres/silver/fact_ohlcv`."""
    return dg.AssetKey([database, table.layer, table.name])


def asset_specs(database: Database, called: str, name: Callable[[Served], str]) -> list[dg.AssetSpec]:
    """An asset for each table; `called` is the database in words, `name` how it names a table."""
    return [
        dg.AssetSpec(
            key(table, database),
            deps=[dg.AssetKey(table.shows.split("."))],
            group_name="serving",
            kinds={database},
            description=f"**{table.grain}.**\n\nRows of `{table.shows}` in {called}.\n\nKey: `{', '.join(table.key)}`",
            metadata={
                "dagster/column_schema": dg.TableSchema(
                    columns=[dg.TableColumn(column.name, column.type, column.comment) for column in table.columns]
                ),
                "dagster/table_name": name(table),
            },
            skippable=True,
        )
        for table in served().values()
    ]


def wanted(context: dg.AssetExecutionContext, config: ServingConfig, database: Database) -> list[Served]:
    """The tables of a run, those first for which alerts wait. Raises `dg.Failure` where `reload` names another."""
    found = [table for table in served().values() if key(table, database) in context.selected_asset_keys]
    found.sort(key=lambda table: table.full_name not in _AWAITED)
    if unknown := set(config.reload) - {table.full_name for table in found}:
        raise dg.Failure(f"{', '.join(sorted(unknown))} is not filled by this run: see `reload`.", allow_retries=False)
    return found


def taken_in(
    context: dg.AssetExecutionContext,
    database: Database,
    tables: Sequence[Served],
    take_in: Callable[[Served], Written],
    away: type[Exception],
) -> Iterator[dg.MaterializeResult[None]]:
    """Take in one table after the other; where one cannot be, the others are. Raises `dg.Failure` at the end then.

    After an error `away` no other is tried: it is raised.
    """
    failed: dict[str, Exception] = {}
    for table in tables:
        began = datetime.now(UTC).timestamp()
        try:
            done = take_in(table)
        except away:
            raise
        except Exception as error:  # noqa: BLE001 (the other tables are to be served too)
            failed[table.full_name] = error
            context.log.warning(f"{table.full_name}: {error}")
        else:
            yield _result(key(table, database), done, began)
    if failed:
        name, first = next(iter(failed.items()))
        raise dg.Failure(f"{', '.join(failed)} could not be served; {name}: {first}") from first


def _result(asset: dg.AssetKey, done: Written, began: float) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(
        asset_key=asset,
        metadata={
            "rows_written": done.changed,
            "rows_received": done.received,
            "rows_removed": done.removed,
            "seconds": round(time.time() - began, 2),
            LOOKED_AT: dg.MetadataValue.timestamp(began),
        },
    )


def due(instance: dg.DagsterInstance, database: Database = "postgres") -> Sequence[dg.AssetKey]:
    """The tables of which a source was made after it was last looked at."""
    keys = {key(table, database): [specs.key(source) for source in table.sources] for table in served().values()}
    asked = {each for own, sources in keys.items() for each in (own, *sources)}
    entries = {r.asset_entry.asset_key: r.asset_entry for r in instance.get_asset_records(list(asked))}
    made = {each: e.last_materialization for each, e in entries.items() if e.last_materialization}
    return [own for own, sources in keys.items() if _is_due(made, own, sources)]


def _is_due(made: Mapping[dg.AssetKey, dg.EventLogEntry], own: dg.AssetKey, sources: Sequence[dg.AssetKey]) -> bool:
    materialization = made[own].asset_materialization if own in made else None
    noted = materialization.metadata.get(LOOKED_AT) if materialization else None
    looked_at = noted.value if isinstance(noted, dg.TimestampMetadataValue) else 0.0
    return any(source in made and made[source].timestamp > looked_at for source in sources)
