"""What an asset says of itself, all of it from its table's contract."""

from collections.abc import Iterable
from types import ModuleType

import dagster as dg

from shared.tables import Table

IS_PARSED = "it_can_be_parsed"


def key(table: Table) -> dg.AssetKey:
    """`silver.ohlcv_1m` is the asset `silver/ohlcv_1m`."""
    return dg.AssetKey([table.layer, table.name])


def column_schema(table: Table) -> dg.TableSchema:
    """The contract's columns as the UI shows them."""
    columns = [dg.TableColumn(column.name, column.type, column.comment) for column in table.columns]
    return dg.TableSchema(columns=columns)


def description(module: ModuleType) -> str:
    """The grain, what the table is, and how its rows are named."""
    table: Table = module.TABLE
    return f"**{table.grain}.**\n\n{module.__doc__}\n\nKey: `{', '.join(table.key)}`"


def metadata(table: Table, bucket: str) -> dict[str, object]:
    """What does not change from run to run."""
    return {
        "dagster/column_schema": column_schema(table),
        "dagster/table_name": table.full_name,
        "dagster/uri": f"s3://{bucket}/{table.folder}",
    }


def check_specs(module: ModuleType, *, blocking: bool) -> Iterable[dg.AssetCheckSpec]:
    """A check for every rule of the table. Blocking where we make the rows: a broken rule is then our fault."""
    table: Table = module.TABLE
    for name, rule in table.rules.items():
        yield dg.AssetCheckSpec(name, asset=key(table), description=f"`{rule}`", blocking=blocking)


def mark_specs(module: ModuleType) -> Iterable[dg.AssetCheckSpec]:
    """A check for every mark of the table: how many rows went on with it in `broken_rules`. It blocks nothing."""
    table: Table = module.TABLE
    for name, mark in table.marks.items():
        yield dg.AssetCheckSpec(name, asset=key(table), description=f"marks, and lets go on, where not `{mark}`")


def is_parsed(module: ModuleType) -> dg.AssetCheckSpec:
    """The check that every message of the table's stream was an event."""
    return dg.AssetCheckSpec(
        IS_PARSED,
        asset=key(module.TABLE),
        description=f"every message is a `{module.EVENT.__name__}` of shared/events.py; others go to quarantine",
    )
