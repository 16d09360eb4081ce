"""When the served tables are made, and what a run of them does; the tables themselves are tests/serving's."""

import time
from collections.abc import Iterator, Sequence

import dagster as dg
import pytest

from crypto_pipeline.assets import serving_assets
from crypto_pipeline.assets.served import LOOKED_AT, ServingConfig, due, key
from crypto_pipeline.definitions import defs
from crypto_pipeline.pipeline import serving_when_due
from crypto_pipeline.spark import SparkConnect
from serving.tables import served
from shared.settings import Settings

CANDLES = key(served()["silver.fact_ohlcv"])
NATIVE = key(served()["bronze.bronze_ohlcv_native"])
DAILY = key(served()["silver.completeness_daily"])
HOURLY = key(served()["silver.completeness_hourly"])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def was_made(instance: dg.DagsterInstance, name: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(name.split("/")))


def was_served(instance: dg.DagsterInstance, key: dg.AssetKey, looked_at: float) -> None:
    metadata = {LOOKED_AT: dg.MetadataValue.timestamp(looked_at)}
    instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))


def test_a_table_is_due_once_one_of_its_sources_was_made(instance: dg.DagsterInstance) -> None:
    assert due(instance) == []
    was_made(instance, "silver/ohlcv")
    assert due(instance) == [CANDLES]
    was_made(instance, "silver/completeness")
    assert set(due(instance)) == {CANDLES, DAILY, HOURLY}


def test_a_table_that_was_looked_at_is_due_again_with_what_came_since(instance: dg.DagsterInstance) -> None:
    was_made(instance, "silver/ohlcv")
    was_served(instance, CANDLES, time.time())
    assert due(instance) == []
    was_made(instance, "silver/ohlcv_1m")
    assert due(instance) == [CANDLES]


def test_what_was_made_while_a_run_was_under_way_is_due_after_it(instance: dg.DagsterInstance) -> None:
    began = time.time()
    was_made(instance, "bronze/klines")
    was_served(instance, NATIVE, began)
    assert due(instance) == [NATIVE]


def requested(instance: dg.DagsterInstance, seconds_ago: float = 1e6) -> list[dg.AssetKey] | None:
    context = dg.build_sensor_context(instance, cursor=str(time.time() - seconds_ago), definitions=defs)
    requests = serving_when_due(context).run_requests
    return list(requests[0].asset_selection or ()) if requests else None


def run_of(instance: dg.DagsterInstance, job: str) -> None:
    instance.create_run_for_job(defs.resolve_job_def(job), status=dg.DagsterRunStatus.STARTED)


def test_a_run_takes_all_tables_that_are_due_and_none_is_made_where_none_is(instance: dg.DagsterInstance) -> None:
    assert requested(instance) is None
    was_made(instance, "bronze/klines")
    was_made(instance, "silver/ohlcv")
    assert set(requested(instance) or ()) == {CANDLES, NATIVE}


def test_it_waits_for_the_pipeline_but_not_for_ever(instance: dg.DagsterInstance) -> None:
    was_made(instance, "silver/ohlcv")
    run_of(instance, "pipeline")
    assert requested(instance, seconds_ago=60) is None
    assert requested(instance, seconds_ago=121) == [CANDLES]


def test_what_a_run_of_the_pipeline_has_brought_does_not_wait_for_the_end_of_the_next(
    instance: dg.DagsterInstance,
) -> None:
    was_made(instance, "silver/ohlcv")
    run = instance.create_run_for_job(defs.resolve_job_def("pipeline"), status=dg.DagsterRunStatus.STARTED)
    assert requested(instance, seconds_ago=60) is None
    instance.report_run_failed(run)
    run_of(instance, "pipeline")
    assert requested(instance, seconds_ago=60) == [CANDLES]


def test_no_run_is_added_while_one_is_under_way(instance: dg.DagsterInstance) -> None:
    was_made(instance, "silver/ohlcv")
    run_of(instance, "serving")
    assert requested(instance) is None


def test_what_a_failed_run_did_not_take_in_is_asked_for_once_a_minute(instance: dg.DagsterInstance) -> None:
    was_made(instance, "silver/ohlcv")
    assert requested(instance, seconds_ago=10) is None
    assert requested(instance, seconds_ago=51) == [CANDLES]


class NoSpark(SparkConnect):
    """The resource of a run that never comes to ask it."""

    def setup_for_execution(self, _context: dg.InitResourceContext) -> None:
        pass


def why_it_failed(*, reload: Sequence[str] = ()) -> str:
    done = dg.materialize(
        [serving_assets.serving],
        run_config=dg.RunConfig({"served_tables": ServingConfig(reload=list(reload))}),
        resources={"spark": NoSpark(spark_config={}, url="", bucket="", buckets=1)},
        raise_on_error=False,
    )
    [failure] = [event.step_failure_data for event in done.all_events if event.is_step_failure]
    return f"{failure.error_display_string} {failure.user_failure_data}"


def test_a_postgresql_that_is_down_fails_the_run_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_assets, "settings", lambda: Settings(postgres_port=1))
    assert "PostgreSQL does not take the tables" in why_it_failed()


def test_a_reload_of_what_is_not_served_is_refused() -> None:
    assert "silver.trades is not filled by this run" in why_it_failed(reload=["silver.trades"])
