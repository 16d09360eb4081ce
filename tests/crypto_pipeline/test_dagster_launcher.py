"""Which runs are known to be carried on by nobody."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from crypto_pipeline import dagster_launcher
from crypto_pipeline.dagster_launcher import WatchedRunLauncher
from shared.settings import Settings
from tests.servers import free_ports


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    launcher = {"module": WatchedRunLauncher.__module__, "class": WatchedRunLauncher.__name__}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"run_launcher": launcher}) as made:
        yield made


def health(instance: dg.DagsterInstance, port: int) -> WorkerStatus:
    """Of a run that began a moment ago, by what a code server at that port is known to carry on."""

    @dg.job
    def nothing() -> None:
        pass

    handed_to = json.dumps({"host": Settings.load().host("dagster-code"), "port": port})
    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED, tags={GRPC_INFO_TAG: handed_to})
    instance.report_engine_event("it works", run)
    launcher = instance.run_launcher
    assert isinstance(launcher, WatchedRunLauncher)
    return launcher.check_run_worker_health(run).status


def test_a_run_of_another_code_server_than_ours_is_carried_on_by_nobody_once_it_is_quiet(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = Settings.load().dagster_code_port
    assert health(instance, port + 1) == WorkerStatus.RUNNING, "it said something a moment ago"
    monkeypatch.setattr(dagster_launcher, "QUIET_SECONDS", 0)
    assert health(instance, port + 1) == WorkerStatus.NOT_FOUND


def test_while_our_code_server_does_not_answer_nobody_knows(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    [port] = free_ports(1)
    monkeypatch.setattr(dagster_launcher, "QUIET_SECONDS", 0)
    monkeypatch.setenv("DAGSTER_CODE_PORT", str(port))
    assert health(instance, port) == WorkerStatus.RUNNING
