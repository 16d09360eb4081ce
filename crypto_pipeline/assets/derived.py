"""The asset of a silver or gold table, made from its module: the same bookkeeping around every `build`."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import ModuleType

import dagster as dg

from crypto_pipeline.assets import condition, specs
from crypto_pipeline.catalog import table_modules
from crypto_pipeline.conflicts import ANOTHER_WRITER, conflicts_retried
from crypto_pipeline.giving_way import let_the_candles_pass
from crypto_pipeline.refresh import Refreshed, refresh
from crypto_pipeline.spark import SparkConnect
from shared.settings import settings
from shared.tables import Layer, Table

_CONFIGURED = "its_file_is_right"


class DerivedConfig(dg.Config):
    """`from_scratch` builds the whole table again from its sources; rows that come out the same are left alone."""

    from_scratch: bool = False


def derived_assets(layer: Layer) -> list[dg.AssetsDefinition]:
    """An asset for every table of a layer that says what it is made from."""
    return [
        _asset(module) for module in table_modules().values() if _is_derived(module) and module.TABLE.layer == layer
    ]


def views(layer: Layer) -> list[dg.AssetSpec]:
    """The views of a layer: they need no run, so they only stand in the lineage."""
    return [
        dg.AssetSpec(
            dg.AssetKey([module.VIEW.layer, module.VIEW.name]),
            deps=[dg.AssetKey(name.split(".")) for name in module.VIEW.tables],
            group_name=layer,
            kinds={"view"},
            description=f"**{module.VIEW.grain}.**\n\n{module.__doc__}",
        )
        for module in table_modules().values()
        if hasattr(module, "VIEW") and module.VIEW.layer == layer
    ]


def _is_derived(module: ModuleType) -> bool:
    return hasattr(module, "TABLE") and hasattr(module, "SOURCES")


def _asset(module: ModuleType) -> dg.AssetsDefinition:
    table: Table = module.TABLE
    requires = settings().gold_requires
    is_judged = specs.key(table) == condition.KEY.asset_key
    waits = bool(requires) and table.layer == "gold"

    @dg.asset(
        key=specs.key(table),
        deps=[*(specs.key(source) for source in module.SOURCES), *([condition.KEY.asset_key] if waits else [])],
        group_name=table.layer,
        kinds={"spark", "hudi"},
        description=specs.description(module),
        metadata=specs.metadata(table, settings().bucket),
        op_tags={"dagster/priority": str(_waiting_for(table))},
        check_specs=[
            *specs.check_specs(module, blocking=True),
            _one_row_a_key(table),
            *([_is_configured(table)] if hasattr(module, "refusals") else []),
            *([condition.spec(requires)] if is_judged else []),
        ],
        pool=table.full_name,
    )
    def build(context: dg.AssetExecutionContext, config: DerivedConfig, spark: SparkConnect) -> Iterator[object]:
        if waits and (why := condition.why_gold_waits(context.instance, requires)):
            raise dg.Failure(f"{table.full_name} was left as it was. {why}", allow_retries=False)
        let_the_candles_pass(context.instance, context.run, settings().candles_first_seconds, context.log.info)
        with spark.lakehouse(table.full_name, context.run_id) as lake:
            again = conflicts_retried(lambda _state: context.log.info(ANOTHER_WRITER))
            memory = settings().memory
            anew = config.from_scratch
            done = again(lambda: refresh(lake, module, datetime.now(UTC), from_scratch=anew, memory=memory))
            context.log.info(f"{done.rows:,} rows written to {table.full_name} in {done.seconds:.1f} s")
            if is_judged and done.is_sound:
                days = condition.found(lake, datetime.now(UTC))
                yield condition.result(days, condition.streamed(settings()), requires)
            if hasattr(module, "refusals"):
                refused = module.refusals(lake, datetime.now(UTC))
                for each in refused:
                    context.log.warning(each)
                yield _configured(table, refused)
        yield from _checks(table, done)
        if not done.is_sound:
            raise dg.Failure(
                f"{table.full_name} was left as it was: rows that break a rule must not go on. The failed checks of "
                "this run name the rules; `crypto query` on its sources shows the rows."
            )
        yield dg.MaterializeResult(
            metadata={
                "rows_written": done.rows,
                "seconds": round(done.seconds, 2),
                "batch_id": lake.batch_id,
                "followed": dg.MetadataValue.text(done.followed),
            }
        )

    return build


def _waiting_for(table: Table) -> int:
    """How many tables are made from it: of the steps that could be next, a run takes the one that most wait for."""
    return sum(_is_derived(module) and table in module.SOURCES for module in table_modules().values())


def _one_row_a_key(table: Table) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        "one_row_a_key", asset=specs.key(table), description=f"`{', '.join(table.key)}` names one row", blocking=True
    )


def _is_configured(table: Table) -> dg.AssetCheckSpec:
    description = "nothing of the file that people write for this table is refused; what is right goes on"
    return dg.AssetCheckSpec(_CONFIGURED, asset=specs.key(table), description=description)


def _configured(table: Table, refused: Sequence[str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=_CONFIGURED,
        asset_key=specs.key(table),
        passed=not refused,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"refused": dg.MetadataValue.text("\n".join(refused) or "nothing")},
    )


def _checks(table: Table, done: Refreshed) -> Iterator[dg.AssetCheckResult]:
    for rule, broken in {
        **{rule: done.broken.get(rule, 0) for rule in table.rules},
        "one_row_a_key": done.repeated,
    }.items():
        yield dg.AssetCheckResult(
            check_name=rule, asset_key=specs.key(table), passed=not broken, metadata={"rows_that_break_it": broken}
        )
