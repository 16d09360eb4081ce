"""Trades from Kafka into ClickHouse: from the place noted there, so that a kill loses none."""

import logging
import time
from collections.abc import Iterable
from typing import Any

from clickhouse_connect.driver.client import Client
from kafka import KafkaAdminClient, TopicPartition

from alerts import stream
from serving.clickhouse import trades
from serving.clickhouse.metrics import Metrics
from shared.settings import Settings

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.5
"""What comes in so long is inserted together: ClickHouse wants few inserts, and two seconds are allowed."""
AT_ONCE = 20_000
NOTE_SECONDS = 10.0
"""How often the place is noted while no trade comes."""


class Follower:
    """All topics of symbols. What was never read is read from its beginning; what is new too, as soon as it is there.

    The place is noted after the trades are in: what lies between at a kill comes again, and stays one row. Its methods
    raise `ClickHouseError` and `KafkaError`, after which it is to be made anew.
    """

    def __init__(self, settings: Settings, client: Client, metrics: Metrics) -> None:
        self._settings = settings
        self._client = client
        self._metrics = metrics
        trades.prepare(client)
        self._noted = trades.places(client)
        self._ids: dict[str, str] = {}
        self._next: dict[TopicPartition, int] = {}
        """The offset that comes next, of what was read before."""
        self._moved: set[TopicPartition] = set()
        self._next_look = self._next_note = 0.0
        self._consumer = stream.consumer(settings)
        self._look()

    def close(self) -> None:
        """Let go of Kafka."""
        self._consumer.close()

    def step(self) -> None:
        """Bring over what came in half a second."""
        if time.monotonic() >= self._next_look:
            self._look()
        found = trades.trades_of(self._gathered(), time.time_ns() // 1000)
        if found:
            self._client.insert_arrow(trades.NAME, trades.rows(found, time.time_ns() // 1000))
            self._metrics.written.inc(len(found))
            if live := [trade.event_time for trade in found if trade.source == "websocket"]:
                self._metrics.delay.observe(max(time.time() - max(live) / 1_000_000, 0))
        if self._moved and (found or time.monotonic() >= self._next_note):
            self._note()

    def _gathered(self) -> Iterable[bytes | None]:
        messages: list[bytes | None] = []
        until = time.monotonic() + GATHER_SECONDS
        while (left := until - time.monotonic()) > 0 and len(messages) < AT_ONCE:
            for partition, records in self._consumer.poll(timeout_ms=int(left * 1000)).items():
                self._see(partition, records[0].offset)
                self._next[partition] = records[-1].offset + 1
                self._moved.add(partition)
                messages += [record.value for record in records]
        return messages

    def _see(self, partition: TopicPartition, first: int) -> None:
        """Tell of messages that expired unread. (Kafka counts those of a topic that was made anew from 0 again.)"""
        missed = first - self._next.get(partition, first)
        if missed > 0:
            self._metrics.missed.inc(missed)
            log.error(
                "%d messages of %s had expired before they were read: their trades are in the lake alone",
                missed,
                partition.topic,
            )

    def _note(self) -> None:
        self._next_note = time.monotonic() + NOTE_SECONDS
        places = {
            (partition.topic, partition.partition): trades.Place(self._ids[partition.topic], self._next[partition])
            for partition in self._moved
        }
        trades.note(self._client, places)
        self._moved.clear()

    def _look(self) -> None:
        """Follow the topics that are new."""
        self._next_look = time.monotonic() + stream.LOOK_SECONDS
        known = self._consumer.assignment()
        there = stream.partitions(self._consumer, self._settings.kafka_topic)
        if fresh := [partition for partition in there if partition not in known]:
            self._ids.update(self._topic_ids({partition.topic for partition in fresh}))
            self._consumer.assign([*known, *fresh])
            for partition in fresh:
                self._begin(partition)

    def _begin(self, partition: TopicPartition) -> None:
        place = self._noted.get((partition.topic, partition.partition))
        if place is None or place.topic_id != self._ids[partition.topic]:
            self._consumer.seek_to_beginning(partition)
        else:
            self._next[partition] = place.next_offset
            self._consumer.seek(partition, place.next_offset)  # where that has expired, Kafka begins with what it has

    def _topic_ids(self, topics: set[str]) -> dict[str, str]:
        """By topic the id that another topic of the same name does not have."""
        admin: Any = KafkaAdminClient(**self._settings.broker.client(), request_timeout_ms=stream.PATIENCE_MS)
        try:
            return {topic["name"]: str(topic["topic_id"]) for topic in admin.describe_topics(sorted(topics))}
        finally:
            admin.close()
