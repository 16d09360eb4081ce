"""What comes through Kafka, from the place where the last committed batch ended."""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from kafka import KafkaConsumer, TopicPartition

from alerts.kinds._kind import Offsets
from shared.events import STREAMS, TRADE_BEGINS, Trade, decode, lies_ahead
from shared.settings import Settings
from shared.symbol_manager import TOPIC_PREFIX

LOOK_SECONDS = 3
"""How often it looks for new topics, and notices that Kafka is away."""
AT_ONCE = 5000
PATIENCE_MS = 5000
_head = re.compile(rb'\{"stream":"(\w+)","exchange":"([^"]*)","symbol":"([^"]*)"').match
_DATA = {name.encode() for name in STREAMS}
_FROM_WEBSOCKET = b'"source":"websocket"'


class Arrived(NamedTuple):
    """A message of an exchange's stream that is news: neither a repair nor a replay."""

    exchange: str
    symbol: str
    value: bytes

    def trade(self) -> Trade | None:
        """The trade that it is, where it is one."""
        if not self.value.startswith(TRADE_BEGINS):
            return None
        try:
            event = decode(self.value)
        except msgspec.ValidationError:  # of another version, or damaged; bronze keeps it in quarantine and says why
            return None
        return event if isinstance(event, Trade) and not lies_ahead(event, time.time_ns() // 1000) else None


class Stream:
    """All topics of symbols. At the first start it begins with what comes; a topic that is new later, at its begin.

    Raises `KafkaError` where Kafka is away.
    """

    def __init__(self, settings: Settings, offsets: Offsets) -> None:
        self._one_topic = settings.kafka_topic
        self._read = offsets
        self._begins_now = not offsets
        self._consumer = consumer(settings)
        self._moved: dict[TopicPartition, int] = {}
        self._next_look = 0.0
        self._look()

    def close(self) -> None:
        """Let go of Kafka."""
        self._consumer.close()

    def poll(self, seconds: float) -> Iterator[Arrived]:
        """What has come; waits so long for the first of it."""
        if time.monotonic() >= self._next_look:
            self._look()
        for partition, messages in self._consumer.poll(timeout_ms=int(seconds * 1000)).items():
            self._moved[partition] = messages[-1].offset + 1
            for message in messages:
                if arrived := arrived_with(message.value, message.headers):
                    yield arrived

    def moved(self) -> Offsets:
        """How far each partition was read that was read on since the last call."""
        moved, self._moved = self._moved, {}
        return by_topic(moved)

    def _look(self) -> None:
        self._next_look = time.monotonic() + LOOK_SECONDS
        there = partitions(self._consumer, self._one_topic)
        known = self._consumer.assignment()
        if fresh := [partition for partition in there if partition not in known]:
            self._consumer.assign([*known, *fresh])
            self._begin(fresh)
        self._begins_now = False

    def _begin(self, fresh: list[TopicPartition]) -> None:
        first, end = self._consumer.beginning_offsets(fresh), self._consumer.end_offsets(fresh)
        for partition in fresh:
            place = self._read.get(partition.topic, {}).get(partition.partition)
            if place is None:
                place = end[partition] if self._begins_now else first[partition]
            elif not first[partition] <= place <= end[partition]:  # expired, or the topic was made anew
                place = first[partition]
            self._consumer.seek(partition, place)
            self._moved[partition] = place


def consumer(settings: Settings) -> Any:
    """One that reads from places that it is told. Raises `KafkaError` where Kafka does not answer in time."""
    with settings.broker.explained():
        return KafkaConsumer(
            **settings.broker.client(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # of a place that has expired
            bootstrap_timeout_ms=PATIENCE_MS,
            request_timeout_ms=PATIENCE_MS,
            reconnect_backoff_max_ms=1000,
            fetch_max_bytes=4 << 20,
            max_poll_records=AT_ONCE,
        )


def partitions(consumer: Any, one_topic: str) -> list[TopicPartition]:
    """Those of every topic of events."""
    names = [name for name in consumer.topics() if name == one_topic or (not one_topic and _is_of_symbol(name))]
    return [TopicPartition(name, number) for name in sorted(names) for number in consumer.partitions_for_topic(name)]


def _is_of_symbol(topic: str) -> bool:
    return topic.startswith(TOPIC_PREFIX)


def by_topic(places: Mapping[TopicPartition, int]) -> Offsets:
    """The same, as `Offsets` has it."""
    found: dict[str, dict[int, int]] = {}
    for partition, place in places.items():
        found.setdefault(partition.topic, {})[partition.partition] = place
    return found


def arrived_with(value: bytes | None, headers: object) -> Arrived | None:
    """What a message brings, if it is news. A replay has headers; a repair and an import come not by WebSocket."""
    value = value or b""
    head = _head(value)
    if headers or head is None or head[1] not in _DATA or _FROM_WEBSOCKET not in value:
        return None
    try:
        return Arrived(head[2].decode(), head[3].decode(), value)
    except UnicodeDecodeError:  # bronze keeps it
        return None
