"""Spark's own client of Kafka, in driver and executors, at a broker as Azure Event Hubs is one."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from deployment import jars, probes, spark
from deployment.paths import PROJECT, child_environment
from shared.settings import Settings
from streaming.kafka_producer import EventProducer
from streaming.metrics import Metrics
from tests.servers import HubServer, Server, free_ports

TOPIC = "market"
READ = """
from pyspark.sql import SparkSession
from crypto_pipeline import connect_server, kafka_source
from shared.settings import Settings

config = Settings.load()
connect_server.configure(config)
spark = SparkSession.builder.getOrCreate()
try:
    found = kafka_source.messages(spark, config.broker, *kafka_source.bounds(config.broker, config.kafka_topic))
    print("READ", sorted(row.value for row in found.repartition(2).collect()))
    print("PLAN", found._jdf.queryExecution().toString())
    print("CONF", spark.sparkContext.getConf().toDebugString())
finally:
    spark.stop()
"""


@pytest.mark.skipif(not jars.folder("spark").is_dir(), reason="Spark's jars are not there: ./deploy.sh fetches them")
def test_spark_reads_what_streaming_sent_and_shows_the_password_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("spark_master_port", "spark_master_ui_port", "spark_worker_ui_port", "spark_ui_port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    hub = HubServer(tmp_path / "kafka")
    settings = hub.settings.model_copy(update={**ports, "kafka_topic": TOPIC})
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    master = Server(tmp_path, lambda: spark.master(settings), lambda: probes.spark_master(settings))
    worker = Server(tmp_path, lambda: spark.worker(settings), lambda: probes.spark_worker(settings))
    started: list[Server] = []
    try:
        for server in (hub, master, worker):
            server.start()
            started.append(server)
        producer = EventProducer(settings, Metrics())
        producer.prepare([TOPIC])
        for value in (b"one", b"two"):
            producer.send(TOPIC, b"BTCUSDT", value)
        assert producer.close(20) == 0
        read = said(settings)
        assert "READ ['one', 'two']" in read
        shown = read + worker.shown() + master.shown()
        assert "SharedAccessKey" not in shown
        assert "SharedAccessKey" not in " ".join(path.name for path in tmp_path.rglob("*"))
        assert not (tmp_path / "var" / settings.mode / "spark" / "work").stat().st_mode & 0o077
    finally:
        for server in reversed(started):
            server.kill()


def said(settings: Settings) -> str:
    given = {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings.model_dump(exclude_defaults=True).items()
        if name not in ("mode", "memory_profile")
    }
    env = child_environment(
        **given,
        CRYPTO_MODE=settings.mode,
        MEMORY_PROFILE=settings.memory_profile,
        PYTHONPATH=str(PROJECT),
        SPARK_JARS=str(jars.folder("spark")),
        SPARK_LOCAL_IP="127.0.0.1",
        PYSPARK_PYTHON=sys.executable,
    )
    done = subprocess.run(
        [sys.executable, "-c", READ], env=env, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr
