"""When assets are made: candles and signals each minute, PostgreSQL next, evidence and gold each five, models daily."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from crypto_pipeline.assets import condition, served, serving_assets, specs
from crypto_pipeline.catalog import table_modules, tables
from crypto_pipeline.giving_way import BESIDE, FIRST
from crypto_pipeline.gold import forecast_inputs, forecast_models
from crypto_pipeline.gold._prices import SERIES
from crypto_pipeline.reader import LakeError, read
from crypto_pipeline.sorting import Done, sort_closed
from crypto_pipeline.spark import SparkConnect
from shared.settings import Settings, settings


def _made_by(job: str) -> dg.AssetSelection:
    """The tables whose module names that job. Those that name none are made each minute."""
    modules = table_modules().values()
    return dg.AssetSelection.assets(
        *[specs.key(module.TABLE) for module in modules if getattr(module, "JOB", None) == job]
    )


_EVIDENCE, _ANALYTICS, _TRAINING = _made_by("evidence"), _made_by("analytics"), _made_by("training")
_CANDLES = dg.AssetSelection.groups("bronze", "silver") - _EVIDENCE

pipeline = dg.define_asset_job(
    FIRST,
    selection=_CANDLES | dg.AssetSelection.groups("gold") - _ANALYTICS - _TRAINING,
    description="Candles, their indicators and the signals on them, from what is new in Kafka.",
    tags={"dagster/priority": "10"},
    executor_def=dg.in_process_executor,
)
evidence = dg.define_asset_job(
    "evidence",
    selection=_EVIDENCE,
    description="Completeness, reconciliation, and the minutes of books and tickers: no candle waits for them.",
    tags=BESIDE,
    executor_def=dg.in_process_executor,
)
analytics = dg.define_asset_job(
    "analytics",
    selection=_ANALYTICS,
    description="The tables of gold, but for the signals, which are of each minute.",
    tags=BESIDE,
    executor_def=dg.in_process_executor,
)
training = dg.define_asset_job(
    "training",
    selection=_TRAINING,
    description="The models of forecasts: no other table of gold waits for them.",
    tags={"dagster/priority": "-10", **BESIDE},
    executor_def=dg.in_process_executor,
)

FIRST_LOAD = {"dagster/max_runtime": str(6 * 3600)}
"""The tags of a job that may have years to load."""
serving = dg.define_asset_job(
    "serving",
    selection=dg.AssetSelection.assets(serving_assets.serving),
    description="The tables in PostgreSQL, from what is new in the lake.",
    tags={**FIRST_LOAD, "dagster/priority": "20"},  # where a place is free, the next minute's candles can wait for it
    executor_def=dg.in_process_executor,
)

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def due_minute(now: datetime, seconds_after: int) -> str:
    """The name of the minute whose run is due at `now`: a minute's run is due `seconds_after` its start."""
    moment = datetime.fromtimestamp(now.timestamp() - seconds_after, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M")


@dg.sensor(
    name="every_minute",
    job=pipeline,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the pipeline PIPELINE_SECONDS_AFTER_MINUTE seconds after each minute, one run at a time.",
)
def every_minute(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run a minute. While one is under way none is added: the next takes in all that has come."""
    minute = due_minute(datetime.now(UTC), settings().pipeline_seconds_after_minute)
    if minute == context.cursor:
        yield dg.SkipReason(f"The run of {minute} was requested.")
        return
    if reason := _under_way(context.instance, pipeline.name):
        yield reason
        return
    context.update_cursor(minute)
    if why := condition.why_gold_waits(context.instance, settings().gold_requires):
        context.log.info(f"The signals are left as they are. {why}")
        assert context.repository_def  # noqa: S101 (Dagster gives it to each of its sensors)
        yield dg.RunRequest(asset_selection=sorted(_CANDLES.resolve(context.repository_def.asset_graph)))
        return
    yield dg.RunRequest()  # without a run key: the minutes of a clock that was set back come twice


@dg.schedule(
    name="every_five_minutes",
    job=evidence,
    cron_schedule="4-59/5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Gathers the evidence of what came since the last time, one run at a time.",
)
def gathering(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run. While one is under way none is added: the next takes in all that has come."""
    return _under_way(context.instance, evidence.name) or dg.RunRequest()


@dg.schedule(
    name="analytics_when_due",
    job=analytics,
    cron_schedule=f"2-59/{settings().analytics_minutes} * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Brings gold up to date each ANALYTICS_MINUTES, one run at a time.",
)
def analysing(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run. While one is under way none is added: the next takes in all that has come."""
    if reason := _under_way(context.instance, analytics.name):
        return reason
    why = condition.why_gold_waits(context.instance, settings().gold_requires)
    return dg.SkipReason(why) if why else dg.RunRequest()


@dg.schedule(
    name="training_when_due",
    job=training,
    cron_schedule="3-59/5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Trains the models of forecasts once a day, and as soon as a symbol has enough history for its first.",
)
def training_when_due(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run where a series wants models; else why none does."""
    if reason := _under_way(context.instance, training.name):
        return reason
    try:
        series = untrained(settings(), datetime.now(UTC))
    except LakeError as error:
        return dg.SkipReason(str(error))
    return dg.RunRequest() if series else dg.SkipReason("Every symbol has the models of today, or too little history.")


def untrained(where: Settings, now: datetime) -> Sequence[str]:
    """The series (`binance:BTCUSDT`) whose models are to be trained now. Raises `LakeError`."""
    months = {(now - timedelta(days=n)).strftime("%Y-%m") for n in range(forecast_models.TRAINING_DAYS + 8)}
    lately = [("month", "IN", ",".join(sorted(months)))]
    columns = [*SERIES, "trained_until", "hours_known", "reason", "code_version"]
    models = read(forecast_models.TABLE, where, columns, lately).to_pandas()
    hours = read(forecast_inputs.TABLE, where, [*SERIES, "interval_start", "realised_variance"], lately)
    return forecast_models.due(models, hours.to_pandas(), now)


def _under_way(instance: dg.DagsterInstance, job: str) -> dg.SkipReason | None:
    """Why no run of a job is to be added now; none where nothing stands against it."""
    runs = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=_UNDER_WAY), limit=1)
    return dg.SkipReason(f"Run {runs[0].dagster_run.run_id[:8]} is under way.") if runs else None


def _has_ended_since(instance: dg.DagsterInstance, job: str, moment: float) -> bool:
    """A run of a job brought what it could, though the next may be under way: on two cores they follow each other."""
    ended = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE])
    return any((one.end_time or 0.0) > moment for one in instance.get_run_records(ended, limit=1))


_SERVED_APART = 50
"""Seconds at least from one request of a serving job to the next, also while its database is down."""
_SERVED_WITHIN = 120
"""Seconds after which it no longer waits for the first run of the pipeline since to end."""


@dg.sensor(
    name="after_the_pipeline",
    job=serving,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Takes into PostgreSQL what the lake got, between the runs of the pipeline, one run at a time.",
)
def serving_when_due(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """One run for all tables of which a source was made since. What a failed run did not take in is due again."""
    return requested(context, serving.name, "postgres")


def requested(context: dg.SensorEvaluationContext, job: str, database: served.Database) -> dg.SensorResult:
    """The run of a job that fills a database, where it is to have one now."""
    now, last = datetime.now(UTC).timestamp(), float(context.cursor or 0)
    since = abs(now - last)  # also where the clock was set back
    if since < _SERVED_APART:
        return dg.SensorResult(skip_reason=f"A run was requested {since:.0f} s ago.")
    skipped = _under_way(context.instance, job)
    if not skipped and since < _SERVED_WITHIN and not _has_ended_since(context.instance, pipeline.name, last):
        skipped = _under_way(context.instance, pipeline.name)
    if skipped:
        return dg.SensorResult(skip_reason=skipped)
    tables_due = served.due(context.instance, database)
    if not tables_due:
        return dg.SensorResult(skip_reason="It has all that the lake has.")
    return dg.SensorResult(run_requests=[dg.RunRequest(asset_selection=list(tables_due))], cursor=str(now))


class MaintenanceConfig(dg.Config):
    """`everywhere` looks at every partition, not only at what was written since the last compaction, and sorts those
    that are over for a day."""

    everywhere: bool = False


@dg.op(
    pool="maintenance",
    description="Merges the log files of times that are over and of files that have many; removes what is replaced; "
    "sorts closed partitions by symbol.",
)
def maintain_tables(context: dg.OpExecutionContext, config: MaintenanceConfig, spark: SparkConnect) -> None:
    now = datetime.now(UTC)
    failed: dict[str, Exception] = {}
    with spark.lakehouse("maintenance", context.run_id) as lake:
        for table in tables().values():
            try:
                compacted = lake.compact(table, now, everywhere=config.everywhere)
                removed = lake.clean(table)
                done = sort_closed(table, settings(), now) if config.everywhere else Done()
            except Exception as error:  # noqa: BLE001 (the other tables are to be kept quick too)
                failed[table.full_name] = error
                context.log.warning(f"{table.full_name}: {error}")
            else:
                removed += done.removed
                said = f"{compacted} files compacted, {done.sorted} sorted, {removed} removed"
                context.log.info(f"{table.full_name}: {said}")
    if failed:
        name, first = next(iter(failed.items()))
        raise dg.Failure(f"{', '.join(failed)} could not be maintained; {name}: {first}") from first


@dg.job(
    tags=BESIDE,
    executor_def=dg.in_process_executor,
    description="Keeps reads quick; runs beside the pipeline, which goes on.",
)
def maintenance() -> None:
    maintain_tables()


@dg.schedule(
    name="every_quarter_hour",
    job=maintenance,
    cron_schedule="7-59/15 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="What was written since the last time; once an hour every partition.",
)
def compaction(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One run. Hudi forgets a partition that it has passed over once: so the hour that has just ended, which was passed
    over while it went on, is found by looking everywhere."""
    config = MaintenanceConfig(everywhere=context.scheduled_execution_time.minute < 15)
    return dg.RunRequest(run_config=dg.RunConfig({"maintain_tables": config}))
