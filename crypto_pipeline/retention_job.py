"""Retention in Dagster: each night what is older than `config/retention.yaml` keeps it goes, and old runs with it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from crypto_pipeline.giving_way import BESIDE
from crypto_pipeline.retention.apply import Retention, RetentionError, alone
from crypto_pipeline.spark import SparkConnect
from shared.retention import Rules, load_rules
from shared.settings import settings
from shared.yaml_file import YamlFileError

_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_AT_ONCE = 200
_MOST_RUNS = 20_000
"""In one night: a deployment that was never without them is done in some."""
_PARTITION_TAGS = ("dagster/partition", "dagster/asset_partition_range_start")


@dg.op(pool="night", description="Lets go of what is old by config/retention.yaml and whose silver is verified.")
def let_go(context: dg.OpExecutionContext, spark: SparkConnect) -> None:
    where, now = settings(), datetime.now(UTC)
    rules = _rules()
    try:
        with spark.lakehouse("retention", context.run_id) as lake, alone(where):
            mine = Retention(where, lake, rules)
            found = mine.decision(now)
            for unit, why in found.stays.items():
                context.log.warning(f"{' '.join(filter(None, unit[:3]))} of {unit.day} stays: {why}")
            mine.apply(found, now, context.log.info)
    except RetentionError as error:
        raise dg.Failure(str(error)) from None
    context.add_output_metadata(
        {"days_gone": len(found.goes), "bytes_freed": found.bytes, "days_that_stay": len(found.stays)}
    )


@dg.op(pool="night", description="Lets go of Dagster's runs, and their logs, that are old by the same file.")
def let_go_of_runs(context: dg.OpExecutionContext) -> None:
    before = datetime.now(UTC) - _rules().runs
    count = 0
    for run_id in list(old_runs(context.instance, before)):  # a page begins after the last run of the one before
        context.instance.delete_run(run_id)
        context.instance.compute_log_manager.delete_logs(prefix=[run_id])
        count += 1
    context.add_output_metadata({"runs_gone": count})


def _rules() -> Rules:
    try:
        return load_rules(settings())
    except YamlFileError as error:
        raise dg.Failure(str(error), allow_retries=False) from None


def old_runs(instance: dg.DagsterInstance, before: datetime) -> Iterator[str]:
    """The ids of the runs that ended and were made before, the oldest first.

    Not those that made the newest of an asset, nor of a partition: without these Dagster would think that it was never
    made.
    """
    newest = {
        record.asset_entry.last_run_id for record in instance.get_asset_records() if record.asset_entry.last_run_id
    }
    wanted = dg.RunsFilter(statuses=_ENDED, created_before=before)
    cursor, count = None, 0
    while count < _MOST_RUNS:
        records = instance.get_run_records(wanted, limit=_AT_ONCE, cursor=cursor, ascending=True)
        if not records:
            return
        cursor = records[-1].dagster_run.run_id
        some = [
            record.dagster_run.run_id
            for record in records
            if record.dagster_run.run_id not in newest and not set(_PARTITION_TAGS) & set(record.dagster_run.tags)
        ]
        count += len(some)
        yield from some


@dg.job(
    tags={"dagster/priority": "-10", "dagster/max_runtime": str(int(timedelta(hours=6).total_seconds())), **BESIDE},
    executor_def=dg.in_process_executor,
    description="Lets go of what is older than config/retention.yaml keeps it, once its silver is verified.",
)
def retention() -> None:
    let_go()
    let_go_of_runs()


@dg.schedule(
    name="retention_each_night",
    job=retention,
    cron_schedule="23 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly(_context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """A run a night: else the disk fills. What is to stay for ever, config/retention.yaml says."""
    return dg.RunRequest()
