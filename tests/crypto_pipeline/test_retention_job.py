"""The night's job: the runs of Dagster that go, on a real instance, and what it refuses."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from crypto_pipeline import retention_job
from crypto_pipeline.definitions import defs
from crypto_pipeline.retention_job import old_runs
from crypto_pipeline.spark import SparkConnect
from shared.retention import load_rules
from shared.settings import Settings

LATER = datetime.now(UTC) + timedelta(days=20)


class NoSpark(SparkConnect):
    """In the place of the Connect server."""

    @contextmanager
    def lakehouse(self, asset: str, run_id: str) -> Iterator[Any]:
        pytest.fail("Spark was asked")
        yield


@dg.asset
def made() -> None:
    """An asset that each run makes anew."""


@dg.job
def plain() -> None:
    """Nothing to do."""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as one:
        yield one


def test_old_runs_go_but_not_those_by_which_dagster_knows_that_something_was_made(instance: dg.DagsterInstance) -> None:
    first, newest = (dg.materialize([made], instance=instance).run_id for _ in range(2))
    alone = plain.execute_in_process(instance=instance).run_id
    kept = plain.execute_in_process(instance=instance, tags={"dagster/partition": "2026-08-01"}).run_id
    assert list(old_runs(instance, datetime.now(UTC) - timedelta(days=14))) == []
    assert set(old_runs(instance, LATER)) == {first, alone}
    for run in old_runs(instance, LATER):
        instance.delete_run(run)
    left = {record.dagster_run.run_id for record in instance.get_run_records()}
    assert left == {newest, kept}
    assert list(old_runs(instance, LATER)) == []
    event = instance.get_latest_materialization_event(dg.AssetKey("made"))
    assert event
    assert event.run_id == newest


def test_the_op_lets_them_go_with_their_logs(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = plain.execute_in_process(instance=instance).run_id
    logs = tmp_path / "storage" / run / "compute_logs"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "step.out").write_text("said")
    rules = replace(load_rules(Settings()), runs=LATER - datetime.now(UTC) - timedelta(days=40))
    monkeypatch.setattr(retention_job, "_rules", lambda: rules)
    for _ in range(2):  # twice is once
        retention_job.let_go_of_runs(dg.build_op_context(instance=instance))
        assert instance.get_run_record_by_id(run) is None
        assert not logs.exists()


def test_a_run_that_goes_on_stays_however_old_it_is(instance: dg.DagsterInstance) -> None:
    instance.create_run_for_job(plain, status=dg.DagsterRunStatus.STARTED)
    assert list(old_runs(instance, LATER)) == []


def test_a_wrong_file_fails_the_run_with_its_sentence_before_anything_is_done(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "retention.yaml"
    file.write_text("raw: 1\n")
    monkeypatch.setattr(retention_job, "settings", lambda: Settings(retention_file=file))
    spark = NoSpark(spark_config={}, url="", bucket="", buckets=1)
    done = retention_job.retention.execute_in_process(
        instance=instance, resources={"spark": spark}, raise_on_error=False
    )
    assert not done.success
    whys = [str(event.step_failure_data.error) for event in done.all_events if event.is_step_failure]
    assert whys
    assert all(f"{file}:1:" in why for why in whys)


def test_it_is_applied_each_night_without_being_switched_on() -> None:
    schedule = defs.resolve_schedule_def("retention_each_night")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert schedule.cron_schedule == "23 3 * * *"
