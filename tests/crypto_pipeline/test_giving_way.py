"""Who lets the candles go first, and for how long."""

import time
from collections.abc import Iterator

import dagster as dg
import pytest
import yaml

from crypto_pipeline.definitions import defs
from crypto_pipeline.giving_way import BESIDE, GIVES_WAY, let_the_candles_pass
from shared.settings import PROJECT

STARTED = dg.DagsterRunStatus.STARTED


def test_a_place_for_runs_is_left_for_the_candles_and_those_who_serve_them() -> None:
    runs = yaml.safe_load((PROJECT / "config" / "dagster.yaml").read_text())["concurrency"]["runs"]
    [beside] = runs["tag_concurrency_limits"]
    assert {beside["key"]} == BESIDE.keys()
    assert beside["limit"] < runs["max_concurrent_runs"]


@pytest.mark.parametrize("name", [job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")])
def test_no_other_job_takes_the_place_of_the_candles(name: str) -> None:
    is_first = name in {"pipeline", "serving"}
    assert (BESIDE.items() <= defs.resolve_job_def(name).tags.items()) is not is_first


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run_of(instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus = STARTED) -> dg.DagsterRun:
    return instance.create_run_for_job(defs.resolve_job_def(job), status=status)


@pytest.mark.parametrize("job", sorted(GIVES_WAY))
def test_a_run_waits_until_no_run_of_the_pipeline_is_at_work(instance: dg.DagsterInstance, job: str) -> None:
    candles = [run_of(instance, "pipeline"), run_of(instance, "pipeline")]
    said: list[str] = []

    def end_one(_seconds: float) -> None:
        instance.report_run_canceled(candles.pop())

    let_the_candles_pass(instance, run_of(instance, job), 60, said.append, end_one)
    assert not candles
    assert len(said) == 1


def test_none_waits_for_a_run_that_has_not_begun_as_that_may_wait_for_its_place(instance: dg.DagsterInstance) -> None:
    run_of(instance, "pipeline", dg.DagsterRunStatus.NOT_STARTED)
    assert let_the_candles_pass(instance, run_of(instance, "analytics"), 60, pytest.fail) < 1


@pytest.mark.parametrize("job", ["pipeline", "serving", "rebuild"])
def test_the_candles_and_what_a_person_starts_wait_for_nobody(instance: dg.DagsterInstance, job: str) -> None:
    run_of(instance, "pipeline")
    assert let_the_candles_pass(instance, run_of(instance, job), 60, pytest.fail) == 0


def test_a_pipeline_that_hangs_holds_nobody_up_for_ever(instance: dg.DagsterInstance) -> None:
    run_of(instance, "pipeline")
    waited = let_the_candles_pass(
        instance, run_of(instance, "analytics"), 0.2, print, lambda _seconds: time.sleep(0.05)
    )
    assert 0.1 < waited < 30
