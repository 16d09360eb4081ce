"""The containers of a deployment, used as a person would: by `docker compose`."""

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.system import PROJECT, System


@dataclass(frozen=True)
class Containers:
    """A system in Docker, and what its project is called."""

    system: System
    project: str

    def compose(self, *words: str, seconds: float = 600) -> str:
        """What `docker compose …` prints, in the project's folder; the test fails where it fails."""
        files = ["--project-directory", str(PROJECT), "--env-file", str(self.system.home / ".env")]
        done = subprocess.run(
            ["docker", "compose", *files, "--profile", "demo", *words],
            env={**os.environ, **self.system.environment, "COMPOSE_PROJECT_NAME": self.project},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"docker compose {' '.join(words)}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def inspected(self) -> list[dict[str, Any]]:
        """What the engine knows of each container."""
        names = ["docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}"]
        found = subprocess.run(names, capture_output=True, text=True, check=True).stdout.split()
        told = subprocess.run(["docker", "inspect", *found], capture_output=True, text=True, check=True).stdout
        containers: list[dict[str, Any]] = json.loads(told)
        return containers

    def running(self) -> list[str]:
        """The ids of the containers that run."""
        names = ["docker", "ps", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}"]
        return subprocess.run(names, capture_output=True, text=True, check=True).stdout.split()

    def unhealthy(self) -> list[str]:
        """The services whose containers do not run, or are not healthy."""
        return sorted(
            service(one) for one in self.inspected() if one["State"].get("Health", {}).get("Status") != "healthy"
        )

    @staticmethod
    def crash(container: dict[str, Any]) -> None:
        """Kill what runs in it, as a crash would. After `docker kill` the engine would not start it again."""
        pid = int(container["State"]["Pid"])
        assert pid > 1, f"{service(container)} does not run"
        os.kill(pid, signal.SIGKILL)


def service(container: dict[str, Any]) -> str:
    """The service that a container is of."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])
