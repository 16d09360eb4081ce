"""Runs that let the candles go first: on a small machine two runs at once take each other's time."""

import time
from collections.abc import Callable

import dagster as dg

FIRST = "pipeline"
"""The job that the others wait for."""
GIVES_WAY = frozenset({"evidence", "analytics", "training"})
"""Not maintenance: what it does makes the others quick."""

BESIDE = {"crypto/beside": FIRST}
"""The tag of every job but the candles' and those that serve them: config/dagster.yaml leaves a place free of these."""

_AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]  # one that is queued may wait for this very run


def let_the_candles_pass(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    seconds: float,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Before each table of a run: comes back when no run of the pipeline is at work, with the seconds waited.

    `seconds` after its start the run no longer waits: a pipeline that is always at work, or hangs, holds nobody up.
    `say` is told once that it waits, and why.
    """
    if run.job_name not in GIVES_WAY:
        return 0.0
    began = time.time()
    record = instance.get_run_record_by_id(run.run_id)
    until = (record.start_time if record and record.start_time else began) + seconds
    first = dg.RunsFilter(job_name=FIRST, statuses=_AT_WORK)
    waits = False
    while time.time() < until and instance.get_runs_count(first):
        if not waits:
            say("The minute's candles go first (CANDLES_FIRST_SECONDS): waiting for the run of the pipeline to end.")
        waits = True
        sleep(0.5)
    return time.time() - began
