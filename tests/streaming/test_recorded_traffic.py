"""Real traffic, sent again by the simulator, comes out of Kafka as just the trades that were recorded."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaConsumer, TopicPartition

from shared.events import Trade, decode
from tests.servers import KafkaServer, free_ports
from tests.system import PROJECT, wait_for

TOPIC = "recorded_traffic"
Fields = tuple[int, Decimal, Decimal, int, bool]
"""Trade id, price, quantity, time in microseconds, and whether the buyer was the maker."""


@pytest.fixture(scope="module")
def files(recorded: Path) -> list[Path]:
    return sorted((recorded / "binance-spot-recording").glob("*.gz"))


def trades_in(files: list[Path]) -> dict[str, list[Fields]]:
    """The trades of the recordings by symbol, read without any of our code."""
    found: dict[str, list[Fields]] = {}
    for path in files:
        with gzip.open(path, "rt") as lines:
            for line in lines:
                message = json.loads(line.split(" ", 1)[1])
                if message.get("stream", "").endswith("@trade"):
                    data = message["data"]
                    row = (data["t"], Decimal(data["p"]), Decimal(data["q"]), data["T"] * 1000, data["m"])
                    found.setdefault(data["s"], []).append(row)
    return found


def trades_of_kafka(servers: str) -> dict[str, list[Fields]]:
    """The trades that the topic holds, by symbol, in their order."""
    consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    partitions = [TopicPartition(TOPIC, number) for number in consumer.partitions_for_topic(TOPIC) or ()]
    if not partitions:  # the service has not made the topic yet
        consumer.close()
        return {}
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    found: dict[str, list[Fields]] = {}
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        for records in consumer.poll(timeout_ms=500).values():
            for record in records:
                try:
                    event = decode(record.value)
                except msgspec.ValidationError:
                    continue  # a refused message
                if isinstance(event, Trade):
                    row = (event.trade_id, event.price, event.quantity, event.event_time, event.is_buyer_maker)
                    found.setdefault(event.symbol, []).append(row)
    consumer.close()
    return found


@contextmanager
def running(module: str, *arguments: str, environment: dict[str, str]) -> Iterator[None]:
    """A program of the project, ended after."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, cwd=PROJECT, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def test_recorded_traffic_gives_exactly_its_trades(
    kafka_server: KafkaServer, files: list[Path], tmp_path: Path
) -> None:
    simulator, metrics = free_ports(2)
    servers = kafka_server.settings.kafka
    environment = {
        **os.environ,
        "CRYPTO_HOME": str(tmp_path),
        "CRYPTO_MODE": "demo",
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "SIMULATOR_PORT": str(simulator),
        "METRICS_PORT": str(metrics),
        "ACTIVE_SYMBOLS": "BTCUSDT,ETHUSDT",
        "KAFKA_TOPIC": TOPIC,
        "RAW_ARCHIVE": "false",
    }
    expected = trades_in(files)
    assert sum(map(len, expected.values())) > 15_000

    def all_there() -> dict[str, list[Fields]] | None:
        found = trades_of_kafka(servers)
        return found if sum(map(len, found.values())) >= sum(map(len, expected.values())) else None

    replay = ("--replay", *map(str, files), "--speed", "0")
    with (
        running("streaming.simulator", *replay, environment=environment),
        running("streaming.service", environment=environment),
    ):
        found = wait_for("as many trades as were recorded", all_there, seconds=90, every=2)
    assert found == expected
