"""The monitoring service, `python -m monitoring.service`: tells Prometheus what no other service tells of itself."""

import logging
import signal
import sys
import threading

from prometheus_client import CollectorRegistry, ProcessCollector

from monitoring.asking import Answers, Asking, Source
from monitoring.sources.dagster import DagsterSource
from monitoring.sources.kafka import KafkaSource
from monitoring.sources.lag import LagSource
from monitoring.sources.machine import MachineSource
from monitoring.sources.tables import TablesSource
from shared import logs
from shared.pages import Pages, figures
from shared.settings import Settings, SettingsError, settings


def run(settings: Settings, stopping: threading.Event) -> None:
    """Answer `/metrics` until `stopping` is set. Raises `SettingsError` where the port is taken."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    sources: list[Source] = [
        DagsterSource(settings, registry),
        KafkaSource(settings),
        LagSource(settings),
        MachineSource(settings),
        TablesSource(settings),
    ]
    if settings.has_clickhouse:
        from monitoring.sources.clickhouse import ClickHouseSource  # what it imports nobody else needs

        sources.append(ClickHouseSource(settings))
    asking = [Asking(source) for source in sources]
    registry.register(Answers(asking))
    pages = Pages(figures(registry))
    try:
        pages.serve(settings.bind_address, settings.monitoring_port)
    except OSError as error:
        port = f"MONITORING_PORT {settings.monitoring_port}"
        raise SettingsError(f"{port} cannot be used ({error.strerror}): end what holds it, or set another.") from None
    for one in asking:
        one.start()
    stopping.wait()
    for one in asking:
        one.stop()
    pages.close()


def main() -> None:
    """Run until TERM."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        logs.set_up(settings().log_format, quiet={"kafka": logging.ERROR})  # a broker that is away is told once, by us
        run(settings(), stopping)
    except SettingsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
