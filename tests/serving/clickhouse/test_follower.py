"""Trades from a real Kafka: each is there once, whatever is killed, away or made anew."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import pytest
from clickhouse_connect.driver.client import Client
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from msgspec.structs import replace

from deployment import probes
from serving.clickhouse import trades
from serving.clickhouse.follower import Follower
from serving.clickhouse.metrics import Metrics
from serving.clickhouse.server import connected, reading
from shared.events import encode, message_key
from shared.settings import PROJECT, Settings
from tests.events import kline_event, trade_event
from tests.servers import KafkaServer, free_ports, running_kafka

TOPIC = "crypto_raw_btcusdt"
Send = Callable[[Sequence[int]], None]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    yield from running_kafka(tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def settings(settings: Settings, broker: KafkaServer) -> Iterator[Settings]:
    """Beside an empty ClickHouse a Kafka whose topic is empty."""
    make_anew(broker)
    return settings.model_copy(update={"kafka_port": broker.settings.kafka_port})


def make_anew(broker: KafkaServer, topic: str = TOPIC) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=broker.settings.kafka)) as admin:
        if topic in admin.list_topics():
            admin.delete_topics([topic])
            until(lambda: topic not in admin.list_topics())
        admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)


@pytest.fixture
def send(broker: KafkaServer) -> Iterator[Send]:
    """Sends trades of these ids, and other events between them."""
    producer = KafkaProducer(bootstrap_servers=broker.settings.kafka)

    def sent(numbers: Sequence[int], topic: str = TOPIC) -> None:
        now = time.time_ns() // 1000
        for number in numbers:
            for event in (kline_event(now - 120_000_000), replace(trade_event(0, at=now), trade_id=number)):
                producer.send(topic, key=message_key("binance", event.stream), value=encode(event))
        producer.flush()

    yield sent
    producer.close()


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)


def ids(settings: Settings) -> list[int]:
    with reading(settings) as reader:
        asked = f"SELECT trade_id FROM {trades.NAME} ORDER BY 1"
        return [number for (number,) in reader.query(asked).result_rows]


def follow(settings: Settings, client: Client, wanted: Sequence[int], metrics: Metrics | None = None) -> Metrics:
    """Follow until these trades, and no others, are there."""
    metrics = metrics or Metrics()
    with closing(Follower(settings, client, metrics)) as follower:
        deadline = time.monotonic() + 20
        while ids(settings) != list(wanted):
            assert time.monotonic() < deadline, ids(settings)
            follower.step()
    return metrics


def test_what_kafka_keeps_and_what_comes_is_there_within_two_seconds(settings: Settings, send: Send) -> None:
    send(range(3))
    metrics = Metrics()
    with connected(settings) as client:
        follow(settings, client, range(3), metrics)
        with closing(Follower(settings, client, metrics)) as follower:
            follower.step()
            began = time.monotonic()
            send([3])
            while 3 not in ids(settings):
                follower.step()
            assert time.monotonic() - began < 2
    assert metrics.written._value.get() == 4


def test_it_goes_on_where_it_was_and_reads_nothing_twice(settings: Settings, send: Send) -> None:
    with connected(settings) as client:
        send(range(5))
        follow(settings, client, range(5))
        send(range(5, 8))
        metrics = follow(settings, client, range(8))
    assert metrics.written._value.get() == 3


def test_a_trade_that_comes_again_stays_one(settings: Settings, send: Send) -> None:
    with connected(settings) as client:
        send([1, 2, 1])
        follow(settings, client, [1, 2])
        send([2, 3])
        follow(settings, client, [1, 2, 3])


def test_a_clickhouse_that_is_new_gets_all_that_kafka_keeps(settings: Settings, send: Send) -> None:
    send(range(3))
    with connected(settings) as client:
        follow(settings, client, range(3))
        client.command(f"DROP TABLE {trades.NAME} SYNC")
        client.command(f"TRUNCATE TABLE {trades.OFFSETS}")
        follow(settings, client, range(3))


def test_a_topic_that_comes_later_is_read_from_its_begin(
    settings: Settings, broker: KafkaServer, send: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerts.stream.LOOK_SECONDS", 0.1)
    other = "crypto_raw_later"
    with connected(settings) as client, closing(Follower(settings, client, Metrics())) as follower:
        follower.step()
        make_anew(broker, other)
        try:
            send([7, 8], other)
            deadline = time.monotonic() + 20
            while ids(settings) != [7, 8]:
                assert time.monotonic() < deadline
                follower.step()
        finally:
            with closing(KafkaAdminClient(bootstrap_servers=broker.settings.kafka)) as admin:
                admin.delete_topics([other])


def test_a_topic_that_was_made_anew_is_read_from_its_begin_though_it_is_longer_now(
    settings: Settings, broker: KafkaServer, send: Send
) -> None:
    with connected(settings) as client:
        send(range(2))
        follow(settings, client, range(2))
        make_anew(broker)
        send(range(2, 9))
        metrics = follow(settings, client, range(9))
    assert metrics.missed._value.get() == 0


def test_messages_that_expired_unread_are_counted_and_told(
    settings: Settings, broker: KafkaServer, send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(settings) as client:
        send(range(2))
        follow(settings, client, range(2))
        send(range(2, 6))
        with closing(KafkaAdminClient(bootstrap_servers=broker.settings.kafka)) as admin:
            admin.delete_records({TopicPartition(TOPIC, 0): 10})
        metrics = follow(settings, client, [0, 1, 5])
    assert metrics.missed._value.get() == 6  # of trades 2 to 4, each with a kline
    assert f"6 messages of {TOPIC} had expired" in caplog.text


KILLED = """
import os, signal
from serving.clickhouse import trades
from serving.clickhouse.follower import Follower
from serving.clickhouse.metrics import Metrics
from serving.clickhouse.server import connected
from shared.settings import settings

def note(*_):
    os.kill(os.getpid(), signal.SIGKILL)  # the trades are in, their place is not noted

trades.note = note
with connected(settings()) as client:
    follower = Follower(settings(), client, Metrics())
    while True:
        follower.step()
"""


def test_a_kill_between_the_trades_and_their_place_loses_and_doubles_none(settings: Settings, send: Send) -> None:
    send(range(4))
    environment = {
        **os.environ, "CLICKHOUSE_URL": settings.clickhouse_url, "KAFKA_PORT": str(settings.kafka_port),
    }  # fmt: skip
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], env=environment, cwd=PROJECT, check=False, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with connected(settings) as client:
        assert ids(settings) == [0, 1, 2, 3]
        assert trades.places(client) == {}
        send([4])
        follow(settings, client, range(5))


def test_a_service_that_is_killed_at_any_time_loses_and_doubles_none(settings: Settings, send: Send) -> None:
    [port] = free_ports(1)
    service = settings.model_copy(update={"clickhouse_trades_port": port})
    environment = {
        **os.environ, "CLICKHOUSE_URL": settings.clickhouse_url, "KAFKA_PORT": str(settings.kafka_port),
        "CLICKHOUSE_TRADES_PORT": str(port),
    }  # fmt: skip
    moments = random.Random(1)
    sent = 0
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-m", "serving.clickhouse.service"], env=environment, cwd=PROJECT)
        try:
            until(lambda: is_healthy(service))
            dies_at = time.monotonic() + moments.uniform(0.1, 1.5)
            while time.monotonic() < dies_at:
                send(range(sent, sent + 5))
                sent += 5
        finally:
            process.kill()
            process.wait()
    send(range(sent, sent + 5))
    with connected(settings) as client:
        follow(settings, client, range(sent + 5))


def is_healthy(settings: Settings) -> bool:
    try:
        probes.clickhouse_trades(settings)
    except probes.UnhealthyError:
        return False
    return True
