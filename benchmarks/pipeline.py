"""How long a minute's run of the pipeline takes, by asset, and what it costs Spark's two JVMs.

    python benchmarks/pipeline.py [--passes 8]

It watches a running deployment. Straight after `./deploy.sh --demo` the first passes are those of cold JVMs. How much
is streamed is the deployment's: with `SIMULATOR_RATE=169 ./deploy.sh --demo` that many trades a second of BTCUSDT, and
fewer of the others; `ACTIVE_SYMBOLS` names more symbols. "Spark" is the time in which at least one job of the run was
at work, as Spark's UI has it; the rest of a run is Dagster, planning, and the object store.

It also says how long after the end of a minute, by the machine's clock, its candles stood in `silver.ohlcv_1m`.
"""

import argparse
import statistics
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from crypto_pipeline.reader import read
from crypto_pipeline.silver import ohlcv_1m
from deployment import probes
from shared.settings import settings

RUNS = """{ runsOrError(limit: 20, filter: {pipelineName: "pipeline"}) { ... on Runs { results {
    runId status startTime endTime stepStats { stepKey startTime endTime } } } } }"""
MINUTES = "silver__ohlcv_1m"
SPARK = {"driver": "org.apache.spark.deploy.SparkSubmit", "executor": "CoarseGrainedExecutorBackend"}


def finished() -> list[dict[str, Any]]:
    """The runs that are over, the oldest first; none while Dagster is too busy to say it."""
    try:
        runs = probes.graphql(settings(), RUNS)["runsOrError"]["results"]
    except probes.UnhealthyError:
        return []
    return [run for run in reversed(runs) if run["endTime"]]


def jobs(port: int) -> list[dict[str, Any]]:
    """Spark's jobs that its UI on this port still keeps."""
    place = f"http://{settings().host('spark-connect')}:{port}/api/v1/applications"
    [application] = httpx.get(place, timeout=30).json()
    found: list[dict[str, Any]] = httpx.get(f"{place}/{application['id']}/jobs", timeout=30).json()
    return found


def spark_seconds(run_id: str, of: list[dict[str, Any]]) -> float:
    """How long at least one job of the run was at work: its jobs are tagged `asset:run` (`crypto_pipeline.spark`)."""
    return covered([one for one in of if any(tag.endswith(f":{run_id[:8]}") for tag in one.get("jobTags", []))])


def covered(jobs: Iterable[dict[str, Any]]) -> float:
    """The seconds in which at least one of these jobs was at work."""
    spans = sorted(
        (moment(one["submissionTime"]), moment(one["completionTime"])) for one in jobs if "completionTime" in one
    )
    total, until = 0.0, 0.0
    for start, end in spans:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def moment(text: str) -> float:
    """Of a time as Spark's REST gives it, 2026-11-27T08:00:00.123GMT, the seconds since 1970."""
    return datetime.fromisoformat(text.replace("GMT", "+00:00")).timestamp()


def delays(steps: list[tuple[float, float]]) -> list[float]:
    """Of the minutes that closed meanwhile, the seconds from the end of each to the end of the step that brought it.

    `steps`: when those of `silver.ohlcv_1m` began and ended. Of a minute the last symbol counts.
    """
    columns = ["interval_end", "known_at", "is_closed", "revision"]
    rows = read(ohlcv_1m.TABLE, settings(), columns)
    since = pa.scalar(datetime.fromtimestamp(steps[0][0], UTC), pa.timestamp("us", "UTC"))
    found: dict[datetime, float] = {}
    for row in rows.filter(pc.greater_equal(rows["interval_end"], since)).to_pylist():
        known_at = row["known_at"].timestamp() if row["is_closed"] and row["revision"] == 1 else 0
        for began, ended in steps:
            if began <= known_at <= ended:
                late = ended - row["interval_end"].timestamp()
                found[row["interval_end"]] = max(late, found.get(row["interval_end"], 0))
    return sorted(found.values())


def cpu_seconds() -> dict[str, float]:
    """What each of Spark's JVMs has used so far."""
    used = dict.fromkeys(SPARK, 0.0)
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            for name, main_class in SPARK.items():
                if main_class in line and process.name() == "java":
                    times = process.cpu_times()
                    used[name] += times.user + times.system
        except psutil.Error:
            continue
    return used


def main() -> None:
    """Watch, and print a line a pass, and the medians of the second half."""
    parser = argparse.ArgumentParser(description="How long a minute's run of the pipeline takes.")
    parser.add_argument("--passes", type=int, default=8)
    passes = parser.parse_args().passes
    seen = {run["runId"] for run in finished()}
    seconds: list[float] = []
    spark: list[float] = []
    minutes: list[tuple[float, float]] = []
    before = cpu_seconds()
    while len(seconds) < passes:
        time.sleep(1)
        for run in finished():
            if run["runId"] in seen:
                continue
            seen.add(run["runId"])
            now = cpu_seconds()
            spans = {step["stepKey"]: (step["startTime"] or 0, step["endTime"] or 0) for step in run["stepStats"]}
            minutes += [spans[MINUTES]] if MINUTES in spans else []
            seconds.append(run["endTime"] - run["startTime"])
            spark.append(spark_seconds(run["runId"], jobs(settings().spark_ui_port)))
            print(
                f"{len(seconds)}: {run['status'].lower()} {seconds[-1]:.0f} s, Spark {spark[-1]:.1f} s;",
                ", ".join(f"{name.replace('__', '.')} {end - start:.1f}" for name, (start, end) in spans.items()) + ";",
                "CPU " + ", ".join(f"{name} {now[name] - before[name]:.0f} s" for name in SPARK),
                flush=True,
            )
            before = now
    half = passes // 2
    print(
        f"medians of the last {passes - half}: {statistics.median(seconds[half:]):.0f} s, "
        f"of which Spark was at work for {statistics.median(spark[half:]):.1f} s"
    )
    if late := delays(minutes) if minutes else []:
        nearly_last = late[min(len(late) - 1, int(len(late) * 0.95))]
        print(f"{len(late)} minutes, from their end to their candles: median {statistics.median(late):.0f} s, ", end="")
        print(f"p95 {nearly_last:.0f} s")


if __name__ == "__main__":
    main()
