"""Spark: a standalone master and worker from the jars of the pyspark package, and the Connect server on them."""

import importlib.util
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deployment import jars
from deployment.command import Command
from deployment.paths import PROJECT
from deployment.steps import InstallError

if TYPE_CHECKING:
    from shared.settings import Settings

CONFIG = PROJECT / "config" / "spark"
_SMALL = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
"""For a JVM that does little: a third of the CPU time at its start, and less memory."""
WORKER_MEMORY = {"8g": "2g", "6g": "1280m"}
"""What the worker has to give to executors."""


def master_url(settings: "Settings") -> str:
    """Where workers and applications find the master."""
    return f"spark://{settings.host('spark-master')}:{settings.spark_master_port}"


def forget(state: Path) -> None:
    """Before a new start: a master that remembered the last time would wait a minute for what is gone."""
    shutil.rmtree(state / "spark" / "recovery", ignore_errors=True)


def master(settings: "Settings") -> Command:
    """The master. What it must remember when it is killed lies in the state folder."""
    recovery = settings.state / "spark" / "recovery"
    recovery.mkdir(parents=True, exist_ok=True)
    options = ("--host", settings.host("spark-master"), "--port", str(settings.spark_master_port))
    argv = (
        _spark_class(),
        "org.apache.spark.deploy.master.Master",
        *options,
        "--webui-port",
        str(settings.spark_master_ui_port),
    )
    return Command(
        argv,
        {**_env(settings), "SPARK_DAEMON_JAVA_OPTS": f"-Dspark.deploy.recoveryDirectory={recovery} {_SMALL}"},
    )


def worker(settings: "Settings") -> Command:
    """The worker, with all cores."""
    work = settings.state / "spark" / "work"
    work.mkdir(parents=True, exist_ok=True)
    work.chmod(0o700)  # an executor keeps the login of another Kafka in it
    # Of several containers each goes by its own address: the name of the service is that of all.
    host = () if settings.containers else ("--host", settings.loopback)
    options = (*host, "--memory", WORKER_MEMORY[settings.memory_profile])
    places = ("--work-dir", str(work), "--webui-port", str(settings.spark_worker_ui_port))
    argv = (_spark_class(), "org.apache.spark.deploy.worker.Worker", *options, *places, master_url(settings))
    return Command(argv, {**_env(settings), "SPARK_DAEMON_JAVA_OPTS": _SMALL})


def connect(settings: "Settings") -> Command:
    """The Connect server: the one long-lived driver. It listens when it is warm."""
    work = settings.state / "spark" / "work"
    work.mkdir(parents=True, exist_ok=True)
    env = {
        "SPARK_JARS": str(jars.folder("spark")),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    # Spark makes a folder `artifacts` where it runs, which in a container must not be its read-only root.
    folder = work if settings.containers else None
    return Command((sys.executable, "-m", "crypto_pipeline.connect_server"), {**_env(settings), **env}, folder)


def _home() -> Path:
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise InstallError("pyspark is not installed: run ./deploy.sh")
    return Path(found.origin).parent


def _spark_class() -> str:
    return str(_home() / "bin" / "spark-class")


def _env(settings: "Settings") -> dict[str, str]:
    if settings.containers:  # on the volume: what `/tmp` holds there is memory
        scratch = settings.state / "spark" / f"scratch-{socket.gethostname()}"  # workers share the volume
        shutil.rmtree(scratch, ignore_errors=True)
        local = {"SPARK_LOCAL_DIRS": str(scratch)}
    else:
        local = {"SPARK_LOCAL_IP": settings.loopback}
    return {
        "SPARK_HOME": str(_home()),
        "SPARK_CONF_DIR": str(CONFIG),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_NO_DAEMONIZE": "1",
        "SPARK_SCALA_VERSION": "2.12",
        **local,
    }
