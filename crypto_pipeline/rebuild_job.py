"""Silver made again from the Dagster UI, for a range of days, beside the pipeline, which goes on."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import ModuleType

import dagster as dg
from pydantic import Field

from crypto_pipeline.bronze import expired
from crypto_pipeline.catalog import derived
from crypto_pipeline.conflicts import ANOTHER_WRITER, conflicts_retried
from crypto_pipeline.expired import NAMES, Expired
from crypto_pipeline.giving_way import BESIDE
from crypto_pipeline.lakehouse import Lakehouse, lies_by_time
from crypto_pipeline.refresh import Refreshed, rebuild, steps
from crypto_pipeline.spark import SparkConnect

DAYS = dg.DailyPartitionsDefinition(start_date="2017-08-01", timezone="UTC", end_offset=1)
"""From the month in which Binance opened to today."""


class RebuildConfig(dg.Config):
    """What of the days to make again; nothing of this: all tables, whole days."""

    tables: str = ""
    """Comma-separated, such as `silver.indicators`; empty: every table of silver that lies by time."""
    from_hour: int = Field(default=0, ge=0, le=23)
    """Of the first day, UTC."""
    to_hour: int = Field(default=24, ge=1, le=24)
    """Of the last day, UTC, not included."""


def rebuildable() -> list[ModuleType]:
    """The modules of silver whose tables lie by time, each after those that it is made from."""
    return [module for module in derived("silver") if lies_by_time(module.TABLE)]


def make_again(
    context: dg.AssetExecutionContext, config: RebuildConfig, spark: SparkConnect
) -> dg.MaterializeResult[None]:
    """One run for all of the range, table after table in the order of the lineage."""
    window = context.partition_time_window
    start = window.start + timedelta(hours=config.from_hour)
    end = window.end - timedelta(hours=24 - config.to_hour)
    if start >= end:
        raise dg.Failure(f"Nothing lies between {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M}: see the hours.")
    totals: dict[str, Refreshed] = {}
    with spark.lakehouse("rebuild", context.run.run_id) as lake:
        record = recorded(lake)
        for module in chosen(config.tables):
            name = module.TABLE.full_name
            total = totals.setdefault(name, Refreshed())
            since = record.since(source.full_name for source in module.SOURCES) or start
            if since > start:
                context.log.info(
                    f"{name} is left as it is before {min(since, end):%Y-%m-%d %H:%M}: what it is made from has "
                    "expired by config/retention.yaml"
                )
            if since >= end:
                continue
            for hours, done in rebuilt(lake, module, max(start, since), end, context.log.info):
                context.log.info(
                    f"{name}, {hours[0]:%Y-%m-%d %H:%M} to {hours[-1] + timedelta(hours=1):%Y-%m-%d %H:%M}: "
                    f"{done.rows:,} rows written in {done.seconds:.1f} s"
                )
                total.rows, total.seconds = total.rows + done.rows, total.seconds + done.seconds
    return dg.MaterializeResult(
        metadata={
            "rows_written": sum(total.rows for total in totals.values()),
            "seconds": round(sum(total.seconds for total in totals.values()), 2),
            "tables": dg.MetadataValue.table(
                [
                    dg.TableRecord({"table": name, "rows_written": total.rows, "seconds": round(total.seconds, 2)})
                    for name, total in totals.items()
                ]
            ),
        }
    )


with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)  # one run for a range is new in Dagster
    silver_again = dg.asset(
        key=["rebuild", "silver"],
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="rebuild",
        kinds={"spark", "hudi"},
        pool="rebuild",
        description="**One partition per UTC day that was made again.** Every table of silver that lies by time, from "
        "the rows of its sources in the days, whether they are new or not. Rows that come out the same are left alone.",
    )(make_again)


def recorded(lake: Lakehouse) -> Expired:
    """What has expired, which nothing can be made of again."""
    return Expired.of(lake.read(expired.TABLE).select(*NAMES).collect())


def chosen(tables: str) -> list[ModuleType]:
    """The modules of the tables that a run names, in the order of the lineage. Raises `dg.Failure` for others."""
    modules = {module.TABLE.full_name: module for module in rebuildable()}
    names = [name.strip() for name in tables.split(",") if name.strip()]
    if unknown := set(names) - set(modules):
        raise dg.Failure(f"{', '.join(sorted(unknown))} cannot be rebuilt; there is {', '.join(modules)}.")
    return [module for name, module in modules.items() if not names or name in names]


def rebuilt(
    lake: Lakehouse, module: ModuleType, start: datetime, end: datetime, progress: Callable[[str], None]
) -> Iterator[tuple[Sequence[datetime], Refreshed]]:
    """Each part of `[start, end)`, its hours and what was done, as soon as it is done.

    Raises `dg.Failure` where rows break a rule: nothing of the part was written then, and what rests on it is not made.
    """
    for hours in steps(module, start, end):
        again = conflicts_retried(lambda _state: progress(ANOTHER_WRITER))
        done = again(rebuild, lake, module, hours, datetime.now(UTC))
        if not done.is_sound:
            rules = ", ".join(rule for rule, count in done.broken.items() if count) or "one_row_a_key"
            raise dg.Failure(f"{module.TABLE.full_name} was left as it was: rows break its rule {rules}.")
        yield hours, done


job = dg.define_asset_job(
    "rebuild",
    selection=dg.AssetSelection.assets(silver_again),
    tags={"dagster/priority": "-10", "dagster/max_runtime": str(6 * 3600), **BESIDE},
    executor_def=dg.in_process_executor,
    description="Makes silver again for any range of days, in one run; the pipeline goes on meanwhile.",
)
