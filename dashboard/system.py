"""How the deployment is: what `crypto status` says, the last runs, the disk, and where to look closer."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from crypto_pipeline import monitoring
from dashboard.disk import DiskLog
from deployment import probes
from shared.settings import Settings

RUNS_SHOWN = 12
_RUNS = f"{{runsOrError(limit:{RUNS_SHOWN}){{...on Runs{{results{{runId jobName status startTime endTime}}}}}}}}"


def collected(settings: Settings, disk: DiskLog) -> dict[str, Any]:
    """All of it. Takes some seconds at most; what does not answer is named in `reasons`."""
    status = asdict(monitoring.collect(settings))
    return status | {"runs": _runs(settings), "disk": asdict(disk.now()), "links": links(settings)}


def links(settings: Settings) -> dict[str, str]:
    """The addresses of the services that a person may open, as the person's browser reaches them."""
    host = settings.loopback
    return {
        "dagster": f"http://{host}:{settings.dagster_port}",
        "spark": f"http://{host}:{settings.spark_ui_port}/connect/",
        "minio": f"http://{host}:{settings.minio_console_port}",
    }


def _runs(settings: Settings) -> list[dict[str, Any]]:
    try:
        found = probes.graphql(settings, _RUNS)["runsOrError"].get("results", [])
    except probes.UnhealthyError:
        return []  # `reasons` says that Dagster does not answer
    return [run_row(run) for run in found]


def run_row(run: dict[str, Any]) -> dict[str, Any]:
    """A run from its entry in Dagster's GraphQL."""
    start, end = run["startTime"], run["endTime"]
    return {
        "run_id": run["runId"],
        "job": run["jobName"],
        "status": run["status"],
        "started_at": datetime.fromtimestamp(start, UTC) if start else None,
        "seconds": round(end - start, 1) if start and end else None,
    }
