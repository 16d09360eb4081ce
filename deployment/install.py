"""`python3 -m deployment.install [STEP ...]`: install without starting, as the Dockerfile does."""

import os
import sys
from pathlib import Path

from deployment import chdb, chromium, environment, jars, minio, postgres, prometheus, public
from deployment.console import Console
from deployment.steps import InstallError, Shell, Step, install

STEPS = (environment.STEP, *jars.STEPS, minio.STEP, postgres.STEP, prometheus.STEP)
"""All that a deployment without Docker needs."""
NAMED = (public.STEP, chromium.STEP, chdb.STEP)
"""What is installed only where it is named: for what is open to a network, for the tests."""


def short(step: Step) -> str:
    """The name of a step on the command line."""
    return step.name.lower().replace(" ", "-")


def main() -> int:
    """Install the steps that the command line names, or all of a deployment. Gives the exit code."""
    known = (*STEPS, *NAMED)
    wanted = set(sys.argv[1:]) or {short(step) for step in STEPS}
    unknown = wanted - {short(step) for step in known}
    if unknown:
        print(f"No such step: {', '.join(sorted(unknown))}. There are {', '.join(short(step) for step in known)}.")
        return 2
    with Console.logging_to(Path(os.devnull)) as console:
        steps = [step for step in known if short(step) in wanted]
        try:
            install(steps, console, Shell(console), lambda _step: None, lambda: None)
        except InstallError as error:
            console.line(f"✗ {error}")
            return 1
    return 0 if all(step.done() for step in steps) else 1


if __name__ == "__main__":
    sys.exit(main())
