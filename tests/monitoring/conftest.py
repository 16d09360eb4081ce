"""The monitoring service over a real Kafka, PostgreSQL and Dagster."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from monitoring import service
from monitoring.sources.dagster import DagsterSource
from monitoring.sources.kafka import KafkaSource
from monitoring.sources.lag import LagSource
from monitoring.sources.machine import MachineSource
from monitoring.sources.tables import TablesSource
from serving.migrate import migrate
from tests.monitoring.told import Dagster, Told, until
from tests.servers import KafkaServer, PostgresServer, free_ports

TABLES = (
    "bronze.gaps",
    "gold.data_quality",
    "gold.market_overview",
    "serving.marks",
    "silver.completeness_hourly",
)
"""What the service asks."""


@pytest.fixture(scope="package")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    made = Dagster(tmp_path_factory.mktemp("dagster") / "home")
    made.server.start()
    yield made
    made.server.stop()
    made.instance.dispose()


@pytest.fixture(scope="package")
def served(postgres_server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """The serving database, in which what the service asks is empty."""
    migrate(postgres_server.settings)
    emptied = f"TRUNCATE {', '.join(TABLES)}".encode()
    with psycopg.connect(postgres_server.settings.serving_owner_url, autocommit=True) as connection:
        connection.execute(emptied)
        yield connection
        connection.execute(emptied)


@pytest.fixture(scope="package")
def told(
    kafka_server: KafkaServer,
    dagster: Dagster,
    served: psycopg.Connection[Any],
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Told]:
    port, nobodys = free_ports(2)
    settings = postgres_server.settings.model_copy(
        update={
            "monitoring_port": port,
            "spark_connect_port": nobodys,
            "kafka_port": kafka_server.settings.kafka_port,
            "dagster_port": dagster.settings.dagster_port,
        }
    )
    stopping = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYPTO_HOME", str(tmp_path_factory.mktemp("monitoring")))
        for source in (DagsterSource, KafkaSource, LagSource, MachineSource, TablesSource):
            patch.setattr(source, "every", 0.3)
        running = threading.Thread(target=service.run, args=(settings, stopping))
        running.start()
        made = Told(settings)
        until(made.answers)
        yield made
        stopping.set()
        running.join()
