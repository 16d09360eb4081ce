"""Dagster's launcher of runs, which also notices that a run's process is gone.

A code server reports a run whose process ended. Where both were ended together (power loss, a container that was
killed, a stop that could not wait) nobody does: the run stayed `STARTED`, and in the pool of one no other began until
`max_runtime_seconds` were over. So it was with one that was under way in a backup, and restored where the code server
has another address.
"""

import json
import time

from dagster import DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

from shared.settings import Settings

QUIET_SECONDS = 60
"""A run that its code server does not know may go on under the server of before "Reload": while it says something."""


class WatchedRunLauncher(DefaultRunLauncher):
    """Lets Dagster's run monitoring mark a run as failed that no process carries on."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Without this the monitoring looks at the run's age alone."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Running, or not found. While the code server does not answer nobody knows, and only the run's age counts."""
        why = "it was begun by a code server of another address"
        if not self._is_elsewhere(run):
            client = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
            if client is None:  # it has ended since, or was never handed to a code server
                return CheckRunHealthResult(WorkerStatus.RUNNING)
            try:
                answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id))
            except DagsterUserCodeUnreachableError:
                return CheckRunHealthResult(WorkerStatus.RUNNING)
            if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
                return CheckRunHealthResult(WorkerStatus.RUNNING)
            why = "its process ended together with the code server"
        if self._quiet_for(run) < QUIET_SECONDS:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, why)

    def _is_elsewhere(self, run: DagsterRun) -> bool:
        """It was handed to another code server than ours: of before a restore, or of other settings."""
        given = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
        chosen = Settings.load()
        ours = {"host": chosen.host("dagster-code"), "port": chosen.dagster_code_port}
        return bool(given) and {name: given.get(name) for name in ours} != ours

    def _quiet_for(self, run: DagsterRun) -> float:
        """Seconds since its last event."""
        [last] = self._instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
        return time.time() - last.timestamp
