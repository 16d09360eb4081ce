"""A Docker engine with compose: the one that answers, else Debian's, started and stopped by us."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployment import debian
from deployment.console import Console
from deployment.paths import cache
from deployment.steps import InstallError, Shell

COMPOSE = "github.com/docker/compose/v5/cmd@v5.0.2"
"""Debian has none that reads our file, so it is built with Go."""
STARTS_WITHIN = 60.0


@contextmanager
def running() -> Iterator[None]:
    """An engine that answers, and compose on the PATH of its command; skips where neither is to be had, saying why."""
    with pytest.MonkeyPatch.context() as patch, Console.logging_to(Path(os.devnull)) as console:
        shell = Shell(console)
        try:
            if shutil.which("dockerd") is None and not _answers("info"):
                if not debian.can_install():
                    pytest.skip("no Docker engine answers, and only root on Debian can install one here")
                debian.install(shell, "docker.io")
            started = None if _answers("info") else _start()
        except InstallError as error:
            pytest.skip(f"Docker could not be installed: {error}")
        try:
            if not _answers("compose", "version"):
                patch.setenv("DOCKER_CONFIG", str(_with_compose(shell)))
            yield
        finally:
            if started:
                started.terminate()
                started.wait(60)


def check_that_it_runs(image: str) -> None:
    """Skips where an engine that answers may run no container, as inside of some sandboxes."""
    done = subprocess.run(["docker", "run", "--rm", image, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the Docker engine runs no container here: {done.stderr.strip()}")


def _start() -> subprocess.Popen[bytes]:
    log = Path(tempfile.gettempdir()) / "crypto-lakehouse-dockerd.log"
    with log.open("wb") as output:
        process = subprocess.Popen(["dockerd"], stdout=output, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + STARTS_WITHIN
    while not _answers("info"):
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            said = log.read_text(errors="replace").strip().splitlines()[-3:]
            log.unlink()
            pytest.skip(f"the Docker engine does not start here: {' '.join(said)}")
        time.sleep(0.3)
    log.unlink()  # it is written to the end, and gone with the engine
    return process


def _with_compose(shell: Shell) -> Path:
    """A folder of Docker's configuration that has compose as a plugin."""
    config = cache() / f"docker-{COMPOSE.rpartition('@')[2]}"
    plugin = config / "cli-plugins" / "docker-compose"
    if not plugin.exists():
        plugin.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=plugin.parent) as made:
            shell.run(["go", "install", COMPOSE], GOBIN=made, CGO_ENABLED="0")
            (Path(made) / "cmd").rename(plugin)
    return config


def _answers(*arguments: str) -> bool:
    try:
        return not subprocess.run(["docker", *arguments], capture_output=True, check=False, timeout=20).returncode
    except OSError:
        return False
