"""Kafka: one node in KRaft mode, broker and controller in one, formatted at its first start."""

import base64
import subprocess
import uuid
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from deployment import jars
from deployment.command import Command
from deployment.paths import PROJECT
from deployment.steps import InstallError

if TYPE_CHECKING:
    from shared.settings import Settings

TEMPLATE = PROJECT / "config" / "kafka" / "server.properties"
CONTAINER_PORT = 9094
"""In Docker the other containers come in here, told `kafka` as its name; the machine itself comes by `KAFKA_PORT`."""


def properties(settings: "Settings", template: str) -> str:
    """The broker's configuration. Raises `RetentionFileError`."""
    from shared.retention import load_kafka  # what installs knows no library

    listeners = [f"PLAINTEXT://{settings.bind_address}:{settings.kafka_port}"]
    advertised = [f"PLAINTEXT://{settings.loopback}:{settings.kafka_port}"]
    if settings.containers:
        listeners.append(f"INTERNAL://{settings.bind_address}:{CONTAINER_PORT}")
        advertised.append(f"INTERNAL://kafka:{CONTAINER_PORT}")
    keep, bytes_kept = load_kafka(settings.retention_file)
    if settings.public_host:
        listeners.append(f"LOGIN://{settings.bind_address}:{settings.kafka_login_port}")
        advertised.append(f"LOGIN://{settings.public_host}:{settings.public_kafka_port}")
    return template.format(
        retention_hours=keep // timedelta(hours=1),
        retention_bytes=bytes_kept,
        controller_port=settings.kafka_controller_port,
        listeners=",".join([*listeners, f"CONTROLLER://127.0.0.1:{settings.kafka_controller_port}"]),
        advertised=",".join(advertised),
        inter_broker_listener="INTERNAL" if settings.containers else "PLAINTEXT",
        data=settings.state / "kafka" / "data",
        login=_login(settings) if settings.public_host else "",
    )


def _login(settings: "Settings") -> str:
    """Who comes in by the listener of the network."""
    password = settings.public_kafka_password.get_secret_value().replace("\\", "\\\\").replace('"', '\\"')
    jaas = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{settings.public_user}="{password}";'
    return "listener.name.login.plain.sasl.jaas.config=" + jaas.replace("\\", "\\\\")


def command(settings: "Settings") -> Command:
    """Serve `$state/kafka`, formatted where it is not."""
    folder = settings.state / "kafka"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "server.properties"
    config.touch(mode=0o600)
    config.chmod(0o600)  # the login of the network is in it
    config.write_text(properties(settings, TEMPLATE.read_text(encoding="utf-8")), encoding="utf-8")
    if not (folder / "data" / "meta.properties").exists():
        _format(config)
    heap = "384m" if settings.memory_profile == "8g" else "320m"
    return Command(
        (*_java(heap), "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError", *_classpath(), "kafka.Kafka", str(config))
    )


def _format(config: Path) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = [
        *_java("128m"),
        *_classpath(),
        "kafka.tools.StorageTool",
        "format",
        f"--cluster-id={cluster}",  # one in 64 begins with a dash: as a word of its own it would be an option
        "--config",
        str(config),
    ]
    done = subprocess.run([*tool, "--ignore-formatted"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallError(f"Kafka's folder could not be formatted: {(done.stderr or done.stdout).strip()[-800:]}")


def _java(heap: str) -> tuple[str, ...]:
    return ("java", f"-Xmx{heap}", f"-Dlog4j2.configurationFile={PROJECT / 'config' / 'kafka' / 'log4j2.properties'}")


def _classpath() -> tuple[str, ...]:
    return ("-cp", jars.classpath("kafka"))
