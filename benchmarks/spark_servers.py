"""Spark's master, worker and Connect server as they are deployed, for a benchmark with an object store of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from pyspark.sql import SparkSession

from crypto_pipeline.lakehouse import Lakehouse
from deployment import jars, probes, spark
from deployment.command import Command
from shared.settings import Settings
from tests.servers import KafkaServer, MinioServer, Server, free_ports

PORTS = ("spark_master", "spark_master_ui", "spark_worker_ui", "spark_ui", "spark_connect")
START_SECONDS = 300
"""The Connect server makes every table before it listens."""


def settings_of(minio: MinioServer, kafka: KafkaServer | None = None) -> dict[str, str]:
    """The environment of Spark's processes."""
    ports = dict(zip((f"{name}_port" for name in PORTS), free_ports(len(PORTS)), strict=True))
    mine = {
        **{name: str(port) for name, port in ports.items()},
        **({"kafka_port": str(kafka.settings.kafka_port)} if kafka else {}),
        "minio_port": str(minio.settings.minio_port),
        "s3_access_key": minio.settings.s3_access_key,
        "s3_secret_key": minio.settings.s3_secret_key.get_secret_value(),
        "s3_bucket": minio.settings.bucket,
        "memory_profile": "8g",
        "spark_jars": str(jars.folder("spark")),
    }
    return {name.upper(): value for name, value in mine.items()}


@contextmanager
def connected(place: Path, environment: dict[str, str]) -> Iterator[tuple[Lakehouse, Settings]]:
    """A lake through Spark as it is deployed, and its settings."""
    config = Settings.model_validate({name.lower(): value for name, value in environment.items()})
    mine = {**environment, "CRYPTO_HOME": str(place)}

    def server(command: Callable[[Settings], Command], probe: Callable[[Settings], None]) -> Server:
        made = command(config)
        whole = Command(made.argv, {**made.env, **mine}, made.folder)
        return Server(place / command.__name__, lambda: whole, partial(probe, config), START_SECONDS)

    with ExitStack() as ends:
        for command, probe in (
            (spark.master, probes.spark_master),
            (spark.worker, probes.spark_worker),
            (spark.connect, probes.spark_connect),
        ):
            one = server(command, probe)
            ends.callback(one.stop)
            one.start()
        session = SparkSession.builder.remote(config.spark_connect_url).getOrCreate()
        yield Lakehouse(session, config, 1), config
        session.client.close()  # type: ignore[attr-defined]
