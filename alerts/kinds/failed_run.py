"""`failed_run`: a job of Dagster failed."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from alerts.kinds._kind import AskedRule, Finding, Sources, listed

_RUNS = (
    "{runsOrError(filter:{statuses:[SUCCESS FAILURE]} limit:100)"
    "{...on Runs{results{runId jobName status endTime}} ...on PythonError{message}}}"
)


class FailedRun(AskedRule):
    """Fires where the latest finished run of a job failed; resolves when one succeeds."""

    kind: Literal["failed_run"]
    jobs: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"

    def ask(self, sources: Sources, now: int) -> Iterator[Finding]:
        told = set()
        for run in sources.dagster(_RUNS)["runsOrError"].get("results", ()):  # the latest first
            job = run["jobName"]
            if job in told or job.startswith("__") or not listed(self.jobs, job):
                continue
            told.add(job)
            text = f"The run {run['runId'][:8]} of {job} ended with {run['status']}: its log in Dagster says why."
            yield Finding(job, run["status"] == "FAILURE", now, 1.0, text)
