"""The processes that are killed: each of this system alone, found anew each time."""

from contextlib import suppress
from typing import Any

import psutil

from tests.system import System

SERVICES = ("streaming", "kafka", "minio", "spark-connect")
"""Killed by the pid that supervisor knows."""
WORKERS = {
    "spark-executor": "org.apache.spark.executor.CoarseGrainedExecutorBackend",
    "dagster-run": "--multiprocessing-fork",
}
"""Killed by a word of their command line."""
VICTIMS = (*SERVICES, *WORKERS)


def kill(system: System, victim: str) -> int | None:
    """`kill -9` of one such process; its pid, or none where there is none now."""
    with suppress(psutil.Error):
        process = _worker(system, victim) if victim in WORKERS else _service(system, victim)
        if process:
            process.kill()
            return process.pid
    return None


def _service(system: System, name: str) -> psutil.Process | None:
    known: dict[str, Any] = system.supervisor().processes().get(name, {})
    return psutil.Process(known["pid"]) if known.get("statename") == "RUNNING" else None


def _worker(system: System, name: str) -> psutil.Process | None:
    lines = system.asked(psutil.Process.cmdline)
    return next((process for process, line in lines if WORKERS[name] in line), None)
