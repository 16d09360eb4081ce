"""The Dagster project: `dagster dev -m crypto_pipeline.definitions` and `deploy.sh` load it."""

# ruff: noqa: E402 (Dagster warns while schedules are defined: that is to go into the log like everything else)

import dagster as dg

from crypto_pipeline import run_log

run_log.set_up()

from crypto_pipeline import history_job, pipeline, rebuild_job, retention_job
from crypto_pipeline.assets import bronze_assets, gold_assets, report_assets, serving_assets, silver_assets
from crypto_pipeline.spark import SparkConnect, session_url
from shared.settings import settings

defs = dg.Definitions(
    assets=[
        bronze_assets.TOPICS,
        bronze_assets.QUARANTINE,
        bronze_assets.EXPIRED,
        bronze_assets.bronze,
        *silver_assets.ASSETS,
        *silver_assets.VIEWS,
        *gold_assets.ASSETS,
        report_assets.daily,
        serving_assets.serving,
        rebuild_job.silver_again,
    ],
    jobs=[
        pipeline.pipeline,
        pipeline.evidence,
        pipeline.analytics,
        pipeline.training,
        pipeline.serving,
        pipeline.maintenance,
        history_job.newest_history,
        history_job.history,
        history_job.repair_from_archives,
        rebuild_job.job,
        retention_job.retention,
        report_assets.job,
    ],
    sensors=[pipeline.every_minute, pipeline.serving_when_due, history_job.history_of_new_symbols],
    schedules=[
        pipeline.gathering,
        pipeline.analysing,
        pipeline.training_when_due,
        pipeline.compaction,
        history_job.repairs,
        retention_job.nightly,
        report_assets.schedule,
    ],
    # A step in a process of its own would cost more than its work: 7.8 s instead of 3.0 s for three trivial steps.
    executor=dg.in_process_executor,
    resources={
        "spark": SparkConnect(
            spark_config={"spark.remote": session_url(settings().spark_connect_url, "dagster")},
            url=settings().spark_connect_url,
            buckets=settings().lake_buckets,
        )
    },
)
if settings().has_clickhouse:
    from crypto_pipeline import clickhouse_job

    defs = dg.Definitions.merge(defs, clickhouse_job.definitions())
