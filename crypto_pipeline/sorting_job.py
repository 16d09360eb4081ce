"""Sorting in Dagster: once a night, what is closed, so that a reader of one symbol decodes that symbol alone."""

from datetime import UTC, datetime

import dagster as dg

from crypto_pipeline.catalog import tables
from crypto_pipeline.sorting import sort_closed
from shared.settings import settings


@dg.op(
    pool="night",
    description="Puts the rows of files that are over for a day in order; removes the versions that they replaced.",
)
def sort_closed_partitions(context: dg.OpExecutionContext) -> None:
    where = settings().as_account("lake")
    failed: dict[str, Exception] = {}
    for table in tables().values():
        try:
            done = sort_closed(table, where, datetime.now(UTC))
        except Exception as error:  # noqa: BLE001 (the other tables are to be read quickly too)
            failed[table.full_name] = error
            context.log.warning(f"{table.full_name}: {error}")
        else:
            context.log.info(f"{table.full_name}: {done.sorted} files sorted, {done.removed} older ones removed")
    if failed:
        name, first = next(iter(failed.items()))
        raise dg.Failure(f"{', '.join(failed)} could not be sorted; {name}: {first}") from first


@dg.job(
    tags={"dagster/priority": "-10", "dagster/max_runtime": str(20 * 60)},
    executor_def=dg.in_process_executor,
    description="Makes reads of one symbol over years quick; run it again at any time, it goes on where it was.",
)
def sorting() -> None:
    sort_closed_partitions()


every_night = dg.ScheduleDefinition(
    name="sorting_every_night",
    job=sorting,
    cron_schedule="41 4 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="The hours and months that are over for a day, and have become quiet. Switched on by hand.",
)
