"""What is open to a network: HAProxy for the pages, MinIO and Kafka, stunnel for PostgreSQL. Debian's packages.

They alone listen there and alone have the certificate; behind them all listens where it did.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployment import debian, postgres
from deployment.command import Command
from deployment.paths import PROJECT, setting, tool
from deployment.prometheus import POLICY, UNITS, services_off
from deployment.steps import InstallError, Shell, Step

if TYPE_CHECKING:
    from shared.settings import Settings

PACKAGES = ("haproxy", "stunnel4")
CURE = f"Try `apt-get install {' '.join(PACKAGES)}` by hand, then run ./deploy.sh again."
CONFIG = PROJECT / "config" / "public"

USER = "haproxy"
"""Whom Debian's package makes."""


@dataclass(frozen=True)
class Door:
    """One port that is open to the network, and the service behind it."""

    name: str
    service: str
    port: str
    """The setting of the port behind it."""
    public_port: str
    login: str = ""
    """What of `config/public` asks who it is; empty where the service does."""
    in_docker_alone: bool = False


PAGE, API = "page", "api"
DOORS = (
    Door("Dashboard", "dashboard", "dashboard_port", "public_dashboard_port", API),
    Door("Dagster", "dagster-webserver", "dagster_port", "public_dagster_port", PAGE),
    Door("Spark jobs", "spark-connect", "spark_ui_port", "public_spark_ui_port", PAGE),
    Door("Spark master", "spark-master", "spark_master_ui_port", "public_spark_master_ui_port", PAGE),
    Door("Prometheus", "prometheus", "prometheus_port", "public_prometheus_port", PAGE),
    Door("MinIO", "minio", "minio_port", "public_minio_port"),
    Door("MinIO console", "minio", "minio_console_port", "public_minio_console_port"),
    Door("Grafana", "grafana", "grafana_port", "public_grafana_port", in_docker_alone=True),
)
"""Those that speak HTTP."""
GRAFANA = 3000
"""Where Grafana's container listens, whatever port it is published on."""


def is_installed() -> bool:
    """Are both there?"""
    return tool("haproxy") is not None and tool("stunnel4") is not None


def install(shell: Shell) -> None:
    """Install Debian's packages; the services that they would start stay off."""
    if not debian.can_install():
        raise InstallError("PUBLIC_HOST needs HAProxy and stunnel, which only root on Debian can install here")
    missing = [package for package in PACKAGES if tool(package) is None]  # each has the name of its program
    with services_off(missing, POLICY, UNITS):
        debian.install(shell, *missing)


STEP = Step(name="Public", done=is_installed, run=install, cure=CURE)
"""Where nothing is to be open, it is not among those of a deployment."""


def is_wanted() -> bool:
    """Whether a port is to be open, as stage one sees the settings."""
    return bool(setting("PUBLIC_HOST", ""))


def command(_settings: "Settings") -> Command:
    """Both programs, and who renews their certificate."""
    if not is_installed():
        raise InstallError(f"HAProxy and stunnel are not installed. {CURE}")
    return Command((sys.executable, "-m", "deployment.doorkeeper"))


def doors(settings: "Settings") -> Iterator[Door]:
    """The HTTP doors of this deployment."""
    return (door for door in DOORS if not door.in_docker_alone or (settings.containers and settings.grafana))


def haproxy(settings: "Settings", certificate: Path) -> str:
    """HAProxy's configuration. The secrets are in its environment."""
    parts = [_template("haproxy.cfg")]
    if os.geteuid() == 0:  # who serves connections is not root
        parts.insert(0, f"global\n    user {USER}\n    group {USER}\n")
    for door in doors(settings):
        behind = GRAFANA if door.in_docker_alone else getattr(settings, door.port)
        parts.append(
            _template("door.cfg").format(
                name=door.name.lower().replace(" ", "-"),
                place=f"{settings.public_address}:{getattr(settings, door.public_port)}",
                certificate=certificate,
                host=settings.public_host.lower(),
                login=_template(f"{door.login}.cfg") if door.login else "",
                behind=f"{settings.host(door.service)}:{behind}",
            )
        )
    if settings.containers or not settings.is_kafka_elsewhere:
        parts.append(
            _template("kafka.cfg").format(
                place=f"{settings.public_address}:{settings.public_kafka_port}",
                certificate=certificate,
                behind=f"{settings.host('kafka')}:{settings.kafka_login_port}",
            )
        )
    return "\n".join(parts)


def stunnel(settings: "Settings", certificate: Path) -> str:
    """stunnel's configuration: it speaks PostgreSQL's way of asking for TLS."""
    return _template("stunnel.conf").format(
        place=f"{settings.public_address}:{settings.public_postgres_port}",
        certificate=certificate,
        behind=f"{settings.postgres_host}:{settings.postgres_port}",
        source="" if settings.containers else f"local = {postgres.FROM_A_NETWORK}",
    )


def _template(name: str) -> str:
    return (CONFIG / name).read_text(encoding="utf-8")
