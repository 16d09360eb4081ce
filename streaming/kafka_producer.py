"""The way into Kafka: acknowledged by all, in order, each message once, in bounded memory.

When the broker is away, messages wait in memory up to `STREAM_MEMORY_MB`; then `send` blocks until there is room again,
so nothing more is read from the exchange. Nothing that was accepted is dropped silently.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError, TopicAlreadyExistsError

from shared.settings import Settings
from streaming.metrics import Metrics

log = logging.getLogger(__name__)

RETENTION_MS = 48 * 3600 * 1000
DELIVERY_TIMEOUT_MS = 2**31 - 1
"""24 days: a message is tried again for as long as the process lives."""
BATCH_BYTES = 128 * 1024
BYTES_PER_MESSAGE = 900
"""What kafka-python holds for a message besides its bytes, until it is acknowledged (measured)."""
SWEEP_EVERY = 64
AWAY_SECONDS = 5
ROOM = 0.9
"""Sending goes on when so much of the memory is in use again."""


class EventProducer:
    """Sends messages to Kafka from one thread. `prepare` comes first."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._servers = settings.kafka
        self._linger_ms = settings.kafka_linger_ms
        self._limit = settings.stream_memory_mb * 1024 * 1024
        self._metrics = metrics
        self._producer: Any = None
        self._partition: dict[str, int | None] = {}
        self._in_flight: dict[str, deque[tuple[Any, int]]] = {}
        self._bytes = 0
        self._since_sweep = 0
        self._last_progress = time.monotonic()
        self._is_away = False
        self.abandon = threading.Event()
        """Set to make a blocked `send` give up."""

    def prepare(self, topics: Iterable[str]) -> None:
        """Create the topics that there are not, and learn where they are, so that `send` need not wait.

        Raises `KafkaError` where Kafka cannot be reached; it may be called again.
        """
        new = [topic for topic in topics if topic not in self._partition]
        if not new:
            return
        self._create(new)
        if self._producer is None:
            self._producer = KafkaProducer(
                bootstrap_servers=self._servers,
                client_id="crypto-streaming",
                acks="all",
                enable_idempotence=True,
                retries=2**31 - 1,
                delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
                linger_ms=self._linger_ms,
                batch_size=BATCH_BYTES,
                compression_type="gzip",
                max_block_ms=5_000,
                bootstrap_timeout_ms=5_000,
                reconnect_backoff_max_ms=2_000,
                metrics_enabled=False,
            )
        for topic in new:
            partitions = self._producer.partitions_for(topic)
            # Where there is but one, naming it spares hashing the key in Python for each message.
            self._partition[topic] = 0 if partitions == {0} else None
            # A new dict, because the sending thread may be walking through the old one.
            self._in_flight = {**self._in_flight, topic: deque()}

    def _create(self, topics: list[str]) -> None:
        admin = KafkaAdminClient(
            bootstrap_servers=self._servers, client_id="crypto-streaming", bootstrap_timeout_ms=5_000
        )
        try:
            there = set(admin.list_topics())
            wanted = {
                topic: {"num_partitions": 1, "replication_factor": 1, "configs": {"retention.ms": str(RETENTION_MS)}}
                for topic in topics
                if topic not in there
            }
            if wanted:
                admin.create_topics(wanted, wait_for_metadata=True)
        except TopicAlreadyExistsError:
            pass  # another made it meanwhile
        finally:
            admin.close()

    def send(self, topic: str, key: bytes, value: bytes) -> None:
        """Hand a message over; blocks while the memory is full.

        Raises `KafkaError` where the producer can go on no more.
        """
        self._since_sweep += 1
        if self._since_sweep >= SWEEP_EVERY:
            self.sweep()
        if self._bytes >= self._limit:
            self._wait_for_room()
        size = len(value) + len(key) + BYTES_PER_MESSAGE
        try:
            future = self._producer.send(topic, value, key, partition=self._partition[topic])
        except MessageSizeTooLargeError as error:
            self._refused(topic, error)
            return
        self._in_flight[topic].append((future, size))
        self._bytes += size

    def sweep(self) -> int:
        """Forget what was acknowledged, count and name what was refused; the bytes that still wait."""
        self._since_sweep = 0
        before = self._bytes
        for topic, waiting in self._in_flight.items():
            while waiting and waiting[0][0].is_done:
                future, size = waiting.popleft()
                self._bytes -= size
                if future.failed():
                    self._refused(topic, future.exception)
        self._metrics.buffer_bytes.set(self._bytes)
        self._watch(progress=self._bytes < before or not self._bytes)
        return self._bytes

    def _refused(self, topic: str, error: Exception) -> None:
        self._metrics.kafka_send_errors.labels(topic).inc()
        log.error("Kafka refused a message for %s: %s; it is lost", topic, error)

    def _watch(self, progress: bool) -> None:
        now = time.monotonic()
        if progress:
            if self._is_away:
                log.warning("Kafka takes in messages again, after %.0f s", now - self._last_progress)
            self._last_progress, self._is_away = now, False
        elif not self._is_away and now - self._last_progress > AWAY_SECONDS:
            self._is_away = True
            log.error("Kafka at %s takes in nothing; up to %d MB wait in memory", self._servers, self._limit >> 20)

    def _wait_for_room(self) -> None:
        since = time.monotonic()
        told = False
        while self.sweep() > self._limit * ROOM and not self.abandon.is_set():
            if not told and time.monotonic() - since > 1:
                told = True
                self._metrics.reading_paused.set(1)
                log.error("%d MB wait for Kafka: reading from the exchange has stopped", self._limit >> 20)
            time.sleep(0.02)
        if told:
            self._metrics.reading_paused.set(0)
            log.warning("reading from the exchange goes on, after %.0f s", time.monotonic() - since)

    def close(self, timeout: float) -> int:
        """Send what waits, for `timeout` seconds at most; the number of messages that could not be sent."""
        if self._producer is None:
            return 0
        try:
            self._producer.flush(timeout)
        except KafkaError:
            log.warning("Kafka at %s did not take in everything within %.0f s", self._servers, timeout)
        self.sweep()
        self._producer.close(timeout=1)
        return sum(len(waiting) for waiting in self._in_flight.values())
