"""The monitoring service over a real Kafka, PostgreSQL and Dagster."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from deployment import probes
from deployment.command import Command
from monitoring import service
from monitoring.sources.dagster import DagsterSource
from monitoring.sources.kafka import KafkaSource
from monitoring.sources.lag import LagSource
from monitoring.sources.machine import MachineSource
from monitoring.sources.tables import TablesSource
from serving.migrate import migrate
from shared.settings import Settings
from tests.servers import KafkaServer, PostgresServer, Server, free_ports


@dg.asset(key=["bronze", "trades"])
def trades(context: dg.AssetExecutionContext) -> None:
    context.add_output_metadata({"rows_written": 5})


@dg.op
def fails() -> None:
    raise ValueError("as it should")


@dg.job
def failing() -> None:
    fails()


class Dagster:
    """An instance, and its webserver without code."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        [port] = free_ports(1)
        self.settings = Settings(dagster_port=port)
        self.instance = dg.DagsterInstance.from_config(str(home))
        argv = ("dagster-webserver", "--empty-workspace", "-h", "127.0.0.1", "-p", str(port))
        command = Command(argv, {"DAGSTER_HOME": str(home)})
        self.server = Server(home / "server", lambda: command, lambda: probes.dagster_webserver(self.settings))

    def succeed(self) -> None:
        """A run that writes five rows into bronze.trades."""
        assert dg.materialize([trades], instance=self.instance).success

    def fail(self) -> None:
        """A run of `failing`."""
        assert not failing.execute_in_process(instance=self.instance, raise_on_error=False).success


@pytest.fixture(scope="package")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    made = Dagster(tmp_path_factory.mktemp("dagster") / "home")
    made.server.start()
    yield made
    made.server.stop()
    made.instance.dispose()


@pytest.fixture(scope="package")
def served(postgres_server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """The serving database, in which a market has a gap and an incomplete day."""
    migrate(postgres_server.settings)
    with psycopg.connect(postgres_server.settings.serving_owner_url, autocommit=True) as connection:
        for table in ("bronze.gaps", "gold.market_overview", "gold.data_quality", "silver.completeness_hourly"):
            connection.execute(f"TRUNCATE {table}".encode())
        connection.execute("TRUNCATE serving.marks")
        yield connection


class Told:
    """What the service tells."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def families(self) -> dict[str, Metric]:
        url = f"http://127.0.0.1:{self._settings.monitoring_port}/metrics"
        return {family.name: family for family in text_string_to_metric_families(probes.get(url).decode())}

    def values(self, name: str) -> dict[str, float]:
        """Of one sample's name, by the values of its labels."""
        return {
            " ".join(sample.labels.values()): sample.value
            for family in self.families().values()
            for sample in family.samples
            if sample.name == name
        }


@pytest.fixture(scope="package")
def told(
    kafka_server: KafkaServer,
    dagster: Dagster,
    served: psycopg.Connection[Any],
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Told]:
    [port] = free_ports(1)
    settings = postgres_server.settings.model_copy(
        update={
            "monitoring_port": port,
            "kafka_port": kafka_server.settings.kafka_port,
            "dagster_port": dagster.settings.dagster_port,
        }
    )
    stopping = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYPTO_HOME", str(tmp_path_factory.mktemp("monitoring")))
        settings.state.mkdir(parents=True)
        for source in (DagsterSource, KafkaSource, LagSource, MachineSource, TablesSource):
            patch.setattr(source, "every", 0.3)
        running = threading.Thread(target=service.run, args=(settings, stopping))
        running.start()
        yield Told(settings)
        stopping.set()
        running.join()
