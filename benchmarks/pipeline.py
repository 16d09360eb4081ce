"""How long a minute's run of the pipeline takes, by asset, and what it costs Spark's two JVMs.

    python benchmarks/pipeline.py [--passes 8]

It watches a running deployment. Straight after `./deploy.sh --demo` the first passes are those of cold JVMs. How much
is streamed is the deployment's: with `SIMULATOR_RATE=169 ./deploy.sh --demo` that many trades a second of BTCUSDT, and
fewer of the others.
"""

import argparse
import statistics
import time
from typing import Any

import psutil

from deployment import probes
from shared.settings import settings

RUNS = """{ runsOrError(limit: 20, filter: {pipelineName: "pipeline"}) { ... on Runs { results {
    runId status startTime endTime stepStats { stepKey startTime endTime } } } } }"""
SPARK = {"driver": "org.apache.spark.deploy.SparkSubmit", "executor": "CoarseGrainedExecutorBackend"}


def finished() -> list[dict[str, Any]]:
    """The runs that are over, the oldest first."""
    runs = probes.graphql(settings(), RUNS)["runsOrError"]["results"]
    return [run for run in reversed(runs) if run["endTime"]]


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
    """Watch, and print a line a pass and the median of the second half."""
    parser = argparse.ArgumentParser(description="How long a minute's run of the pipeline takes.")
    parser.add_argument("--passes", type=int, default=8)
    passes = parser.parse_args().passes
    seen = {run["runId"] for run in finished()}
    seconds: list[float] = []
    before = cpu_seconds()
    while len(seconds) < passes:
        time.sleep(1)
        for run in finished():
            if run["runId"] in seen:
                continue
            seen.add(run["runId"])
            now = cpu_seconds()
            steps = {step["stepKey"]: (step["endTime"] or 0) - (step["startTime"] or 0) for step in run["stepStats"]}
            seconds.append(run["endTime"] - run["startTime"])
            print(
                f"{len(seconds)}: {run['status'].lower()} {seconds[-1]:.0f} s;",
                ", ".join(f"{name.replace('__', '.')} {took:.1f}" for name, took in steps.items()) + ";",
                "CPU " + ", ".join(f"{name} {now[name] - before[name]:.0f} s" for name in SPARK),
                flush=True,
            )
            before = now
    print(f"median of the last {len(seconds) - passes // 2}: {statistics.median(seconds[passes // 2 :]):.0f} s")


if __name__ == "__main__":
    main()
