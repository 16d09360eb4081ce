"""`python3 -m deployment.install [STEP ...]`: install without starting, as the Dockerfile does."""

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from deployment.console import Console
from deployment.steps import InstallError, Shell, Step, install

DEPLOYMENT = {
    "python-environment": "environment.STEP",
    "kafka-jars": "jars.KAFKA",
    "spark-jars": "jars.SPARK",
    "minio": "minio.STEP",
    "postgresql": "postgres.STEP",
    "prometheus": "prometheus.STEP",
}
"""All that a deployment without Docker needs, and where it is described."""
BESIDE = {
    "public": "public.STEP",
    "chromium": "chromium.STEP",
    "chdb": "chdb.STEP",
    "minio-client": "minio.CLIENT",
    "python-environment-without-tests": "environment.FOR_A_DEPLOYMENT",
}
"""What is installed only where it is named: for what is open to a network, for tests, and for the image."""


def steps(names: Iterable[str] = tuple(DEPLOYMENT)) -> list[Step]:
    """The steps of these names. No module but theirs is imported: a layer of the image has no other."""
    found = []
    for name in names:
        module, _, step = (DEPLOYMENT | BESIDE)[name].partition(".")
        found.append(getattr(importlib.import_module(f"deployment.{module}"), step))
    return found


def main() -> int:
    """Install the steps that the command line names, or all of a deployment. Gives the exit code."""
    known = DEPLOYMENT | BESIDE
    wanted = sys.argv[1:] or list(DEPLOYMENT)
    unknown = set(wanted) - set(known)
    if unknown:
        print(f"No such step: {', '.join(sorted(unknown))}. There are {', '.join(known)}.")
        return 2
    with Console.logging_to(Path(os.devnull)) as console:
        chosen = steps(wanted)
        try:
            install(chosen, console, Shell(console), lambda _step: None, lambda: None)
        except InstallError as error:
            console.line(f"✗ {error}")
            return 1
    return 0 if all(step.done() for step in chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
