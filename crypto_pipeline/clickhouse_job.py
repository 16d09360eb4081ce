"""When the tables in ClickHouse are made: as those in PostgreSQL, and apart from them, so that neither waits."""

import dagster as dg

from crypto_pipeline.assets import clickhouse_assets
from crypto_pipeline.pipeline import FIRST_LOAD, requested

job = dg.define_asset_job(
    "clickhouse",
    selection=dg.AssetSelection.assets(clickhouse_assets.clickhouse),
    description="The tables in ClickHouse, from what is new in the lake.",
    tags=FIRST_LOAD,
    executor_def=dg.in_process_executor,
)


@dg.sensor(
    name="clickhouse_after_the_pipeline",
    job=job,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Takes into ClickHouse what the lake got, between the runs of the pipeline, one run at a time.",
)
def when_due(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """One run for all tables of which a source was made since. What a failed run did not take in is due again."""
    return requested(context, job.name, "clickhouse")


def definitions() -> dg.Definitions:
    """What a deployment has beside all else where ClickHouse is served."""
    return dg.Definitions(assets=[clickhouse_assets.clickhouse], jobs=[job], sensors=[when_due])
