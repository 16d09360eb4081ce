"""What Dagster ran and made, by its GraphQL. Each run is read once, when it has ended."""

import json
import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, Summary
from prometheus_client.core import GaugeMetricFamily

from alerts.kinds._kind import SourceError
from alerts.sources import Asked
from shared.settings import Settings

ENDED = ("SUCCESS", "FAILURE", "CANCELED")
UNDER_WAY = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
RUN_SECONDS = (5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800)
OVERLAP_SECONDS = 120.0
"""So far before the last question is asked again: a run may be written late. What was counted is not counted again."""
KEYS_SECONDS = 600.0
"""How often it looks which tables there are."""

_RUNS = (
    "{{ended:runsOrError(filter:{{statuses:[{ended}] updatedAfter:{since}}})"
    "{{...on Runs{{results{{runId jobName status startTime endTime}}}} ...on PythonError{{message}}}}"
    "under_way:runsOrError(filter:{{statuses:[{under_way}]}})"
    "{{...on Runs{{results{{jobName status}}}} ...on PythonError{{message}}}}}}"
)
_RUN = (
    "{{runOrError(runId:{run}){{...on Run{{stepStats{{stepKey status startTime endTime}} assetMaterializations"
    "{{assetKey{{path}} metadataEntries{{label ...on IntMetadataEntry{{intValue}}}}}}}}}}}}"
)
_KEYS = "{assetRecordsOrError{...on AssetRecordConnection{assets{key{path}}}}}"
_MADE = "{{assetsLatestInfo(assetKeys:[{keys}]){{assetKey{{path}} latestMaterialization{{timestamp}}}}}}"


class DagsterSource:
    """Counts what ended since it began; the rest is as it is now."""

    name = "dagster"
    every = 15.0

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self._asked = Asked(settings, {})
        self._began = self._asked_at = time.time()
        self._counted: dict[str, float] = {}
        """Runs, and when each was counted."""
        self._keys = ""
        self._next_keys = 0.0
        self._runs = Counter("dagster_runs", "Runs that ended.", ("job", "status"), registry=registry)
        self._seconds = Histogram(
            "dagster_run_seconds", "How long a run took that succeeded.", ("job",), buckets=RUN_SECONDS,
            registry=registry,
        )  # fmt: skip
        self._step_seconds = Summary(
            "dagster_step_seconds", "How long a step took that succeeded.", ("step",), registry=registry
        )
        self._rows = Counter("table_rows_written", "Rows that runs wrote into a table.", ("table",), registry=registry)

    def ask(self) -> Iterator[GaugeMetricFamily]:
        """What is under way, and when each table was made. Raises `SourceError`."""
        now = time.time()
        since = self._asked_at - OVERLAP_SECONDS
        asked = _RUNS.format(ended=" ".join(ENDED), under_way=" ".join(UNDER_WAY), since=since)
        found = self._asked.dagster(asked)
        for run in _results(found["ended"]):
            if (run["endTime"] or now) >= self._began and run["runId"] not in self._counted:
                self._count(run)
                self._counted[run["runId"]] = now
        self._counted = {run: at for run, at in self._counted.items() if at > since}
        self._asked_at = now
        under_way = GaugeMetricFamily("dagster_runs_under_way", "Runs that wait or go on.", labels=["job", "status"])
        for state, runs in Tally((run["jobName"], run["status"]) for run in _results(found["under_way"])).items():
            under_way.add_metric(state, runs)
        yield under_way
        yield self._made(now)

    def _count(self, run: Mapping[str, Any]) -> None:
        """Count a run that ended. Raises `SourceError` before anything of it is counted."""
        told = self._asked.dagster(_RUN.format(run=json.dumps(run["runId"])))["runOrError"]
        for status in ENDED:
            self._runs.labels(run["jobName"], status)  # at 0, so that the first one that fails is an increase
        self._runs.labels(run["jobName"], run["status"]).inc()
        if run["status"] == "SUCCESS" and run["startTime"] and run["endTime"]:
            self._seconds.labels(run["jobName"]).observe(run["endTime"] - run["startTime"])
        for step in told.get("stepStats", ()):
            if step["status"] == "SUCCESS" and step["startTime"] and step["endTime"]:
                self._step_seconds.labels(step["stepKey"]).observe(step["endTime"] - step["startTime"])
        for made in told.get("assetMaterializations", ()):
            table = ".".join(made["assetKey"]["path"])
            for entry in made["metadataEntries"]:
                if entry["label"] == "rows_written":
                    self._rows.labels(table).inc(entry["intValue"])

    def _made(self, now: float) -> GaugeMetricFamily:
        if now >= self._next_keys:
            records = self._asked.dagster(_KEYS)["assetRecordsOrError"].get("assets", ())
            self._keys = " ".join(f"{{path:{json.dumps(one['key']['path'])}}}" for one in records)
            self._next_keys = now + KEYS_SECONDS if self._keys else now
        made = GaugeMetricFamily("table_made_time_seconds", "When a table was last made, since 1970.", labels=["table"])
        for one in self._asked.dagster(_MADE.format(keys=self._keys))["assetsLatestInfo"]:
            if latest := one["latestMaterialization"]:
                made.add_metric([".".join(one["assetKey"]["path"])], int(latest["timestamp"]) / 1000)
        return made


def _results(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "results" not in answer:
        raise SourceError(f"Dagster: {answer.get('message', 'it does not tell its runs')}")
    results: list[dict[str, Any]] = answer["results"]
    return results
