"""The way into a real Kafka, which is stopped in all the ways in which it stops."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from shared.settings import Settings
from shared.symbol_manager import DEAD_LETTERS
from streaming import kafka_producer as module
from streaming.kafka_producer import EventProducer, Refused
from streaming.metrics import Metrics
from streaming.seams import Unread
from streaming.spool import SHOWN_BYTES, Spool
from tests.servers import KafkaServer, free_ports

MEBIBYTE = 1024 * 1024


class Flow:
    """A producer with its spool, and what it has marked as safe."""

    def __init__(self, settings: Settings, folder: Path | None) -> None:
        self.metrics = Metrics()
        self.spool = Spool(folder, settings.stream_spool_mb * MEBIBYTE, 0) if folder else None
        self.producer = EventProducer(settings, self.metrics, self.spool)
        self.marked: list[int] = []
        self.is_closed = False

    def send(self, topic: str, numbers: range, size: int = 200) -> None:
        for number in numbers:
            self.producer.send(
                topic, b"key", b"%0*d" % (size, number), lambda number=number: self.marked.append(number)
            )

    def settle(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Sweep until something holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come to pass in time"
            self.producer.sweep()
            time.sleep(0.01)

    def metric(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name) or 0

    def is_empty(self) -> bool:
        """Nothing waits, in memory or on disk."""
        return not self.producer.sweep() and (self.spool is None or not self.spool.messages)

    def close(self, timeout: float = 5) -> int:
        self.is_closed = True
        return self.producer.close(timeout)


@pytest.fixture
def settings(kafka_server: KafkaServer) -> Settings:
    return kafka_server.settings.model_copy(update={"stream_memory_mb": 8, "stream_spool_mb": 500})


@pytest.fixture
def flows() -> Iterator[Callable[..., Flow]]:
    made: list[Flow] = []

    def make(settings: Settings, folder: Path | None) -> Flow:
        made.append(Flow(settings, folder))
        return made[-1]

    yield make
    for flow in made:
        if not flow.is_closed:
            flow.close(0)


@pytest.fixture
def paused(kafka_server: KafkaServer) -> Iterator[KafkaServer]:
    """A broker that a test may pause: it goes on afterwards in any case."""
    yield kafka_server
    kafka_server.resume()


@pytest.fixture
def topic() -> str:
    return f"test_{uuid4().hex}"


def numbers(server: KafkaServer, topic: str, count: int) -> list[int]:
    return [int(value) for _, value, _ in server.read(topic, count)]


def test_what_is_sent_is_there_in_order_and_marked_once(
    settings: Settings,
    kafka_server: KafkaServer,
    flows: Callable[..., Flow],
    topic: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AWAY_SECONDS", 60)  # a machine may stand still for longer than ours are patient
    flow = flows(settings, tmp_path)
    flow.producer.prepare([topic])
    flow.send(topic, range(5000))
    flow.settle(flow.is_empty)
    assert flow.marked == list(range(5000))
    assert numbers(kafka_server, topic, 5000) == list(range(5000))
    assert not list(tmp_path.glob("*.*")), "the spool was used without need"


def test_what_kafka_takes_in_while_the_rest_is_put_into_the_spool_is_marked_in_its_turn(
    settings: Settings, flows: Callable[..., Flow], topic: str, tmp_path: Path, paused: KafkaServer
) -> None:
    flow = flows(settings, tmp_path)
    flow.producer.prepare([topic])
    flow.send(topic, range(30))
    paused.read(topic, 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow.producer, "_collect", lambda: None)  # the answers come when it has just been looked for them
        flow.settle(lambda: flow.producer._in_flight[topic][-1].future.is_done)
        paused.pause()
        flow.send(topic, range(30, 60))
        patch.setattr(module, "AWAY_SECONDS", -1)
        patch.setattr(module, "SYNC_SECONDS", -1)
        flow.settle(lambda: flow.marked)
    paused.resume()
    flow.settle(flow.is_empty)
    assert flow.marked == list(range(60))


def test_key_and_headers_arrive(
    settings: Settings, kafka_server: KafkaServer, flows: Callable[..., Flow], topic: str
) -> None:
    flow = flows(settings, None)
    flow.producer.prepare([topic])
    flow.producer.send(topic, b"binance:trade", b"{}", headers=(("replay", b"1"),))
    flow.settle(flow.is_empty)
    assert kafka_server.read(topic, 1) == [(b"binance:trade", b"{}", [("replay", b"1")])]


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_topics_are_made_with_one_partition_and_in_another_kafka_than_ours_with_the_time_of_the_file(
    settings: Settings, flows: Callable[..., Flow], topic: str, is_elsewhere: bool
) -> None:
    theirs = settings.model_copy(update={"kafka_bootstrap_servers": settings.kafka if is_elsewhere else ""})
    flow = flows(theirs, None)
    flow.producer.prepare([topic])
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka)
    try:
        (described,) = admin.describe_topics([topic])
        assert len(described["partitions"]) == 1
        retention = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        assert ("172800000" in str(retention)) is is_elsewhere
    finally:
        admin.close()


def test_a_topic_that_is_there_stays_as_it_is(
    settings: Settings, kafka_server: KafkaServer, flows: Callable[..., Flow], topic: str
) -> None:
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka)
    try:
        admin.create_topics({topic: {"num_partitions": 6, "replication_factor": 1}}, wait_for_metadata=True)
        flow = flows(settings, None)
        flow.producer.prepare([topic])
        for number in range(60):
            flow.producer.send(topic, b"%d" % number, b"{}")
        flow.settle(flow.is_empty)
        (described,) = admin.describe_topics([topic])
        assert len(described["partitions"]) == 6
        assert len(kafka_server.read(topic, 0)) < 60, "the key does not choose the partition"
    finally:
        admin.close()


def test_a_topic_that_nobody_prepared_is_made_when_a_message_comes(
    settings: Settings, kafka_server: KafkaServer, flows: Callable[..., Flow], topic: str, tmp_path: Path
) -> None:
    flow = flows(settings, tmp_path)
    flow.send(topic, range(100))
    flow.settle(flow.is_empty)
    assert numbers(kafka_server, topic, 100) == list(range(100))


@pytest.mark.parametrize("has_spool", [True, False])
def test_without_a_broker_preparing_fails(flows: Callable[..., Flow], tmp_path: Path, has_spool: bool) -> None:
    (port,) = free_ports(1)
    flow = flows(Settings(kafka_port=port), tmp_path if has_spool else None)
    with pytest.raises(KafkaError):
        flow.producer.prepare(["topic"])


def test_a_broker_that_is_not_there_yet_gets_everything_when_it_comes(
    settings: Settings, kafka_server: KafkaServer, flows: Callable[..., Flow], topic: str, tmp_path: Path
) -> None:
    kafka_server.kill()
    try:
        flow = flows(settings, tmp_path)
        flow.send(topic, range(3000))
        flow.settle(lambda: flow.marked == list(range(3000)), 5)
    finally:
        kafka_server.start()
    flow.settle(flow.is_empty)
    assert numbers(kafka_server, topic, 3000) == list(range(3000))


def test_memory_is_bounded_and_nothing_is_missing_when_the_broker_hangs(
    settings: Settings, paused: KafkaServer, flows: Callable[..., Flow], topic: str, tmp_path: Path
) -> None:
    flow = flows(settings, tmp_path)
    flow.producer.prepare([topic])
    paused.pause()
    flow.send(topic, range(20_000), size=2000)
    assert flow.metric("buffer_bytes") <= 8 * MEBIBYTE + 10_000
    flow.settle(lambda: len(flow.marked) == 20_000, 5)
    assert flow.metric("spool_bytes") > 20_000 * 2000
    assert flow.metric("spool_messages") == 20_000
    assert flow.metric("reading_paused") == 0
    paused.resume()
    flow.settle(flow.is_empty)
    assert numbers(paused, topic, 20_000) == list(range(20_000))
    assert sorted(flow.marked) == list(range(20_000))
    assert flow.metric("spool_bytes") == flow.metric("spool_messages") == 0
    flow.send(topic, range(20_000, 20_100))
    flow.settle(flow.is_empty)
    assert numbers(paused, topic, 20_100) == list(range(20_100))
    assert not list(tmp_path.glob("*.*")), "messages still go by the spool"


def test_messages_are_safe_soon_after_the_broker_went_away(
    settings: Settings,
    paused: KafkaServer,
    flows: Callable[..., Flow],
    topic: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.5)
    flow = flows(settings, tmp_path)
    flow.producer.prepare([topic])
    paused.pause()
    flow.send(topic, range(10))
    assert flow.marked == []
    flow.settle(lambda: flow.marked == list(range(10)), 5)


def test_a_broker_that_is_killed_again_and_again_gets_everything_in_order(
    settings: Settings, kafka_server: KafkaServer, flows: Callable[..., Flow], topic: str, tmp_path: Path
) -> None:
    flow = flows(settings, tmp_path)
    flow.producer.prepare([topic])
    sent = 0
    for _ in range(2):
        flow.send(topic, range(sent, sent + 2000))
        kafka_server.kill()
        restart = threading.Thread(target=kafka_server.start)
        restart.start()
        flow.send(topic, range(sent + 2000, sent + 12_000), size=1500)
        sent += 12_000
        restart.join()
    flow.settle(flow.is_empty)
    assert numbers(kafka_server, topic, sent) == list(range(sent))
    assert sorted(flow.marked) == list(range(sent))


def test_a_full_spool_stops_reading_and_says_so_until_there_is_room(
    settings: Settings,
    paused: KafkaServer,
    flows: Callable[..., Flow],
    topic: str,
    tmp_path: Path,
    until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    flow = flows(settings.model_copy(update={"stream_spool_mb": 12}), tmp_path)
    flow.producer.prepare([topic])
    paused.pause()
    thread = threading.Thread(target=flow.send, args=(topic, range(20_000), 1500))
    thread.start()
    until(lambda: flow.metric("reading_paused") == 1, 20)
    assert flow.metric("buffer_bytes") <= 8 * MEBIBYTE + 10_000
    assert flow.metric("spool_bytes") <= 12 * MEBIBYTE
    assert sum("reading from the exchange has stopped" in message for message in caplog.messages) == 1
    paused.resume()
    thread.join(60)
    assert not thread.is_alive()
    assert flow.metric("reading_paused") == 0
    flow.settle(flow.is_empty)
    assert numbers(paused, topic, 20_000) == list(range(20_000))


def test_without_a_spool_a_full_memory_stops_reading(
    settings: Settings, paused: KafkaServer, flows: Callable[..., Flow], topic: str, until: Callable[..., None]
) -> None:
    flow = flows(settings, None)
    flow.producer.prepare([topic])
    paused.pause()
    thread = threading.Thread(target=flow.send, args=(topic, range(5000), 2000))
    thread.start()
    until(lambda: flow.metric("reading_paused") == 1, 20)
    paused.resume()
    thread.join(60)
    assert not thread.is_alive()
    flow.settle(flow.is_empty)
    assert numbers(paused, topic, 5000) == list(range(5000))


def test_at_a_stop_what_kafka_did_not_take_waits_in_the_spool_and_goes_first(
    settings: Settings,
    paused: KafkaServer,
    flows: Callable[..., Flow],
    topic: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flow = flows(settings, tmp_path)
    flow.producer.prepare([topic])
    flow.send(topic, range(100))
    flow.settle(flow.is_empty)
    paused.pause()
    flow.send(topic, range(100, 700))
    caplog.set_level(logging.WARNING)
    assert flow.close(0.2) == 0
    assert "600 messages wait in the spool" in caplog.text
    assert flow.marked == list(range(700))
    flow = flows(settings, tmp_path)
    flow.send(topic, range(700, 800))
    paused.resume()
    flow.settle(flow.is_empty)
    found = numbers(paused, topic, 800)
    assert list(dict.fromkeys(found)) == list(range(800))
    assert set(found[-100:]) == set(range(700, 800)), "a new message went before one of the spool"


def test_without_a_spool_a_stop_tells_what_is_lost(
    settings: Settings, paused: KafkaServer, flows: Callable[..., Flow], topic: str
) -> None:
    flow = flows(settings, None)
    flow.producer.prepare([topic])
    paused.pause()
    flow.send(topic, range(3))
    assert flow.close(0.2) == 3


def test_a_message_that_is_too_large_is_counted_and_the_next_goes_on(
    settings: Settings, kafka_server: KafkaServer, flows: Callable[..., Flow], topic: str, tmp_path: Path
) -> None:
    flow = flows(settings, tmp_path)
    flow.producer.prepare([topic])
    flow.send(topic, range(1), size=2 * MEBIBYTE)
    flow.send(topic, range(1, 2))
    flow.settle(flow.is_empty)
    assert flow.marked == [1]
    assert numbers(kafka_server, topic, 1) == [1]
    assert flow.metrics.registry.get_sample_value("kafka_send_errors_total", {"topic": topic}) == 1
    [refused] = flow.producer.losses
    assert isinstance(refused, Refused)
    assert refused.value == bytes(SHOWN_BYTES).replace(b"\0", b"0")
    assert f"refused this message of {2 * MEBIBYTE} bytes for {topic}" in refused.reason


def test_a_damaged_spool_costs_the_damaged_message_alone_and_tells_of_it(
    settings: Settings, paused: KafkaServer, flows: Callable[..., Flow], topic: str, tmp_path: Path
) -> None:
    flow = flows(settings, tmp_path)
    paused.pause()
    flow.send(topic, range(100))
    flow.close(0.2)
    [path] = tmp_path.glob("*.*")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"%0200d" % 40, b"%0200d" % 41))
    flow = flows(settings, tmp_path)
    paused.resume()
    flow.settle(flow.is_empty)
    found = numbers(paused, topic, 99)
    assert list(dict.fromkeys(found)) == [*range(40), *range(41, 100)]
    [unread] = flow.producer.losses
    assert isinstance(unread, Unread)
    assert unread.damage.messages == 1
    assert b"%0200d" % 41 in unread.damage.part


def test_what_kafka_refuses_of_the_dead_letters_is_no_dead_letter_again(
    settings: Settings, flows: Callable[..., Flow], tmp_path: Path
) -> None:
    flow = flows(settings, tmp_path)
    flow.producer.prepare([DEAD_LETTERS])
    flow.send(DEAD_LETTERS, range(1), size=2 * MEBIBYTE)
    flow.settle(flow.is_empty)
    assert not flow.producer.losses
    name = "kafka_send_errors_total"
    assert flow.metrics.registry.get_sample_value(name, {"topic": DEAD_LETTERS}) == 1


def test_a_producer_that_can_go_on_no_more_is_replaced_and_nothing_is_missing(
    settings: Settings, kafka_server: KafkaServer, flows: Callable[..., Flow], topic: str, tmp_path: Path
) -> None:
    flow = flows(settings, tmp_path)
    flow.producer.prepare([topic])
    flow.send(topic, range(100))
    flow.producer._producer.close()
    flow.send(topic, range(100, 5000))
    flow.settle(flow.is_empty)
    assert list(dict.fromkeys(numbers(kafka_server, topic, 5000))) == list(range(5000))


FLOOD = """
import pathlib, sys
from shared.settings import Settings
from streaming.kafka_producer import EventProducer
from streaming.metrics import Metrics
from streaming.spool import Spool
port, folder, topic = sys.argv[1:]
settings = Settings(kafka_port=port, stream_memory_mb=32, stream_spool_mb=2000)
producer = EventProducer(settings, Metrics(), Spool(pathlib.Path(folder), 10**10, 0))
producer.prepare([topic])
print("ready", flush=True)
sys.stdin.readline()
for number in range(10**9):
    mark = (lambda number=number: print(number, flush=True)) if number % 100 == 99 else None
    producer.send(topic, b"key", b"%0400d" % number, mark)
"""


def test_after_kill_9_all_that_was_marked_is_there_in_order_and_memory_had_its_bound(
    settings: Settings, paused: KafkaServer, flows: Callable[..., Flow], topic: str, tmp_path: Path
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", FLOOD, str(settings.kafka_port), tmp_path, topic],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin
    assert child.stdout
    try:
        assert child.stdout.readline() == "ready\n"
        base = psutil.Process(child.pid).memory_info().rss
        child.stdin.write("go\n")
        child.stdin.flush()
        for _ in range(20):
            child.stdout.readline()
        paused.pause()
        while int(marked := child.stdout.readline()) < 200_000:
            pass
        grown = psutil.Process(child.pid).memory_info().rss - base
    finally:
        child.kill()
    marked = (child.stdout.read().split() or [marked])[-1]
    child.wait()
    child.stdin.close()
    child.stdout.close()
    assert grown < 48 * MEBIBYTE
    paused.resume()
    flow = flows(settings, tmp_path)
    assert flow.spool is not None
    flow.settle(flow.is_empty)
    found = list(dict.fromkeys(numbers(paused, topic, int(marked) + 1)))
    assert found == list(range(len(found)))
    assert found[-1] >= int(marked)
