"""The bounds of the producer, on a stub of kafka-python's that acknowledges when it is told to."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from kafka.future import Future

from shared.settings import Settings
from shared.symbol_manager import DEAD_LETTERS
from streaming import kafka_producer as module
from streaming.kafka_producer import BYTES_PER_MESSAGE, EventProducer
from streaming.metrics import Metrics

TOPIC = "crypto_raw_btcusdt"


class Broker:
    """What the stubs of the producer and of the admin client share."""

    def __init__(self) -> None:
        self.topics: dict[str, dict[str, Any]] = {}
        self.sent: list[tuple[str, bytes, bytes, int | None]] = []
        self.waiting: list[Future] = []
        self.is_up = True

    def acknowledge(self, count: int | None = None) -> None:
        done, self.waiting = self.waiting[:count], self.waiting[len(self.waiting[:count]) :]
        for future in done:
            future.success(None)

    def admin(self, **_settings: Any) -> "Broker":
        if not self.is_up:
            raise KafkaConnectionError("no broker")
        return self

    def list_topics(self) -> list[str]:
        return list(self.topics)

    def create_topics(self, wanted: dict[str, dict[str, Any]], wait_for_metadata: bool) -> None:
        assert wait_for_metadata
        self.topics.update(wanted)

    def partitions_for(self, topic: str) -> set[int]:
        return set(range(self.topics[topic]["num_partitions"]))

    def send(self, topic: str, value: bytes, key: bytes, partition: int | None) -> Future:
        self.sent.append((topic, key, value, partition))
        self.waiting.append(Future())
        return self.waiting[-1]

    def flush(self, _timeout: float) -> None:
        self.acknowledge()

    def close(self, timeout: float = 0) -> None:
        pass


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    stub = Broker()
    monkeypatch.setattr(module, "KafkaAdminClient", stub.admin)
    monkeypatch.setattr(module, "KafkaProducer", lambda **_settings: stub)
    return stub


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def producer(broker: Broker, metrics: Metrics) -> EventProducer:
    made = EventProducer(Settings(stream_memory_mb=8), metrics)
    made.prepare([DEAD_LETTERS, TOPIC])
    return made


def test_topics_are_made_with_one_partition_and_two_days(broker: Broker, producer: EventProducer) -> None:
    expected = {"num_partitions": 1, "replication_factor": 1, "configs": {"retention.ms": "172800000"}}
    assert broker.topics == {DEAD_LETTERS: expected, TOPIC: expected}


def test_a_topic_that_is_there_stays_as_it_is(broker: Broker, metrics: Metrics) -> None:
    broker.topics["all"] = {"num_partitions": 6}
    producer = EventProducer(Settings(), metrics)
    producer.prepare(["all"])
    producer.send("all", b"BTCUSDT", b"{}")
    assert broker.topics == {"all": {"num_partitions": 6}}
    assert broker.sent == [("all", b"BTCUSDT", b"{}", None)], "the key does not choose the partition"


def test_without_a_broker_preparing_fails_and_can_be_done_again(broker: Broker, metrics: Metrics) -> None:
    producer = EventProducer(Settings(), metrics)
    broker.is_up = False
    with pytest.raises(KafkaConnectionError):
        producer.prepare([TOPIC])
    broker.is_up = True
    producer.prepare([TOPIC])
    producer.send(TOPIC, b"k", b"v")
    assert broker.sent == [(TOPIC, b"k", b"v", 0)]


def test_sending_stops_at_the_limit_and_goes_on_when_kafka_does(
    broker: Broker, producer: EventProducer, metrics: Metrics, until: Callable[..., None]
) -> None:
    value = b"x" * 100_000
    fit = 8 * 1024 * 1024 // (len(value) + 1 + BYTES_PER_MESSAGE) + 1

    def flood() -> None:
        for _ in range(fit + 20):
            producer.send(TOPIC, b"k", value)

    thread = threading.Thread(target=flood)
    thread.start()
    until(lambda: metrics.registry.get_sample_value("reading_paused") == 1)
    assert len(broker.sent) == fit
    held = metrics.registry.get_sample_value("buffer_bytes") or 0
    assert 8 * 1024 * 1024 <= held < 8 * 1024 * 1024 + 2 * len(value)
    broker.acknowledge()
    thread.join(10)
    assert not thread.is_alive()
    assert len(broker.sent) == fit + 20
    assert metrics.registry.get_sample_value("reading_paused") == 0


def test_what_is_acknowledged_takes_no_room(broker: Broker, producer: EventProducer) -> None:
    for _ in range(10):
        producer.send(TOPIC, b"k", b"v")
    assert producer.sweep() == 10 * (2 + BYTES_PER_MESSAGE)
    broker.acknowledge(4)
    assert producer.sweep() == 6 * (2 + BYTES_PER_MESSAGE)
    broker.acknowledge()
    assert producer.sweep() == 0


def test_a_refused_message_is_counted(broker: Broker, producer: EventProducer, metrics: Metrics) -> None:
    producer.send(TOPIC, b"k", b"v")
    broker.waiting[0].failure(MessageSizeTooLargeError("too large"))
    assert producer.sweep() == 0
    assert metrics.registry.get_sample_value("kafka_send_errors_total", {"topic": TOPIC}) == 1


def test_a_message_that_is_too_large_is_counted_and_the_next_goes_on(
    broker: Broker, producer: EventProducer, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = broker.send

    def picky(topic: str, value: bytes, key: bytes, partition: int | None) -> Future:
        if len(value) > 5:
            raise MessageSizeTooLargeError("too large")
        return send(topic, value, key, partition)

    monkeypatch.setattr(broker, "send", picky)
    producer.send(TOPIC, b"k", b"far too large")
    producer.send(TOPIC, b"k", b"small")
    assert [value for _, _, value, _ in broker.sent] == [b"small"]
    assert metrics.registry.get_sample_value("kafka_send_errors_total", {"topic": TOPIC}) == 1


def test_closing_waits_for_kafka_and_tells_what_is_lost(
    broker: Broker, producer: EventProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        producer.send(TOPIC, b"k", b"v")
    monkeypatch.setattr(broker, "flush", lambda _timeout: broker.acknowledge(1))
    assert producer.close(1) == 2


def test_a_blocked_send_gives_up_when_it_is_told_to(
    broker: Broker, producer: EventProducer, metrics: Metrics, until: Callable[..., None]
) -> None:
    def flood() -> None:
        for _ in range(100):
            producer.send(TOPIC, b"k", b"x" * 100_000)

    thread = threading.Thread(target=flood)
    thread.start()
    until(lambda: metrics.registry.get_sample_value("reading_paused") == 1)
    producer.abandon.set()
    thread.join(10)
    assert not thread.is_alive()
