"""The jars of Kafka and Spark, by Maven, from `config/jars/<name>/pom.xml` into the cache."""

import shutil
import tempfile
import threading
from functools import partial
from pathlib import Path

from deployment.paths import PROJECT, cache, fingerprint
from deployment.steps import Shell, Step

NAMES = ("kafka", "spark")
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

_one_at_a_time = threading.Lock()
"""Two Mavens that fill one local repository can spoil each other's files."""


def pom(name: str) -> Path:
    """The list of what is wanted."""
    return PROJECT / "config" / "jars" / name / "pom.xml"


def folder(name: str) -> Path:
    """Where the jars lie; it exists when all of them are there."""
    return cache() / f"{name}-jars-{fingerprint(pom(name))}"


def classpath(name: str) -> str:
    """All jars, as Java wants to be told."""
    return f"{folder(name)}/*"


def fetch(name: str, shell: Shell) -> None:
    """Fetch into a folder beside it, then rename: a half-filled one is never taken for whole."""
    cache().mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{name}-jars-", dir=cache()))
    made.chmod(0o755)
    try:
        with _one_at_a_time:
            shell.run(
                [
                    "mvn",
                    "--batch-mode",
                    "--no-transfer-progress",
                    "--strict-checksums",
                    "-f",
                    str(pom(name)),
                    PLUGIN,
                    f"-DoutputDirectory={made}",
                ]
            )
        if not folder(name).exists():
            made.rename(folder(name))
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _step(name: str) -> Step:
    return Step(
        name=f"{name.capitalize()} jars",
        done=folder(name).is_dir,
        run=partial(fetch, name),
        cure="Look whether Maven reaches its repository (~/.m2/settings.xml), then run ./deploy.sh again.",
    )


KAFKA = _step("kafka")
SPARK = _step("spark")
