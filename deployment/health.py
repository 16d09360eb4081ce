"""How each service is now: what supervisor says of its process, and what the service says for itself."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psutil

from deployment.probes import UnhealthyError
from deployment.processes import memory
from deployment.services import Service, table
from deployment.supervise import Supervisor
from shared.settings import Settings


@dataclass(frozen=True)
class ServiceHealth:
    """One service. In Docker its process is not ours to see: `pid`, uptime and memory are None there."""

    name: str
    healthy: bool
    reason: str
    """Why it is not healthy; empty where it is."""
    pid: int | None
    uptime_seconds: float | None
    memory_bytes: int | None
    """With its children."""


def services(settings: Settings) -> list[ServiceHealth]:
    """Every service of this deployment, in the order of the table. What hangs costs some seconds, what is down none."""
    wanted = table(settings).values()
    processes = Supervisor(settings.state).processes()
    with ThreadPoolExecutor(len(wanted)) as pool:
        return list(pool.map(lambda service: of(service, settings, processes), wanted))


def of(service: Service, settings: Settings, processes: dict[str, dict[str, Any]]) -> ServiceHealth:
    """One service; `processes` is what supervisor says of all."""
    info = processes.get(service.name, {})
    pid = info.get("pid") or None
    reason = _reason(service, settings, info)
    uptime = used = None
    if pid is not None:
        try:
            process = psutil.Process(pid)
            uptime, used = time.time() - process.create_time(), memory(process)
        except psutil.Error:
            pid = None
    return ServiceHealth(service.name, not reason, reason, pid, uptime, used)


def _reason(service: Service, settings: Settings, info: dict[str, Any]) -> str:
    state = info.get("statename", "RUNNING")
    if state in ("BACKOFF", "EXITED", "FATAL"):
        return f"its process keeps ending; its log: {info['logfile']}"
    if state not in ("RUNNING", "STARTING"):
        return f"its process is {state.lower()}"
    try:
        service.probe(settings)
    except UnhealthyError as unhealthy:
        return str(unhealthy)
    return ""
