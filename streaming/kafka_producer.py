"""The way into Kafka: acknowledged by all, in order, in bounded memory, and on disk while Kafka is away.

Messages wait in memory up to `STREAM_MEMORY_MB`. When that is full, or Kafka has taken in nothing for some seconds,
what waits is written to the spool too, and from then on everything goes through the spool, so that order is kept, until
it is empty again. When the spool or the disk is full as well, `send` blocks, and nothing more is read from the
exchange.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import (
    InvalidRecordError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAlreadyExistsError,
)

from shared import symbol_manager
from shared.events import AnyEvent, message_key
from shared.retention import load_kafka
from shared.settings import Settings
from streaming.metrics import Metrics
from streaming.quick_producer import QuickProducer
from streaming.seams import Lost, Seams, Unread
from streaming.spool import SHOWN_BYTES, Record, Segment, Spool, SpoolFull

log = logging.getLogger(__name__)

DELIVERY_TIMEOUT_MS = 2**31 - 1
"""24 days: a message is tried again for as long as the process lives."""
BATCH_BYTES = 128 * 1024
TOPICS_AT_ONCE = 100
BYTES_PER_MESSAGE = 1400
"""What a message takes besides its bytes, here and in kafka-python, until it is acknowledged (measured)."""
SWEEP_EVERY = 64
DRAIN_AT_ONCE = 4 * SWEEP_EVERY
"""Spooled messages sent for each sweep: faster than new ones come, and these still get their turn."""
DRAIN_SECONDS = 0.1
AWAY_SECONDS = 5
SYNC_SECONDS = 0.1
RETRY_SECONDS = 2
ROOM = 0.9
"""Spooled messages are sent while less of the memory than this is in use."""
REFUSED = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError, InvalidTimestampError)
"""What is the message's own fault, so that it would be refused again."""

LOSSES_WAITING = 1000
"""So many are kept for who tells of them; all are counted and in the log."""

Mark = Callable[[], None]


class Refused(NamedTuple):
    """A message that Kafka takes in under no condition."""

    value: bytes
    """Its beginning."""
    reason: str


class _Waiting(NamedTuple):
    """A message in Kafka's hands."""

    future: Any
    size: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    mark: Mark | None
    segment: Segment | None
    """Where it lies in the spool too."""


def topic_of(settings: Settings, symbol: str) -> str:
    """Where the events of a symbol go."""
    return settings.kafka_topic or symbol_manager.topic(symbol)


def address(settings: Settings, event: AnyEvent) -> tuple[str, bytes]:
    """Topic and key of an event."""
    return _address(settings.kafka_topic, event.exchange, event.symbol, event.stream)


@cache
def _address(one_topic: str, exchange: str, symbol: str, stream: str) -> tuple[str, bytes]:
    if one_topic:
        return one_topic, symbol.encode()
    return symbol_manager.topic(symbol), message_key(exchange, stream)


class EventProducer:
    """Sends messages to Kafka from one thread, by way of a spool where there is one.

    Without a spool `send` blocks as soon as the memory is full.
    """

    def __init__(self, settings: Settings, metrics: Metrics, spool: Spool | None = None) -> None:
        self._broker = settings.broker
        self._topic_configs = _topic_configs(settings)
        self._linger_ms = settings.kafka_linger_ms
        self._limit = settings.stream_memory_mb * 1024 * 1024
        self._metrics = metrics
        self._spool = spool
        self._producer: Any = None
        self._partition: dict[str, TopicPartition | None] = {}
        self._preparing = threading.Lock()
        self._wanted: set[str] = set()
        self._topics_thread: threading.Thread | None = None
        self._in_flight: dict[str, deque[_Waiting]] = {}
        self._bytes = 0
        self._since_sweep = 0
        self._last_progress = self._last_sync = time.monotonic()
        self._is_away = False
        self._is_spooling = bool(spool and spool.pending)
        self._is_spilled = True
        self._taken: deque[tuple[Record, Segment]] = deque()
        self._marks: list[Mark] = []
        self._seams = Seams()
        self.losses: deque[Refused | Unread | Lost] = deque(maxlen=LOSSES_WAITING)
        """What is neither in Kafka nor in the spool, for who calls this to take out and tell."""
        self._lost = 0
        self.abandon = threading.Event()
        """Set to make a blocked `send` give up."""
        if spool and spool.pending:
            log.warning("%d messages of the last run wait in the spool and go first", spool.pending)

    # --- topics

    def prepare(self, topics: Iterable[str]) -> None:
        """Create the topics that there are not, and learn where they are, so that `send` need not wait.

        Raises `KafkaError` where Kafka cannot be reached; it may be called again, and from any thread. A message for a
        topic that is not prepared waits in the spool, and the topic is made as soon as Kafka is there.
        """
        with self._preparing:
            new = [topic for topic in topics if topic not in self._partition]
            if not new:
                return
            self._create(new)
            producer = self._producer or self._connect()
            with ThreadPoolExecutor(min(len(new), TOPICS_AT_ONCE)) as pool:  # one by one they take 0.1 s each
                partitions = pool.map(producer.partitions_for, new)
                # Where there is but one, naming it spares hashing the key in Python for each message.
                known = {
                    topic: TopicPartition(topic, 0) if found == {0} else None
                    for topic, found in zip(new, partitions, strict=True)
                }
            self._producer = producer
            self._partition.update(known)

    def _connect(self) -> Any:
        return QuickProducer(
            **self._broker.client(),
            client_id="crypto-streaming",
            acks="all",
            enable_idempotence=True,
            retries=2**31 - 1,
            delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
            linger_ms=self._linger_ms,
            batch_size=BATCH_BYTES,
            compression_type=self._broker.compression,
            max_block_ms=5_000,
            bootstrap_timeout_ms=5_000,
            reconnect_backoff_max_ms=2_000,
            metrics_enabled=False,
        )

    def _create(self, topics: list[str]) -> None:
        admin = KafkaAdminClient(**self._broker.client(), client_id="crypto-streaming", bootstrap_timeout_ms=5_000)
        try:
            there = set(admin.list_topics())
            wanted = {
                topic: {"num_partitions": 1, "replication_factor": 1, "configs": self._topic_configs}
                for topic in topics
                if topic not in there
            }
            if wanted:
                admin.create_topics(wanted, wait_for_metadata=True)
        except TopicAlreadyExistsError:
            pass  # another made it meanwhile
        finally:
            admin.close()

    def _want(self, topic: str) -> None:
        """Have the topic made, in a thread of its own."""
        self._wanted.add(topic)
        if self._topics_thread is None or not self._topics_thread.is_alive():
            self._topics_thread = threading.Thread(target=self._make_wanted, name="topics", daemon=True)
            self._topics_thread.start()

    def _make_wanted(self) -> None:
        while missing := [topic for topic in tuple(self._wanted) if topic not in self._partition]:
            try:
                self.prepare(missing)
            except (KafkaError, OSError):
                if self.abandon.wait(RETRY_SECONDS):
                    return

    # --- sending

    def send(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        mark: Mark | None = None,
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> None:
        """Hand a message over; blocks while memory and spool are full.

        `mark` is called by `sweep`, in this thread, when the message is acknowledged or safe on disk, and everything
        that was sent before it to the same topic too.
        """
        self._since_sweep += 1
        if self._since_sweep >= SWEEP_EVERY:
            self.sweep()
        if self._try(topic, key, value, mark, headers):
            return
        self._wait(lambda: self._try(topic, key, value, mark, headers))

    def _try(
        self, topic: str, key: bytes, value: bytes, mark: Mark | None, headers: tuple[tuple[str, bytes], ...]
    ) -> bool:
        """Send it, or put it into the spool; False where there is room in neither."""
        if not self._is_spooling:
            if topic not in self._partition:
                self._want(topic)
            elif self._bytes < self._limit and self._hand_over(topic, key, value, headers, mark, None):
                return True
            self._is_spooling = self._spool is not None
        return self._store(Record(topic, key, value, headers), mark, force=self.abandon.is_set())

    def _hand_over(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: tuple[tuple[str, bytes], ...],
        mark: Mark | None,
        segment: Segment | None,
    ) -> bool:
        """Give a message to kafka-python; False where that can go on no more and will be started again."""
        try:
            future = self._producer.put(topic, self._partition[topic], key, value, headers)
        except MessageSizeTooLargeError as error:
            self._refuse(topic, value, error, segment)
            return True
        except (KafkaError, ValueError) as error:  # ValueError: the topic has gone from the metadata
            self._start_again(error)
            return False
        # The value is there twice: in the batch, and here.
        size = 2 * len(value) + len(key) + BYTES_PER_MESSAGE
        waiting = self._in_flight.get(topic)
        if waiting is None:
            waiting = self._in_flight[topic] = deque()
        waiting.append(_Waiting(future, size, key, value, headers, mark, segment))
        if not self._bytes:
            self._last_progress = time.monotonic()
        self._bytes += size
        if segment is None:
            self._is_spilled = False
        return True

    def _store(self, record: Record, mark: Mark | None, force: bool) -> bool:
        """Put a message into the spool, behind all that was sent before it. False where there is no room."""
        if self._spool is None:
            return False
        try:
            self._spill(force)
            self._spool.append(record, force=force)
        except SpoolFull:
            return False
        if mark:
            self._marks.append(mark)
        return True

    def _spill(self, force: bool = False) -> None:
        """Write what waits in memory into the spool too, so that what comes behind it cannot be safe before it is.

        Raises `SpoolFull` on the way, and then goes on where it stopped.
        """
        if self._is_spilled or self._spool is None:
            return
        for topic, waiting in self._in_flight.items():
            kept: list[_Waiting] = []
            try:
                while waiting:
                    one = waiting[0]
                    if one.segment is None:
                        segment = None
                        if not _is_taken_in(one):
                            record = Record(topic, one.key, one.value, one.headers)
                            segment = self._spool.append(record, taken=True, force=force)
                        if one.mark:  # of what is taken in too: else what comes behind it is marked first
                            self._marks.append(one.mark)
                        one = one._replace(segment=segment, mark=None)
                    kept.append(one)
                    waiting.popleft()
            finally:
                waiting.extendleft(reversed(kept))
        self._is_spilled = True

    def _wait(self, sent: Callable[[], bool]) -> None:
        """Block until there is room, or `abandon` is set; says so when it lasts."""
        since = time.monotonic()
        told = False
        while True:
            self.sweep()
            if sent():
                break
            if self.abandon.is_set():
                self._lost += 1
                break
            if not told and time.monotonic() - since > 1:
                told = True
                self._metrics.reading_paused.set(1)
                log.error(
                    "Kafka at %s does not take in enough: %d MB wait in memory, %d MB in the spool, and there is no "
                    "more room; reading from the exchange has stopped",
                    self._broker.servers,
                    self._bytes >> 20,
                    self._spool.bytes >> 20 if self._spool else 0,
                )
            time.sleep(0.02)
        if told:
            self._metrics.reading_paused.set(0)
            log.warning("reading from the exchange goes on, after %.0f s", time.monotonic() - since)

    # --- afterwards

    def sweep(self) -> int:
        """Forget what was acknowledged, call its marks, send what lies in the spool; the bytes in memory.

        To be called several times a second, also when nothing is sent.
        """
        is_idle = self._since_sweep < SWEEP_EVERY
        self._since_sweep = 0
        before = self._bytes
        failure = self._collect()
        self._watch(progress=self._bytes < before or not self._bytes)
        if failure is not None:
            self._start_again(failure)
        elif self._is_spooling:
            self._drain(is_idle)
        elif self._is_away and self._spool is not None:
            self._is_spooling = True
        if self._is_spooling:
            self._sync()
        elif self._marks:
            self._make_safe(force=False)  # those of the last messages before the spool was empty
        self._metrics.buffer_bytes.set(self._bytes)
        if self._spool is not None:
            self._metrics.spool_bytes.set(self._spool.bytes)
            self._metrics.spool_messages.set(self._spool.messages)
        return self._bytes

    def _collect(self) -> Exception | None:
        """Take out what Kafka has answered, in the order of each topic; an error where messages must be sent again."""
        for topic, waiting in self._in_flight.items():
            while waiting and waiting[0].future.is_done:
                one = waiting[0]
                if one.future.failed() and not isinstance(one.future.exception, REFUSED):
                    error: Exception = one.future.exception
                    return error
                waiting.popleft()
                self._bytes -= one.size
                if one.future.failed():
                    self._refuse(topic, one.value, one.future.exception, one.segment)
                    continue
                if one.segment is not None and self._spool is not None:
                    self._spool.done(one.segment)
                if one.mark is not None:
                    one.mark()
        return None

    def _refuse(self, topic: str, value: bytes, error: Exception, segment: Segment | None) -> None:
        self._metrics.kafka_send_errors.labels(topic).inc()
        log.error("Kafka refused a message for %s: %s; it is lost", topic, error)
        if topic != symbol_manager.DEAD_LETTERS:  # of which none would be told by another
            reason = f"Kafka refused this message of {len(value)} bytes for {topic}: {error}"
            self.losses.append(Refused(value[:SHOWN_BYTES], reason))
        if segment is not None and self._spool is not None:
            self._spool.done(segment)

    def _drain(self, is_idle: bool) -> None:
        """Send from the spool while there is room; when all of it is sent, what comes next goes straight to Kafka."""
        spool = self._spool
        if spool is None or self._is_away:
            return
        until = time.monotonic() + DRAIN_SECONDS
        sent = 0
        while self._bytes < self._limit * ROOM and (time.monotonic() < until if is_idle else sent < DRAIN_AT_ONCE):
            if not self._taken:
                self._taken.extend(spool.take())
                for damage in spool.damages:
                    self._seams.torn(damage)
                spool.damages.clear()
            if not self._taken:
                self._is_spooling = False
                self.losses += self._seams.emptied()
                self._seams = Seams()
                log.info("the spool is empty: everything goes straight to Kafka again")
                return
            record, segment = self._taken[0]
            if record.topic not in self._partition:
                self._want(record.topic)
                return
            self._taken.popleft()
            if not self._hand_over(record.topic, record.key, record.value, record.headers, None, segment):
                return
            self.losses += self._seams.passed(record)
            sent += 1

    def _sync(self) -> None:
        """Bring the spool to the disk, at most ten times a second, and call the marks of what is safe now."""
        now = time.monotonic()
        if self._spool is None or now - self._last_sync < SYNC_SECONDS:
            return
        self._last_sync = now
        try:
            self._spill()
        except SpoolFull:
            return  # `send` will wait for room
        self._make_safe(force=False)

    def _make_safe(self, force: bool) -> None:
        if self._spool is None:
            return
        try:
            self._spool.sync(force)
        except SpoolFull:
            return
        marks, self._marks = self._marks, []
        for mark in marks:
            mark()

    def _start_again(self, error: Exception) -> None:
        """Give up a producer that can go on no more: what it had goes through the spool, into a new one.

        Raises the error where there is no spool.
        """
        log.error("kafka-python cannot go on (%s: %s); it is started again", type(error).__name__, error)
        if self._spool is None:
            raise error
        self._spill(force=True)
        self._in_flight.clear()
        self._taken.clear()
        self._bytes = 0
        self._spool.rewind()
        self._is_spooling = True
        with self._preparing:
            _end(self._producer)
            self._producer = None
            self._partition.clear()

    def _watch(self, progress: bool) -> None:
        now = time.monotonic()
        if progress:
            if self._is_away:
                log.warning("Kafka takes in messages again, after %.0f s", now - self._last_progress)
            self._last_progress, self._is_away = now, False
        elif not self._is_away and now - self._last_progress > AWAY_SECONDS:
            self._is_away = True
            where = "the spool on disk" if self._spool else f"memory, up to {self._limit >> 20} MB"
            log.error("Kafka at %s takes in nothing: messages wait in %s", self._broker.servers, where)

    def close(self, timeout: float) -> int:
        """Send what waits, for `timeout` seconds at most, and put the rest into the spool.

        Gives the number of messages that are neither in Kafka nor in the spool.
        """
        self.abandon.set()
        if self._topics_thread is not None:
            self._topics_thread.join(timeout)
        if self._producer is not None:
            try:
                self._producer.flush(timeout)
            except KafkaError:
                log.warning("Kafka at %s did not take in everything within %.0f s", self._broker.servers, timeout)
            self._collect()
        if self._spool is not None:
            try:
                self._spill(force=True)
            except SpoolFull as reason:
                log.error("not everything could be put into the spool: %s", reason)  # noqa: TRY400 (says it all)
            self._make_safe(force=True)
            if self._spool.messages:
                log.warning("%d messages wait in the spool and go to Kafka at the next start", self._spool.messages)
            self._spool.close()
        if self._producer is not None:
            _end(self._producer)
        left = [one for waiting in self._in_flight.values() for one in waiting if one.segment is None]
        return self._lost + sum(not _is_taken_in(one) for one in left)


def _is_taken_in(one: _Waiting) -> bool:
    return bool(one.future.is_done and not one.future.failed())


def _end(producer: Any) -> None:
    """Close a producer without waiting for what it has not sent."""
    try:
        producer.close(timeout=0)
    except KafkaError:
        producer._sender.force_close()  # `close` has given up before it came to this


def _topic_configs(settings: Settings) -> dict[str, str]:
    """What a topic is made with: in another Kafka than ours how long it is kept; ours is told that itself."""
    if not settings.is_kafka_elsewhere:
        return {}
    keep, _ = load_kafka(settings.retention_file)
    return {"retention.ms": str(keep // timedelta(milliseconds=1))}
